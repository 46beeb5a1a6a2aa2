package mailbox_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/mailbox"
	"github.com/harkmarket/hark/store/storetest"
)

const (
	today = protocol.Second(20000)
	now   = today * protocol.Day
)

func hash(s string) protocol.Hash { return sha256.Sum256([]byte(s)) }

func id(s string) protocol.ID { h := hash(s); return protocol.ID(h[:16]) }

func private[P key.Purpose](s string) key.Private[P] {
	h := hash(s)
	k, err := key.SecretFrom(h[:])
	if err != nil {
		panic(err)
	}
	return key.FromSeed[P](k)
}

var keeper = private[key.Keeper]("keeper")

func boxKey(s string) key.MailboxKey { return private[key.Mailbox](s).Public() }

// letter makes what a keeper can't tell from a sealed letter.
func letter(box, name string, bucket int, expires protocol.Second) []byte {
	l := protocol.Letter{
		V: 1, Suite: 1, Box: boxKey(box), Slot: id(name), Expires: uint32(expires / protocol.Day),
		Enc: bytes.Repeat([]byte{1}, seal.EncSize), Sealed: bytes.Repeat([]byte{2}, bucket+seal.Overhead),
	}
	raw, err := wire.Marshal(l)
	if err != nil {
		panic(err)
	}
	return raw
}

func capability(box, name string, letters, kib uint16) *protocol.Capability {
	return &protocol.Capability{Box: boxKey(box), ID: id(name), Letters: letters, KiB: kib, Expires: now + 400*protocol.Day}
}

// under is a deposit of 1 KiB under a generous capability.
func under(box, name string) mailbox.Deposit {
	return mailbox.Deposit{
		Box: boxKey(box), Letter: letter(box, name, seal.Bucket1K, now+10*protocol.Day),
		Cap: capability(box, "cap", 1000, 1000),
	}
}

func first(box, vendor string, tier, work int) mailbox.Deposit {
	return mailbox.Deposit{
		Box: boxKey(box), Letter: letter(box, vendor, seal.Bucket1K, now+10*protocol.Day),
		First: &mailbox.FirstLane{Vendor: hash(vendor), Tier: tier, Work: work},
	}
}

type boxes struct {
	testing.TB
	*mailbox.Mailboxes
}

func open(t testing.TB, s kv.Store, p mailbox.Policy) boxes {
	t.Helper()
	m, err := mailbox.Open(s, keeper, p)
	if err != nil {
		t.Fatal(err)
	}
	return boxes{t, m}
}

func (m boxes) deposit(d mailbox.Deposit) protocol.DepositReceipt {
	m.Helper()
	r, err := m.Deposit(context.Background(), d, now)
	if err != nil {
		m.Fatal(err)
	}
	return r
}

func (m boxes) refused(kind fault.Kind, d mailbox.Deposit) {
	m.Helper()
	if _, err := m.Deposit(context.Background(), d, now); !errors.Is(err, kind) {
		m.Fatalf("deposit: %v, want %v", err, kind)
	}
}

// all collects a whole box, in pages.
func (m boxes) all(box string, at protocol.Second) (hashes []protocol.Hash) {
	m.Helper()
	var after protocol.Hash
	for more := true; more; {
		var page [][]byte
		var err error
		page, more, err = m.Collect(context.Background(), boxKey(box), after, 3, at)
		if err != nil {
			m.Fatal(err)
		}
		for _, raw := range page {
			after = wire.ID(raw)
			hashes = append(hashes, after)
		}
	}
	return hashes
}

func (m boxes) fill(name string) kv.Fill {
	m.Helper()
	for _, f := range m.Stats() {
		if f.Name == name {
			return f
		}
	}
	m.Fatalf("no fill named %q", name)
	return kv.Fill{}
}

func (m boxes) delete(box string, hashes ...protocol.Hash) []protocol.Hash {
	m.Helper()
	had, err := m.Delete(context.Background(), boxKey(box), hashes, now)
	if err != nil {
		m.Fatal(err)
	}
	return had
}

func TestDepositIsKeptBeforeTheReceipt(t *testing.T) {
	s := kv.Memory()
	m := open(t, s, mailbox.Policy{})
	d := under("a", "x")
	r := m.deposit(d)
	if err := wire.CheckReceipt(r); err != nil {
		t.Fatal(err)
	}
	if r.Keeper != keeper.Public() || r.Box != d.Box || r.Letter != wire.ID(d.Letter) || r.At != now || r.Expires != now+10*protocol.Day {
		t.Fatalf("receipt %+v", r)
	}
	again := m.deposit(d)
	if again.Letter != r.Letter || m.fill("mailbox.letters").Used != 1 {
		t.Fatal("the same letter again is kept once")
	}
	m = open(t, s, mailbox.Policy{}) // as after a crash
	if got := m.all("a", now); !slices.Equal(got, []protocol.Hash{r.Letter}) {
		t.Fatalf("after reopening: %v", got)
	}
	raw, err := m.Letter(t.Context(), d.Box, r.Letter)
	if err != nil || !bytes.Equal(raw, d.Letter) {
		t.Fatalf("audit: %v", err)
	}
	if err := s.Update(t.Context(), func(tx kv.Tx) error {
		return tx.Put(append(append([]byte("m/l/"), d.Box[:]...), r.Letter[:]...), []byte("altered"))
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Letter(t.Context(), d.Box, r.Letter); !errors.Is(err, fault.Malformed) {
		t.Fatalf("an altered letter: %v", err)
	}
	if _, err := m.Letter(t.Context(), d.Box, hash("other")); !errors.Is(err, fault.NotFound) {
		t.Fatalf("a letter that never came: %v", err)
	}
}

func TestRefusedDeposits(t *testing.T) {
	m := open(t, kv.Memory(), mailbox.Policy{})
	cases := []struct {
		name  string
		kind  fault.Kind
		spoil func(*mailbox.Deposit)
	}{
		{"too long", fault.Malformed, func(d *mailbox.Deposit) { d.Letter = make([]byte, protocol.MaxLetter+1) }},
		{"no letter", fault.Malformed, func(d *mailbox.Deposit) { d.Letter = []byte{0xa0} }},
		{"another box", fault.Malformed, func(d *mailbox.Deposit) { d.Box = boxKey("b") }},
		{"past its date", fault.Expired, func(d *mailbox.Deposit) { d.Letter = letter("a", "x", 1024, now) }},
		{"lives too long", fault.Malformed, func(d *mailbox.Deposit) { d.Letter = letter("a", "x", 1024, now+32*protocol.Day) }},
		{"held too long", fault.Malformed, func(d *mailbox.Deposit) { d.Hold = protocol.Hour + 1 }},
		{"no lane", fault.Denied, func(d *mailbox.Deposit) { d.Cap = nil }},
		{"two lanes", fault.Denied, func(d *mailbox.Deposit) { d.First = &mailbox.FirstLane{} }},
		{"capability past its date", fault.Denied, func(d *mailbox.Deposit) { d.Cap.Expires = now }},
		{"capability for another box", fault.Denied, func(d *mailbox.Deposit) { d.Cap.Box = boxKey("b") }},
		{"too large for a first letter", fault.Malformed, func(d *mailbox.Deposit) {
			d.Cap, d.First = nil, &mailbox.FirstLane{Vendor: hash("v")}
			d.Letter = letter("a", "x", seal.Bucket64K, now+protocol.Day)
		}},
		{"an inbox that takes none", fault.Full, func(d *mailbox.Deposit) { d.Cap, d.First = nil, &mailbox.FirstLane{} }},
	}
	for _, c := range cases {
		d := under("a", "x")
		c.spoil(&d)
		if _, err := m.Deposit(t.Context(), d, now); !errors.Is(err, c.kind) {
			t.Errorf("%s: %v, want %v", c.name, err, c.kind)
		}
	}
	if m.fill("mailbox.boxes").Used != 0 {
		t.Error("a refused deposit left a box")
	}
	d := under("a", "x")
	d.Letter = letter("a", "x", 1024, now+31*protocol.Day) // 30 days, written as a day and rounded up
	m.deposit(d)
}

func TestQuotaOfACapability(t *testing.T) {
	m := open(t, kv.Memory(), mailbox.Policy{})
	give := func(name string, bucket int) mailbox.Deposit {
		return mailbox.Deposit{Box: boxKey("a"), Letter: letter("a", name, bucket, now+protocol.Day), Cap: capability("a", "small", 3, 6)}
	}
	m.deposit(give("1", seal.Bucket4K))
	m.refused(fault.Full, give("2", seal.Bucket4K)) // 8 KiB
	one := m.deposit(give("2", seal.Bucket1K))
	m.deposit(give("3", seal.Bucket1K))
	m.refused(fault.Full, give("4", seal.Bucket1K)) // four letters
	m.deposit(under("a", "of another capability"))
	m.delete("a", one.Letter)
	m.deposit(give("4", seal.Bucket1K)) // quota is of letters at once
}

func TestTombstonesAndRevocations(t *testing.T) {
	s := kv.Memory()
	m := open(t, s, mailbox.Policy{})
	a, b := under("a", "1"), under("a", "2")
	ra := m.deposit(a)
	m.deposit(b)
	early := under("a", "not here yet")
	had := m.delete("a", ra.Letter, ra.Letter, wire.ID(early.Letter))
	if !slices.Equal(had, []protocol.Hash{ra.Letter}) {
		t.Fatalf("deleted %v", had)
	}
	if err := m.Revoke(t.Context(), boxKey("a"), id("gone"), now+protocol.Day, mailbox.Tag{}); err != nil {
		t.Fatal(err)
	}
	revoked := under("a", "3")
	revoked.Cap = capability("a", "gone", 9, 9)
	for range 2 {
		m.refused(fault.Conflict, a)
		m.refused(fault.Conflict, early)
		m.refused(fault.Denied, revoked)
		if _, err := m.Letter(t.Context(), a.Box, ra.Letter); !errors.Is(err, fault.Conflict) {
			t.Fatalf("audit of a deleted letter: %v", err)
		}
		if got := m.all("a", now); !slices.Equal(got, []protocol.Hash{wire.ID(b.Letter)}) {
			t.Fatalf("left: %v", got)
		}
		m = open(t, s, mailbox.Policy{})
	}
	if had := m.delete("nobody's", hash("x")); had != nil || m.fill("mailbox.boxes").Used != 1 {
		t.Fatal("deleting in a box that does not exist makes none")
	}
	if _, err := m.Delete(t.Context(), boxKey("a"), make([]protocol.Hash, 257), now); !errors.Is(err, fault.Malformed) {
		t.Fatalf("257 hashes: %v", err)
	}
	// At their dates all of it goes.
	n, err := m.Expire(t.Context(), now+protocol.Day)
	if err != nil || n != 1 {
		t.Fatalf("expire: %d, %v; want the revocation", n, err)
	}
	if n, err = m.Expire(t.Context(), now+40*protocol.Day); err != nil || n != 3 {
		t.Fatalf("expire: %d, %v; want a letter and two tombstones", n, err)
	}
	if m.fill("mailbox.boxes").Used != 0 || m.fill("mailbox.bytes").Used != 0 || m.fill("mailbox.tombs").Used != 0 {
		t.Fatalf("fills %v", m.Stats())
	}
	left := 0
	if err := s.View(t.Context(), func(r kv.Reader) error {
		return r.Scan(nil, nil, func(_, _ []byte) (bool, error) { left++; return true, nil })
	}); err != nil || left != 0 {
		t.Fatalf("%d keys left, %v", left, err)
	}
}

func TestHoldsAndWatchers(t *testing.T) {
	s := kv.Memory()
	m := open(t, s, mailbox.Policy{})
	told := 0
	cancel, err := m.Watch(boxKey("a"), func() {
		told++
		m.Stats() // a callback may call back
	})
	if err != nil {
		t.Fatal(err)
	}
	held, plain := under("a", "held"), under("a", "plain")
	held.Hold = 100
	m.deposit(held)
	if told != 0 || len(m.all("a", now+99)) != 0 {
		t.Fatal("a held letter was shown")
	}
	m.deposit(plain)
	if told != 1 {
		t.Fatalf("told %d times", told)
	}
	cursor := m.all("a", now+99)[0]
	if next := m.Tick(now + 99); next != now+100 || told != 1 {
		t.Fatalf("next hold ends at +%d, told %d times", next-now, told)
	}
	m = open(t, s, mailbox.Policy{}) // the hold survives; the watcher does not
	if got := m.all("a", now+99); len(got) != 1 {
		t.Fatalf("after reopening %d letters show", len(got))
	}
	cancel()
	cancel()
	cancel, err = m.Watch(boxKey("a"), func() { told++ })
	if err != nil {
		t.Fatal(err)
	}
	if next := m.Tick(now + 100); next != 0 || told != 2 {
		t.Fatalf("next %d, told %d times", next, told)
	}
	page, _, err := m.Collect(t.Context(), boxKey("a"), cursor, 0, now+100)
	if err != nil || len(page) != 1 || wire.ID(page[0]) != wire.ID(held.Letter) {
		t.Fatalf("after the cursor: %d letters, %v; want the one that was held", len(page), err)
	}
	cancel()
	m.deposit(under("a", "unseen"))
	if told != 2 || m.fill("mailbox.watchers").Used != 0 {
		t.Fatal("told after cancelling")
	}
	small := open(t, kv.Memory(), mailbox.Policy{Watchers: 3, WatchersOfBox: 2})
	for i, box := range []string{"a", "a", "a", "b", "c"} {
		_, err := small.Watch(boxKey(box), func() {})
		if (err == nil) != (i < 2 || i == 3) || err != nil && !errors.Is(err, fault.Full) {
			t.Errorf("watcher %d: %v", i, err)
		}
	}
}

func TestCollectPages(t *testing.T) {
	s := kv.Memory()
	m := open(t, s, mailbox.Policy{PageBytes: 6000})
	var want []protocol.Hash
	for i := range 10 {
		want = append(want, m.deposit(under("a", fmt.Sprint(i))).Letter)
	}
	large := under("a", "large")
	large.Letter = letter("a", "large", seal.Bucket16K, now+protocol.Day)
	want = append(want, m.deposit(large).Letter)
	if got := m.all("a", now); !slices.Equal(got, want) {
		t.Fatalf("pages give %d letters, not all in order of deposit", len(got))
	}
	page, more, err := m.Collect(t.Context(), boxKey("a"), want[0], 64, now)
	if err != nil || !more || len(page) != 2 {
		t.Fatalf("a page of %d letters, more %v, %v; want 2 in 6000 bytes", len(page), more, err)
	}
	m.delete("a", want[4])
	page, _, err = m.Collect(t.Context(), boxKey("a"), want[4], 1, now)
	if err != nil || wire.ID(page[0]) != want[5] {
		t.Fatal("a deleted letter is no cursor")
	}
	page, _, _ = m.Collect(t.Context(), boxKey("a"), hash("unknown"), 1, now)
	if wire.ID(page[0]) != want[0] {
		t.Fatal("an unknown cursor does not start from the beginning")
	}
	m = open(t, s, mailbox.Policy{PageBytes: 6000})
	if page, _, _ = m.Collect(t.Context(), boxKey("a"), want[6], 1, now); wire.ID(page[0]) != want[0] {
		t.Fatal("a cursor from before a restart does not start from the beginning")
	}
	if got := m.all("a", now+protocol.Day); len(got) != 9 {
		t.Fatalf("%d letters the day after, want those that live: 9", len(got))
	}
	if got := m.all("nobody's", now); got != nil {
		t.Fatalf("an absent box holds %v", got)
	}
}

func TestFirstLane(t *testing.T) {
	m := open(t, kv.Memory(), mailbox.Policy{FirstPerBox: 8, FirstVouched: 6})
	holds := func(names ...string) {
		t.Helper()
		got := m.all("a", now)
		for _, n := range names {
			if !slices.Contains(got, wire.ID(first("a", n, 0, 0).Letter)) {
				t.Fatalf("%s is not here", n)
			}
		}
		if f := m.fill("mailbox.first-per-box"); int(f.Used) != len(names) || len(got) != len(names) {
			t.Fatalf("%d letters counted, %d shown, want %d", f.Used, len(got), len(names))
		}
	}
	for i := range 8 {
		m.deposit(first("a", fmt.Sprint("u", i), 0, 10+i))
	}
	m.deposit(first("a", "u3", 0, 99)) // the same letter
	second := first("a", "u3", 0, 99)
	second.Letter = letter("a", "a second one", 1024, now+protocol.Day)
	m.refused(fault.Conflict, second)
	m.refused(fault.Full, first("a", "weak", 0, 9))
	m.refused(fault.Full, first("a", "equal", 0, 10))
	m.deposit(first("a", "strong", 0, 11)) // drives out u0
	holds("strong", "u1", "u2", "u3", "u4", "u5", "u6", "u7")
	// u1 and strong have the same work: the younger goes. Then six vouched ones, of
	// no work at all, take the places that are kept for them.
	for i := range 6 {
		m.deposit(first("a", fmt.Sprint("v", i), 1, i))
	}
	holds("u6", "u7", "v0", "v1", "v2", "v3", "v4", "v5")
	m.refused(fault.Full, first("a", "v equal", 1, 0))
	m.deposit(first("a", "v strong", 1, 3)) // drives out v0, not u6
	holds("u6", "u7", "v strong", "v1", "v2", "v3", "v4", "v5")
	m.deposit(first("a", "u strong", 0, 20)) // drives out u6, not v1
	holds("u strong", "u7", "v strong", "v1", "v2", "v3", "v4", "v5")
	m.deposit(first("a", "v0", 1, 4)) // one that was driven out may come again
	m.deposit(under("a", "under a capability"))
	m.deposit(first("b", "u0", 0, 0))
}

// [the flood of one need]: any number of strangers first, then honest vendors that
// are vouched for.
func TestAFloodLeavesRoomForVouchedVendors(t *testing.T) {
	m := open(t, kv.Memory(), mailbox.Policy{})
	for i := range 1000 {
		_, err := m.Deposit(t.Context(), first("a", fmt.Sprint("sybil", i), 0, i%7), now)
		if err != nil && !errors.Is(err, fault.Full) {
			t.Fatal(err)
		}
	}
	if n := len(m.all("a", now)); n != protocol.FirstPerBox {
		t.Fatalf("%d letters kept, want %d", n, protocol.FirstPerBox)
	}
	for i := range protocol.FirstVouched {
		m.deposit(first("a", fmt.Sprint("vouched", i), 1, 0))
	}
	m.deposit(under("a", "under a capability"))
	m.deposit(first("b", "stranger", 0, 0))
}

func TestInboxLane(t *testing.T) {
	m := open(t, kv.Memory(), mailbox.Policy{InboxPerBox: 4})
	give := func(name string, work, quota int) mailbox.Deposit {
		d := first("a", name, 0, work)
		d.First = &mailbox.FirstLane{Work: work, Quota: quota, Tier: 5}
		return d
	}
	m.deposit(give("1", 5, 2))
	m.deposit(give("2", 6, 2))
	m.refused(fault.Full, give("3", 5, 2))
	m.deposit(give("4", 6, 2)) // drives out 1
	m.refused(fault.Full, give("5", 6, 2))
	m.deposit(give("5", 0, 100))
	m.deposit(give("6", 0, 100))
	m.refused(fault.Full, give("7", 0, 100)) // the policy's bound
	m.deposit(first("a", "vendor", 0, 0))
	m.deposit(under("a", "x"))
	if n := len(m.all("a", now)); n != 6 {
		t.Fatalf("%d letters", n)
	}
}

// Each bound, filled by one or many boxes, leaves others working.
func TestFloodsHurtNobodyElse(t *testing.T) {
	flood := func(t *testing.T, m boxes, n int, d func(i int) mailbox.Deposit) {
		t.Helper()
		full := false
		for i := range n {
			_, err := m.Deposit(t.Context(), d(i), now)
			full = full || errors.Is(err, fault.Full)
			if err != nil && !errors.Is(err, fault.Full) {
				t.Fatal(err)
			}
		}
		if !full {
			t.Fatal("the flood filled nothing")
		}
	}
	oneBox := func(i int) mailbox.Deposit { return under("flood", fmt.Sprint(i)) }
	t.Run("letters per box", func(t *testing.T) {
		m := open(t, kv.Memory(), mailbox.Policy{LettersPerBox: 5})
		flood(t, m, 10, oneBox)
		if f := m.fill("mailbox.letters-per-box"); f.Used != f.Cap {
			t.Fatalf("fill %v", f)
		}
		m.deposit(under("b", "x"))
		m.deposit(first("flood", "v", 0, 0))
	})
	t.Run("bytes per box", func(t *testing.T) {
		m := open(t, kv.Memory(), mailbox.Policy{BytesPerBox: 5000})
		flood(t, m, 10, oneBox)
		m.deposit(under("b", "x"))
		m.deposit(first("flood", "v", 0, 0))
	})
	t.Run("all letters", func(t *testing.T) {
		m := open(t, kv.Memory(), mailbox.Policy{Letters: 100})
		flood(t, m, 200, oneBox)
		flood(t, m, 400, func(i int) mailbox.Deposit { return under(fmt.Sprint("flood", i%20), fmt.Sprint(i)) })
		m.deposit(under("b", "x"))
		if f := m.fill("mailbox.letters"); f.Used > f.Cap || f.Used < 90 {
			t.Fatalf("fill %v", f)
		}
	})
	t.Run("all bytes", func(t *testing.T) {
		m := open(t, kv.Memory(), mailbox.Policy{Bytes: 400_000})
		flood(t, m, 400, func(i int) mailbox.Deposit { return under(fmt.Sprint("flood", i%20), fmt.Sprint(i)) })
		m.deposit(under("b", "x"))
		if f := m.fill("mailbox.bytes"); f.Used > f.Cap {
			t.Fatalf("fill %v", f)
		}
	})
	t.Run("boxes", func(t *testing.T) {
		m := open(t, kv.Memory(), mailbox.Policy{Boxes: 10})
		m.deposit(under("b", "x"))
		flood(t, m, 20, func(i int) mailbox.Deposit { return under(fmt.Sprint("flood", i), "x") })
		m.deposit(under("b", "y")) // who was there goes on
		if err := m.Revoke(t.Context(), boxKey("new"), id("c"), now+1, mailbox.Tag{}); !errors.Is(err, fault.Full) {
			t.Fatalf("a revocation made a box too many: %v", err)
		}
	})
	t.Run("tombstones", func(t *testing.T) {
		s := kv.Memory()
		p := mailbox.Policy{Tombs: 40, TombsPerBox: 10}
		m := open(t, s, p)
		var last protocol.Hash
		for i := range 100 {
			d := under(fmt.Sprint("flood", i%5), fmt.Sprint(i))
			last = m.deposit(d).Letter
			m.delete(fmt.Sprint("flood", i%5), last)
			m.refused(fault.Conflict, d)
		}
		if f := m.fill("mailbox.tombs"); f.Used > f.Cap || f.Used < 30 {
			t.Fatalf("fill %v", f)
		}
		d := under("b", "x")
		m.delete("b", m.deposit(d).Letter)
		m.refused(fault.Conflict, d)
		before := fmt.Sprint(m.Stats())
		if m = open(t, s, p); fmt.Sprint(m.Stats()) != before {
			t.Fatalf("reopened with %v, was %v", m.Stats(), before)
		}
	})
	t.Run("revocations", func(t *testing.T) {
		m := open(t, kv.Memory(), mailbox.Policy{Revoked: 40, RevokedPerBox: 10})
		for i := range 100 {
			err := m.Revoke(t.Context(), boxKey(fmt.Sprint("flood", i%5)), id(fmt.Sprint(i)), now+1, mailbox.Tag{})
			if err != nil && !errors.Is(err, fault.Full) {
				t.Fatal(err)
			}
		}
		if err := m.Revoke(t.Context(), boxKey("b"), id("c"), now+1, mailbox.Tag{}); err != nil {
			t.Fatal(err)
		}
		if f := m.fill("mailbox.revoked-per-box"); f.Used > f.Cap || f.Used < 5 {
			t.Fatalf("fill %v", f)
		}
	})
}

// Every point of failure: an error leaves the box as it was, on disk and in memory,
// and the same call works afterwards.
func TestFailuresKeepNothing(t *testing.T) {
	p := mailbox.Policy{FirstPerBox: 1, FirstVouched: 1, TombsPerBox: 1}
	steps := map[string]func(m boxes) error{
		"deposit": func(m boxes) error { _, err := m.Deposit(context.Background(), under("a", "new"), now); return err },
		"evict":   func(m boxes) error { _, err := m.Deposit(context.Background(), first("a", "w", 1, 9), now); return err },
		"delete": func(m boxes) error {
			_, err := m.Delete(context.Background(), boxKey("a"), []protocol.Hash{wire.ID(under("a", "1").Letter)}, now)
			return err
		},
		"revoke": func(m boxes) error { return m.Revoke(context.Background(), boxKey("c"), id("c"), now+9, mailbox.Tag{}) },
		"prolong": func(m boxes) error {
			return m.Revoke(context.Background(), boxKey("a"), id("old"), now+99, mailbox.Tag{})
		},
		"expire": func(m boxes) error { _, err := m.Expire(context.Background(), now+90*protocol.Day); return err },
	}
	for name, step := range steps {
		for n := 1; ; n++ {
			s := kv.Memory()
			m := open(t, s, p)
			m.deposit(under("a", "1"))
			m.deposit(first("a", "v", 0, 1))
			gone := m.deposit(under("a", "gone")).Letter
			m.delete("a", gone)
			if err := m.Revoke(t.Context(), boxKey("a"), id("old"), now+9, mailbox.Tag{}); err != nil {
				t.Fatal(err)
			}
			m = open(t, storetest.Failing(s, n), p)
			stats, letters := fmt.Sprint(m.Stats()), m.all("a", now)
			err := step(m)
			if err == nil {
				break
			}
			if !errors.Is(err, storetest.ErrInjected) {
				t.Fatal(err)
			}
			reopened := open(t, s, p)
			for _, x := range []boxes{m, reopened} {
				if got := fmt.Sprint(x.Stats()); got != stats || !slices.Equal(x.all("a", now), letters) {
					t.Fatalf("%s, step %d: now %v, was %v", name, n, got, stats)
				}
			}
			m.refused(fault.Conflict, under("a", "gone"))
			if err := step(m); err != nil {
				t.Fatalf("%s, step %d: and again: %v", name, n, err)
			}
			if a, b := fmt.Sprint(m.Stats()), fmt.Sprint(open(t, s, p).Stats()); a != b {
				t.Fatalf("%s, step %d: memory says %v, disk %v", name, n, a, b)
			}
		}
	}
}

// Eight callers, few letters, vendors and boxes, on badger: whatever they do, memory
// and disk agree, and each bound holds.
func TestManyCallers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "kv")
	s, err := kv.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	p := mailbox.Policy{FirstPerBox: 4, FirstVouched: 3, LettersPerBox: 8, TombsPerBox: 6}
	m := open(t, s, p)
	var told atomic.Int64
	if _, err := m.Watch(boxKey("0"), func() { told.Add(1) }); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for c := range 8 {
		wg.Go(func() {
			for i := range 60 {
				box := fmt.Sprint((c + i) % 3)
				d := under(box, fmt.Sprint(i%9))
				if i%2 == 0 {
					d = first(box, fmt.Sprint("vendor", i%7), i%2, c+i%5)
				}
				r, err := m.Deposit(context.Background(), d, now)
				switch {
				case err == nil && i%5 == 0:
					_, err = m.Delete(context.Background(), d.Box, []protocol.Hash{r.Letter, hash(fmt.Sprint(i))}, now)
				case err == nil && i%7 == 0:
					_, err = m.Expire(context.Background(), now)
				case errors.Is(err, fault.Full), errors.Is(err, fault.Conflict):
					err = nil
				}
				if err != nil {
					t.Error(err)
				}
				for _, f := range m.Stats() {
					if f.Used > f.Cap {
						t.Errorf("%s: %d of %d", f.Name, f.Used, f.Cap)
					}
				}
			}
		})
	}
	wg.Wait()
	if told.Load() == 0 {
		t.Error("nobody was told")
	}
	stats := fmt.Sprint(m.Stats()[:14]) // without watchers
	var before [][]protocol.Hash
	sorted := func() (all [][]protocol.Hash) {
		for i := range 3 {
			h := m.all(fmt.Sprint(i), now)
			slices.SortFunc(h, func(a, b protocol.Hash) int { return bytes.Compare(a[:], b[:]) })
			all = append(all, h)
		}
		return all
	}
	before = sorted()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = kv.Open(dir); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	m = open(t, s, p)
	if got := fmt.Sprint(m.Stats()[:14]); got != stats {
		t.Fatalf("reopened with\n%v, was\n%v", got, stats)
	}
	if got := sorted(); fmt.Sprint(got) != fmt.Sprint(before) {
		t.Fatalf("reopened with other letters")
	}
}

func TestAWaitingCallerCanLeave(t *testing.T) {
	slow := &slowStore{Store: kv.Memory(), inside: make(chan struct{}), leave: make(chan struct{})}
	m := open(t, slow, mailbox.Policy{})
	var wg sync.WaitGroup
	wg.Go(func() { m.deposit(under("a", "x")) })
	<-slow.inside
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Deposit(ctx, under("a", "x"), now); !errors.Is(err, context.Canceled) {
		t.Errorf("a waiting deposit: %v", err)
	}
	if _, err := m.Delete(ctx, boxKey("a"), []protocol.Hash{wire.ID(under("a", "x").Letter)}, now); !errors.Is(err, context.Canceled) {
		t.Errorf("a waiting delete: %v", err)
	}
	if got := m.all("a", now); got != nil {
		t.Error("a letter was shown before it was kept")
	}
	close(slow.leave)
	wg.Wait()
	if got := m.all("a", now); len(got) != 1 {
		t.Errorf("%d letters", len(got))
	}
}

// slowStore says when its first Update has begun, and waits before it ends.
type slowStore struct {
	kv.Store
	once          sync.Once
	inside, leave chan struct{}
}

func (s *slowStore) Update(ctx context.Context, fn func(kv.Tx) error) error {
	s.once.Do(func() {
		close(s.inside)
		<-s.leave
	})
	return s.Store.Update(ctx, fn)
}

func TestOpenRefusesBrokenRecords(t *testing.T) {
	for _, k := range []string{"m/m/", "m/t/", "m/r/"} {
		for _, rest := range []string{"short", string(make([]byte, 33)), string(make([]byte, 64)), string(make([]byte, 48))} {
			s := kv.Memory()
			if err := s.Update(t.Context(), func(tx kv.Tx) error { return tx.Put([]byte(k+rest), []byte{0xff}) }); err != nil {
				t.Fatal(err)
			}
			if _, err := mailbox.Open(s, keeper, mailbox.Policy{}); !errors.Is(err, fault.Malformed) {
				t.Errorf("%s with %d bytes: %v, want malformed", k, len(rest), err)
			}
		}
	}
}
