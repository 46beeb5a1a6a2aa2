// Package api is the door of a node for programs on the same machine: a REST API
// over loopback HTTP, described by an OpenAPI 3.1 document that it serves itself.
// The commands, the examples and the web page all come in here; what they may ask
// is package desk, word for word.
//
// A request passes, in this order:
//
//  1. Host: an exact allow-list, so that a web page whose name was pointed at
//     127.0.0.1 gets nothing (421).
//  2. Origin: state-changing requests of other sites are refused (403); there is no
//     CORS, so a preflight is refused as well (405).
//  3. Token: all but /healthz needs the bearer token, compared in constant time (401).
//  4. Bounds: so many requests at once (429; /healthz and event streams apart), so
//     large a body (413), so long a wait.
//  5. Once: with an Idempotency-Key, a repeated request that changes something gets the
//     first one's answer and does nothing, also after a crash. That it was done is kept
//     in the transaction of its effect; the answer before it is given. Where a crash came
//     between the two, the repetition shows the present state of what the first one made
//     or changed. What takes several transactions (the revocation of several grants, an
//     import, a file) is done to its end by the repetition. Answers are sealed at rest,
//     and bounded in number, bytes and age (package answers).
//  6. The operation: parameters and body are checked against the schema, unknown
//     ones are refused, then a desk of the node is asked.
//
// An error is a problem document (RFC 9457) with the kind of fault, a code to quote
// and the next step. A GET changes nothing.
//
//house:allow package the operations of every desk of the front door, most of them one line each
package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
)

// Root is the path below which all operations stand.
const Root = "/api/v1"

// Bounds of the door.
const (
	maxBody     = 1 << 20  // bytes of a request body
	maxFile     = 32 << 20 // bytes of an imported catalogue
	maxHeader   = 16 << 10
	maxAtOnce   = 128 // requests under way, event streams apart
	maxStreams  = 32  // event streams
	headTimeout = 5 * time.Second
	bodyTimeout = 30 * time.Second
	fileTimeout = 5 * time.Minute
	idleTimeout = 2 * time.Minute
	farewell    = 5 * time.Second // for requests under way when the node stops
)

// Options configure a server. Addr is a loopback address, 127.0.0.1:0 where empty;
// Token is the bearer token, at least 22 characters.
type Options struct {
	Addr    string
	Token   string
	Version string
	Answers Answers      // keeps answers to repeated requests
	Metrics http.Handler // what /metrics answers; none where nil
	Log     *slog.Logger
	Now     func() time.Time
}

// A Server is the API of one node.
type Server struct {
	house desk.House
	opt   Options
	mux   *http.ServeMux
	http  *http.Server
	spec  []byte
	keyed map[string]int64 // patterns that honour an Idempotency-Key: bytes of their bodies
	turns turns
	slots chan struct{}

	mu      sync.Mutex
	ln      net.Listener
	hosts   map[string]bool
	streams map[int]context.CancelFunc
	next    int
	closing bool
	closed  chan struct{}
}

// New makes a server over h. An address that is not loopback is refused with
// fault.Unsupported, a short token with fault.Malformed.
func New(h desk.House, o Options) (*Server, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	if err := Loopback(o.Addr); err != nil {
		return nil, err
	}
	if len(o.Token) < 22 {
		return nil, fmt.Errorf("api: token of %d characters, want at least 22: %w", len(o.Token), fault.Malformed)
	}
	if o.Answers == nil {
		return nil, fmt.Errorf("api: nothing keeps answers: %w", fault.Malformed)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{
		house: h, opt: o, mux: http.NewServeMux(), keyed: map[string]int64{}, turns: turns{by: map[string]chan struct{}{}},
		slots: make(chan struct{}, maxAtOnce), streams: map[int]context.CancelFunc{}, closed: make(chan struct{}),
	}
	if err := s.register(); err != nil {
		return nil, err
	}
	s.http = &http.Server{
		Handler: s.guard(), ReadHeaderTimeout: headTimeout, ReadTimeout: fileTimeout, WriteTimeout: fileTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// Loopback refuses an address that the API can't have, or must not.
func Loopback(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("api: %.200q is no address: want a host and a port, as 127.0.0.1:0, where port 0 takes a free one: %w", addr, fault.Malformed)
	}
	if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return fmt.Errorf("api: %q is no loopback address: another one needs a password and TLS, which are not offered; use 127.0.0.1:0: %w",
			addr, fault.Unsupported)
	}
	return nil
}

// register makes all operations and the document that describes them.
func (s *Server) register() error {
	about := "What programs on the same machine may ask of a Hark node. Every id also works as a unique prefix. " +
		"Money is in minor units. Lists are paged: pass `next` as `after`. Errors are problem documents (RFC 9457) with " +
		"`code`, `kind` and `next`, the step that helps. Operations that change something honour `Idempotency-Key`, also over a restart of the node."
	config := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info:    &huma.Info{Title: "Hark node", Version: s.opt.Version, Description: about},
			Components: &huma.Components{
				Schemas:         huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}},
			},
			Security: []map[string][]string{{"token": {}}},
			Tags:     tags,
		},
		Formats: huma.DefaultFormats, DefaultFormat: "application/json", RejectUnknownQueryParameters: true,
	}
	r := &routes{api: humago.New(s.mux, config), s: s}
	r.node()
	r.customer()
	r.grants()
	r.deals()
	r.vendor()
	r.events()
	spec, err := json.Marshal(r.api.OpenAPI())
	if err != nil {
		return fmt.Errorf("api: description: %w", err)
	}
	s.spec = spec
	s.mux.HandleFunc("GET "+Root+"/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(spec)
	})
	s.mux.HandleFunc("GET /healthz", s.health)
	if s.opt.Metrics != nil {
		s.mux.Handle("GET /metrics", s.opt.Metrics)
	}
	return nil
}

// Listen takes the address; the URL carries the port that was found.
func (s *Server) Listen() (url string, err error) {
	ln, err := net.Listen("tcp", s.opt.Addr)
	if err != nil {
		return "", fmt.Errorf("the API can't listen at %s (%w): %w", s.opt.Addr, cause(err), fault.Conflict)
	}
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		return "", errors.Join(err, ln.Close())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ln, s.hosts = ln, map[string]bool{}
	for _, host := range []string{"127.0.0.1", "localhost", "::1"} {
		s.hosts[net.JoinHostPort(host, port)] = true
	}
	return "http://" + ln.Addr().String(), nil
}

// cause is what the system said, without where.
func cause(err error) error {
	if e, ok := errors.AsType[*os.SyscallError](err); ok {
		return e.Err
	}
	return err
}

// Run serves until ctx ends or Close is called, and returns when the requests under
// way are answered. Listen comes first.
func (s *Server) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
		defer cancel()
		_ = s.Close(bye)
	})
	defer stop()
	if err := s.http.Serve(s.ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("api: %w", err)
	}
	<-s.closed
	return nil
}

// Close ends the event streams, waits for requests under way, and closes the
// address. What is still under way when ctx ends is cut off.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	first := !s.closing
	s.closing = true
	for _, end := range s.streams {
		end()
	}
	ln := s.ln
	s.mu.Unlock()
	if !first {
		<-s.closed
		return nil
	}
	defer close(s.closed)
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("api: %w", err), s.http.Close())
	}
	if ln != nil {
		_ = ln.Close() // closed already where Run served it
	}
	return err
}

// Stats gives each bound with its fill.
func (s *Server) Stats() []kv.Fill {
	s.mu.Lock()
	streams := len(s.streams)
	s.mu.Unlock()
	return []kv.Fill{
		{Name: "api.requests", Used: int64(len(s.slots)), Cap: maxAtOnce},
		{Name: "api.streams", Used: int64(streams), Cap: maxStreams},
	}
}
