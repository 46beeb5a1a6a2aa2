package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/harkmarket/hark/store/ledger/audit"
)

// plain is an export of two entries that a device made once.
const plain = "../../store/ledger/testdata/three.ndjson"

func audited(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(args, strings.NewReader(stdin), &out, &errs, time.Unix(1_800_000_000, 0))
	return code, out.String(), errs.String()
}

func TestExitCodesAndWords(t *testing.T) {
	good, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, bytes.Replace(good, []byte(`"seq":2`), []byte(`"seq":3`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, stdin string
		args        []string
		code        int
		out, errs   string
	}{
		{name: "a ledger that holds", args: []string{plain}, code: 0, out: "exactly these 3 entries in this order"},
		{name: "what it does not prove", args: []string{plain}, code: 0, out: "What it does not prove:"},
		{name: "from standard input", stdin: string(good), args: []string{"-"}, code: 0, out: "All holds."},
		{name: "a changed entry", args: []string{bad}, code: 1, out: "line 3"},
		{name: "one of two is changed", args: []string{plain, bad}, code: 1, out: "IT DOES NOT HOLD"},
		{name: "no ledger", stdin: "hello\n", args: []string{"-"}, code: 1, out: "altered: no bundle, evidence, proof or ledger"},
		{name: "no file", args: []string{bad + "x"}, code: 2, errs: "no such file"},
		{name: "a folder", args: []string{filepath.Dir(bad)}, code: 2, errs: "hark-audit:"},
		{name: "nothing", code: 2, errs: "expected"},
		{name: "an unknown flag", args: []string{"--repair", plain}, code: 2, errs: "unknown flag"},
		{name: "help", args: []string{"--help"}, code: 0, out: "without a node and without a key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errs := audited(t, c.stdin, c.args...)
			if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(errs, c.errs) {
				t.Errorf("exit %d, %q, %q", code, out, errs)
			}
		})
	}
}

func TestJSONHasItsSchema(t *testing.T) {
	for args, ok := range map[string]bool{plain: true, "-": false} {
		_, out, _ := audited(t, "x", "--json", args)
		d := json.NewDecoder(strings.NewReader(out))
		d.DisallowUnknownFields()
		var v audit.Verdict
		if err := d.Decode(&v); err != nil || v.Schema != audit.VerdictSchema || v.OK != ok || v.Problems == nil || v.Proven == nil || v.Unproven == nil || len(v.Files) != 1 {
			t.Errorf("%v: %s", err, out)
		}
	}
}
