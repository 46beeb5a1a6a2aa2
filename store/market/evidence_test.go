package market

import (
	"testing"

	"github.com/harkmarket/hark/store/kv"
)

// How much evidence there is follows each change, and what an earlier edition kept is
// counted once.
func TestEvidenceIsCounted(t *testing.T) {
	s := open()
	has := func(envelopes, bytes int) {
		t.Helper()
		view(t, s, func(r kv.Reader) error {
			e, err := EvidenceOf(r)
			if e != (Evidence{envelopes, bytes}) {
				t.Errorf("%+v, want %d of %d bytes", e, envelopes, bytes)
			}
			return err
		})
	}
	do := func(fn func(kv.Tx) error) { t.Helper(); update(t, s, fn) }
	id, id2 := h(1), h(2)
	do(func(tx kv.Tx) error { return envelopes.put(tx, id[:], make([]byte, 100)) }) // of an earlier edition
	for range 2 {
		do(CountEvidence)
		has(1, 100)
	}
	do(func(tx kv.Tx) error { return PutEnvelope(tx, id2, make([]byte, 10)) })
	has(2, 110)
	do(func(tx kv.Tx) error { return PutEnvelope(tx, id2, make([]byte, 10)) })
	has(2, 110)
	do(func(tx kv.Tx) error { return DeleteEnvelope(tx, id) })
	has(1, 10)
	do(func(tx kv.Tx) error { return DeleteEnvelope(tx, id) })
	has(1, 10)
	do(func(tx kv.Tx) error { return DeleteEnvelope(tx, id2) })
	has(0, 0)
	do(CountEvidence)
	has(0, 0)
}
