package api

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/harkmarket/hark/node/desk"
)

// routes collects the operations of one server.
type routes struct {
	api huma.API
	s   *Server
}

// An op is one operation: its stable id, where it stands, and what it does.
type op struct {
	id, verb, path string
	tag            string
	does           string // one line
	more           string // what a reader must know besides
	status         int    // of success; 200 where 0
	free           bool   // changes nothing, or the same again changes nothing: no Idempotency-Key
	large          int64  // bytes of a body that is not read whole; maxBody where 0
}

func (r *routes) operation(o op) huma.Operation {
	h := huma.Operation{
		OperationID: o.id, Method: o.verb, Path: Root + o.path, Tags: []string{o.tag}, Summary: o.does, Description: o.more,
		DefaultStatus: o.status, BodyReadTimeout: bodyTimeout, MaxBodyBytes: maxBody,
		Errors: []int{http.StatusUnauthorized, http.StatusUnprocessableEntity, http.StatusInternalServerError},
	}
	if o.verb != http.MethodGet && !o.free {
		r.s.keyed[o.verb+" "+h.Path] = cmp.Or(o.large, maxBody)
		limit := maxKey
		h.Parameters = append(h.Parameters, &huma.Param{
			Name: idempotency, In: "header", Schema: &huma.Schema{Type: huma.TypeString, MaxLength: &limit},
			Description: "A fresh random text. The same request sent again with it gets the first answer (header Idempotency-Replayed) " +
				"and does nothing; another request with it is refused with 409. It is kept with the effect, so that a crash leaves both or neither: " +
				"where one came before the answer was kept, the repetition shows the present state of what the first request made or changed, " +
				"or does the rest of what takes several steps. Kept for a day, at most 4096 of 8 MiB, the oldest give way.",
		})
	}
	return h
}

// A reply is an answer with a body.
type reply[O any] struct{ Body O }

// add makes an operation that answers with a view.
func add[I, O any](r *routes, o op, do func(context.Context, *I) (O, error)) {
	huma.Register(r.api, r.operation(o), func(ctx context.Context, in *I) (*reply[O], error) {
		v, err := do(ctx, in)
		if err != nil {
			return nil, r.failed(ctx, o, err)
		}
		return &reply[O]{v}, nil
	})
}

// act makes an operation that answers with nothing.
func act[I any](r *routes, o op, do func(context.Context, *I) error) {
	if o.status == 0 {
		o.status = http.StatusNoContent
	}
	huma.Register(r.api, r.operation(o), func(ctx context.Context, in *I) (*struct{}, error) {
		if a, ok := Asking(ctx); ok && a.Since > 0 {
			return nil, nil // it was done, and there is nothing to show
		}
		if err := do(ctx, in); err != nil {
			return nil, r.failed(ctx, o, err)
		}
		return nil, nil
	})
}

// pages makes an operation that answers with a page of a list. Here and below, at
// gives the desk anew for each request: what a desk can do changes when the vault is
// opened or locked.
func pages[D, T any](r *routes, o op, at func() D, list func(D, context.Context, desk.Query) (desk.Page[T], error)) {
	o.verb = http.MethodGet
	add(r, o, func(ctx context.Context, in *listing) (desk.Page[T], error) {
		p, err := list(at(), ctx, desk.Query(*in))
		p.Items = full(p.Items)
		return p, err
	})
}

// one makes an operation that shows one thing by its id.
func one[D, T any](r *routes, o op, at func() D, get func(D, context.Context, string) (T, error)) {
	o.verb = http.MethodGet
	add(r, o, func(ctx context.Context, in *byID) (T, error) { return get(at(), ctx, in.ID) })
}

// create makes an operation that turns a body into a view.
func create[D, B, T any](r *routes, o op, at func() D, do func(D, context.Context, B) (T, error)) {
	if o.verb == "" {
		o.verb = http.MethodPost
	}
	add(r, o, func(ctx context.Context, in *with[B]) (T, error) { return do(at(), ctx, in.Body) })
}

func (r *routes) failed(ctx context.Context, o op, err error) error {
	p := ofFault(err)
	if p.Status >= http.StatusInternalServerError {
		r.s.opt.Log.ErrorContext(ctx, "api: an operation failed", "operation", o.id, "error", err)
	}
	if p.Status == http.StatusTooManyRequests {
		return huma.ErrorWithHeaders(p, http.Header{"Retry-After": {"5"}})
	}
	return p
}

// full makes an empty list out of none.
func full[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}

// What operations take.
type (
	none struct{}
	byID struct {
		ID string `path:"id" maxLength:"128" doc:"The id, or a unique prefix of it"`
	}
	with[B any]     struct{ Body B }
	byIDWith[B any] struct {
		ID   string `path:"id" maxLength:"128" doc:"The id, or a unique prefix of it"`
		Body B
	}
	noted struct {
		ID   string `path:"id" maxLength:"128" doc:"The id, or a unique prefix of it"`
		Body *note
	}
	note struct {
		Note string `json:"note,omitempty" maxLength:"400" doc:"Words to the other side"`
	}
	// listing is desk.Query as query parameters; the two convert into each other.
	listing struct {
		Limit   int    `query:"limit" minimum:"1" maximum:"500" default:"100" doc:"At most so many items"`
		After   string `query:"after" maxLength:"256" doc:"The next of the page before"`
		State   string `query:"state" maxLength:"64" doc:"Only in this state"`
		Context string `query:"context" maxLength:"128" doc:"Only of this need, interest or relation"`
		Vendor  string `query:"vendor" maxLength:"128" doc:"Only of this vendor"`
		Grant   string `query:"grant" maxLength:"128" doc:"Only under this grant"`
		Kind    string `query:"kind" maxLength:"64" doc:"Only of this kind"`
		Field   string `query:"field" maxLength:"48" doc:"Only grants and requests of this field"`
		Text    string `query:"text" maxLength:"256" doc:"Only with these words"`
		All     bool   `query:"all" doc:"Also what missed the constraints, is expired or closed"`

		Since time.Time `query:"since" doc:"Only from this moment on"`
		Until time.Time `query:"until" doc:"Only before this moment"`
	}
)

func (b byID) named() string        { return b.ID }
func (b byIDWith[B]) named() string { return b.ID }
func (n noted) named() string       { return n.ID }

// text is the note's text, where there is one.
func (n *noted) text() string {
	if n.Body == nil {
		return ""
	}
	return n.Body.Note
}
