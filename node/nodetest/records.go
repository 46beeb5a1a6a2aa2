package nodetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/node/internal/peers/dht"
	"github.com/harkmarket/hark/node/internal/peers/dht/foe"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
)

// A Published is something that stands in the DHT of a simulated world, and with public
// nodes: a vendor's passport, or the need of a context.
type Published struct {
	Chain   wire.Chain // zero: a need
	Need    protocol.ContextID
	Keepers []*Member // who put it, and have it themselves
	raw     []byte    // of a need
}

// Key is its key in the DHT.
func (p Published) Key() string {
	if p.Chain.IsZero() {
		return dht.AnnKey(p.Need)
	}
	return dht.PassportKey(p.Chain.Vendor())
}

// maxTries bounds how many keys are made until one suits.
const maxTries = 1 << 18

var errNoKey = fmt.Errorf("nodetest: no key that suits was found: %w", fault.NotFound)

// PublishPassport makes a vendor whose key suits, whose keepers these are, and leaves its
// passport with them, as it would.
func PublishPassport(w *World, keepers []*Member, suits func(key string) bool) (Published, error) {
	chain, err := passport(w, named(keepers), suits)
	if err != nil {
		return Published{}, err
	}
	net := chain.Latest().Net
	return Published{Chain: chain, Keepers: keepers}, each(keepers, func(m *Member) error { return publish(m, net, chain) })
}

// passport makes the first of a vendor whose key suits.
func passport(w *World, keepers []protocol.Keeper, suits func(key string) bool) (chain wire.Chain, err error) {
	net, err := w.ID()
	if err != nil {
		return chain, err
	}
	root, next, box := key.Generate[key.Root](), key.Generate[key.Root]().Public(), key.Generate[key.Mailbox]().Public()
	inbox := protocol.Inbox{Box: box, Seal: key.GenerateSeal[key.InboxSeal]().Public(), Keepers: keepers}
	for range maxTries {
		raw, err := wire.Sign(root, &protocol.Passport{
			Header: protocol.Header{Net: net, Kind: protocol.KindPassport, ID: wire.NewID(), Seq: 1, Created: protocol.Second(time.Now().Unix())},
			Root:   root.Public(), Next: wire.NextRoot(next), Name: "a vendor", Country: "ZA", Inbox: inbox,
		})
		if err != nil {
			return chain, err
		}
		if suits(dht.PassportKey(wire.ID(raw))) {
			return wire.OpenChain([][]byte{raw}, net)
		}
	}
	return chain, errNoKey
}

// publish leaves a chain with a node, by itself.
func publish(m *Member, net protocol.Hash, chain wire.Chain) error {
	ctx := context.Background()
	s, err := keeper.Client{Port: m.port(), Net: net}.Sync(ctx, m.port().Self())
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // it answered, or not
	return s.Publish(ctx, chain.Raws())
}

// PublishNeed makes a need whose key suits, whose keepers these are, and leaves it with
// them, as its author would.
func PublishNeed(w *World, keepers []*Member, shard uint16, life time.Duration, suits func(key string) bool) (Published, error) {
	for range maxTries {
		ctx := key.Generate[key.Context]()
		if !suits(dht.AnnKey(ctx.Public())) {
			continue
		}
		raw, err := needAt(w, ctx, shard, life, named(keepers))
		if err != nil {
			return Published{}, err
		}
		return Published{Need: ctx.Public(), Keepers: keepers, raw: raw}, each(keepers, func(m *Member) error { return m.Post(context.Background(), raw) })
	}
	return Published{}, errNoKey
}

func each(all []*Member, do func(*Member) error) error {
	var errs []error
	for _, m := range all {
		errs = append(errs, do(m))
	}
	return errors.Join(errs...)
}

func named(all []*Member) (out []protocol.Keeper) {
	for _, m := range all {
		out = append(out, m.port().Self())
	}
	return out
}

// Alone tells whether a running member finds it in the DHT, asking nobody else.
func (p Published) Alone(ctx context.Context, m *Member) bool {
	if p.Chain.IsZero() {
		raw, err := m.DHT.Announcement(ctx, p.Need)
		return err == nil && bytes.Equal(raw, p.raw)
	}
	c, err := m.DHT.Passports(ctx, p.Chain.Vendor())
	return err == nil && c.LatestHash() == p.Chain.LatestHash()
}

// Found tells whether a running member finds it as nodes do: a need on its own board,
// where gossip and pull bring it, and else in the DHT; a passport with public nodes of
// every way in, and else in the DHT.
func (p Published) Found(ctx context.Context, m *Member) (bool, error) {
	if p.Chain.IsZero() {
		heard, err := m.Heard()
		if err != nil {
			return false, err
		}
		if _, there := heard[wire.ID(p.raw).String()]; there {
			return true, nil
		}
		return p.Alone(ctx, m), nil
	}
	c, err := m.FindPassport(ctx, p.Chain.Vendor())
	return err == nil && c.LatestHash() == p.Chain.LatestHash(), nil
}

// TableFill is how much a node holds for others in its DHT, and how much it may, in bytes.
func TableFill(m *Member) (held, most int) {
	for name, f := range m.DHT.Fills() {
		if name != "puts" {
			held, most = held+f.At, most+f.Limit
		}
	}
	return held, most
}

// distances are those of the running public nodes from a key, nearest first.
func distances(w *World, key string) (out [][32]byte) {
	for _, m := range w.nodes {
		if m.public && m.Node != nil {
			out = append(out, foe.Distance(peerOf(m.Key.Public()), key))
		}
	}
	slices.SortFunc(out, func(a, b [32]byte) int { return bytes.Compare(a[:], b[:]) })
	return out
}

func peerOf(k key.KeeperKey) peer.ID { return address.ID(k) }
