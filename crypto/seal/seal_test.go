package seal

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
)

// fixed is a secret of one repeated byte.
func fixed(t testing.TB, b byte) key.Secret {
	t.Helper()
	s, err := key.SecretFrom(bytes.Repeat([]byte{b}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func panics(t *testing.T, name string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s went through", name)
		}
	}()
	f()
}

// badLabels finds what breaks the table: read from the source, so that a constant
// can't be forgotten here.
func badLabels(t *testing.T, src any) (bad []string, n int) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "labels.go", src, 0)
	if err != nil {
		t.Fatal(err)
	}
	form := regexp.MustCompile(`^hark/1/[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
	seen := map[string]bool{}
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			spec := s.(*ast.ValueSpec)
			typ, _ := spec.Type.(*ast.Ident)
			if typ == nil || typ.Name != "Label" || len(spec.Values) != 1 {
				bad = append(bad, spec.Names[0].Name)
				continue
			}
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil || !form.MatchString(value) || seen[value] {
				bad = append(bad, spec.Names[0].Name)
			}
			seen[value] = true
			n++
		}
	}
	return bad, n
}

func TestLabels(t *testing.T) {
	planted := "package p\nconst (\nA Label = `hark/1/a`\nB Label = `hark/1/a`\nC Label = `hark/2/c`\nD = `hark/1/d`\nE Label = `hark/1/E`\n)"
	if bad, _ := badLabels(t, planted); len(bad) != 4 {
		t.Fatalf("of four planted labels it finds %v", bad)
	}
	bad, n := badLabels(t, nil)
	if len(bad) > 0 || n < 20 {
		t.Errorf("%d labels, bad: %v", n, bad)
	}
}

func TestLP(t *testing.T) {
	if got := hex.EncodeToString(LP([]byte("ab"), nil, []byte{9})); got != "000000026162"+"00000000"+"0000000109" {
		t.Error(got)
	}
	if len(LP()) != 0 || bytes.Equal(LP([]byte("a"), []byte("b")), LP([]byte("ab"))) || bytes.Equal(LP([]byte("a"), nil), LP([]byte("a"))) {
		t.Error("two lists of parts give the same bytes")
	}
}

func TestDigestDeriveMAC(t *testing.T) {
	want := sha256.Sum256([]byte("\x00\x00\x00\x0chark/1/grantxyz"))
	if got := Digest(LabelGrant, []byte("x"), []byte("yz")); got != want {
		t.Errorf("Digest %x, want %x", got, want)
	}
	if Digest(LabelGrant) == Digest(LabelShard) {
		t.Error("the label makes no difference")
	}
	s := fixed(t, 1)
	wantKey, err := hkdf.Key(sha256.New, s.Reveal(), nil, "\x00\x00\x00\x13hark/1/context-sign\x00\x00\x00\x02id", 32)
	if err != nil {
		t.Fatal(err)
	}
	d := Derive(s, LabelContextSign, []byte("id"))
	if !bytes.Equal(d.Reveal(), wantKey) {
		t.Errorf("Derive %x, want %x", d.Reveal(), wantKey)
	}
	for _, other := range []key.Secret{Derive(s, LabelContextSeal, []byte("id")), Derive(s, LabelContextSign, nil), Derive(fixed(t, 2), LabelContextSign, []byte("id"))} {
		if d.Equal(other) {
			t.Error("two derivations meet")
		}
	}
	h := hmac.New(sha256.New, s.Reveal())
	h.Write([]byte("\x00\x00\x00\x0ahark/1/macmsg"))
	mac := MAC(s, []byte("msg"))
	if !bytes.Equal(mac[:], h.Sum(nil)) {
		t.Errorf("MAC %x", mac)
	}
	if !CheckMAC(s, []byte("msg"), mac[:]) || CheckMAC(s, []byte("msh"), mac[:]) || CheckMAC(fixed(t, 2), []byte("msg"), mac[:]) ||
		CheckMAC(s, []byte("msg"), mac[:31]) || CheckMAC(s, []byte("msg"), nil) || CheckMAC(key.Secret{}, []byte("msg"), mac[:]) {
		t.Error("CheckMAC is wrong")
	}
}

func TestNoKeyNoLock(t *testing.T) {
	var none key.Secret
	panics(t, "Derive", func() { Derive(none, LabelDevice, nil) })
	panics(t, "MAC", func() { MAC(none, nil) })
	panics(t, "SealRecord", func() { SealRecord(none, "n", 1, "s", nil) })
	panics(t, "SealUnder", func() { SealUnder(none, LabelOffer, nil, nil) })
	panics(t, "SealBody", func() { SealBody(none, nil, nil) })
	panics(t, "BodyCommitment", func() { BodyCommitment(none, nil) })
	_, e1 := OpenRecord(none, "n", 1, "s", make([]byte, 99))
	_, e2 := OpenUnder(none, LabelOffer, nil, make([]byte, 99))
	_, e3 := OpenBody(none, nil, make([]byte, 99))
	if e1 != ErrOpen || e2 != ErrOpen || e3 != ErrOpen {
		t.Error(e1, e2, e3)
	}
}

func TestPad(t *testing.T) {
	for _, n := range []int{0, 1, Bucket1K - 4, Bucket1K - 3, Bucket2K - 4, Bucket2K - 3, Bucket4K - 4, Bucket4K - 3, Bucket8K - 4, Bucket8K - 3, Bucket16K - 4, Bucket16K - 3, MaxMessage} {
		msg := bytes.Repeat([]byte{0xab}, n)
		padded, err := Pad(msg)
		if err != nil || len(padded) != Bucket(n) {
			t.Fatalf("%d: %d bytes, %v", n, len(padded), err)
		}
		if got, err := Unpad(padded); err != nil || !bytes.Equal(got, msg) {
			t.Errorf("%d does not come back: %v", n, err)
		}
		for _, size := range append(buckets[:], 0, 1000) {
			same, err := PadTo(msg, size)
			if fits := size == len(padded); fits != (err == nil) || fits && !bytes.Equal(same, padded) || !fits && !errors.Is(err, ErrForm) {
				t.Errorf("%d to %d: %v", n, size, err)
			}
		}
	}
	if _, err := Pad(make([]byte, MaxMessage+1)); !errors.Is(err, ErrForm) {
		t.Error(err)
	}
	if _, err := PadTo(make([]byte, MaxMessage+1), 0); !errors.Is(err, ErrForm) {
		t.Error(err)
	}
	if Bucket(-1) != 0 || Bucket(MaxMessage+1) != 0 {
		t.Error("a bucket for what fits none")
	}
}

func TestUnpadRefuses(t *testing.T) {
	good, _ := Pad([]byte("hello"))
	edit := func(f func([]byte) []byte) []byte { return f(bytes.Clone(good)) }
	larger := append(bytes.Clone(good), make([]byte, Bucket1K)...)
	for name, bad := range map[string][]byte{
		"nothing":       nil,
		"no bucket":     good[:Bucket1K-1],
		"larger bucket": larger,
		"32 KiB":        append(bytes.Clone(good), make([]byte, 31<<10)...),
		"dirty":         edit(func(b []byte) []byte { b[100] = 1; return b }),
		"dirty end":     edit(func(b []byte) []byte { b[len(b)-1] = 1; return b }),
		"too long":      edit(func(b []byte) []byte { b[2], b[3] = 3, 0xfd; return b }),
		"far too long":  edit(func(b []byte) []byte { b[0] = 0xff; return b }),
		"shorter":       edit(func(b []byte) []byte { b[3]--; return b }),
	} {
		if msg, err := Unpad(bad); !errors.Is(err, ErrForm) || msg != nil {
			t.Errorf("%s: %q, %v", name, msg, err)
		}
	}
}

// PadFull and UnpadFull know one bucket: every message has one spelling in it.
func TestPadFull(t *testing.T) {
	for _, n := range []int{0, 1, Bucket1K, Bucket8K - 4} {
		msg := bytes.Repeat([]byte{0xab}, n)
		padded, err := PadFull(msg, Bucket8K)
		if err != nil || len(padded) != Bucket8K {
			t.Fatalf("%d: %d bytes, %v", n, len(padded), err)
		}
		if got, err := UnpadFull(padded, Bucket8K); err != nil || !bytes.Equal(got, msg) {
			t.Errorf("%d does not come back: %v", n, err)
		}
		if _, err := UnpadFull(padded, Bucket4K); !errors.Is(err, ErrForm) {
			t.Errorf("%d in another bucket: %v", n, err)
		}
		for i, bad := range []int{Bucket8K - 1, 4 + n} { // padding that is not zero, where there is some
			if bent := bytes.Clone(padded); 4+n < Bucket8K {
				bent[bad] = 1
				if msg, err := UnpadFull(bent, Bucket8K); !errors.Is(err, ErrForm) || msg != nil {
					t.Errorf("%d, dirty %d: %v", n, i, err)
				}
			}
		}
	}
	far := make([]byte, Bucket8K)
	far[0] = 0xff
	over := append([]byte{0, 0, 0x1f, 0xfd}, make([]byte, Bucket8K-4)...)
	for _, bad := range [][]byte{far, over, nil} {
		if _, err := UnpadFull(bad, Bucket8K); !errors.Is(err, ErrForm) {
			t.Errorf("%x…: %v", bad[:min(len(bad), 4)], err)
		}
	}
	for _, c := range []struct{ n, size int }{{Bucket8K - 3, Bucket8K}, {1, 1000}, {1, 0}} {
		if _, err := PadFull(make([]byte, c.n), c.size); !errors.Is(err, ErrForm) {
			t.Errorf("%d to %d: %v", c.n, c.size, err)
		}
	}
}

func FuzzUnpad(f *testing.F) {
	for _, n := range []int{0, 5, 1020, 1021, 3000} {
		b, _ := Pad(bytes.Repeat([]byte{1}, n))
		f.Add(b)
		f.Add(b[:len(b)-1])
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		msg, err := Unpad(raw)
		if err != nil {
			return
		}
		if again, err := Pad(msg); err != nil || !bytes.Equal(again, raw) {
			t.Errorf("two spellings of a message of %d bytes", len(msg))
		}
	})
}

func TestRecords(t *testing.T) {
	k := fixed(t, 3)
	plain := []byte("her address")
	sealed := SealRecord(k, "name", 7, "schema", plain)
	if len(sealed) != len(plain)+BlobOverhead || bytes.Contains(sealed, plain) || bytes.Equal(sealed, SealRecord(k, "name", 7, "schema", plain)) {
		t.Error("not sealed, or not under a fresh nonce")
	}
	if got, err := OpenRecord(k, "name", 7, "schema", sealed); err != nil || !bytes.Equal(got, plain) {
		t.Fatal(got, err)
	}
	open := func(k key.Secret, name string, version uint64, schema string, raw []byte) error {
		got, err := OpenRecord(k, name, version, schema, raw)
		if got != nil {
			t.Errorf("bytes with an error: %q", got)
		}
		return err
	}
	for name, err := range map[string]error{
		"key": open(fixed(t, 4), "name", 7, "schema", sealed), "name": open(k, "nam", 7, "schema", sealed),
		"version": open(k, "name", 6, "schema", sealed), "schema": open(k, "name", 7, "schemb", sealed),
		"moved edge": open(k, "names", 7, "chema", sealed), "short": open(k, "name", 7, "schema", sealed[:BlobOverhead-1]),
		"empty": open(k, "name", 7, "schema", nil), "cut": open(k, "name", 7, "schema", sealed[:len(sealed)-1]),
	} {
		if err != ErrOpen {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range len(sealed) * 8 {
		sealed[i/8] ^= 1 << (i % 8)
		if open(k, "name", 7, "schema", sealed) != ErrOpen {
			t.Fatalf("bit %d flipped and opened", i)
		}
		sealed[i/8] ^= 1 << (i % 8)
	}
}

func TestUnder(t *testing.T) {
	k := fixed(t, 5)
	sealed := SealUnder(k, LabelOffer, []byte("aad"), []byte("offer"))
	if got, err := OpenUnder(k, LabelOffer, []byte("aad"), sealed); err != nil || string(got) != "offer" {
		t.Fatal(got, err)
	}
	_, e1 := OpenUnder(k, LabelOffer, []byte("aae"), sealed)
	_, e2 := OpenUnder(k, LabelRecord, []byte("aad"), sealed)
	_, e3 := OpenUnder(fixed(t, 6), LabelOffer, []byte("aad"), sealed)
	_, e4 := OpenUnder(k, LabelOffer, []byte("aad"), append(sealed, 0))
	if e1 != ErrOpen || e2 != ErrOpen || e3 != ErrOpen || e4 != ErrOpen {
		t.Error(e1, e2, e3, e4)
	}
}

func TestBody(t *testing.T) {
	k := fixed(t, 8)
	padded, err := PadTo([]byte("a sofa"), Bucket1K)
	if err != nil {
		t.Fatal(err)
	}
	sealed := SealBody(k, []byte("head"), padded)
	if len(sealed) != Bucket1K+BodyOverhead || !bytes.Equal(sealed, SealBody(k, []byte("head"), padded)) {
		t.Error("a body has one ciphertext")
	}
	if got, err := OpenBody(k, []byte("head"), sealed); err != nil || !bytes.Equal(got, padded) {
		t.Fatal(err)
	}
	_, e1 := OpenBody(k, []byte("heae"), sealed)
	_, e2 := OpenBody(fixed(t, 9), []byte("head"), sealed)
	_, e3 := OpenBody(k, []byte("head"), sealed[1:])
	_, e4 := OpenBody(k, nil, nil)
	if e1 != ErrOpen || e2 != ErrOpen || e3 != ErrOpen || e4 != ErrOpen {
		t.Error(e1, e2, e3, e4)
	}
	want := sha256.Sum256(bytes.Join([][]byte{[]byte("\x00\x00\x00\x0bhark/1/body"), k.Reveal(), padded}, nil))
	if BodyCommitment(k, padded) != want || BodyCommitment(fixed(t, 9), padded) == want {
		t.Error("the commitment is not the one of the specification")
	}
}
