package api

import (
	"bytes"
	"container/list"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/harkmarket/hark/protocol/fault"
)

// Bounds of the answers kept for repeated requests.
const (
	maxAnswers  = 1024
	maxReplay   = 8 << 20 // bytes of all kept answers
	replayLife  = 24 * time.Hour
	maxKey      = 128
	idempotency = "Idempotency-Key"
)

// answers are the kept answers, by key, the oldest first out.
type answers struct {
	mu    sync.Mutex
	now   func() time.Time
	by    map[string]*list.Element
	order *list.List
	bytes int
}

// An answer is one kept answer, or the place of one that is being made.
type answer struct {
	key    string
	sum    [32]byte // of the request
	at     time.Time
	done   chan struct{} // closed when status, kind and body stand
	status int           // 0: it failed, and the key is free again
	kind   string
	body   []byte
}

func newAnswers(now func() time.Time) *answers {
	return &answers{now: now, by: map[string]*list.Element{}, order: list.New()}
}

// claim gives the answer for a key, and whether the caller is the one to make it.
func (a *answers) claim(key string, sum [32]byte) (ans *answer, mine bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if el := a.by[key]; el != nil {
		ans = el.Value.(*answer)
		if ans.at.Add(replayLife).After(a.now()) {
			return ans, false
		}
		a.drop(el)
	}
	ans = &answer{key: key, sum: sum, at: a.now(), done: make(chan struct{})}
	a.by[key] = a.order.PushBack(ans)
	a.trim()
	return ans, true
}

// settle keeps a good answer and frees the key of any other.
func (a *answers) settle(ans *answer, status int, kind string, body []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer close(ans.done)
	if el := a.by[ans.key]; status < 200 || status > 299 {
		if el != nil && el.Value == any(ans) {
			a.drop(el)
		}
		return
	}
	ans.status, ans.kind, ans.body = status, kind, body
	if el := a.by[ans.key]; el != nil && el.Value == any(ans) {
		a.bytes += len(body)
	}
	a.trim()
}

func (a *answers) trim() {
	for len(a.by) > maxAnswers || a.bytes > maxReplay {
		a.drop(a.order.Front())
	}
}

func (a *answers) drop(el *list.Element) {
	ans := a.order.Remove(el).(*answer)
	a.bytes -= len(ans.body)
	delete(a.by, ans.key)
}

// replay gives a repeated request the first one's answer.
func (s *Server) replay(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.Header.Get(idempotency)
		if _, pattern := s.mux.Handler(r); key == "" || !s.keyed[pattern] {
			next.ServeHTTP(w, r)
			return
		}
		if len(key) > maxKey {
			send(w, plain(http.StatusBadRequest, fault.Malformed, "malformed", "the Idempotency-Key is longer than 128 bytes", "send a shorter one, as a random UUID"))
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			send(w, unreadable(err))
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		s.answerOnce(w, r, next, key, sha256.Sum256(append([]byte(r.Method+" "+r.URL.RequestURI()+"\n"), body...)))
	})
}

func unreadable(err error) *Failure {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return plain(http.StatusRequestEntityTooLarge, fault.Malformed, "too-large", "the body is larger than 1 MiB", "send less")
	}
	return plain(http.StatusBadRequest, fault.Malformed, "malformed", "the body could not be read", "send it again")
}

func (s *Server) answerOnce(w http.ResponseWriter, r *http.Request, next http.Handler, key string, sum [32]byte) {
	for {
		ans, mine := s.once.claim(key, sum)
		if mine {
			rec := &recorder{ResponseWriter: w}
			defer func() { s.once.settle(ans, rec.status, w.Header().Get("Content-Type"), rec.body.Bytes()) }()
			next.ServeHTTP(rec, r)
			return
		}
		if ans.sum != sum {
			send(w, plain(http.StatusConflict, fault.Conflict, "key-used", "this Idempotency-Key was used for another request", "use a fresh key for each request"))
			return
		}
		select {
		case <-ans.done:
		case <-r.Context().Done():
			return
		}
		if ans.status != 0 {
			w.Header().Set("Content-Type", ans.kind)
			w.Header().Set("Idempotency-Replayed", "true")
			w.WriteHeader(ans.status)
			_, _ = w.Write(ans.body)
			return
		}
	}
}

// A recorder keeps what passes through it.
type recorder struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	r.body.Write(b)
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
