package seal

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	libp2p "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/record"
)

const domain = "hark/1/announcement"

func signed(t testing.TB, payload []byte) []byte {
	t.Helper()
	return SignEnvelope(key.FromSeed[key.Context](fixed(t, 1)), domain, payload)
}

func TestEnvelope(t *testing.T) {
	k := key.FromSeed[key.Context](fixed(t, 1))
	for _, n := range []int{1, 127, 128, 3300, 16383, 16384, 70000} {
		payload := bytes.Repeat([]byte{7}, n)
		raw := SignEnvelope(k, domain, payload)
		e, err := ParseEnvelope(raw)
		if err != nil {
			t.Fatal(n, err)
		}
		if e.Key != k.Public() || string(e.Type) != domain || !bytes.Equal(e.Payload, payload) || len(e.Signature) != 64 {
			t.Errorf("%d: other parts than were signed", n)
		}
		if !e.Verify(domain) || e.Verify("hark/1/offer") || e.Verify("") {
			t.Errorf("%d: verification is wrong", n)
		}
		if !bytes.Equal(e.Marshal(), raw) {
			t.Errorf("%d: re-marshals to other bytes", n)
		}
		if &e.Payload[0] != &raw[len(raw)-66-n] || cap(e.Payload) != n || cap(e.Type) != len(domain) {
			t.Errorf("%d: the parts are copies, or reach beyond themselves", n)
		}
	}
}

// The bytes are the wire format.
func TestEnvelopeIsFrozen(t *testing.T) {
	raw := SignEnvelope(key.FromSeed[key.Context](fixed(t, 1)), "hark/1/x", []byte("payload"))
	want := "0a24080112208a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c" +
		"12086861726b2f312f78" + "1a077061796c6f6164" + "2a40"
	if got := hex.EncodeToString(raw); !strings.HasPrefix(got, want) || len(raw) != len(want)/2+64 {
		t.Errorf("%s", got)
	}
	msg := "\x08hark/1/x" + "\x08hark/1/x" + "\x07payload"
	if !ed25519.Verify(raw[6:38], []byte(msg), raw[len(raw)-64:]) {
		t.Error("the signature covers other bytes")
	}
}

func TestParseEnvelopeRefuses(t *testing.T) {
	good := signed(t, []byte("payload"))
	keyPart, typePart := good[:38], good[38:38+2+len(domain)]
	rest := good[len(keyPart)+len(typePart):]
	body, sig := rest[:9], rest[9:]
	cat := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	edit := func(i int, b byte) []byte { c := bytes.Clone(good); c[i] = b; return c }
	if !bytes.Equal(cat(keyPart, typePart, body, sig), good) {
		t.Fatal("the test cuts at the wrong places")
	}
	unknown := []byte{0x32, 1, 'x'} // field 6
	for name, bad := range map[string][]byte{
		"nothing":            nil,
		"trailing byte":      cat(good, []byte{0}),
		"trailing field":     cat(good, unknown),
		"leading field":      cat(unknown, good),
		"field between":      cat(keyPart, typePart, unknown, body, sig),
		"order":              cat(keyPart, body, typePart, sig),
		"signature first":    cat(sig, keyPart, typePart, body),
		"two payloads":       cat(keyPart, typePart, body, body, sig),
		"two types":          cat(keyPart, typePart, typePart, body, sig),
		"two keys":           cat(keyPart, keyPart, typePart, body, sig),
		"no key":             cat(typePart, body, sig),
		"no type":            cat(keyPart, body, sig),
		"no payload":         cat(keyPart, typePart, sig),
		"no signature":       cat(keyPart, typePart, body),
		"empty type":         cat(keyPart, []byte{0x12, 0}, body, sig),
		"empty payload":      cat(keyPart, typePart, []byte{0x1a, 0}, sig),
		"long varint":        cat(keyPart, typePart, []byte{0x1a, 0x87, 0}, body[2:], sig),
		"longer varint":      cat(keyPart, typePart, []byte{0x1a, 0x87, 0x80, 0}, body[2:], sig),
		"endless varint":     cat(keyPart, typePart, []byte{0x1a, 0x87, 0x80, 0x80, 0x80, 0}, body[2:], sig),
		"long varint, type":  cat(keyPart, []byte{0x12, 0x80 | byte(len(domain)), 0}, typePart[2:], body, sig),
		"payload too short":  cat(keyPart, typePart, []byte{0x1a, 6}, body[2:], sig),
		"payload too long":   cat(keyPart, typePart, []byte{0x1a, 8}, body[2:], sig),
		"payload past end":   cat(keyPart, typePart, []byte{0x1a, 0xff, 0x7f}, body[2:], sig),
		"type of 128 bytes":  cat(keyPart, []byte{0x12, 0x80, 1}, make([]byte, 128), body, sig),
		"secp256k1":          edit(3, 2),
		"key type spelt out": cat([]byte{0x0a, 0x25, 0x08, 0x81, 0x00}, keyPart[4:], typePart, body, sig),
		"key fields swapped": cat([]byte{0x0a, 0x24, 0x12, 0x20}, keyPart[6:], []byte{8, 1}, typePart, body, sig),
		"key of 31":          cat([]byte{0x0a, 0x23, 8, 1, 0x12, 0x1f}, keyPart[7:], typePart, body, sig),
		"wire type":          edit(38, 0x10),
		"signature of 63":    cat(keyPart, typePart, body, []byte{0x2a, 63}, sig[3:]),
		"signature as 4":     edit(len(good)-66, 0x22),
		"payload over bound": cat(keyPart, typePart, []byte{0x1a, 0x80, 0x80, 0x80, 1}, make([]byte, 1<<21), sig),
	} {
		if e, err := ParseEnvelope(bad); !errors.Is(err, ErrForm) || e.Payload != nil || e.Key != [32]byte{} {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range good {
		if _, err := ParseEnvelope(good[:i]); !errors.Is(err, ErrForm) {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
	}
}

func TestEnvelopeBitFlips(t *testing.T) {
	good := signed(t, []byte("payload"))
	for i := range len(good) * 8 {
		good[i/8] ^= 1 << (i % 8)
		if e, err := ParseEnvelope(good); err == nil && e.Verify(domain) {
			t.Errorf("bit %d flipped and accepted", i)
		}
		good[i/8] ^= 1 << (i % 8)
	}
	if e, err := ParseEnvelope(good); err != nil || !e.Verify(domain) {
		t.Error("the envelope itself is refused", err)
	}
}

// A swapped type: the same payload and signature read in another domain.
func TestEnvelopeTypeIsBound(t *testing.T) {
	e, err := ParseEnvelope(signed(t, []byte("payload")))
	if err != nil {
		t.Fatal(err)
	}
	e.Type = []byte("hark/1/withdrawal12")
	if e.Verify(domain) || e.Verify(string(e.Type)) {
		t.Error("the type can be swapped")
	}
	// The identity as key verifies anything under plain Ed25519; see package key.
	forged := Envelope{Key: [32]byte{1}, Type: []byte(domain), Payload: []byte("x"), Signature: append([]byte{1}, make([]byte, 63)...)}
	if !ed25519.Verify(forged.Key[:], []byte("anything"), forged.Signature) {
		t.Fatal("plain verification refuses it: the test shows nothing")
	}
	if forged.Verify(domain) {
		t.Error("a key of small order signs everything")
	}
	e.Payload = make([]byte, MaxPayload+1)
	if e.Verify(string(e.Type)) || (Envelope{}).Verify("") {
		t.Error("an envelope that can't be parsed verifies")
	}
}

func TestSignEnvelopePanics(t *testing.T) {
	k := key.Generate[key.Duty]()
	panics(t, "no domain", func() { SignEnvelope(k, "", []byte("x")) })
	panics(t, "long domain", func() { SignEnvelope(k, strings.Repeat("d", MaxType+1), []byte("x")) })
	panics(t, "no payload", func() { SignEnvelope(k, domain, nil) })
	panics(t, "long payload", func() { SignEnvelope(k, domain, make([]byte, MaxPayload+1)) })
	panics(t, "no key", func() { SignEnvelope(key.Private[key.Duty]{}, domain, []byte("x")) })
}

// blob is any payload as a libp2p record.
type blob struct{ payload []byte }

func (*blob) Domain() string                   { return domain }
func (*blob) Codec() []byte                    { return []byte(domain) }
func (b *blob) MarshalRecord() ([]byte, error) { return b.payload, nil }
func (b *blob) UnmarshalRecord(raw []byte) error {
	b.payload = bytes.Clone(raw)
	return nil
}

func TestLibp2pReadsOursAndWeTheirs(t *testing.T) {
	payload := bytes.Repeat([]byte("announce "), 300)
	var back blob
	theirs, err := record.ConsumeTypedEnvelope(signed(t, payload), &back)
	if err != nil || !bytes.Equal(back.payload, payload) {
		t.Fatalf("libp2p does not read ours: %v", err)
	}
	again, err := theirs.Marshal()
	if err != nil || !bytes.Equal(again, signed(t, payload)) {
		t.Errorf("libp2p writes it differently: %v", err)
	}
	priv, err := libp2p.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	env, err := record.Seal(&blob{payload}, priv)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := env.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	e, err := ParseEnvelope(raw)
	if err != nil || !e.Verify(domain) || !bytes.Equal(e.Payload, payload) {
		t.Fatalf("we do not read theirs: %v", err)
	}
	if e.Key != key.FromSeed[key.Context](fixed(t, 2)).Public() || !bytes.Equal(raw, SignEnvelope(key.FromSeed[key.Context](fixed(t, 2)), domain, payload)) {
		t.Error("the same key and payload make other bytes")
	}
}

func TestEnvelopeAllocatesNothing(t *testing.T) {
	raw := signed(t, make([]byte, 3300))
	if n := testing.AllocsPerRun(100, func() {
		if e, err := ParseEnvelope(raw); err != nil || !e.Verify(domain) {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations for one envelope", n)
	}
}

func FuzzParseEnvelope(f *testing.F) {
	f.Add(signed(f, []byte("payload")))
	f.Add(signed(f, make([]byte, 200)))
	f.Add(signed(f, make([]byte, 20000)))
	f.Add([]byte(keyHead))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := ParseEnvelope(raw)
		if err != nil {
			return
		}
		if !bytes.Equal(e.Marshal(), raw) {
			t.Error("two spellings of one envelope")
		}
		e.Verify(string(e.Type))
	})
}

// BenchmarkEnvelopeVerify stands beside bare verification of the same bytes.
func BenchmarkEnvelopeVerify(b *testing.B) {
	raw := signed(b, make([]byte, 3300-38-21-66-3))
	k := key.FromSeed[key.Context](fixed(b, 1))
	pub, sig := k.Public(), k.Sign(raw)
	b.ReportAllocs()
	beside(b, "x-verify", func() {
		if !ed25519.Verify(pub[:], raw, sig) {
			b.Fatal("refused")
		}
	}, func() {
		if e, err := ParseEnvelope(raw); err != nil || !e.Verify(domain) {
			b.Fatal("refused")
		}
	})
}
