package node

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/zalando/go-keyring"

	"github.com/harkmarket/hark/crypto/key"
)

// errStopped is what a step panics with where everything stops.
var errStopped = errors.New("stopped")

// A rekeying is one change of what opens a home, stopped at each of its steps.
type rekeying struct {
	t          *testing.T
	p          Paths
	master     []byte
	from       string // the key store, and the passphrase that goes with it
	old        string
	to         string
	fresh      string
	do         func(*rekeying) error
	unsynced   bool // folders are not synced
	steps      int  // that there are
	lost, cuts int  // homes that did not open, of so many
}

// files are the two files of the home that matter, as they stand.
func (r *rekeying) files() map[string]string {
	out := map[string]string{}
	for _, path := range []string{r.p.keys(), r.p.keyFile()} {
		if raw, err := os.ReadFile(path); err == nil {
			out[path] = string(raw)
		}
	}
	return out
}

// lay puts files where they were.
func (r *rekeying) lay(files map[string]string) {
	r.t.Helper()
	for _, path := range []string{r.p.keys(), r.p.keyFile()} {
		_ = os.Remove(path)
		if text, ok := files[path]; ok {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				r.t.Fatal(err)
			}
		}
	}
}

// stopAt makes the change and stops it before step n. durable is what surely stands in the
// folder then, whatever the power does.
func (r *rekeying) stopAt(n int) (durable map[string]string, err error) {
	at, last := 0, ""
	durable = r.files()
	settle := func() {
		if !r.unsynced && (last == "sync folder" || runtime.GOOS == "windows") { // which syncs none, and keeps their order
			durable = r.files()
		}
	}
	defer func() {
		reached = func(string, string) {}
		if p := recover(); p != nil {
			if p != any(errStopped) {
				panic(p)
			}
			err = errStopped
		}
	}()
	reached = func(step, _ string) {
		settle()
		if last = step; at == n {
			panic(errStopped)
		}
		at++
	}
	err = r.do(r)
	settle()
	return durable, err
}

// after are the states in which a kill can leave the folder, or a power cut: of each file
// that changed since the folder was synced, the old or the new.
func after(durable, now map[string]string) (all []map[string]string) {
	all = []map[string]string{now}
	for path := range maps.Keys(union(durable, now)) {
		if durable[path] == now[path] {
			continue
		}
		for _, one := range slices.Clone(all) {
			other := maps.Clone(one)
			delete(other, path)
			if text, ok := durable[path]; ok {
				other[path] = text
			}
			all = append(all, other)
		}
	}
	return all
}

func union(a, b map[string]string) map[string]string {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

// opens tells whether the home opens with the old key or the new one, and which.
func (r *rekeying) opens() (with string, ok bool) {
	for _, passphrase := range []string{r.old, r.fresh} {
		if got, err := unlocked(r.t, r.p, passphrase); err == nil && slices.Equal(got, r.master) {
			return passphrase, true
		}
	}
	return "", false
}

// try stops the change at each step, and looks whether the home opens, and whether making
// the change again makes it.
func (r *rekeying) try() {
	r.t.Helper()
	begin := r.files()
	ring, ringErr := keyring.Get(keyringName, r.p.keys())
	put := func(text string, err error) {
		_ = keyring.Delete(keyringName, r.p.keys())
		if err == nil {
			if err := keyring.Set(keyringName, r.p.keys(), text); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	for n, over := 0, false; !over; n++ {
		r.lay(begin)
		put(ring, ringErr)
		durable, err := r.stopAt(n)
		if err != nil && !errors.Is(err, errStopped) {
			r.t.Fatalf("step %d: %v", n, err)
		}
		over = err == nil
		r.steps = n
		now := r.files()
		left, leftErr := keyring.Get(keyringName, r.p.keys())
		for _, state := range after(durable, now) {
			r.lay(state)
			put(left, leftErr)
			r.cuts++
			with, ok := r.opens()
			if !ok {
				r.lost++
				continue
			}
			if store, err := KeyStoreOf(r.p); err != nil || store == r.to && store != KeyPassphrase {
				continue // it is made: again would be a conflict
			}
			if err := rekey(r.p, []byte(with), r.to, []byte(r.fresh), true); err != nil {
				r.t.Errorf("again after step %d: %v", n, err)
			}
			if got, err := unlocked(r.t, r.p, r.fresh); err != nil || !slices.Equal(got, r.master) {
				r.t.Errorf("again after step %d: another secret, %v", n, err)
			}
		}
	}
}

// change is what the product does.
func change(r *rekeying) error { return rekey(r.p, []byte(r.old), r.to, []byte(r.fresh), true) }

// careless removes the old key before the new one is asked for.
func careless(r *rekeying) error {
	if err := removeFile(r.p.keyFile()); err != nil {
		return err
	}
	secret, err := key.SecretFrom(r.master)
	if err != nil {
		return err
	}
	return sealKeys(r.p, secret, r.to, []byte(r.fresh), true)
}

// TestAHalfMadeRekeyOpens: wherever a change of what opens a home is stopped, by a kill or
// by a power cut, the old key or the new one opens it, and making the change again makes it.
func TestAHalfMadeRekeyOpens(t *testing.T) {
	for _, c := range []struct {
		rekeying
		planted string
	}{
		{rekeying{from: KeyFile, to: KeyPassphrase, fresh: "one", do: careless}, "the old key is removed first"},
		{rekeying{from: KeyFile, to: KeyPassphrase, fresh: "one", do: change, unsynced: true}, "folders are not synced"},
		{rekeying{from: KeyFile, to: KeyPassphrase, fresh: "one", do: change}, ""},
		{rekeying{from: KeyFile, to: KeyKeyring, do: change}, ""},
		{rekeying{from: KeyPassphrase, old: "one", to: KeyPassphrase, fresh: "two", do: change}, ""},
		{rekeying{from: KeyPassphrase, old: "one", to: KeyKeyring, do: change}, ""},
		{rekeying{from: KeyPassphrase, old: "one", to: KeyFile, do: change}, ""},
		{rekeying{from: KeyKeyring, to: KeyPassphrase, fresh: "two", do: change}, ""},
		{rekeying{from: KeyKeyring, to: KeyFile, do: change}, ""},
	} {
		if c.unsynced && runtime.GOOS == "windows" {
			continue
		}
		t.Run(fmt.Sprintf("%s to %s %s", c.from, c.to, c.planted), func(t *testing.T) {
			keyring.MockInit()
			r := c.rekeying
			r.t, r.p = t, place(t)
			if err := os.MkdirAll(filepath.Dir(r.p.keys()), 0o700); err != nil {
				t.Fatal(err)
			}
			master, err := newKeys(r.p, r.from, []byte(r.old), true)
			if err != nil {
				t.Fatal(err)
			}
			r.master = master.Reveal()
			r.try()
			t.Logf("%d steps, %d states after a stop: %d do not open", r.steps, r.cuts, r.lost)
			if (r.lost > 0) != (c.planted != "") {
				t.Errorf("%d of %d homes do not open", r.lost, r.cuts)
			}
			if r.steps < 5 { // a file that is made, written, synced and named, and its folder
				t.Errorf("%d steps: was anything changed?", r.steps)
			}
		})
	}
}
