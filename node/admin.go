package node

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/consent"
	"github.com/harkmarket/hark/node/internal/desks"
	"github.com/harkmarket/hark/node/internal/gossip"
	"github.com/harkmarket/hark/node/internal/keeper/roster"
	"github.com/harkmarket/hark/node/internal/market"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/ledger"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/outbox"
)

// office gives the rooms of an unlocked node, or those of a locked one, which answer
// fault.Locked.
func (n *Node) office() *desks.Office {
	if in := n.insides(); in != nil {
		return &in.office
	}
	o := desks.Locked(n.board, n.genesis, n.now)
	return &o
}

// Customer implements desk.House.
func (n *Node) Customer() desk.Customer { return desks.Customer{Office: n.office()} }

// Vendor implements desk.House.
func (n *Node) Vendor() desk.Vendor { return desks.Vendor{Office: n.office()} }

// Consent implements desk.House.
func (n *Node) Consent() desk.Consent { return desks.Consent{Office: n.office(), Words: consent.Words} }

// Ledger implements desk.House.
func (n *Node) Ledger() desk.Ledger { return desks.Ledger{Office: n.office()} }

// Records implements desk.House.
func (n *Node) Records() desk.Records { return desks.Records{Office: n.office()} }

// Network implements desk.House.
func (n *Node) Network() desk.Network { return netDesk{n} }

// Admin implements desk.House.
func (n *Node) Admin() desk.Admin { return adminDesk{n} }

// netDesk implements desk.Network.
type netDesk struct{ n *Node }

// Peers implements desk.Network.
func (d netDesk) Peers(context.Context) ([]desk.Peer, error) {
	out := []desk.Peer{}
	if v, ok := d.n.port.(interface{ View() []peers.Known }); ok {
		for _, k := range v.View() {
			out = append(out, peerOf(k))
		}
		return out, nil
	}
	for _, k := range d.n.port.Keepers(256) {
		out = append(out, desk.Peer{Key: k.Key.String(), Addrs: address.Texts(k)})
	}
	return out, nil
}

// Info implements desk.Network.
func (d netDesk) Info(context.Context) (desk.NetworkInfo, error) {
	g := d.n.genesis
	v := desk.NetworkInfo{
		ID: d.n.net.String(), Name: g.Name, Shards: int(g.Shards), Categories: g.Categories.CID().String(), Terms: g.Terms.CID().String(),
		Lanes: []map[string]int{}, Duties: map[string]int64{
			"deletion": int64(g.Duties.Deletion), "right": int64(g.Duties.Right), "letters": int64(g.Duties.Letters),
			"boxes": int64(g.Duties.Boxes), "lease": int64(g.Duties.Lease),
		},
	}
	for _, l := range g.Lanes {
		v.Lanes = append(v.Lanes, map[string]int{"lane": int(l.Lane), "effort": int(l.Effort)})
	}
	return v, nil
}

// Self implements desk.Network.
func (d netDesk) Self(ctx context.Context) (desk.Identity, error) {
	self := d.n.port.Self()
	v := desk.Identity{Profile: d.n.settings.Profile, Key: self.Key.String(), PeerID: peers.PeerID(self.Key), Addrs: address.Texts(self)}
	if v.Addrs == nil {
		v.Addrs = []string{}
	}
	if g, ok := d.n.port.(*gossip.Network); ok && g.Gossip != nil {
		v.Joined, v.Mesh = g.Gossip.Joined(), g.Gossip.MeshPeers()
	}
	if in := d.n.insides(); in != nil {
		v.Device = in.office.Stores.Ledger.Device().String()
		if vendor, err := in.market.Vendor(ctx); err == nil {
			v.Vendor = vendor.ID.String()
		}
	}
	return v, nil
}

// adminDesk implements desk.Admin.
type adminDesk struct{ n *Node }

// Status implements desk.Admin.
func (d adminDesk) Status(ctx context.Context) (desk.Status, error) {
	n := d.n
	v := desk.Status{
		Problems: []desk.Problem{}, Profile: n.settings.Profile, Version: n.cfg.Version, PID: os.Getpid(), Started: n.began.at.UTC(),
		ReadyMS: n.began.ready.Milliseconds(), Network: n.net.String(), Peers: len(n.port.Keepers(256)),
		Counts: map[string]int{}, Delivery: map[string]int{}, DiskBytes: n.store.Size(), Bounds: []desk.Fill{n.events.fill()}, Owed: []desk.Debt{},
	}
	if f, err := readKeys(n.cfg.Paths); err == nil {
		v.KeyStore = f.Store
	}
	n.bounds(&v)
	v.Ways = n.ways()
	in := n.insides()
	if v.Locked = in == nil; v.Locked {
		v.Problems = append(v.Problems, desk.Problem{Code: "locked", What: "the vault is locked: nothing of yours is answered", Fix: "hark unlock"})
	} else if err := n.insideStatus(ctx, in, &v); err != nil {
		return v, err
	}
	n.problems(&v)
	if in == nil {
		return v, nil
	}
	return v, n.inboxProblem(ctx, in, &v)
}

// bounds adds what is bounded, with its fill, outside the vault.
func (n *Node) bounds(v *desk.Status) {
	add := func(list []kv.Fill) {
		for _, f := range list {
			v.Bounds = append(v.Bounds, desk.Fill{Name: f.Name, Used: f.Used, Cap: f.Cap})
		}
	}
	add(n.board.Stats())
	v.Bounds = append(v.Bounds, desk.Fill{Name: "node.fresh", Used: int64(len(n.fresh)), Cap: int64(cap(n.fresh))})
	at, most := n.crew.Size()
	v.Bounds = append(v.Bounds, desk.Fill{Name: "roster.keepers", Used: int64(n.roster.Size()), Cap: roster.Max})
	v.Bounds = append(v.Bounds, desk.Fill{Name: "node.crew", Used: int64(at), Cap: int64(most)})
	if n.boxes != nil {
		add(n.boxes.Stats())
		add(n.blobs.Stats())
	}
	if n.server != nil {
		add(n.server.Stats())
	}
	if n.keeper != nil {
		for name, f := range n.keeper.Fills() {
			v.Bounds = append(v.Bounds, desk.Fill{Name: "keeper." + name, Used: int64(f.At), Cap: int64(f.Limit)})
		}
	}
	if g, ok := n.port.(*gossip.Network); ok {
		known, connected, connections, streams := g.Host.Status()
		for name, f := range map[string]peers.Fill{"known": known, "connected": connected, "connections": connections, "streams": streams} {
			v.Bounds = append(v.Bounds, desk.Fill{Name: "peers." + name, Used: int64(f.At), Cap: int64(f.Limit)})
		}
		for name, f := range peers.Streams(g.Host) {
			v.Bounds = append(v.Bounds, desk.Fill{Name: "peers." + name + "-streams", Used: int64(f.At), Cap: int64(f.Limit)})
		}
		for name, f := range g.Relay().Fills() {
			v.Bounds = append(v.Bounds, desk.Fill{Name: "relay." + name, Used: int64(f.At), Cap: int64(f.Limit)})
		}
		if n.dht != nil {
			for name, f := range n.dht.Fills() {
				v.Bounds = append(v.Bounds, desk.Fill{Name: "dht." + name, Used: int64(f.At), Cap: int64(f.Limit)})
			}
		}
		if g.Gossip != nil {
			topics, blamed := g.Gossip.Status()
			for name, f := range map[string]peers.Fill{"topics": topics, "blamed": blamed, "watched": g.Gossip.Watched(), "judging": g.Gossip.Judging()} {
				v.Bounds = append(v.Bounds, desk.Fill{Name: "gossip." + name, Used: int64(f.At), Cap: int64(f.Limit)})
			}
		}
	}
	slices.SortFunc(v.Bounds, func(a, b desk.Fill) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
}

// insideStatus adds what only an open vault tells.
func (n *Node) insideStatus(ctx context.Context, in *inside, v *desk.Status) error {
	o := in.office
	goods, err := in.office.Catalog.Fill(ctx)
	if err != nil {
		return err
	}
	at, most := in.crew.Size()
	own := []kv.Fill{in.seller.Fill(), in.carrier.Fill(), goods, {Name: "market.crew", Used: int64(at), Cap: int64(most)}}
	for _, f := range slices.Concat(in.courier.Stats(), in.market.Stats(), own) {
		v.Bounds = append(v.Bounds, desk.Fill{Name: f.Name, Used: f.Used, Cap: f.Cap})
	}
	return o.Stores.KV.View(ctx, func(r kv.Reader) error {
		if err := desks.Count(r, v.Counts); err != nil {
			return err
		}
		if v.Owed, err = desks.Debts(r); err != nil {
			return err
		}
		if v.Evidence, err = evidence(r, o.Stores.Ledger); err != nil {
			return err
		}
		fills, err := o.Stores.Outbox.Stats(r)
		if err != nil {
			return err
		}
		held, err := o.Stores.Held.Fill(r)
		if err != nil {
			return err
		}
		bytes, err := o.Stores.Held.BytesFill(r)
		if err != nil {
			return err
		}
		vault, err := o.Stores.Vault.Fills(r)
		if err != nil {
			return err
		}
		kept, err := in.answers.Fills(r)
		if err != nil {
			return err
		}
		decides, err := in.market.ConsentFills(r)
		if err != nil {
			return err
		}
		letters, err := in.market.LetterFills(r)
		if err != nil {
			return err
		}
		sightings, err := in.courier.SightingFills(r)
		if err != nil {
			return err
		}
		for _, f := range slices.Concat(fills, vault, kept, decides, letters, sightings, []kv.Fill{held, bytes}) {
			v.Bounds = append(v.Bounds, desk.Fill{Name: f.Name, Used: f.Used, Cap: f.Cap})
		}
		if err := eachItem(r, o.Stores.Outbox, func(it outbox.Item) { v.Delivery[it.State.String()]++ }); err != nil {
			return err
		}
		v.Keepers, err = n.keeperReports(r, o.Stores.Outbox)
		return err
	})
}

// evidence tells how much is kept for ever.
func evidence(r kv.Reader, l *ledger.Ledger) (v desk.Evidence, err error) {
	e, err := records.EvidenceOf(r)
	if err != nil {
		return v, err
	}
	v.Envelopes, v.Bytes = e.Envelopes, e.Bytes
	v.Entries, err = l.Size(r)
	return v, err
}

// eachItem calls fn with every item of the outbox.
func eachItem(r kv.Reader, o *outbox.Outbox, fn func(outbox.Item)) error {
	var after protocol.Hash
	for more := true; more; {
		var items []outbox.Item
		var err error
		if items, more, err = o.List(r, outbox.Filter{}, after, 64); err != nil {
			return err
		}
		for _, it := range items {
			fn(it)
			after = it.ID
		}
		more = more && len(items) > 0
	}
	return nil
}

// rolls are bounds that are full in the normal course of things: what is oldest gives
// way, for topics there are no more, and a crew is as large as its work.
var rolls = map[string]bool{
	"consent.prompts": true, "node.crew": true, "node.events": true, "courier.slots": true, "gossip.topics": true, "courier.gone": true, "keeper.capabilities": true, "roster.keepers": true,
	"courier.post-keys": true, "courier.stamps": true, "keeper.post-keys": true, "keeper.post-lines": true, "gossip.blamed": true, "gossip.watched": true,
	"keeper.returns": true, "keeper.suspects": true,
	"market.offers-per-grant": true, // of the grant that had most, ever
	"dht.announcements-bytes": true, "dht.passports-bytes": true, "dht.providers-bytes": true,
}

// clockWrong is how wrong a clock is at least before its owner is told: others ignore
// what comes from two minutes ahead.
const clockWrong = 90 * time.Second

// reliefs say what makes room below a bound, by the beginning of its name; the first that
// fits counts.
var reliefs = []struct{ bound, fix string }{
	{"vault.purges", "hark unlock: what was erased is taken off the disk while the vault is open"},
	{"vault.uploads", "wait until a file has gone out; hark vault list shows what is there"},
	{"vault.", "hark vault list shows what takes room; hark vault rm FIELD makes some"},
	{"catalog.", "hark catalog import FILE takes a smaller catalogue in place of this one"},
	{"held.", "hark held list shows what you hold of whom; hark held delete GRANT makes room"},
	{"consent.rules", "hark consent rule list shows them; hark consent rule rm NAME takes one out"},
	{"consent.blocked", "hark request blocked lists them; hark request unblock VENDOR takes one out"},
	{"consent.credit", "hark consent show lists them; hark consent credit changes them"},
	{"market.contexts", "hark need list --all shows them; hark need withdraw ID ends one"},
	{"market.requests", "hark request list --state waiting shows them; hark request refuse ID answers one"},
	{"market.agreements", "hark grant list shows them; hark grant revoke ID ends one"},
	{"outbox.", "hark netcheck says why letters do not go out; hark letters shows which"},
	{"courier.", "hark netcheck says why letters do not go out; hark letters shows which"},
	{"carrier.", "hark netcheck says why copies do not go out"},
	{"mailbox.", "letters for others go by their dates; hark netcheck says how this node does meanwhile"},
	{"blobs.", "copies for others go by their dates; hark netcheck says how this node does meanwhile"},
	{"board.", "announcements go by their dates; hark follow set --sector NAME keeps fewer of them"},
}

// relief is what makes room below a bound. What is kept in memory alone is free again
// after a start.
func relief(bound string) string {
	for _, r := range reliefs {
		if strings.HasPrefix(bound, r.bound) {
			return r.fix
		}
	}
	return "it empties by itself when others let go; if it does not: hark stop, then hark run"
}

// problems puts what needs the owner first, each with the command that mends it.
func (n *Node) problems(v *desk.Status) {
	add := func(code, what, fix string) {
		v.Problems = append(v.Problems, desk.Problem{Code: code, What: what, Fix: fix})
	}
	n.elsewhereProblems(add)
	if v.Peers == 0 {
		fix := "add the address of a public node to \"bootstrap\" in network.json (hark paths says where) and start again"
		if slices.ContainsFunc(v.Ways, func(w desk.WayIn) bool { return w.Works == desk.Off }) {
			fix = "take \"ways\" out of config.toml (hark paths says where), start again without --ways, and where that does not help, " + fix
		}
		add("no-peers", "no public node is known or reached: nothing can be announced, sent or received", fix)
	}
	if v.KeyStore == KeyFile {
		add("key-file", "the key of this home lies in a file beside it: whoever copies both can read everything", "hark rekey --key-store passphrase, or keyring, puts it there")
	}
	for _, f := range v.Bounds {
		if f.Cap > 0 && f.Used*10 >= f.Cap*9 && !rolls[f.Name] {
			add("full", fmt.Sprintf("%s is %d of %d", f.Name, f.Used, f.Cap), relief(f.Name))
		}
	}
	if k := v.Counts["lapses"]; k > 0 {
		add("lapses", fmt.Sprintf("%d promises to you were broken", k), "hark grant list --state lapsed shows the grants, also those that ended since; hark grant lapse ID FILE writes the proof of each")
	}
	keeperProblems(v.Keepers, add)
	if by, of := n.roster.Ahead(); of > 0 && by.Abs() > clockWrong {
		way := "ahead of"
		if by < 0 {
			way = "behind"
		}
		add("clock", fmt.Sprintf("this machine's clock is %s %s those of the %d other nodes met of late: what you announce may be ignored until they agree, and dates pass too early or too late", by.Abs().Round(time.Second), way, of), "set the clock, or let the system keep it (on Linux: timedatectl set-ntp true)")
	}
}

// Unlock implements desk.Admin.
func (d adminDesk) Unlock(ctx context.Context, passphrase []byte) error {
	if f, err := readKeys(d.n.cfg.Paths); err == nil && f.needsPassphrase() && len(passphrase) == 0 {
		return fmt.Errorf("a passphrase is needed: %w", fault.Locked)
	}
	return d.n.Unlock(ctx, passphrase)
}

// Lock implements desk.Admin.
func (d adminDesk) Lock(ctx context.Context) error {
	err := d.n.lock(ctx)
	debug.FreeOSMemory()
	return err
}

// Letters implements desk.Admin: those sent, or those read that a keeper lacked or
// had altered.
func (d adminDesk) Letters(ctx context.Context, sent bool, q desk.Query) (page desk.Page[desk.LetterReport], err error) {
	o := d.n.office()
	var after protocol.Hash
	if q.State != "" && !slices.Contains(desk.LetterStates(), q.State) {
		return page, fmt.Errorf("%s: %w", protocol.NoSuch("state of a letter", q.State, desk.LetterStates()), fault.Malformed)
	}
	if q.State != "" && !sent {
		return page, fmt.Errorf("letters that were received have no state; those that were sent do: %w", fault.Malformed)
	}
	if q.After != "" {
		if err := after.UnmarshalText([]byte(q.After)); err != nil {
			return page, fmt.Errorf("page cursor: %w", err)
		}
	}
	limit := q.Limit
	if limit <= 0 || limit > 500 {
		limit = 100
	}
	page.Items = []desk.LetterReport{}
	err = o.Stores.KV.View(ctx, func(r kv.Reader) error {
		if sent {
			return sentLetters(r, o.Stores.Outbox, q, after, limit, &page)
		}
		return readLetters(r, after, limit, &page)
	})
	return page, err
}

func sentLetters(r kv.Reader, o *outbox.Outbox, q desk.Query, after protocol.Hash, limit int, page *desk.Page[desk.LetterReport]) error {
	for len(page.Items) < limit {
		items, more, err := o.List(r, outbox.Filter{What: outbox.Letter}, after, min(64, limit-len(page.Items)))
		if err != nil {
			return err
		}
		for _, it := range items {
			after = it.ID
			if q.State != "" && q.State != it.State.String() || q.Kind != "" && q.Kind != it.Kind.String() {
				continue
			}
			v := desk.LetterReport{ID: it.ID.String(), Kind: it.Kind.String(), Box: it.Box.String(), State: it.State.String(), AtMS: it.CreatedMS}
			for _, rec := range it.Receipts {
				v.Receipts = append(v.Receipts, rec.Keeper.String())
			}
			page.Items = append(page.Items, v)
		}
		if !more || len(items) == 0 {
			return nil
		}
	}
	page.Next = after.String()
	return nil
}

func readLetters(r kv.Reader, after protocol.Hash, limit int, page *desk.Page[desk.LetterReport]) error {
	var from []byte
	if !after.IsZero() {
		from = after[:]
	}
	return records.EachSighting(r, from, func(s records.Sighting) (bool, error) {
		if len(page.Items) == limit {
			page.Next = page.Items[limit-1].ID
			return false, nil
		}
		v := desk.LetterReport{ID: s.Letter.String(), Box: s.Box.String(), State: "read", AtMS: s.AtMS}
		for _, k := range s.Missing {
			v.Missing = append(v.Missing, k.String())
		}
		for _, k := range s.Altered {
			v.Altered = append(v.Altered, k.String())
		}
		page.Items = append(page.Items, v)
		return true, nil
	})
}

// Events implements desk.Admin.
func (d adminDesk) Events(ctx context.Context, after uint64, fn func(desk.Event) error) error {
	return d.n.events.follow(ctx, after, fn)
}

// Stop implements desk.Admin: it asks whoever opened the node to close it.
func (d adminDesk) Stop(context.Context) error {
	d.n.stop.once.Do(func() { close(d.n.stop.asked) })
	return nil
}

// misbehaviours are the promises that a node can be made to break; false: in tests
// alone, as no demonstration shows it.
var misbehaviours = map[string]bool{
	"": true, string(market.KeepDeleted): true, string(market.ForkLedger): true, string(market.ReopenRevoked): true,
	string(market.LeakField): true, string(market.KeepLease): false,
	"withhold-mail": true, "flip-bits": true, "roll-back": false, "replay-mail": false, "blame-later": false,
	string(market.RewriteLedger): true,
}

// Misbehaviours lists those that can be demonstrated.
func Misbehaviours() []string {
	var out []string
	for name, shown := range misbehaviours {
		if name != "" && shown {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}
