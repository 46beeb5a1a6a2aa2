package courier

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
)

// met says what came of an exchange with a keeper. Where it failed, and a stream to
// another keeper is open, that one counts as reached: the failure is not this node's.
func (c *Courier) met(ctx context.Context, k key.KeeperKey, err error) {
	var refused *keeper.Refused
	switch {
	case c.cfg.Met == nil || err != nil && errors.Is(ctx.Err(), context.Canceled):
		return // nobody asks, or this node is closing
	case err == nil || errors.As(err, &refused):
		c.cfg.Met(k, true)
		return
	}
	switch fault.Of(err) {
	case fault.Offline, fault.Malformed, fault.Unsupported:
	default:
		return // it went wrong on this side
	}
	if other, ok := c.liveBeside(k); ok {
		c.cfg.Met(other, true)
	}
	c.cfg.Met(k, false)
}

// liveBeside finds another keeper to which a stream is open.
func (c *Courier) liveBeside(k key.KeeperKey) (other key.KeeperKey, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.watches {
		if w.live != nil && w.keeper.Key != k {
			return w.keeper.Key, true
		}
	}
	return other, false
}

// replayed notes a keeper that shows a letter on a stream which it opened after it had
// confirmed that the letter was deleted.
func (c *Courier) replayed(ctx context.Context, w *watch, box key.MailboxKey, id protocol.Hash) {
	k := w.keeper.Key
	c.mu.Lock()
	opened := w.opened
	c.mu.Unlock()
	if since, ok := c.gone.Get(at(id, k)); ok && since.Before(opened) {
		c.note(ctx, id, box, func(s *records.Sighting) { s.Replayed = with(s.Replayed, k) })
	}
}

func with(list []key.KeeperKey, k key.KeeperKey) []key.KeeperKey {
	if slices.Contains(list, k) {
		return list
	}
	return append(list, k)
}

// note keeps what was found of a letter at a keeper. Where a mailbox has no room for one
// more, what was found is not kept: whoever writes to it can leave letters at one keeper
// alone, as many as he likes, and shall not drive out what is evidence.
func (c *Courier) note(ctx context.Context, letter protocol.Hash, box key.MailboxKey, change func(*records.Sighting)) {
	c.mu.Lock()
	role := c.boxes[box].Role
	c.mu.Unlock()
	first := role == records.BoxContext || role == records.BoxInbox
	err := c.cfg.KV.Update(ctx, func(tx kv.Tx) error {
		s, err := records.GetSighting(tx, letter)
		if err != nil && !errors.Is(err, fault.NotFound) {
			return err
		}
		s.Letter, s.Box, s.AtMS, s.First = letter, box, c.cfg.Now().UnixMilli(), first
		change(&s)
		return records.PutSighting(tx, s, c.lim.sightings())
	})
	if errors.Is(err, fault.Full) {
		c.cfg.Log.Debug("courier: a keeper's failure finds no room", "err", err)
	} else if err != nil && ctx.Err() == nil {
		c.cfg.Log.Warn("courier: could not note a keeper's failure", "err", err)
	}
}

// at names one letter at one keeper.
func at(id protocol.Hash, k key.KeeperKey) protocol.Hash { return wire.ID(append(id[:], k[:]...)) }

// lacked notes that a keeper did not have a letter that its reader got elsewhere,
// unless it has shown it all the same.
func (c *Courier) lacked(ctx context.Context, w *watch, box key.MailboxKey, id protocol.Hash) {
	k := w.keeper.Key
	if c.pushed.Has(at(id, k)) {
		return
	}
	c.missed.Add(at(id, k))
	c.note(ctx, id, box, func(s *records.Sighting) { s.Missing = with(s.Missing, k) })
	if c.pushed.Has(at(id, k)) { // while it was written
		c.found(ctx, w, box, id)
	}
}

// shown notes that a keeper has shown a letter. Where it had come to the keeper only
// after its reader had asked to delete it, what lacked said is taken back.
func (c *Courier) shown(ctx context.Context, w *watch, box key.MailboxKey, id protocol.Hash) {
	c.pushed.Add(at(id, w.keeper.Key))
	if c.missed.Has(at(id, w.keeper.Key)) {
		c.found(ctx, w, box, id)
	}
}

func (c *Courier) found(ctx context.Context, w *watch, box key.MailboxKey, id protocol.Hash) {
	c.note(ctx, id, box, func(s *records.Sighting) {
		s.Missing = slices.DeleteFunc(s.Missing, func(k key.KeeperKey) bool { return k == w.keeper.Key })
	})
}

// slots remembers which letter came in which slot of a mailbox, and which keepers
// had something there that did not open.
type slots struct {
	max   int
	at    map[slotKey]*slot
	order []slotKey // oldest first
}

type slotKey struct {
	box  key.MailboxKey
	slot protocol.ID
}

type slot struct {
	letter protocol.Hash                   // the one that opened
	junk   map[key.KeeperKey]protocol.Hash // what did not, one of each keeper
	bad    []protocol.Hash                 // and all that did not, the first few
}

// maxBad bounds the letters of one slot that are remembered for not opening.
const maxBad = 4

// wasJunk reports whether a letter was seen that did not open.
func (s *slots) wasJunk(box key.MailboxKey, id protocol.ID, letter protocol.Hash) bool {
	e := s.at[slotKey{box, id}]
	return e != nil && slices.Contains(e.bad, letter)
}

func newSlots(most int) *slots { return &slots{max: most, at: map[slotKey]*slot{}} }

func (s *slots) len() int { return len(s.at) }

// see notes one letter, and returns the letter that opened in its slot with the
// keepers that are now known to have had another one there.
func (s *slots) see(box key.MailboxKey, id protocol.ID, letter protocol.Hash, from key.KeeperKey, o Outcome) (protocol.Hash, []key.KeeperKey) {
	k := slotKey{box, id}
	e := s.at[k]
	if e == nil {
		if len(s.order) >= s.max {
			delete(s.at, s.order[0])
			s.order = s.order[1:]
		}
		e = &slot{junk: map[key.KeeperKey]protocol.Hash{}}
		s.at[k] = e
		s.order = append(s.order, k)
	}
	if o == Taken {
		e.letter = letter
	} else {
		e.junk[from] = letter
		if len(e.bad) < maxBad && o == Junk && !slices.Contains(e.bad, letter) {
			e.bad = append(e.bad, letter)
		}
	}
	if e.letter.IsZero() {
		return e.letter, nil
	}
	var by []key.KeeperKey
	for k, other := range e.junk {
		if other != e.letter { // the market calls what it refused before known, too
			by = append(by, k)
			delete(e.junk, k)
		}
	}
	slices.SortFunc(by, func(a, b key.KeeperKey) int { return bytes.Compare(a[:], b[:]) })
	return e.letter, by
}
