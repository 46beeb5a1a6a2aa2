// Package stage puts up the network of an experiment from real processes of this
// program's own binary, on loopback:
//
//  1. New casts the players of a plan: public nodes with ports of their own that stay
//     the same, personal ones that only dial out;
//  2. Open makes their homes, starts them, and waits until they know each other;
//  3. what they hear is read from their logs as it is written, what they use from
//     their /metrics;
//  4. Move kills a node, or starts it again on what it kept, or a late one for the first
//     time; Attack has the program hark-lab flood or besiege some;
//  5. Close ends them all. It ends no process but those.
package stage

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/harkmarket/hark/cmd/hark/process"
	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/lab"
	"github.com/harkmarket/hark/node/lab/hostile"
	"github.com/harkmarket/hark/node/lab/play"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// A Stage is a network of processes. Make it with New, and Close it.
type Stage struct {
	program string
	players []lab.Player
	genesis *protocol.Genesis
	load    lab.Load
	ways    []string // in, of each node; nil: all
	nodes   []*actor
	died    context.CancelCauseFunc
	wg      sync.WaitGroup
	closing chan struct{}
	once    sync.Once
	saw     play.Saw
	hints   []string // public nodes that those who start later know

	attackers *attackers // nil: nobody attacks
	floods    hostile.Floods
	siege     hostile.Siege
}

var _ play.Stage = (*Stage)(nil)

// An actor is one player's process.
type actor struct {
	p      *process.Process
	listen string // of a public node
	mu     sync.Mutex
	up     bool
	late   bool // it starts with a step
	read   *tail
}

// New casts the players of a plan; their homes will be below dir. died is called with
// the reason when a process ends by itself.
func New(s lab.Scenario, plan lab.Plan, program, dir string, died context.CancelCauseFunc) (*Stage, error) {
	var salt protocol.ID
	_, _ = rand.Read(salt[:]) // never fails
	lane := protocol.LaneRule{Lane: protocol.LaneNone}
	if s.Network.Work > 0 {
		lane = protocol.LaneRule{Lane: protocol.LaneWork, Effort: s.Network.Work}
	}
	st := &Stage{
		program: program, load: s.Load, players: plan.Players, died: died, closing: make(chan struct{}),
		genesis: node.NewGenesis("lab", s.Network.Shards, []protocol.LaneRule{lane}, salt),
	}
	if len(s.Network.Ways) > 0 {
		st.ways = s.Network.Ways
	}
	ports, err := freePorts(s.Network.Public)
	if err != nil {
		return nil, err
	}
	for i, pl := range plan.Players {
		home := filepath.Join(dir, pl.Name)
		a := &actor{late: pl.Late, p: &process.Process{
			Name: pl.Name, Role: process.Customer, Home: home, LogLevel: "info",
			Paths: node.Paths{Config: home, Data: filepath.Join(home, "data"), State: filepath.Join(home, "state")},
		}}
		if pl.Public {
			a.p.Role, a.listen = process.Keeper, fmt.Sprintf("/ip4/127.0.0.1/udp/%d/quic-v1", ports[i])
		}
		a.read = &tail{file: a.p.LogFile(), node: pl.Name}
		st.nodes = append(st.nodes, a)
	}
	return st, nil
}

// freePorts finds UDP ports that nobody uses.
func freePorts(n int) ([]int, error) {
	var out []int
	for range n {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return nil, fmt.Errorf("a free port: %w", err)
		}
		defer func() { _ = c.Close() }() // all at the end, so that no two are the same
		out = append(out, c.LocalAddr().(*net.UDPAddr).Port)
	}
	return out, nil
}

const (
	first     = 3 // started one after another, so that the later ones find the earlier
	atOnce    = 8 // started together
	setupWait = time.Minute
	knownEach = 16 // public nodes that each knows before the load begins, at most
)

// Open implements play.Stage.
func (st *Stage) Open(ctx context.Context, saw play.Saw) error {
	var bootstrap []string
	st.saw = saw
	public := st.early()
	for _, a := range public[:min(first, len(public))] {
		if err := st.begin(ctx, a, bootstrap); err != nil {
			return err
		}
		if len(a.p.Self.Addrs) == 0 {
			return fmt.Errorf("%s has no address", a.p)
		}
		bootstrap = append(bootstrap, a.p.Self.Addrs[0])
	}
	st.hints = bootstrap
	for rest := range slices.Chunk(st.begun()[min(first, len(public)):], atOnce) {
		if err := each(rest, func(a *actor) error { return st.begin(ctx, a, bootstrap) }); err != nil {
			return err
		}
	}
	if err := each(st.begun(), func(a *actor) error { return st.acquaint(ctx, a) }); err != nil {
		return err
	}
	if st.attackers != nil {
		if err := st.attackers.start(); err != nil {
			return err
		}
	}
	st.wg.Go(func() { st.listen(saw) })
	return nil
}

func each(list []*actor, do func(*actor) error) error {
	errs := make([]error, len(list))
	var wg sync.WaitGroup
	for i, a := range list {
		wg.Go(func() { errs[i] = do(a) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (st *Stage) public() []*actor {
	return slices.DeleteFunc(slices.Clone(st.nodes), func(a *actor) bool { return a.listen == "" })
}

// begun are those that run from the beginning, early the public ones of them.
func (st *Stage) begun() []*actor {
	return slices.DeleteFunc(slices.Clone(st.nodes), func(a *actor) bool { return a.late })
}

func (st *Stage) early() []*actor {
	return slices.DeleteFunc(st.public(), func(a *actor) bool { return a.late })
}

// begin makes the home of a node and runs it.
func (st *Stage) begin(ctx context.Context, a *actor, bootstrap []string) error {
	if err := node.Init(st.options(a, bootstrap)); err != nil {
		return fmt.Errorf("%s: %w", a.p, err)
	}
	return st.run(ctx, a)
}

// options are those of a node's home.
func (st *Stage) options(a *actor, bootstrap []string) node.InitOptions {
	o := node.InitOptions{
		Paths: a.p.Paths, Profile: node.Personal, Network: st.genesis, Bootstrap: bootstrap, Ways: st.ways, API: "127.0.0.1:0", KeyStore: node.KeyFile,
	}
	if a.listen != "" {
		o.Profile, o.Listen = node.Public, []string{a.listen}
	} else {
		o.PostHops, o.PostDelay = st.load.PostHops, st.load.PostDelay.String()
	}
	return o
}

func (st *Stage) run(ctx context.Context, a *actor) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.p.Start(st.program, false, &st.wg, st.ended); err != nil {
		return err
	}
	if err := a.p.Ready(ctx); err != nil {
		return err
	}
	a.up = true
	return nil
}

// ended stops the experiment when a node ends by itself.
func (st *Stage) ended(p *process.Process) {
	st.died(fmt.Errorf("%s ended by itself (%v); it last said:\n%s", p, p.Err(), p.Tail()))
}

// acquaint waits until a node knows enough others.
func (st *Stage) acquaint(ctx context.Context, a *actor) error {
	public := st.early()
	enough := min(len(public), knownEach)
	if a.listen != "" {
		enough = min(len(public)-1, knownEach)
		if st.ways != nil && !slices.Contains(st.ways, "exchange") && !slices.Contains(st.ways, "dht") {
			enough = min(enough, first-1) // nobody tells it of more than stand on the list
		}
	} else {
		enough = min(enough, protocol.MaxKeepers)
	}
	return process.Poll(ctx, setupWait, fmt.Sprintf("%s should know %d public nodes", a.p, enough), func(ctx context.Context) (bool, error) {
		peers, err := a.p.API.Network().Peers(ctx)
		known := 0
		for _, q := range public {
			if q != a && slices.ContainsFunc(peers, func(k desk.Peer) bool { return k.Key == q.p.Self.Key }) {
				known++
			}
		}
		return known >= enough, err
	})
}

// House implements play.Stage.
func (st *Stage) House(i int) desk.House {
	a := st.nodes[i]
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.up {
		return nil
	}
	return a.p.API
}

// Move implements play.Stage.
func (st *Stage) Move(ctx context.Context, i int, up bool) error {
	a := st.nodes[i]
	if up && a.late && a.p.PID() == 0 {
		return st.begin(ctx, a, st.hints)
	}
	if up {
		return st.run(ctx, a)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.up = false
	a.p.Kill()
	return nil
}

// Cut implements play.Stage.
func (st *Stage) Cut(context.Context, bool) error {
	return fmt.Errorf("processes on loopback can't be cut from each other: %w", fault.Unsupported)
}

// Close ends all processes, and waits for them.
func (st *Stage) Close() error {
	var err error
	st.once.Do(func() {
		err = each(st.nodes, func(a *actor) error {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.up = false
			return a.p.Stop()
		})
		err = errors.Join(err, st.attackers.end())
		close(st.closing)
		st.wg.Wait()
	})
	return err
}
