package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/harkmarket/hark/node/lab"
	"github.com/harkmarket/hark/node/lab/play"
	"github.com/harkmarket/hark/node/nodetest"
)

// A records is what stands in the DHT beside the load, and who attacks it.
type records struct {
	all    []nodetest.Published
	dice   *rand.Rand
	sybils *nodetest.TableSybils // nil: none
	flood  *nodetest.TableFlood  // likewise
}

var _ play.Looker = (*stage)(nil)

const (
	keepersEach = 3
	recordLife  = 24 * time.Hour
	recordGap   = 100 * time.Millisecond // between two that are put
	recordTime  = time.Minute            // until all are put, and gossip and pull brought them around
	maxLooking  = 16                     // nodes that look something up at once
)

// publish lets the Sybils in, and has keepers put records into the DHT.
func (st *stage) publish(ctx context.Context, seed uint64) (err error) {
	r, y := st.s.Records, st.s.DHTSybils
	st.records.dice = rand.New(rand.NewPCG(seed, 0x646874)) //nolint:gosec // an experiment that can be repeated needs dice that can
	suits := func(string) bool { return true }
	if y.PerKey > 0 {
		if st.records.sybils, err = nodetest.NewTableSybils(st.w, y.PerKey, y.Nets, y.Lies); err != nil {
			return fmt.Errorf("sybils of the DHT: %w", err)
		}
		time.Sleep(meetTime)
		suits = st.records.sybils.Shadows
	}
	for i := range r.Passports + r.Announcements {
		var p nodetest.Published
		keepers := st.some(true, keepersEach, nil)
		if i < r.Passports {
			p, err = nodetest.PublishPassport(st.w, keepers, suits)
		} else {
			p, err = nodetest.PublishNeed(st.w, keepers, uint16(i)%st.s.Network.Shards, recordLife, suits)
		}
		if err != nil {
			return fmt.Errorf("record %d: %w", i+1, err)
		}
		st.records.all = append(st.records.all, p)
		time.Sleep(recordGap)
	}
	if len(st.records.all) > 0 {
		time.Sleep(recordTime)
	}
	if n := st.s.DHTFlood.Peers; n > 0 {
		if st.records.flood, err = nodetest.NewTableFlood(st.w, n, st.s.DHTFlood.Nets, st.s.DHTFlood.Records); err != nil {
			return fmt.Errorf("flood of the DHT: %w", err)
		}
	}
	return ctx.Err()
}

// some draws nodes that are up: public ones, or customers; none of these.
func (st *stage) some(public bool, n int, but []*nodetest.Member) (out []*nodetest.Member) {
	for _, i := range st.records.dice.Perm(len(st.members)) {
		p := st.plan.Players[i]
		if len(out) < n && p.Role == lab.Honest && p.Public == public && st.House(i) != nil && !slices.Contains(but, st.members[i]) {
			out = append(out, st.members[i])
		}
	}
	return out
}

// Look implements play.Looker.
func (st *stage) Look(ctx context.Context) error {
	if st.records.flood != nil {
		c, err := st.records.flood.Run(ctx, st.records.all)
		st.saw(time.Now(), lab.Record{Kind: lab.KindMark, What: "flood of the DHT", Flood: (*lab.DHTFlooded)(&c)})
		if err != nil {
			return fmt.Errorf("flood of the DHT: %w", err)
		}
	}
	var all []func(context.Context) error
	for i, p := range st.records.all {
		for _, m := range st.some(i >= st.s.Records.Passports, st.s.Records.Each, p.Keepers) {
			all = append(all, func(ctx context.Context) error { return st.lookUp(ctx, i, p, m) })
		}
	}
	return nodetest.AtOnce(ctx, maxLooking, all)
}

// lookUp looks one record up, by the DHT alone and as nodes do.
func (st *stage) lookUp(ctx context.Context, i int, p nodetest.Published, m *nodetest.Member) error {
	l := lab.Lookup{Of: lab.Passport, Number: i + 1, By: lab.ByDHT}
	if i >= st.s.Records.Passports {
		l.Of = lab.Announcement
	}
	began := time.Now()
	l.Found = p.Alone(ctx, m)
	l.TookMS = time.Since(began).Milliseconds()
	alone := l
	st.saw(time.Now(), lab.Record{Kind: lab.KindLookup, Node: m.Name, Lookup: &alone})
	began = time.Now()
	found, err := p.Found(ctx, m)
	l.By, l.Found, l.TookMS = lab.ByAll, found, time.Since(began).Milliseconds()
	st.saw(time.Now(), lab.Record{Kind: lab.KindLookup, Node: m.Name, Lookup: &l})
	return err
}

// part is what a node's part in the DHT is like.
func part(m *nodetest.Member) *lab.DHTUse {
	if m.DHT == nil || m.Node == nil {
		return nil
	}
	u := lab.DHTUse{Nodes: m.DHT.Nodes(), Conns: len(m.Gossip.Libp2p().Network().Conns())}
	u.Held, u.Most = nodetest.TableFill(m)
	return &u
}

// close takes the hostile ones off the network.
func (r *records) close() error {
	var err error
	if r.sybils != nil {
		err = r.sybils.Close()
	}
	if r.flood != nil {
		err = errors.Join(err, r.flood.Close())
	}
	return err
}
