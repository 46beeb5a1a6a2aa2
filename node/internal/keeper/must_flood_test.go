package keeper_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/mailbox"
)

// A tally is what became of a flood of first letters to one box.
type tally struct {
	attackers, kept       int // that came, and that are there in the end
	vouched, in           int // vendors vouched for: that came after them, and that got in
	strangers, strangerIn int // honest vendors that nobody vouches for
}

// wrong says what a flood must not do.
func (r tally) wrong() (out []string) {
	if all := r.kept + r.in + r.strangerIn; all > protocol.FirstPerBox {
		out = append(out, fmt.Sprintf("%d letters are kept, at most %d", all, protocol.FirstPerBox))
	}
	if r.in*100 < r.vouched*99 {
		out = append(out, fmt.Sprintf("%d of %d vouched vendors got in", r.in, r.vouched))
	}
	return out
}

func (r tally) String() string {
	return fmt.Sprintf("%d requests from fresh identities came first, %d of them kept; vouched vendors in: %d of %d; others, best effort: %d of %d",
		r.attackers, r.kept, r.in, r.vouched, r.strangerIn, r.strangers)
}

// junk is what a keeper can't tell from a sealed letter, cheap to make.
func junk(box key.MailboxKey, n int) []byte {
	l := protocol.Letter{
		V: 1, Suite: seal.Suite, Box: box, Expires: uint32(now()/protocol.Day) + 10,
		Enc: bytes.Repeat([]byte{1}, seal.EncSize), Sealed: bytes.Repeat([]byte{2}, seal.Bucket1K+seal.Overhead),
	}
	binary.BigEndian.PutUint64(l.Slot[:], uint64(n)+1)
	return must(wire.Marshal(l))
}

// floodStore floods a mailbox behind the door: attackers with stamps of 0 to 15 bits,
// then vouched vendors and strangers without any.
func floodStore(t *testing.T, p mailbox.Policy, attackers, vouched, strangers int) tally {
	t.Helper()
	m := must(mailbox.Open(kv.Memory(), key.Generate[key.Keeper](), p))
	box, at, n := key.Generate[key.Mailbox]().Public(), now(), 0
	vendors := map[protocol.Hash]byte{} // letter -> who
	send := func(who byte, tier, work int) {
		n++
		raw := junk(box, n)
		vendor := wire.ID(raw)
		vendors[vendor] = who
		_, err := m.Deposit(context.Background(), mailbox.Deposit{Box: box, Letter: raw, First: &mailbox.FirstLane{Vendor: vendor, Tier: tier, Work: work}}, at)
		if err != nil && !errors.Is(err, fault.Full) {
			t.Fatal(err)
		}
	}
	for i := range attackers {
		send('a', 0, i%16)
	}
	for range strangers {
		send('s', 0, 0)
	}
	for range vouched {
		send('v', 1, 0)
	}
	r := tally{attackers: attackers, vouched: vouched, strangers: strangers}
	var after protocol.Hash
	for more := true; more; {
		var letters [][]byte
		letters, more, _ = m.Collect(context.Background(), box, after, 64, at)
		for _, raw := range letters {
			after = wire.ID(raw)
			r.count(vendors[after])
		}
	}
	return r
}

func (r *tally) count(who byte) {
	switch who {
	case 'a':
		r.kept++
	case 'v':
		r.in++
	case 's':
		r.strangerIn++
	}
}

// floodKeeper floods one through everything that a keeper has: streams from an address
// prefix of each one's own, passports, signatures, stamps, budgets, lanes.
func floodKeeper(w *world, attackers, vouched, strangers int) (r tally, refused map[string]int) {
	w.Helper()
	k := w.keeper()
	n := w.need(k, effort)
	w.announce(k, n.raw)
	who := map[protocol.Hash]byte{}
	refused = map[string]int{}
	count := 0
	send := func(kind byte, stamp uint8, by key.Private[key.Issuer]) {
		count++
		v, raw := w.seller(k, protocol.RoleRequests), junk(n.box.Public(), count)
		who[wire.ID(raw)] = kind
		f := v.first(n, raw, k, stamp)
		f.Chain = v.chain
		if !by.IsZero() {
			f.Vouch = protocol.Vouch{Vendor: v.id(), Expires: now() + protocol.Day}
			if err := wire.SignVouch(by, &f.Vouch); err != nil {
				w.Fatal(err)
			}
		}
		s := must(w.client().Mail(w.Context(), k.port.Self()))
		_, err := s.Deposit(w.Context(), keeper.Deposit{Box: n.box.Public(), Letter: raw, First: f})
		_ = s.Close()
		if err != nil && !errors.Is(err, fault.Full) {
			w.Fatal(err)
		}
		if err != nil {
			refused[string(kind)]++
		}
	}
	stranger := key.Generate[key.Issuer]() // whom the announcement does not name
	for i := range attackers {
		by := key.Private[key.Issuer]{}
		if i%10 == 0 {
			by = stranger
		}
		send('a', effort+uint8(i%4), by)
	}
	for range strangers {
		send('s', effort, key.Private[key.Issuer]{})
	}
	for range vouched {
		send('v', effort, n.issuer)
	}
	r = tally{attackers: attackers, vouched: vouched, strangers: strangers}
	s := w.mail(k)
	var after protocol.Hash
	for more := true; more; {
		var letters [][]byte
		var err error
		if letters, more, err = s.Collect(w.Context(), n.box, after); err != nil {
			w.Fatal(err)
		}
		for _, raw := range letters {
			after = wire.ID(raw)
			r.count(who[after])
		}
	}
	return r, refused
}

// TestMust_mailbox_flood: whoever comes first and with how many identities, one need
// keeps 64 first letters, and 48 of these places are the vendors' that its announcement's
// issuers vouch for. However many mailboxes a flood makes, a new need finds room, and
// nobody else's mailbox goes.
func TestMust_mailbox_flood(t *testing.T) {
	for name, p := range map[string]mailbox.Policy{"no bound": {FirstPerBox: 1000, FirstVouched: 48}, "no places kept": {FirstVouched: 1}} {
		if r := floodStore(t, p, 2000, 48, 16); len(r.wrong()) != 1 {
			t.Fatalf("%s, and what is wrong is: %q (%s)", name, r.wrong(), r)
		}
	}
	r := floodStore(t, mailbox.Policy{}, 100_000, protocol.FirstVouched, 16)
	if wrong := r.wrong(); len(wrong) > 0 {
		t.Errorf("at the mailbox: %q", wrong)
	}
	t.Logf("at the mailbox: %s", r)
	if more := floodStore(t, mailbox.Policy{}, 1000, 60, 0); more.in != protocol.FirstVouched || more.kept != protocol.FirstPerBox-protocol.FirstVouched {
		t.Errorf("60 vouched vendors for %d places: %s", protocol.FirstVouched, more)
	}
	in(t, func(w *world) {
		r, refused := floodKeeper(w, 5000, protocol.FirstVouched, 16)
		if wrong := r.wrong(); len(wrong) > 0 {
			t.Errorf("at the keeper: %q", wrong)
		}
		t.Logf("at the keeper, each with passport, signature, stamp and address prefix of its own: %s; refused at once: %d, %d, %d", r, refused["a"], refused["v"], refused["s"])
	})
	besiege(t)
}

// Those that stay are the highest by tier and work, whoever came first.
func TestTheLowestGivesWay(t *testing.T) {
	m := must(mailbox.Open(kv.Memory(), key.Generate[key.Keeper](), mailbox.Policy{}))
	box, at := key.Generate[key.Mailbox]().Public(), now()
	work := map[protocol.Hash]int{}
	for i := range 1000 {
		raw := junk(box, i)
		work[wire.ID(raw)] = i * 7919 % 1000
		_, err := m.Deposit(t.Context(), mailbox.Deposit{Box: box, Letter: raw, First: &mailbox.FirstLane{Vendor: wire.ID(raw), Work: work[wire.ID(raw)]}}, at)
		if err != nil && !errors.Is(err, fault.Full) {
			t.Fatal(err)
		}
	}
	letters, _, err := m.Collect(t.Context(), box, protocol.Hash{}, 64, at)
	var got []int
	for _, raw := range letters {
		got = append(got, work[wire.ID(raw)])
	}
	if slices.Sort(got); err != nil || len(got) == 0 || got[0] < 1000-protocol.FirstPerBox {
		t.Errorf("%d kept, the lowest of work %v (%v)", len(got), got[:min(1, len(got))], err)
	}
}
