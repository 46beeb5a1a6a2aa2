package stage

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"time"

	"github.com/harkmarket/hark/node/lab"
	"github.com/harkmarket/hark/node/lab/hostile"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
)

// attackers are the process of the peers that attack: the program hark-lab.
type attackers struct {
	mu    sync.Mutex
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Scanner
	said  complaint // on standard error; read once it has ended
	round int
}

// Arm says which program has the attackers, and what they do. It is called before Open.
func (st *Stage) Arm(program string, s lab.Scenario) {
	st.attackers = &attackers{cmd: exec.Command(program, "--attack")}
	st.floods, st.siege = s.Floods, s.Siege
}

// A complaint is the end of what a process says.
type complaint []byte

// maxComplaint bounds it.
const maxComplaint = 16 << 10

// Write implements io.Writer.
func (c *complaint) Write(p []byte) (int, error) {
	*c = append(*c, p...)
	*c = (*c)[max(0, len(*c)-maxComplaint):]
	return len(p), nil
}

// start runs it.
func (x *attackers) start() (err error) {
	if x.in, err = x.cmd.StdinPipe(); err != nil {
		return fmt.Errorf("attackers: %w", err)
	}
	out, err := x.cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("attackers: %w", err)
	}
	x.cmd.Stderr = &x.said
	x.cmd.WaitDelay = attackerWait
	x.out = bufio.NewScanner(out)
	if err := x.cmd.Start(); err != nil {
		return fmt.Errorf("attackers: %w", err)
	}
	return nil
}

// attackerWait is how long the attackers may take to leave.
const attackerWait = 20 * time.Second

// end lets them go: they leave when nobody gives them orders.
func (x *attackers) end() error {
	if x == nil || x.cmd.Process == nil {
		return nil
	}
	_ = x.in.Close() // it may have ended by itself
	kill := time.AfterFunc(attackerWait, func() { _ = x.cmd.Process.Kill() })
	defer kill.Stop()
	for x.out.Scan() { // what it still says is for nobody
	}
	if err := x.cmd.Wait(); err != nil {
		return fmt.Errorf("attackers: %w; they last said:\n%s", err, bytes.TrimSpace(x.said))
	}
	return nil
}

// next reads what they say.
func (x *attackers) next() (d hostile.Done, err error) {
	if !x.out.Scan() {
		return d, errors.Join(errors.New("the attackers are gone"), x.out.Err())
	}
	if err := json.Unmarshal(x.out.Bytes(), &d); err != nil {
		return d, fmt.Errorf("attackers: %w", err)
	}
	if d.Error != "" {
		return d, fmt.Errorf("attackers: %s", d.Error)
	}
	return d, nil
}

// Attack implements play.Stage.
func (st *Stage) Attack(ctx context.Context, step lab.Step) error {
	if step.Do != lab.Flood && step.Do != lab.Besiege || st.attackers == nil {
		return fmt.Errorf("processes can't %s: %w", step.Do, fault.Unsupported)
	}
	x := st.attackers
	x.mu.Lock()
	defer x.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { _ = x.cmd.Process.Kill() }) // nobody waits for them any more
	defer stop()
	order, of, err := st.order(ctx, step)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(order)
	if err != nil {
		return fmt.Errorf("attackers: %w", err)
	}
	w := &lookout{targets: of, over: make(chan struct{})}
	w.before = w.count(ctx) // as soon as they are connected, they begin
	w.most = w.before
	if _, err := x.in.Write(append(raw, '\n')); err != nil {
		return fmt.Errorf("attackers: %w", err)
	}
	if _, err := x.next(); err != nil { // they are connected
		return err
	}
	w.began = time.Now()
	what := hostile.Flood
	if order.Siege() {
		what = hostile.Besieged
	}
	st.saw(w.began, lab.Record{Kind: lab.KindHostile, What: what, RSS: int64(w.before.rss)})
	w.wg.Go(func() { w.watch(ctx) })
	done, err := x.next()
	at := time.Now()
	close(w.over)
	w.wg.Wait()
	st.saw(at, w.record(order, done, w.count(ctx)))
	return err
}

// order is what the attackers are to do in a step, and to whom.
func (st *Stage) order(ctx context.Context, step lab.Step) (o hostile.Order, of []*actor, err error) {
	x := st.attackers
	if o.Targets, of, err = st.targets(ctx); err != nil {
		return o, nil, err
	}
	o.Round = x.round
	x.round++
	if step.Do == lab.Flood {
		o.Count, o.Rate, o.Shared, o.ForMS = st.floods.Count, st.floods.Rate, st.floods.Shared, time.Duration(st.floods.For).Milliseconds()
		return o, of, nil
	}
	net, _, err := wire.NetworkID(st.genesis)
	if err != nil {
		return o, nil, err
	}
	o.Targets, of = o.Targets[:1], of[:1]
	o.Count, o.Streams, o.Crowd, o.ForMS = st.siege.Hosts, st.siege.Streams, st.siege.Crowd, time.Duration(st.siege.For).Milliseconds()
	o.Protocols = []string{
		"/hark/mail/1", "/hark/post/1", "/hark/sync/1", "/hark/blob/1", "/hark/" + net.String() + "/kad/1.0.0", "/meshsub/1.3.0", "/meshsub/1.1.0",
		"/libp2p/circuit/relay/0.2.0/hop", "/libp2p/autonat/2/dial-request", "/ipfs/id/1.0.0",
	}
	return o, of, nil
}

// record is what came of an order.
func (w *lookout) record(o hostile.Order, done hostile.Done, after counted) lab.Record {
	rec := lab.Record{Kind: lab.KindHostile, Attempts: done.Sent, CPUMS: max(0, (after.cpu-w.before.cpu).Milliseconds()/int64(len(w.targets)))}
	if o.Siege() {
		rec.What, rec.Looked, rec.Judged, rec.RSS = hostile.Relieved, done.Most, done.LetIn, int64(w.most.rss)
		rec.Links = [2]int{int(w.most.conns), int(w.most.streams)}
		return rec
	}
	rec.What, rec.TheirCPU, rec.LastMS, rec.Looked = hostile.Calm, done.CPUMS, w.last.Milliseconds(), max(0, int64(after.blamed-w.before.blamed)) // a node that was killed counts anew
	return rec
}

// targets are the first public nodes that are up, and a topic of each.
func (st *Stage) targets(ctx context.Context) (out []hostile.Target, of []*actor, err error) {
	net, _, err := wire.NetworkID(st.genesis)
	if err != nil {
		return nil, nil, err
	}
	for i, a := range st.public() {
		if len(out) == min(st.floods.Targets, hostile.MaxTargets) {
			break
		}
		house := st.House(i)
		if house == nil {
			continue
		}
		id, err := house.Network().Self(ctx)
		if err != nil {
			return nil, nil, err
		}
		if len(id.Joined) > 0 && len(id.Addrs) > 0 {
			topic := fmt.Sprintf("/hark/1/%s/need/%d/%d", net, st.genesis.Shards, id.Joined[0])
			out, of = append(out, hostile.Target{Addr: id.Addrs[0], Topic: topic}), append(of, a)
		}
	}
	if len(out) == 0 {
		return nil, nil, errors.New("nobody is there to be attacked")
	}
	return out, of, nil
}

// A lookout sees until when junk is looked at.
type lookout struct {
	targets []*actor
	began   time.Time
	before  counted
	most    counted       // at once
	last    time.Duration // after it began
	over    chan struct{}
	wg      sync.WaitGroup
}

// A counted is what attacked nodes have done: announcements held against somebody, and
// what all of them used of the processors; and what each has at most.
type counted struct {
	blamed              float64
	cpu                 time.Duration
	rss, conns, streams float64
}

// lookoutEvery is how often the lookout asks: the last is known that exactly.
const lookoutEvery = 250 * time.Millisecond

func (w *lookout) watch(ctx context.Context) {
	tick := time.NewTicker(lookoutEvery)
	defer tick.Stop()
	seen := w.before.blamed
	for {
		select {
		case <-w.over:
			return
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := w.count(ctx)
		if now.blamed > seen {
			seen, w.last = now.blamed, time.Since(w.began)
		}
		w.most.rss, w.most.conns, w.most.streams = max(w.most.rss, now.rss), max(w.most.conns, now.conns), max(w.most.streams, now.streams)
	}
}

// count asks the attacked nodes. Who doesn't answer now is asked again.
func (w *lookout) count(ctx context.Context) (c counted) {
	for _, a := range w.targets {
		a.mu.Lock()
		api, up := a.p.API, a.up
		a.mu.Unlock()
		if !up {
			continue
		}
		raw, err := api.Metrics(ctx)
		if err != nil {
			continue
		}
		m := samples(raw)
		c.blamed += m[`hark_gossip_messages_total{outcome="blamed"}`]
		c.cpu += time.Duration(m["process_cpu_seconds_total"] * float64(time.Second))
		c.rss, c.conns, c.streams = max(c.rss, m["process_resident_memory_bytes"]), max(c.conns, m[`hark_bound_used{bound="peers.connections"}`]), max(c.streams, m[`hark_bound_used{bound="peers.streams"}`])
	}
	return c
}
