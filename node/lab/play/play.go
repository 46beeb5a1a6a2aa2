// Package play plays the plan of an experiment on a network that an engine put up:
//
//  1. the engine opens its stage: all nodes run and know each other;
//  2. public nodes get their rules, and join the topics that they follow;
//  3. each step of the plan is taken at its time: needs are announced and taken back,
//     nodes end, come back, or come late, the network is cut and joined, attackers attack;
//  4. stragglers are waited for, until every node has every announcement or the time
//     is up;
//  5. what each node used is asked for, and everything that was seen has gone to the
//     sink, as records with times since the load began.
//
// It reads no figure and decides nothing: it runs the same in real time and in a
// bubble of testing/synctest.
package play

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/crew"
	"github.com/harkmarket/hark/node/lab"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
)

// A Saw takes what a stage saw, and when.
type Saw func(at time.Time, r lab.Record)

// A Stage is the network of an engine. Players are named by their index in the plan.
type Stage interface {
	// Open starts all nodes and waits until they know each other. What nodes hear
	// from then on goes to saw, from any goroutine.
	Open(ctx context.Context, saw Saw) error
	// House is a running node's front door.
	House(i int) desk.House
	// Move ends a node without a word, or brings it back on what it kept.
	Move(ctx context.Context, i int, up bool) error
	// Cut divides the network by the players' sides, or joins it.
	Cut(ctx context.Context, apart bool) error
	// Usage is what a running node has used since it came up; -1 is all nodes
	// together, where the engine knows no better.
	Usage(ctx context.Context, i int) (u Usage, known bool, err error)
	// Attack has attackers do what a step says, returns once they have, and tells saw.
	Attack(ctx context.Context, st lab.Step) error
	// Flush returns once all that was seen so far went to saw.
	Flush()
}

// Usage is what a node has used since it came up. What is not known is 0.
type Usage struct {
	Sent, Received uint64 // bytes
	Packets        uint64 // sent and received
	RPCs           int64  // of gossip, sent and received
	Judged         int64  // announcements that its router judged and let pass, or ignored
	Links, Mesh    [2]int // connections, and places in its meshes, that honest nodes and Sybils have now
	CPU            time.Duration
	RSS            int64
	DHT            *lab.DHTUse // nil: it has no part in it
}

// Progress is how far a run is.
type Progress struct {
	Phase             string
	At, Of            time.Duration
	Announced, Needs  int
	Heard, Due        int // pairs of announcements and public nodes
	PublicUp, PublicN int
}

// A Show is told now and then how far it is.
type Show func(Progress)

const (
	maxAtWork = 256             // steps under way
	meshTime  = 3 * time.Second // for gossip to link up after all have joined
	joinWait  = time.Minute     // for a node to be on its topics
	stepWait  = 2 * time.Minute // for one step
	floodWait = 2 * time.Hour   // for one flood
	look      = 250 * time.Millisecond
)

// Region is where all needs of an experiment are.
const Region = "ZA"

// A run is one play.
type run struct {
	s     lab.Scenario
	plan  lab.Plan
	stage Stage
	show  Show
	sink  lab.Sink
	work  *crew.Crew
	start time.Time

	mu    sync.Mutex
	tally tally
	needs map[int]chan said // by number: filled when it was announced
	life  map[int]int
	told  time.Time
	who   map[string]string // by the key of a public node: its name
}

// A said is what became of an announcement.
type said struct {
	id string
	ok bool
}

// Run plays the plan of one seed. What it saw has gone to sink, also where it failed.
func Run(ctx context.Context, s lab.Scenario, plan lab.Plan, stage Stage, sink lab.Sink, show Show) (err error) {
	r := &run{
		s: s, plan: plan, stage: stage, sink: sink, show: show, needs: map[int]chan said{}, life: map[int]int{}, who: map[string]string{},
		tally: newTally(), work: crew.New(ctx, maxAtWork, nil),
	}
	defer func() { err = errors.Join(err, r.work.Dismiss(context.WithoutCancel(ctx))) }()
	for _, st := range plan.Steps {
		if st.Do == lab.Announce {
			r.needs[st.Need] = make(chan said, 1)
		}
	}
	r.start = time.Now() // of the load; until then, what is seen is thrown away
	r.tell("starting nodes", 0)
	if err := stage.Open(ctx, r.saw); err != nil {
		return err
	}
	r.tell("joining topics", 0)
	if err := r.join(ctx); err != nil {
		return err
	}
	if err := r.load(ctx); err != nil {
		return err
	}
	return r.settle(ctx)
}

// saw takes what the stage saw.
func (r *run) saw(at time.Time, rec lab.Record) {
	rec.MS = at.Sub(r.began()).Milliseconds()
	if rec.Kind == lab.KindHeard {
		r.mu.Lock()
		r.tally.hear(rec)
		r.mu.Unlock()
	}
	r.sink(rec)
}

func (r *run) began() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.start
}

// mark notes something that the run itself did.
func (r *run) mark(rec lab.Record) { r.saw(time.Now(), rec) }

// join gives public nodes their rules and waits until they are on their topics.
func (r *run) join(ctx context.Context) error {
	var all []int
	for i, p := range r.plan.Players {
		if p.Public && p.Whole() && !p.Late {
			all = append(all, i)
		}
	}
	if err := r.each(all, func(i int) error { return trade{r}.settleIn(ctx, i) }); err != nil {
		return err
	}
	if err := (trade{r}).vaults(ctx); err != nil {
		return err
	}
	if err := sleep(ctx, meshTime); err != nil {
		return err
	}
	r.mu.Lock()
	r.start = time.Now()
	r.mu.Unlock()
	for _, p := range r.plan.Players {
		r.mark(lab.Record{Kind: lab.KindNode, Node: p.Name, Public: p.Public, Role: p.Role, Side: p.Side, SkewMS: p.Skew.Milliseconds(), Late: p.Late, Victim: p.Victim})
	}
	r.mark(lab.Record{Kind: lab.KindMark, What: "start"})
	if err := r.each(all, func(i int) error { return r.arrived(ctx, i, time.Time{}) }); err != nil {
		return err
	}
	return r.usages(ctx, "start")
}

// up brings a node back, or a late one in: that one is there from when it was started.
func (r *run) up(ctx context.Context, i int) error {
	began := time.Now()
	if err := r.stage.Move(ctx, i, true); err != nil {
		return err
	}
	if !r.plan.Players[i].Late {
		return r.arrived(ctx, i, time.Time{})
	}
	if err := (trade{r}).settleIn(ctx, i); err != nil {
		return err
	}
	return r.arrived(ctx, i, began)
}

// arrived notes that a public node is up, from a moment on or now, and on which topics.
func (r *run) arrived(ctx context.Context, i int, from time.Time) error {
	p := r.plan.Players[i]
	want := 1
	if r.s.Network.Follow == lab.FollowAll {
		want = r.topics()
	}
	var shards []uint16
	err := poll(ctx, joinWait, p.Name+" should be on its topics", func() (bool, error) {
		id, err := r.stage.House(i).Network().Self(ctx)
		r.know(id.Key, p.Name)
		shards = shards[:0]
		for _, s := range id.Joined {
			shards = append(shards, uint16(s))
		}
		return len(shards) >= want, err
	})
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.life[i]++
	n := r.life[i]
	r.tally.follow(p.Name, slices.Clone(shards))
	r.mu.Unlock()
	if from.IsZero() {
		from = time.Now()
	}
	r.saw(from, lab.Record{Kind: lab.KindLife, Node: p.Name, What: "up", Shards: shards, Life: n})
	return nil
}

// topics is how many topics there are on which a need can be.
func (r *run) topics() int {
	on := map[uint16]bool{}
	for _, s := range protocol.Categories().Sectors() {
		on[wire.Shard(protocol.Category(s+".any"), Region, r.s.Network.Shards)] = true
	}
	return len(on)
}

// each does something for several players at once.
func (r *run) each(list []int, do func(i int) error) error {
	errs := make(chan error, len(list))
	for _, i := range list {
		work := func(context.Context) { errs <- do(i) }
		if r.work.Hire("player", work) != nil {
			work(nil) // all hands are busy
		}
	}
	var all []error
	for range list {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// load takes every step at its time.
func (r *run) load(ctx context.Context) error {
	for _, st := range r.plan.Steps {
		for {
			left := time.Until(r.start.Add(st.At))
			if left <= 0 {
				break
			}
			r.tell("load", st.At)
			if err := sleep(ctx, min(left, time.Second)); err != nil {
				return err
			}
		}
		work := func(ctx context.Context) { r.step(ctx, st) }
		if r.work.Hire(st.Do, work) != nil {
			work(ctx)
		}
	}
	return sleep(ctx, time.Until(r.start.Add(time.Duration(r.s.Duration))))
}

// step takes one step; what fails is a record.
func (r *run) step(ctx context.Context, st lab.Step) {
	wait := stepWait
	if st.Do == lab.FloodBox {
		wait = floodWait
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var err error
	switch st.Do {
	case lab.Announce:
		r.announce(ctx, st)
	case lab.Withdraw:
		r.withdraw(ctx, st)
	case lab.GoDown:
		err = r.down(ctx, st.Player)
	case lab.ComeUp:
		err = r.up(ctx, st.Player)
	case lab.Lose:
		err = assault{r}.lose(ctx, st.Player)
	case lab.Leave, lab.Return:
		err = assault{r}.leave(st.Player, st.Do == lab.Return)
	case lab.FloodBox:
		err = assault{r}.flood(ctx, st)
	case lab.Flood, lab.Watch, lab.Besiege:
		err = r.stage.Attack(ctx, st)
	case lab.Split, lab.Join:
		if err = r.stage.Cut(ctx, st.Do == lab.Split); err == nil {
			r.mark(lab.Record{Kind: lab.KindMark, What: st.Do})
		}
	}
	if err != nil && ctx.Err() == nil {
		rec := lab.Record{Kind: lab.KindMark, What: "failed to " + st.Do, Error: err.Error()}
		if st.Do == lab.GoDown || st.Do == lab.ComeUp || st.Do == lab.Lose {
			rec.Node = r.plan.Players[st.Player].Name
		}
		r.mark(rec)
	}
}

// announce has a customer announce a need.
func (r *run) announce(ctx context.Context, st lab.Step) {
	c := protocol.Category(st.Category)
	rec := lab.Record{
		Kind: lab.KindSaid, What: "announced", Node: r.plan.Players[st.Player].Name, Need: st.Need, Category: st.Category,
		Shard: wire.Shard(c, Region, r.s.Network.Shards),
	}
	asked := time.Now()
	n, err := r.stage.House(st.Player).Customer().Needs().Create(ctx, trade{r}.spec(st))
	rec.Context, rec.Seq, rec.Keepers = brief(n.ID), n.Seq, r.named(n.Keepers)
	r.said(asked, rec, err)
	r.needs[st.Need] <- said{n.ID, err == nil}
}

// withdraw takes a need back, once it was announced.
func (r *run) withdraw(ctx context.Context, st lab.Step) {
	var was said
	select {
	case was = <-r.needs[st.Need]:
	case <-ctx.Done():
	}
	if !was.ok {
		return
	}
	c := protocol.Category(st.Category)
	rec := lab.Record{Kind: lab.KindSaid, What: "withdrawn", Node: r.plan.Players[st.Player].Name, Need: st.Need, Category: st.Category, Shard: wire.Shard(c, Region, r.s.Network.Shards)}
	asked := time.Now()
	n, err := r.stage.House(st.Player).Customer().Needs().End(ctx, was.id, desk.Withdraw)
	rec.Context, rec.Seq = brief(n.ID), n.Seq
	r.said(asked, rec, err)
}

// said notes what an author did.
func (r *run) said(asked time.Time, rec lab.Record, err error) {
	rec.TookMS = time.Since(asked).Milliseconds()
	if err != nil {
		rec.What, rec.Error = "failed", err.Error()
	}
	r.mu.Lock()
	if err == nil {
		r.tally.say(rec)
	}
	r.mu.Unlock()
	r.saw(asked, rec)
}

// down ends a node, having asked what it used.
func (r *run) down(ctx context.Context, i int) error {
	err := r.usage(ctx, i, "")
	name := r.plan.Players[i].Name
	r.mu.Lock()
	r.tally.leave(name)
	r.mu.Unlock()
	r.mark(lab.Record{Kind: lab.KindLife, Node: name, What: "down"})
	return errors.Join(err, r.stage.Move(ctx, i, false))
}

// usage notes what a node used since it came up.
func (r *run) usage(ctx context.Context, i int, what string) error {
	u, known, err := r.stage.Usage(ctx, i)
	if err != nil || !known {
		return err
	}
	rec := lab.Record{
		Kind: lab.KindUsage, What: what, Sent: u.Sent, Received: u.Received, Packets: u.Packets, RPCs: u.RPCs, Judged: u.Judged,
		Links: u.Links, Mesh: u.Mesh, DHT: u.DHT, CPUMS: u.CPU.Milliseconds(), RSS: u.RSS, Life: 1,
	}
	if i >= 0 {
		rec.Node = r.plan.Players[i].Name
		r.mu.Lock()
		rec.Life = r.life[i]
		r.mu.Unlock()
	}
	r.mark(rec)
	return nil
}

// settle waits for stragglers, then asks what everybody used.
func (r *run) settle(ctx context.Context) error {
	end := r.start.Add(time.Duration(r.s.Duration + r.s.Settle))
	for time.Now().Before(end) && (r.s.Letters.Vendors > 0 || !r.complete()) { // whether all letters came, nobody can tell
		r.tell("waiting for stragglers", time.Since(r.start))
		if err := sleep(ctx, look); err != nil {
			return err
		}
	}
	r.stage.Flush()
	r.tell("asking what came of it", time.Since(r.start))
	if err := (trade{r}).outcome(ctx); err != nil {
		return err
	}
	r.tell("asking what it cost", time.Since(r.start))
	err := errors.Join(r.usages(ctx, ""), lookUp(ctx, r))
	r.mark(lab.Record{Kind: lab.KindMark, What: "end"})
	return err
}

// usages notes what all nodes that are up have used.
func (r *run) usages(ctx context.Context, what string) error {
	here := []int{-1}
	for i, p := range r.plan.Players {
		if p.Whole() && r.stage.House(i) != nil {
			here = append(here, i)
		}
	}
	return r.each(here, func(i int) error { return r.usage(ctx, i, what) })
}

// complete tells whether every node that is up has every announcement, and all are
// up that will be.
func (r *run) complete() bool {
	busy, _ := r.work.Size()
	r.mu.Lock()
	defer r.mu.Unlock()
	return busy == 0 && r.tally.complete()
}

// tell shows progress, at most a few times a second.
func (r *run) tell(phase string, at time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.show == nil || at > 0 && time.Since(r.told) < look {
		return
	}
	r.told = time.Now()
	heard, due := r.tally.pairs()
	public := 0
	for _, p := range r.plan.Players {
		if p.Public && p.Role == lab.Honest {
			public++
		}
	}
	r.show(Progress{
		Phase: phase, At: max(at, 0), Of: time.Duration(r.s.Duration), Announced: len(r.tally.said), Needs: r.s.Load.Needs, Heard: heard, Due: due,
		PublicUp: len(r.tally.up), PublicN: public,
	})
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// poll asks until it is so, or the time is up.
func poll(ctx context.Context, most time.Duration, what string, so func() (bool, error)) error {
	end := time.Now().Add(most)
	for {
		ok, err := so()
		if ok && err == nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s: not within %v", what, most)
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}
