package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol/fault"
)

const (
	heartbeat = 15 * time.Second // a comment, so that a dead connection is noticed
	sendLimit = 10 * time.Second // for one event to leave; who is slower is cut off
)

// events makes the event stream (server-sent events, WHATWG HTML section 9.2).
func (r *routes) events() {
	type following struct {
		Last  uint64 `header:"Last-Event-ID" doc:"The last id seen; the stream goes on after it"`
		After uint64 `query:"after" doc:"The same, for those who can't set a header at first; the header goes before it"`
	}
	o := r.operation(op{id: "events", verb: http.MethodGet, path: "/events", tag: "node", does: "Follow what happens, as server-sent events",
		more: "Every kept event after Last-Event-ID, then new ones. Ids count up by one while the node runs; each start has ids of its own. " +
			"Where the id is of an earlier start, or so old that what followed it is no longer kept, an event of kind `events.gap` comes first, with `after`, " +
			"`why` (`unknown` or `dropped`) and, where it is known, `missed`, how many; then all that is kept."})
	event := r.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[desk.Event](), true, "Event")
	o.Responses = map[string]*huma.Response{"200": {Description: "The stream; `id` is the event's id, `event` its kind, `data` the event as JSON",
		Content: map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeArray, Items: event}}}}}
	huma.Register(r.api, o, func(ctx context.Context, in *following) (*huma.StreamResponse, error) {
		ctx, leave, err := r.s.join(ctx)
		if err != nil {
			return nil, r.failed(ctx, op{id: o.OperationID}, err)
		}
		return &huma.StreamResponse{Body: func(h huma.Context) {
			defer leave()
			_, w := humago.Unwrap(h)
			if err := r.s.follow(ctx, w, cmp.Or(in.Last, in.After)); err != nil && ctx.Err() == nil {
				r.s.opt.Log.DebugContext(ctx, "api: event stream ended", "error", err)
			}
		}}, nil
	})
}

// join counts an event stream; leave ends it, and so does the server's end.
func (s *Server) join(ctx context.Context) (context.Context, context.CancelFunc, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return ctx, nil, fmt.Errorf("the node is stopping: %w", fault.Offline)
	}
	if len(s.streams) >= maxStreams {
		return ctx, nil, fmt.Errorf("%d event streams are open: %w", maxStreams, fault.Full)
	}
	ctx, cancel := context.WithCancel(ctx)
	id := s.next
	s.next++
	s.streams[id] = cancel
	return ctx, func() {
		cancel()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.streams, id)
	}, nil
}

// follow writes events until the reader is gone.
func (s *Server) follow(ctx context.Context, w http.ResponseWriter, after uint64) error {
	st := &stream{w: w, ctl: http.NewResponseController(w)}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	if err := st.ctl.SetReadDeadline(time.Time{}); err != nil { // the whole-request deadline would end the stream
		return err
	}
	if err := st.write("retry: 1000\n\n"); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	beat := time.AfterFunc(heartbeat, func() {
		if st.beat() != nil {
			cancel()
		}
	})
	defer st.end(beat)
	st.timer(beat)
	return s.house.Admin().Events(ctx, after, func(e desk.Event) error {
		data, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("event %d: %w", e.ID, err)
		}
		return st.write(fmt.Sprintf("id: %d\nevent: %s\ndata: %s\n\n", e.ID, line(e.Kind), data))
	})
}

// line keeps a kind on its line.
func line(kind string) string {
	for i := range len(kind) {
		if kind[i] < ' ' {
			return kind[:i]
		}
	}
	return kind
}

// A stream is one reader; events and heartbeats take turns.
type stream struct {
	mu    sync.Mutex
	w     http.ResponseWriter
	ctl   *http.ResponseController
	again *time.Timer
	over  bool
}

var errOver = errors.New("the stream is over")

func (s *stream) write(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return errOver
	}
	if err := s.ctl.SetWriteDeadline(time.Now().Add(sendLimit)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.ctl.Flush()
}

func (s *stream) beat() error {
	if err := s.write(": still here\n\n"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.again != nil && !s.over {
		s.again.Reset(heartbeat)
	}
	return nil
}

func (s *stream) timer(t *time.Timer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.again = t
}

// end waits for a heartbeat under way, so that nobody writes after the handler.
func (s *stream) end(t *time.Timer) {
	t.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
}

// late sets the headers with the first byte, so that an early error can be told.
type late struct {
	w     http.ResponseWriter
	begun bool
}

func (l *late) Write(b []byte) (int, error) {
	if !l.begun {
		l.begun = true
		l.w.Header().Set("Content-Type", octets)
	}
	return l.w.Write(b)
}
