package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"os"
	"strings"

	"github.com/harkmarket/hark/protocol/fault"
)

// guard is everything before an operation, outermost last.
func (s *Server) guard() http.Handler {
	origin := http.NewCrossOriginProtection()
	origin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		send(w, plain(http.StatusForbidden, fault.Denied, "cross-origin", "this request comes from another web site", "use the node's own page or a program"))
	}))
	return s.host(origin.Handler(s.preflight(s.bearer(s.bounds(s.replay(s.route()))))))
}

// host refuses every name but the loopback ones with our port.
func (s *Server) host(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		s.mu.Lock()
		ok := s.hosts[r.Host]
		s.mu.Unlock()
		if !ok {
			send(w, plain(http.StatusMisdirectedRequest, fault.Denied, "wrong-host", "this node answers only to its loopback addresses", "use the URL that `hark run` prints"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// preflight refuses what asks for CORS.
func (s *Server) preflight(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodOptions {
			send(w, plain(http.StatusMethodNotAllowed, fault.Denied, "no-cors", "other web sites may not use this API", ""))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// bearer lets only those through who can read the token file.
func (s *Server) bearer(next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(s.opt.Token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			next.ServeHTTP(w, r)
			return
		}
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(token)) // digests: equal lengths, so the time tells nothing
		if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
			send(w, plain(http.StatusUnauthorized, fault.Denied, "unauthorised", "no token, or the wrong one", "send the token from the file that api.json names"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// bounds holds back what comes all at once. Event streams have their own bound, and a
// node with all hands full can still be told from one that is gone.
func (s *Server) bounds(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == Root+"/events" || r.URL.Path == "/healthz" {
			next.ServeHTTP(w, r)
			return
		}
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
			next.ServeHTTP(w, r)
		default:
			send(w, plain(http.StatusTooManyRequests, fault.Full, "full", "too many requests at once", "try again in a moment"))
		}
	})
}

// route finds the operation; what there is none for gets a problem document too.
func (s *Server) route() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, pattern := s.mux.Handler(r)
		if pattern != "" {
			s.mux.ServeHTTP(w, r)
			return
		}
		seen := &verdict{header: http.Header{}, status: http.StatusNotFound}
		h.ServeHTTP(seen, r)
		if allow := seen.header.Get("Allow"); allow != "" {
			w.Header().Set("Allow", allow)
			send(w, plain(http.StatusMethodNotAllowed, fault.Unsupported, "method", r.Method+" is not possible here", "use "+allow))
			return
		}
		send(w, plain(http.StatusNotFound, fault.NotFound, "no-such-path", "there is nothing at "+r.URL.Path, "see "+Root+"/openapi.json"))
	})
}

// A verdict takes what the mux says of a path that it does not know.
type verdict struct {
	header http.Header
	status int
}

func (v *verdict) Header() http.Header         { return v.header }
func (v *verdict) Write(b []byte) (int, error) { return len(b), nil }
func (v *verdict) WriteHeader(status int)      { v.status = status }

// health answers without a token, so that a stale api.json can be told from a
// running node before the token is sent anywhere.
func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"schema": "hark.health/1", "status": "ok", "pid": os.Getpid()})
}
