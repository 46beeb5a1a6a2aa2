package desks

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/market"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/outbox"
	"github.com/harkmarket/hark/store/vault"
)

// Needs implements desk.Needs.
type Needs struct{ *Office }

// Create implements desk.Needs.
func (n Needs) Create(ctx context.Context, spec desk.NeedSpec) (desk.Need, error) {
	if err := n.ahead(spec); err != nil {
		return desk.Need{}, err
	}
	need, err := n.read(ctx, spec)
	if err != nil {
		return desk.Need{}, err
	}
	id, err := n.Market.Announce(ctx, need)
	if err != nil {
		return desk.Need{}, err
	}
	return n.Get(ctx, hexOf(id))
}

// ahead refuses a date that is past; the day itself counts.
func (n Needs) ahead(s desk.NeedSpec) error {
	if s.NeededBy.IsZero() || !s.NeededBy.Add(24*time.Hour).Before(n.Now()) {
		return nil
	}
	return fmt.Errorf("needed by %s: that is past: %w", s.NeededBy.UTC().Format(time.DateOnly), fault.Malformed)
}

// read checks a spec and fills in what it leaves open.
func (n Needs) read(ctx context.Context, s desk.NeedSpec) (market.Need, error) {
	d, err := demand(s)
	if err != nil {
		return market.Need{}, err
	}
	need := market.Need{Reason: protocol.ContextNeed, Category: protocol.Category(s.Category), Region: protocol.Region(s.Region), Demand: d, Auto: s.Auto}
	if s.Interest {
		need.Reason = protocol.ContextInterest
	}
	if need.Category == "" {
		need.Category = protocol.Unspecified
	}
	if need.Region == "" {
		need.Region = "ZA"
	}
	if c := protocol.Categories(); !c.Has(need.Category) {
		return need, fmt.Errorf("category %q is not in the list%s: %w", s.Category, protocol.NearBy(c.Near(s.Category, 3)), fault.Malformed)
	}
	if !need.Region.Valid() {
		return need, fmt.Errorf("region %q is not in ISO 3166%s: %w", s.Region, protocol.NearBy(protocol.NearRegions(s.Region, 3)), fault.Malformed)
	}
	need.Life = need.Reason.Life()
	if s.Days < 0 || protocol.Second(s.Days) > need.Life/protocol.Day {
		return need, fmt.Errorf("a %s lives at most %d days: %w", need.Reason, need.Life/protocol.Day, fault.Malformed)
	}
	if s.Days > 0 {
		need.Life = protocol.Second(s.Days) * protocol.Day
	}
	for _, text := range s.Issuers {
		i, err := key.Parse[key.Issuer](text)
		if err != nil {
			return need, fmt.Errorf("issuer %q (%w): %w", text, err, fault.Malformed)
		}
		need.Issuers = append(need.Issuers, i)
	}
	need.Fields, err = n.offer(ctx, s, need.Category, d.Currency)
	return need, err
}

// demand reads the sealed part of a spec.
func demand(s desk.NeedSpec) (protocol.Demand, error) {
	d := protocol.Demand{
		Name: strings.TrimSpace(s.Name), Description: strings.TrimSpace(s.Description),
		Currency: protocol.Currency(s.Currency), NeededBy: second(s),
	}
	if s.Quantity > 1 {
		d.Quantity = s.Quantity
	}
	if d.Name == "" {
		return d, fmt.Errorf("a need must say what is needed: %w", fault.Malformed)
	}
	if len(d.Name) > protocol.MaxName {
		return d, fmt.Errorf("the name of a need has %d bytes, at most %d; say the rest in its description: %w", len(d.Name), protocol.MaxName, fault.Malformed)
	}
	if d.Currency == "" {
		d.Currency = "ZAR"
	}
	if !d.Currency.Valid() {
		return d, fmt.Errorf("currency %q is not in ISO 4217: %w", s.Currency, fault.Malformed)
	}
	c, ok := conditions[s.Condition]
	if !ok {
		return d, fmt.Errorf("condition %q is none of new, used, refurbished, any: %w", s.Condition, fault.Malformed)
	}
	d.Condition = c
	if s.MaxPrice < 0 {
		return d, fmt.Errorf("a budget below zero: %w", fault.Malformed)
	}
	if s.MaxPrice > 0 {
		d.MaxPrice = protocol.Money{Minor: s.MaxPrice, Currency: d.Currency}
	}
	return d, nil
}

func second(s desk.NeedSpec) protocol.Second {
	if s.NeededBy.IsZero() {
		return 0
	}
	return protocol.Second(max(s.NeededBy.Unix(), 0))
}

// offer chooses the fields on offer: those named, or of the category's template
// those that the vault holds. Prices go up to the next step of the ladder.
func (n Needs) offer(ctx context.Context, s desk.NeedSpec, c protocol.Category, cur protocol.Currency) ([]protocol.FieldOnOffer, error) {
	var out []protocol.FieldOnOffer
	err := n.view(ctx, func(r kv.Reader) error {
		held, err := n.Stores.Vault.List(r)
		if err != nil {
			return err
		}
		has := map[protocol.FieldName]vault.Field{}
		for _, f := range held {
			has[f.Name] = f
		}
		if len(s.Fields) == 0 {
			for _, name := range protocol.Template(c) {
				if f, ok := has[name]; ok && given(f) == nil && !elsewhere(f, cur) {
					out = append(out, protocol.FieldOnOffer{Name: name, Floor: floorOf(f, 0, cur)})
				}
			}
			return nil
		}
		for name, floor := range s.Fields {
			f := protocol.FieldOnOffer{Name: protocol.FieldName(name)}
			_, known := f.Name.Info()
			switch {
			case !known: // every request for it would be refused
				return fmt.Errorf("field %.64q is no known name, and nobody may be asked for a field whose class in law is unknown%s: %w", name, didYouMean(f.Name), fault.Malformed)
			case has[f.Name].Name == "":
				return fmt.Errorf("field %q is not in the vault; set it with hark vault set %s: %w", name, name, fault.NotFound)
			case floor < 0:
				return fmt.Errorf("field %q at a price below zero: %w", name, fault.Malformed)
			}
			if err := given(has[f.Name]); err != nil {
				return err
			}
			if elsewhere(has[f.Name], cur) && floor == 0 {
				return fmt.Errorf("field %q costs at least %s by your vault, and this need is in %s: name a price in %s: %w",
					name, has[f.Name].Min, cur, cur, fault.Malformed)
			}
			f.Floor = floorOf(has[f.Name], floor, cur)
			out = append(out, f)
		}
		return nil
	})
	slices.SortFunc(out, func(a, b protocol.FieldOnOffer) int { return strings.Compare(string(a.Name), string(b.Name)) })
	if err == nil && len(out) > protocol.MaxFields {
		err = fmt.Errorf("%d fields on offer, at most %d: %w", len(out), protocol.MaxFields, fault.Malformed)
	}
	return out, err
}

// elsewhere tells whether a field has a least price in another currency.
func elsewhere(f vault.Field, cur protocol.Currency) bool {
	return f.Min.Minor > 0 && f.Min.Currency != cur
}

// floorOf is the least price of a field on offer: what is asked for it here, but never
// less than what its owner asks for it anywhere, up to the next step of the ladder.
func floorOf(f vault.Field, floor int64, cur protocol.Currency) protocol.Money {
	if f.Min.Currency == cur {
		floor = max(floor, f.Min.Minor)
	}
	if floor == 0 {
		return protocol.Money{}
	}
	return protocol.Money{Minor: protocol.Ladder(floor), Currency: cur}
}

// Preview implements desk.Needs.
func (n Needs) Preview(ctx context.Context, spec desk.NeedSpec) (desk.Stranger, error) {
	if err := n.ahead(spec); err != nil {
		return desk.Stranger{}, err
	}
	need, err := n.read(ctx, spec)
	if err != nil {
		return desk.Stranger{}, err
	}
	raw, err := n.Market.Preview(ctx, need)
	if err != nil {
		return desk.Stranger{}, err
	}
	return Stranger(raw)
}

// List implements desk.Needs.
func (n Needs) List(ctx context.Context, q desk.Query) (page desk.Page[desk.Need], err error) {
	from, err := after(q)
	if err == nil {
		err = stateIn(q, "a need", flow.ContextStates())
	}
	if err != nil {
		return page, err
	}
	page.Items = []desk.Need{}
	err = n.view(ctx, func(r kv.Reader) error {
		return records.EachContext(r, from, func(c records.Context) (bool, error) {
			if !wanted(q, c) {
				return true, nil
			}
			if len(page.Items) == limit(q) {
				page.Next = page.Items[len(page.Items)-1].ID
				return false, nil
			}
			v, err := n.show(r, c)
			page.Items = append(page.Items, v)
			return true, err
		})
	})
	return page, err
}

func wanted(q desk.Query, c records.Context) bool {
	return (q.State == "" || q.State == c.Flow.State.String()) && (q.Kind == "" || q.Kind == c.Flow.Kind.String()) &&
		(q.Text == "" || strings.Contains(strings.ToLower(c.Name), strings.ToLower(q.Text)))
}

// Get implements desk.Needs.
func (n Needs) Get(ctx context.Context, id string) (v desk.Need, err error) {
	cid, err := n.resolve(ctx, records.Contexts, id)
	if err != nil {
		return v, err
	}
	err = n.view(ctx, func(r kv.Reader) error {
		c, err := records.GetContext(r, cid)
		if err != nil {
			return notFound(err, "need "+id)
		}
		v, err = n.show(r, c)
		return err
	})
	return v, err
}

// show makes the view of a context.
func (n Needs) show(r kv.Reader, c records.Context) (desk.Need, error) {
	v := desk.Need{
		ID: hexOf(c.ID), Kind: c.Flow.Kind.String(), Name: c.Name, Description: c.Demand.Description, Auto: c.Auto,
		Category: string(c.Category), Region: string(c.Region), MaxPrice: desk.ShowMoney(c.Demand.MaxPrice),
		Quantity: c.Demand.Count(), Condition: condition(c.Demand.Condition), State: c.Flow.State.String(), Seq: c.Flow.Seq,
		Fields: prices(c.Fields), Created: momentMS(c.CreatedMS), Expires: moment(c.Flow.Expires), NeededBy: moment(c.Demand.NeededBy), AnnouncedMS: c.AnnouncedMS,
		Due: due(c.Flow.Due(n.Genesis.Duties)),
	}
	var err error
	if v.Queued, err = n.queued(r, c); err != nil {
		return v, err
	}
	for _, k := range c.Keepers {
		v.Keepers = append(v.Keepers, k.Key.String())
	}
	err = records.EachUnder(r, c.ID, func(a records.Agreement) (bool, error) {
		if !a.Letters.Request.IsZero() {
			v.Requests++
		}
		if !a.Letters.Grant.IsZero() {
			v.Grants++
		}
		return true, records.EachOf(r, a.ID, func(d records.Deal) (bool, error) {
			v.Offers++
			return true, nil
		})
	})
	return v, err
}

// queued tells whether a need's latest announcement has left this node for no keeper, and
// will not in a moment: it was tried in vain, or nobody is reached.
func (n Needs) queued(r kv.Reader, c records.Context) (bool, error) {
	if c.Flow.State != flow.Announced || len(c.Raw) == 0 {
		return false, nil
	}
	it, err := n.Stores.Outbox.Get(r, wire.ID(c.Raw))
	if errors.Is(err, fault.NotFound) {
		return false, nil // it went out long ago
	}
	return err == nil && it.State == outbox.Queued && (it.Tries > 0 || n.Reached != nil && !n.Reached()), err
}

func prices(fields []protocol.FieldOnOffer) []desk.FieldPrice {
	var out []desk.FieldPrice
	for _, f := range fields {
		out = append(out, desk.FieldPrice{Field: string(f.Name), Price: desk.ShowMoney(f.Floor)})
	}
	return out
}

// Stranger implements desk.Needs.
func (n Needs) Stranger(ctx context.Context, id string) (s desk.Stranger, err error) {
	cid, err := n.resolve(ctx, records.Contexts, id)
	if err != nil {
		return s, err
	}
	var raw []byte
	err = n.view(ctx, func(r kv.Reader) error {
		c, err := records.GetContext(r, cid)
		raw = c.Raw
		return err
	})
	if err != nil {
		return s, err
	}
	if len(raw) == 0 {
		return s, fmt.Errorf("this relation is not announced: strangers see nothing: %w", fault.NotFound)
	}
	return Stranger(raw)
}

// Stranger explains the bytes of an announcement part by part, from the bytes alone.
func Stranger(raw []byte) (desk.Stranger, error) {
	h, err := wire.OpenAnnouncement(raw)
	if err != nil {
		return desk.Stranger{}, err
	}
	a := h.A()
	s := desk.Stranger{ID: h.ID().String(), Bytes: len(raw), Hex: hex.EncodeToString(raw)}
	add := func(name, value string, n int) {
		if value != "" {
			s.Parts = append(s.Parts, desk.StrangerPart{Name: name, Value: value, Bytes: n})
		}
	}
	add("network", a.Net.String(), 32)
	add("kind", a.Reason.String(), 1)
	if a.Status == protocol.Withdrawn {
		add("status", "withdrawn", 1)
	}
	add("category", string(a.Category), len(a.Category))
	add("region", string(a.Region), len(a.Region))
	add("announced", moment(a.Created).Format("2006-01-02 15:04:05Z"), 4)
	add("until", moment(a.Expires).Format("2006-01-02 15:04:05Z"), 4)
	add("version", fmt.Sprint(a.Seq), 1)
	for _, f := range a.Fields {
		price := "free of charge"
		if f.Floor.Minor > 0 {
			price = f.Floor.String()
		}
		add("field on offer", string(f.Name)+", "+price, len(f.Name))
	}
	add("terms", a.Terms.CID().String(), 32)
	for _, i := range a.Issuers {
		add("issuer served first", i.String(), 32)
	}
	for _, k := range a.Keepers {
		add("keeper", k.Key.String(), 32+len(bytes.Join(k.Addrs, nil)))
	}
	add("one-time signing key", a.ContextID().String(), 32)
	if !a.Mailbox.IsZero() {
		add("one-time mailbox", a.Mailbox.String(), 32)
		add("one-time lock", a.Seal.String(), 1216)
		add("sealed need", fmt.Sprintf("%d bytes that only a granted vendor can open", len(a.Body)), len(a.Body))
	}
	return s, nil
}

// Update implements desk.Needs.
func (n Needs) Update(ctx context.Context, id string, spec desk.NeedSpec) (desk.Need, error) {
	cid, err := n.resolve(ctx, records.Contexts, id)
	if err != nil {
		return desk.Need{}, err
	}
	was, err := n.Get(ctx, hexOf(cid))
	if err == nil && !spec.NeededBy.Equal(was.NeededBy) {
		err = n.ahead(spec)
	}
	if err != nil {
		return desk.Need{}, err
	}
	if spec.Category == "" {
		spec.Category = was.Category
	}
	if spec.Region == "" {
		spec.Region = was.Region
	}
	if spec.Name == "" {
		spec.Name = was.Name
	}
	if spec.NeededBy.IsZero() {
		spec.NeededBy = was.NeededBy
	}
	spec.Interest = was.Kind == protocol.ContextInterest.String()
	need, err := n.read(ctx, spec)
	if err != nil {
		return desk.Need{}, err
	}
	err = n.Market.Update(ctx, cid, func(m *market.Need) error {
		if len(spec.Fields) == 0 {
			need.Fields = m.Fields
		}
		if len(need.Issuers) == 0 {
			need.Issuers = m.Issuers
		}
		if spec.Currency == "" && spec.MaxPrice == 0 {
			need.Demand.Currency = m.Demand.Currency
		}
		*m = need
		return nil
	})
	if err != nil {
		return desk.Need{}, err
	}
	return n.Get(ctx, hexOf(cid))
}

// End implements desk.Needs.
func (n Needs) End(ctx context.Context, id string, how desk.NeedEnd) (desk.Need, error) {
	cid, err := n.resolve(ctx, records.Contexts, id)
	if err != nil {
		return desk.Need{}, err
	}
	switch how {
	case desk.Renew:
		err = n.Market.Update(ctx, cid, nil)
	case desk.Withdraw:
		err = n.Market.Withdraw(ctx, cid)
	default:
		err = fmt.Errorf("a need can be renewed or withdrawn, not %q: %w", how, fault.Malformed)
	}
	if err != nil {
		return desk.Need{}, err
	}
	return n.Get(ctx, hexOf(cid))
}

// Count counts what is kept by kind and state, for status.
func Count(r kv.Reader, count map[string]int) error {
	err := records.EachContext(r, nil, func(c records.Context) (bool, error) {
		count[c.Flow.Kind.String()+"."+c.Flow.State.String()]++
		return true, nil
	})
	if err != nil {
		return err
	}
	err = records.EachAgreement(r, nil, func(a records.Agreement) (bool, error) {
		count["grant."+a.Flow.State.String()]++
		count["lapses"] += len(a.Lapses)
		return true, nil
	})
	if err != nil {
		return err
	}
	return records.EachDeal(r, nil, func(d records.Deal) (bool, error) {
		count["deal."+d.Flow.State.String()]++
		return true, nil
	})
}
