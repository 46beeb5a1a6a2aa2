package desks

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/market"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
)

// Offers implements desk.Offers.
type Offers struct{ *Office }

// List implements desk.Offers. Offers that miss the need's constraints come only
// when all are asked for. Within one need the best comes first.
func (d Offers) List(ctx context.Context, q desk.Query) (page desk.Page[desk.Offer], err error) {
	from, err := after(q)
	if err == nil {
		err = stateIn(q, "an offer or deal", flow.DealStates()[1:])
	}
	if err != nil {
		return page, err
	}
	page.Items = []desk.Offer{}
	err = d.view(ctx, func(r kv.Reader) error {
		needs := map[protocol.ContextID]string{}
		return records.EachDeal(r, from, func(x records.Deal) (bool, error) {
			if !d.wanted(q, x) {
				return true, nil
			}
			if len(page.Items) == limit(q) {
				page.Next = page.Items[len(page.Items)-1].ID
				return false, nil
			}
			page.Items = append(page.Items, show(x, d.need(r, needs, x)))
			return true, nil
		})
	})
	if q.Context != "" && q.After == "" && page.Next == "" {
		slices.SortStableFunc(page.Items, best)
	}
	return page, err
}

func (d Offers) wanted(q desk.Query, x records.Deal) bool {
	return (q.All || len(x.Misses) == 0) && (q.State == "" || q.State == x.Flow.State.String()) &&
		strings.HasPrefix(hexOf(x.Context), q.Context) && strings.HasPrefix(x.Grant.String(), q.Grant) &&
		(strings.HasPrefix(x.Vendor.String(), q.Vendor) || strings.EqualFold(x.VendorName, q.Vendor))
}

// need finds the words of the need that an offer answers; only its owner has them.
func (d Offers) need(r kv.Reader, known map[protocol.ContextID]string, x records.Deal) string {
	if x.Side != protocol.Customer {
		return ""
	}
	if name, ok := known[x.Context]; ok {
		return name
	}
	c, err := records.GetContext(r, x.Context)
	if err != nil {
		return ""
	}
	known[x.Context] = c.Name
	return c.Name
}

// best puts priced offers before those on request, the vendors' own best first, the
// cheaper before the dearer.
func best(a, b desk.Offer) int {
	onRequest := func(o desk.Offer) int {
		if o.Price == nil {
			return 1
		}
		return 0
	}
	minor := func(o desk.Offer) int64 {
		if o.Price == nil {
			return 0
		}
		return o.Price.Minor
	}
	return cmp.Or(cmp.Compare(onRequest(a), onRequest(b)), cmp.Compare(a.Rank, b.Rank), cmp.Compare(minor(a), minor(b)), cmp.Compare(a.ID, b.ID))
}

func show(x records.Deal, need string) desk.Offer {
	o := x.Offer
	return desk.Offer{
		ID: x.ID.String(), Grant: x.Grant.String(), Context: hexOf(x.Context), Need: need, Vendor: x.Vendor.String(), VendorName: x.VendorName,
		Product: o.Product, Title: o.Title, Description: o.Description, Price: desk.ShowMoney(o.Price), Quantity: max(o.Quantity, 1),
		Condition: condition(o.Condition), Region: string(o.Region), Rank: int(o.Rank), ValidUntil: moment(o.Expires),
		State: x.Flow.State.String(), Misses: x.Misses, AtMS: x.AtMS,
	}
}

// Get implements desk.Offers.
func (d Offers) Get(ctx context.Context, id string) (v desk.Offer, err error) {
	x, need, err := d.find(ctx, id)
	return show(x, need), err
}

func (d Offers) find(ctx context.Context, id string) (x records.Deal, need string, err error) {
	did, err := d.resolve(ctx, records.Deals, id)
	if err != nil {
		return x, "", err
	}
	err = d.view(ctx, func(r kv.Reader) error {
		if x, err = records.GetDeal(r, did); err != nil {
			return err
		}
		need = d.need(r, map[protocol.ContextID]string{}, x)
		return nil
	})
	return x, need, err
}

// Make implements desk.Offers.
func (d Offers) Make(ctx context.Context, spec desk.OfferSpec) (desk.Offer, error) {
	gid, err := d.resolve(ctx, records.Agreements, spec.Grant)
	if err != nil {
		return desk.Offer{}, err
	}
	p, err := d.Catalog.Get(ctx, spec.Product)
	if err != nil {
		return desk.Offer{}, notFound(err, "product "+spec.Product)
	}
	if spec.Hold < 0 || spec.Hold > 3600 {
		return desk.Offer{}, fmt.Errorf("a hold of %d seconds, want 0 to 3600: %w", spec.Hold, fault.Malformed)
	}
	p = p.Short()
	proposal := market.Proposal{
		Product: p.ID, Title: p.Title, Description: p.Description, Price: p.Price, Condition: p.Condition, Region: p.Region,
		Rank: 1, Hold: protocol.Second(spec.Hold), Again: true,
	}
	if spec.Price > 0 {
		if proposal.Price.Currency == "" {
			proposal.Price.Currency = "ZAR"
		}
		proposal.Price.Minor = spec.Price
	}
	ids, err := d.Market.Offer(ctx, gid, []market.Proposal{proposal})
	if err != nil {
		return desk.Offer{}, err
	}
	return d.Get(ctx, ids[0].String())
}

// Accept implements desk.Offers.
func (d Offers) Accept(ctx context.Context, id, note string) (desk.Deal, error) {
	return Deals(d).step(ctx, id, protocol.KindAccept, note)
}

// Decline implements desk.Offers.
func (d Offers) Decline(ctx context.Context, id, note string) (desk.Deal, error) {
	return Deals(d).step(ctx, id, protocol.KindDecline, note)
}

// Deals implements desk.Deals.
type Deals struct{ *Office }

// List implements desk.Deals: offers that were answered.
func (d Deals) List(ctx context.Context, q desk.Query) (page desk.Page[desk.Deal], err error) {
	from, err := after(q)
	if err == nil {
		err = stateIn(q, "an offer or deal", flow.DealStates()[1:])
	}
	if err != nil {
		return page, err
	}
	page.Items = []desk.Deal{}
	err = d.view(ctx, func(r kv.Reader) error {
		needs := map[protocol.ContextID]string{}
		return records.EachDeal(r, from, func(x records.Deal) (bool, error) {
			answered := x.Flow.State != flow.Offered && len(x.Steps) > 1
			if (!answered && !q.All) || !Offers(d).wanted(desk.Query{All: true, State: q.State, Context: q.Context, Grant: q.Grant, Vendor: q.Vendor}, x) {
				return true, nil
			}
			if len(page.Items) == limit(q) {
				page.Next = page.Items[len(page.Items)-1].ID
				return false, nil
			}
			page.Items = append(page.Items, d.show(x, Offers(d).need(r, needs, x)))
			return true, nil
		})
	})
	return page, err
}

func (d Deals) show(x records.Deal, need string) desk.Deal {
	v := desk.Deal{ID: x.ID.String(), Offer: show(x, need), Side: x.Side.String(), State: x.Flow.State.String(), Due: due(x.Flow.Due(d.Genesis.Duties))}
	for _, s := range x.Steps {
		v.Steps = append(v.Steps, desk.Step{Kind: s.Kind.String(), By: s.By.String(), AtMS: s.AtMS, Note: s.Note})
	}
	return v
}

// Get implements desk.Deals.
func (d Deals) Get(ctx context.Context, id string) (desk.Deal, error) {
	x, need, err := Offers(d).find(ctx, id)
	return d.show(x, need), err
}

var steps = map[string]protocol.Kind{
	"confirm": protocol.KindConfirm, "fulfil": protocol.KindFulfil, "close": protocol.KindClose, "cancel": protocol.KindCancel,
}

// Step implements desk.Deals.
func (d Deals) Step(ctx context.Context, id, step, note string) (desk.Deal, error) {
	kind, ok := steps[step]
	if !ok {
		return desk.Deal{}, fmt.Errorf("step %q is none of confirm, fulfil, close, cancel: %w", step, fault.Malformed)
	}
	return d.step(ctx, id, kind, note)
}

func (d Deals) step(ctx context.Context, id string, kind protocol.Kind, note string) (desk.Deal, error) {
	did, err := d.resolve(ctx, records.Deals, id)
	if err != nil {
		return desk.Deal{}, err
	}
	if len(note) > protocol.MaxText {
		return desk.Deal{}, fmt.Errorf("a note of %d bytes, at most %d: %w", len(note), protocol.MaxText, fault.Malformed)
	}
	if err := d.Market.Step(ctx, did, kind, note); err != nil {
		return desk.Deal{}, err
	}
	return d.Get(ctx, hexOf(did))
}
