package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/harkmarket/hark/node/client"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// leave writes an api.json and a token file, as a node does.
func leave(t *testing.T, f client.File) string {
	t.Helper()
	dir := t.TempDir()
	raw, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "api.json")
	for name, data := range map[string][]byte{path: raw, filepath.Join(dir, "token"): []byte("secret-token\n")} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// server is a node's API that answers health and what the test adds.
func server(t *testing.T, pid int, more http.HandlerFunc) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("the token was sent to whoever answers")
		}
		fmt.Fprintf(w, `{"schema":"hark.health/1","status":"ok","pid":%d}`, pid)
	})
	if more != nil {
		mux.HandleFunc("/api/v1/", more)
	}
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func TestOpenFindsTheNode(t *testing.T) {
	s := server(t, 7, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret-token" {
			t.Errorf("authorization %q", r.Header.Get("Authorization"))
		}
		fmt.Fprint(w, `{"name":"testing"}`)
	})
	path := leave(t, client.File{Schema: client.FileSchema, URL: s.URL, TokenFile: "token", PID: 7})
	c, err := client.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	n, err := c.Network().Info(t.Context())
	if err != nil || n.Name != "testing" || c.File().PID != 7 || c.URL() != s.URL {
		t.Errorf("%+v, %v", n, err)
	}
}

func TestOpenRefusesWhatIsStale(t *testing.T) {
	live := server(t, 7, nil)
	gone := server(t, 7, nil)
	gone.Close()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	good := client.File{Schema: client.FileSchema, URL: live.URL, TokenFile: "token", PID: 7}
	with := func(change func(*client.File)) string {
		f := good
		change(&f)
		return leave(t, f)
	}
	for name, c := range map[string]struct {
		path string
		want error
	}{
		"no file":          {filepath.Join(t.TempDir(), "api.json"), client.ErrNotRunning},
		"nobody answers":   {with(func(f *client.File) { f.URL = gone.URL }), client.ErrNotRunning},
		"another answers":  {with(func(f *client.File) { f.URL = other.URL }), client.ErrNotRunning},
		"another process":  {with(func(f *client.File) { f.PID = 8 }), client.ErrNotRunning},
		"no token file":    {with(func(f *client.File) { f.TokenFile = "gone" }), client.ErrNotRunning},
		"another schema":   {with(func(f *client.File) { f.Schema = "hark.api/2" }), fault.Malformed},
		"another machine":  {with(func(f *client.File) { f.URL = "http://192.0.2.1:80" }), fault.Malformed},
		"another protocol": {with(func(f *client.File) { f.URL = "https://127.0.0.1:80" }), fault.Malformed},
	} {
		if _, err := client.Open(t.Context(), c.path); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestProblemsKeepTheirKind(t *testing.T) {
	answer := ""
	s := server(t, 7, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusConflict)
		fmt.Fprint(w, answer)
	})
	c, err := client.New(s.URL, "t")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answer = `{"status":409,"code":"conflict","kind":"conflict","detail":"it is withdrawn","next":"look"}`
	_, err = c.Ledger().Verify(t.Context())
	e, ok := errors.AsType[*client.Error](err)
	if !ok || !errors.Is(err, fault.Conflict) || e.Next != "look" || err.Error() != "it is withdrawn" {
		t.Errorf("%v", err)
	}
	for _, answer = range []string{"", "<html>", `{"kind":"from tomorrow"}`} {
		if _, err = c.Ledger().Verify(t.Context()); !errors.Is(err, fault.Internal) || err.Error() == "" {
			t.Errorf("answer %q: %v", answer, err)
		}
	}
	s.Close()
	if err := c.Admin().Lock(t.Context()); !errors.Is(err, client.ErrNotRunning) {
		t.Errorf("after its end: %v", err)
	}
}

func TestABrokenConnectionIsTriedOnceMoreWithTheSameKey(t *testing.T) {
	var mu sync.Mutex
	var keys []string
	s := server(t, 7, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		keys = append(keys, r.Header.Get("Idempotency-Key"))
		if len(keys) == 1 {
			panic(http.ErrAbortHandler)
		}
		fmt.Fprint(w, `{"id":"ab"}`)
	})
	c, err := client.New(s.URL, "t")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	n, err := c.Customer().Needs().Create(t.Context(), desk.NeedSpec{Name: "desk"})
	if err != nil || n.ID != "ab" || len(keys) != 2 || keys[0] == "" || keys[0] != keys[1] {
		t.Errorf("%+v, %v, keys %q", n, err, keys)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	s := server(t, 7, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
	})
	c, err := client.New(s.URL, "t")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Ledger().Verify(t.Context()); err == nil || errors.Is(err, client.ErrNotRunning) {
		t.Errorf("a redirect: %v", err)
	}
}

// TestEventsGoOnAfterABreak cuts the stream after each event: none is lost or seen
// twice.
func TestEventsGoOnAfterABreak(t *testing.T) {
	var connections atomic.Int32
	s := server(t, 7, func(w http.ResponseWriter, r *http.Request) {
		connections.Add(1)
		last, _ := strconv.ParseUint(r.Header.Get("Last-Event-ID"), 10, 64)
		fmt.Fprintf(w, "retry: 1000\n\n: a comment\n\nid: %d\nevent: x\ndata: {\"id\":%d,\ndata: \"kind\":\"x\"}\n\n", last+1, last+1)
	})
	c, err := client.New(s.URL, "t")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var ids []uint64
	enough := errors.New("enough")
	err = c.Admin().Events(t.Context(), 0, func(e desk.Event) error {
		if ids = append(ids, e.ID); len(ids) == 3 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || !slices.Equal(ids, []uint64{1, 2, 3}) || connections.Load() != 3 {
		t.Errorf("%v over %d connections, %v", ids, connections.Load(), err)
	}
}

func TestEventsEnd(t *testing.T) {
	never := func(desk.Event) error { return nil }
	silent := server(t, 7, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	c, err := client.New(silent.URL, "t")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.Admin().Events(ctx, 0, never); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with its context: %v", err)
	}
	refuses := server(t, 7, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"kind":"denied","detail":"no token"}`)
	})
	if c, err = client.New(refuses.URL, "t"); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Admin().Events(t.Context(), 0, never); !client.Unauthorised(err) {
		t.Errorf("without a token: %v", err)
	}
	broken := server(t, 7, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "data: no JSON\n\n") })
	if c, err = client.New(broken.URL, "t"); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Admin().Events(t.Context(), 0, never); !errors.Is(err, fault.Malformed) {
		t.Errorf("of something else: %v", err)
	}
}

func TestEventsGiveUpOnANodeThatStaysAway(t *testing.T) {
	if testing.Short() {
		t.Skip("waits several seconds")
	}
	s := server(t, 7, nil)
	c, err := client.New(s.URL, "t")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s.Close()
	if err := c.Admin().Events(t.Context(), 0, func(desk.Event) error { return nil }); !errors.Is(err, client.ErrNotRunning) {
		t.Errorf("%v", err)
	}
}
