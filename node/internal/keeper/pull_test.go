package keeper_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/fingerprint"
	"github.com/harkmarket/hark/protocol/wire"
)

// played is a port that answers /hark/sync/1 as a test likes.
func (w *world) played(answer nodetest.Answer) *nodetest.Port {
	p := w.net.Port(true)
	p.AnswerSync(netID, answer)
	return p
}

// A node that does not know the operation is listed, as before there was one.
func TestAnOlderNodeIsListed(t *testing.T) {
	in(t, func(w *world) {
		p := newPair(w)
		p.put(w, p.forge.many(100), p.server)
		honest, asked := nodetest.Honest(p.server.board), map[protocol.OpKind]int{}
		old := w.played(func(op *protocol.Op) protocol.Reply {
			if asked[op.Kind]++; op.Kind == protocol.OpRanges {
				return nodetest.Refuse(fault.Unsupported)
			}
			if op.Kind == protocol.OpList && op.Shard >= shards {
				return protocol.Reply{}
			}
			return honest(op)
		})
		got, err := p.client.Pull(w.Context(), old.Self(), []uint16{p.forge.shard})
		if err != nil || got != 100 || asked[protocol.OpRanges] != 1 || asked[protocol.OpList] != 2 {
			t.Errorf("%d of 100 pulled by %v: %v", got, asked, err)
		}
	})
}

// Whatever a node says to a pull, it ends with an error after little work, and what
// was missing still comes from the next one.
func TestPullsFromLiars(t *testing.T) {
	in(t, func(w *world) {
		p := newPair(w)
		known := p.forge.many(500)
		p.put(w, known, p.server)
		secret := p.forge.many(60)
		p.put(w, secret, p.server)
		stranger := p.forge.many(1)[0]
		honest := nodetest.Honest(p.server.board)
		on := func(kind protocol.OpKind, bend func(op *protocol.Op, r *protocol.Reply)) nodetest.Answer {
			return func(op *protocol.Op) protocol.Reply {
				r := honest(op)
				if op.Kind == kind {
					bend(op, &r)
				}
				return r
			}
		}
		for name, liar := range map[string]struct {
			answer nodetest.Answer
			want   fault.Kind
		}{
			"lists and hands nothing over":     {on(protocol.OpFetch, func(_ *protocol.Op, r *protocol.Reply) { r.Letters = nil }), fault.NotFound},
			"hands over what nobody asked for": {on(protocol.OpFetch, func(_ *protocol.Op, r *protocol.Reply) { r.Letters = [][]byte{stranger} }), fault.Malformed},
			"hands over the same twice":        {on(protocol.OpFetch, func(_ *protocol.Op, r *protocol.Reply) { r.Letters = append(r.Letters, r.Letters[0]) }), fault.Malformed},
			"hands over junk": {on(protocol.OpFetch, func(_ *protocol.Op, r *protocol.Reply) {
				r.Letters = [][]byte{append(bytes.Clone(r.Letters[0]), 1)}
			}), fault.Malformed},
			"fingerprints of noise": {on(protocol.OpRanges, func(_ *protocol.Op, r *protocol.Reply) { noise(r) }), fault.Malformed},
			"no fingerprints":       {on(protocol.OpRanges, func(_ *protocol.Op, r *protocol.Reply) { *r = protocol.Reply{} }), fault.Malformed},
			"ids in disorder":       {on(protocol.OpRanges, func(_ *protocol.Op, r *protocol.Reply) { slices.Reverse(r.Hashes) }), fault.Malformed},
			"ids of another range":  {on(protocol.OpRanges, func(op *protocol.Op, r *protocol.Reply) { elsewhere(r) }), fault.Malformed},
			"pages that never end":  {on(protocol.OpRanges, func(_ *protocol.Op, r *protocol.Reply) { endless(r) }), fault.Full},
			"ids that do not exist": {on(protocol.OpRanges, func(op *protocol.Op, r *protocol.Reply) { invent(op, r) }), fault.NotFound},
			"refuses after a while": {on(protocol.OpFetch, func(_ *protocol.Op, r *protocol.Reply) { *r = nodetest.Refuse(fault.Internal) }), fault.Internal},
		} {
			asked, bent, c := 0, liar.answer, newPair(w).client
			p.put(w, known, c)
			port := w.played(func(op *protocol.Op) protocol.Reply { asked++; return bent(op) })
			got, err := c.Pull(w.Context(), port.Self(), []uint16{p.forge.shard})
			if !errors.Is(err, liar.want) {
				t.Errorf("%s: %d pulled, %v", name, got, err)
			}
			if asked > 64*8+64 {
				t.Errorf("%s: %d questions", name, asked)
			}
			then, err := c.Pull(w.Context(), p.server.port.Self(), []uint16{p.forge.shard})
			if err != nil || got+then != len(secret) {
				t.Errorf("%s: %d of %d pulled, and %d from an honest node afterwards: %v", name, got, len(secret), then, err)
			}
		}
	})
}

func noise(r *protocol.Reply) {
	for i := range r.Prints {
		r.Prints[i] ^= byte(i) | 1
	}
}

func elsewhere(r *protocol.Reply) {
	if len(r.Hashes) > 0 {
		r.Hashes = []protocol.Hash{{31: 1}, r.Hashes[0]}
	}
}

func endless(r *protocol.Reply) {
	if len(r.Hashes) > 0 {
		r.Hashes, r.More = r.Hashes[:1], true
	}
}

// invent pretends that each listed range has only ids that do not exist.
func invent(op *protocol.Op, r *protocol.Reply) {
	noise(r)
	if op.Split > 0 {
		for i := range r.Counts {
			r.Counts[i] = 9000
		}
		return
	}
	r.Hashes, r.More = nil, false
	for _, p := range op.Ranges {
		for i := range byte(100) {
			var id protocol.Hash
			lead := p << (32 - op.Bits)
			id[0], id[1], id[2], id[3], id[31] = byte(lead>>24), byte(lead>>16), byte(lead>>8), byte(lead), i+1
			r.Hashes = append(r.Hashes, id)
		}
	}
	r.Hashes = r.Hashes[:min(len(r.Hashes), protocol.MaxPrints)]
}

// A shard in which a node has more than can be compared does not cost the others theirs.
func TestALargeShardIsNoObstacle(t *testing.T) {
	in(t, func(w *world) {
		p := newPair(w)
		p.put(w, p.forge.many(30), p.server)
		honest, large, page := nodetest.Honest(p.server.board), (p.forge.shard+1)%shards, uint32(0)
		port := w.played(func(op *protocol.Op) protocol.Reply {
			r := honest(op)
			if op.Shard != large || op.Kind != protocol.OpRanges {
				return r
			}
			if invent(op, &r); len(r.Hashes) > 0 { // one id more with each page
				page++
				r.Hashes, r.More = r.Hashes[:1], true
				binary.BigEndian.PutUint32(r.Hashes[0][4:], page)
			}
			return r
		})
		got, err := p.client.Pull(w.Context(), port.Self(), []uint16{large, p.forge.shard})
		if got != 30 || !errors.Is(err, fault.Full) {
			t.Errorf("%d of 30 pulled: %v", got, err)
		}
	})
}

// Where a keeper's budget is used up, the puller waits rather than going away.
func TestAPullWaitsForTheBudget(t *testing.T) {
	in(t, func(w *world) {
		big, slow := keeper.Rate{PerSecond: 1e6, Burst: 1e6}, keeper.Rate{PerSecond: 8, Burst: 24}
		server := w.keeper(func(c *keeper.Config) {
			c.Limits = keeper.Limits{Prefix: slow, Name: big, All: big, Relay: big}
			c.Door.Lanes = []protocol.LaneRule{{Lane: protocol.LaneNone}}
		})
		p := newPair(w)
		p.put(w, p.forge.many(300), server)
		got, err := p.client.Pull(w.Context(), server.port.Self(), []uint16{p.forge.shard})
		if err != nil || got != 300 {
			t.Errorf("%d of 300 pulled: %v", got, err)
		}
	})
}

// open lets announcements without work in.
func open(c *keeper.Config) { c.Door.Lanes = []protocol.LaneRule{{Lane: protocol.LaneNone}} }

// Of two sources one may do its worst, and be as slow as it likes: what the other
// has is there after one round.
func TestOneOfTwoSourcesIsEnough(t *testing.T) {
	in(t, func(w *world) {
		p := newPair(w)
		raws := p.forge.many(400)
		p.put(w, raws, p.server)
		honest := nodetest.Honest(p.server.board)
		for name, answer := range map[string]nodetest.Answer{
			"has nothing":               func(*protocol.Op) protocol.Reply { return nodetest.Refuse(fault.NotFound) },
			"says that all is the same": func(op *protocol.Op) protocol.Reply { return empty(op, honest(op)) },
			"never answers":             func(*protocol.Op) protocol.Reply { time.Sleep(time.Hour); return protocol.Reply{} },
			"drips": func(op *protocol.Op) protocol.Reply {
				time.Sleep(15 * time.Second)
				r := honest(op)
				r.Letters = r.Letters[:min(1, len(r.Letters))]
				return r
			},
		} {
			liar := w.played(answer)
			c := w.keeper(open, func(c *keeper.Config) {
				c.Sources = func() []protocol.Keeper {
					return []protocol.Keeper{liar.Self(), p.server.port.Self()}
				}
			})
			time.Sleep(3 * time.Minute)
			synctest.Wait()
			lost := 0
			for _, raw := range raws {
				if !c.heard(wire.ID(raw)) {
					lost++
				}
			}
			if lost > 0 {
				t.Errorf("one source %s: %d of %d missing", name, lost, len(raws))
			}
			w.net.SetOnline(c.port, false)
		}
	})
}

// empty bends an honest answer into that of a node that has nothing.
func empty(op *protocol.Op, r protocol.Reply) protocol.Reply {
	none := fingerprint.Sum{}.Print(0)
	clear(r.Counts)
	r.Prints = bytes.Repeat(none[:], len(r.Counts))
	r.Hashes, r.Letters, r.More = nil, nil, false
	return r
}

// What was made too early is pulled again when its time has come.
func TestEarlyAnnouncementsArePulledLater(t *testing.T) {
	in(t, func(w *world) {
		p := newPair(w)
		p.forge.a.Created += 10 * protocol.Minute
		raw := p.forge.many(1)
		p.put(w, raw, p.server)
		c := w.keeper(open, func(c *keeper.Config) {
			c.Sources = func() []protocol.Keeper { return []protocol.Keeper{p.server.port.Self()} }
		})
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if c.heard(wire.ID(raw[0])) {
			t.Fatal("it is let in too early")
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if !c.heard(wire.ID(raw[0])) {
			t.Error("its time has come, and it is not pulled")
		}
	})
}

// An audit tells of a mesh peer that keeps to itself what it has, and of one that has
// nothing; not of one that takes part.
func TestMeshPeersAreAudited(t *testing.T) {
	in(t, func(w *world) {
		p := newPair(w)
		all := nodetest.Honest(p.server.board)
		hides := w.played(func(op *protocol.Op) protocol.Reply { return empty(op, all(op)) })
		var mu sync.Mutex
		said := map[key.KeeperKey][]int{}
		at := p.server.port.Self()
		w.keeper(open, func(c *keeper.Config) {
			c.Sources = func() []protocol.Keeper { return nil }
			c.Mesh = func(shard uint16) (in, quiet []protocol.Keeper) {
				mu.Lock()
				defer mu.Unlock()
				if shard != p.forge.shard {
					return nil, nil
				}
				return []protocol.Keeper{at}, nil
			}
			c.Audit = func(peer key.KeeperKey, shard uint16, withheld int) {
				mu.Lock()
				defer mu.Unlock()
				if shard != p.forge.shard {
					t.Errorf("shard %d", shard)
				}
				said[peer] = append(said[peer], withheld)
			}
		})
		last := func(k protocol.Keeper) []int { mu.Lock(); defer mu.Unlock(); return said[k.Key] }
		time.Sleep(2 * time.Minute)
		// It has them for long when it is asked: the audit itself brings them here.
		p.forge.a.Created = now()
		p.put(w, p.forge.many(7), p.server)
		w.net.SetOnline(p.server.port, false)
		time.Sleep(8 * time.Minute)
		w.net.SetOnline(p.server.port, true)
		time.Sleep(8 * time.Minute)
		if got := last(p.server.port.Self()); !slices.Contains(got, 7) || got[len(got)-1] != 0 {
			t.Errorf("a peer that handed nothing on: %v", got)
		}
		mu.Lock()
		at = hides.Self()
		mu.Unlock()
		time.Sleep(12 * time.Minute)
		if got := last(hides.Self()); len(got) == 0 || got[len(got)-1] != 7 {
			t.Errorf("a peer that has nothing: %v", got)
		}
	})
}

// A mesh peer that does not answer counts as one that withholds, from the third audit in a
// row; one that has no time does not, nor does one that left the mesh, nor one that answers.
func TestMeshPeersMustAnswer(t *testing.T) {
	in(t, func(w *world) {
		p := newPair(w)
		p.put(w, p.forge.many(3), p.server)
		all := nodetest.Honest(p.server.board)
		mute, busy, left := w.played(all), w.played(func(*protocol.Op) protocol.Reply { return nodetest.Refuse(fault.Full) }), w.played(all)
		for _, m := range []*nodetest.Port{mute, left} {
			m.Serve(peers.ProtoSync, func(ctx context.Context, _ peers.Conn, _ string) { <-ctx.Done() })
		}
		good := w.played(all)
		var mu sync.Mutex
		said := map[key.KeeperKey]int{}
		w.keeper(open, func(c *keeper.Config) {
			c.Sources = func() []protocol.Keeper { return []protocol.Keeper{good.Self()} }
			c.Mesh = func(shard uint16) (in, quiet []protocol.Keeper) {
				if shard == p.forge.shard {
					in = []protocol.Keeper{mute.Self(), busy.Self(), good.Self()}
					quiet = append(slices.Clone(in), left.Self())
				}
				return in, quiet
			}
			c.Audit = func(peer key.KeeperKey, _ uint16, withheld int) {
				mu.Lock()
				defer mu.Unlock()
				said[peer] += withheld
			}
		})
		time.Sleep(30 * time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if said[mute.Self().Key] < 3 {
			t.Errorf("one that never answered: %d", said[mute.Self().Key])
		}
		for name, m := range map[string]*nodetest.Port{"busy": busy, "good": good, "left": left} {
			if n := said[m.Self().Key]; n != 0 {
				t.Errorf("%s: %d", name, n)
			}
		}
		t.Logf("in thirty minutes the mute one was reported for %d", said[mute.Self().Key])
	})
}

// What the operation refuses, it refuses before it does anything.
func TestRangesAreRefused(t *testing.T) {
	in(t, func(w *world) {
		k := w.keeper()
		for name, op := range map[string]*protocol.Op{
			"a shard that is none": {Shard: shards, Ranges: []uint32{0}, Split: 4},
			"the vendors' shard":   {Shard: 1<<16 - 1, Ranges: []uint32{0}, Split: 4},
			"overlapping":          {Ranges: []uint32{3, 3}, Bits: 4, Split: 4},
			"in disorder":          {Ranges: []uint32{3, 2}, Bits: 4, Split: 4},
			"too many parts":       {Ranges: []uint32{0, 1, 2, 3, 4, 5, 6, 7, 8}, Bits: 4, Split: 8},
			"beyond an id":         {Ranges: []uint32{1}, Bits: 32, Split: 1},
		} {
			op.N, op.Kind = 1, protocol.OpRanges
			c, _ := w.raw(k, "/hark/sync/1")
			if r, err := ask(c, op); err == nil && kindOf(r) != fault.Malformed {
				t.Errorf("%s: %+v", name, r)
			}
		}
		c, _ := w.raw(k, "/hark/sync/1")
		r, err := ask(c, &protocol.Op{N: 1, Kind: protocol.OpRanges, Ranges: []uint32{0}, Split: 4})
		if err != nil || r.Fault != 0 || len(r.Counts) != 16 || r.Salt != k.board.Salt() {
			t.Errorf("%+v, %v", r, err)
		}
	})
}
