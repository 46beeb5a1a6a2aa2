package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/lab"
	"github.com/harkmarket/hark/node/lab/play"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
)

// keepers are what a stage has to do with keepers that spy and lie, and with floods.
type keepers struct {
	issuer key.Private[key.Issuer]
	loaded atomic.Bool // all nodes are there, and what spies see is noted
}

var _ play.Attacks = (*stage)(nil)

// lies are a liar's misbehaviours, by what scenarios call them.
var lies = map[string]string{
	lab.Withhold: "withhold-mail", lab.RollBack: "roll-back", lab.Wipe: "", lab.Alter: "flip-bits", lab.Replay: "replay-mail",
}

// comeIn is the order in which players start: customers after all public nodes, so that
// they know spies and liars as well as others, and Sybils last.
func (st *stage) comeIn() (order []int) {
	for _, now := range []func(lab.Player) bool{
		func(p lab.Player) bool { return p.Public && p.Whole() }, func(p lab.Player) bool { return !p.Public }, func(p lab.Player) bool { return !p.Whole() },
	} {
		for i, p := range st.plan.Players {
			if now(p) {
				order = append(order, i)
			}
		}
	}
	return order
}

// member makes a whole node. One that does not come late runs, or may be started.
func (st *stage) member(p lab.Player) *nodetest.Member {
	shut := st.s.Network.Follow == lab.FollowOwn
	switch {
	case !p.Public:
		return st.w.Personal(p.Name)
	case p.Role == lab.Spy:
		return st.w.Spying(p.Name, shut, func(x nodetest.Seen) { st.spied(p.Name, x) })
	case p.Role == lab.Liar:
		return st.w.Misbehaving(p.Name, true, lies[p.Lie])
	}
	var by *nodetest.Circle
	if p.Victim {
		by = &st.censors.circle
	}
	return st.w.Later(p.Name, shut, by)
}

// spied notes what came in at a spy, where it could say something of who announced what.
func (st *stage) spied(spy string, x nodetest.Seen) {
	if !st.loaded.Load() {
		return
	}
	rec := lab.Record{Kind: lab.KindSpied, Node: spy}
	if who := st.w.Who(x.From); who != nil {
		rec.From = who.Name
	}
	if x.Op == nil {
		d, err := wire.ReadAnnouncement(x.Raw)
		if err != nil {
			return
		}
		a := d.A()
		id := a.ContextID()
		rec.Context, rec.Seq, rec.Names = brief(id[:]), a.Seq, []string{named(wire.ID(x.Raw)), brief(a.Mailbox[:])}
		st.saw(x.At, rec)
		return
	}
	rec.What = opWord(x.Op.Kind)
	if len(x.Op.Data) > 0 {
		rec.Names = append(rec.Names, named(wire.ID(x.Op.Data)))
	}
	if !x.Op.Box.IsZero() {
		rec.Names = append(rec.Names, brief(x.Op.Box[:]))
	}
	for _, id := range x.Op.Hashes {
		rec.Names = append(rec.Names, named(id))
	}
	if !x.Op.Next.Key.IsZero() {
		rec.Next, rec.Names = st.publicName(x.Op.Next.Key), nil // what is handed on is sealed
	}
	if rec.From != "" && len(rec.Names)+len(rec.Next) > 0 {
		st.saw(x.At, rec)
	}
}

// opWord names an operation.
func opWord(k protocol.OpKind) string {
	switch k {
	case protocol.OpPost, protocol.OpPostKey:
		return "post"
	case protocol.OpDeposit:
		return "deposit"
	case protocol.OpCollect, protocol.OpSubscribe, protocol.OpDelete:
		return "collect"
	}
	return fmt.Sprintf("operation %d", k)
}

func brief(id []byte) string { return fmt.Sprintf("%x", id)[:16] }

func named(id protocol.Hash) string { return brief(id[:]) }

// publicName is whose key it is.
func (st *stage) publicName(k key.KeeperKey) string {
	for i, m := range st.members {
		if m != nil && st.plan.Players[i].Public && m.Key.Public() == k {
			return st.plan.Players[i].Name
		}
	}
	return "unknown"
}

// Lose implements play.Attacks.
func (st *stage) Lose(i int) error {
	st.members[i].Lose()
	return nil
}

// Reach implements play.Attacks.
func (st *stage) Reach(i int, online bool) { st.members[i].Online(online) }

// Issuer implements play.Attacks.
func (st *stage) Issuer() string { return st.issuer.Public().String() }

// Flood implements play.Attacks.
func (st *stage) Flood(ctx context.Context, i, need int, raw []byte) error {
	her := st.members[i]
	time.Sleep(floodAfter)
	her.Online(false)
	f := st.s.MailFlood
	came, err := nodetest.MailFlood{Identities: f.Identities, Addresses: f.Addresses, Vouched: f.Vouched, Issuer: st.issuer}.Flood(ctx, st.w, raw)
	her.Online(true)
	for _, c := range came {
		rec := lab.Record{Kind: lab.KindFlood, Need: need, Node: c.Keeper.Name, What: lab.Identities, Came: [3]int{c.Came, c.Refused, c.Kept}}
		if c.Vouched {
			rec.What = lab.Vouched
		}
		st.saw(time.Now(), rec)
	}
	return errors.Join(err, ctx.Err())
}

// floodAfter is how long a customer stays to see her need published.
const floodAfter = 5 * time.Second
