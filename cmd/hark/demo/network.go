package demo

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

	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol"
)

// The network of a show: small, young, and with cheap admission.
const (
	shards = 4
	effort = 10 // zero bits of work for an announcement
)

// A network is all processes of a show, public nodes first.
type network struct {
	program string
	outlive bool
	genesis *protocol.Genesis
	nodes   []*process
	shops   []shop // of the vendors, in the same order
	cancel  context.CancelCauseFunc
	news    *news
	wg      sync.WaitGroup

	mu   sync.Mutex
	died []string
}

// newNetwork casts the players: who is in the show, and who misbehaves.
func newNetwork(o Options, dir string, cancel context.CancelCauseFunc) *network {
	var salt protocol.ID
	_, _ = rand.Read(salt[:]) // never fails
	n := &network{
		program: o.Program, outlive: o.Keep, cancel: cancel, news: newNews(),
		genesis: node.NewGenesis("demo", shards, []protocol.LaneRule{{Lane: protocol.LaneWork, Effort: effort}}, salt),
	}
	add := func(r role, name string) {
		home := filepath.Join(dir, fmt.Sprintf("%s-%d", r, len(n.of(r))+1))
		n.nodes = append(n.nodes, &process{
			name: name, role: r, home: home,
			paths: node.Paths{Config: home, Data: filepath.Join(home, "data"), State: filepath.Join(home, "state")},
		})
	}
	for range o.Vendors {
		add(vendorRole, "")
	}
	for i := o.Vendors; i < minKeepers; i++ {
		add(keeperRole, fmt.Sprintf("Keeper %d", i-o.Vendors+1))
	}
	for i := range o.Customers {
		add(customerRole, nameOf(customerNames, i))
	}
	switch o.Sabotage {
	case withholdMail, flipBits:
		public := n.public()
		public[len(public)-1].misbehave = o.Sabotage
	case keepDeleted:
		vendors := n.of(vendorRole)
		vendors[min(1, len(vendors)-1)].misbehave = o.Sabotage
	case forkLedger, reopenRevoked: // one who is sure to get an offer after revocation
		customers := n.of(customerRole)
		customers[min(1, o.Customers-1, o.Vendors-1)].misbehave = o.Sabotage
	}
	return n
}

// of lists the nodes of one role.
func (n *network) of(r role) (out []*process) {
	for _, p := range n.nodes {
		if p.role == r {
			out = append(out, p)
		}
	}
	return out
}

// public lists the nodes that listen: vendors and keepers.
func (n *network) public() (out []*process) {
	for _, p := range n.nodes {
		if p.role != customerRole {
			out = append(out, p)
		}
	}
	return out
}

// each runs fn for all of the nodes at once and joins the errors.
func each(list []*process, fn func(i int, p *process) error) error {
	errs := make([]error, len(list))
	var wg sync.WaitGroup
	for i, p := range list {
		wg.Go(func() { errs[i] = fn(i, p) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// open starts all nodes and prepares them, in this order: public nodes, which must
// know each other before a passport names keepers; then vendors and customers.
func (n *network) open(ctx context.Context, in input, s *Story) error {
	for i, v := range n.of(vendorRole) {
		v.name = in.catalogs[i].name
	}
	n.shops = in.catalogs
	s.progress("starting %d processes", len(n.nodes))
	public := n.public()
	var bootstrap []string
	const first = 3 // one after another, so that the later ones find the earlier
	for _, p := range public[:min(first, len(public))] {
		if err := n.start(ctx, p, bootstrap); err != nil {
			return err
		}
		if len(p.self.Addrs) == 0 {
			return fmt.Errorf("%s has no address", p)
		}
		bootstrap = append(bootstrap, p.self.Addrs[0])
	}
	if err := each(n.nodes[min(first, len(public)):], func(_ int, p *process) error { return n.start(ctx, p, bootstrap) }); err != nil {
		return err
	}
	s.progress("waiting until the nodes know each other")
	if err := each(n.nodes, func(_ int, p *process) error { return n.acquaint(ctx, p) }); err != nil {
		return err
	}
	n.follow(ctx)
	s.progress("preparing vendors and customers")
	err := each(n.nodes, func(_ int, p *process) error {
		switch p.role {
		case vendorRole:
			return n.prepareVendor(ctx, p, s)
		case customerRole:
			return n.prepareCustomer(ctx, p, in)
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.players(n)
	return n.joined(ctx)
}

// start makes the home of one node and runs it.
func (n *network) start(ctx context.Context, p *process, bootstrap []string) error {
	o := node.InitOptions{
		Paths: p.paths, Profile: node.Public, Network: n.genesis, Bootstrap: bootstrap,
		Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"}, API: "127.0.0.1:0", KeyStore: node.KeyFile,
	}
	if p.role == customerRole {
		o.Profile, o.Listen = node.Personal, nil
	}
	if err := node.Init(o); err != nil {
		return fmt.Errorf("%s: %w", p, err)
	}
	if err := p.start(n.program, n.outlive, &n.wg, n.ended); err != nil {
		return err
	}
	return p.ready(ctx)
}

// ended takes note of a process that ended by itself, and stops the show.
func (n *network) ended(p *process) {
	how := "without an error"
	if p.err != nil {
		how = "with " + p.err.Error()
	}
	what := fmt.Sprintf("%s (process %d) ended by itself, %s; it last said:\n%s", p, p.cmd.Process.Pid, how, p.tail())
	n.mu.Lock()
	n.died = append(n.died, what)
	n.mu.Unlock()
	n.cancel(errors.New(what))
}

func (n *network) deaths() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.died)
}

func (n *network) anyDied() bool { return len(n.deaths()) > 0 }

// explain gives the cause where an error only tells that the show was stopped.
func (n *network) explain(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) {
		return cause
	}
	return err
}

// setupWait bounds each wait while the network is prepared.
const setupWait = 30 * time.Second

// poll asks until it is so, or the wait is over.
func poll(ctx context.Context, wait time.Duration, what string, so func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		ok, err := so(ctx)
		if ok && err == nil {
			return nil
		}
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not within %v: %w", what, wait, ctx.Err())
		case <-time.After(pause):
		}
	}
}

// acquaint waits until a public node knows all others, and a customer's enough of
// them to leave her mail with.
func (n *network) acquaint(ctx context.Context, p *process) error {
	enough := len(n.public()) - 1
	if p.role == customerRole {
		enough = min(len(n.public()), protocol.MaxKeepers)
	}
	return poll(ctx, setupWait, fmt.Sprintf("%s should know %d public nodes", p, enough), func(ctx context.Context) (bool, error) {
		peers, err := p.api.Network().Peers(ctx)
		known := 0
		for _, q := range n.public() {
			known += one(q != p && slices.ContainsFunc(peers, func(k desk.Peer) bool { return k.Key == q.self.Key }))
		}
		return known >= enough, err
	})
}

// prepareVendor gives a vendor its passport, its catalogue and its rules.
func (n *network) prepareVendor(ctx context.Context, p *process, s *Story) error {
	i := slices.Index(n.nodes, p)
	slug := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToLower(p.name))
	desks := p.api.Vendor()
	_, err := desks.Passports().Issue(ctx, desk.PassportSpec{
		Name: p.name, Registration: fmt.Sprintf("2020/%06d/07", i+1), Country: "ZA", Contact: "privacy@" + slug + ".example",
		Officer: "the owner", Authority: "Information Regulator (South Africa)",
	})
	if err != nil {
		return fmt.Errorf("%s: passport: %w", p, err)
	}
	if p.self, err = p.api.Network().Self(ctx); err != nil {
		return fmt.Errorf("%s: %w", p, err)
	}
	rep, err := desks.Catalog().Import(ctx, bytes.NewReader(n.shops[i].csv), desk.ImportSpec{Currency: "ZAR"})
	if err != nil {
		return fmt.Errorf("%s: catalogue %s: %w", p, n.shops[i].file, err)
	}
	s.imported(p, n.shops[i], rep)
	_, err = desks.Rules().Set(ctx, desk.Follow{Sectors: []string{}, Regions: []string{}, Ask: true, Answer: true, Confirm: true, Fulfil: true})
	if err != nil {
		return fmt.Errorf("%s: rules: %w", p, err)
	}
	return nil
}

// prepareCustomer puts made-up values into the vault for all fields that her needs
// will offer.
func (n *network) prepareCustomer(ctx context.Context, p *process, in input) error {
	customers := n.of(customerRole)
	me := slices.Index(customers, p)
	done := map[protocol.FieldName]bool{}
	for i, nd := range in.needs {
		if i%len(customers) != me {
			continue
		}
		for _, f := range protocol.Template(protocol.Category(nd.spec.Category)) {
			if done[f] {
				continue
			}
			done[f] = true
			if _, err := p.api.Customer().Vault().Set(ctx, string(f), valueOf(string(f), me)); err != nil {
				return fmt.Errorf("%s: vault: %w", p, err)
			}
		}
	}
	return nil
}

// meshTime is how long gossip may need to link up the vendors on their topics.
const meshTime = 1500 * time.Millisecond

// joined waits until every vendor is on every topic.
func (n *network) joined(ctx context.Context) error {
	err := each(n.of(vendorRole), func(_ int, p *process) error {
		return poll(ctx, setupWait, p.String()+" should be on all topics", func(ctx context.Context) (bool, error) {
			id, err := p.api.Network().Self(ctx)
			return len(id.Joined) == shards, err
		})
	})
	if err != nil || len(n.public()) <= protocol.MaxKeepers { // every vendor is a keeper of every need
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(meshTime):
		return nil
	}
}

// end stops what is still running, unless the network is to stay.
func (n *network) end(ctx context.Context, keep bool) {
	if keep {
		return
	}
	n.cancel(nil)
	_ = n.stop() // nothing is left to report it in; judge has done so before
	n.wg.Wait()
}

// stop ends all processes at once.
func (n *network) stop() error {
	return each(n.nodes, func(_ int, p *process) error { return p.stop() })
}
