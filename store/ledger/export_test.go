package ledger_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire/alloc"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/ledger"
)

func export(w world) []byte {
	w.Helper()
	var out bytes.Buffer
	w.view(func(r kv.Reader) error { return justErr(w.Export(r, &out, 77, nil)) })
	return out.Bytes()
}

func justErr(_ ledger.Head, err error) error { return err }

func TestExportIsVerifiedWithoutANode(t *testing.T) {
	w := newWorld(t)
	for size := range 9 {
		rep, err := ledger.VerifyExport(bytes.NewReader(export(w)))
		h := w.head(77)
		if err != nil || rep.Entries != int64(size) || rep.Root != h.Root || rep.Head.Root != h.Root ||
			rep.Head.AtMS != 77 || rep.Head.Device != w.Device() || rep.Head.Check() != nil {
			t.Fatalf("size %d: VerifyExport = %+v, %v", size, rep, err)
		}
		w.add(strings.Repeat("x", size*100))
	}
	w.add("", "body\nwith\nlines", string([]byte{0, 0xff}))
	w.shred(2)
	w.shred(9)
	rep, err := ledger.VerifyExport(bytes.NewReader(export(w)))
	mine, _ := w.verify()
	if err != nil || rep.Entries != 12 || rep.Shredded != 2 || rep.Root != mine.Root || rep.FirstMS != mine.FirstMS || rep.LastMS != mine.LastMS {
		t.Errorf("VerifyExport = %+v, %v, Verify = %+v", rep, err, mine)
	}
	for _, line := range bytes.Split(bytes.TrimSuffix(export(w), []byte("\n")), []byte("\n")) {
		if !json.Valid(line) {
			t.Errorf("not JSON: %s", line)
		}
	}
	big := newWorld(t)
	big.add(strings.Repeat("b", ledger.MaxBody))
	if rep, err := ledger.VerifyExport(bytes.NewReader(export(big))); rep.Entries != 1 || err != nil {
		t.Errorf("the largest body: %+v, %v", rep, err)
	}
}

func TestEveryChangedByteOfAnExportIsFound(t *testing.T) {
	w := newWorld(t)
	w.add("a", "bb", "ccc")
	w.shred(2)
	good := export(w)
	for i := range good {
		for _, change := range []byte{0x01, 0x20, 0x80} {
			bad := bytes.Clone(good)
			bad[i] ^= change
			if _, err := ledger.VerifyExport(bytes.NewReader(bad)); err == nil {
				t.Fatalf("byte %d: %q became %q unnoticed", i, good[i], bad[i])
			}
		}
		if _, err := ledger.VerifyExport(bytes.NewReader(good[:i])); err == nil {
			t.Fatalf("cut at byte %d unnoticed", i)
		}
	}
}

func TestVerifyExportRefuses(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	w.add("a", "b", "c")
	other.add("a", "b", "c")
	good := string(export(w))
	lines := strings.SplitAfter(strings.TrimSuffix(good, "\n"), "\n")
	lines[len(lines)-1] += "\n"
	join := func(l ...string) string { return strings.Join(l, "") }
	foreign := strings.SplitAfter(string(export(other)), "\n")
	for name, c := range map[string]struct{ text, why string }{
		"nothing":               {"", "line 1"},
		"no head":               {join(lines[:4]...), "line 5"},
		"twice":                 {good + good, "something follows"},
		"a byte more":           {good + "\n", "something follows"},
		"no last line end":      {strings.TrimSuffix(good, "\n"), "line 5"},
		"an entry less":         {join(lines[0], lines[1], lines[3], lines[4]), "line 3"},
		"swapped":               {join(lines[0], lines[2], lines[1], lines[3], lines[4]), "line 2"},
		"repeated":              {join(lines[0], lines[1], lines[1], lines[2], lines[4]), "line 3"},
		"another's entry":       {join(lines[0], lines[1], foreign[2], lines[3], lines[4]), "line 5"},
		"another's head":        {join(lines[0], lines[1], lines[2], lines[3], foreign[4]), "line 5"},
		"another schema":        {strings.Replace(good, "hark.ledger/1", "hark.ledger/2", 1), "schema"},
		"a huge size":           {strings.Replace(good, `"size":3}`, `"size":3000000000000000}`, 1), "size 3000000000000000"},
		"a negative size":       {strings.Replace(good, `"size":3}`, `"size":-3}`, 1), "size -3"},
		"a smaller size":        {strings.Replace(good, `"size":3}`, `"size":2}`, 1), "line 4"},
		"an unknown field":      {strings.Replace(good, `"seq":1,`, `"seq":1,"x":1,`, 1), "one spelling"},
		"a repeated field":      {strings.Replace(good, `"seq":1,`, `"seq":1,"seq":1,`, 1), "one spelling"},
		"a space":               {strings.Replace(good, `"seq":1,`, `"seq": 1,`, 1), "one spelling"},
		"another case":          {strings.Replace(good, `"seq":1,`, `"Seq":1,`, 1), "one spelling"},
		"a carriage return":     {strings.Replace(good, "\n", "\r\n", 1), "one spelling"},
		"a null body":           {strings.Replace(good, `"body":"YQ=="`, `"body":null`, 1), "one spelling"},
		"no body":               {strings.Replace(good, `,"body":"YQ=="`, ``, 1), "missing"},
		"a body and a leaf":     {strings.Replace(good, `"body":"YQ=="`, `"body":"YQ==","leaf":"YQ=="`, 1), "too many"},
		"half shredded":         {strings.Replace(good, `"body":"YQ=="`, `"body":"YQ==","shredded":true`, 1), "too many"},
		"a capital kind":        {strings.Replace(good, `"kind":"note"`, `"kind":"Note"`, 1), "kind"},
		"a line too long":       {strings.Replace(good, `YQ==`, strings.Repeat("YWFh", ledger.MaxLine/4), 1), "longer than"},
		"a body too long":       {strings.Replace(good, `YQ==`, strings.Repeat("YWFh", ledger.MaxBody/3+1), 1), "a body of"},
		"not JSON":              {"{\n", "line 1"},
		"a key of another kind": {strings.Replace(good, "hkdevice1", "hkduty1", 1), "line 1"},
	} {
		_, err := ledger.VerifyExport(strings.NewReader(c.text))
		if err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v, want %q", name, err, c.why)
		}
		if k := fault.Of(err); k != fault.Malformed && k != fault.Full && k != fault.Unsupported {
			t.Errorf("%s: %v has kind %v", name, err, k)
		}
	}
	broken := errors.New("broken pipe")
	if _, err := ledger.VerifyExport(io.MultiReader(strings.NewReader(lines[0]), failing{broken})); !errors.Is(err, broken) {
		t.Errorf("a reader that fails = %v", err)
	}
	w.view(func(r kv.Reader) error {
		if err := justErr(w.Export(r, failing{broken}, 1, nil)); !errors.Is(err, broken) {
			t.Errorf("Export to a writer that fails = %v", err)
		}
		return nil
	})
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error)  { return 0, f.err }
func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestADamagedLedgerIsNeitherSignedNorExported(t *testing.T) {
	sound := newWorld(t)
	sound.add("a", "b", "c", "d", "e")
	for name, c := range map[string]struct {
		key  string
		at   int  // byte from the end
		head bool // Head notices, too
	}{
		"edge":        {"l/n", 1, true},
		"node":        {"l/r/\x00\x00\x00\x00\x00\x00\x00\x04l", 1, true},
		"last leaf":   {"l/r/\x00\x00\x00\x00\x00\x00\x00\x05l", 2, true},
		"buried leaf": {"l/r/\x00\x00\x00\x00\x00\x00\x00\x01l", 2, false},
		"body":        {"l/r/\x00\x00\x00\x00\x00\x00\x00\x02b", 1, false},
	} {
		w := world{t, copyStore(t, sound.store), sound.Ledger}
		must(t, w.update(func(tx kv.Tx) error {
			v, err := tx.Get([]byte(c.key))
			v[len(v)-c.at] ^= 1
			return errors.Join(err, tx.Put([]byte(c.key), v))
		}))
		w.view(func(r kv.Reader) error {
			var out bytes.Buffer
			if err := justErr(w.Export(r, &out, 1, nil)); !errors.Is(err, fault.Malformed) {
				t.Errorf("%s: Export = %v, want Malformed", name, err)
			}
			if _, err := ledger.VerifyExport(&out); err == nil {
				t.Errorf("%s: what was written verifies", name)
			}
			if _, err := w.Head(r, 1); c.head && !errors.Is(err, fault.Malformed) {
				t.Errorf("%s: Head = %v, want Malformed", name, err)
			}
			return nil
		})
	}
}

// frozen are exports made once, by the device with the seed of 32 bytes 9. They hold
// the format still: what a regulator keeps must verify with every later program.
func frozen(t testing.TB) (texts map[string]string) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.ndjson")
	must(t, err)
	if len(files) != 3 {
		t.Fatalf("testdata holds %d exports, want 3", len(files))
	}
	texts = map[string]string{}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		must(t, err)
		texts[filepath.Base(f)] = string(raw)
	}
	return texts
}

func TestFrozenExportsVerify(t *testing.T) {
	for name, want := range map[string]struct {
		entries, shredded int64
		root              string
	}{
		"empty.ndjson":    {0, 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		"three.ndjson":    {3, 0, "824f8b2c73ced4702ae9f56d57eeee423eef77ee04d2328f04c9d3236edfd3a2"},
		"shredded.ndjson": {5, 1, "ad2364a67a252b996dc7c71e2b74ba5c11cefc6d4b2770832bbbb91cbf636fdc"},
	} {
		rep, err := ledger.VerifyExport(strings.NewReader(frozen(t)[name]))
		if err != nil || rep.Entries != want.entries || rep.Shredded != want.shredded || fmt.Sprintf("%x", rep.Root) != want.root {
			t.Errorf("%s: %+v, root %x, %v", name, rep, rep.Root, err)
		}
	}
}

// lines reads the lines of an export that was verified, and writes them again.
func lines(t *testing.T, raw []byte) (again []byte) {
	t.Helper()
	all := bytes.Split(bytes.TrimSuffix(raw, []byte("\n")), []byte("\n"))
	for i, line := range all {
		var v any = new(ledger.Entry)
		switch i {
		case 0:
			v = new(struct {
				Schema string                 `json:"schema"`
				Device key.Public[key.Device] `json:"device"`
				Size   int64                  `json:"size"`
			})
		case len(all) - 1:
			v = new(struct {
				Head ledger.Head `json:"head"`
			})
		}
		must(t, json.Unmarshal(line, v))
		out, err := json.Marshal(v)
		must(t, err)
		again = append(append(again, out...), '\n')
	}
	return again
}

func FuzzVerifyExport(f *testing.F) {
	seed, err := key.SecretFrom(bytes.Repeat([]byte{9}, 32))
	must(f, err)
	device := key.FromSeed[key.Device](seed).Public()
	signed := map[string]bool{}
	for _, text := range frozen(f) {
		f.Add([]byte(text))
		signed[text] = true
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		most := 4*ledger.MaxLine + alloc.Most(len(raw)) // one line is buffered
		if got, over := alloc.Over(most, func() { _, _ = ledger.VerifyExport(bytes.NewReader(raw)) }); over {
			t.Errorf("%d bytes allocated for %d", got, len(raw))
		}
		rep, err := ledger.VerifyExport(bytes.NewReader(raw))
		if err == nil && !bytes.Equal(lines(t, raw), raw) {
			t.Errorf("verified, and written again as\n%s", lines(t, raw))
		}
		if err == nil && rep.Head.Device == device && !signed[string(raw)] {
			t.Errorf("accepted what the device has not signed:\n%s", raw)
		}
	})
}
