package desks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/protocol/terms"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/protocol/wire/particulars"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/vault"
)

// Requests implements desk.Requests.
type Requests struct{ *Office }

// List implements desk.Requests.
func (d Requests) List(ctx context.Context, q desk.Query) (desk.Page[desk.Request], error) {
	return pageAgreements(ctx, d.Office, q, func(_ kv.Reader, a records.Agreement) (desk.Request, bool) {
		return showRequest(a), !a.Letters.Request.IsZero()
	}, func(v desk.Request) string { return v.Grant })
}

// pageAgreements lists agreements as one kind of view.
func pageAgreements[T any](ctx context.Context, o *Office, q desk.Query, show func(kv.Reader, records.Agreement) (T, bool), id func(T) string) (page desk.Page[T], err error) {
	from, err := after(q)
	if err == nil {
		err = stateIn(q, "a request or grant", append(flow.AgreementStates()[1:], "waiting", "snoozed"))
	}
	if err != nil {
		return page, err
	}
	page.Items = []T{}
	err = o.view(ctx, func(r kv.Reader) error {
		return records.EachAgreement(r, from, func(a records.Agreement) (bool, error) {
			v, ok := show(r, a)
			if !ok || !fits(q, a) {
				return true, nil
			}
			if len(page.Items) == limit(q) {
				page.Next = id(page.Items[len(page.Items)-1])
				return false, nil
			}
			page.Items = append(page.Items, v)
			return true, nil
		})
	})
	return page, err
}

func fits(q desk.Query, a records.Agreement) bool {
	lapsed := q.State == flow.Lapsed.String() && len(a.Lapses) > 0 // a promise was broken, whatever came of it
	return (q.State == "" || q.State == a.Flow.State.String() || q.State == stateOf(a) || lapsed) &&
		strings.HasPrefix(hexOf(a.Context), q.Context) &&
		(strings.HasPrefix(a.Vendor.String(), q.Vendor) || strings.EqualFold(a.VendorName, q.Vendor)) &&
		strings.HasPrefix(a.ID.String(), q.Grant) && (q.Field == "" || about(&a, protocol.FieldName(q.Field)))
}

// about reports whether an agreement is about a field.
func about(a *records.Agreement, name protocol.FieldName) bool {
	return slices.ContainsFunc(a.Terms.Fields, func(f protocol.FieldGrant) bool { return f.Name == name }) ||
		slices.ContainsFunc(a.Terms.Asked, func(f protocol.FieldAsk) bool { return f.Name == name })
}

func showRequest(a records.Agreement) desk.Request {
	v := desk.Request{
		ID: a.Letters.Request.String(), Grant: a.ID.String(), Context: hexOf(a.Context), Vendor: a.Vendor.String(),
		VendorName: a.VendorName, State: stateOf(a), Why: a.Terms.Why, Law: a.Terms.Law, Price: priceOf(a), Counter: counterOf(a),
		Fields: []desk.FieldAsk{}, At: momentMS(a.Times.Requested), AtMS: a.Times.Requested,
	}
	w := a.Terms.Consent
	v.By, v.Rule, v.Less, v.Prompted, v.Snoozed = w.By, w.Rule, w.Less, momentMS(w.PromptedMS), momentMS(w.SnoozeMS)
	v.RuleHash, v.NoticeHash = hashText(w.Hash), hashText(w.Notice)
	for _, f := range a.Terms.Asked {
		v.Fields = append(v.Fields, desk.FieldAsk{
			Field: string(f.Name), Purpose: string(f.Purpose), Required: f.Required, Retention: f.Retention, Price: desk.ShowMoney(f.Price),
		})
	}
	return v
}

// Get implements desk.Requests; the id is the request's, or its grant's.
func (d Requests) Get(ctx context.Context, id string) (desk.Request, error) {
	var ids []string
	page, err := d.List(ctx, desk.Query{Limit: maxPage})
	for err == nil {
		for _, v := range page.Items {
			if strings.HasPrefix(v.ID, id) || strings.HasPrefix(v.Grant, id) {
				return d.whole(ctx, v)
			}
			ids = closer(ids, v.ID, id)
		}
		if page.Next == "" {
			return desk.Request{}, unknown("request", id, ids)
		}
		page, err = d.List(ctx, desk.Query{Limit: maxPage, After: page.Next})
	}
	return desk.Request{}, err
}

// whole adds the notice, from the signed request.
func (d Requests) whole(ctx context.Context, v desk.Request) (desk.Request, error) {
	var id protocol.Hash
	if err := id.UnmarshalText([]byte(v.ID)); err != nil {
		return v, err
	}
	err := d.view(ctx, func(r kv.Reader) error {
		raw, err := records.GetEnvelope(r, id)
		if err != nil {
			return err
		}
		s, err := wire.Open(raw)
		if err != nil {
			return err
		}
		q, err := wire.As[*protocol.Request](s)
		if err != nil {
			return err
		}
		v.Until = moment(q.Until)
		v.Notice = []desk.StringPair{
			{Name: "source of the data", Text: q.Notice.Source}, {Name: "if you refuse", Text: q.Notice.Consequence},
			{Name: "law", Text: q.Notice.Law}, {Name: "your rights", Text: q.Notice.Rights}, {Name: "complaints", Text: q.Notice.Complaints},
			{Name: "recipients", Text: strings.Join(q.Recipients, ", ")},
		}
		more := particulars.Of(s.Extra())
		for name, text := range map[string]string{"protection abroad": more.Protection, "automated decisions": more.Automated} {
			if text != "" {
				v.Notice = append(v.Notice, desk.StringPair{Name: name, Text: text})
			}
		}
		return nil
	})
	if errors.Is(err, fault.NotFound) {
		return v, nil
	}
	return v, err
}

// Ask implements desk.Requests.
func (d Requests) Ask(ctx context.Context, spec desk.AskSpec) (desk.Request, error) {
	notice, err := d.findNotice(ctx, spec.Context)
	if err != nil {
		return desk.Request{}, err
	}
	var c protocol.Hash
	if err := c.UnmarshalText([]byte(notice.Context)); err != nil {
		return desk.Request{}, err
	}
	e, err := d.Office.Board.Get(ctx, protocol.ContextID(c))
	if err != nil {
		return desk.Request{}, err
	}
	a := e.Heard.A()
	var fields []protocol.FieldAsk
	for _, f := range a.Fields {
		if len(spec.Fields) == 0 || contains(spec.Fields, string(f.Name)) {
			fields = append(fields, protocol.FieldAsk{Name: f.Name, Purpose: protocol.PurposeOffer, Form: protocol.FormValue, Retention: 30})
		}
	}
	for _, name := range spec.Fields {
		if !contains(names(fields), name) {
			fields = append(fields, protocol.FieldAsk{Name: protocol.FieldName(name), Purpose: protocol.PurposeOffer, Form: protocol.FormValue, Retention: 30})
		}
	}
	if err := priced(fields, spec, a.Fields); err != nil {
		return desk.Request{}, err
	}
	until := a.Expires
	if spec.Days > 0 {
		until = min(until, protocol.Second(d.Now().Unix())+protocol.Second(spec.Days)*protocol.Day)
	}
	var special []protocol.FieldName
	for _, name := range spec.Special {
		special = append(special, protocol.FieldName(name))
	}
	id, err := d.Market.Ask(ctx, e.Heard, fields, until, special...)
	if err != nil {
		return desk.Request{}, err
	}
	return d.Get(ctx, id.String())
}

// findNotice finds an announcement on the board, or brings it there where its whole id
// is given.
func (d Requests) findNotice(ctx context.Context, id string) (desk.Notice, error) {
	n, _, err := Board(d).Get(ctx, id)
	var whole protocol.Hash
	if !errors.Is(err, fault.NotFound) || whole.UnmarshalText([]byte(id)) != nil || d.FetchAnnouncement(ctx, protocol.ContextID(whole)) != nil {
		return n, err
	}
	n, _, err = Board(d).Get(ctx, id)
	return n, err
}

func names(fields []protocol.FieldAsk) []string {
	out := make([]string, len(fields))
	for i, f := range fields {
		out[i] = string(f.Name)
	}
	return out
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// Grants implements desk.Grants.
type Grants struct{ *Office }

// List implements desk.Grants.
func (d Grants) List(ctx context.Context, q desk.Query) (desk.Page[desk.Grant], error) {
	return pageAgreements(ctx, d.Office, q, func(_ kv.Reader, a records.Agreement) (desk.Grant, bool) {
		return d.show(a), !a.Letters.Grant.IsZero()
	}, func(v desk.Grant) string { return v.ID })
}

// Get implements desk.Grants.
func (d Grants) Get(ctx context.Context, id string) (v desk.Grant, err error) {
	gid, err := d.resolve(ctx, records.Agreements, id)
	if err != nil {
		return v, err
	}
	err = d.view(ctx, func(r kv.Reader) error {
		a, err := records.GetAgreement(r, gid)
		if err != nil {
			return err
		}
		v = d.show(a)
		v.Rights, err = d.rights(r, a, false)
		return err
	})
	return v, err
}

// Rights implements desk.Grants.
func (d Grants) Rights(ctx context.Context, id string, reveal bool) (out []desk.RightView, err error) {
	gid, err := d.resolve(ctx, records.Agreements, id)
	if err != nil {
		return nil, err
	}
	err = d.view(ctx, func(r kv.Reader) error {
		a, err := records.GetAgreement(r, gid)
		if err != nil {
			return err
		}
		out, err = d.rights(r, a, reveal)
		return err
	})
	return out, err
}

// rights shows the rights exercised under an agreement, each with the values of its answer:
// they are in the vendor's letter, which is kept with her other private state.
func (d Grants) rights(r kv.Reader, a records.Agreement, reveal bool) ([]desk.RightView, error) {
	out := d.show(a).Rights
	for i, right := range a.Rights {
		if right.Answer.IsZero() {
			continue
		}
		raw, err := records.GetEnvelope(r, right.Answer)
		if errors.Is(err, fault.NotFound) {
			continue // it was let go in its time
		}
		if err != nil {
			return nil, err
		}
		s, err := wire.Open(raw)
		if err != nil {
			return nil, fmt.Errorf("answer %s: %w", right.Answer.Short(), err)
		}
		m, err := wire.As[*protocol.Answer](s)
		if err != nil {
			return nil, fmt.Errorf("answer %s: %w", right.Answer.Short(), err)
		}
		for _, v := range m.Values {
			held := desk.HeldValue{Field: string(v.Name), Value: mask, Masked: true}
			if reveal {
				held.Value, held.Masked = v.Value, false
			}
			out[i].Values = append(out[i].Values, held)
		}
	}
	return out, nil
}

// show makes the view of an agreement.
func (d Grants) show(a records.Agreement) desk.Grant {
	v := desk.Grant{
		ID: a.ID.String(), Side: a.Flow.Me.String(), Context: hexOf(a.Context), ContextKind: a.Reason.String(),
		Vendor: a.Vendor.String(), VendorName: a.VendorName, State: a.Flow.State.String(),
		Start: moment(a.Terms.Start), End: moment(a.Terms.End), Disclosures: a.Leases, Times: desk.GrantTimes(a.Times),
		Lapses: a.Lapses, LateOffers: a.Offers.Late, LateOpened: a.Offers.LateOpened, Due: due(a.Flow.Due(d.Genesis.Duties)),
		Deleted: a.Terms.Deleted, By: a.Terms.Consent.By, Rule: a.Terms.Consent.Rule, Less: a.Terms.Consent.Less,
		Updates: a.Standing.Updates, PerDay: int(a.Standing.PerDay), LeaseSeconds: int64(a.Terms.Lease),
	}
	if a.Flow.Me == protocol.Customer && a.Flow.State == flow.Disclosed && a.Flow.Lease > a.Flow.LeaseOver {
		v.Renews = moment(a.Flow.Lease)
	}
	showPaying(&v, a)
	for _, f := range a.Standing.Withheld {
		v.Withdrawn = append(v.Withdrawn, string(f))
	}
	for _, f := range a.Terms.Fields {
		v.Fields = append(v.Fields, desk.FieldPrice{Field: string(f.Name), Price: desk.ShowMoney(f.Price)})
	}
	for _, h := range a.Heads {
		v.Heads = append(v.Heads, desk.HeadCheck{Size: h.Size, Blind: h.Blind.String(), By: h.By, Signed: !h.Signed.IsZero()})
	}
	for _, r := range a.Rights {
		v.Rights = append(v.Rights, desk.RightView{
			ID: r.ID.String(), Exercise: exerciseName(r.Exercise), At: moment(r.At), Deadline: moment(r.Deadline), Status: r.Status, Text: r.Text,
		})
	}
	return v
}

var exercises = map[string]protocol.Exercise{
	"access": protocol.RightAccess, "correction": protocol.RightCorrection,
	"deletion": protocol.RightDeletion, "objection": protocol.RightObjection,
}

func exerciseName(e protocol.Exercise) string {
	for name, v := range exercises {
		if v == e {
			return name
		}
	}
	return "unknown"
}

// ownFields checks that the vault holds what is to be given.
func (d Grants) ownFields(ctx context.Context, names []string, p protocol.Purpose) (out []protocol.FieldGrant, err error) {
	if len(names) == 0 || len(names) > protocol.MaxFields {
		return nil, fmt.Errorf("%d fields, want 1 to %d: %w", len(names), protocol.MaxFields, fault.Malformed)
	}
	large := 0
	err = d.view(ctx, func(r kv.Reader) error {
		for _, name := range names {
			f, err := d.Stores.Vault.About(r, protocol.FieldName(name))
			if err != nil {
				return notFound(err, fmt.Sprintf("field %q is not in the vault; set it with hark vault set %s", name, name))
			}
			if err := given(f); err != nil {
				return err
			}
			if f.Blob != nil {
				large++
			}
			if large > protocol.MaxLarges {
				return fmt.Errorf("%d large values, at most %d go to one vendor under one grant: %w", large, protocol.MaxLarges, fault.Malformed)
			}
			out = append(out, protocol.FieldGrant{Name: protocol.FieldName(name), Purpose: p, Form: protocol.FormValue, Retention: 365})
		}
		return nil
	})
	return out, err
}

// given refuses a field that its owner never gives.
func given(f vault.Field) error {
	if f.Rule.Will == terms.Never {
		return fmt.Errorf("field %q is never given: your own rule; change it with hark vault set %s --rule ask: %w", f.Name, f.Name, fault.Denied)
	}
	return nil
}

// Pause implements desk.Grants.
func (d Grants) Pause(ctx context.Context, id string, resume bool, reason string) (desk.Grant, error) {
	gid, err := d.resolve(ctx, records.Agreements, id)
	if err != nil {
		return desk.Grant{}, err
	}
	if err := d.Market.Pause(ctx, gid, resume, reason); err != nil {
		return desk.Grant{}, err
	}
	return d.Get(ctx, hexOf(gid))
}

// Right implements desk.Grants.
func (d Grants) Right(ctx context.Context, id string, spec desk.RightSpec) (desk.Grant, error) {
	gid, err := d.resolve(ctx, records.Agreements, id)
	if err != nil {
		return desk.Grant{}, err
	}
	e, ok := exercises[spec.Exercise]
	if !ok {
		return desk.Grant{}, fmt.Errorf("right %q is none of access, correction, deletion, objection: %w", spec.Exercise, fault.Malformed)
	}
	if (e == protocol.RightCorrection) != (len(spec.Values) > 0) {
		return desk.Grant{}, fmt.Errorf("a correction needs values, and nothing else takes any: %w", fault.Malformed)
	}
	var fields []protocol.FieldName
	for _, f := range spec.Fields {
		fields = append(fields, protocol.FieldName(f))
	}
	var values []protocol.FieldValue
	for name, v := range spec.Values {
		values = append(values, protocol.FieldValue{Name: protocol.FieldName(name), Value: v})
	}
	if err := d.Market.Exercise(ctx, gid, e, fields, values); err != nil {
		return desk.Grant{}, err
	}
	return d.Get(ctx, hexOf(gid))
}
