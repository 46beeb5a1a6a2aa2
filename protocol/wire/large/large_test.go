package large

import (
	"bytes"
	"errors"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire/alloc"
)

func sample(t testing.TB) protocol.LargeValues {
	var seed [32]byte
	seed[0] = 7
	k, err := key.SecretFrom(seed[:])
	if err != nil {
		t.Fatal(err)
	}
	at := key.FromSeed[key.Keeper](k).Public()
	return protocol.LargeValues{
		Keepers: []protocol.Keeper{{Key: at, Addrs: [][]byte{{4, 127, 0, 0, 1}}}},
		Values: []protocol.LargeValue{{
			Name: "identity.document", Version: 3, Size: 3 << 20, Digest: protocol.Hash{1, 2, 3}, Key: protocol.Share(k), Media: "application/pdf",
		}},
	}
}

func TestLargeValues(t *testing.T) {
	want := sample(t)
	x, err := Extra(want)
	if err != nil {
		t.Fatal(err)
	}
	got := Of(x)
	if again, err := Extra(got); err != nil || !bytes.Equal(x, again) || len(got.Values) != 1 || got.Values[0].Name != want.Values[0].Name {
		t.Fatalf("%x comes back as %+v, %x, %v", x, got, again, err)
	}
	if x, err := Extra(protocol.LargeValues{}); x != nil || err != nil {
		t.Errorf("nothing is written as %x, %v", x, err)
	}
	other := key.NewSecret()
	if Token(want.Values[0].Key.Secret()) != Token(got.Values[0].Key.Secret()) || Token(other) == Token(want.Values[0].Key.Secret()) {
		t.Error("a token does not follow from its key alone")
	}
}

// TestRefused: nothing is written that a reader would not take.
func TestRefused(t *testing.T) {
	for what, change := range map[string]func(*protocol.LargeValues){
		"no keeper":    func(v *protocol.LargeValues) { v.Keepers = nil },
		"no digest":    func(v *protocol.LargeValues) { v.Values[0].Digest = protocol.Hash{} },
		"no key":       func(v *protocol.LargeValues) { v.Values[0].Key = protocol.Shared{} },
		"no version":   func(v *protocol.LargeValues) { v.Values[0].Version = 0 },
		"empty":        func(v *protocol.LargeValues) { v.Values[0].Size = 0 },
		"too large":    func(v *protocol.LargeValues) { v.Values[0].Size = protocol.MaxLarge + 1 },
		"a field name": func(v *protocol.LargeValues) { v.Values[0].Name = "X" },
		"named twice":  func(v *protocol.LargeValues) { v.Values = append(v.Values, v.Values[0]) },
		"one copy for two": func(v *protocol.LargeValues) {
			other := v.Values[0]
			other.Name = "identity.other"
			v.Values = append(v.Values, other)
		},
		"media": func(v *protocol.LargeValues) { v.Values[0].Media = "a\nb" },
		"too many": func(v *protocol.LargeValues) {
			for i := range byte(protocol.MaxLarges) {
				other := v.Values[0]
				other.Name, other.Digest = protocol.FieldName("identity.n"+string('a'+rune(i))), protocol.Hash{i + 9}
				v.Values = append(v.Values, other)
			}
		},
	} {
		v := sample(t)
		change(&v)
		if _, err := Extra(v); !errors.Is(err, fault.Malformed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	x, _ := Extra(sample(t))
	for what, x := range map[string][]byte{
		"nothing": nil, "a number": {0x18, Key, 0x05}, "an empty map": {0x18, Key, 0xa0}, "cut": x[:len(x)-1], "another key": append([]byte{0x18, Key + 1}, x[2:]...),
	} {
		if v := Of(x); len(v.Values) != 0 {
			t.Errorf("%s reads as %+v", what, v)
		}
	}
}

func TestSizes(t *testing.T) {
	for plain, want := range map[uint32][2]uint32{1: {17, 1}, 64 << 10: {protocol.CopyChunk, 1}, 64<<10 + 1: {protocol.CopyChunk + 17, 2}, protocol.MaxLarge: {protocol.MaxCopy, protocol.MaxCopyParts}} {
		if size := protocol.CopySize(plain); size != want[0] || protocol.CopyParts(size) != want[1] {
			t.Errorf("%d bytes: a copy of %d in %d chunks, want %v", plain, size, protocol.CopyParts(size), want)
		}
	}
}

func FuzzOf(f *testing.F) {
	x, err := Extra(sample(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(x))
	f.Add([]byte{0x18, Key, 0xa0})
	f.Add([]byte(x[:len(x)-1]))
	f.Fuzz(func(t *testing.T, x []byte) {
		if got, over := alloc.Over(alloc.Most(len(x)), func() { _ = Of(x) }); over {
			t.Fatalf("%d bytes allocated for %d", got, len(x))
		}
		v := Of(x)
		raw, err := Extra(v)
		if err != nil {
			t.Fatalf("%x reads as %+v, which can't be written: %v", x, v, err)
		}
		if len(v.Values) > 0 && !bytes.Contains(x, raw[2:]) {
			t.Fatalf("%x holds another spelling of %x", x, raw)
		}
	})
}

func FuzzIn(f *testing.F) {
	x, err := Extra(sample(f))
	if err != nil {
		f.Fatal(err)
	}
	payload := append(append([]byte{0xa1}, x...), 0) // one byte too many, and the same without it
	for _, p := range [][]byte{payload, payload[:len(payload)-1]} {
		head := []byte{0xa2, 0x01, 0x58, byte(len(p))}
		if len(p) > 255 {
			head = []byte{0xa2, 0x01, 0x59, byte(len(p) >> 8), byte(len(p))}
		}
		f.Add(append(append(head, p...), append([]byte{0x02, 0x58, 0x20}, make([]byte, 32)...)...))
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if got, over := alloc.Over(alloc.Most(len(raw)), func() { _ = In(raw) }); over {
			t.Fatalf("%d bytes allocated for %d", got, len(raw))
		}
		v := In(raw)
		again, err := Extra(v)
		if err != nil {
			t.Fatalf("%x holds %+v, which can't be written: %v", raw, v, err)
		}
		if len(v.Values) > 0 && !bytes.Contains(raw, again) {
			t.Fatalf("%x holds another spelling of %x", raw, again)
		}
	})
}
