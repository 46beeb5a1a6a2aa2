package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/harkmarket/hark/node/desk"
)

// A fake is a house that notes what it is asked and answers with views in which
// every field is filled.
type fake struct {
	mu    sync.Mutex
	calls []string
	err   error
	hold  chan struct{} // Status waits for it, where it is there
	kept  []desk.Event
}

func (f *fake) note(call string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, call+fmt.Sprintf("%+v", args))
	return f.err
}

func (f *fake) asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

func (f *fake) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err, f.calls = err, nil
}

// filled gives a T in which every field has a value of its own.
func filled[T any]() (v T) {
	n := 0
	fill(reflect.ValueOf(&v).Elem(), &n)
	return v
}

var moment = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func fill(v reflect.Value, n *int) {
	*n++
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(moment.Add(time.Duration(*n) * time.Second)))
	case v.Kind() == reflect.String:
		v.SetString(fmt.Sprint("text ", *n))
	case v.CanInt():
		v.SetInt(int64(*n))
	case v.CanUint():
		v.SetUint(uint64(*n))
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n)
	case v.Kind() == reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, val := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, n)
		fill(val, n)
		v.SetMapIndex(key, val)
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	default:
		panic("no filling for " + v.Type().String())
	}
}

// say notes a call and gives a filled view.
func say[T any](f *fake, call string, args ...any) (v T, err error) {
	if err := f.note(call, args...); err != nil {
		return v, err
	}
	return filled[T](), nil
}

type (
	customer  struct{ *fake }
	vendor    struct{ *fake }
	needs     struct{ *fake }
	requests  struct{ *fake }
	grants    struct{ *fake }
	offers    struct{ *fake }
	deals     struct{ *fake }
	vault     struct{ *fake }
	files     struct{ *fake }
	ledger    struct{ *fake }
	record    struct{ *fake }
	catalog   struct{ *fake }
	rules     struct{ *fake }
	passports struct{ *fake }
	held      struct{ *fake }
	board     struct{ *fake }
	network   struct{ *fake }
	admin     struct{ *fake }
	consent   struct{ *fake }
	ctx       = context.Context
)

func (f *fake) Customer() desk.Customer { return customer{f} }
func (f *fake) Vendor() desk.Vendor     { return vendor{f} }
func (f *fake) Ledger() desk.Ledger     { return ledger{f} }
func (f *fake) Records() desk.Records   { return record{f} }
func (f *fake) Network() desk.Network   { return network{f} }
func (f *fake) Admin() desk.Admin       { return admin{f} }

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

func (d needs) Create(_ ctx, s desk.NeedSpec) (desk.Need, error) {
	return say[desk.Need](d.fake, "needs.Create", s)
}

func (d needs) Preview(_ ctx, s desk.NeedSpec) (desk.Stranger, error) {
	return say[desk.Stranger](d.fake, "needs.Preview", s)
}

func (d needs) List(_ ctx, q desk.Query) (desk.Page[desk.Need], error) {
	return say[desk.Page[desk.Need]](d.fake, "needs.List", q)
}

func (d needs) Get(_ ctx, id string) (desk.Need, error) {
	return say[desk.Need](d.fake, "needs.Get", id)
}

func (d needs) Stranger(_ ctx, id string) (desk.Stranger, error) {
	return say[desk.Stranger](d.fake, "needs.Stranger", id)
}

func (d needs) Update(_ ctx, id string, s desk.NeedSpec) (desk.Need, error) {
	return say[desk.Need](d.fake, "needs.Update", id, s)
}

func (d needs) End(_ ctx, id string, how desk.NeedEnd) (desk.Need, error) {
	return say[desk.Need](d.fake, "needs.End", id, how)
}

func (d requests) List(_ ctx, q desk.Query) (desk.Page[desk.Request], error) {
	return say[desk.Page[desk.Request]](d.fake, "requests.List", q)
}

func (d requests) Get(_ ctx, id string) (desk.Request, error) {
	return say[desk.Request](d.fake, "requests.Get", id)
}

func (d requests) Ask(_ ctx, s desk.AskSpec) (desk.Request, error) {
	return say[desk.Request](d.fake, "requests.Ask", s)
}

func (d grants) List(_ ctx, q desk.Query) (desk.Page[desk.Grant], error) {
	return say[desk.Page[desk.Grant]](d.fake, "grants.List", q)
}

func (d grants) Get(_ ctx, id string) (desk.Grant, error) {
	return say[desk.Grant](d.fake, "grants.Get", id)
}

func (d grants) Give(_ ctx, s desk.GiveSpec) (desk.Grant, error) {
	return say[desk.Grant](d.fake, "grants.Give", s)
}

func (d grants) Revoke(_ ctx, ids []string, q desk.Query, reason string) ([]desk.Grant, error) {
	return say[[]desk.Grant](d.fake, "grants.Revoke", ids, q, reason)
}

func (d grants) Pause(_ ctx, id string, resume bool, reason string) (desk.Grant, error) {
	return say[desk.Grant](d.fake, "grants.Pause", id, resume, reason)
}

func (d grants) Right(_ ctx, id string, s desk.RightSpec) (desk.Grant, error) {
	return say[desk.Grant](d.fake, "grants.Right", id, s)
}

func (d grants) Rights(_ ctx, id string, reveal bool) ([]desk.RightView, error) {
	return say[[]desk.RightView](d.fake, "grants.Rights", id, reveal)
}

func (d grants) Settle(_ ctx, id, how string) (desk.Grant, error) {
	return say[desk.Grant](d.fake, "grants.Settle", id, how)
}

func (d offers) List(_ ctx, q desk.Query) (desk.Page[desk.Offer], error) {
	return say[desk.Page[desk.Offer]](d.fake, "offers.List", q)
}

func (d offers) Get(_ ctx, id string) (desk.Offer, error) {
	return say[desk.Offer](d.fake, "offers.Get", id)
}

func (d offers) Make(_ ctx, s desk.OfferSpec) (desk.Offer, error) {
	return say[desk.Offer](d.fake, "offers.Make", s)
}

func (d offers) Accept(_ ctx, id, note string) (desk.Deal, error) {
	return say[desk.Deal](d.fake, "offers.Accept", id, note)
}

func (d offers) Decline(_ ctx, id, note string) (desk.Deal, error) {
	return say[desk.Deal](d.fake, "offers.Decline", id, note)
}

func (d deals) List(_ ctx, q desk.Query) (desk.Page[desk.Deal], error) {
	return say[desk.Page[desk.Deal]](d.fake, "deals.List", q)
}

func (d deals) Get(_ ctx, id string) (desk.Deal, error) {
	return say[desk.Deal](d.fake, "deals.Get", id)
}

func (d deals) Step(_ ctx, id, step, note string) (desk.Deal, error) {
	return say[desk.Deal](d.fake, "deals.Step", id, step, note)
}

func (d vault) Set(_ ctx, name string, s desk.FieldSpec) (desk.Field, error) {
	return say[desk.Field](d.fake, "vault.Set", name, words(s))
}

func (d vault) Get(_ ctx, name string) (desk.Field, error) {
	return say[desk.Field](d.fake, "vault.Get", name)
}

func (d vault) List(ctx) ([]desk.Field, error) { return say[[]desk.Field](d.fake, "vault.List") }

func (d vault) History(_ ctx, name string, reveal bool) ([]desk.Field, error) {
	return say[[]desk.Field](d.fake, "vault.History", name, reveal)
}

func (d vault) Remove(_ ctx, name string, version uint64) error {
	return d.note("vault.Remove", name, version)
}

func (d vault) Erase(_ ctx, names []string) error { return d.note("vault.Erase", names) }

// words shows a value with what its pointers point to.
func words(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

func (d files) Upload(_ ctx, name, media string, s desk.FieldSpec, src io.Reader) (desk.Field, error) {
	raw, err := io.ReadAll(src)
	if err != nil {
		return desk.Field{}, err
	}
	s.Value = nil
	if s.MinPrice != nil {
		s.MinPrice.Text = "" // not said in a query
	}
	return say[desk.Field](d.fake, "files.Upload", name, media, words(s), string(raw))
}

func (d files) Download(_ ctx, name string, version uint64, w io.Writer) error {
	_, err := io.WriteString(w, "the bytes of a value")
	return errors.Join(err, d.note("files.Download", name, version))
}

func (d files) Import(_ ctx, src io.Reader, s desk.VaultImport) (desk.VaultReport, error) {
	raw, err := io.ReadAll(src)
	if err != nil {
		return desk.VaultReport{}, err
	}
	return say[desk.VaultReport](d.fake, "files.Import", s, string(raw))
}

func (d files) Export(_ ctx, w io.Writer) error {
	_, err := io.WriteString(w, "{}")
	return errors.Join(err, d.note("files.Export"))
}

func (d record) Export(_ ctx, s desk.RecordSpec) (desk.RecordFile, error) {
	return say[desk.RecordFile](d.fake, "records.Export", s)
}

func (d record) Check(_ ctx, src io.Reader) (desk.RecordCheck, error) {
	raw, err := io.ReadAll(src)
	if err != nil {
		return desk.RecordCheck{}, err
	}
	return say[desk.RecordCheck](d.fake, "records.Check", string(raw))
}

func (d ledger) List(_ ctx, q desk.Query) (desk.Page[desk.LedgerEntry], error) {
	return say[desk.Page[desk.LedgerEntry]](d.fake, "ledger.List", q)
}

func (d ledger) Verify(ctx) (desk.LedgerReport, error) {
	return say[desk.LedgerReport](d.fake, "ledger.Verify")
}

func (d ledger) Get(_ ctx, seq int64) (desk.LedgerProof, error) {
	return say[desk.LedgerProof](d.fake, "ledger.Get", seq)
}

func (d ledger) Prove(_ ctx, seq, since int64, w io.Writer) error {
	return d.file(w, "ledger.Prove", seq, since)
}

func (d ledger) Evidence(_ ctx, grant string, w io.Writer) error {
	return d.file(w, "ledger.Evidence", grant)
}

// file writes one line.
func (f *fake) file(w io.Writer, what string, args ...any) error {
	if err := f.note(what, args...); err != nil {
		return err
	}
	_, err := io.WriteString(w, "a file\n")
	return err
}

// Export breaks off in the middle where the fake has an error that says so.
func (d ledger) Export(_ ctx, s desk.ExportSpec, w io.Writer) error {
	err := d.note("ledger.Export", s)
	if err != nil && err.Error() != "in the middle" {
		return err
	}
	for range 1000 {
		if _, err := io.WriteString(w, "one line of the ledger, long enough to be flushed\n"); err != nil {
			return err
		}
	}
	return err
}

func (d catalog) Import(_ ctx, file io.Reader, s desk.ImportSpec) (desk.ImportReport, error) {
	raw, err := io.ReadAll(file)
	if err != nil {
		return desk.ImportReport{}, err
	}
	return say[desk.ImportReport](d.fake, "catalog.Import", string(raw), s)
}

func (d catalog) List(_ ctx, q desk.Query) (desk.Page[desk.Product], error) {
	return say[desk.Page[desk.Product]](d.fake, "catalog.List", q)
}

func (d catalog) Search(_ ctx, text string, limit int) ([]desk.Product, error) {
	return say[[]desk.Product](d.fake, "catalog.Search", text, limit)
}

func (d rules) Get(ctx) (desk.Follow, error) { return say[desk.Follow](d.fake, "rules.Get") }

func (d rules) Set(_ ctx, f desk.Follow) (desk.Follow, error) {
	return say[desk.Follow](d.fake, "rules.Set", f)
}

func (d passports) Own(ctx) (desk.Passport, error) {
	return say[desk.Passport](d.fake, "passports.Own")
}

func (d passports) Issue(_ ctx, s desk.PassportSpec) (desk.Passport, error) {
	return say[desk.Passport](d.fake, "passports.Issue", s)
}

func (d passports) Get(_ ctx, id string) (desk.Passport, error) {
	return say[desk.Passport](d.fake, "passports.Get", id)
}

func (d passports) Import(_ ctx, chain []string) (desk.Passport, error) {
	return say[desk.Passport](d.fake, "passports.Import", chain)
}

func (d held) List(_ ctx, q desk.Query) (desk.Page[desk.HeldRecord], error) {
	return say[desk.Page[desk.HeldRecord]](d.fake, "held.List", q)
}

func (d held) Download(_ ctx, grant, field string, w io.Writer) error {
	_, err := io.WriteString(w, "the bytes")
	return errors.Join(err, d.note("held.Download", grant, field))
}

func (d held) Delete(_ ctx, grant string) error { return d.note("held.Delete", grant) }

func (d board) List(_ ctx, q desk.Query) (desk.Page[desk.Notice], error) {
	return say[desk.Page[desk.Notice]](d.fake, "board.List", q)
}

func (d board) Get(_ ctx, id string) (desk.Notice, desk.Stranger, error) {
	n, err := say[desk.Notice](d.fake, "board.Get", id)
	if err != nil {
		return n, desk.Stranger{}, err
	}
	return n, filled[desk.Stranger](), nil
}

func (d network) Check(ctx) (desk.Netcheck, error) {
	return say[desk.Netcheck](d.fake, "network.Check")
}

func (d network) Peers(ctx) ([]desk.Peer, error) { return say[[]desk.Peer](d.fake, "network.Peers") }

func (d network) Info(ctx) (desk.NetworkInfo, error) {
	return say[desk.NetworkInfo](d.fake, "network.Info")
}

func (d network) Self(ctx) (desk.Identity, error) {
	return say[desk.Identity](d.fake, "network.Self")
}

func (d admin) Status(ctx) (desk.Status, error) {
	if d.hold != nil {
		<-d.hold
	}
	return say[desk.Status](d.fake, "admin.Status")
}

func (d admin) Unlock(_ ctx, p []byte) error { return d.note("admin.Unlock", string(p)) }
func (d admin) Lock(ctx) error               { return d.note("admin.Lock") }
func (d admin) Stop(ctx) error               { return d.note("admin.Stop") }

func (d admin) Letters(_ ctx, sent bool, q desk.Query) (desk.Page[desk.LetterReport], error) {
	return say[desk.Page[desk.LetterReport]](d.fake, "admin.Letters", sent, q)
}

// Events gives what is kept after an id, and then waits.
func (d admin) Events(c ctx, after uint64, fn func(desk.Event) error) error {
	if err := d.note("admin.Events", after); err != nil {
		return err
	}
	for _, e := range d.kept {
		if e.ID > after {
			if err := fn(e); err != nil {
				return err
			}
		}
	}
	<-c.Done()
	return c.Err()
}

func (f *fake) Consent() desk.Consent { return consent{f} }

func (d requests) Grant(_ ctx, id string, s desk.LessSpec) (desk.Request, error) {
	return say[desk.Request](d.fake, "requests.Grant", id, s)
}

func (d requests) Refuse(_ ctx, id, reason string) (desk.Request, error) {
	return say[desk.Request](d.fake, "requests.Refuse", id, reason)
}

func (d requests) Snooze(_ ctx, id string, s desk.SnoozeSpec) (desk.Request, error) {
	return say[desk.Request](d.fake, "requests.Snooze", id, s)
}

func (d consent) Get(ctx) (desk.ConsentView, error) {
	return say[desk.ConsentView](d.fake, "consent.Get")
}

func (d consent) Add(_ ctx, r desk.ConsentRule) (desk.ConsentRule, error) {
	return say[desk.ConsentRule](d.fake, "consent.Add", r)
}

func (d consent) Remove(_ ctx, name string) error { return d.note("consent.Remove", name) }

func (d consent) Test(_ ctx, r desk.ConsentRule) (desk.ConsentTest, error) {
	return say[desk.ConsentTest](d.fake, "consent.Test", r)
}

func (d consent) Budget(_ ctx, b desk.PromptBudget) (desk.ConsentView, error) {
	return say[desk.ConsentView](d.fake, "consent.Budget", b)
}

func (d consent) Credit(_ ctx, most desk.Money) (desk.ConsentView, error) {
	return say[desk.ConsentView](d.fake, "consent.Credit", most)
}

func (d consent) Block(_ ctx, v string, yes bool) (desk.ConsentView, error) {
	return say[desk.ConsentView](d.fake, "consent.Block", v, yes)
}
