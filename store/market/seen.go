package market

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
)

// What others can make this node remember is counted, in the same transaction that
// remembers it: all records of a table, and those of each mailbox.
//
// A mailbox may add a record only while it has no more than what is still free for all:
// one can so take half of the room, two a third each, and whoever has none yet finds
// room. What finds none is refused, and nothing gives way for it: a letter that was acted
// on and is forgotten could be acted on twice.

// A Room is how many records of one table there may be in all, and of one mailbox.
type Room struct{ All, Box int }

// A tally counts the records of one table.
type tally byte

const (
	ofSeen      tally = 's'
	ofSightings tally = 'z'
)

func (y tally) of(r kv.Reader, box []byte) (int, error) {
	n, err := counts.get(r, append([]byte{byte(y)}, box...))
	if errors.Is(err, fault.NotFound) {
		return 0, nil
	}
	return int(n), err
}

func (y tally) put(tx kv.Tx, box []byte, n int) error {
	id := append([]byte{byte(y)}, box...)
	if n <= 0 {
		return tx.Delete(counts.key(id))
	}
	return counts.put(tx, id, uint64(n))
}

// take counts one more record of a mailbox, and refuses it where there is no room.
func (y tally) take(tx kv.Tx, box key.MailboxKey, most Room) error {
	all, err := y.of(tx, nil)
	own, err2 := y.of(tx, box[:])
	if err = errors.Join(err, err2); err != nil {
		return err
	}
	if own >= most.Box || own+1 > most.All-all {
		return fmt.Errorf("market: %d of a mailbox, %d in all are remembered: %w", own, all, fault.Full)
	}
	return errors.Join(y.put(tx, box[:], own+1), y.put(tx, nil, all+1))
}

// give counts records that are gone, of each mailbox so many.
func (y tally) give(tx kv.Tx, gone map[key.MailboxKey]int) error {
	all, err := y.of(tx, nil)
	if err != nil {
		return err
	}
	for box, n := range gone {
		own, err := y.of(tx, box[:])
		if err != nil {
			return err
		}
		if err := y.put(tx, box[:], own-n); err != nil {
			return err
		}
		all -= n
	}
	return y.put(tx, nil, all)
}

// fills shows both bounds: all records, and those of the mailbox that has most.
func (y tally) fills(r kv.Reader, name string, most Room) ([]kv.Fill, error) {
	all, err := y.of(r, nil)
	if err != nil {
		return nil, err
	}
	fullest := uint64(0)
	err = counts.scan(r, []byte{byte(y)}, []byte{byte(y)}, func(_ []byte, n uint64) (bool, error) {
		fullest = max(fullest, n)
		return true, nil
	})
	return []kv.Fill{
		{Name: name, Used: int64(all), Cap: int64(most.All)},
		{Name: name + "-per-box", Used: int64(fullest), Cap: int64(most.Box)},
	}, err
}

// A Once remembers that something of a mailbox was acted on, until a date after which it
// would be refused as expired.
type Once struct {
	_     struct{} `cbor:",toarray"`
	Until uint64
	Box   key.MailboxKey // zero in records of earlier editions, which are not counted
}

// readOnce reads a record; those of earlier editions are a date alone.
func readOnce(raw []byte) (o Once, err error) {
	if kv.DecodeCBOR(raw, &o.Until) == nil {
		return o, nil
	}
	err = kv.DecodeCBOR(raw, &o)
	return o, err
}

// MarkSeen remembers that a letter or envelope of a mailbox was acted on, until its
// expiry, and reports whether it was new. Where there is no room for it: fault.Full, and
// it must not be acted on.
func MarkSeen(tx kv.Tx, box key.MailboxKey, id protocol.Hash, expires protocol.Second, most Room) (fresh bool, err error) {
	known, err := Seen(tx, id)
	if err != nil || known {
		return false, err
	}
	if err := ofSeen.take(tx, box, most); err != nil {
		return false, err
	}
	return true, seen.put(tx, id[:], Once{Until: uint64(expires), Box: box})
}

// Seen reports whether a letter or envelope was acted on before.
func Seen(r kv.Reader, id protocol.Hash) (bool, error) {
	_, err := r.Get(seen.key(id[:]))
	if errors.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil, err
}

// SeenFills shows how many letters are remembered.
func SeenFills(r kv.Reader, name string, most Room) ([]kv.Fill, error) {
	return ofSeen.fills(r, name, most)
}

// sweepBatch is how many records one Sweep looks at and removes at most, of each table.
const sweepBatch = 1024

// A passed record is one whose date has passed.
type passed struct {
	key []byte
	of  tally
	box key.MailboxKey
}

// Sweep forgets letters whose date has passed and sightings older than before, a
// batch at a time. It returns where the next call goes on, nil at the end.
func Sweep(ctx context.Context, s kv.Store, now protocol.Second, beforeMS int64, after []byte) (next []byte, err error) {
	var gone []passed
	err = s.View(ctx, func(r kv.Reader) error {
		looked := 0
		err := r.Scan([]byte(seen), after, func(k, raw []byte) (bool, error) {
			o, err := readOnce(raw)
			if next = slices.Clone(k); o.Until <= uint64(now) {
				gone = append(gone, passed{next, ofSeen, o.Box})
			}
			looked++
			return looked < sweepBatch, err
		})
		if err != nil || looked >= sweepBatch {
			return err
		}
		next = nil
		return sightings.scan(r, nil, nil, func(id []byte, v Sighting) (bool, error) {
			if v.AtMS < beforeMS {
				gone = append(gone, passed{sightings.key(id), ofSightings, v.Box})
			}
			return len(gone) < 2*sweepBatch, nil
		})
	})
	if err != nil || len(gone) == 0 {
		return next, err
	}
	return next, s.Update(ctx, func(tx kv.Tx) error { return forget(tx, gone) })
}

// forget deletes records that are still there, and counts them.
func forget(tx kv.Tx, gone []passed) error {
	fewer := map[tally]map[key.MailboxKey]int{ofSeen: {}, ofSightings: {}}
	for _, g := range gone {
		_, err := tx.Get(g.key)
		if errors.Is(err, fault.NotFound) {
			continue
		}
		if err = errors.Join(err, tx.Delete(g.key)); err != nil {
			return err
		}
		if g.box != (key.MailboxKey{}) {
			fewer[g.of][g.box]++
		}
	}
	return errors.Join(ofSeen.give(tx, fewer[ofSeen]), ofSightings.give(tx, fewer[ofSightings]))
}
