package market

import (
	"errors"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
)

// Signed messages are kept for as long as the node lives, like the ledger that names
// them: what was agreed, and who broke it, must be shown also years after. So there is no
// number of them beyond which one would have to go or a revocation could not be kept;
// their bound is the disk, whose last part the store leaves alone (kv.Open). What others
// can make this node sign for or keep is bounded where it comes in: agreements, requests
// of a context, offers of a grant, letters of a mailbox. How much there is can be seen.

// An Evidence is how many signed messages are kept, and their bytes.
type Evidence struct{ Envelopes, Bytes int }

const (
	ofEnvelopes     tally = 'e'
	ofEnvelopeBytes tally = 'E'
)

// EvidenceOf tells how much there is.
func EvidenceOf(r kv.Reader) (e Evidence, err error) {
	var err2 error
	e.Envelopes, err = ofEnvelopes.of(r, nil)
	e.Bytes, err2 = ofEnvelopeBytes.of(r, nil)
	return e, errors.Join(err, err2)
}

func putEvidence(tx kv.Tx, e Evidence) error {
	return errors.Join(counts.put(tx, []byte{byte(ofEnvelopes)}, uint64(max(0, e.Envelopes))),
		counts.put(tx, []byte{byte(ofEnvelopeBytes)}, uint64(max(0, e.Bytes))))
}

// CountEvidence counts what an earlier edition has kept and did not count.
func CountEvidence(tx kv.Tx) error {
	_, err := counts.get(tx, []byte{byte(ofEnvelopes)})
	if !errors.Is(err, fault.NotFound) {
		return err
	}
	var e Evidence
	err = envelopes.scan(tx, nil, nil, func(_, raw []byte) (bool, error) {
		e.Envelopes, e.Bytes = e.Envelopes+1, e.Bytes+len(raw)
		return true, nil
	})
	return errors.Join(err, putEvidence(tx, e))
}

// change counts one envelope that was so large, and is now.
func change(tx kv.Tx, id protocol.Hash, raw []byte) error {
	e, err := EvidenceOf(tx)
	if err != nil {
		return err
	}
	old, err := envelopes.get(tx, id[:])
	switch {
	case errors.Is(err, fault.NotFound):
	case err != nil:
		return err
	default:
		e.Envelopes, e.Bytes = e.Envelopes-1, e.Bytes-len(old)
	}
	if raw != nil {
		e.Envelopes, e.Bytes = e.Envelopes+1, e.Bytes+len(raw)
	}
	return putEvidence(tx, e)
}

// PutEnvelope keeps signed bytes under their hash, as evidence.
func PutEnvelope(tx kv.Tx, id protocol.Hash, raw []byte) error {
	return errors.Join(change(tx, id, raw), envelopes.put(tx, id[:], raw))
}

// DeleteEnvelope forgets one that holds values which were to be deleted.
func DeleteEnvelope(tx kv.Tx, id protocol.Hash) error {
	return errors.Join(change(tx, id, nil), tx.Delete(envelopes.key(id[:])))
}

// GetEnvelope finds them; fault.NotFound.
func GetEnvelope(r kv.Reader, id protocol.Hash) ([]byte, error) { return envelopes.get(r, id[:]) }
