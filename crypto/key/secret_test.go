package key

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"testing"

	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"

	"github.com/fxamacker/cbor/v2"
)

// outer has unexported fields, which fmt prints without asking their methods.
type outer[T any] struct {
	Open   T
	closed T
	ptr    *T
	list   []T
}

// leaks looks for the secret in any spelling that a printer or encoder uses.
func leaks(out string, secret []byte) bool {
	decimal := strings.Trim(fmt.Sprint([4]byte(secret)), "[]")
	gosyntax := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", secret[:4]), "[]byte{"), "}")
	for _, s := range []string{
		string(secret[:8]), hex.EncodeToString(secret[:8]), strings.ToUpper(hex.EncodeToString(secret[:8])), decimal, gosyntax,
		strings.ReplaceAll(decimal, " ", ","), base64.StdEncoding.EncodeToString(secret)[:10], base64.URLEncoding.EncodeToString(secret)[:10],
	} {
		if strings.Contains(out, s) {
			return true
		}
	}
	return false
}

func render(v any) (outs []string) {
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%b", "%o", "%c", "%U", "%t", "%e"} {
		outs = append(outs, fmt.Sprintf(verb, v))
	}
	var text, js bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Info("m", "v", v)
	slog.New(slog.NewJSONHandler(&js, nil)).Info("m", "v", v)
	outs = append(outs, text.String(), js.String(), fmt.Sprint(v), fmt.Errorf("%v: %w", v, io.EOF).Error())
	if raw, err := json.Marshal(v); err == nil {
		outs = append(outs, string(raw))
	}
	if raw, err := cbor.Marshal(v); err == nil {
		outs = append(outs, string(raw))
	}
	if raw, err := xml.Marshal(v); err == nil {
		outs = append(outs, string(raw))
	}
	var g bytes.Buffer
	_ = gob.NewEncoder(&g).Encode(v)
	return append(outs, g.String())
}

func hides[T any](t *testing.T, name string, v T, secret []byte) {
	t.Helper()
	for _, shown := range []any{v, &v, []T{v}, map[string]T{"k": v}, outer[T]{v, v, &v, []T{v}}, &outer[T]{v, v, &v, []T{v}}} {
		for _, out := range render(shown) {
			if leaks(out, secret) {
				t.Errorf("%s leaks through %T: %s", name, shown, out)
			}
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if got := fmt.Sprintf(verb, v); got != "(secret)" {
			t.Errorf("%s prints %q for %s", name, got, verb)
		}
	}
}

func TestSecretsCantBePrintedOrEncoded(t *testing.T) {
	raw := []byte("0123456789abcdefghijklmnopqrst\xfe\xff")
	s, err := SecretFrom(raw)
	if err != nil {
		t.Fatal(err)
	}
	planted := 0
	for _, out := range render(outer[[32]byte]{Open: [32]byte(raw), closed: [32]byte(raw)}) {
		if leaks(out, raw) {
			planted++
		}
	}
	if planted < 8 {
		t.Fatalf("only %d of the leaks of a bare array were found: the test shows nothing", planted)
	}
	hides(t, "Secret", s, raw)
	hides(t, "Private", FromSeed[Duty](s), raw)
	d := SealFromSeed[OfferSeal](s)
	if _, err := d.HPKE(); err != nil {
		t.Fatal(err)
	}
	hides(t, "Decapsulation", d, raw)
}

func TestEncodersOfSecretsFail(t *testing.T) {
	s := NewSecret()
	for name, v := range map[string]any{"Secret": s, "Private": FromSeed[Root](s), "Decapsulation": SealFromSeed[InboxSeal](s), "field": outer[Secret]{Open: s}} {
		if _, err := json.Marshal(v); !errors.Is(err, ErrSecret) {
			t.Errorf("%s: json: %v", name, err)
		}
		if _, err := cbor.Marshal(v); !errors.Is(err, ErrSecret) {
			t.Errorf("%s: cbor: %v", name, err)
		}
		if err := gob.NewEncoder(io.Discard).Encode(v); err == nil {
			t.Errorf("%s: gob went through", name)
		}
		if _, err := xml.Marshal(v); err == nil {
			t.Errorf("%s: xml went through", name)
		}
	}
	_, e1 := s.MarshalBinary()
	_, e2 := s.MarshalText()
	_, e3 := s.MarshalCBOR()
	if e1 != ErrSecret || e2 != ErrSecret || e3 != ErrSecret || s.String() != "(secret)" || s.GoString() != "(secret)" {
		t.Error(e1, e2, e3)
	}
}

func TestSecret(t *testing.T) {
	a, b := NewSecret(), NewSecret()
	again, err := SecretFrom(a.Reveal())
	if err != nil || !a.Equal(again) || a.Equal(b) || a.IsZero() {
		t.Error("equality is wrong", err)
	}
	a.Reveal()[0] ^= 1
	if !a.Equal(again) {
		t.Error("Reveal hands out the secret's own memory")
	}
	var none Secret
	if !none.IsZero() || none.Reveal() != nil || none.Equal(none) || none.Equal(a) || a.Equal(none) {
		t.Error("no secret pretends to be one")
	}
	for _, bad := range [][]byte{nil, make([]byte, 31), bytes.Repeat([]byte{1}, 31), bytes.Repeat([]byte{1}, 33), make([]byte, 32)} {
		if s, err := SecretFrom(bad); !errors.Is(err, ErrForm) || !s.IsZero() {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
	}
}

// exported finds the compiled form of the packages that the snippets below need.
func exported(t *testing.T) types.Importer {
	t.Helper()
	out, err := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", ".").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		files[path] = file
	}
	return importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) { return os.Open(files[path]) })
}

func TestMixedKeysDontCompile(t *testing.T) {
	imp := exported(t)
	compile := func(body string) error {
		fset := token.NewFileSet()
		src := "package p\nimport \"github.com/harkmarket/hark/crypto/key\"\nfunc f() {\n" + body + "\n}"
		file, err := parser.ParseFile(fset, "p.go", src, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = (&types.Config{Importer: imp}).Check("p", fset, []*ast.File{file}, nil)
		return err
	}
	for _, good := range []string{
		"var a, b key.ContextKey; _ = a == b",
		"var a key.Public[key.Duty]; var b key.DutyKey = a; _ = b",
		"_ = map[key.Encapsulation[key.OfferSeal]]int{}",
		"_ = key.Generate[key.Root]()",
	} {
		if err := compile(good); err != nil {
			t.Fatalf("must compile: %s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"var a, b key.Secret; _ = a == b",
		"var a, b key.Private[key.Duty]; _ = a == b",
		"var a, b key.Decapsulation[key.DutySeal]; _ = a == b",
		"_ = map[key.Secret]int{}",
		"var a key.ContextKey; var b key.DutyKey = a; _ = b",
		"var a key.ContextKey; var b key.DutyKey; _ = a == b",
		"var a key.Private[key.Context]; var b key.Private[key.Duty] = a; _ = b",
		"var a key.Encapsulation[key.OfferSeal]; var b key.Encapsulation[key.DutySeal] = a; _ = b",
		"var a key.Public[key.OfferSeal]; _ = a",
		"var a key.Encapsulation[key.Duty]; _ = a",
		"type Mine struct{}; var a key.Public[Mine]; _ = a",
		"var a key.Public[key.Purpose]; _ = a",
	} {
		if compile(bad) == nil {
			t.Errorf("must not compile: %s", bad)
		}
	}
}
