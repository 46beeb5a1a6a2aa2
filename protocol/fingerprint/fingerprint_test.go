package fingerprint

import (
	"testing"

	"github.com/harkmarket/hark/protocol"
)

// Sums come and go in any order, and a fingerprint tells sets, counts and salts apart.
func TestFingerprints(t *testing.T) {
	salt, other := protocol.ID{4}, protocol.ID{5}
	a, b, c := SumOf(salt, protocol.Hash{1}), SumOf(salt, protocol.Hash{2}), SumOf(salt, protocol.Hash{3})
	var abc, cba Sum
	for _, s := range []Sum{a, b, c} {
		abc.Add(s)
	}
	for _, s := range []Sum{c, b, a} {
		cba.Add(s)
	}
	if abc != cba {
		t.Error("the order counts")
	}
	cba.Sub(b)
	ac := a
	ac.Add(c)
	if cba != ac {
		t.Error("what is taken away is not gone")
	}
	largest := Sum{1<<64 - 1, 1<<64 - 1, 1<<64 - 1, 1<<64 - 1}
	largest.Add(Sum{2})
	if largest != (Sum{1}) {
		t.Errorf("2^256 + 1 is %v", largest)
	}
	seen := map[[protocol.PrintSize]byte]bool{}
	for _, p := range [][protocol.PrintSize]byte{abc.Print(3), abc.Print(2), ac.Print(2), (Sum{}).Print(0), SumOf(other, protocol.Hash{1}).Print(1), a.Print(1)} {
		if seen[p] {
			t.Errorf("%x twice", p)
		}
		seen[p] = true
	}
	x := protocol.Hash{0xab, 0xcd, 0xef, 0x01, 0x23}
	for bits, prefix := range map[uint8]uint32{0: 0, 1: 1, 4: 0xa, 12: 0xabc, 32: 0xabcdef01} {
		if !InRange(x, prefix, bits) || InRange(x, prefix^1, bits) {
			t.Errorf("%d bits", bits)
		}
	}
}
