package node

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/harkmarket/hark/node/client"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol/fault"
)

// opened opens a home as `hark run` does, on the machine's own loopback.
func opened(t *testing.T, cfg Config) *Node {
	t.Helper()
	n, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, n) })
	return n
}

func closed(t *testing.T, n *Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		t.Error(err)
	}
}

func TestASecondStartFindsTheFirst(t *testing.T) {
	p := home(t)
	n := opened(t, Config{Paths: p, Passphrase: []byte("correct horse"), Version: "test"})
	_, err := Open(t.Context(), Config{Paths: p})
	running, ok := errors.AsType[*AlreadyRunning](err)
	if !ok || !errors.Is(err, fault.Conflict) {
		t.Fatalf("got %v", err)
	}
	if running.PID != os.Getpid() || running.URL != n.URL() || !strings.Contains(running.Error(), n.URL()) {
		t.Errorf("got %+v", running)
	}
	// Without a file that says where it is, the store's own lock still tells.
	api := read(t, p.API())
	if err := os.Remove(p.API()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{Paths: p}); !errors.Is(err, fault.Conflict) {
		t.Errorf("without api.json: %v", err)
	}
	if _, err := Audit(p, []byte("correct horse")); !errors.Is(err, fault.Conflict) {
		t.Errorf("an audit of a running node: %v", err)
	}
	if err := os.WriteFile(p.API(), []byte(api), 0o600); err != nil {
		t.Fatal(err)
	}
	closed(t, n)
	if _, err := client.Open(t.Context(), p.API()); !errors.Is(err, client.ErrNotRunning) {
		t.Errorf("after its end: %v", err)
	}
}

func TestANodeThatDidNotOpenLeavesItsHomeFree(t *testing.T) {
	p := home(t)
	for name, c := range map[string]struct {
		cfg  Config
		want fault.Kind
	}{
		"a wrong passphrase":      {Config{Paths: p, Passphrase: []byte("wrong")}, fault.Denied},
		"an unknown misbehaviour": {Config{Paths: p, Misbehave: "sulk"}, fault.Malformed},
		"no home":                 {Config{Paths: place(t)}, fault.NotFound},
	} {
		if _, err := Open(t.Context(), c.cfg); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	n := opened(t, Config{Paths: p, NoAPI: true}) // no passphrase: it starts locked
	if s, err := n.Admin().Status(t.Context()); err != nil || !s.Locked || len(s.Problems) == 0 || s.Problems[0].Code != "locked" {
		t.Errorf("status %+v, %v", s, err)
	}
	if err := n.Admin().Unlock(t.Context(), nil); !errors.Is(err, fault.Locked) {
		t.Errorf("unlock with nothing: %v", err)
	}
	if err := n.Admin().Unlock(t.Context(), []byte("wrong")); !errors.Is(err, fault.Denied) {
		t.Errorf("unlock with the wrong one: %v", err)
	}
	if _, err := n.Customer().Vault().List(t.Context()); !errors.Is(err, fault.Locked) {
		t.Errorf("the vault of a locked node: %v", err)
	}
	for range 2 { // unlocking what is open changes nothing
		if err := n.Admin().Unlock(t.Context(), []byte("correct horse")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := n.Customer().Vault().Set(t.Context(), "contact.email", desk.Value("a@example.org")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := n.Admin().Lock(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := n.Customer().Vault().Get(t.Context(), "contact.email"); !errors.Is(err, fault.Locked) {
		t.Errorf("after lock: %v", err)
	}
	if err := n.Admin().Unlock(t.Context(), []byte("correct horse")); err != nil {
		t.Fatal(err)
	}
	if f, err := n.Customer().Vault().Get(t.Context(), "contact.email"); err != nil || f.Value != "a@example.org" {
		t.Errorf("unlocked again: %+v, %v", f, err)
	}
}

func TestStopClosesDoneOnce(t *testing.T) {
	n := opened(t, Config{Paths: home(t), NoAPI: true})
	for range 2 {
		if err := n.Admin().Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-n.Done():
	default:
		t.Error("nobody was told")
	}
}

// A home whose files were changed does not open.
func TestAChangedNetworkFileIsRefused(t *testing.T) {
	p := home(t)
	text := read(t, p.network())
	if err := os.WriteFile(p.network(), []byte(strings.Replace(text, `"name": "hark"`, `"name": "shark"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{Paths: p}); !errors.Is(err, fault.Malformed) {
		t.Errorf("got %v", err)
	}
}

func TestAuditRefuses(t *testing.T) {
	p := home(t)
	if _, err := Audit(place(t), nil); !errors.Is(err, fault.NotFound) {
		t.Errorf("no home: %v", err)
	}
	if _, err := Audit(p, nil); !errors.Is(err, fault.Locked) {
		t.Errorf("no passphrase: %v", err)
	}
	if _, err := Audit(p, []byte("wrong")); !errors.Is(err, fault.Denied) {
		t.Errorf("a wrong one: %v", err)
	}
}
