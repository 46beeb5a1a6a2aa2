package key

import (
	"bytes"
	"crypto/ed25519"
	"encoding"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func seedOf(t *testing.T, b byte) Secret {
	t.Helper()
	s, err := SecretFrom(bytes.Repeat([]byte{b}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// RFC 8032 section 7.1, test 2.
func TestSignMatchesRFC8032(t *testing.T) {
	unhex := func(s string) []byte { b, _ := hex.DecodeString(s); return b }
	seed, err := SecretFrom(unhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))
	if err != nil {
		t.Fatal(err)
	}
	k := FromSeed[Context](seed)
	pub := k.Public()
	if got := hex.EncodeToString(pub[:]); got != "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c" {
		t.Errorf("public key %s", got)
	}
	want := unhex("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00")
	for range 3 { // the second and third use the remembered key
		if got := k.Sign([]byte{0x72}); !bytes.Equal(got, want) {
			t.Errorf("signature %x", got)
		}
	}
	if !pub.Verify([]byte{0x72}, want) || pub.Verify([]byte{0x73}, want) {
		t.Error("verification is wrong")
	}
	if !k.Seed().Equal(seed) || FromSeed[Context](k.Seed()).Public() != pub {
		t.Error("the seed does not come back")
	}
}

func TestZeroKeys(t *testing.T) {
	var k Private[Context]
	if !k.IsZero() || !k.Public().IsZero() || !k.Seed().IsZero() || !FromSeed[Context](Secret{}).IsZero() {
		t.Error("a zero key pretends to be one")
	}
	if (Public[Context]{}).Verify(nil, make([]byte, 64)) || (Public[Context]{}).Check() == nil {
		t.Error("the zero public key verifies")
	}
	if g := Generate[Context](); g.IsZero() || g.Public().IsZero() || g.Public() == Generate[Context]().Public() {
		t.Error("Generate is not random")
	}
	defer func() {
		if recover() == nil {
			t.Error("signing without a key went through")
		}
	}()
	k.Sign(nil)
}

func TestTextForms(t *testing.T) {
	k := FromSeed[Context](seedOf(t, 7)).Public()
	text := k.String()
	if !strings.HasPrefix(text, "hkcontext1") || len(text) != len("hkcontext1")+52 || text != strings.ToLower(text) {
		t.Errorf("text form %q", text)
	}
	if back, err := Parse[Context](text); err != nil || back != k {
		t.Errorf("%v, %v", back, err)
	}
	if _, err := Parse[Duty](text); !errors.Is(err, ErrForm) {
		t.Errorf("a context key parsed as a duty key: %v", err)
	}
	spare := []byte(text) // 52 letters carry 260 bits: four must be zero
	spare[len(spare)-1]++
	for name, bad := range map[string]string{
		"empty": "", "prefix alone": "hkcontext1", "capitals": strings.ToUpper(text), "short": text[:len(text)-1],
		"long": text + "a", "padding": text + "====", "newline": text + "\n", "newline inside": text[:20] + "\n" + text[21:],
		"space": " " + text, "alphabet": text[:20] + "0" + text[21:], "spare bits": string(spare), "no prefix": text[10:],
	} {
		before := k
		if err := k.UnmarshalText([]byte(bad)); !errors.Is(err, ErrForm) || k != before {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPrefixesDiffer(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range []string{
		Account{}.prefix(), Context{}.prefix(), Depositor{}.prefix(), Device{}.prefix(), Duty{}.prefix(), Issuer{}.prefix(),
		Keeper{}.prefix(), Mailbox{}.prefix(), Operational{}.prefix(), Root{}.prefix(), ContextSeal{}.sealPrefix(),
		OfferSeal{}.sealPrefix(), DutySeal{}.sealPrefix(), RequestSeal{}.sealPrefix(), InboxSeal{}.sealPrefix(), PostSeal{}.sealPrefix(),
	} {
		if seen[p] || !strings.HasPrefix(p, "hk") || strings.Index(p, "1") != len(p)-1 {
			t.Errorf("prefix %q", p)
		}
		seen[p] = true
	}
}

func TestPublicInJSONAndBinary(t *testing.T) {
	k := FromSeed[Mailbox](seedOf(t, 9)).Public()
	type doc struct {
		Key MailboxKey
		Set map[MailboxKey]int
	}
	raw, err := json.Marshal(doc{k, map[MailboxKey]int{k: 3}})
	if err != nil || !bytes.Contains(raw, []byte(`"Key":"hkmailbox1`)) {
		t.Fatalf("%s, %v", raw, err)
	}
	var back doc
	if err := json.Unmarshal(raw, &back); err != nil || back.Key != k || back.Set[k] != 3 {
		t.Errorf("%+v, %v", back, err)
	}
	bin, err := k.MarshalBinary()
	if err != nil || len(bin) != 32 {
		t.Fatal(err)
	}
	bin[0] ^= 1 // what is handed out is a copy
	if k.IsZero() || bin[0] == k[0] {
		t.Error("MarshalBinary shares memory with the key")
	}
	var other MailboxKey
	for _, n := range []int{0, 31, 33} {
		if err := other.UnmarshalBinary(make([]byte, n)); !errors.Is(err, ErrForm) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if err := other.UnmarshalBinary(k[:]); err != nil || other != k {
		t.Error("binary form does not come back")
	}
}

func TestEncapsulation(t *testing.T) {
	priv := GenerateSeal[OfferSeal]()
	pub := priv.Public()
	if pub.IsZero() || pub != SealFromSeed[OfferSeal](priv.Seed()).Public() || pub == GenerateSeal[OfferSeal]().Public() {
		t.Fatal("a seed makes one key, and only it")
	}
	raw, err := pub.MarshalBinary()
	if err != nil || len(raw) != EncapsulationSize {
		t.Fatal(len(raw), err)
	}
	var back Encapsulation[OfferSeal]
	if err := back.UnmarshalBinary(raw); err != nil || back != pub || back.Digest() != pub.Digest() {
		t.Errorf("binary form does not come back: %v", err)
	}
	raw[5] ^= 1
	if back != pub {
		t.Error("the key shares memory with the bytes it was read from")
	}
	if err := back.UnmarshalBinary(raw[1:]); !errors.Is(err, ErrForm) {
		t.Error(err)
	}
	text, err := pub.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var fromText Encapsulation[OfferSeal]
	if err := fromText.UnmarshalText(text); err != nil || fromText != pub {
		t.Errorf("text form does not come back: %v", err)
	}
	var duty Encapsulation[DutySeal]
	if err := duty.UnmarshalText(text); !errors.Is(err, ErrForm) || !duty.IsZero() {
		t.Errorf("an offer key parsed as a duty key: %v", err)
	}
	if s := pub.String(); !strings.HasPrefix(s, "hkofferseal:") || len(s) != 28 {
		t.Errorf("name %q", s)
	}
	a, err := pub.HPKE()
	b, err2 := priv.HPKE()
	c, _ := priv.HPKE()
	if err != nil || err2 != nil || !bytes.Equal(a.Bytes(), b.PublicKey().Bytes()) || b != c {
		t.Errorf("HPKE keys: %v %v", err, err2)
	}
}

func TestEncapsulationRefusals(t *testing.T) {
	var none Encapsulation[InboxSeal]
	var nobody Decapsulation[InboxSeal]
	if !none.IsZero() || !nobody.IsZero() || !nobody.Public().IsZero() || !nobody.Seed().IsZero() || !SealFromSeed[InboxSeal](Secret{}).IsZero() {
		t.Error("a zero key pretends to be one")
	}
	_, e1 := none.HPKE()
	_, e2 := nobody.HPKE()
	_, e3 := none.MarshalBinary()
	_, e4 := none.MarshalText()
	for i, err := range []error{e1, e2, e3, e4} {
		if !errors.Is(err, ErrAbsent) {
			t.Errorf("%d: %v", i, err)
		}
	}
	if none.String() != "hkinboxseal:none" {
		t.Error(none.String())
	}
	// Coefficients of 0xfff are >= q = 3329: read, but refused when sealing.
	if err := none.UnmarshalBinary(bytes.Repeat([]byte{0xff}, EncapsulationSize)); err != nil {
		t.Fatal(err)
	}
	if _, err := none.HPKE(); !errors.Is(err, ErrForm) {
		t.Error(err)
	}
}

func fuzzText[T interface {
	comparable
	encoding.TextMarshaler
}](t *testing.T, text []byte, unmarshal func(*T) error) {
	var k T
	if unmarshal(&k) != nil {
		if k != *new(T) {
			t.Error("a refused text changed the key")
		}
		return
	}
	if again, err := k.MarshalText(); err != nil || !bytes.Equal(again, text) {
		t.Errorf("%q reads as %q", text, again)
	}
}

func FuzzText(f *testing.F) {
	k := FromSeed[Context](keep(&[32]byte{1})).Public()
	e, _ := SealFromSeed[DutySeal](keep(&[32]byte{2})).Public().MarshalText()
	f.Add([]byte(k.String()))
	f.Add([]byte(k.String() + "\n"))
	f.Add([]byte(strings.ToUpper(k.String())))
	f.Add([]byte("hkcontext1" + strings.Repeat("a", 51) + "b"))
	f.Add([]byte("hkcontext1" + strings.Repeat("a", 52)))
	f.Add([]byte{})
	f.Add(e)
	f.Fuzz(func(t *testing.T, text []byte) {
		fuzzText(t, text, func(k *Public[Context]) error { return k.UnmarshalText(text) })
		fuzzText(t, text, func(k *Encapsulation[DutySeal]) error { return k.UnmarshalText(text) })
	})
}

func BenchmarkVerify(b *testing.B) {
	k := Generate[Context]()
	msg := make([]byte, 3300)
	sig := k.Sign(msg)
	pub := k.Public()
	b.Run("bare", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !ed25519.Verify(pub[:], msg, sig) {
				b.Fatal()
			}
		}
	})
	b.Run("strict", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !pub.Verify(msg, sig) {
				b.Fatal()
			}
		}
	})
}
