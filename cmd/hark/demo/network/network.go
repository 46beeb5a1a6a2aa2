// Package network starts and stops the nodes of a demonstration, each a process of
// this program's own binary, on loopback:
//
//  1. New casts them: vendors and keepers are public nodes, customers and a practice
//     that one of them goes to are personal ones;
//  2. Open makes a home for each, starts it, waits until it answers and knows the
//     others, and prepares it: passport, catalogue and rules, or a vault;
//  3. News tells how far things are, from the nodes' event streams;
//  4. Stop ends them, politely at first. It ends no process but those.
package network

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/harkmarket/hark/cmd/hark/demo/input"
	"github.com/harkmarket/hark/cmd/hark/process"
	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// The network of a show: small, young, and with cheap admission.
const (
	shards = 4
	effort = 10 // zero bits of work for an announcement
)

// DeletionDue is how long a vendor has to delete and say so. The usual network gives it
// a week; this one has to be over sooner.
const DeletionDue = 20 * protocol.Second(1)

// A Network is all processes of a demonstration.
type Network struct {
	Nodes []*process.Process // public ones first
	News  *News

	program string
	outlive bool
	genesis *protocol.Genesis
	shops   []input.Shop // of the vendors, in the same order
	cancel  context.CancelCauseFunc
	wg      sync.WaitGroup

	mu   sync.Mutex
	died []string
}

// A Cast says who is in a demonstration.
type Cast struct {
	Program   string // what to start
	Dir       string // where the homes are made
	Outlive   bool   // the nodes go on when the parent ends
	Shops     []input.Shop
	Customers int
}

// minKeepers is how many public nodes there are at least: keepers are added where
// vendors are fewer.
const minKeepers = 3

// New casts the players and starts none. cancel is called with the reason when a
// process ends by itself.
func New(c Cast, cancel context.CancelCauseFunc) *Network {
	var salt protocol.ID
	_, _ = rand.Read(salt[:]) // never fails
	n := &Network{
		program: c.Program, outlive: c.Outlive, cancel: cancel, News: newNews(), shops: c.Shops,
		genesis: node.NewGenesis("demo", shards, []protocol.LaneRule{{Lane: protocol.LaneWork, Effort: effort}}, salt),
	}
	n.genesis.Duties.Deletion = DeletionDue
	add := func(r process.Role, name string) {
		home := filepath.Join(c.Dir, fmt.Sprintf("%s-%d", r, len(n.Of(r))+1))
		n.Nodes = append(n.Nodes, &process.Process{
			Name: name, Role: r, Home: home,
			Paths: node.Paths{Config: home, Data: filepath.Join(home, "data"), State: filepath.Join(home, "state")},
		})
	}
	for _, s := range c.Shops {
		add(process.Vendor, s.Name)
	}
	for i := len(c.Shops); i < minKeepers; i++ {
		add(process.Keeper, fmt.Sprintf("Keeper %d", i-len(c.Shops)+1))
	}
	for i := range c.Customers {
		add(process.Customer, input.CustomerName(i))
	}
	add(process.Practice, input.PracticeName)
	return n
}

// A Teller is told how it goes.
type Teller interface {
	Progress(format string, args ...any)
	Imported(p *process.Process, s input.Shop, r desk.ImportReport)
}

// Of lists the nodes of one role.
func (n *Network) Of(r process.Role) (out []*process.Process) {
	for _, p := range n.Nodes {
		if p.Role == r {
			out = append(out, p)
		}
	}
	return out
}

// Public lists the nodes that listen: vendors and keepers.
func (n *Network) Public() (out []*process.Process) {
	for _, p := range n.Nodes {
		if p.Role == process.Vendor || p.Role == process.Keeper {
			out = append(out, p)
		}
	}
	return out
}

// Open starts all nodes and prepares them, in this order: public nodes, which must
// know each other before a passport names keepers; then vendors and customers.
func (n *Network) Open(ctx context.Context, in input.Input, s Teller) error {
	s.Progress("starting %d processes", len(n.Nodes))
	public := n.Public()
	var bootstrap []string
	const first = 3 // one after another, so that the later ones find the earlier
	for _, p := range public[:min(first, len(public))] {
		if err := n.start(ctx, p, bootstrap); err != nil {
			return err
		}
		if len(p.Self.Addrs) == 0 {
			return fmt.Errorf("%s has no address", p)
		}
		bootstrap = append(bootstrap, p.Self.Addrs[0])
	}
	if err := process.Each(n.Nodes[min(first, len(public)):], func(_ int, p *process.Process) error { return n.start(ctx, p, bootstrap) }); err != nil {
		return err
	}
	s.Progress("waiting until the nodes know each other")
	if err := process.Each(n.Nodes, func(_ int, p *process.Process) error { return n.acquaint(ctx, p) }); err != nil {
		return err
	}
	n.follow(ctx)
	s.Progress("preparing vendors and customers")
	err := process.Each(n.Nodes, func(_ int, p *process.Process) error {
		switch p.Role {
		case process.Vendor:
			return n.prepareVendor(ctx, p, s)
		case process.Customer:
			return n.prepareCustomer(ctx, p, in)
		case process.Practice:
			return n.issue(ctx, p)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return n.joined(ctx)
}

// start makes the home of one node and runs it.
func (n *Network) start(ctx context.Context, p *process.Process, bootstrap []string) error {
	o := node.InitOptions{
		Paths: p.Paths, Profile: node.Public, Network: n.genesis, Bootstrap: bootstrap,
		Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"}, API: "127.0.0.1:0", KeyStore: node.KeyFile,
	}
	if p.Role == process.Customer || p.Role == process.Practice {
		o.Profile, o.Listen, o.PostDelay = node.Personal, nil, "0s" // figures are at no delay
	}
	if err := node.Init(o); err != nil {
		return fmt.Errorf("%s: %w", p, err)
	}
	if err := p.Start(n.program, n.outlive, &n.wg, n.ended); err != nil {
		return err
	}
	return p.Ready(ctx)
}

// Again starts a node that was stopped, in its own home.
func (n *Network) Again(ctx context.Context, p *process.Process) error {
	if err := p.Start(n.program, n.outlive, &n.wg, n.ended); err != nil {
		return err
	}
	return p.Ready(ctx)
}

// ended takes note of a process that ended by itself, and stops the show.
func (n *Network) ended(p *process.Process) {
	how := "without an error"
	if p.Err() != nil {
		how = "with " + p.Err().Error()
	}
	what := fmt.Sprintf("%s (process %d) ended by itself, %s; it last said:\n%s", p, p.PID(), how, p.Tail())
	n.mu.Lock()
	n.died = append(n.died, what)
	n.mu.Unlock()
	n.cancel(errors.New(what))
}

// Deaths tells of every process that ended by itself.
func (n *Network) Deaths() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.died)
}

// AnyDied reports whether one did.
func (n *Network) AnyDied() bool { return len(n.Deaths()) > 0 }

// Explain gives the cause where an error only tells that the show was stopped.
func (n *Network) Explain(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) {
		return cause
	}
	return err
}

// setupWait bounds each wait while the network is prepared.
const setupWait = 30 * time.Second

// acquaint waits until a public node knows all others, and a customer's enough of
// them to leave her mail with.
func (n *Network) acquaint(ctx context.Context, p *process.Process) error {
	enough := len(n.Public()) - 1
	if p.Role == process.Customer || p.Role == process.Practice {
		enough = min(len(n.Public()), protocol.MaxKeepers)
	}
	return process.Poll(ctx, setupWait, fmt.Sprintf("%s should know %d public nodes", p, enough), func(ctx context.Context) (bool, error) {
		peers, err := p.API.Network().Peers(ctx)
		known := 0
		for _, q := range n.Public() {
			if q != p && slices.ContainsFunc(peers, func(k desk.Peer) bool { return k.Key == q.Self.Key }) {
				known++
			}
		}
		return known >= enough, err
	})
}

// prepareVendor gives a vendor its passport, its catalogue and its rules.
func (n *Network) prepareVendor(ctx context.Context, p *process.Process, s Teller) error {
	if err := n.issue(ctx, p); err != nil {
		return err
	}
	i, desks := slices.Index(n.Nodes, p), p.API.Vendor()
	rep, err := desks.Catalog().Import(ctx, bytes.NewReader(n.shops[i].CSV), desk.ImportSpec{Currency: "ZAR"})
	if err != nil {
		return fmt.Errorf("%s: catalogue %s: %w", p, n.shops[i].File, err)
	}
	s.Imported(p, n.shops[i], rep)
	if rep.Added == 0 {
		return fmt.Errorf("%s: no product could be read from catalogue %s: %w", p, n.shops[i].File, fault.Malformed)
	}
	_, err = desks.Rules().Set(ctx, desk.Follow{Sectors: []string{}, Regions: []string{}, Ask: true, Answer: true, Confirm: true, Fulfil: true})
	if err != nil {
		return fmt.Errorf("%s: rules: %w", p, err)
	}
	return nil
}

// issue makes the passport of one that asks customers for data.
func (n *Network) issue(ctx context.Context, p *process.Process) error {
	i := slices.Index(n.Nodes, p)
	slug := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToLower(p.Name))
	_, err := p.API.Vendor().Passports().Issue(ctx, desk.PassportSpec{
		Name: p.Name, Registration: fmt.Sprintf("2020/%06d/07", i+1), Country: "ZA", Contact: "privacy@" + slug + ".example",
		Officer: "the owner", Authority: "Information Regulator (South Africa)",
	})
	if err != nil {
		return fmt.Errorf("%s: passport: %w", p, err)
	}
	if p.Self, err = p.API.Network().Self(ctx); err != nil {
		return fmt.Errorf("%s: %w", p, err)
	}
	return nil
}

// prepareCustomer puts made-up values into the vault for all fields that her needs
// will offer, and into one that no vendor is ever granted.
func (n *Network) prepareCustomer(ctx context.Context, p *process.Process, in input.Input) error {
	customers := n.Of(process.Customer)
	me := slices.Index(customers, p)
	done := map[protocol.FieldName]bool{}
	if _, err := p.API.Customer().Vault().Set(ctx, input.Private, desk.Value(input.Value(input.Private, me))); err != nil {
		return fmt.Errorf("%s: vault: %w", p, err)
	}
	for i, nd := range in.Needs {
		if i%len(customers) != me {
			continue
		}
		for _, f := range protocol.Template(protocol.Category(nd.Spec.Category)) {
			if done[f] {
				continue
			}
			done[f] = true
			if _, err := p.API.Customer().Vault().Set(ctx, string(f), desk.Value(input.Value(string(f), me))); err != nil {
				return fmt.Errorf("%s: vault: %w", p, err)
			}
		}
	}
	return nil
}

// meshTime is how long gossip may need to link up the vendors on their topics.
const meshTime = 1500 * time.Millisecond

// joined waits until every vendor is on every topic.
func (n *Network) joined(ctx context.Context) error {
	err := process.Each(n.Of(process.Vendor), func(_ int, p *process.Process) error {
		return process.Poll(ctx, setupWait, p.String()+" should be on all topics", func(ctx context.Context) (bool, error) {
			id, err := p.API.Network().Self(ctx)
			return len(id.Joined) == shards, err
		})
	})
	if err != nil || len(n.Public()) <= protocol.MaxKeepers { // every vendor is a keeper of every need
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(meshTime):
		return nil
	}
}

// End stops what is still running, unless the network is to stay.
func (n *Network) End(keep bool) {
	if keep {
		return
	}
	n.cancel(nil)
	_ = n.Stop() // nothing is left to report it in; judge has done so before
	n.wg.Wait()
}

// Stop ends all processes at once.
func (n *Network) Stop() error {
	return process.Each(n.Nodes, func(_ int, p *process.Process) error { return p.Stop() })
}
