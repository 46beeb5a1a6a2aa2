package pull

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/harkmarket/hark/node/internal/keeper/client"
	"github.com/harkmarket/hark/node/internal/keeper/reconcile"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/check"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/board"
)

// breath is how long a node is left alone whose budget is used up.
const breath = time.Second

// maxWithheld is how many announcements more may be listed and not handed over than
// are: some end in the meantime.
const maxWithheld = 2 * client.FetchPage

// An inflow is what one shard of one node brought.
type inflow struct {
	fresh    []protocol.Second // when each was made that was news
	came     int               // handed over
	withheld int               // listed, asked for, and not handed over
}

// shard fetches what the other side has of a shard and this one lacks. lacking are
// the ids that the other side lacks; an older one does not let us know.
func (p *Puller) shard(ctx context.Context, s *client.Session, shard uint16) (in inflow, lacking []protocol.Hash, err error) {
	diff, diffErr := p.compare(ctx, s, shard)
	if diffErr != nil && fault.Of(diffErr) != fault.Full {
		return in, nil, diffErr
	}
	var missing []protocol.Hash
	for _, id := range p.worthPulling(diff.Missing) {
		if !p.cfg.Board.Seen(id) { // a shadow, or it came since
			missing = append(missing, id)
		}
	}
	err = p.fetch(ctx, s, shard, missing, &in)
	return in, diff.Lacking, errors.Join(diffErr, err)
}

// compare finds the difference by fingerprints, or, where the other side does not
// know these yet, by its list.
func (p *Puller) compare(ctx context.Context, s *client.Session, shard uint16) (reconcile.Difference, error) {
	if protocol.Edition < 0 {
		return p.byList(ctx, s, shard)
	}
	mine, err := p.mine(ctx, shard)
	if err != nil {
		return reconcile.Difference{}, err
	}
	diff, err := reconcile.Find(ctx, asker(s, shard), mine)
	var no *client.Refused
	if errors.As(err, &no) && no.Kind == fault.Unsupported {
		return p.byList(ctx, s, shard)
	}
	return diff, err
}

// mine are the ids of a shard on the own board.
func (p *Puller) mine(ctx context.Context, shard uint16) (all []protocol.Hash, err error) {
	for more := true; more; {
		var after protocol.Hash
		if len(all) > 0 {
			after = all[len(all)-1]
		}
		var ids []protocol.Hash
		if ids, more, err = p.cfg.Board.IDs(ctx, shard, after, board.MaxIDs); err != nil {
			return nil, err
		}
		all = append(all, ids...)
	}
	return all, nil
}

// asker puts reconcile's questions to a session.
func asker(s *client.Session, shard uint16) reconcile.Ask {
	return func(ctx context.Context, qs []reconcile.Question) ([]reconcile.Answer, error) {
		var replies []*protocol.Reply
		err := patiently(ctx, func() (err error) {
			ops := make([]*protocol.Op, len(qs))
			for i, q := range qs {
				ops[i] = &protocol.Op{Kind: protocol.OpRanges, Shard: shard, Ranges: q.Ranges, Bits: q.Bits, Split: q.Split, After: q.After}
			}
			replies, err = s.Ranges(ctx, ops...)
			return err
		})
		answers := make([]reconcile.Answer, len(replies))
		for i, r := range replies {
			answers[i] = reconcile.Answer{Salt: r.Salt, Counts: r.Counts, Prints: r.Prints, IDs: r.Hashes, More: r.More}
		}
		return answers, err
	}
}

// patiently asks again, as long as ctx allows, where a budget is used up. An error after
// that tells of the refusal too: the other side was there.
func patiently(ctx context.Context, ask func() error) error {
	var full error
	for {
		err := ask()
		var no *client.Refused
		switch {
		case err == nil:
			return nil
		case !errors.As(err, &no) || no.Kind != fault.Full:
			return errors.Join(err, full)
		}
		full = err
		if over := pause(ctx); over != nil {
			return errors.Join(over, full)
		}
	}
}

func pause(ctx context.Context) error {
	select {
	case <-time.After(breath):
		return nil
	case <-ctx.Done():
		return fmt.Errorf("pull: %w", errors.Join(ctx.Err(), fault.Offline))
	}
}

// byList reads the other side's whole list.
func (p *Puller) byList(ctx context.Context, s *client.Session, shard uint16) (diff reconcile.Difference, err error) {
	var after protocol.Hash
	for seen := 0; seen < reconcile.MaxIDs; {
		ids, more, err := s.List(ctx, shard, after)
		if err != nil {
			return diff, err
		}
		for _, id := range ids {
			if !p.cfg.Board.Seen(id) {
				diff.Missing = append(diff.Missing, id)
			}
		}
		if !more || len(ids) == 0 {
			break
		}
		seen += len(ids)
		after = ids[len(ids)-1]
	}
	return diff, nil
}

// fetch reads announcements, several pages in one round trip. Where the other
// side's budget is used up it waits, as long as ctx allows.
func (p *Puller) fetch(ctx context.Context, s *client.Session, shard uint16, missing []protocol.Hash, in *inflow) error {
	for len(missing) > 0 {
		var pages [][]protocol.Hash
		for len(missing) > 0 && len(pages) < client.Window {
			n := min(client.FetchPage, len(missing))
			pages, missing = append(pages, missing[:n]), missing[n:]
		}
		raws, refused, err := s.Fetch(ctx, pages...)
		if err != nil {
			return err
		}
		if refused != nil && refused.Kind != fault.Full {
			return refused
		}
		var again []protocol.Hash
		for i, page := range pages {
			if raws[i] == nil {
				again = append(again, page...)
			} else if err := p.take(ctx, shard, page, raws[i], in); err != nil {
				return err
			}
		}
		if refused != nil {
			if err := pause(ctx); err != nil {
				return errors.Join(err, refused)
			}
		}
		missing = append(again, missing...)
	}
	return nil
}

// take puts one page through the door.
func (p *Puller) take(ctx context.Context, shard uint16, page []protocol.Hash, raws [][]byte, in *inflow) error {
	asked := map[protocol.Hash]bool{}
	for _, id := range page {
		asked[id] = true
	}
	for _, raw := range raws {
		id := wire.ID(raw)
		if !asked[id] {
			return fmt.Errorf("pull: an announcement that nobody asked for: %w", fault.Malformed)
		}
		delete(asked, id)
		in.came++
		verdict, why, err := p.cfg.Admit(ctx, raw, int(shard), "")
		switch {
		case fault.Of(err) == fault.Full && err != nil:
			p.refuse(id) // what is on the board lives longer
		case err != nil:
			return err
		case verdict == check.Blame:
			p.refuse(id)
			return fmt.Errorf("pull: an announcement that is wrong: %s: %w", why, fault.Malformed)
		case verdict == check.Pass:
			if d, err := wire.ReadAnnouncement(raw); err == nil {
				in.fresh = append(in.fresh, d.A().Created)
			}
		case why != check.Early && why != check.Seen:
			p.refuse(id)
		}
	}
	if in.withheld += len(asked); in.withheld > in.came+maxWithheld {
		return fmt.Errorf("pull: %d announcements were listed and not handed over, %d were: %w", in.withheld, in.came, fault.NotFound)
	}
	return nil
}
