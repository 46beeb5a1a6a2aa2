package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/harkmarket/hark/cmd/hark-lab/vandal"
	"github.com/harkmarket/hark/node/lab"
	"github.com/harkmarket/hark/node/lab/hostile"
	"github.com/harkmarket/hark/node/nodetest"
)

// Attack implements play.Stage.
func (st *stage) Attack(ctx context.Context, step lab.Step) error {
	switch step.Do {
	case lab.Flood:
		return st.flood(ctx)
	case lab.Watch:
		st.look()
		return nil
	}
	return fmt.Errorf("%q is no attack", step.Do)
}

// flood has new peers, at addresses of their own, flood the first public nodes.
func (st *stage) flood(ctx context.Context) (err error) {
	f := &vandal.Force{}
	for i, p := range st.plan.Players[:st.s.Network.Public] {
		h := st.House(i)
		if h == nil || p.Late || len(f.Targets) == st.s.Floods.Targets {
			continue
		}
		id, err := h.Network().Self(ctx)
		if err != nil || len(id.Joined) == 0 {
			return errors.Join(err, fmt.Errorf("%s is on no topic", p.Name))
		}
		topic, err := st.w.Topic(uint16(id.Joined[0]))
		if err != nil {
			return err
		}
		at := st.members[i].Gossip.Libp2p()
		f.Targets = append(f.Targets, peer.AddrInfo{ID: at.ID(), Addrs: at.Addrs()})
		f.Orders = append(f.Orders, vandal.Order{Topic: topic, Rate: st.s.Floods.Rate, For: time.Duration(st.s.Floods.For)})
	}
	if len(f.Targets) == 0 {
		return errors.New("nobody is there to be flooded")
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for range st.s.Floods.Count {
		h, err := vandal.Open(append(st.w.Weather().Add().Options(), libp2p.NoListenAddrs)...)
		if err != nil {
			return err
		}
		f.Peers = append(f.Peers, h)
	}
	if err := f.Join(ctx); err != nil {
		return err
	}
	return st.pour(ctx, f)
}

// pour lets the flood happen, and notes what came of it.
func (st *stage) pour(ctx context.Context, f *vandal.Force) error {
	before, _ := st.blamed()
	began := time.Now()
	st.saw(began, lab.Record{Kind: lab.KindHostile, What: hostile.Flood})
	st.floods++
	sent, err := f.Flood(ctx, st.floods)
	over := time.Now()
	after, last := st.blamed()
	rec := lab.Record{Kind: lab.KindHostile, What: hostile.Calm, Attempts: int64(sent), Looked: int64(after - before)}
	if last.After(began) {
		rec.LastMS = last.Sub(began).Milliseconds()
	}
	st.saw(over, rec)
	return err
}

// blamed is how many announcements honest nodes have held against somebody, and when
// they did the last.
func (st *stage) blamed() (n int, last time.Time) {
	for i, p := range st.plan.Players {
		if m := st.members[i]; p.Role == lab.Honest && p.Public && m != nil {
			count, at := m.Judged()
			n += count[2]
			if at.After(last) {
				last = at
			}
		}
	}
	return n, last
}

// A stay is somebody in the mesh of an honest node.
type stay struct {
	node  int
	shard uint16
	who   peer.ID
}

// look notes who is in the meshes of odd topics, and for how long the attacker has been who
// is in one for longest.
func (st *stage) look() {
	rec := lab.Record{Kind: lab.KindHostile, What: hostile.Places}
	now := time.Now()
	here := map[stay]bool{}
	for i, p := range st.plan.Players {
		if p.Role != lab.Honest || !p.Public || st.House(i) == nil {
			continue
		}
		for shard := uint16(1); shard < st.s.Network.Shards; shard += 2 {
			for _, who := range st.members[i].Gossip.Gossip.Mesh(shard) {
				if !st.double[who] {
					rec.Mesh[0]++
					continue
				}
				rec.Mesh[1]++
				s := stay{i, shard, who}
				here[s] = true
				if st.since[s].IsZero() {
					st.since[s] = now
				}
				rec.LastMS = max(rec.LastMS, now.Sub(st.since[s]).Milliseconds())
			}
		}
	}
	for s := range st.since {
		if !here[s] {
			delete(st.since, s)
		}
	}
	st.saw(now, rec)
}

// silent lets one in that passes on what comes in even topics alone: bare, or a whole
// node.
func (st *stage) silent(p lab.Player) (*nodetest.Member, error) {
	if p.Role == lab.Double {
		st.w.Log = nil // what it hears is no record
		m := st.w.Carrier(p.Name)
		st.double[m.Gossip.Libp2p().ID()] = true
		var all []uint16
		for shard := range st.s.Network.Shards {
			all = append(all, shard)
		}
		return m, m.Gossip.Join(all, func(_ context.Context, _ []byte, shard uint16, _ string) uint8 { return uint8(shard % 2) })
	}
	o, err := st.w.Outsider(outsiderDials, func(raw []byte, _ *nodetest.Member) bool { return st.shard(raw)%2 == 0 })
	if err != nil {
		return nil, err
	}
	st.outside = append(st.outside, o)
	st.double[o.ID()] = true
	return nil, nil
}
