// Package client talks to a running node over its REST API, from the same machine.
// A Client is a desk.House: what a program may ask of a node inside its own process
// it may ask of another process in the same words.
//
//	c, err := client.Open(ctx, apiFile)          // the node's api.json
//	need, err := c.Customer().Needs().Create(ctx, desk.NeedSpec{Name: "desk"})
//	err = c.Admin().Events(ctx, 0, func(e desk.Event) error { … })
//
// Errors carry the kind of fault that the node named, so errors.Is(err,
// fault.NotFound) holds on both sides of the wire; errors.As with *Error gives the
// code and the next step. No node there is ErrNotRunning.
package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/harkmarket/hark/protocol/fault"
)

// ErrNotRunning says that no node answers where one was looked for.
var ErrNotRunning = fmt.Errorf("no node is running: %w", fault.Offline)

const (
	root      = "/api/v1"
	maxReply  = 64 << 20        // bytes of an answer
	maxFile   = 64 << 10        // bytes of an api.json or token file
	helloWait = 3 * time.Second // for /healthz
)

// A File is what a running node leaves in api.json of its state folder, so that
// programs find it. Other programs must keep unknown keys in mind.
type File struct {
	Schema    string    `json:"schema"` // "hark.api/1"
	URL       string    `json:"url"`
	TokenFile string    `json:"token_file"`
	PID       int       `json:"pid"`
	Version   string    `json:"version"`
	Started   time.Time `json:"started"`
}

// FileSchema is the schema of a File.
const FileSchema = "hark.api/1"

// ReadFile reads an api.json. A missing one gives ErrNotRunning.
func ReadFile(path string) (File, error) {
	var f File
	raw, err := readSmall(path)
	if errors.Is(err, os.ErrNotExist) {
		return f, fmt.Errorf("%s: %w", path, ErrNotRunning)
	}
	if err != nil {
		return f, err
	}
	if err := json.Unmarshal(raw, &f); err != nil || f.Schema != FileSchema {
		return f, fmt.Errorf("%s: not a %s file: %w", path, FileSchema, fault.Malformed)
	}
	return f, nil
}

func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// A Client is a connection to one node's API, safe for concurrent use.
type Client struct {
	base  string
	token string
	http  *http.Client
	file  File
}

// New makes a client for a node whose URL and token are known. The URL must be a
// loopback one: the token goes nowhere else.
func New(base, token string) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("api address %q: %w", base, fault.Malformed)
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if u.Scheme != "http" || u.Hostname() != "localhost" && (err != nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("api address %q: want http:// and a loopback address: %w", base, fault.Malformed)
	}
	dial := &net.Dialer{Timeout: helloWait}
	return &Client{base: "http://" + u.Host, token: token, http: &http.Client{
		Transport:     &http.Transport{DialContext: dial.DialContext, MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Open finds the node that left the api.json at path, and makes sure that it is
// still there before the token is sent. A stale file gives ErrNotRunning.
func Open(ctx context.Context, path string) (*Client, error) {
	f, err := ReadFile(path)
	if err != nil {
		return nil, err
	}
	if !filepath.IsAbs(f.TokenFile) {
		f.TokenFile = filepath.Join(filepath.Dir(path), f.TokenFile)
	}
	token, err := readSmall(f.TokenFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s names a token file that is gone: %w", path, ErrNotRunning)
	}
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	c, err := New(f.URL, strings.TrimSpace(string(token)))
	if err != nil {
		return nil, err
	}
	c.file = f
	pid, err := c.Health(ctx)
	if err != nil {
		return nil, err
	}
	if pid != f.PID {
		return nil, fmt.Errorf("%s was left by process %d, but process %d answers at %s: %w", path, f.PID, pid, f.URL, ErrNotRunning)
	}
	return c, nil
}

// File is the api.json that this client was opened from; zero after New.
func (c *Client) File() File { return c.file }

// URL is where the node answers.
func (c *Client) URL() string { return c.base }

// Health asks for the node's process id; it needs no token.
func (c *Client) Health(ctx context.Context) (pid int, err error) {
	ctx, cancel := context.WithTimeout(ctx, helloWait)
	defer cancel()
	var h struct {
		Schema string `json:"schema"`
		PID    int    `json:"pid"`
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/healthz", nil)
	if err != nil {
		return 0, err
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return 0, fmt.Errorf("%s does not answer: %w", c.base, ErrNotRunning)
	}
	defer resp.Body.Close()
	if json.NewDecoder(io.LimitReader(resp.Body, maxFile)).Decode(&h) != nil || h.Schema != "hark.health/1" {
		return 0, fmt.Errorf("something else answers at %s: %w", c.base, ErrNotRunning)
	}
	return h.PID, nil
}

// Metrics reads what the node counts, in Prometheus's text format.
func (c *Client) Metrics(ctx context.Context) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, fmt.Errorf("%s/metrics: %w", c.base, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, problem(resp)
	}
	return io.ReadAll(io.LimitReader(resp.Body, maxReply))
}

// Close gives idle connections back.
func (c *Client) Close() { c.http.CloseIdleConnections() }

type keyed struct{}

// Keyed gives a context under which a request carries this Idempotency-Key, for one
// request: whoever keeps the key can send the same again, also to the next life of the
// node, and it happens once.
func Keyed(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, keyed{}, key)
}

// fresh is the key of a request: the context's, or else a new one.
func fresh(ctx context.Context, verb string) string {
	if verb == http.MethodGet {
		return ""
	}
	if key, ok := ctx.Value(keyed{}).(string); ok {
		return key
	}
	return rand.Text()
}

// Call sends in as JSON to a path below /api/v1 and reads the answer into out; nil
// means no body. A []byte or io.Reader goes as text/csv. All but a GET carries an
// Idempotency-Key, see Keyed, and is sent once more when the connection breaks.
func (c *Client) Call(ctx context.Context, verb, path string, in, out any) error {
	body, kind, err := encode(in)
	if err != nil {
		return err
	}
	key := fresh(ctx, verb)
	resp, err := c.send(ctx, verb, path, body, kind, key)
	if err != nil && key != "" && ctx.Err() == nil && !errors.Is(err, ErrNotRunning) {
		resp, err = c.send(ctx, verb, path, body, kind, key)
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode > 299 {
		return problem(resp)
	}
	if out == nil || resp.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxReply)).Decode(out); err != nil {
		return fmt.Errorf("answer of %s %s: %w", verb, path, err)
	}
	return nil
}

const (
	asJSON = "application/json"
	csv    = "text/csv"
)

func encode(in any) (body []byte, kind string, err error) {
	switch in := in.(type) {
	case nil:
		return nil, "", nil
	case []byte:
		return in, csv, nil
	case io.Reader:
		body, err = io.ReadAll(io.LimitReader(in, maxReply))
		return body, csv, err
	}
	body, err = json.Marshal(in)
	return body, asJSON, err
}

func (c *Client) send(ctx context.Context, verb, path string, body []byte, kind, key string) (*http.Response, error) {
	return c.sendFrom(ctx, verb, path, bytes.NewReader(body), kind, key)
}

func (c *Client) sendFrom(ctx context.Context, verb, path string, body io.Reader, kind, key string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, verb, c.base+root+path, body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", verb, path, err)
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	resp, err := c.http.Do(r)
	if err == nil {
		return resp, nil
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" && ctx.Err() == nil {
		return nil, fmt.Errorf("%s does not answer: %w", c.base, ErrNotRunning)
	}
	return nil, fmt.Errorf("%s %s: %w", verb, path, err)
}

// An Error is a problem that the node told.
type Error struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Kind   string `json:"kind"`
	Detail string `json:"detail"`
	Next   string `json:"next"`
}

// Error gives what happened.
func (e *Error) Error() string { return e.Detail }

// Unwrap gives the kind of fault.
func (e *Error) Unwrap() error {
	for k := fault.Internal; k <= fault.Locked; k++ {
		if k.Error() == e.Kind {
			return k
		}
	}
	return fault.Internal
}

// Unauthorised tells whether err is a refused token.
func Unauthorised(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Status == http.StatusUnauthorized
}

func problem(resp *http.Response) error {
	e := &Error{}
	if json.NewDecoder(io.LimitReader(resp.Body, maxFile)).Decode(e) != nil || e.Detail == "" {
		e.Detail = fmt.Sprintf("the node answered %s", resp.Status)
	}
	e.Status = resp.StatusCode
	return e
}
