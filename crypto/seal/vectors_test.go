package seal

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/sha256"
	"crypto/sha3"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"golang.org/x/crypto/chacha20poly1305"
)

// The official vectors of RFC 9180 and draft-ietf-hpke-pq, in the form of the Go
// project. They lie beside the project, not in it.

type hexBytes []byte

func (h *hexBytes) UnmarshalJSON(raw []byte) error {
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	b, err := hex.DecodeString(s)
	*h = b
	return err
}

type vector struct {
	Mode        uint16   `json:"mode"`
	KEM         uint16   `json:"kem_id"`
	KDF         uint16   `json:"kdf_id"`
	AEAD        uint16   `json:"aead_id"`
	Info        hexBytes `json:"info"`
	SkRm        hexBytes `json:"skRm"`
	PkRm        hexBytes `json:"pkRm"`
	Enc         hexBytes `json:"enc"`
	Encryptions []struct {
		AAD hexBytes `json:"aad"`
		CT  hexBytes `json:"ct"`
		PT  hexBytes `json:"pt"`
	} `json:"encryptions"`
	Exports []struct {
		Context hexBytes `json:"exporter_context"`
		L       int      `json:"L"`
		Value   hexBytes `json:"exported_value"`
	} `json:"exports"`
	AccEncryptions hexBytes `json:"encryptions_accumulated"`
	AccExports     hexBytes `json:"exports_accumulated"`
}

func (v vector) String() string {
	return fmt.Sprintf("kem %04x kdf %04x aead %04x", v.KEM, v.KDF, v.AEAD)
}

func load(t *testing.T, name string) []vector {
	t.Helper()
	shared := os.Getenv("HARK_SHARED")
	must := shared != ""
	if !must {
		shared = filepath.Join("..", "..", "..", "shared")
	}
	raw, err := os.ReadFile(filepath.Join(shared, "vectors", "hpke", name))
	if err != nil && !must {
		t.Skipf("SKIPPED: no official HPKE vectors here (%v); set HARK_SHARED to the folder that holds them", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	var vs []vector
	if err := json.Unmarshal(raw, &vs); err != nil || len(vs) == 0 {
		t.Fatalf("%s: %d vectors, %v", name, len(vs), err)
	}
	return vs
}

// Our suite, through our key types: what the official sender sealed, we open.
func TestOfficialVectorsOfOurSuite(t *testing.T) {
	found := 0
	for _, v := range load(t, "hpke-pq.json") {
		if v.Mode != 0 || v.KEM != 0x647a || v.KDF != 1 || v.AEAD != 3 {
			continue
		}
		found++
		seed, err := key.SecretFrom(v.SkRm)
		if err != nil {
			t.Fatal(err)
		}
		k := key.SealFromSeed[key.DutySeal](seed)
		if pub, err := k.Public().MarshalBinary(); err != nil || !bytes.Equal(pub, v.PkRm) {
			t.Fatalf("the seed gives another public key (%v)", err)
		}
		priv, err := k.HPKE()
		if err != nil {
			t.Fatal(err)
		}
		if len(v.Enc) != EncSize || len(v.PkRm) != key.EncapsulationSize {
			t.Errorf("sizes: enc %d, public key %d", len(v.Enc), len(v.PkRm))
		}
		to, err := hpke.NewRecipient(v.Enc, priv, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), v.Info)
		if err != nil {
			t.Fatal(err)
		}
		if len(v.Encryptions) == 0 || len(v.Exports) == 0 {
			t.Fatal("empty vector")
		}
		for i, e := range v.Encryptions {
			if pt, err := to.Open(e.AAD, e.CT); err != nil || !bytes.Equal(pt, e.PT) {
				t.Errorf("encryption %d: %x, %v", i, pt, err)
			}
		}
		for i, e := range v.Exports {
			if out, err := to.Export(string(e.Context), e.L); err != nil || !bytes.Equal(out, e.Value) {
				t.Errorf("export %d: %x, %v", i, out, err)
			}
		}
	}
	if found == 0 {
		t.Error("no vector of our suite")
	}
}

// Every other vector that crypto/hpke can express: the library under us is sound.
func TestOfficialVectorsOfTheLibrary(t *testing.T) {
	checked := 0
	for _, name := range []string{"hpke-pq.json", "rfc9180.json"} {
		for _, v := range load(t, name) {
			kem, e1 := hpke.NewKEM(v.KEM)
			kdf, e2 := hpke.NewKDF(v.KDF)
			aead, e3 := hpke.NewAEAD(v.AEAD)
			if v.Mode != 0 || e1 != nil || e2 != nil || e3 != nil {
				t.Logf("%s: %v is not in crypto/hpke", name, v)
				continue
			}
			checked++
			priv, err := kem.NewPrivateKey(v.SkRm)
			if err != nil || !bytes.Equal(priv.PublicKey().Bytes(), v.PkRm) {
				t.Errorf("%v: private key: %v", v, err)
				continue
			}
			to, err := hpke.NewRecipient(v.Enc, priv, kdf, aead, v.Info)
			if err != nil {
				t.Errorf("%v: %v", v, err)
				continue
			}
			checkExports(t, v, to)
			if v.AEAD == 0xffff {
				continue
			}
			for i, e := range v.Encryptions {
				if pt, err := to.Open(e.AAD, e.CT); err != nil || !bytes.Equal(pt, e.PT) {
					t.Errorf("%v: encryption %d: %v", v, i, err)
				}
			}
			if len(v.AccEncryptions) > 0 && v.KEM == 0x20 && v.KDF == 1 && v.AEAD == 3 {
				checkAccumulated(t, v, to)
			}
		}
	}
	if checked < 10 {
		t.Errorf("only %d vectors checked", checked)
	}
}

func checkExports(t *testing.T, v vector, to *hpke.Recipient) {
	t.Helper()
	for i, e := range v.Exports {
		if out, err := to.Export(string(e.Context), e.L); err != nil || !bytes.Equal(out, e.Value) {
			t.Errorf("%v: export %d: %v", v, i, err)
		}
	}
	if len(v.AccExports) == 0 {
		return
	}
	// The RFC's own file is large; it was folded into one hash over 1000 draws.
	source, sink := sha3.NewSHAKE128(), sha3.NewSHAKE128()
	for l := range 1000 {
		out, err := to.Export(string(draw(source)), l)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = sink.Write(out)
	}
	got := make([]byte, 16)
	_, _ = sink.Read(got)
	if !bytes.Equal(got, v.AccExports) {
		t.Errorf("%v: accumulated exports %x, want %x", v, got, v.AccExports)
	}
}

func draw(r *sha3.SHAKE) []byte {
	n := make([]byte, 1)
	_, _ = r.Read(n)
	b := make([]byte, n[0])
	_, _ = r.Read(b)
	return b
}

// checkAccumulated plays the official sender with a second implementation of RFC
// 9180's key schedule (sections 4.1 and 5.1), because the library's sender draws a
// fresh key: its ciphertexts fold to the official value, and the library opens them.
func checkAccumulated(t *testing.T, v vector, to *hpke.Recipient) {
	t.Helper()
	skR, err := ecdh.X25519().NewPrivateKey(v.SkRm)
	if err != nil {
		t.Fatal(err)
	}
	pkE, err := ecdh.X25519().NewPublicKey(v.Enc)
	if err != nil {
		t.Fatal(err)
	}
	dh, err := skR.ECDH(pkE)
	if err != nil {
		t.Fatal(err)
	}
	kemID := append([]byte("KEM"), 0, 0x20)
	extract := func(suite, salt []byte, label string, ikm []byte) []byte {
		out, err := hkdf.Extract(sha256.New, bytes.Join([][]byte{[]byte("HPKE-v1"), suite, []byte(label), ikm}, nil), salt)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	expand := func(suite, prk []byte, label string, info []byte, n int) []byte {
		full := bytes.Join([][]byte{binary.BigEndian.AppendUint16(nil, uint16(n)), []byte("HPKE-v1"), suite, []byte(label), info}, nil)
		out, err := hkdf.Expand(sha256.New, prk, string(full), n)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	shared := expand(kemID, extract(kemID, nil, "eae_prk", dh), "shared_secret", append(bytes.Clone(v.Enc), v.PkRm...), 32)
	suite := append([]byte("HPKE"), 0, 0x20, 0, 1, 0, 3)
	schedule := append([]byte{0}, extract(suite, nil, "psk_id_hash", nil)...)
	schedule = append(schedule, extract(suite, nil, "info_hash", v.Info)...)
	secret := extract(suite, shared, "secret", nil)
	aead, err := chacha20poly1305.New(expand(suite, secret, "key", schedule, 32))
	if err != nil {
		t.Fatal(err)
	}
	base := expand(suite, secret, "base_nonce", schedule, 12)

	source, sink := sha3.NewSHAKE128(), sha3.NewSHAKE128()
	for seq := range uint64(1000) {
		aad, pt := draw(source), draw(source)
		nonce := bytes.Clone(base)
		binary.BigEndian.PutUint64(nonce[4:], binary.BigEndian.Uint64(nonce[4:])^seq)
		ct := aead.Seal(nil, nonce, pt, aad)
		_, _ = sink.Write(ct)
		if got, err := to.Open(aad, ct); err != nil || !bytes.Equal(got, pt) {
			t.Fatalf("%v: message %d: %v", v, seq, err)
		}
	}
	got := make([]byte, 16)
	_, _ = sink.Read(got)
	if !bytes.Equal(got, v.AccEncryptions) {
		t.Errorf("%v: accumulated encryptions %x, want %x", v, got, v.AccEncryptions)
	}
}
