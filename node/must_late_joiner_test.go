package node_test

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/board"
	"github.com/harkmarket/hark/store/kv"
)

// A late is a market with many live needs, all at one honest node, for nodes that
// come later.
type late struct {
	*testing.T
	w      *nodetest.World
	net    protocol.Hash
	honest *nodetest.Member
	raws   [][]byte
	ids    []protocol.Hash
}

func newLate(t *testing.T, w *nodetest.World, needs int) *late {
	t.Helper()
	w.Genesis = node.NewGenesis("simulated", 1, []protocol.LaneRule{{Lane: protocol.LaneNone}}, protocol.ID{1})
	l := &late{T: t, w: w}
	var err error
	if l.net, _, err = wire.NetworkID(w.Genesis); err != nil {
		t.Fatal(err)
	}
	l.honest = w.Public("honest")
	seal := key.GenerateSeal[key.ContextSeal]().Public()
	for range needs {
		l.need(seal)
	}
	l.post(l.honest, l.raws)
	return l
}

// need makes one more.
func (l *late) need(seal key.Encapsulation[key.ContextSeal]) {
	l.Helper()
	k := key.Generate[key.Context]()
	body, commitment, err := wire.SealBody(protocol.Demand{Name: "Desk"}, key.NewSecret(), k.Public(), 1)
	if err != nil {
		l.Fatal(err)
	}
	raw, err := wire.SignAnnouncement(k, &protocol.Announcement{
		Header: protocol.Header{Net: l.net, ID: wire.NewID(), Seq: 1, Created: second(), Expires: second() + 3*protocol.Day},
		Status: protocol.Open, Reason: protocol.ContextNeed, Category: "home.furniture", Region: "ZA-GP", Seal: seal, Terms: l.w.Genesis.Terms,
		Mailbox: key.Generate[key.Mailbox]().Public(), Keepers: []protocol.Keeper{l.honest.Port.Self()}, Body: body, Commitment: commitment,
	}, protocol.LaneNone, 0)
	if err != nil {
		l.Fatal(err)
	}
	l.raws, l.ids = append(l.raws, raw), append(l.ids, wire.ID(raw))
}

// post hands needs to a node for publishing.
func (l *late) post(to *nodetest.Member, raws [][]byte) {
	l.Helper()
	s, err := keeper.Client{Port: l.w.Net.Port(false), Net: l.net}.Post(l.Context(), to.Port.Self())
	if err != nil {
		l.Fatal(err)
	}
	defer func() { _ = s.Close() }() // it answered
	for _, raw := range raws {
		if err := s.Announce(l.Context(), raw); err != nil {
			l.Fatal(err)
		}
	}
}

// lacks counts the live needs that a node does not show to others.
func (l *late) lacks(m *nodetest.Member) int {
	l.Helper()
	s, err := keeper.Client{Port: l.w.Net.Port(false), Net: l.net}.Sync(l.Context(), m.Port.Self())
	if err != nil {
		l.Fatal(err)
	}
	defer func() { _ = s.Close() }() // it answered
	has := map[protocol.Hash]bool{}
	for after, more := (protocol.Hash{}), true; more; {
		var ids []protocol.Hash
		if ids, more, err = s.List(l.Context(), 0, after); err != nil {
			l.Fatal(err)
		}
		for _, id := range ids {
			has[id], after = true, id
		}
	}
	return len(slices.DeleteFunc(slices.Clone(l.ids), func(id protocol.Hash) bool { return has[id] }))
}

// until waits for a node to hold every need, and says how long that took.
func (l *late) until(m *nodetest.Member, most time.Duration) (lost int, took time.Duration) {
	l.Helper()
	for begin := time.Now(); ; time.Sleep(time.Second) {
		if lost, took = l.lacks(m), time.Since(begin); lost == 0 || took >= most {
			return lost, took
		}
	}
}

// liar is a public node that answers pulls as it likes.
func (l *late) liar(answer nodetest.Answer) *nodetest.Port {
	p := l.w.Net.Port(true)
	p.AnswerSync(l.net, answer)
	return p
}

// knowing answers as an honest node would that had heard of these needs alone.
func (l *late) knowing(raws [][]byte) nodetest.Answer {
	l.Helper()
	b, err := board.Open(kv.Memory(), 1, board.Limits{})
	if err != nil {
		l.Fatal(err)
	}
	for _, raw := range raws {
		h, err := wire.OpenAnnouncement(raw)
		if err != nil {
			l.Fatal(err)
		}
		if _, err := b.Put(context.Background(), h, time.Now().UnixMilli()); err != nil {
			l.Fatal(err)
		}
	}
	return nodetest.Honest(b)
}

// bend changes the answers to one kind of operation.
func bend(answer nodetest.Answer, kind protocol.OpKind, how func(r *protocol.Reply)) nodetest.Answer {
	return func(op *protocol.Op) protocol.Reply {
		r := answer(op)
		if op.Kind == kind {
			how(&r)
		}
		return r
	}
}

// gone takes a node off the network for good.
func (l *late) gone(m *nodetest.Member) {
	m.Online(false)
	m.Stop()
}

// round is one round of pulls: two nodes, of which one may use up its whole turn,
// and the pause before it.
const round = 2 * time.Minute

// TestMust_late_joiner: who joins late holds every live need within one round, and a
// need that all mesh peers keep back comes within ten minutes, though one of the two
// nodes that are asked is hostile.
func TestMust_late_joiner(t *testing.T) {
	const needs = 1000
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.NewWorld(t)
		defer w.Close()
		l := newLate(t, w, needs)
		all, half := l.knowing(l.raws), l.knowing(l.raws[:needs/2])
		alone := l.liar(half)
		l.honest.Online(false)
		undefended := w.Public("asks one")
		if lost, _ := l.until(undefended, 10*time.Minute); lost != needs/2 {
			t.Fatalf("with one source, that hides %d needs, %d are missing: the check does not find it", needs/2, lost)
		}
		l.gone(undefended)
		w.Net.SetOnline(alone, false)
		l.honest.Online(true)
		for name, answer := range map[string]nodetest.Answer{
			"is empty":            func(*protocol.Op) protocol.Reply { return protocol.Reply{Fault: uint8(fault.NotFound) + 1} },
			"hides half":          half,
			"never answers":       func(*protocol.Op) protocol.Reply { time.Sleep(time.Hour); return protocol.Reply{} },
			"answers slowly":      func(op *protocol.Op) protocol.Reply { time.Sleep(19 * time.Second); return all(op) },
			"lists and withholds": bend(all, protocol.OpFetch, func(r *protocol.Reply) { r.Letters = nil }),
			"talks nonsense": bend(all, protocol.OpRanges, func(r *protocol.Reply) {
				for i := range r.Prints {
					r.Prints[i] ^= byte(i) | 1
				}
				slices.Reverse(r.Hashes)
			}),
			"never ends": bend(all, protocol.OpRanges, func(r *protocol.Reply) {
				if len(r.Hashes) > 0 {
					r.Hashes, r.More = r.Hashes[:1], true
				}
			}),
		} {
			hostile := l.liar(answer)
			joiner := w.Public("joins late")
			lost, took := l.until(joiner, round)
			if lost > 0 {
				t.Errorf("one of two sources %s: %d of %d needs missing after %v", name, lost, needs, took)
			}
			t.Logf("one of two sources %s: %d of %d needs after %v", name, needs-lost, needs, took)
			l.gone(joiner)
			w.Net.SetOnline(hostile, false)
		}
	})
	t.Run("a mirror", mirrored)
	t.Run("one need", eclipsed)
}

// mirrored: a node was away for a while; the hostile source claims to have what this
// node has, and nothing besides: all fingerprints are the same.
func mirrored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.NewWorld(t)
		defer w.Close()
		l := newLate(t, w, 300)
		known := len(l.ids)
		victim := w.Public("was away")
		if lost, took := l.until(victim, round); lost > 0 {
			t.Fatalf("%d missing after %v", lost, took)
		}
		victim.Online(false)
		mirror := l.liar(l.knowing(l.raws))
		more := newLateOn(l, 40)
		l.honest.Online(false)
		victim.Online(true)
		if lost, _ := l.until(victim, 10*time.Minute); lost != more {
			t.Fatalf("with the mirror alone %d are missing of %d: the check does not find it", lost, more)
		}
		l.honest.Online(true)
		lost, took := l.until(victim, round)
		if lost > 0 {
			t.Errorf("%d of %d that came while it was away are missing after %v", lost, more, took)
		}
		t.Logf("one of two sources mirrors the %d known needs: the other %d after %v", known, more-lost, took)
		w.Net.SetOnline(mirror, false)
	})
}

// newLateOn posts further needs at the honest node and says how many.
func newLateOn(l *late, needs int) int {
	l.Helper()
	before := len(l.ids)
	k := key.GenerateSeal[key.ContextSeal]().Public()
	for range needs {
		l.need(k)
	}
	l.post(l.honest, l.raws[before:])
	return needs
}

// eclipsed: all that a node is connected with pass on all needs but one, and stay; the one
// node that has it is not among them.
func eclipsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.NewWorld(t)
		defer w.Close()
		l := newLate(t, w, 20)
		l.honest.Online(false)
		victim := w.Public("victim")
		censor := l.knowing(l.raws[1:])
		var mesh []*nodetest.Port
		for range 20 {
			mesh = append(mesh, l.liar(censor))
		}
		w.Net.Surround(victim.Port, mesh...)
		time.Sleep(time.Second)
		for i, raw := range l.raws[1:] {
			if err := mesh[i%len(mesh)].Publish(t.Context(), 0, bytes.Clone(raw)); err != nil {
				t.Fatal(err)
			}
		}
		if lost, _ := l.until(victim, 10*time.Minute); lost != 1 {
			t.Fatalf("with censors alone %d needs are missing, not the one: the check does not find it", lost)
		}
		l.honest.Online(true)
		lost, took := l.until(victim, 10*time.Minute)
		if lost > 0 {
			t.Errorf("the need that all mesh peers keep back is missing after %v", took)
		}
		t.Logf("one need of 20 kept back by all of the %d nodes that the victim is connected with: pulled after %v (at most 10m)", len(mesh), took)
	})
}
