package api

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

const octets = "application/octet-stream"

// binary is a body of bytes in the description.
func binary() map[string]*huma.MediaType {
	return map[string]*huma.MediaType{octets: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
}

// gives makes an operation that answers with a stream of bytes. An error before the
// first byte is a problem document; a later one cuts the connection, so that half an
// answer never passes for a whole one.
func gives[I any](r *routes, o op, do func(context.Context, *I, io.Writer) error) {
	h := r.operation(o)
	h.Responses = map[string]*huma.Response{"200": {Description: "The bytes", Content: binary()}}
	huma.Register(r.api, h, func(_ context.Context, in *I) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(h huma.Context) {
			_, w := humago.Unwrap(h)
			out := &late{w: w}
			err := do(h.Context(), in, out)
			switch {
			case err == nil:
			case !out.begun:
				send(w, ofFault(err))
			default:
				r.s.opt.Log.ErrorContext(h.Context(), "api: an answer broke off", "operation", o.id, "error", err)
				panic(http.ErrAbortHandler)
			}
		}}, nil
	})
}

// takes makes an operation whose body is a stream of bytes, which is never held whole:
// its desk reads it and bounds it. The type I embeds a streamed.
func takes[I, O any](r *routes, o op, do func(context.Context, *I) (O, error)) {
	h := r.operation(o)
	h.RequestBody = &huma.RequestBody{Required: true, Content: binary()}
	huma.Register(r.api, h, func(ctx context.Context, in *I) (*reply[O], error) {
		v, err := do(ctx, in)
		if err != nil {
			return nil, r.failed(ctx, o, err)
		}
		return &reply[O]{v}, nil
	})
}

// streamed is the body of a request, unread.
type streamed struct{ src io.Reader }

// Resolve implements huma.Resolver.
func (s *streamed) Resolve(h huma.Context) []error {
	if err := h.SetReadDeadline(time.Now().Add(fileTimeout)); err != nil {
		return []error{err}
	}
	s.src = h.BodyReader()
	return nil
}
