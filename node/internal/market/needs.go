package market

import (
	"context"
	"errors"
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
	Auto     bool // grant by yourself what it offers
}

// context is the record of a need that is not kept yet, with fresh keys.
func (m *Market) context(n Need) records.Context {
	nowMS := m.cfg.Now().UnixMilli()
	sign, box := key.Generate[key.Context](), key.Generate[key.Mailbox]()
	return records.Context{
		ID: sign.Public(), Flow: flow.Context{Kind: n.Reason}, Name: n.Demand.Name,
		Category: n.Category, Region: n.Region, Fields: n.Fields, Issuers: n.Issuers, Demand: n.Demand,
		Keepers: m.cfg.Places.Keepers(protocol.MaxKeepers), CreatedMS: nowMS, AnnouncedMS: nowMS, Life: n.Life, Auto: n.Auto,
		Keys: records.ContextKeys{
			Sign: protocol.Share(sign.Seed()), Box: protocol.Share(box.Seed()),
			Seal: protocol.Share(key.GenerateSeal[key.ContextSeal]().Seed()),
			Body: protocol.Share(key.NewSecret()),
		},
	}
}

// Announce makes a context with fresh keys and announces it. The work on its stamp is
// done before its turn, and ends with ctx.
func (m *Market) Announce(ctx context.Context, n Need) (id protocol.ContextID, err error) {
	if m.locked != nil {
		return id, m.locked
	}
	c := m.context(n)
	if err := reachable(&c); err != nil {
		return id, err
	}
	if err := m.tally.room(); err != nil {
		return id, err // before any work is done
	}
	v, err := m.stamped(ctx, &c, 0)
	if err != nil {
		return id, err
	}
	err = m.command(ctx, "announce", func(t *turn) error {
		if err := m.tally.room(); err != nil {
			return err
		}
		t.made = c.ID[:]
		return t.announce(&c, v)
	})
	return c.ID, err
}

// Preview gives the very bytes that Announce would publish, with keys that are
// thrown away.
func (m *Market) Preview(ctx context.Context, n Need) ([]byte, error) {
	if m.locked != nil {
		return nil, m.locked
	}
	c := m.context(n)
	if err := reachable(&c); err != nil {
		return nil, err
	}
	v, err := m.stamped(ctx, &c, 0)
	return v.raw, err
}

// reachable: an announcement names the nodes that keep what comes to it, so that there is
// none without one.
func reachable(c *records.Context) error {
	if len(c.Keepers) > 0 {
		return nil
	}
	return fmt.Errorf("no other node is known yet that could keep the answers to a need and pass it on, and its announcement names one; wait until hark peers lists one, or name one with hark peers add, and start the node again: %w", fault.Offline)
}

// Update announces a context anew under its next seq: with other words or
// constraints, or, where change is nil, only for another life. Living grants get
// the new body key.
func (m *Market) Update(ctx context.Context, id protocol.ContextID, change func(*Need) error) error {
	return m.revise(ctx, "update", id, func(t *turn, c *records.Context) (protocol.Second, error) {
		if c.Flow.State.Final() || c.Flow.Kind.Life() == 0 {
			return 0, fmt.Errorf("need %s is %s: %w", short(id), c.Flow.State, fault.Conflict)
		}
		if change == nil {
			return t.now + c.Life, nil
		}
		n := Need{Category: c.Category, Region: c.Region, Fields: c.Fields, Issuers: c.Issuers, Demand: c.Demand, Life: c.Life, Auto: c.Auto}
		if err := change(&n); err != nil {
			return 0, err
		}
		if n.Category != c.Category || n.Region != c.Region {
			return 0, fmt.Errorf("category and region stay as announced; withdraw the need and announce another: %w", fault.Conflict)
		}
		c.Name, c.Fields, c.Issuers, c.Demand, c.Life = n.Demand.Name, n.Fields, n.Issuers, n.Demand, n.Life
		c.Auto = n.Auto
		return t.now + c.Life, nil
	})
}

// revise announces a context anew in three steps: a turn in which change says what
// shall be so, and until when, zero where there is nothing to announce; the work on the stamp, for which no turn waits;
// and a turn that keeps it, if no other version was announced meanwhile. Otherwise it
// begins again. Living grants get the new body key.
func (m *Market) revise(ctx context.Context, name string, id protocol.ContextID, change func(*turn, *records.Context) (until protocol.Second, err error)) error {
	for range maxRevisions {
		var c records.Context
		var until protocol.Second
		err := m.Do(ctx, name, func(t *turn) (err error) {
			if c, err = records.GetContext(t, id); err != nil {
				return err
			}
			until, err = change(t, &c)
			return err
		})
		if err != nil || until == 0 {
			return err
		}
		c.Keys.Body = protocol.Share(key.NewSecret())
		v, err := m.stamped(ctx, &c, until)
		if err != nil {
			return err
		}
		err = m.command(ctx, name, func(t *turn) error { return t.reannounce(c, v) })
		if !errors.Is(err, errRevised) {
			return err
		}
	}
	return fmt.Errorf("need %s was announced anew by others all the time: %w", short(id), fault.Conflict)
}

// maxRevisions is how often a version is made anew because another came before it.
const maxRevisions = 4

// errRevised tells that another version was announced while this one was made.
var errRevised = errors.New("another version was announced meanwhile")

// reannounce goes to the next seq with a new body key, and tells living grants.
func (t *turn) reannounce(made records.Context, v version) error {
	c, err := records.GetContext(t, made.ID)
	if err != nil {
		return err
	}
	if c.Flow.Seq != made.Flow.Seq {
		return errRevised
	}
	c.Name, c.Fields, c.Issuers, c.Demand, c.Life = made.Name, made.Fields, made.Issuers, made.Demand, made.Life
	c.Auto = made.Auto
	c.Keepers, c.Keys.Body = made.Keepers, made.Keys.Body
	if err := t.announce(&c, v); err != nil {
		return err
	}
	// No vendor whose grant was revoked meanwhile has had this key.
	if err := records.DeleteMove(t, c.ID); err != nil {
		return err
	}
	return records.EachUnder(t, c.ID, func(a records.Agreement) (bool, error) {
		if a.Flow.State != flow.Disclosed {
			return true, nil
		}
		return true, t.disclose(&a, &c, newKey)
	})
}

// Withdraw takes an announcement back.
func (m *Market) Withdraw(ctx context.Context, id protocol.ContextID) error {
	return m.command(ctx, "withdraw", func(t *turn) error {
		c, err := records.GetContext(t, id)
		if err != nil {
			return err
		}
		if c.Flow.State.Final() || c.Flow.Kind.Life() == 0 {
			return fmt.Errorf("need %s is %s: %w", short(id), c.Flow.State, fault.Conflict)
		}
		c.Keys.Body = protocol.Share(key.NewSecret())
		v, err := m.announcement(&c, protocol.Withdrawn, t.now, t.now+c.Life, nil) // free: there is no stamp to work on
		if err != nil {
			return err
		}
		return t.announce(&c, v)
	})
}

// A version is one announcement of a context, signed.
type version struct {
	raw []byte
	a   *protocol.Announcement
}

// announce keeps a context's next version and puts it into the outbox.
func (t *turn) announce(c *records.Context, v version) error {
	raw, a, id := v.raw, v.a, wire.ID(v.raw)
	next, _, err := flow.NextContext(c.Flow, flow.Event{
		Kind: protocol.KindAnnouncement, ID: id, By: protocol.Customer, At: t.now,
		Until: a.Expires, Seq: a.Seq, Status: a.Status,
	})
	if err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	c.Flow, c.Raw = next, raw
	c.Announced = append(c.Announced, records.Announced{Hash: id, Seq: a.Seq, Expires: a.Expires})
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
	if err := t.putContext(*c); err != nil {
		return err
	}
	kind := "need.announced"
	if a.Status == protocol.Withdrawn {
		kind = "need.withdrawn"
	}
	if err := t.note(kind, map[string]string{
		"context": hexOf(c.ID[:]), "seq": fmt.Sprint(a.Seq), "envelope": id.String(),
		"category": string(c.Category), "region": string(c.Region),
	}); err != nil {
		return err
	}
	if a.Status == protocol.Withdrawn {
		if err := t.over(*c); err != nil {
			return err
		}
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

// announcement makes the signed bytes of a context's next version, made now and good
// until then. step hears of the
// work on its stamp and may stop it.
func (m *Market) announcement(c *records.Context, s protocol.Status, now, until protocol.Second, step wire.Step) (version, error) {
	seq := c.Flow.Seq + 1
	sign := key.FromSeed[key.Context](c.Keys.Sign.Secret())
	a := &protocol.Announcement{
		Header: protocol.Header{
			Net: m.cfg.Net, Kind: protocol.KindAnnouncement, ID: wire.NewID(),
			Context: protocol.Hash(c.ID), Seq: seq, Created: now, Expires: until,
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
			return version{}, fmt.Errorf("need: %w", err)
		}
		a.Body, a.Commitment = body, commitment
	}
	raw, err := wire.SignWorking(sign, a, lane, effort, step)
	if err != nil {
		return version{}, fmt.Errorf("need: %w", err)
	}
	return version{raw, a}, nil
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
	if err := t.putContext(c); err != nil {
		return err
	}
	if c.Flow.State.Final() {
		if err := t.over(c); err != nil {
			return err
		}
	}
	if !changed {
		return nil
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
