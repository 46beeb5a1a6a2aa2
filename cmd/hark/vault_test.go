package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/rogpeppe/go-internal/testscript"
)

// large BYTES FILE writes a file that is no text.
func large(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: large bytes file")
	}
	n := 0
	if _, err := fmt.Sscan(args[0], &n); err != nil {
		ts.Fatalf("%v", err)
	}
	raw := make([]byte, n)
	for i := range raw {
		raw[i] = byte(i ^ i>>8 ^ i>>16)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), raw, 0o600))
}

// agekey FILE writes a fresh age identity, and recipient.txt for grab.
func agekey(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: agekey file")
	}
	id, err := age.GenerateX25519Identity()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(id.String()+"\n"), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("recipient.txt"), []byte("RECIPIENT="+id.Recipient().String()), 0o600))
}

// agedecrypt FILE KEY OUT opens an age file with the library alone; KEY holds an
// identity or a passphrase.
func agedecrypt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: agedecrypt file key out")
	}
	key := strings.TrimSpace(ts.ReadFile(args[1]))
	ids, err := age.ParseIdentities(strings.NewReader(key))
	if err != nil {
		var id *age.ScryptIdentity
		if id, err = age.NewScryptIdentity(key); err == nil {
			ids = []age.Identity{id}
		}
	}
	ts.Check(err)
	r, err := age.Decrypt(strings.NewReader(ts.ReadFile(args[0])), ids...)
	ts.Check(err)
	plain, err := io.ReadAll(r)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), plain, 0o600))
}

// cutoff FILE OUT writes a file without its last bytes.
func cutoff(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: cutoff file out")
	}
	raw := ts.ReadFile(args[0])
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(raw[:len(raw)-10]), 0o600))
}

func TestSmallText(t *testing.T) {
	for in, want := range map[string]string{"a\n": "a", "a\r\nb\r\n": "a\nb", "": "", strings.Repeat("x", 4096) + "\n": strings.Repeat("x", 4096)} {
		if got, ok := smallText([]byte(in)); !ok || got != want {
			t.Errorf("%.20q gave %.20q, %t", in, got, ok)
		}
	}
	for _, in := range []string{"\xff", "a\x00b", strings.Repeat("x", 4097), "tab\there"} {
		if _, ok := smallText([]byte(in)); ok {
			t.Errorf("%.20q passed for a text", in)
		}
	}
}

func TestAMeterPassesEverything(t *testing.T) {
	var errs bytes.Buffer
	a := &app{stderr: &errs}
	m := newMeter(a, "read", strings.NewReader("some bytes"), 10)
	got, err := io.ReadAll(m)
	m.end()
	if err != nil || string(got) != "some bytes" || m.n != 10 || errs.Len() != 0 {
		t.Errorf("%q, %v, %d bytes counted, %q said to no terminal", got, err, m.n, errs.String())
	}
}
