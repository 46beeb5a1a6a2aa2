package api

import (
	"bytes"
	"context"
	"errors"
	"hash"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"

	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/answers"
)

const (
	maxKey      = 128
	idempotency = "Idempotency-Key"
)

// Answers keeps answers by the key of their request; package answers has the words.
type Answers interface {
	Find(ctx context.Context, key string, nowMS int64) (answers.Answer, error)
	Keep(ctx context.Context, key string, a answers.Answer, nowMS int64) error
}

type askedKey struct{}

// Asking gives the request that a context belongs to, where the transaction of its effect
// is to mark it.
func Asking(ctx context.Context) (answers.Request, bool) {
	q, ok := ctx.Value(askedKey{}).(answers.Request)
	return q, ok
}

// Carrying gives the context of a request that is to be marked.
func Carrying(ctx context.Context, q answers.Request) context.Context {
	return context.WithValue(ctx, askedKey{}, q)
}

// turns lets one request at a time through under one key. There are as many as there are
// requests under way.
type turns struct {
	mu sync.Mutex
	by map[string]chan struct{} // closed when the request is answered
}

// enter waits for its turn; false: ctx ended before.
func (t *turns) enter(ctx context.Context, key string) bool {
	for {
		t.mu.Lock()
		other := t.by[key]
		if other == nil {
			t.by[key] = make(chan struct{})
		}
		t.mu.Unlock()
		if other == nil {
			return true
		}
		select {
		case <-other:
		case <-ctx.Done():
			return false
		}
	}
}

func (t *turns) leave(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(t.by[key])
	delete(t.by, key)
}

// replay gives a repeated request the first one's answer.
func (s *Server) replay(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.Header.Get(idempotency)
		_, pattern := s.mux.Handler(r)
		limit := s.keyed[pattern]
		if key == "" || limit == 0 {
			next.ServeHTTP(w, r)
			return
		}
		if len(key) > maxKey {
			send(w, plain(http.StatusBadRequest, fault.Malformed, "malformed", "the Idempotency-Key is longer than 128 bytes", "send a shorter one, as a random UUID"))
			return
		}
		if !s.turns.enter(r.Context(), key) {
			return
		}
		defer s.turns.leave(key)
		q := &keyed{s: s, next: next, key: key, sum: answers.NewSum(key)}
		_, _ = q.sum.Write([]byte(r.Method + " " + r.URL.RequestURI() + "\n")) // a hash never fails
		r.Body = http.MaxBytesReader(w, r.Body, limit)
		if err := q.read(r, limit <= maxBody); err != nil {
			send(w, unreadable(err))
			return
		}
		q.serve(w, r)
	})
}

func unreadable(err error) *Failure {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return plain(http.StatusRequestEntityTooLarge, fault.Malformed, "too-large", "the body is larger than this operation takes", "send less")
	}
	return plain(http.StatusBadRequest, fault.Malformed, "malformed", "the body could not be read", "send it again")
}

// A keyed is one request with a key.
type keyed struct {
	s    *Server
	next http.Handler
	key  string
	sum  hash.Hash
	body []byte // that was read, so that the sum is known before there is an effect
	tee  bool   // else: it goes into the sum as it is read
}

// read reads a small body whole. A large one goes into the sum as its operation reads it.
func (q *keyed) read(r *http.Request, whole bool) (err error) {
	if q.tee = !whole; q.tee {
		r.Body = body{io.TeeReader(r.Body, q.sum), r.Body}
		return nil
	}
	if q.body, err = io.ReadAll(r.Body); err == nil {
		_, _ = q.sum.Write(q.body) // a hash never fails
	}
	return err
}

type body struct {
	io.Reader
	io.Closer
}

// total is the sum of the whole request; it reads what its operation left unread.
func (q *keyed) total(r *http.Request) (sum [32]byte, err error) {
	if q.tee {
		_, err = io.Copy(io.Discard, r.Body)
	}
	return [32]byte(q.sum.Sum(nil)), err
}

// serve answers from what is kept; else it lets the operation answer, and keeps that
// before it is given.
func (q *keyed) serve(w http.ResponseWriter, r *http.Request) {
	kept, err := q.s.opt.Answers.Find(r.Context(), q.key, q.s.opt.Now().UnixMilli())
	if err != nil && !errors.Is(err, fault.NotFound) {
		send(w, ofFault(err))
		return
	}
	if err == nil {
		sum, err := q.total(r)
		switch {
		case err != nil:
			send(w, unreadable(err))
			return
		case sum != kept.Sum:
			send(w, plain(http.StatusConflict, fault.Conflict, "key-used", "this Idempotency-Key was used for another request", "use a fresh key for each request"))
			return
		case kept.Status != 0:
			again(w, kept)
			return
		}
	}
	rec, r := q.ask(w, r, kept)
	if rec.status > 299 && !q.tee && kept.AtMS == 0 {
		// It may have had its effect all the same: the view failed, or the caller of an
		// earlier try left while it was waiting.
		if kept, err = q.s.opt.Answers.Find(r.Context(), q.key, q.s.opt.Now().UnixMilli()); err == nil && kept.Sum == [32]byte(q.sum.Sum(nil)) {
			rec, r = q.ask(w, r, kept)
		}
	}
	if rec.status <= 299 {
		if failure := q.keep(context.WithoutCancel(r.Context()), r, rec); failure != nil {
			send(w, failure)
			return
		}
	}
	rec.give()
}

// ask lets the operation answer. What was done before, and not answered, it shows.
func (q *keyed) ask(w http.ResponseWriter, r *http.Request, kept answers.Answer) (*recorder, *http.Request) {
	rec := &recorder{to: w, header: http.Header{}}
	if !q.tee {
		ask := answers.Request{Key: q.key, Sum: [32]byte(q.sum.Sum(nil)), By: rand.Uint64(), Since: kept.AtMS, Made: kept.Made}
		r = r.WithContext(Carrying(r.Context(), ask))
		r.Body = io.NopCloser(bytes.NewReader(q.body))
	}
	q.next.ServeHTTP(rec, r)
	rec.WriteHeader(http.StatusOK)
	if kept.AtMS > 0 {
		rec.header.Set("Idempotency-Replayed", "true")
	}
	return rec, r
}

// keep keeps an answer. One that can't be kept is not given: asked again, it is found, or
// made again.
func (q *keyed) keep(ctx context.Context, r *http.Request, rec *recorder) *Failure {
	sum, err := q.total(r)
	if err != nil {
		return unreadable(err)
	}
	a := answers.Answer{Sum: sum, Status: rec.status, Kind: rec.header.Get("Content-Type"), Body: rec.body.Bytes()}
	if err := q.s.opt.Answers.Keep(ctx, q.key, a, q.s.opt.Now().UnixMilli()); err != nil {
		q.s.opt.Log.ErrorContext(ctx, "api: an answer could not be kept", "error", err)
		f := ofFault(err)
		f.Detail, f.Next = "it was done, but the answer could not be kept: "+f.Detail, "send the same request again, with the same Idempotency-Key"
		return f
	}
	return nil
}

// again gives a kept answer.
func again(w http.ResponseWriter, a answers.Answer) {
	if a.Cut {
		send(w, plain(http.StatusConflict, fault.Conflict, "answer-gone", "this request was done before; its answer was too large to be kept", "list what there is"))
		return
	}
	if a.Kind != "" {
		w.Header().Set("Content-Type", a.Kind)
	}
	w.Header().Set("Idempotency-Replayed", "true")
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body)
}

// A recorder holds an answer back until it is kept.
type recorder struct {
	to     http.ResponseWriter
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.to }

// give gives the answer.
func (r *recorder) give() {
	for name, values := range r.header {
		r.to.Header()[name] = values
	}
	r.to.WriteHeader(r.status)
	_, _ = r.to.Write(r.body.Bytes())
}

// seen makes, of an operation that is marked in the transaction of its effect, one that
// does it once: where the first answer was cut off, it shows what became of it instead.
func seen[I, O any](do func(context.Context, *I) (O, error), show func(ctx context.Context, in *I, made string) (O, error)) func(context.Context, *I) (O, error) {
	return func(ctx context.Context, in *I) (O, error) {
		if a, ok := Asking(ctx); ok && a.Since > 0 {
			return show(ctx, in, a.Made)
		}
		return do(ctx, in)
	}
}

// shown is seen for what its path names, which get shows.
func shown[I interface{ named() string }, D, O any](do func(context.Context, *I) (O, error), at func() D, get func(D, context.Context, string) (O, error)) func(context.Context, *I) (O, error) {
	return seen(do, func(ctx context.Context, in *I, _ string) (O, error) { return get(at(), ctx, (*in).named()) })
}

// makes is create for what has an id of its own from then on, by which get shows it.
func makes[D, B, O any](r *routes, o op, at func() D, do func(D, context.Context, B) (O, error), get func(D, context.Context, string) (O, error)) {
	o.verb = http.MethodPost
	add(r, o, seen(
		func(ctx context.Context, in *with[B]) (O, error) { return do(at(), ctx, in.Body) },
		func(ctx context.Context, _ *with[B], made string) (O, error) { return get(at(), ctx, made) }))
}
