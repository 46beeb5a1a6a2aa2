package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/harkmarket/hark/node/desk"
)

// A Client is a house.
var _ desk.House = (*Client)(nil)

// Get reads a view from a path below /api/v1.
func Get[T any](ctx context.Context, c *Client, path string) (out T, err error) {
	return out, c.Call(ctx, http.MethodGet, path, nil, &out)
}

// Post sends in to a path below /api/v1 and reads a view.
func Post[T any](ctx context.Context, c *Client, path string, in any) (out T, err error) {
	return out, c.Call(ctx, http.MethodPost, path, in, &out)
}

// Put replaces what stands at a path below /api/v1 and reads a view.
func Put[T any](ctx context.Context, c *Client, path string, in any) (out T, err error) {
	return out, c.Call(ctx, http.MethodPut, path, in, &out)
}

func remove(ctx context.Context, c *Client, path string) error {
	return c.Call(ctx, http.MethodDelete, path, nil, nil)
}

// at puts an id into a path.
func at(path, id string, more ...string) string {
	p := path + "/" + url.PathEscape(id)
	for _, m := range more {
		p += "/" + m
	}
	return p
}

func list[T any](ctx context.Context, c *Client, path string, q desk.Query) (desk.Page[T], error) {
	return Get[desk.Page[T]](ctx, c, path+params(q, nil))
}

// params writes a query as URL parameters.
func params(q desk.Query, more url.Values) string {
	v := url.Values{}
	for name, values := range more {
		v[name] = values
	}
	for name, value := range map[string]string{
		"after": q.After, "state": q.State, "context": q.Context, "vendor": q.Vendor, "grant": q.Grant, "kind": q.Kind, "field": q.Field, "text": q.Text,
	} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.All {
		v.Set("all", "true")
	}
	for name, t := range map[string]time.Time{"since": q.Since, "until": q.Until} {
		if !t.IsZero() {
			v.Set(name, t.Format(time.RFC3339Nano))
		}
	}
	if len(v) == 0 {
		return ""
	}
	return "?" + v.Encode()
}

type items[T any] struct {
	Items []T `json:"items"`
}

type noteBody struct {
	Note string `json:"note,omitempty"`
}

// Each desk is the client under another name.
type (
	customer  struct{ c *Client }
	vendor    struct{ c *Client }
	needs     struct{ c *Client }
	requests  struct{ c *Client }
	grants    struct{ c *Client }
	offers    struct{ c *Client }
	deals     struct{ c *Client }
	vault     struct{ c *Client }
	files     struct{ c *Client }
	ledger    struct{ c *Client }
	record    struct{ c *Client }
	catalog   struct{ c *Client }
	rules     struct{ c *Client }
	passports struct{ c *Client }
	held      struct{ c *Client }
	board     struct{ c *Client }
	network   struct{ c *Client }
	admin     struct{ c *Client }
)

// Customer gives the desks of a customer.
func (c *Client) Customer() desk.Customer { return customer{c} }

// Vendor gives the desks of a vendor.
func (c *Client) Vendor() desk.Vendor { return vendor{c} }

// Ledger gives the desk for the ledger.
func (c *Client) Ledger() desk.Ledger { return ledger{c} }

// Records gives the desk for what both sides of a grant can show.
func (c *Client) Records() desk.Records { return record{c} }

// Network gives the desk for peers and the network.
func (c *Client) Network() desk.Network { return network{c} }

// Admin gives the desk for the node itself.
func (c *Client) Admin() desk.Admin { return admin{c} }

func (d customer) Needs() desk.Needs       { return needs(d) }
func (d customer) Requests() desk.Requests { return requests(d) }
func (d customer) Grants() desk.Grants     { return grants(d) }
func (d customer) Offers() desk.Offers     { return offers(d) }
func (d customer) Deals() desk.Deals       { return deals(d) }
func (d customer) Vault() desk.Vault       { return vault(d) }
func (d customer) Files() desk.Files       { return files(d) }
func (d vendor) Catalog() desk.Catalog     { return catalog(d) }
func (d vendor) Rules() desk.Rules         { return rules(d) }
func (d vendor) Passports() desk.Passports { return passports(d) }
func (d vendor) Held() desk.Held           { return held(d) }
func (d vendor) Board() desk.Board         { return board(d) }

func (d needs) Create(ctx context.Context, s desk.NeedSpec) (desk.Need, error) {
	return Post[desk.Need](ctx, d.c, "/needs", s)
}

func (d needs) Preview(ctx context.Context, s desk.NeedSpec) (desk.Stranger, error) {
	return Post[desk.Stranger](ctx, d.c, "/needs/preview", s)
}

func (d needs) List(ctx context.Context, q desk.Query) (desk.Page[desk.Need], error) {
	return list[desk.Need](ctx, d.c, "/needs", q)
}

func (d needs) Get(ctx context.Context, id string) (desk.Need, error) {
	return Get[desk.Need](ctx, d.c, at("/needs", id))
}

func (d needs) Stranger(ctx context.Context, id string) (desk.Stranger, error) {
	return Get[desk.Stranger](ctx, d.c, at("/needs", id, "stranger"))
}

func (d needs) Update(ctx context.Context, id string, s desk.NeedSpec) (desk.Need, error) {
	return Put[desk.Need](ctx, d.c, at("/needs", id), s)
}

func (d needs) End(ctx context.Context, id string, how desk.NeedEnd) (desk.Need, error) {
	return Post[desk.Need](ctx, d.c, at("/needs", id, url.PathEscape(string(how))), nil)
}

func (d requests) List(ctx context.Context, q desk.Query) (desk.Page[desk.Request], error) {
	return list[desk.Request](ctx, d.c, "/requests", q)
}

func (d requests) Get(ctx context.Context, id string) (desk.Request, error) {
	return Get[desk.Request](ctx, d.c, at("/requests", id))
}

func (d requests) Ask(ctx context.Context, s desk.AskSpec) (desk.Request, error) {
	return Post[desk.Request](ctx, d.c, "/requests", s)
}

func (d grants) List(ctx context.Context, q desk.Query) (desk.Page[desk.Grant], error) {
	return list[desk.Grant](ctx, d.c, "/grants", q)
}

func (d grants) Get(ctx context.Context, id string) (desk.Grant, error) {
	return Get[desk.Grant](ctx, d.c, at("/grants", id))
}

func (d grants) Give(ctx context.Context, s desk.GiveSpec) (desk.Grant, error) {
	return Post[desk.Grant](ctx, d.c, "/grants", s)
}

func (d grants) Revoke(ctx context.Context, ids []string, q desk.Query, reason string) ([]desk.Grant, error) {
	out, err := Post[items[desk.Grant]](ctx, d.c, "/grants/revoke", map[string]any{
		"ids": append([]string{}, ids...), "context": q.Context, "vendor": q.Vendor, "all": q.All, "field": q.Field, "reason": reason,
	})
	return out.Items, err
}

func (d grants) Pause(ctx context.Context, id string, resume bool, reason string) (desk.Grant, error) {
	how := map[bool]string{false: "suspend", true: "resume"}[resume]
	return Post[desk.Grant](ctx, d.c, at("/grants", id, how), noteBody{reason})
}

func (d grants) Right(ctx context.Context, id string, s desk.RightSpec) (desk.Grant, error) {
	return Post[desk.Grant](ctx, d.c, at("/grants", id, "rights"), s)
}

func (d grants) Rights(ctx context.Context, id string, reveal bool) ([]desk.RightView, error) {
	v := url.Values{}
	if reveal {
		v.Set("reveal", "true")
	}
	out, err := Get[items[desk.RightView]](ctx, d.c, at("/grants", id, "rights")+params(desk.Query{}, v))
	return out.Items, err
}

func (d grants) Settle(ctx context.Context, id, how string) (desk.Grant, error) {
	return Post[desk.Grant](ctx, d.c, at("/grants", id, "settle"), noteBody{how})
}

func (d offers) List(ctx context.Context, q desk.Query) (desk.Page[desk.Offer], error) {
	return list[desk.Offer](ctx, d.c, "/offers", q)
}

func (d offers) Get(ctx context.Context, id string) (desk.Offer, error) {
	return Get[desk.Offer](ctx, d.c, at("/offers", id))
}

func (d offers) Make(ctx context.Context, s desk.OfferSpec) (desk.Offer, error) {
	return Post[desk.Offer](ctx, d.c, "/offers", s)
}

func (d offers) Accept(ctx context.Context, id, note string) (desk.Deal, error) {
	return Post[desk.Deal](ctx, d.c, at("/offers", id, "accept"), noteBody{note})
}

func (d offers) Decline(ctx context.Context, id, note string) (desk.Deal, error) {
	return Post[desk.Deal](ctx, d.c, at("/offers", id, "decline"), noteBody{note})
}

func (d deals) List(ctx context.Context, q desk.Query) (desk.Page[desk.Deal], error) {
	return list[desk.Deal](ctx, d.c, "/deals", q)
}

func (d deals) Get(ctx context.Context, id string) (desk.Deal, error) {
	return Get[desk.Deal](ctx, d.c, at("/deals", id))
}

func (d deals) Step(ctx context.Context, id, step, note string) (desk.Deal, error) {
	return Post[desk.Deal](ctx, d.c, at("/deals", id, url.PathEscape(step)), noteBody{note})
}

func (d ledger) List(ctx context.Context, q desk.Query) (desk.Page[desk.LedgerEntry], error) {
	return list[desk.LedgerEntry](ctx, d.c, "/ledger", q)
}

func (d ledger) Verify(ctx context.Context) (desk.LedgerReport, error) {
	return Get[desk.LedgerReport](ctx, d.c, "/ledger/verify")
}

func (d ledger) Get(ctx context.Context, seq int64) (desk.LedgerProof, error) {
	return Get[desk.LedgerProof](ctx, d.c, at("/ledger", strconv.FormatInt(seq, 10)))
}

func (d ledger) Prove(ctx context.Context, seq, since int64, w io.Writer) error {
	v := url.Values{}
	if since > 0 {
		v.Set("since", strconv.FormatInt(since, 10))
	}
	return d.c.receive(ctx, at("/ledger", strconv.FormatInt(seq, 10), "proof")+params(desk.Query{}, v), w)
}

func (d ledger) Export(ctx context.Context, s desk.ExportSpec, w io.Writer) error {
	v := url.Values{}
	if s.Bodies != "" {
		v.Set("bodies", s.Bodies)
	}
	if len(s.Grants) > 0 {
		v.Set("grant", strings.Join(s.Grants, ","))
	}
	return d.c.receive(ctx, "/ledger/export"+params(desk.Query{}, v), w)
}

func (d ledger) Evidence(ctx context.Context, grant string, w io.Writer) error {
	return d.c.receive(ctx, at("/grants", grant, "evidence"), w)
}

func (d catalog) Import(ctx context.Context, file io.Reader, s desk.ImportSpec) (desk.ImportReport, error) {
	v := url.Values{}
	if s.Currency != "" {
		v.Set("currency", s.Currency)
	}
	if s.DryRun {
		v.Set("dry_run", "true")
	}
	if s.Replace {
		v.Set("replace", "true")
	}
	return Post[desk.ImportReport](ctx, d.c, "/catalog/import"+params(desk.Query{}, v), file)
}

func (d catalog) List(ctx context.Context, q desk.Query) (desk.Page[desk.Product], error) {
	return list[desk.Product](ctx, d.c, "/catalog", q)
}

func (d catalog) Search(ctx context.Context, text string, limit int) ([]desk.Product, error) {
	out, err := Get[items[desk.Product]](ctx, d.c, "/catalog/search"+params(desk.Query{Text: text, Limit: limit}, nil))
	return out.Items, err
}

func (d rules) Get(ctx context.Context) (desk.Follow, error) {
	return Get[desk.Follow](ctx, d.c, "/rules")
}

func (d rules) Set(ctx context.Context, f desk.Follow) (desk.Follow, error) {
	return Put[desk.Follow](ctx, d.c, "/rules", f)
}

func (d passports) Own(ctx context.Context) (desk.Passport, error) {
	return Get[desk.Passport](ctx, d.c, "/passport")
}

func (d passports) Issue(ctx context.Context, s desk.PassportSpec) (desk.Passport, error) {
	return Post[desk.Passport](ctx, d.c, "/passport", s)
}

func (d passports) Get(ctx context.Context, id string) (desk.Passport, error) {
	return Get[desk.Passport](ctx, d.c, at("/passports", id))
}

func (d passports) Import(ctx context.Context, chain []string) (desk.Passport, error) {
	return Post[desk.Passport](ctx, d.c, "/passports", map[string]any{"chain": chain})
}

func (d held) List(ctx context.Context, q desk.Query) (desk.Page[desk.HeldRecord], error) {
	return list[desk.HeldRecord](ctx, d.c, "/held", q)
}

func (d held) Download(ctx context.Context, grant, field string, w io.Writer) error {
	return d.c.receive(ctx, at("/held", grant, "fields", field), w)
}

func (d held) Delete(ctx context.Context, grant string) error {
	return remove(ctx, d.c, at("/held", grant))
}

func (d board) List(ctx context.Context, q desk.Query) (desk.Page[desk.Notice], error) {
	return list[desk.Notice](ctx, d.c, "/board", q)
}

func (d board) Get(ctx context.Context, id string) (desk.Notice, desk.Stranger, error) {
	type heard struct {
		Notice   desk.Notice   `json:"notice"`
		Stranger desk.Stranger `json:"stranger"`
	}
	out, err := Get[heard](ctx, d.c, at("/board", id))
	return out.Notice, out.Stranger, err
}

func (d network) Check(ctx context.Context) (desk.Netcheck, error) {
	return Get[desk.Netcheck](ctx, d.c, "/netcheck")
}

func (d network) Peers(ctx context.Context) ([]desk.Peer, error) {
	out, err := Get[items[desk.Peer]](ctx, d.c, "/peers")
	return out.Items, err
}

func (d network) Info(ctx context.Context) (desk.NetworkInfo, error) {
	return Get[desk.NetworkInfo](ctx, d.c, "/network")
}

func (d network) Self(ctx context.Context) (desk.Identity, error) {
	return Get[desk.Identity](ctx, d.c, "/id")
}

func (d admin) Status(ctx context.Context) (desk.Status, error) {
	return Get[desk.Status](ctx, d.c, "/status")
}

func (d admin) Unlock(ctx context.Context, passphrase []byte) error {
	return d.c.Call(ctx, http.MethodPost, "/unlock", map[string]string{"passphrase": string(passphrase)}, nil)
}

func (d admin) Lock(ctx context.Context) error {
	return d.c.Call(ctx, http.MethodPost, "/lock", nil, nil)
}

func (d admin) Letters(ctx context.Context, sent bool, q desk.Query) (desk.Page[desk.LetterReport], error) {
	v := url.Values{"sent": {strconv.FormatBool(sent)}}
	return Get[desk.Page[desk.LetterReport]](ctx, d.c, "/letters"+params(q, v))
}

func (d admin) Stop(ctx context.Context) error {
	return d.c.Call(ctx, http.MethodPost, "/stop", nil, nil)
}

// Events follows the node's events over broken connections: it connects again and
// goes on after the last id. Where the node has started anew meanwhile, or dropped what
// followed, it says so with an event of kind desk.EventGap, and all that it keeps comes
// after it. It ends with ctx, with an error of fn, or with
// ErrNotRunning when the node stays away.
func (d admin) Events(ctx context.Context, after uint64, fn func(desk.Event) error) error {
	f := &follower{c: d.c, after: after, fn: fn}
	for {
		err := f.once(ctx)
		if stop, ok := errors.AsType[*stopped](err); ok {
			return stop.err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := f.wait(ctx, err); err != nil {
			return err
		}
	}
}
