package nodetest

import (
	"context"
	"fmt"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/gossip"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/board"
)

// Topic names the gossip topic of a shard of this world's network.
func (w *World) Topic(shard uint16) (string, error) {
	net, err := w.ID()
	return gossip.Topic(net, w.Genesis.Shards, shard), err
}

// Need signs a need of nobody on a shard, which lives for so long.
func (w *World) Need(shard uint16, life time.Duration) ([]byte, error) {
	return needAt(w, key.Generate[key.Context](), shard, life, []protocol.Keeper{{Key: key.Generate[key.Keeper]().Public()}})
}

// needAt signs a need of a context that names these keepers.
func needAt(w *World, ctx key.Private[key.Context], shard uint16, life time.Duration, keepers []protocol.Keeper) ([]byte, error) {
	net, err := w.ID()
	if err != nil {
		return nil, err
	}
	category, place, err := w.subject(shard)
	if err != nil {
		return nil, err
	}
	now := protocol.Second(time.Now().Unix())
	body, commitment, err := wire.SealBody(protocol.Demand{Name: "nothing"}, key.NewSecret(), ctx.Public(), 1)
	if err != nil {
		return nil, err
	}
	return wire.SignAnnouncement(ctx, &protocol.Announcement{
		Header: protocol.Header{Net: net, ID: wire.NewID(), Seq: 1, Created: now, Expires: now + protocol.Second(life/time.Second)},
		Status: protocol.Open, Reason: protocol.ContextNeed, Category: category, Region: place,
		Seal: key.GenerateSeal[key.ContextSeal]().Public(), Terms: w.Genesis.Terms, Mailbox: key.Generate[key.Mailbox]().Public(),
		Keepers: keepers, Body: body, Commitment: commitment,
	}, protocol.LaneNone, 0)
}

// subject finds a category and a place that fall on a shard.
func (w *World) subject(shard uint16) (protocol.Category, protocol.Region, error) {
	for _, c := range []protocol.Category{"home.furniture", "insurance.motor", "travel.flights", "events.cakes"} {
		for _, r := range []protocol.Region{"ZA", "DE", "FR", "NL", "GB", "US", "KE", "NG", "IN", "BR", "PT", "ES", "IT", "PL", "SE", "NO", "FI", "DK", "IE", "JP"} {
			if wire.Shard(c, r, w.Genesis.Shards) == shard {
				return c, r, nil
			}
		}
	}
	return "", "", fmt.Errorf("nodetest: nothing of the list is on shard %d of %d", shard, w.Genesis.Shards)
}

// Post hands an announcement to the node, as an author would.
func (m *Member) Post(ctx context.Context, raw []byte) error { return m.PostAt(ctx, m, raw) }

// PostAt hands an announcement to another node.
func (m *Member) PostAt(ctx context.Context, to *Member, raw []byte) error {
	net, err := m.w.ID()
	if err != nil {
		return err
	}
	s, err := keeper.Client{Port: m.port(), Net: net}.Post(ctx, to.port().Self())
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // it answered, or not
	return s.Announce(ctx, raw)
}

// Heard tells when the node put each announcement that is open on its board.
func (m *Member) Heard() (map[string]time.Time, error) {
	b, err := board.Open(m.Store, m.w.Genesis.Shards, board.Limits{}) // as the node would at its next start
	if err != nil {
		return nil, err
	}
	out := map[string]time.Time{}
	var after protocol.ContextID
	for more := true; more; {
		var found []board.Entry
		if found, more, err = b.Find(context.Background(), board.Filter{Status: protocol.Open}, after, board.MaxFind); err != nil {
			return nil, err
		}
		for _, e := range found {
			after = e.Heard.A().ContextID()
			out[e.Heard.ID().String()] = time.UnixMilli(e.HeardMS).Add(-time.Duration(m.ahead.Load()))
		}
	}
	return out, nil
}

// Gossiped tells, in a simulated world, when gossip brought each announcement to the
// node that was news then.
func (m *Member) Gossiped() map[string]time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]time.Time{}
	for id, at := range m.heard {
		out[id.String()] = at
	}
	return out
}

// Judged are, in a simulated world, how many messages by gossip the node kept, ignored
// and blamed a peer for, and when it did the last of these.
func (m *Member) Judged() (count [3]int, blamed time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.count, m.blamed
}

// Again has fn told of each announcement that gossip brings to the node although it has
// it, or had it, from elsewhere; in a simulated world. fn must not block.
func (m *Member) Again(fn func(raw []byte)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.again = fn
}

// tap notes what gossip brought.
func (p *place) tap(_ uint16, raw []byte, verdict uint8, from string) {
	if p.see != nil {
		p.see(Seen{At: time.Now(), From: from, Raw: raw})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if verdict == 1 && p.again != nil {
		p.again(raw)
	}
	if p.heard == nil {
		p.heard = map[protocol.Hash]time.Time{}
	}
	switch p.count[min(verdict, 2)]++; verdict {
	case 0:
		p.heard[wire.ID(raw)] = time.Now()
	case 2:
		p.blamed = time.Now()
	}
}
