// Package answers keeps what programs on this machine were answered, by the key that
// they sent with a request, so that the same request sent again, also after a crash,
// happens once.
//
//  1. A request comes with a key; [Answers.Find] has nothing.
//  2. The transaction that has its effect also notes, with [Answers.Mark], that the key
//     is used, and the id of what was made. A crash leaves both or neither.
//  3. The answer is kept whole with [Answers.Keep], and only then given.
//  4. The same request again: Find gives the answer; or, where a crash came between 2
//     and 3, the mark, with which the present state of what was made can be shown.
//
// What is kept lies in the private, sealed store. Of a key only a hash under a salt is
// kept, which is in the sealed store too, since keys are readable on disk. A request is
// known by its Sum (see [NewSum]), which is made with the key: whoever lacks the key can't try
// guesses on a request that held a short secret.
//
// Bounds are a number, a number of bytes, and an age; the oldest give way.
package answers

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"slices"
	"time"

	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
)

// Limits are the bounds. What is zero is as in the default.
type Limits struct {
	Items int
	Bytes int64 // of all answers' bodies
	Life  time.Duration
}

// The default bounds, and those that nothing changes.
const (
	Items   = 4096
	Bytes   = 8 << 20
	Life    = 24 * time.Hour
	MaxBody = 256 << 10 // bytes of one body
	MaxMade = 160       // bytes of an id
)

// drops is how many answers give way in one transaction at most.
const drops = 256

// An Answer is what is kept under one key. Status 0 is a mark: the request had its
// effect, and no answer was kept.
type Answer struct {
	Sum    [32]byte
	AtMS   int64  // of the effect, or of the answer where no effect was marked
	Made   string // the id of what it made, where it made something
	Status int
	Kind   string // media type of Body
	Body   []byte
	Cut    bool // Body was larger than MaxBody and is not kept

	by uint64 // of a mark
}

// A Request is one with a key, under way.
type Request struct {
	Key   string
	Sum   [32]byte
	By    uint64 // drawn anew for each time that it is asked
	Since int64  // where it was marked the time before, and not answered: when; else 0
	Made  string // then: the id of what it made
}

// Answers keeps answers in a private, sealed store.
type Answers struct {
	store kv.Store
	lim   Limits
}

// Open reads and writes nothing yet.
func Open(store kv.Store, lim Limits) *Answers {
	return &Answers{store: store, lim: Limits{
		Items: cmp.Or(lim.Items, Items), Bytes: cmp.Or(lim.Bytes, Bytes), Life: cmp.Or(lim.Life, Life),
	}}
}

// NewSum begins the Sum of a request: write to it what the request is.
func NewSum(key string) hash.Hash { return hmac.New(sha256.New, []byte(key)) }

// On disk. No transaction scans: one that does runs with nobody beside it.
var (
	keyState    = []byte("answers/state")
	prefixRow   = []byte("answers/k/") // by the name of a key: a row
	prefixBody  = []byte("answers/b/") // the same: the answer's body
	prefixOrder = []byte("answers/o/") // by age: names
)

type name = [32]byte

// state counts, and says which numbers are in use: Oldest and those up to Next, but for
// gaps.
type state struct {
	Salt   [32]byte `cbor:"1,keyasint"`
	Oldest uint64   `cbor:"2,keyasint"`
	Next   uint64   `cbor:"3,keyasint"`
	Items  int      `cbor:"4,keyasint"`
	Bytes  int64    `cbor:"5,keyasint"`
}

type row struct {
	N      uint64   `cbor:"1,keyasint"`
	AtMS   int64    `cbor:"2,keyasint"`
	Sum    [32]byte `cbor:"3,keyasint"`
	Made   string   `cbor:"4,keyasint,omitempty"`
	Status int      `cbor:"5,keyasint,omitempty"`
	Kind   string   `cbor:"6,keyasint,omitempty"`
	Size   int64    `cbor:"7,keyasint,omitempty"`
	Cut    bool     `cbor:"8,keyasint,omitempty"`
	By     uint64   `cbor:"9,keyasint,omitempty"`
}

func rowKey(n name) []byte      { return slices.Concat(prefixRow, n[:]) }
func bodyKey(n name) []byte     { return slices.Concat(prefixBody, n[:]) }
func orderKey(at uint64) []byte { return binary.BigEndian.AppendUint64(slices.Clone(prefixOrder), at) }

func readState(r kv.Reader) (st state, err error) {
	if err = kv.GetCBOR(r, keyState, &st); errors.Is(err, fault.NotFound) {
		return state{}, nil
	} else if err != nil {
		err = fmt.Errorf("answers: state: %w", err)
	}
	return st, err
}

func (st *state) name(key string) (n name) {
	h := hmac.New(sha256.New, st.Salt[:])
	h.Write([]byte(key))
	return name(h.Sum(nil))
}

// find gives a key's row; one that is past its age is as good as none, and old.
func (a *Answers) find(r kv.Reader, n name, nowMS int64) (w row, old bool, err error) {
	if err = kv.GetCBOR(r, rowKey(n), &w); err != nil {
		return w, false, err
	}
	return w, a.past(w, nowMS), nil
}

func (a *Answers) past(w row, nowMS int64) bool { return w.AtMS+a.lim.Life.Milliseconds() <= nowMS }

// Find gives what is kept under a key, or fault.NotFound.
func (a *Answers) Find(ctx context.Context, key string, nowMS int64) (ans Answer, err error) {
	err = a.store.View(ctx, func(r kv.Reader) error {
		st, err := readState(r)
		if err != nil {
			return err
		}
		n := st.name(key)
		w, old, err := a.find(r, n, nowMS)
		if err == nil && old {
			err = fault.NotFound
		}
		if err != nil {
			return fmt.Errorf("answers: %w", err)
		}
		ans = Answer{Sum: w.Sum, AtMS: w.AtMS, Made: w.Made, Status: w.Status, Kind: w.Kind, Cut: w.Cut}
		if w.Size > 0 {
			ans.Body, err = r.Get(bodyKey(n))
		}
		return err
	})
	return ans, err
}

// Mark notes inside the transaction of a request's effect that its key is used.
// fault.Conflict where it was used for another request, or was answered, or another time
// that the same was asked was quicker.
func (a *Answers) Mark(tx kv.Tx, q Request, made string, nowMS int64) error {
	if len(made) > MaxMade {
		return fmt.Errorf("answers: an id of %d bytes: %w", len(made), fault.Malformed)
	}
	st, err := readState(tx)
	if err != nil {
		return err
	}
	w, old, err := a.find(tx, st.name(q.Key), nowMS)
	if err == nil && !old && (w.Status != 0 || w.By != q.By && q.Since == 0) {
		return fmt.Errorf("this request was done before: %w", fault.Conflict)
	}
	kept, err := a.put(tx, &st, q.Key, Answer{Sum: q.Sum, Made: made, AtMS: nowMS, by: q.By}, 8)
	if err == nil && !kept {
		err = fmt.Errorf("answers: no room was made: %w", fault.Internal)
	}
	return err
}

// Keep keeps the answer to a request, marked or not; of one that is larger than MaxBody
// that it was given.
func (a *Answers) Keep(ctx context.Context, key string, ans Answer, nowMS int64) error {
	ans.AtMS = nowMS
	if len(ans.Body) > MaxBody || int64(len(ans.Body)) > a.lim.Bytes {
		ans.Kind, ans.Body, ans.Cut = "", nil, true
	}
	for range a.lim.Items/drops + 2 { // as many as make room, if all have to go
		kept := false
		err := a.store.Update(ctx, func(tx kv.Tx) error {
			st, err := readState(tx)
			if err == nil {
				kept, err = a.put(tx, &st, key, ans, drops)
			}
			return err
		})
		if err != nil || kept {
			return err
		}
	}
	return fmt.Errorf("answers: no room was made: %w", fault.Internal)
}

// put writes a key's row and body, where there is room. kept is false where more than
// drops have to give way: those went, and it is to be tried again.
func (a *Answers) put(tx kv.Tx, st *state, key string, ans Answer, drops int) (kept bool, err error) {
	if st.Salt == ([32]byte{}) {
		_, _ = rand.Read(st.Salt[:]) // never fails
	}
	n := st.name(key)
	w, old, err := a.find(tx, n, ans.AtMS)
	if err == nil && old {
		err = errors.Join(st.drop(tx, n, w), fault.NotFound)
	}
	switch {
	case errors.Is(err, fault.NotFound):
		w = row{N: st.Next, AtMS: ans.AtMS, Sum: ans.Sum}
	case err != nil:
		return false, err
	case w.Sum != ans.Sum:
		return false, fmt.Errorf("the key was used for another request: %w", fault.Conflict)
	}
	want := need{by: n, bytes: int64(len(ans.Body)) - w.Size, nowMS: ans.AtMS}
	if w.N == st.Next {
		want.items = 1
	}
	room, err := a.makeRoom(tx, st, drops, want)
	if err != nil || !room {
		return false, errors.Join(err, kv.PutCBOR(tx, keyState, st))
	}
	if want.items > 0 {
		st.Next, st.Items = st.Next+1, st.Items+1
		err = tx.Put(orderKey(w.N), n[:])
	}
	st.Bytes += want.bytes
	w.Made, w.Status, w.Kind, w.Size, w.Cut, w.By = cmp.Or(ans.Made, w.Made), ans.Status, ans.Kind, int64(len(ans.Body)), ans.Cut, ans.by
	err = errors.Join(err, kv.PutCBOR(tx, rowKey(n), w), kv.PutCBOR(tx, keyState, st))
	if w.Size > 0 {
		err = errors.Join(err, tx.Put(bodyKey(n), ans.Body))
	}
	return true, err
}

// makeRoom lets at most so many of the oldest go: those past their age, and as many as
// are too many, but not the one that room is made for. It says whether there is room then.
func (a *Answers) makeRoom(tx kv.Tx, st *state, most int, want need) (room bool, err error) {
	for at := st.Oldest; at < st.Next && most > 0; at++ {
		raw, err := tx.Get(orderKey(at))
		if err == nil && len(raw) != len(name{}) {
			err = fmt.Errorf("answers: a name of %d bytes: %w", len(raw), fault.Malformed)
		}
		if err != nil && !errors.Is(err, fault.NotFound) {
			return false, err
		}
		if err == nil && name(raw) == want.by {
			continue
		}
		if err == nil { // else it was dropped out of turn
			w, old, err := a.find(tx, name(raw), want.nowMS)
			if err != nil {
				return false, fmt.Errorf("answers: %w", err)
			}
			if !old && a.fits(st, want) {
				break
			}
			if err := st.drop(tx, name(raw), w); err != nil {
				return false, err
			}
			most--
		}
		if at == st.Oldest {
			st.Oldest++
		}
	}
	return a.fits(st, want), nil
}

// A need is what room is made for.
type need struct {
	by    name
	items int
	bytes int64
	nowMS int64
}

func (a *Answers) fits(st *state, n need) bool {
	return st.Items+n.items <= a.lim.Items && st.Bytes+n.bytes <= a.lim.Bytes
}

// Sweep forgets what is past its age, a bounded number at once.
func (a *Answers) Sweep(ctx context.Context, nowMS int64) error {
	return a.store.Update(ctx, func(tx kv.Tx) error {
		st, err := readState(tx)
		if err != nil || st.Items == 0 {
			return err
		}
		if _, err := a.makeRoom(tx, &st, a.lim.Items, need{nowMS: nowMS}); err != nil {
			return err
		}
		return kv.PutCBOR(tx, keyState, st)
	})
}

// drop forgets one answer.
func (st *state) drop(tx kv.Tx, n name, w row) error {
	st.Items, st.Bytes = st.Items-1, st.Bytes-w.Size
	err := errors.Join(tx.Delete(rowKey(n)), tx.Delete(orderKey(w.N)))
	if w.Size > 0 {
		err = errors.Join(err, tx.Delete(bodyKey(n)))
	}
	return err
}

// Fills tells how many answers are kept, and their bytes.
func (a *Answers) Fills(r kv.Reader) ([]kv.Fill, error) {
	st, err := readState(r)
	return []kv.Fill{
		{Name: "api.answers", Used: int64(st.Items), Cap: int64(a.lim.Items)},
		{Name: "api.answer-bytes", Used: st.Bytes, Cap: a.lim.Bytes},
	}, err
}
