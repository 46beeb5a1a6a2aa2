package market

import (
	"errors"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
)

// A Sighting is what this node found, as a reader, of one letter at its keepers.
type Sighting struct {
	Letter   protocol.Hash
	Box      key.MailboxKey
	AtMS     int64
	Missing  []key.KeeperKey // did not have it when it was to be deleted
	Altered  []key.KeeperKey // had another one in its slot
	Replayed []key.KeeperKey // showed it again after they had confirmed that it was deleted
	First    bool            // it came without a capability: keepers may have dropped it for a better one
	Proof    []protocol.DepositReceipt
	Finished bool
}

// Proven tells which receipt shows that a keeper had signed for the letter before it
// was found wanting.
func (s Sighting) Proven(k key.KeeperKey) (protocol.DepositReceipt, bool) {
	for _, r := range s.Proof {
		if r.Keeper == k && r.Letter == s.Letter && r.Box == s.Box && int64(r.At)*1000 < s.AtMS && !s.First {
			return r, true
		}
	}
	return protocol.DepositReceipt{}, false
}

// Lied are the keepers that had signed for the letter and lacked it.
func (s Sighting) Lied() []key.KeeperKey { return s.proven(s.Missing) }

// Doubted are those that had signed for the letter and handed out another one.
func (s Sighting) Doubted() []key.KeeperKey { return s.proven(s.Altered) }

func (s Sighting) proven(list []key.KeeperKey) (out []key.KeeperKey) {
	for _, k := range list {
		if _, ok := s.Proven(k); ok {
			out = append(out, k)
		}
	}
	return out
}

// PutSighting keeps what was found of a letter at its keepers, or forgets it where nothing
// is left of it. One more than there is room for gives fault.Full: those that are there
// stay, since a receipt may make proof of each.
func PutSighting(tx kv.Tx, s Sighting, most Room) error {
	_, err := tx.Get(sightings.key(s.Letter[:]))
	isNew := errors.Is(err, fault.NotFound)
	if err != nil && !isNew {
		return err
	}
	nothing := len(s.Missing)+len(s.Altered)+len(s.Replayed) == 0
	switch {
	case nothing && isNew:
		return nil
	case nothing:
		return errors.Join(tx.Delete(sightings.key(s.Letter[:])), ofSightings.give(tx, map[key.MailboxKey]int{s.Box: 1}))
	case isNew:
		if err := ofSightings.take(tx, s.Box, most); err != nil {
			return err
		}
	}
	return sightings.put(tx, s.Letter[:], s)
}

// SightingFills shows how many there are.
func SightingFills(r kv.Reader, name string, most Room) ([]kv.Fill, error) {
	return ofSightings.fills(r, name, most)
}

// GetSighting finds it; fault.NotFound.
func GetSighting(r kv.Reader, id protocol.Hash) (Sighting, error) { return sightings.get(r, id[:]) }

// EachSighting calls fn for every sighting after the given letter id.
func EachSighting(r kv.Reader, after []byte, fn func(Sighting) (bool, error)) error {
	return sightings.scan(r, nil, after, func(_ []byte, s Sighting) (bool, error) { return fn(s) })
}

// Told are receipts of keepers for letters that arrived, to be passed on to their
// reader with the next message under the grant.
type Told struct{ Receipts []protocol.DepositReceipt }

// PutTold keeps them; none forgets them.
func PutTold(tx kv.Tx, grant protocol.GrantID, list []protocol.DepositReceipt) error {
	if len(list) == 0 {
		return tx.Delete(told.key(grant[:]))
	}
	return told.put(tx, grant[:], Told{list})
}

// GetTold finds them; none is no error.
func GetTold(r kv.Reader, grant protocol.GrantID) ([]protocol.DepositReceipt, error) {
	v, err := told.get(r, grant[:])
	if errors.Is(err, fault.NotFound) {
		return nil, nil
	}
	return v.Receipts, err
}
