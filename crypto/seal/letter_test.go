package seal

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hpke"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/harkmarket/hark/crypto/key"
)

var net1 = [32]byte{1}

type letter struct{ enc, aad, ct []byte }

func sealTo[P key.SealPurpose](t testing.TB, to key.Encapsulation[P], c Class, text string) (letter, *Sealer) {
	t.Helper()
	s, err := NewSealer(to, c, net1)
	if err != nil {
		t.Fatal(err)
	}
	padded, err := Pad([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	aad := append([]byte("head"), s.Enc()...)
	ct, err := s.Seal(aad, padded)
	if err != nil {
		t.Fatal(err)
	}
	return letter{s.Enc(), aad, ct}, s
}

func TestLetter(t *testing.T) {
	k := key.GenerateSeal[key.DutySeal]()
	l, sealer := sealTo(t, k.Public(), Duty, "hello")
	if len(l.enc) != EncSize || len(l.ct) != Bucket1K+Overhead {
		t.Errorf("sizes %d, %d", len(l.enc), len(l.ct))
	}
	padded, export, err := Open(k, Duty, net1, l.enc, l.aad, l.ct)
	if err != nil {
		t.Fatal(err)
	}
	if msg, err := Unpad(padded); err != nil || string(msg) != "hello" {
		t.Errorf("%q, %v", msg, err)
	}
	if a, b := sealer.Export(LabelDisclose), export(LabelDisclose); !a.Equal(b) || a.Equal(export(LabelMAC)) {
		t.Error("the two ends export different secrets, or one for all labels")
	}
	if other, s2 := sealTo(t, k.Public(), Duty, "hello"); bytes.Equal(other.enc, l.enc) || s2.Export(LabelDisclose).Equal(export(LabelDisclose)) {
		t.Error("two letters share their lock")
	}
}

// The info string is part of the wire format: bare HPKE with these very bytes opens
// our letters.
func TestLetterIsPlainHPKE(t *testing.T) {
	k := key.GenerateSeal[key.OfferSeal]()
	l, _ := sealTo(t, k.Public(), Offer, "x")
	digest := k.Public().Digest()
	info := "\x00\x00\x00\x0bhark/1/seal" + "\x00\x00\x00\x05offer" + "\x00\x00\x00\x20" + string(net1[:]) + "\x00\x00\x00\x20" + string(digest[:])
	priv, err := k.HPKE()
	if err != nil {
		t.Fatal(err)
	}
	to, err := hpke.NewRecipient(l.enc, priv, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), []byte(info))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := to.Open(l.aad, l.ct); err != nil {
		t.Error(err)
	}
}

func TestClassNames(t *testing.T) {
	if First.String()+Offer.String()+Duty.String()+Vendor.String()+Post.String() != "firstofferdutyvendorpost" || Class(0).String() != "class 0" || Class(9).Valid() || Class(6).Valid() || Class(0).Valid() {
		t.Error("classes")
	}
}

func TestOpenRefuses(t *testing.T) {
	k := key.GenerateSeal[key.DutySeal]()
	l, _ := sealTo(t, k.Public(), Duty, "hello")
	try := func(k key.Decapsulation[key.DutySeal], c Class, net [32]byte, l letter) error {
		padded, export, err := Open(k, c, net, l.enc, l.aad, l.ct)
		if err != nil && (padded != nil || export != nil) {
			t.Error("something came with the error")
		}
		return err
	}
	if err := try(k, Duty, net1, l); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"class": try(k, Offer, net1, l), "class 0": try(k, 0, net1, l), "class 5": try(k, 5, net1, l),
		"network": try(k, Duty, [32]byte{2}, l), "another's key": try(key.GenerateSeal[key.DutySeal](), Duty, net1, l),
		"no key":    try(key.Decapsulation[key.DutySeal]{}, Duty, net1, l),
		"aad":       try(k, Duty, net1, letter{l.enc, l.aad[1:], l.ct}),
		"short enc": try(k, Duty, net1, letter{l.enc[1:], l.aad, l.ct}),
		"long enc":  try(k, Duty, net1, letter{append(bytes.Clone(l.enc), 0), l.aad, l.ct}),
		"no enc":    try(k, Duty, net1, letter{nil, l.aad, l.ct}),
		"short ct":  try(k, Duty, net1, letter{l.enc, l.aad, l.ct[1:]}),
		"no ct":     try(k, Duty, net1, letter{l.enc, l.aad, nil}),
		"zero enc":  try(k, Duty, net1, letter{make([]byte, EncSize), l.aad, l.ct}), // X25519 of the zero point
	} {
		if err != ErrOpen {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSealerRefuses(t *testing.T) {
	to := key.GenerateSeal[key.RequestSeal]().Public()
	for _, c := range []Class{0, 6, 255} {
		if _, err := NewSealer(to, c, net1); !errors.Is(err, ErrForm) {
			t.Errorf("%v: %v", c, err)
		}
	}
	if _, err := NewSealer(key.Encapsulation[key.RequestSeal]{}, Vendor, net1); !errors.Is(err, key.ErrAbsent) {
		t.Error(err)
	}
	var broken key.Encapsulation[key.RequestSeal]
	if err := broken.UnmarshalBinary(bytes.Repeat([]byte{0xff}, key.EncapsulationSize)); err != nil {
		t.Fatal(err)
	}
	if _, err := NewSealer(broken, Vendor, net1); !errors.Is(err, key.ErrForm) {
		t.Error(err)
	}
	raw, _ := to.MarshalBinary()
	clear(raw[len(raw)-32:]) // an X25519 point of small order makes a shared secret of zeros
	if err := broken.UnmarshalBinary(raw); err != nil {
		t.Fatal(err)
	}
	if _, err := NewSealer(broken, Vendor, net1); err == nil {
		t.Error("sealed to a point of small order")
	}
	s, err := NewSealer(to, Vendor, net1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Seal(nil, []byte("not padded")); !errors.Is(err, ErrForm) {
		t.Error(err)
	}
	if _, err := s.Seal(nil, make([]byte, Bucket1K)); err != nil {
		t.Error(err)
	}
	if _, err := s.Seal(nil, make([]byte, Bucket1K)); !errors.Is(err, ErrForm) {
		t.Error(err)
	}
}

// Every bit of a letter is bound. Each try costs a key agreement, so of the long parts
// every seventh bit is flipped, and all bits of what is short.
func TestFlippedBitsDontOpen(t *testing.T) {
	k := key.GenerateSeal[key.OfferSeal]()
	l, _ := sealTo(t, k.Public(), Offer, "five sofas")
	refused := 0
	flip := func(name string, b []byte, step int) {
		for i := 0; i < len(b)*8; i += step {
			b[i/8] ^= 1 << (i % 8)
			if _, _, err := Open(k, Offer, net1, l.enc, l.aad, l.ct); err != ErrOpen {
				t.Fatalf("%s: bit %d flipped: %v", name, i, err)
			}
			b[i/8] ^= 1 << (i % 8)
			refused++
		}
	}
	l.aad = bytes.Clone(l.aad[:48])
	s, err := NewSealer(k.Public(), Offer, net1)
	if err != nil {
		t.Fatal(err)
	}
	padded, _ := Pad([]byte("five sofas"))
	if l.ct, err = s.Seal(l.aad, padded); err != nil {
		t.Fatal(err)
	}
	l.enc = bytes.Clone(s.Enc())
	step := 7 // 8 and 7 share no factor, so every bit position is met
	flip("aad", l.aad, 1)
	flip("enc", l.enc, step)
	flip("point", l.enc[EncSize-32:], 1)
	flip("ct", l.ct, step)
	flip("tag", l.ct[len(l.ct)-Overhead:], 1)
	if _, _, err := Open(k, Offer, net1, l.enc, l.aad, l.ct); err != nil {
		t.Errorf("the letter itself does not open after %d flips: %v", refused, err)
	}
}

func FuzzOpen(f *testing.F) {
	seed, err := key.SecretFrom([]byte(strings.Repeat("k", 32)))
	if err != nil {
		f.Fatal(err)
	}
	k := key.SealFromSeed[key.ContextSeal](seed)
	l, _ := sealTo(f, k.Public(), First, "hello")
	f.Add(l.enc, l.aad, l.ct)
	f.Add(l.enc, []byte{}, l.ct)
	f.Add(make([]byte, EncSize), []byte{}, make([]byte, Bucket1K+Overhead))
	f.Add([]byte{}, []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, enc, aad, ct []byte) {
		padded, export, err := Open(k, First, net1, enc, aad, ct)
		if err == nil { // only the seed letter, which each fuzzing process seals afresh
			if msg, err := Unpad(padded); err != nil || string(msg) != "hello" {
				t.Errorf("junk opened: %d bytes", len(padded))
			}
		}
		if err != nil && (err != ErrOpen || padded != nil || export != nil) {
			t.Errorf("refused with %v", err)
		}
	})
}

// A bench holds what the two benchmarks of letters share: a letter of one bucket of
// 1 KiB, signed inside.
type bench struct {
	k        key.Decapsulation[key.DutySeal]
	to       key.Encapsulation[key.DutySeal]
	priv     hpke.PrivateKey
	rawTo    []byte
	signer   key.Private[key.Duty]
	pub      key.DutyKey
	payload  []byte
	text     []byte
	aad, sig []byte
}

func newBench(b *testing.B) bench {
	k, signer := key.GenerateSeal[key.DutySeal](), key.Generate[key.Duty]()
	priv, err := k.HPKE()
	if err != nil {
		b.Fatal(err)
	}
	rawTo, _ := k.Public().MarshalBinary()
	text := make([]byte, Bucket1K)
	return bench{k, k.Public(), priv, rawTo, signer, signer.Public(), make([]byte, 800), text, make([]byte, 1200), signer.Sign(text)}
}

// bare is HPKE of the suite and nothing else: what a letter can't be cheaper than.
func (x bench) bare(b *testing.B) (enc, ct []byte) {
	pub, err := hpke.MLKEM768X25519().NewPublicKey(x.rawTo)
	if err != nil {
		b.Fatal(err)
	}
	enc, s, err := hpke.NewSender(pub, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), nil)
	if err != nil {
		b.Fatal(err)
	}
	if ct, err = s.Seal(x.aad, x.text); err != nil {
		b.Fatal(err)
	}
	return enc, ct
}

func (x bench) seal(b *testing.B) (enc, ct []byte) {
	padded, err := Pad(SignEnvelope(x.signer, "hark/1/offer", x.payload))
	if err != nil {
		b.Fatal(err)
	}
	s, err := NewSealer(x.to, Duty, net1)
	if err != nil {
		b.Fatal(err)
	}
	if ct, err = s.Seal(x.aad, padded); err != nil {
		b.Fatal(err)
	}
	return s.Enc(), ct
}

// beside runs both in turn, so that whatever else the machine does falls on both, and
// reports ours as a multiple of the floor.
func beside(b *testing.B, metric string, floor, ours func()) {
	var tFloor, tOurs time.Duration
	for b.Loop() {
		start := time.Now()
		floor()
		middle := time.Now()
		ours()
		tFloor += middle.Sub(start)
		tOurs += time.Since(middle)
	}
	b.ReportMetric(float64(tOurs)/float64(tFloor), metric)
	b.ReportMetric(float64(tFloor.Nanoseconds())/float64(b.N), "floor-ns/op")
	b.ReportMetric(float64(tOurs.Nanoseconds())/float64(b.N), "ours-ns/op")
}

// BenchmarkSealLetter: sign, pad and seal, beside bare HPKE and one signature.
func BenchmarkSealLetter(b *testing.B) {
	x := newBench(b)
	beside(b, "x-floor", func() { x.signer.Sign(x.text); x.bare(b) }, func() { x.seal(b) })
}

// BenchmarkOpenLetter: open, unpad, read and verify, beside bare HPKE and one verification.
func BenchmarkOpenLetter(b *testing.B) {
	x := newBench(b)
	bareEnc, bareCT := x.bare(b)
	enc, ct := x.seal(b)
	beside(b, "x-floor", func() {
		r, err := hpke.NewRecipient(bareEnc, x.priv, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := r.Open(x.aad, bareCT); err != nil || !ed25519.Verify(x.pub[:], x.text, x.sig) {
			b.Fatal(err)
		}
	}, func() {
		padded, _, err := Open(x.k, Duty, net1, enc, x.aad, ct)
		if err != nil {
			b.Fatal(err)
		}
		raw, err := Unpad(padded)
		if err != nil {
			b.Fatal(err)
		}
		if e, err := ParseEnvelope(raw); err != nil || !e.Verify("hark/1/offer") {
			b.Fatal(err)
		}
	})
}
