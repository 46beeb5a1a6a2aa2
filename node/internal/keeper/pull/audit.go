package pull

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/keeper/client"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// Grace is how long a mesh peer may take with an announcement: long enough for its
// own pull to bring what gossip did not bring to it either.
const Grace = 5 * protocol.Minute

// How much is audited.
const (
	rotation    = 7                // rounds in which all quiet mesh peers have their turn, where there are no more than …
	maxAudits   = 3                // … so many of them in each round
	maxSuspects = 16               // peers that did not answer the last time
	patience    = 3                // audits in a row without an answer, before it counts: each counts as one withheld
	auditFor    = 10 * time.Second // of one peer: no round is held up for long
)

// audits are the state of the auditing, between two rounds.
type audits struct {
	n        int                   // rounds
	after    key.KeeperKey         // of the quiet ones, whose turn was last
	suspects map[key.KeeperKey]int // audits in a row without an answer
}

// Withheld counts what shows that a mesh peer passes nothing on. came are the announcements
// that it had and this node lacked until it asked, by when they were made: in the mesh it
// should have sent or offered them. lacks are those that this node has and the peer lacks,
// by when this node heard them: whoever takes part in the mesh, and pulls, has them by now.
//
// It finds a peer that keeps what others have no copy of, or that does not pull. One that
// pulls and answers like everybody, and drops what it should pass on, is not found by it:
// what that one withheld this node has pulled from others by then. Who brings nothing by
// gossip is for package gossip to see.
//
// Neither counts within Grace, nor from before this node followed the shard. A few
// are no proof: an author may post late what he made early, and a full board lets
// go of what ends soonest.
func Withheld(now, since protocol.Second, came, lacks []protocol.Second) (n int) {
	for _, times := range [][]protocol.Second{came, lacks} {
		for _, at := range times {
			if at >= since && at <= now && now-at > Grace {
				n++
			}
		}
	}
	return n
}

// audit compares shards with mesh peers: one shard, each in its turn, with one of its
// peers, and with those that gossip does not vouch for, on a topic where little is said or
// they bring nothing. Who did not answer is asked again first.
func (p *Puller) audit(ctx context.Context, shards []uint16) {
	if p.cfg.Mesh == nil || p.cfg.Audit == nil || len(shards) == 0 {
		return
	}
	shard := shards[p.audits.n%len(shards)]
	p.audits.n++
	var who []followed
	if mesh, _ := p.cfg.Mesh(shard); len(mesh) > 0 {
		who = append(who, followed{mesh[rand.N(len(mesh))], []uint16{shard}}) //nolint:gosec // whose turn it is, nothing more
	}
	for _, q := range p.quiet(shards) {
		if !slices.ContainsFunc(who, func(f followed) bool { return f.node.Key == q.node.Key }) {
			who = append(who, q)
		}
	}
	for _, f := range who {
		if ctx.Err() == nil {
			p.ask(ctx, f)
		}
	}
}

// quiet draws the quiet mesh peers whose turn it is: suspects, then the others by key.
func (p *Puller) quiet(shards []uint16) (turn []followed) {
	var all []followed
	for _, shard := range shards {
		_, quiet := p.cfg.Mesh(shard)
		for _, k := range quiet {
			if at := slices.IndexFunc(all, func(f followed) bool { return f.node.Key == k.Key }); at >= 0 {
				all[at].shards = append(all[at].shards, shard)
			} else {
				all = append(all, followed{k, []uint16{shard}})
			}
		}
	}
	most := min((len(all)+rotation-1)/rotation, maxAudits)
	slices.SortFunc(all, func(a, b followed) int { return bytes.Compare(a.node.Key[:], b.node.Key[:]) })
	first := slices.IndexFunc(all, func(f followed) bool { return bytes.Compare(f.node.Key[:], p.audits.after[:]) > 0 })
	if first > 0 {
		all = append(all[first:], all[:first]...)
	}
	for _, f := range all[:min(len(all), most)] {
		turn, p.audits.after = append(turn, f), f.node.Key
	}
	again := slices.DeleteFunc(all[len(turn):], func(f followed) bool { return p.audits.suspects[f.node.Key] == 0 })
	return append(again[:min(len(again), maxAudits)], turn...)
}

// ask audits one peer. One that is away by then is for others to judge, and one that has
// no time (fault.Full) may have some later: it is found by gossip if it brings nothing.
func (p *Puller) ask(ctx context.Context, f followed) {
	ctx, cancel := context.WithTimeout(ctx, auditFor)
	defer cancel()
	s, err := p.cfg.Client.Sync(ctx, f.node)
	if err == nil {
		defer func() { _ = s.Close() }() // read to its end
		for _, shard := range f.shards {
			if err = p.examine(ctx, s, f.node.Key, shard); err != nil {
				break
			}
		}
	}
	p.answered(f, err)
}

// examine compares one shard with a mesh peer, and reports.
func (p *Puller) examine(ctx context.Context, s *client.Session, peer key.KeeperKey, shard uint16) error {
	in, lacking, err := p.shard(ctx, s, shard)
	if err != nil {
		p.cfg.Log.Debug("a mesh peer could not be audited", "peer", peer, "shard", shard, "why", err)
		if in.came > 0 {
			return nil // it answered, as far as the time went
		}
		return err
	}
	var heard []protocol.Second
	for _, id := range lacking {
		if ms, ok := p.cfg.Board.HeardAt(id); ok {
			heard = append(heard, protocol.Second(ms/1000))
		}
	}
	p.mu.Lock()
	since := p.since[shard]
	p.mu.Unlock()
	p.cfg.Audit(peer, shard, Withheld(p.cfg.Now(), since, in.fresh, heard))
	return nil
}

// answered notes whether a mesh peer answered an audit. Every public node serves
// /hark/sync/1, of whatever edition: one that is connected, in the mesh and does not answer
// three times in a row counts as one that withholds.
func (p *Puller) answered(f followed, err error) {
	defer func() { p.suspected.Store(int64(len(p.audits.suspects))) }()
	var no *client.Refused
	if errors.As(err, &no) && no.Kind == fault.Full {
		return // neither an answer nor none
	}
	there := func(shard uint16) bool {
		in, _ := p.cfg.Mesh(shard)
		return slices.ContainsFunc(in, func(k protocol.Keeper) bool { return k.Key == f.node.Key })
	}
	if err == nil || !slices.ContainsFunc(f.shards, there) {
		delete(p.audits.suspects, f.node.Key)
		return
	}
	if p.audits.suspects == nil {
		p.audits.suspects = map[key.KeeperKey]int{}
	}
	for old := range p.audits.suspects {
		if p.audits.suspects[f.node.Key] == 0 && len(p.audits.suspects) >= maxSuspects {
			delete(p.audits.suspects, old)
		}
	}
	if p.audits.suspects[f.node.Key]++; p.audits.suspects[f.node.Key] >= patience {
		delete(p.audits.suspects, f.node.Key)
		p.cfg.Audit(f.node.Key, f.shards[0], patience)
	}
}
