package market

import (
	"context"
	"fmt"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/outbox"
)

// A Need is what its owner wants announced; the desk has checked its words.
type Need struct {
	Reason   protocol.ContextKind
	Category protocol.Category
	Region   protocol.Region
	Fields   []protocol.FieldOnOffer
	Issuers  []key.IssuerKey
	Demand   protocol.Demand
	Life     protocol.Second
}

// Announce makes a context with fresh keys and announces it.
func (m *Market) Announce(ctx context.Context, n Need) (id protocol.ContextID, err error) {
	if m.locked != nil {
		return id, m.locked
	}
	keepers := m.cfg.Places.Keepers(protocol.MaxKeepers)
	if len(keepers) == 0 {
		return id, fmt.Errorf("no keeper is known that could pass the need on: %w", fault.Offline)
	}
	asked := m.cfg.Now().UnixMilli()
	err = m.Do(ctx, "announce", func(t *turn) error {
		if err := t.newContext(); err != nil {
			return err
		}
		sign, box := key.Generate[key.Context](), key.Generate[key.Mailbox]()
		id = sign.Public()
		c := records.Context{
			ID: id, Flow: flow.Context{Kind: n.Reason}, Name: n.Demand.Name,
			Category: n.Category, Region: n.Region, Fields: n.Fields, Issuers: n.Issuers, Demand: n.Demand,
			Keepers: keepers, CreatedMS: t.nowMS, AnnouncedMS: asked, Life: n.Life,
			Keys: records.ContextKeys{
				Sign: protocol.Share(sign.Seed()),
				Seal: protocol.Share(key.GenerateSeal[key.ContextSeal]().Seed()),
				Box:  protocol.Share(box.Seed()),
			},
		}
		return t.announce(&c, protocol.Open)
	})
	return id, err
}

// Preview gives the very bytes that Announce would publish, with keys that are
// thrown away.
func (m *Market) Preview(n Need) ([]byte, error) {
	if m.locked != nil {
		return nil, m.locked
	}
	sign, box := key.Generate[key.Context](), key.Generate[key.Mailbox]()
	c := records.Context{
		ID: sign.Public(), Flow: flow.Context{Kind: n.Reason}, Category: n.Category, Region: n.Region,
		Fields: n.Fields, Issuers: n.Issuers, Demand: n.Demand, Life: n.Life,
		Keepers: m.cfg.Places.Keepers(protocol.MaxKeepers),
		Keys: records.ContextKeys{
			Sign: protocol.Share(sign.Seed()), Box: protocol.Share(box.Seed()),
			Seal: protocol.Share(key.GenerateSeal[key.ContextSeal]().Seed()),
			Body: protocol.Share(key.NewSecret()),
		},
	}
	now := protocol.Second(m.cfg.Now().Unix())
	raw, _, err := m.announcement(&c, protocol.Open, 1, now)
	return raw, err
}

// Update announces a context anew under its next seq: with other words or
// constraints, or, where change is nil, only for another life. Living grants get
// the new body key.
func (m *Market) Update(ctx context.Context, id protocol.ContextID, change func(*Need) error) error {
	return m.Do(ctx, "update", func(t *turn) error {
		c, err := records.GetContext(t, id)
		if err != nil {
			return err
		}
		if c.Flow.State.Final() || c.Flow.Kind.Life() == 0 {
			return fmt.Errorf("need %s is %s: %w", short(id), c.Flow.State, fault.Conflict)
		}
		if change != nil {
			n := Need{Category: c.Category, Region: c.Region, Fields: c.Fields, Issuers: c.Issuers, Demand: c.Demand, Life: c.Life}
			if err := change(&n); err != nil {
				return err
			}
			if n.Category != c.Category || n.Region != c.Region {
				return fmt.Errorf("category and region stay as announced; withdraw the need and announce another: %w", fault.Conflict)
			}
			c.Name, c.Fields, c.Issuers, c.Demand, c.Life = n.Demand.Name, n.Fields, n.Issuers, n.Demand, n.Life
		}
		return t.reannounce(&c)
	})
}

// reannounce goes to the next seq with a new body key, and tells living grants.
func (t *turn) reannounce(c *records.Context) error {
	if err := t.announce(c, protocol.Open); err != nil {
		return err
	}
	return records.EachUnder(t, c.ID, func(a records.Agreement) (bool, error) {
		if a.Flow.State != flow.Disclosed {
			return true, nil
		}
		return true, t.disclose(&a, c)
	})
}

// Withdraw takes an announcement back.
func (m *Market) Withdraw(ctx context.Context, id protocol.ContextID) error {
	return m.Do(ctx, "withdraw", func(t *turn) error {
		c, err := records.GetContext(t, id)
		if err != nil {
			return err
		}
		if c.Flow.State.Final() || c.Flow.Kind.Life() == 0 {
			return fmt.Errorf("need %s is %s: %w", short(id), c.Flow.State, fault.Conflict)
		}
		return t.announce(&c, protocol.Withdrawn)
	})
}

// announce signs the context's next seq and puts it into the outbox.
func (t *turn) announce(c *records.Context, s protocol.Status) error {
	c.Keys.Body = protocol.Share(key.NewSecret())
	seq := c.Flow.Seq + 1
	raw, a, err := t.m.announcement(c, s, seq, t.now)
	if err != nil {
		return err
	}
	id := wire.ID(raw)
	next, _, err := flow.NextContext(c.Flow, flow.Event{
		Kind: protocol.KindAnnouncement, ID: id, By: protocol.Customer, At: t.now,
		Until: a.Expires, Seq: seq, Status: s,
	})
	if err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	c.Flow, c.Raw = next, raw
	c.Announced = append(c.Announced, records.Announced{Hash: id, Seq: seq, Expires: a.Expires})
	if err := records.SetDue(t, records.DueContext, c.ID, int64(a.Expires)*1000); err != nil {
		return err
	}
	// Each version may bring requests until its end, and they may lie at a keeper.
	box := key.FromSeed[key.Mailbox](c.Keys.Box.Secret())
	at, err := t.alsoBefore(box.Public(), c.Keepers)
	if err != nil {
		return err
	}
	if err := t.read(box, records.BoxContext, protocol.Hash(c.ID), at, a.Expires+t.letters()); err != nil {
		return err
	}
	if err := records.PutContext(t, *c); err != nil {
		return err
	}
	kind := "need.announced"
	if s == protocol.Withdrawn {
		kind = "need.withdrawn"
	}
	if err := t.note(kind, map[string]string{
		"context": hexOf(c.ID[:]), "seq": fmt.Sprint(seq), "envelope": id.String(),
		"category": string(c.Category), "region": string(c.Region),
	}); err != nil {
		return err
	}
	return t.postRaw(c, a.Expires)
}

// postRaw hands the latest version of an announcement to its keepers.
func (t *turn) postRaw(c *records.Context, expires protocol.Second) error {
	return t.post(outbox.Item{
		What: outbox.Announcement, Data: c.Raw, Keepers: c.Keepers, Envelope: wire.ID(c.Raw),
		Kind: protocol.KindAnnouncement, Grant: protocol.Hash(c.ID), Expires: expires,
	})
}

// announcement makes the signed bytes of one version.
func (m *Market) announcement(c *records.Context, s protocol.Status, seq uint64, now protocol.Second) ([]byte, *protocol.Announcement, error) {
	sign := key.FromSeed[key.Context](c.Keys.Sign.Secret())
	a := &protocol.Announcement{
		Header: protocol.Header{
			Net: m.cfg.Net, Kind: protocol.KindAnnouncement, ID: wire.NewID(),
			Context: protocol.Hash(c.ID), Seq: seq, Created: now, Expires: now + c.Life,
		},
		Status: s, Reason: c.Flow.Kind, Category: c.Category, Region: c.Region,
	}
	lane, effort := m.lane()
	if s == protocol.Withdrawn {
		lane, effort = protocol.LaneNone, 0 // a withdrawal is free
		for _, old := range c.Announced {
			a.Expires = max(a.Expires, old.Expires)
		}
		a.Expires = min(a.Expires, now+c.Flow.Kind.Life())
	} else {
		a.Seal = key.SealFromSeed[key.ContextSeal](c.Keys.Seal.Secret()).Public()
		a.Fields, a.Issuers, a.Keepers, a.Terms = c.Fields, c.Issuers, c.Keepers, m.cfg.Genesis.Terms
		a.Mailbox = key.FromSeed[key.Mailbox](c.Keys.Box.Secret()).Public()
		body, commitment, err := wire.SealBody(c.Demand, c.Keys.Body.Secret(), c.ID, seq)
		if err != nil {
			return nil, nil, fmt.Errorf("need: %w", err)
		}
		a.Body, a.Commitment = body, commitment
	}
	raw, err := wire.SignAnnouncement(sign, a, lane, effort)
	if err != nil {
		return nil, nil, fmt.Errorf("need: %w", err)
	}
	return raw, a, nil
}

// lane is the cheapest admission lane that the network opens.
func (m *Market) lane() (lane, effort uint8) {
	lane, effort = protocol.LaneToken, 0
	for _, l := range m.cfg.Genesis.Lanes {
		if l.Lane < lane {
			lane, effort = l.Lane, l.Effort
		}
	}
	return lane, effort
}

// contextDue lets a context expire.
func (t *turn) contextDue(id protocol.ContextID) error {
	c, err := records.GetContext(t, id)
	if err != nil {
		return records.SetDue(t, records.DueContext, id, 0)
	}
	next, _, err := flow.NextContext(c.Flow, flow.Event{At: t.now})
	if err != nil {
		return err
	}
	changed := next.State != c.Flow.State
	c.Flow = next
	at := int64(0)
	if d := c.Flow.Due(t.m.cfg.Genesis.Duties); d.At > t.now {
		at = int64(d.At) * 1000
	}
	if err := records.SetDue(t, records.DueContext, id, at); err != nil {
		return err
	}
	if err := records.PutContext(t, c); err != nil || !changed {
		return err
	}
	return t.note("need."+c.Flow.State.String(), map[string]string{"context": hexOf(id[:])})
}

// rematch asks again for offers that a crash cut off.
func (m *Market) rematch(r kv.Reader, a records.Agreement) {
	if a.Flow.Me != protocol.Vendor || a.Flow.State != flow.Disclosed || a.Answered {
		return
	}
	rec, err := m.cfg.Stores.Held.Get(r, a.ID)
	if err != nil || rec.Demand.Name == "" || int64(rec.Until) <= m.cfg.Now().Unix() {
		return
	}
	f := follow(r)
	if f.Answer {
		m.cfg.Answers.Match(a.ID, rec.Demand, rec.Category, f.limit())
	}
}
