package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/node/internal/carrier"
	"github.com/harkmarket/hark/node/internal/consent"
	"github.com/harkmarket/hark/node/internal/courier"
	"github.com/harkmarket/hark/node/internal/crew"
	"github.com/harkmarket/hark/node/internal/desks"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/node/internal/market"
	"github.com/harkmarket/hark/node/internal/pay"
	"github.com/harkmarket/hark/node/internal/seller"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/answers"
	"github.com/harkmarket/hark/store/board"
	"github.com/harkmarket/hark/store/catalog"
	"github.com/harkmarket/hark/store/held"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/ledger"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/outbox"
	"github.com/harkmarket/hark/store/vault"
)

// inside is what needs the home's key: everything private.
type inside struct {
	office  desks.Office
	market  *market.Market
	courier *courier.Courier
	carrier *carrier.Carrier
	seller  *seller.Seller
	crew    *crew.Crew
	answers *answers.Answers // to programs

	carriers *crew.Crew // the carrier's, which may be at large values for minutes
}

// insides gives what is open, nil while the node is locked.
func (n *Node) insides() *inside {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.inside
}

// Unlock opens the vault and starts the market. fault.Denied for a wrong
// passphrase, fault.Locked where one is needed and none is given.
func (n *Node) Unlock(ctx context.Context, passphrase []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.inside != nil {
		return nil
	}
	master, err := n.master(passphrase)
	if err != nil {
		return err
	}
	in, err := n.openInside(ctx, master)
	if err != nil {
		return fmt.Errorf("unlock: %w", err)
	}
	n.inside = in
	n.events.Emit("node.unlocked", "", nil)
	return nil
}

func (n *Node) master(passphrase []byte) (key.Secret, error) {
	if s := n.cfg.Simulated; s != nil && s.Locked {
		return key.Secret{}, fault.Locked
	} else if s != nil {
		return s.Master, nil
	}
	f, err := readKeys(n.cfg.Paths)
	if err != nil {
		return key.Secret{}, err
	}
	master, err := f.open(n.cfg.Paths, passphrase)
	if f.needsPassphrase() {
		debug.FreeOSMemory() // Argon2id took 64 MiB for a moment
	}
	return master, err
}

// private holds the stores that the home's key opens.
type private struct {
	stores  market.Stores
	device  key.Private[key.Device]
	account key.Private[key.Account]
	catalog *catalog.Catalog
}

// openPrivate opens the private stores over a kv store.
func openPrivate(ctx context.Context, store kv.Store, master key.Secret, lim Limits) (p private, err error) {
	sealed := kv.Sealed(store, seal.Derive(master, seal.LabelRecord, nil))
	p.device = key.FromSeed[key.Device](seal.Derive(master, seal.LabelDevice, nil))
	p.stores = market.Stores{KV: sealed, Vault: vault.New(seal.Derive(master, seal.LabelVaultName, nil)), Held: held.Bounded(lim.Held).Within(lim.HeldBytes)}
	if p.stores.Ledger, err = ledger.Open(ctx, sealed, p.device); err != nil {
		return p, fmt.Errorf("ledger: %w", err)
	}
	if p.stores.Outbox, err = outbox.Open(sealed, lim.Outbox); err != nil {
		return p, fmt.Errorf("outbox: %w", err)
	}
	p.catalog = catalog.Open(sealed)
	p.account = key.FromSeed[key.Account](seal.Derive(master, seal.LabelAccountSign, nil))
	return p, nil
}

// settingDevice is where the device's certificate stands.
const settingDevice = "device"

// certify makes, the first time, the certificate by which the account binds this
// device's key and ledger to itself, and from then on checks that it still does.
func (p private) certify(ctx context.Context, name string, now protocol.Second) error {
	var raw []byte
	err := p.stores.KV.View(ctx, func(r kv.Reader) error { return records.GetSetting(r, settingDevice, &raw) })
	if errors.Is(err, fault.NotFound) {
		d := &protocol.Device{
			Header: protocol.Header{Kind: protocol.KindDevice, ID: wire.NewID(), Seq: 1, Created: now},
			Device: p.device.Public(), Name: lastBytes(name, protocol.MaxName),
		}
		if raw, err = wire.Sign(p.account, d); err != nil {
			return fmt.Errorf("device certificate: %w", err)
		}
		return p.stores.KV.Update(ctx, func(tx kv.Tx) error { return records.PutSetting(tx, settingDevice, raw) })
	}
	if err != nil {
		return fmt.Errorf("device certificate: %w", err)
	}
	s, err := wire.Open(raw)
	if err != nil {
		return fmt.Errorf("device certificate: %w", err)
	}
	d, err := wire.As[*protocol.Device](s)
	if err != nil || d.From != protocol.Hash(p.account.Public()) || d.Device != p.device.Public() {
		return fmt.Errorf("device certificate is of another account or device: %w", fault.Denied)
	}
	return nil
}

// lastBytes keeps the end of a path, which says more than its beginning.
func lastBytes(s string, n int) string {
	if s == "" {
		s = "simulated"
	}
	return strings.ToValidUTF8(s[max(0, len(s)-n):], "")
}

// maxOutbox is how many items the outbox holds, ended ones included.
const maxOutbox = 16384

// openInside opens the private stores and hires the market, the courier and the
// seller.
func (n *Node) openInside(ctx context.Context, master key.Secret) (*inside, error) {
	lim := n.limits()
	lim.Outbox.Items = cmp.Or(lim.Outbox.Items, maxOutbox)
	p, err := openPrivate(ctx, n.store, master, lim)
	if err != nil {
		return nil, err
	}
	if err := p.stores.Vault.Open(ctx, p.stores.KV, n.now().UnixMilli()); err != nil {
		return nil, err
	}
	if err := n.judgeAll(ctx, p.stores.KV); err != nil {
		return nil, err
	}
	if err := p.certify(ctx, n.cfg.Paths.Config, protocol.Second(n.now().Unix())); err != nil {
		return nil, err
	}
	posting, err := n.posting()
	if err != nil {
		return nil, err
	}
	// The market and its upkeep, the seller, and what the courier needs: each of its own bounds is
	// reached before this one, so that nobody finds no place in the crew.
	in := &inside{crew: crew.New(context.WithoutCancel(ctx), 4+lim.Courier.Crew(), nil), carriers: crew.New(context.WithoutCancel(ctx), 1+carrier.Most, nil)}
	in.answers = answers.Open(p.stores.KV, answers.Limits{})
	if err := in.answers.Sweep(ctx, n.now().UnixMilli()); err != nil {
		return nil, err
	}
	in.courier = courier.New(courier.Config{
		Client: n.client(), Met: n.roster.Met, Judge: n.judge, Crew: in.crew, KV: p.stores.KV, Outbox: p.stores.Outbox,
		Letter: in.letter, Collected: in.collected, Posting: posting, Limits: lim.Courier, Now: n.now, Log: n.cfg.Log,
	})
	search := seller.Searcher(p.catalog)
	if sim := n.cfg.Simulated; sim != nil && sim.Search != nil {
		p.catalog = catalog.OpenOnDemand(p.stores.KV)
		p.catalog.Bound(lim.Products)
		search = sim.Search(p.catalog)
	}
	in.seller = seller.New(seller.Config{Catalog: search, Offer: in.offer, Log: n.cfg.Log, Queue: lim.Seller})
	carry := func() { in.carrier.Kick() }
	in.market = market.New(market.Config{
		Stores: p.stores, Net: n.net, Genesis: n.genesis, Mail: in.courier, Places: places{n}, Registry: registry{n.board},
		Answers: in.seller, Events: n.events, Once: once{in.answers}, Carry: carry, Judge: n.judge, Rules: consent.Engine{}, Rails: pay.Rails{Life: n.genesis.Duties.Boxes}, Log: n.cfg.Log, Now: n.now, Misbehave: market.Misbehaviour(n.cfg.Misbehave), Limits: lim.Market,
	})
	in.carrier = carrier.New(carrier.Config{
		Client: n.client(), Market: in.market, KV: p.stores.KV, Held: p.stores.Held, Crew: in.carriers, Now: n.now, Log: n.cfg.Log,
	})
	in.office = desks.Office{
		Market: in.market, Stores: p.stores, Board: n.board, Catalog: p.catalog, Genesis: n.genesis, Now: n.now,
		FetchPassport: n.fetchPassport, FetchAnnouncement: n.fetchAnnouncement, Follow: n.follow, Reached: n.reaches,
		Rewrite: n.cfg.Misbehave == string(market.RewriteLedger),
	}
	err = errors.Join(
		in.crew.Hire("market", in.market.Run), in.crew.Hire("market keepers", in.market.Upkeep), in.crew.Hire("market moves", in.market.Moves),
		in.crew.Hire("courier", in.courier.Run), in.crew.Hire("seller", in.seller.Run),
		in.carriers.Hire("carrier", in.carrier.Run))
	if err != nil {
		return nil, err
	}
	f, err := in.market.Rules(ctx)
	if err != nil {
		return nil, err
	}
	return in, n.follow(f)
}

// follow joins the topics that a vendor's rules need.
func (n *Node) follow(f market.Follow) error {
	if n.keeper == nil {
		if f.Ask {
			return fmt.Errorf("a personal node is in no mesh and hears no needs; vendors run a public one: %w", fault.Unsupported)
		}
		return nil
	}
	return n.join(n.shards(f))
}

// letter hands a letter from the courier to the market.
func (in *inside) letter(ctx context.Context, box key.MailboxKey, raw []byte) (courier.Outcome, error) {
	known, err := in.market.Known(ctx, wire.ID(raw))
	if err != nil || known {
		return courier.Known, err
	}
	opened, err := in.market.Letter(ctx, box, raw)
	if err != nil {
		return 0, err
	}
	if opened {
		return courier.Taken, nil
	}
	return courier.Junk, nil
}

// collected tells the market that a mailbox was read to its end.
func (in *inside) collected(ctx context.Context, box key.MailboxKey, at protocol.Second) error {
	return in.market.Collected(ctx, box, at)
}

// offer turns matching products into proposals.
func (in *inside) offer(ctx context.Context, id protocol.GrantID, products []catalog.Product) error {
	list := make([]market.Proposal, len(products))
	for i, p := range products {
		p = p.Short()
		list[i] = market.Proposal{
			Product: p.ID, Title: p.Title, Description: p.Description, Price: p.Price, Condition: p.Condition, Region: p.Region, Rank: uint8(i + 1),
		}
	}
	_, err := in.market.Offer(ctx, id, list)
	if errors.Is(err, fault.Conflict) || errors.Is(err, fault.NotFound) {
		return nil // revoked meanwhile: there is nobody to offer to
	}
	return err
}

// lock stops the market and forgets the key.
func (n *Node) lock(ctx context.Context) error {
	n.mu.Lock()
	in := n.inside
	n.inside = nil
	n.mu.Unlock()
	if in == nil {
		return nil
	}
	n.events.Emit("node.locked", "", nil)
	return errors.Join(in.carriers.Dismiss(ctx), in.crew.Dismiss(ctx))
}

// registry implements market.Registry on the board.
type registry struct{ b *board.Board }

// Announcement implements market.Registry.
func (r registry) Announcement(ctx context.Context, c protocol.ContextID) (wire.Heard, error) {
	e, err := r.b.Get(ctx, c)
	return e.Heard, err
}

// Passport implements market.Registry.
func (r registry) Passport(ctx context.Context, v protocol.VendorID) (wire.Chain, error) {
	return r.b.Passports(ctx, v)
}

// EachOpen implements market.Registry.
func (r registry) EachOpen(ctx context.Context, fn func(wire.Heard) error) error {
	var after protocol.ContextID
	for more := true; more; {
		var list []board.Entry
		var err error
		if list, more, err = r.b.Find(ctx, board.Filter{Status: protocol.Open}, after, 256); err != nil {
			return err
		}
		for _, e := range list {
			after = e.Heard.A().ContextID()
			if err := fn(e.Heard); err != nil {
				return err
			}
		}
		more = more && len(list) > 0
	}
	return nil
}

// fetchPassport brings a vendor's passports onto the board.
func (n *Node) fetchPassport(ctx context.Context, v protocol.VendorID) error {
	if _, err := n.board.Passports(ctx, v); err == nil {
		return nil
	}
	chain, err := n.FindPassport(ctx, v)
	if err != nil {
		return err
	}
	_, err = n.board.PutPassports(ctx, chain)
	return err
}

// FindPassport asks public nodes of every way in for a vendor's passports, and then the
// DHT. It keeps nothing of them.
func (n *Node) FindPassport(ctx context.Context, v protocol.VendorID) (wire.Chain, error) {
	asking, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	cl := n.client()
	for _, k := range n.draw() {
		chain, err := askPassport(asking, cl, k, v, n.net)
		if err == nil {
			return chain, nil
		}
		n.cfg.Log.Debug("node: passport", "keeper", k.Key, "err", err)
	}
	if chain, err := n.dhtPassport(ctx, v); err == nil {
		return chain, nil
	}
	return wire.Chain{}, fmt.Errorf("no keeper that was asked knows vendor %s, nor does the DHT; import its passports with hark passport import: %w", v.Short(), fault.NotFound)
}

// askWait bounds the time for all public nodes that are asked before the DHT is.
const askWait = 15 * time.Second

func askPassport(ctx context.Context, cl keeper.Client, k protocol.Keeper, v protocol.VendorID, net protocol.Hash) (wire.Chain, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	s, err := cl.Sync(ctx, k)
	if err != nil {
		return wire.Chain{}, err
	}
	defer func() { _ = s.Close() }() // it was used once
	raws, err := s.Passports(ctx, v)
	if err != nil {
		return wire.Chain{}, err
	}
	c, err := wire.OpenChain(raws, net)
	if err == nil && c.Vendor() != v {
		err = fmt.Errorf("passports of another vendor: %w", fault.Denied)
	}
	return c, err
}
