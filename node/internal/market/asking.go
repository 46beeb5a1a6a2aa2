package market

import (
	"context"
	"errors"
	"slices"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
	records "github.com/harkmarket/hark/store/market"
)

// askPerTurn bounds how many requests one turn writes; the rest follows at once.
const askPerTurn = 16

// askAll asks for everything on the board that the rules follow and that was not
// asked for.
func (t *turn) askAll(ctx context.Context) error {
	f := follow(t)
	if !f.Ask {
		return nil
	}
	enough := errors.New("enough")
	n := 0
	err := t.m.cfg.Registry.EachOpen(ctx, func(h wire.Heard) error {
		if n == askPerTurn {
			return enough
		}
		went, err := t.askFor(f, h)
		if went {
			n++
		}
		return err
	})
	switch {
	case errors.Is(err, errNoRoom):
		return nil // those for which there was some were asked for; the others are once some have ended
	case errors.Is(err, enough):
		t.then(func() { t.m.again(func(t *turn) error { return t.askAll(ctx) }) })
		return nil
	}
	return err
}

// again queues another turn without waiting; false: the queue is full, enough is under
// way, and the next start or rule change catches up.
func (m *Market) again(fn func(*turn) error) bool {
	select {
	case m.jobs <- job{name: "catch up", fn: fn, done: make(chan error, 1)}:
		return true
	default:
		return false
	}
}

// askFor sends a request for one announcement where the rules say so; went tells whether
// one went.
func (t *turn) askFor(f Follow, h wire.Heard) (went bool, err error) {
	a := h.A()
	if a.Status != protocol.Open || a.Expires <= t.now || !f.Hears(a) {
		return false, nil
	}
	if _, err := records.Asked(t, a.ContextID()); err == nil {
		return false, nil
	}
	v, err := vendorKeys(t)
	if errors.Is(err, errNoPassport) {
		return false, nil // nothing to ask with; status says so
	}
	if err != nil {
		return false, err
	}
	fields, ask := t.affordable(f, v.ID, a.Fields)
	if !ask {
		return false, nil // until its owner pays more, or what is owed is less
	}
	for _, name := range f.AskAlso {
		if !slices.ContainsFunc(fields, func(x protocol.FieldAsk) bool { return x.Name == name }) {
			fields = append(fields, askField(protocol.FieldOnOffer{Name: name}))
		}
	}
	_, err = t.ask(h, fields, a.Expires, f.particulars())
	if errors.Is(err, errUnlawful) {
		id := a.ContextID()
		body := map[string]string{"context": hexOf(id[:]), "why": err.Error()}
		t.then(func() { t.m.cfg.Events.Emit("request.unlawful", body["context"], body) })
		return false, nil // others are asked
	}
	return err == nil, err
}

func askField(o protocol.FieldOnOffer) protocol.FieldAsk {
	return protocol.FieldAsk{Name: o.Name, Purpose: protocol.PurposeOffer, Form: protocol.FormValue, Retention: 30, Price: o.Floor}
}

// pays reports whether a vendor's rules pay a price by themselves: so much for one grant, and
// no more in all than its owner said.
func (t *turn) pays(f Follow, v protocol.VendorID, price protocol.Money) bool {
	if price.Minor == 0 {
		return true
	}
	if price.Currency != f.Pay.Currency || price.Minor > f.Pay.Minor {
		return false
	}
	owes, err := records.GetAccount(t, protocol.Vendor, v)
	return err == nil && owes.Room(price, f.most())
}

// most is what the vendor may owe and have promised in all before it stops paying by itself.
func (f Follow) most() protocol.Money {
	if f.Owe.Minor > 0 {
		return f.Owe
	}
	return protocol.Money{Minor: min(f.Pay.Minor, protocol.MaxMinor/owedGrants) * owedGrants, Currency: f.Pay.Currency}
}

// owedGrants is how many grants' price a vendor may owe where its owner names no sum.
const owedGrants = 20

// affordable are the fields on offer that the vendor asks for by itself: all of them where
// it pays what they cost together, else those that cost nothing. With none left, and some on
// offer, it does not ask.
func (t *turn) affordable(f Follow, v protocol.VendorID, offer []protocol.FieldOnOffer) (fields []protocol.FieldAsk, ask bool) {
	for _, o := range offer {
		fields = append(fields, askField(o))
	}
	price, err := askedPrice(fields)
	if err != nil || !t.pays(f, v, price) {
		fields = slices.DeleteFunc(fields, func(x protocol.FieldAsk) bool { return x.Price.Minor > 0 })
	}
	return fields, len(fields) > 0 || len(offer) == 0
}

// meet asks again for what a counter names, where the vendor's rules pay its price. A counter
// that costs nothing more is its owner's decision.
func (t *turn) meet(a *records.Agreement, c *protocol.Counter) error {
	f := follow(t)
	price, err := priceOf(c.Fields)
	if err != nil || price.Minor == 0 || !f.Ask || !t.pays(f, a.Vendor, price) {
		return nil
	}
	h, err := t.m.cfg.Registry.Announcement(context.Background(), a.Context)
	if err != nil || h.A().Status != protocol.Open {
		return nil
	}
	until := h.A().Expires
	if c.Until > 0 {
		until = min(until, c.Until)
	}
	if until <= t.now {
		return nil
	}
	var fields []protocol.FieldAsk
	for _, g := range c.Fields {
		if g.Form != protocol.FormValue {
			return nil // it was asked for as it is, and less of it is worth another look
		}
		fields = append(fields, protocol.FieldAsk{Name: g.Name, Purpose: g.Purpose, Form: g.Form, Retention: g.Retention, Price: g.Price})
	}
	_, err = t.ask(h, fields, until, f.particulars())
	if err != nil && !temporary(err) { // unlawful, or no room: nothing of it was written, and the counter stands
		t.m.cfg.Log.Info("market: a counter cannot be met", "grant", a.ID.Short(), "err", err)
		return nil
	}
	return err
}
