package key

import (
	"crypto/ed25519"
	"crypto/sha512"
	"math/big"
	"slices"
	"testing"
)

// A second, slow and simple implementation of the curve, so that the byte list in
// public.go is checked against arithmetic and not against itself.

func dec(s string) *big.Int { n, _ := new(big.Int).SetString(s, 10); return n }

var (
	fieldP = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	orderL = new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 252), dec("27742317777372353535851937790883648493"))
	curveD = func() *big.Int { // -121665/121666
		d := new(big.Int).ModInverse(big.NewInt(121666), fieldP)
		return d.Mod(d.Mul(d, big.NewInt(-121665)), fieldP)
	}()
)

type point struct{ x, y *big.Int }

func modP(n *big.Int) *big.Int     { return n.Mod(n, fieldP) }
func mul(a, b *big.Int) *big.Int   { return modP(new(big.Int).Mul(a, b)) }
func invert(a *big.Int) *big.Int   { return new(big.Int).ModInverse(a, fieldP) }
func sum(a, b *big.Int) *big.Int   { return modP(new(big.Int).Add(a, b)) }
func minus(a, b *big.Int) *big.Int { return modP(new(big.Int).Sub(a, b)) }
func equal(p, q point) bool        { return p.x.Cmp(q.x) == 0 && p.y.Cmp(q.y) == 0 }
func identity() point              { return point{new(big.Int), big.NewInt(1)} }
func littleEndian(b []byte) *big.Int {
	c := slices.Clone(b)
	slices.Reverse(c)
	return new(big.Int).SetBytes(c)
}

func bytesOf(n *big.Int) [32]byte {
	var out [32]byte
	n.FillBytes(out[:])
	slices.Reverse(out[:])
	return out
}

func add(p, q point) point {
	t := mul(curveD, mul(mul(p.x, q.x), mul(p.y, q.y)))
	one := big.NewInt(1)
	return point{
		mul(sum(mul(p.x, q.y), mul(p.y, q.x)), invert(sum(one, t))),
		mul(sum(mul(p.y, q.y), mul(p.x, q.x)), invert(minus(one, t))),
	}
}

func times(n *big.Int, p point) point {
	out := identity()
	for i := n.BitLen() - 1; i >= 0; i-- {
		out = add(out, out)
		if n.Bit(i) == 1 {
			out = add(out, p)
		}
	}
	return out
}

// lift finds a point with this y, if there is one.
func lift(y *big.Int) (point, bool) {
	yy := mul(y, y)
	x := new(big.Int).ModSqrt(mul(minus(yy, big.NewInt(1)), invert(sum(mul(curveD, yy), big.NewInt(1)))), fieldP)
	if x == nil {
		return point{}, false
	}
	return point{x, modP(new(big.Int).Set(y))}, true
}

// torsion finds all eight points of small order: L·Q for enough points Q.
func torsion(t *testing.T) []point {
	var found []point
	for y := int64(2); len(found) < 8 && y < 400; y++ {
		q, ok := lift(big.NewInt(y))
		if !ok {
			continue
		}
		q = times(orderL, q)
		for range 8 {
			if !slices.ContainsFunc(found, func(p point) bool { return equal(p, q) }) {
				found = append(found, q)
			}
			q = add(q, times(big.NewInt(3), q))
		}
		n := point{minus(new(big.Int), q.x), q.y}
		if !slices.ContainsFunc(found, func(p point) bool { return equal(p, n) }) {
			found = append(found, n)
		}
	}
	if len(found) != 8 {
		t.Fatalf("the curve has 8 points of small order, found %d", len(found))
	}
	return found
}

// spellings returns every 32-byte string whose y is that of p: y and y+p where it
// fits in 255 bits, each with both sign bits.
func spellings(p point) [][32]byte {
	var out [][32]byte
	for _, y := range []*big.Int{p.y, new(big.Int).Add(p.y, fieldP)} {
		if y.BitLen() > 255 {
			continue
		}
		for _, sign := range []byte{0, 0x80} {
			b := bytesOf(y)
			b[31] |= sign
			out = append(out, b)
		}
	}
	return out
}

func TestSmallListIsTheTorsionOfTheCurve(t *testing.T) {
	ys := map[[32]byte]bool{}
	for _, p := range torsion(t) {
		if got := times(big.NewInt(8), p); !equal(got, identity()) {
			t.Fatalf("8·%v is not the identity", p)
		}
		ys[bytesOf(p.y)] = true
	}
	if len(ys) != len(small) {
		t.Fatalf("%d values of y, the list has %d", len(ys), len(small))
	}
	for _, y := range small {
		if !ys[y] {
			t.Errorf("%x is listed and no point of small order", y)
		}
	}
}

// scalarOf is the secret scalar of a seed (RFC 8032 section 5.1.5), mod L.
func scalarOf(seed []byte) *big.Int {
	h := sha512.Sum512(seed)
	h[0] &= 248
	h[31] = h[31]&127 | 64
	n := littleEndian(h[:32])
	return n.Mod(n, orderL)
}

func challenge(r, a [32]byte, msg []byte) *big.Int {
	h := sha512.New()
	h.Write(r[:])
	h.Write(a[:])
	h.Write(msg)
	n := littleEndian(h.Sum(nil))
	return n.Mod(n, orderL)
}

func signature(r [32]byte, s *big.Int) []byte {
	b := bytesOf(s)
	return append(r[:], b[:]...)
}

// A key of order 1 verifies forged messages under plain ed25519.Verify, in each
// spelling of it that the library reads; ours refuses all.
func TestVerifyRefusesSmallOrderKeys(t *testing.T) {
	msg := []byte("I owe you everything")
	other := Generate[Duty]()
	r := [32]byte(other.Public())
	forged := signature(r, scalarOf(other.Seed().Reveal())) // R = S·B, and k·A = 0
	planted := 0
	for _, a := range spellings(identity()) {
		if ed25519.Verify(a[:], msg, forged) {
			planted++
		}
		if Verify(a, msg, forged) || Public[Duty](a).Verify(msg, forged) {
			t.Errorf("key %x verified a forgery", a)
		}
	}
	if planted < 2 {
		t.Fatalf("the forgery passes plain verification for %d spellings: the test shows nothing", planted)
	}
	for _, p := range torsion(t) {
		for _, a := range spellings(p) {
			if err := Public[Root](a).Check(); err == nil {
				t.Errorf("Check accepts %x", a)
			}
		}
	}
}

// A signer who picks nonce zero makes R the identity; plain verification takes it.
func TestVerifyRefusesSmallOrderR(t *testing.T) {
	k := Generate[Duty]()
	a := [32]byte(k.Public())
	msg := []byte("m")
	one := bytesOf(big.NewInt(1))
	s := new(big.Int).Mul(challenge(one, a, msg), scalarOf(k.Seed().Reveal()))
	sig := signature(one, s.Mod(s, orderL))
	if !ed25519.Verify(a[:], msg, sig) {
		t.Fatal("plain verification refuses it: the test shows nothing")
	}
	if k.Public().Verify(msg, sig) {
		t.Error("R of small order accepted")
	}
}

func TestVerifyRefusesOtherSpellingsOfASignature(t *testing.T) {
	k := Generate[Context]()
	msg := []byte("once")
	sig := k.Sign(msg)
	if !k.Public().Verify(msg, sig) {
		t.Fatal("own signature refused")
	}
	s := littleEndian(sig[32:])
	for i := range int64(16) { // S + i·L says the same thing modulo L
		s.Add(s, orderL)
		if s.BitLen() > 256 {
			break
		}
		if k.Public().Verify(msg, signature([32]byte(sig[:32]), s)) {
			t.Errorf("S + %d·L accepted", i+1)
		}
	}
	for _, n := range []int{0, 63, 65} {
		if k.Public().Verify(msg, make([]byte, n)) {
			t.Errorf("signature of %d bytes accepted", n)
		}
	}
	for i := range len(sig) * 8 {
		sig[i/8] ^= 1 << (i % 8)
		if k.Public().Verify(msg, sig) {
			t.Errorf("bit %d flipped and accepted", i)
		}
		sig[i/8] ^= 1 << (i % 8)
	}
}

func TestCheckRefusesNonCanonicalPoints(t *testing.T) {
	for y := new(big.Int).Set(fieldP); y.BitLen() <= 255; y.Add(y, big.NewInt(1)) {
		for _, sign := range []byte{0, 0x80} {
			k := bytesOf(y)
			k[31] |= sign
			if Public[Issuer](k).Check() == nil {
				t.Errorf("y = p + %v accepted", new(big.Int).Sub(y, fieldP))
			}
		}
	}
	// Neighbours that are not in the forbidden range must not be caught with it.
	for _, below := range []int64{2, 3, 200} {
		k := bytesOf(new(big.Int).Sub(fieldP, big.NewInt(below)))
		if err := Public[Issuer](k).Check(); err != nil {
			t.Errorf("y = p - %d: %v", below, err)
		}
	}
	for range 200 {
		if err := Generate[Issuer]().Public().Check(); err != nil {
			t.Fatal(err)
		}
	}
}
