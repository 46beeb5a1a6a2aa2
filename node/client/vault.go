package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/harkmarket/hark/node/desk"
)

func (d vault) Set(ctx context.Context, name string, s desk.FieldSpec) (desk.Field, error) {
	return Put[desk.Field](ctx, d.c, at("/vault", name), s)
}

func (d vault) Get(ctx context.Context, name string) (desk.Field, error) {
	return Get[desk.Field](ctx, d.c, at("/vault", name))
}

func (d vault) List(ctx context.Context) ([]desk.Field, error) {
	out, err := Get[items[desk.Field]](ctx, d.c, "/vault")
	return out.Items, err
}

func (d vault) History(ctx context.Context, name string, reveal bool) ([]desk.Field, error) {
	v := url.Values{}
	if reveal {
		v.Set("reveal", "true")
	}
	out, err := Get[items[desk.Field]](ctx, d.c, at("/vault", name, "history")+params(desk.Query{}, v))
	return out.Items, err
}

func (d vault) Remove(ctx context.Context, name string, version uint64) error {
	return remove(ctx, d.c, at("/vault", name)+params(desk.Query{}, ofVersion(version)))
}

func (d vault) Erase(ctx context.Context, names []string) error {
	return d.c.Call(ctx, http.MethodPost, "/vault/erase", erased{names}, nil)
}

type erased struct {
	Names []string `json:"names"`
}

func ofVersion(n uint64) url.Values {
	v := url.Values{}
	if n > 0 {
		v.Set("version", strconv.FormatUint(n, 10))
	}
	return v
}

func (d files) Upload(ctx context.Context, name, media string, s desk.FieldSpec, src io.Reader) (f desk.Field, err error) {
	v := url.Values{}
	for k, text := range map[string]string{"media": media, "source": s.Source, "class": s.Class, "rule": s.Rule} {
		if text != "" {
			v.Set(k, text)
		}
	}
	if s.ReviewBy != nil {
		v.Set("review_by", s.ReviewBy.Format(time.RFC3339Nano))
	}
	if s.MinPrice != nil {
		v.Set("min_minor", strconv.FormatInt(s.MinPrice.Minor, 10))
		v.Set("min_currency", s.MinPrice.Currency)
	}
	err = d.c.stream(ctx, http.MethodPut, at("/vault", name, "file")+params(desk.Query{}, v), src, &f)
	return f, err
}

func (d files) Download(ctx context.Context, name string, version uint64, w io.Writer) error {
	return d.c.receive(ctx, at("/vault", name, "file")+params(desk.Query{}, ofVersion(version)), w)
}

func (d files) Import(ctx context.Context, src io.Reader, s desk.VaultImport) (rep desk.VaultReport, err error) {
	v := url.Values{"format": {s.Format}}
	if s.DryRun {
		v.Set("dry_run", "true")
	}
	err = d.c.stream(ctx, http.MethodPost, "/vault/import"+params(desk.Query{}, v), src, &rep)
	return rep, err
}

func (d files) Export(ctx context.Context, w io.Writer) error {
	return d.c.receive(ctx, "/vault/export", w)
}

// stream sends a body of any length and reads the answer into out. It is sent once:
// what was read from src can't be read again, but by whoever has the key, see Keyed.
func (c *Client) stream(ctx context.Context, verb, path string, src io.Reader, out any) error {
	resp, err := c.sendFrom(ctx, verb, path, src, "application/octet-stream", fresh(ctx, verb))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode > 299 {
		return problem(resp)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxReply)).Decode(out); err != nil {
		return fmt.Errorf("answer of %s %s: %w", verb, path, err)
	}
	return nil
}

// receive writes an answer of any length to w.
func (c *Client) receive(ctx context.Context, path string, w io.Writer) error {
	resp, err := c.send(ctx, http.MethodGet, path, nil, "", "")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode > 299 {
		return problem(resp)
	}
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("the answer to %s broke off: %w", path, err)
	}
	return nil
}
