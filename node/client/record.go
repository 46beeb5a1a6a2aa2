package client

import (
	"context"
	"io"
	"net/http"
	"net/url"

	"github.com/harkmarket/hark/node/desk"
)

func (d record) Export(ctx context.Context, s desk.RecordSpec) (desk.RecordFile, error) {
	v := url.Values{"as": {s.As}}
	if s.ID != "" {
		v.Set("id", s.ID)
	}
	q := desk.Query{Context: s.Context, Vendor: s.Vendor, State: s.State, Limit: s.Limit, After: s.After}
	return Get[desk.RecordFile](ctx, d.c, "/records"+params(q, v))
}

func (d record) Check(ctx context.Context, file io.Reader) (rep desk.RecordCheck, err error) {
	err = d.c.stream(ctx, http.MethodPost, "/records/check", file, &rep)
	return rep, err
}
