// Package phrase turns a passphrase into a key.
//
// A passphrase is guessable, so each guess must be dear: Argon2id (RFC 9106) makes
// it cost memory as well as time. The parameters and the random salt are not secret
// and lie beside what the key locks; they can be raised later by sealing anew.
//
// The passphrase is a string of bytes. Nothing is normalised: no trimming, no case
// folding, no Unicode normal form. "é" typed as one character and as two makes two
// keys. Whoever reads a passphrase from a person decides once, there, what to strip
// (such as the line's end), because a rule that changed here would lock people out.
package phrase

import (
	"errors"
	"fmt"

	"github.com/harkmarket/hark/crypto/key"
	"golang.org/x/crypto/argon2"
)

var (
	// ErrEmpty is returned for a passphrase of no bytes: it is no lock.
	ErrEmpty = errors.New("phrase: empty passphrase")
	// ErrParams is returned for parameters that Check refuses.
	ErrParams = errors.New("phrase: parameters out of bounds")
)

// Params are the costs of Argon2id.
type Params struct {
	Time      uint32 // passes over the memory
	MemoryKiB uint32 // memory in KiB
	Threads   uint8  // lanes; part of the result, whatever the number of cores
}

// Bounds of what Check accepts. The upper ones leave room to grow sixteenfold and
// keep a hostile or damaged file from asking for all memory or for hours.
const (
	MaxTime      = 16
	MaxMemoryKiB = 1 << 20 // 1 GiB
	MaxThreads   = 16
)

// Default is the second recommended option of RFC 9106 section 4: 3 passes over
// 64 MiB in 4 lanes. The first option takes 2 GiB, too much for a small machine that
// also runs a node. 4 lanes, though few machines need them: they cost a guesser as
// much as one lane does, they let the owner wait a fraction where she has the cores,
// and staying with the RFC's very figures makes the choice checkable.
func Default() Params { return Params{Time: 3, MemoryKiB: 64 << 10, Threads: 4} }

// Cheap is for tests and nothing else: it takes less than a millisecond.
func Cheap() Params { return Params{Time: 1, MemoryKiB: 64, Threads: 1} }

// Check refuses, with ErrParams, what Argon2id does not define (RFC 9106 section
// 3.1: no passes, no lanes, less than 8 KiB a lane) and costs above the bounds. Call
// it on whatever was read from a disk; Key does so too.
func (p Params) Check() error {
	switch {
	case p.Time < 1 || p.Time > MaxTime:
		return fmt.Errorf("%w: %d passes, 1 to %d", ErrParams, p.Time, MaxTime)
	case p.Threads < 1 || p.Threads > MaxThreads:
		return fmt.Errorf("%w: %d lanes, 1 to %d", ErrParams, p.Threads, MaxThreads)
	case p.MemoryKiB < 8*uint32(p.Threads) || p.MemoryKiB > MaxMemoryKiB:
		return fmt.Errorf("%w: %d KiB, %d to %d", ErrParams, p.MemoryKiB, 8*uint32(p.Threads), MaxMemoryKiB)
	}
	return nil
}

// Key derives the 32-byte key of a passphrase with Argon2id, version 0x13, without
// secret or associated data. The salt is random, one for each use. It fails for an
// empty passphrase (ErrEmpty) and for parameters out of bounds (ErrParams). There is
// no wrong passphrase here: what the key locks does not open, that is all.
func Key(passphrase []byte, salt [16]byte, p Params) (key.Secret, error) {
	if len(passphrase) == 0 {
		return key.Secret{}, ErrEmpty
	}
	if err := p.Check(); err != nil {
		return key.Secret{}, err
	}
	return key.SecretFrom(argon2.IDKey(passphrase, salt[:], p.Time, p.MemoryKiB, p.Threads, key.SecretSize))
}
