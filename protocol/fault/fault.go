// Package fault names the kinds of error that a node knows, and with them what a
// stranger may learn when something is refused.
//
// A kind is itself an error, so wrapping is
//
//	fmt.Errorf("vault: %s: %w", name, fault.Denied)
//
// and asking is errors.Is(err, fault.Denied). A fault is an error of this
// program's own making or of one request; a broken promise between two parties
// is a lapse and has its own noun in package protocol.
package fault

import "errors"

// A Kind is the part of an error that may leave this machine. The numbers are on
// the wire: append, never reorder.
type Kind uint8

const (
	Internal    Kind = iota // our own doing; nobody else is told more than that
	Malformed               // wrong bytes, wrong tomorrow too: do not retry
	Expired                 // right once, or a date that no longer holds
	Denied                  // not allowed: no grant, key or right covers it
	NotFound                // no such thing, or no right to know of it
	Offline                 // nobody there: retry later
	Full                    // a bound was reached: retry later
	Unsupported             // a version, kind or feature that this node does not know
	Conflict                // it was already done differently, or the state does not allow it
	Locked                  // the vault is locked: unlock it first
)

var names = [...]string{
	"internal error", "malformed", "expired", "denied", "not found", "offline", "full",
	"unsupported", "conflict", "locked",
}

// Error makes a Kind usable as an error and as a target of errors.Is.
func (k Kind) Error() string { return names[min(int(k), len(names)-1)] }

// Outside is the kind that a stranger gets to see. A stranger must not learn,
// from the difference between Denied and NotFound, what a vault holds; nor that
// the vault is locked, or what exactly broke.
func (k Kind) Outside() Kind {
	if k == Denied || k == Locked {
		return NotFound
	}
	return k
}

// Of finds the kind in err's chain; an error without one is Internal.
func Of(err error) Kind {
	var k Kind
	if errors.As(err, &k) {
		return k
	}
	return Internal
}
