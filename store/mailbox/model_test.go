package mailbox_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/mailbox"
	"github.com/harkmarket/hark/store/storetest"
)

// The model is the rules of the package comment, written the slow way.
type model struct {
	letters []kept // in order of deposit
	tombs   map[string]protocol.Second
	revoked map[string]protocol.Second
}

type kept struct {
	box, name    string
	cap          string
	vendor       string
	tier, work   int
	due, expires protocol.Second
}

func (k kept) key() string { return k.box + "/" + k.name }

var modelPolicy = mailbox.Policy{FirstPerBox: 4, FirstVouched: 2, LettersPerBox: 6}

// try is what a deposit should come to, by fault kind; Internal stands for success.
func (m *model) try(k kept, letters int, at protocol.Second) fault.Kind {
	if k.cap != "" && m.revoked[k.box+k.cap] > at {
		return fault.Denied
	}
	if slices.ContainsFunc(m.letters, func(o kept) bool { return o.key() == k.key() }) {
		return fault.Internal
	}
	if m.tombs[k.key()] > at {
		return fault.Conflict
	}
	count := func(match func(o kept) bool) (n int) {
		for _, o := range m.letters {
			if o.box == k.box && match(o) {
				n++
			}
		}
		return n
	}
	if k.cap != "" {
		if count(func(o kept) bool { return o.cap == k.cap }) >= letters || count(func(o kept) bool { return o.cap != "" }) >= modelPolicy.LettersPerBox {
			return fault.Full
		}
		m.letters = append(m.letters, k)
		return fault.Internal
	}
	if count(func(o kept) bool { return o.vendor == k.vendor }) > 0 {
		return fault.Conflict
	}
	if count(func(o kept) bool { return o.cap == "" }) < modelPolicy.FirstPerBox {
		m.letters = append(m.letters, k)
		return fault.Internal
	}
	rivals := k.tier
	if k.tier == 1 && count(func(o kept) bool { return o.cap == "" && o.tier == 1 }) < modelPolicy.FirstVouched {
		rivals = 0
	}
	lowest := -1
	for i, o := range m.letters { // of several lowest the last, which is the youngest
		if o.box == k.box && o.cap == "" && o.tier == rivals && (lowest < 0 || o.work <= m.letters[lowest].work) {
			lowest = i
		}
	}
	if lowest < 0 || rivals == k.tier && m.letters[lowest].work >= k.work {
		return fault.Full
	}
	m.letters = append(slices.Delete(m.letters, lowest, lowest+1), k)
	return fault.Internal
}

func (m *model) shown(box string, at protocol.Second) (all []protocol.Hash) {
	for _, k := range m.letters {
		if k.box == box && k.due <= at && k.expires > at {
			all = append(all, hashOf(k))
		}
	}
	slices.SortFunc(all, func(a, b protocol.Hash) int { return slices.Compare(a[:], b[:]) })
	return all
}

func raw(k kept) []byte { return letter(k.box, k.name, seal.Bucket1K, k.expires) }

func hashOf(k kept) protocol.Hash { return wire.ID(raw(k)) }

func TestMailboxesAreTheirModel(t *testing.T) {
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		s := storetest.Twice(kv.Memory())
		m := open(t, s, modelPolicy)
		ref := &model{tombs: map[string]protocol.Second{}, revoked: map[string]protocol.Second{}}
		at := now
		for step := range 200 {
			at += protocol.Second(rnd.IntN(3000))
			if rnd.IntN(15) == 0 {
				m = open(t, s, modelPolicy)
			}
			if err := modelStep(t, rnd, m, ref, at); err != nil {
				t.Fatalf("seed %d step %d: %v", seed, step, err)
			}
			box := fmt.Sprint("box", rnd.IntN(3))
			got := m.all(box, at)
			slices.SortFunc(got, func(a, b protocol.Hash) int { return slices.Compare(a[:], b[:]) })
			if want := ref.shown(box, at); !slices.Equal(got, want) {
				t.Fatalf("seed %d step %d: %s shows %d letters, want %d", seed, step, box, len(got), len(want))
			}
		}
	}
}

func modelStep(t *testing.T, rnd *rand.Rand, m boxes, ref *model, at protocol.Second) error {
	k := kept{box: fmt.Sprint("box", rnd.IntN(3)), name: fmt.Sprint(rnd.IntN(14))}
	// A name has one expiry, so that it is one letter.
	k.expires = now + protocol.Day*protocol.Second(1+len(k.name)+int(k.name[0]-'0')%3)
	switch op := rnd.IntN(9); op {
	default:
		d := mailbox.Deposit{Box: boxKey(k.box), Letter: raw(k)}
		if rnd.IntN(4) == 0 {
			d.Hold = 1000
			k.due = at + d.Hold
		}
		letters := 3
		if rnd.IntN(2) == 0 {
			k.cap = fmt.Sprint("cap", rnd.IntN(3))
			d.Cap = capability(k.box, k.cap, uint16(letters), 1000)
		} else {
			k.vendor, k.tier, k.work = fmt.Sprint("vendor", rnd.IntN(9)), rnd.IntN(2), rnd.IntN(4)
			d.First = &mailbox.FirstLane{Vendor: hash(k.vendor), Tier: k.tier, Work: k.work}
		}
		want := fault.Expired
		if k.expires > at {
			want = ref.try(k, letters, at)
		}
		r, err := m.Deposit(t.Context(), d, at)
		if err == nil && r.Letter != hashOf(k) || (err == nil) != (want == fault.Internal) || err != nil && !errors.Is(err, want) {
			return fmt.Errorf("deposit %+v: %w, want kind %d", k, err, int(want))
		}
		return nil
	case 6:
		had, err := m.Delete(t.Context(), boxKey(k.box), []protocol.Hash{hashOf(k)}, at)
		n := len(ref.letters)
		ref.letters = slices.DeleteFunc(ref.letters, func(o kept) bool { return o.key() == k.key() })
		here := len(ref.letters) < n
		if here {
			ref.tombs[k.key()] = k.expires
		} else if ref.exists(k.box) && ref.tombs[k.key()] == 0 {
			ref.tombs[k.key()] = at + 31*protocol.Day + protocol.MaxSkew
		}
		if err != nil || (len(had) == 1) != here {
			return fmt.Errorf("delete %s: %d, %w; want %v", k.key(), len(had), err, here)
		}
		return nil
	case 7:
		c := fmt.Sprint("cap", rnd.IntN(3))
		until := at + protocol.Second(rnd.IntN(5000)) + 1
		ref.revoked[k.box+c] = max(until, ref.revoked[k.box+c])
		return m.Revoke(t.Context(), boxKey(k.box), id(c), until, mailbox.Tag{})
	case 8:
		n, err := m.Expire(t.Context(), at)
		want := len(ref.letters)
		ref.letters = slices.DeleteFunc(ref.letters, func(o kept) bool { return o.expires <= at })
		want -= len(ref.letters)
		for _, set := range []map[string]protocol.Second{ref.tombs, ref.revoked} {
			for x, until := range set {
				if until <= at {
					delete(set, x)
					want++
				}
			}
		}
		if err != nil || n != want {
			return fmt.Errorf("expire: %d, %w; want %d", n, err, want)
		}
		return nil
	}
}

func (m *model) exists(box string) bool {
	for x := range m.tombs {
		if x[:len(box)] == box {
			return true
		}
	}
	for x := range m.revoked {
		if x[:len(box)] == box {
			return true
		}
	}
	return slices.ContainsFunc(m.letters, func(k kept) bool { return k.box == box })
}
