package ledger

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
)

// A Head is a device's signed word on what its ledger was: the first Size entries
// have this Root (RFC 6962 Merkle tree hash). The signature is Ed25519 over
//
//	LP("hark/1/ledger-head") ‖ device[32] ‖ uint64be size ‖ root[32] ‖ uint64be at
type Head struct {
	Size   int64
	Root   [32]byte
	AtMS   int64 // when it was signed, by the device's clock, milliseconds since 1970
	Device key.Public[key.Device]
	Sig    []byte
}

func (h Head) message() []byte { return h.under(seal.LabelLedgerHead) }

func (h Head) under(l seal.Label) []byte {
	m := seal.LP([]byte(l))
	m = append(m, h.Device[:]...)
	m = append(m, be64(h.Size)...)
	m = append(m, h.Root[:]...)
	return append(m, be64(h.AtMS)...)
}

// Check tells whether the device has signed this head.
func (h Head) Check() error {
	if h.Size < 0 || h.Size > maxSize || h.AtMS < 0 {
		return fmt.Errorf("ledger: a head of size %d at %d: %w", h.Size, h.AtMS, fault.Malformed)
	}
	if !h.Device.Verify(h.message(), h.Sig) {
		return fmt.Errorf("ledger: a head of size %d is not signed by %s: %w", h.Size, h.Device, fault.Malformed)
	}
	return nil
}

// Head signs the ledger as r sees it. Inside an Update it includes what the
// transaction has appended, so it must not leave before the Update has returned.
func (l *Ledger) Head(r kv.Reader, atMS int64) (Head, error) {
	edge, err := l.top(r) // a wrong root, once signed, would stand against us for ever
	if err != nil {
		return Head{}, err
	}
	if atMS < 0 {
		return Head{}, fmt.Errorf("ledger: a head at time %d: %w", atMS, fault.Malformed)
	}
	h := Head{Size: edge.size, Root: edge.root(), AtMS: atMS, Device: l.Device()}
	h.Sig = l.device.Sign(h.message())
	return h, nil
}

// SignSum signs, at the end of a file that ends with the head h, the SHA-256 of all
// that stands before: Ed25519 over
//
//	LP("hark/1/ledger-bundle") ‖ device[32] ‖ uint64be size ‖ root[32] ‖ uint64be at ‖ sum[32]
func (l *Ledger) SignSum(h Head, sum [32]byte) []byte {
	return l.device.Sign(append(h.under(seal.LabelLedgerBundle), sum[:]...))
}

// CheckSum tells whether the device of h has signed this sum under h.
func (h Head) CheckSum(sum [32]byte, sig []byte) error {
	if !h.Device.Verify(append(h.under(seal.LabelLedgerBundle), sum[:]...), sig) {
		return fmt.Errorf("ledger: %s has not signed these bytes: %w", h.Device, fault.Malformed)
	}
	return nil
}

// RootAt is the root that the ledger had when it held size entries.
func (l *Ledger) RootAt(r kv.Reader, size int64) ([32]byte, error) {
	if err := l.within(r, size); err != nil {
		return [32]byte{}, err
	}
	root, err := tlog.TreeHash(size, nodes(r))
	return root, err
}

// within refuses a size that the ledger has not reached.
func (l *Ledger) within(r kv.Reader, size int64) error {
	now, err := l.Size(r)
	if err != nil {
		return err
	}
	if size < 0 || size > now {
		return fmt.Errorf("ledger: no size %d in a ledger of %d: %w", size, now, fault.NotFound)
	}
	return nil
}

// Blind is a commitment to a head that a counterparty countersigns without learning
// how much else happened: SHA-256(LP("hark/1/ledger-blind") ‖ salt[16] ‖ uint64be
// size ‖ root[32]). The salt is random, kept by the owner, and used once.
func Blind(h Head, salt [16]byte) [32]byte { return blind(h.Size, h.Root, salt) }

func blind(size int64, root [32]byte, salt [16]byte) [32]byte {
	return seal.Digest(seal.LabelLedgerBlind, salt[:], be64(size), root[:])
}

// Unblind shows, long after, that the head h continues what b committed to: size,
// root and salt are what b was made of, and p is the growth from there to h.
func Unblind(b [32]byte, salt [16]byte, root [32]byte, h Head, p Growth) error {
	if err := h.Check(); err != nil {
		return err
	}
	if blind(p.Old, root, salt) != b {
		return fmt.Errorf("ledger: another size, root or salt than was committed to: %w", fault.Malformed)
	}
	return CheckGrowth(root, h.Root, p, h.Size)
}

// A ForkError proves that one device signed two histories. It holds all that a
// third person needs to see it, see Check, so it stays good when the device is gone.
type ForkError struct{ A, B Head } // one device, one size, two roots, both signed

// Error says who is accused of what.
func (e *ForkError) Error() string {
	return fmt.Sprintf("ledger: %s signed two heads of size %d", e.A.Device, e.A.Size)
}

// Unwrap makes a fork a fault.Conflict.
func (*ForkError) Unwrap() error { return fault.Conflict }

// Check returns nil when the accusation holds, whoever brings it.
func (e *ForkError) Check() error {
	if err := e.A.Check(); err != nil {
		return err
	}
	if err := e.B.Check(); err != nil {
		return err
	}
	if e.A.Device != e.B.Device || e.A.Size != e.B.Size || e.A.Root == e.B.Root {
		return fmt.Errorf("ledger: these two heads do not contradict each other: %w", fault.Malformed)
	}
	return nil
}

// A RollbackError tells that a device signed a smaller head later. It is a reason
// to ask and not yet a proof: a clock that was set back looks the same.
type RollbackError struct{ Old, New Head }

// Error says what went back.
func (e *RollbackError) Error() string {
	return fmt.Sprintf("ledger: %s went back from size %d to %d", e.New.Device, e.Old.Size, e.New.Size)
}

// Unwrap makes a rollback a fault.Conflict.
func (*RollbackError) Unwrap() error { return fault.Conflict }

// Follow moves our view of a ledger from old to the head next, or says why it must
// not move, and returns the head to keep. p proves the growth from old to next; it
// is not looked at unless next is larger. A zero old means that this is the first
// head that we see of that ledger: its signature is all there is to check.
//
// A proof that fails is only a bad answer and blames nobody: whoever handed it
// over may have taken the wrong one. Two signed heads of one size, a *ForkError,
// are the device's own word against itself.
func Follow(old, next Head, p Growth) (Head, error) {
	if err := next.Check(); err != nil {
		return old, err
	}
	if old.Device.IsZero() {
		return next, nil
	}
	if err := old.Check(); err != nil {
		return old, err
	}
	switch {
	case next.Device != old.Device:
		return old, fmt.Errorf("ledger: a head of %s, not of %s: %w", next.Device, old.Device, fault.Malformed)
	case next.Size == old.Size && next.Root != old.Root:
		return old, &ForkError{A: old, B: next}
	case next.Size < old.Size && next.AtMS > old.AtMS:
		return old, &RollbackError{Old: old, New: next}
	case next.Size < old.Size, next.Size == old.Size && next.AtMS <= old.AtMS:
		return old, nil // an older head of the same story, as far as we know
	case next.Size == old.Size:
		return next, nil // nothing happened since
	case p.Old != old.Size:
		return old, fmt.Errorf("ledger: growth from size %d, wanted %d: %w", p.Old, old.Size, fault.Malformed)
	}
	if err := CheckGrowth(old.Root, next.Root, p, next.Size); err != nil {
		return old, err
	}
	return next, nil
}
