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

// attackers are the process of the flooding peers: the program hark-lab.
type attackers struct {
	mu    sync.Mutex
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Scanner
	said  bytes.Buffer // on standard error; read once it has ended
	round int
}

// Arm says which program has the flooding peers. It is called before Open.
func (st *Stage) Arm(program string, floods hostile.Floods) {
	st.attackers = &attackers{cmd: exec.Command(program, "--flood")}
	st.floods = floods
}

// start runs it.
func (x *attackers) start() (err error) {
	if x.in, err = x.cmd.StdinPipe(); err != nil {
		return fmt.Errorf("flooding peers: %w", err)
	}
	out, err := x.cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("flooding peers: %w", err)
	}
	x.cmd.Stderr = &x.said
	x.cmd.WaitDelay = attackerWait
	x.out = bufio.NewScanner(out)
	if err := x.cmd.Start(); err != nil {
		return fmt.Errorf("flooding peers: %w", err)
	}
	return nil
}

// attackerWait is how long the flooding peers may take to leave.
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
		return fmt.Errorf("flooding peers: %w; they last said:\n%s", err, bytes.TrimSpace(x.said.Bytes()))
	}
	return nil
}

// next reads what they say.
func (x *attackers) next() (d hostile.Done, err error) {
	if !x.out.Scan() {
		return d, errors.Join(errors.New("the flooding peers are gone"), x.out.Err())
	}
	if err := json.Unmarshal(x.out.Bytes(), &d); err != nil {
		return d, fmt.Errorf("flooding peers: %w", err)
	}
	if d.Error != "" {
		return d, fmt.Errorf("flooding peers: %s", d.Error)
	}
	return d, nil
}

// Attack implements play.Stage.
func (st *Stage) Attack(ctx context.Context, step lab.Step) error {
	if step.Do != lab.Flood || st.attackers == nil {
		return fmt.Errorf("processes can't %s: %w", step.Do, fault.Unsupported)
	}
	x := st.attackers
	x.mu.Lock()
	defer x.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { _ = x.cmd.Process.Kill() }) // nobody waits for them any more
	defer stop()
	targets, of, err := st.targets(ctx)
	if err != nil {
		return err
	}
	order := hostile.Order{Targets: targets, Count: st.floods.Count, Rate: st.floods.Rate, ForMS: time.Duration(st.floods.For).Milliseconds(), Round: x.round, Shared: st.floods.Shared}
	x.round++
	raw, err := json.Marshal(order)
	if err != nil {
		return fmt.Errorf("flooding peers: %w", err)
	}
	w := &lookout{targets: of, over: make(chan struct{})}
	w.before = w.count(ctx) // as soon as they are connected, they begin
	if _, err := x.in.Write(append(raw, '\n')); err != nil {
		return fmt.Errorf("flooding peers: %w", err)
	}
	if _, err := x.next(); err != nil { // they are connected
		return err
	}
	w.began = time.Now()
	st.saw(w.began, lab.Record{Kind: lab.KindHostile, What: hostile.Flood})
	w.wg.Go(func() { w.watch(ctx) })
	done, err := x.next()
	at := time.Now()
	close(w.over)
	w.wg.Wait()
	after := w.count(ctx)
	rec := lab.Record{
		Kind: lab.KindHostile, What: hostile.Calm, Attempts: done.Sent, TheirCPU: done.CPUMS, LastMS: w.last.Milliseconds(),
		Looked: int64(after.blamed - w.before.blamed), CPUMS: (after.cpu - w.before.cpu).Milliseconds() / int64(len(of)),
	}
	st.saw(at, rec)
	return err
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
		return nil, nil, errors.New("nobody is there to be flooded")
	}
	return out, of, nil
}

// A lookout sees until when junk is looked at.
type lookout struct {
	targets []*actor
	began   time.Time
	before  counted
	last    time.Duration // after it began
	over    chan struct{}
	wg      sync.WaitGroup
}

// A counted is what flooded nodes have done: announcements held against somebody, and
// what all of them used of the processors.
type counted struct {
	blamed float64
	cpu    time.Duration
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
		if now := w.count(ctx).blamed; now > seen {
			seen, w.last = now, time.Since(w.began)
		}
	}
}

// count asks the flooded nodes. Who doesn't answer now is asked again.
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
	}
	return c
}
