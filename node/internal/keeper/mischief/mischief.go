// Package mischief is what a keeper does that breaks a promise on purpose, so that a
// demonstration or an attack test can show that the others notice.
//
//  1. Drops says of each letter that comes in whether it is thrown away; some that are
//     not are stowed.
//  2. Given makes of the letters that a reader should get those that it gets.
//  3. Blames says which announcements are blamed although nothing is wrong with them.
package mischief

import (
	"bytes"
	"slices"
	"sync"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol/wire"
)

// A Misbehaviour is a promise that a keeper breaks.
type Misbehaviour string

// The misbehaviours of a keeper. Others are none of its business.
const (
	WithholdMail Misbehaviour = "withhold-mail" // signs receipts for letters and throws them away
	FlipBits     Misbehaviour = "flip-bits"     // hands out letters with one bit changed
	RollBack     Misbehaviour = "roll-back"     // goes on with an old state: old letters, and no new ones, for which it signs
	ReplayMail   Misbehaviour = "replay-mail"   // hands out again what was deleted
	BlameLater   Misbehaviour = "blame-later"   // holds against others what they say beside what it knows
)

// Bounds of what a keeper that misbehaves holds back.
const (
	atticBoxes   = 1024
	atticLetters = 4       // of one box
	atticLetter  = 9 << 10 // bytes of one
	oldState     = 2       // letters of a box, before a keeper that rolls back
)

// A Mischief is how one keeper behaves; most behave well.
type Mischief struct {
	how   Misbehaviour
	mu    sync.Mutex
	attic map[key.MailboxKey][][]byte // letters that it hands out whatever happens
}

// New begins it; with an empty how it does nothing.
func New(how Misbehaviour) *Mischief {
	return &Mischief{how: how, attic: map[key.MailboxKey][][]byte{}}
}

// Drops tells whether a letter that was deposited is thrown away.
func (m *Mischief) Drops(box key.MailboxKey, letter []byte) bool {
	switch m.how {
	case WithholdMail:
		return true
	case RollBack:
		return !m.stow(box, letter, oldState)
	case ReplayMail:
		m.stow(box, letter, atticLetters)
	}
	return false
}

// Blames tells whether an announcement is held against whoever brings it, for what
// stands in it under ignorable keys.
func (m *Mischief) Blames(raw []byte) bool {
	if m.how != BlameLater {
		return false
	}
	s, err := wire.Open(raw)
	return err == nil && len(s.Extra()) > 0
}

// stow keeps a letter in the attic, if its box has fewer than most there, and tells
// whether it is there.
func (m *Mischief) stow(box key.MailboxKey, letter []byte, most int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.attic[box]
	if slices.ContainsFunc(old, func(o []byte) bool { return bytes.Equal(o, letter) }) {
		return true
	}
	if len(old) >= most || len(m.attic) >= atticBoxes || len(letter) > atticLetter {
		return false
	}
	m.attic[box] = append(old, bytes.Clone(letter))
	return true
}

// Given are letters of a box as this keeper hands them out: what lies in the attic once
// to each who comes.
func (m *Mischief) Given(box key.MailboxKey, letters [][]byte, first bool) [][]byte {
	switch m.how {
	case FlipBits:
		out := make([][]byte, len(letters))
		for i, raw := range letters {
			out[i] = bytes.Clone(raw)
			out[i][len(raw)-1] ^= 1
		}
		return out
	case RollBack, ReplayMail:
		if !first {
			return letters
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		out := slices.Clone(m.attic[box])
		for _, raw := range letters {
			if !slices.ContainsFunc(out, func(o []byte) bool { return bytes.Equal(o, raw) }) {
				out = append(out, raw)
			}
		}
		return out
	}
	return letters
}
