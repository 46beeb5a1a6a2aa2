package node_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/api"
	"github.com/harkmarket/hark/node/internal/gossip"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/store/answers"
	"github.com/harkmarket/hark/store/kv"
)

// apiFloods are done by programs that have the token.
var apiFloods = map[string]func(t *testing.T){
	"api.requests":     requestFlood,
	"node.crew":        requestFlood,
	"api.streams":      followerFlood,
	"api.answers":      func(t *testing.T) { answerFlood(t, "api.answers", 1, answers.Items+100) },
	"api.answer-bytes": func(t *testing.T) { answerFlood(t, "api.answer-bytes", 500, 200) },
}

// A program asks the API of a node.
type program struct {
	*testing.T
	url, token string
}

func (d *program) request(ctx context.Context, verb, path, body, key string) *http.Request {
	d.Helper()
	r, err := http.NewRequestWithContext(ctx, verb, d.url+path, strings.NewReader(body))
	if err != nil {
		d.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+d.token)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	return r
}

// ask gives the status and the header of an answer.
func (d *program) ask(verb, path, body, key string) (int, http.Header) {
	d.Helper()
	resp, err := http.DefaultClient.Do(d.request(d.Context(), verb, path, body, key))
	if err != nil {
		d.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		d.Error(err)
	}
	return resp.StatusCode, resp.Header
}

// follow opens an event stream and reads its first line; it stays open until the
// test, or ctx, ends.
func (d *program) follow(ctx context.Context) (int, string) {
	d.Helper()
	resp, err := http.DefaultClient.Do(d.request(ctx, http.MethodGet, api.Root+"/events", "", ""))
	if err != nil {
		d.Fatal(err)
	}
	d.Cleanup(func() { _ = resp.Body.Close() })
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	if err != nil {
		d.Error(err)
	}
	return resp.StatusCode, line
}

// stall opens a connection and sends a request whose body never comes.
func (d *program) stall() net.Conn {
	d.Helper()
	host := strings.TrimPrefix(d.url, "http://")
	c, err := net.Dial("tcp", host)
	if err != nil {
		d.Fatal(err)
	}
	d.Cleanup(func() { _ = c.Close() })
	_, err = fmt.Fprintf(c, "POST %s/needs HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{", api.Root, host, d.token)
	if err != nil {
		d.Fatal(err)
	}
	return c
}

func (d *program) fill(n *node.Node, bound string) desk.Fill {
	d.Helper()
	v, err := n.Admin().Status(d.Context())
	if err != nil {
		d.Fatal(err)
	}
	if wrong := overruns(v.Bounds, []string{bound}); len(wrong) > 0 {
		d.Fatal(wrong)
	}
	return v.Bounds[slices.IndexFunc(v.Bounds, func(f desk.Fill) bool { return f.Name == bound })]
}

// realNode opens a real public node.
func realNode(t *testing.T) (*node.Node, *program) {
	n, paths := openReal(t)
	token, err := os.ReadFile(paths.Token())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return n, &program{t, n.URL(), string(token)}
}

// requestFlood makes more requests at once than are answered. The node can still be
// told from one that is gone, events go on, and mail is kept for strangers.
func requestFlood(t *testing.T) {
	n, d := realNode(t)
	most := int(d.fill(n, "api.requests").Cap)
	var held []net.Conn
	for range most {
		held = append(held, d.stall())
	}
	within(t, "all are under way", func() bool { return d.fill(n, "api.requests").Used == int64(most) })
	for range 8 {
		if status, _ := d.ask(http.MethodGet, api.Root+"/needs", "", ""); status != http.StatusTooManyRequests {
			t.Errorf("a request too many gets %d", status)
		}
	}
	if f := d.fill(n, "node.crew"); f.Used != f.Cap {
		t.Errorf("a crew of %d, of %d", f.Used, f.Cap)
	}
	if status, _ := d.ask(http.MethodGet, "/healthz", "", ""); status != http.StatusOK {
		t.Errorf("/healthz gets %d", status)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if status, line := d.follow(ctx); status != http.StatusOK || line == "" {
		t.Errorf("who follows events gets %d, %q", status, line)
	}
	depositAt(t, n)
	_ = held[0].Close()
	within(t, "one is answered once another has ended", func() bool {
		status, _ := d.ask(http.MethodGet, api.Root+"/needs", "", "")
		return status == http.StatusOK
	})
}

// depositAt leaves a letter at a real node, as a stranger.
func depositAt(t *testing.T, n *node.Node) {
	t.Helper()
	self, err := n.Network().Self(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	to, err := address.Parse(self.Addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	info, err := n.Network().Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f := &field{T: t}
	if err := f.net.UnmarshalText([]byte(info.ID)); err != nil {
		t.Fatal(err)
	}
	port, err := gossip.Open(context.WithoutCancel(t.Context()), peers.Config{
		Profile: peers.Personal, Key: key.Generate[key.Keeper](), Log: slog.New(slog.DiscardHandler), Now: time.Now}, f.net, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer closeHost(t, port)
	s, err := keeper.Client{Port: port, Net: f.net}.Mail(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.deposit(s, key.Generate[key.Mailbox](), 100); err != nil {
		t.Errorf("a stranger's letter: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// followerFlood opens more event streams than there may be. Those that are open and
// all requests go on, and a place that becomes free is given away.
func followerFlood(t *testing.T) {
	n, d := realNode(t)
	most := int(d.fill(n, "api.streams").Cap)
	first, leave := context.WithCancel(t.Context())
	defer leave()
	all, end := context.WithCancel(t.Context())
	defer end()
	for i := range most + 8 {
		ctx, want := all, http.StatusOK
		if i == 0 {
			ctx = first
		}
		if i >= most {
			want = http.StatusTooManyRequests
		}
		if status, _ := d.follow(ctx); status != want {
			t.Errorf("stream %d gets %d, want %d", i, status, want)
		}
	}
	if f := d.fill(n, "api.streams"); f.Used != f.Cap {
		t.Errorf("%d streams of %d", f.Used, f.Cap)
	}
	if status, _ := d.ask(http.MethodGet, api.Root+"/needs", "", ""); status != http.StatusOK {
		t.Errorf("a request gets %d", status)
	}
	depositAt(t, n)
	leave()
	within(t, "somebody else gets the place", func() bool { status, _ := d.follow(all); return status == http.StatusOK })
}

// answerFlood repeats nothing and lets an answer of so many items be kept each time.
// The oldest give way; the latest is there for who asks again, and so is that of
// somebody else who comes then.
func answerFlood(t *testing.T, bound string, items, n int) {
	d := &program{T: t, token: strings.Repeat("token", 8)}
	store := kv.Memory()
	keeps := answers.Open(store, answers.Limits{})
	s, err := api.New(hall{grants: revoker{items: items}}, api.Options{Token: d.token, Version: "test", Answers: keeps})
	if err != nil {
		t.Fatal(err)
	}
	if d.url, err = s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() { gone <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-gone; err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	}()
	replayed := func(key string) bool {
		t.Helper()
		status, h := d.ask(http.MethodPost, api.Root+"/grants/revoke", `{"all":true}`, key)
		if status != http.StatusOK {
			t.Fatalf("a keyed request gets %d", status)
		}
		return h.Get("Idempotency-Replayed") == "true"
	}
	fills := func() (list []kv.Fill) {
		t.Helper()
		if err := store.View(t.Context(), func(r kv.Reader) (err error) { list, err = keeps.Fills(r); return err }); err != nil {
			t.Fatal(err)
		}
		return list
	}
	for i := range n {
		replayed(fmt.Sprint("key ", i))
		for _, f := range fills() {
			if f.Used > f.Cap {
				t.Fatalf("%s is %d of %d", f.Name, f.Used, f.Cap)
			}
		}
	}
	stats := fills()
	f := stats[slices.IndexFunc(stats, func(f kv.Fill) bool { return f.Name == bound })]
	kept := stats[slices.IndexFunc(stats, func(f kv.Fill) bool { return f.Name == "api.answers" })].Used
	one := int64(1)
	if bound == "api.answer-bytes" {
		one = f.Used / kept
	}
	if f.Used <= f.Cap-one || kept >= int64(n) {
		t.Errorf("%s is %d of %d, %d answers of %d are kept", bound, f.Used, f.Cap, kept, n)
	}
	if !replayed(fmt.Sprint("key ", n-1)) || replayed("key 0") {
		t.Error("the latest answer is gone, or the oldest is not")
	}
	if replayed("somebody else") || !replayed("somebody else") {
		t.Error("somebody else's answer is not kept")
	}
}

// A hall is a house with one desk.
type hall struct {
	desk.House
	grants desk.Grants
}

func (h hall) Customer() desk.Customer { return counter{grants: h.grants} }

type counter struct {
	desk.Customer
	grants desk.Grants
}

func (c counter) Grants() desk.Grants { return c.grants }

// A revoker answers with so many grants.
type revoker struct {
	desk.Grants
	items int
}

func (r revoker) Revoke(context.Context, []string, desk.Query, string) ([]desk.Grant, error) {
	return make([]desk.Grant, r.items), nil
}
