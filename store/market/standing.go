package market

import (
	"slices"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/store/kv"
)

// A Standing is what a grant needs to go on by itself while it lives: what was given
// last, what is given no longer, and how often.
type Standing struct {
	PerDay   uint32               // at most so many disclosures in any 24 hours; 0: as many as it takes
	Withheld []protocol.FieldName // taken back, one field at a time; at most protocol.MaxFields
	Given    []Given              // customer: what the latest disclosure held, never a value
	Updates  uint64               // customer: disclosures that went because something changed
	Sent     []protocol.Second    // customer: disclosures of the last 24 hours, where PerDay counts them; at most MaxPerDay
	Dropped  []string             // vendor: what was deleted before the grant ended: with a lease, upon a right, or because its owner said so
	Exported []protocol.FieldName // vendor: values that were written out of the node; at most protocol.MaxFields
}

// Given names one version of a field.
type Given struct {
	Name    protocol.FieldName
	Version uint64
}

// Lacks reports whether a field was taken back.
func (s *Standing) Lacks(f protocol.FieldName) bool { return slices.Contains(s.Withheld, f) }

// Withhold takes fields back, for good: what was given of them is given no more.
func (s *Standing) Withhold(fields ...protocol.FieldName) {
	for _, f := range fields {
		if !s.Lacks(f) && len(s.Withheld) < protocol.MaxFields {
			s.Withheld = append(s.Withheld, f)
		}
	}
	s.Given = slices.DeleteFunc(s.Given, func(g Given) bool { return s.Lacks(g.Name) })
}

// Room reports whether one more disclosure may go now, and if not, from when on; zero
// where only the end of a lease makes room. One of each day stays free for the lease.
func (s *Standing) Room(renewal bool, now protocol.Second) (ok bool, from protocol.Second) {
	most := int(s.PerDay)
	if most == 0 {
		return true, 0
	}
	if !renewal {
		most--
	}
	s.Sent = slices.DeleteFunc(s.Sent, func(at protocol.Second) bool { return at+protocol.Day <= now })
	switch {
	case len(s.Sent) < most:
		return true, 0
	case most == 0:
		return false, 0
	}
	return false, s.Sent[len(s.Sent)-most] + protocol.Day
}

// Count notes a disclosure.
func (s *Standing) Count(now protocol.Second) {
	if s.PerDay > 0 {
		s.Sent = append(s.Sent, now)
		s.Sent = s.Sent[max(0, len(s.Sent)-protocol.MaxPerDay):]
	}
}

// Deadlines of disclosures: DueUpdate, with the id zero, is when living grants are
// compared with the vault; DueLater is when a disclosure goes that had to wait.
const (
	DueUpdate What = 'u'
	DueLater  What = 'l'
)

// Settle is how long the vault rests before a change goes out, so that several changes
// make one letter.
const Settle = 2000 // milliseconds

// Touch says, in the transaction that changes the vault, that living grants are to be
// compared with it soon.
func Touch(tx kv.Tx, nowMS int64) error {
	if _, err := dueOf.get(tx, append([]byte{byte(DueUpdate)}, make([]byte, 32)...)); err == nil {
		return nil // it is due already
	}
	return SetDue(tx, DueUpdate, [32]byte{}, nowMS+Settle)
}

// moves names the contexts whose living grants must go to a new body key, and since when.
const moves table[int64] = "k/m/"

// PutMove says, in the transaction that revokes a grant, that the others of its context
// must go to a new body key.
func PutMove(tx kv.Tx, c protocol.ContextID, nowMS int64) error { return moves.put(tx, c[:], nowMS) }

// DeleteMove says that they went, or that there is none.
func DeleteMove(tx kv.Tx, c protocol.ContextID) error { return tx.Delete(moves.key(c[:])) }

// EachMove calls fn for every context that waits for it.
func EachMove(r kv.Reader, fn func(c protocol.ContextID, sinceMS int64) (bool, error)) error {
	return moves.scan(r, nil, nil, func(id []byte, sinceMS int64) (bool, error) {
		return fn(protocol.ContextID(id), sinceMS)
	})
}
