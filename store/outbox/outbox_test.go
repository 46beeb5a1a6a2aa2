package outbox_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/outbox"
	"github.com/harkmarket/hark/store/storetest"
)

const now = 1_800_000_000_000 // ms

func hash(s string) protocol.Hash { return sha256.Sum256([]byte(s)) }

// letter makes an item that a market would put.
func letter(name, grant string) outbox.Item {
	data := []byte("letter " + name)
	return outbox.Item{
		ID: sha256.Sum256(data), What: outbox.Letter, Data: data, Box: key.MailboxKey{1},
		Keepers:  []protocol.Keeper{{Key: key.KeeperKey{2}, Addrs: [][]byte{{4, 5}}}},
		Cap:      protocol.Capability{ID: protocol.ID{3}, Letters: 4, KiB: 5, Expires: 6, Sig: []byte{7}},
		Seed:     protocol.Share(key.NewSecret()),
		Envelope: hash("envelope " + name), Kind: protocol.KindGrant, Grant: hash("grant " + grant),
		Expires: now/1000 + 3600, CreatedMS: now,
	}
}

type box struct {
	testing.TB
	*outbox.Outbox
	kv kv.Store
}

func open(t testing.TB, s kv.Store, lim outbox.Limits) box {
	t.Helper()
	o, err := outbox.Open(s, lim)
	if err != nil {
		t.Fatal(err)
	}
	return box{t, o, s}
}

func private() kv.Store { return kv.Sealed(kv.Memory(), key.NewSecret()) }

func (b box) update(fn func(tx kv.Tx) error) error { return b.kv.Update(context.Background(), fn) }

func (b box) put(items ...outbox.Item) {
	b.Helper()
	for _, it := range items {
		b.ok(b.update(func(tx kv.Tx) error { return b.Put(tx, it) }))
	}
}

func (b box) ok(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b box) refused(err error, kind fault.Kind) {
	b.Helper()
	if !errors.Is(err, kind) {
		b.Fatalf("got %v, want %v", err, kind)
	}
}

func (b box) get(id protocol.Hash) (it outbox.Item, err error) {
	err = b.kv.View(context.Background(), func(r kv.Reader) error {
		it, err = b.Get(r, id)
		return err
	})
	return it, err
}

func (b box) due(at int64, limit int) (names []string, next int64) {
	b.Helper()
	b.ok(b.kv.View(context.Background(), func(r kv.Reader) error {
		items, n, err := b.Due(r, at, limit)
		next = n
		for _, it := range items {
			if len(it.Data) == 0 {
				b.Errorf("due item %s without data", it.ID.Short())
			}
			names = append(names, string(it.Data[len("letter "):]))
		}
		return err
	}))
	return names, next
}

func (b box) save(it outbox.Item) (got outbox.Item) {
	b.Helper()
	b.ok(b.update(func(tx kv.Tx) (err error) {
		got, err = b.Save(tx, it)
		return err
	}))
	return got
}

func (b box) ack(envelope protocol.Hash) (it outbox.Item, ok bool) {
	b.Helper()
	b.ok(b.update(func(tx kv.Tx) (err error) {
		it, ok, err = b.Ack(tx, envelope)
		return err
	}))
	return it, ok
}

func (b box) fills() map[string]kv.Fill {
	b.Helper()
	all := map[string]kv.Fill{}
	b.ok(b.kv.View(context.Background(), func(r kv.Reader) error {
		fills, err := b.Stats(r)
		for _, f := range fills {
			all[f.Name] = f
		}
		return err
	}))
	return all
}

func TestAnItemComesBackWhole(t *testing.T) {
	b := open(t, private(), outbox.Limits{})
	it := letter("a", "g")
	it.First = protocol.FirstContact{Vendor: hash("vendor"), Chain: [][]byte{{1}, {2}}}
	it.Hold, it.NotBefore = 60, now/1000+10
	b.put(it)
	got, err := b.get(it.ID)
	b.ok(err)
	if got.State != outbox.Queued || got.Next != now+10_000 {
		t.Errorf("state %v, next %d: want queued, due at NotBefore", got.State, got.Next)
	}
	if !got.Seed.Secret().Equal(it.Seed.Secret()) {
		t.Error("the depositor seed changed")
	}
	got.Seed, it.Seed, it.State, it.Next = protocol.Shared{}, protocol.Shared{}, got.State, got.Next
	if a, b := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", it); a != b {
		t.Errorf("got\n%s\nwant\n%s", a, b)
	}
	_, err = b.get(hash("other"))
	b.refused(err, fault.NotFound)
}

func TestRefusedItems(t *testing.T) {
	b := open(t, private(), outbox.Limits{})
	for name, spoil := range map[string]func(*outbox.Item){
		"no sort":          func(it *outbox.Item) { it.What = 0 },
		"unknown sort":     func(it *outbox.Item) { it.What = 6 },
		"no data":          func(it *outbox.Item) { it.Data = nil },
		"too much data":    func(it *outbox.Item) { it.Data = make([]byte, protocol.MaxLetter+1) },
		"another's id":     func(it *outbox.Item) { it.ID = hash("x") },
		"too many keepers": func(it *outbox.Item) { it.Keepers = make([]protocol.Keeper, 9) },
		"too long a chain": func(it *outbox.Item) { it.First.Chain = [][]byte{make([]byte, protocol.MaxChain+1)} },
		"no end":           func(it *outbox.Item) { it.Expires = 0 },
		"no such end":      func(it *outbox.Item) { it.Expires = 1 << 50 },
		"before 1970":      func(it *outbox.Item) { it.CreatedMS = -1 },
		"due before 1970":  func(it *outbox.Item) { it.Next = -1 },
	} {
		it := letter("a", "g")
		spoil(&it)
		if err := b.update(func(tx kv.Tx) error { return b.Put(tx, it) }); !errors.Is(err, fault.Malformed) {
			t.Errorf("%s: %v, want malformed", name, err)
		}
	}
	b.refused(b.update(func(tx kv.Tx) error { _, err := b.Save(tx, letter("a", "g")); return err }), fault.NotFound)
	b.put(letter("a", "g"))
	it := letter("a", "g") // its state is zero
	b.refused(b.update(func(tx kv.Tx) error { _, err := b.Save(tx, it); return err }), fault.Malformed)
}

func TestTheLifeOfALetter(t *testing.T) {
	b := open(t, private(), outbox.Limits{})
	first, second := letter("first", "g"), letter("second", "g")
	second.Next = now + 500
	b.put(first, second, first) // twice is once
	if n := b.fills()["outbox.items"].Used; n != 2 {
		t.Fatalf("%d items, want 2", n)
	}
	names, next := b.due(now, 10)
	if !slices.Equal(names, []string{"first"}) || next != now+500 {
		t.Fatalf("due: %v, next %d", names, next)
	}
	if names, next = b.due(now+500, 1); len(names) != 1 || next != now+500 {
		t.Fatalf("a full page says that more is due: %v, next %d", names, next)
	}

	it, _ := b.get(first.ID)
	it.State, it.Tries, it.Next, it.Last = outbox.Deposited, 1, now+1000, "one keeper is away"
	it.Receipts = []protocol.DepositReceipt{{Keeper: key.KeeperKey{2}, At: 5}}
	if got := b.save(it); got.State != outbox.Deposited {
		t.Fatalf("saved as %v", got.State)
	}
	it.State, it.Next = outbox.Done, outbox.Never
	it.Receipts = []protocol.DepositReceipt{{Keeper: key.KeeperKey{9}, At: 6}}
	if got := b.save(it); len(got.Receipts) != 2 {
		t.Fatalf("a receipt was lost: %v", got.Receipts)
	}
	if names, next = b.due(now+999_999, 10); !slices.Equal(names, []string{"second"}) || next != 0 {
		t.Fatalf("due: %v, next %d: what waits for its Ack is not due", names, next)
	}

	acked, ok := b.ack(first.Envelope)
	if !ok || acked.ID != first.ID || acked.State != outbox.Acked || len(acked.Receipts) != 2 {
		t.Fatalf("ack: %v %v", acked, ok)
	}
	if _, ok = b.ack(first.Envelope); ok {
		t.Fatal("acknowledged twice")
	}
	if _, ok = b.ack(hash("never sent")); ok {
		t.Fatal("an unknown envelope was acknowledged")
	}
	if _, ok = b.ack(protocol.Hash{}); ok {
		t.Fatal("no envelope was acknowledged")
	}
	it.State, it.Next = outbox.Queued, now // the courier comes late
	if got := b.save(it); got.State != outbox.Acked {
		t.Fatalf("a late Save brought the letter back: %v", got.State)
	}
	got, err := b.get(first.ID)
	b.ok(err)
	if got.Data != nil || !got.Seed.IsZero() || !got.Cap.ID.IsZero() {
		t.Fatal("an ended letter keeps its bytes or secrets")
	}
	if f := b.fills()["outbox.bytes"]; f.Used != int64(len(second.Data)) {
		t.Fatalf("%d bytes, want those of the second letter", f.Used)
	}
}

func TestWhatIsNotALetterEndsWhenDone(t *testing.T) {
	b := open(t, private(), outbox.Limits{})
	post, ack := letter("post", "g"), letter("ack", "g")
	post.What = outbox.Announcement
	ack.Kind = protocol.KindAck
	b.put(post, ack)
	for _, it := range []outbox.Item{post, ack} {
		it.State = outbox.Done
		b.save(it)
		if got, err := b.get(it.ID); err != nil || !got.Over() || got.Data != nil {
			t.Errorf("%v: over %v, %d bytes, %v", got.What, got.Over(), len(got.Data), err)
		}
	}
}

func TestCancelFor(t *testing.T) {
	b := open(t, private(), outbox.Limits{})
	offer, grant, other := letter("offer", "g"), letter("grant", "g"), letter("other", "h")
	offer.Kind = protocol.KindOffer
	b.put(offer, grant, other)
	var ended []outbox.Item
	cancel := func(kinds ...protocol.Kind) {
		b.ok(b.update(func(tx kv.Tx) (err error) {
			ended, err = b.CancelFor(tx, hash("grant g"), kinds...)
			return err
		}))
	}
	cancel(protocol.KindOffer, protocol.KindDisclosure)
	if len(ended) != 1 || ended[0].ID != offer.ID || ended[0].State != outbox.Cancelled {
		t.Fatalf("cancelled %v, want the offer", ended)
	}
	cancel()
	if len(ended) != 1 || ended[0].ID != grant.ID {
		t.Fatalf("cancelled %v, want the grant", ended)
	}
	cancel()
	if len(ended) != 0 {
		t.Fatalf("cancelled %v again", ended)
	}
	if names, _ := b.due(now, 10); !slices.Equal(names, []string{"other"}) {
		t.Fatalf("due: %v", names)
	}
	if _, ok := b.ack(offer.Envelope); ok {
		t.Fatal("a cancelled letter was acknowledged")
	}
}

func TestSweepAndList(t *testing.T) {
	b := open(t, private(), outbox.Limits{KeepMS: 10_000})
	for i := range 100 {
		it := letter(fmt.Sprint(i), fmt.Sprint(i%3))
		it.CreatedMS = now + int64(i)
		if i%2 == 0 {
			it.Expires = now/1000 + 1
		}
		b.put(it)
	}
	list := func(f outbox.Filter) (made []int64) {
		var after protocol.Hash
		for more := true; more; {
			b.ok(b.kv.View(t.Context(), func(r kv.Reader) (err error) {
				var page []outbox.Item
				page, more, err = b.List(r, f, after, 7)
				for _, it := range page {
					made, after = append(made, it.CreatedMS-now), it.ID
				}
				return err
			}))
		}
		return made
	}
	all := list(outbox.Filter{})
	if len(all) != 100 || !slices.IsSortedFunc(all, func(a, b int64) int { return int(b - a) }) {
		t.Fatalf("%d items in order %v, want 100, newest first", len(all), all)
	}
	if n := len(list(outbox.Filter{Grant: hash("grant 1")})); n != 33 {
		t.Fatalf("%d of grant 1, want 33", n)
	}
	sweep := func(at int64) (gone int, more bool) {
		b.ok(b.update(func(tx kv.Tx) error {
			expired, m, err := b.Sweep(tx, at)
			gone, more = len(expired), m
			return err
		}))
		return gone, more
	}
	if n, more := sweep(now + 999); n != 0 || more {
		t.Fatalf("%d expired too early", n)
	}
	if n, more := sweep(now + 1000); n != 50 || more {
		t.Fatalf("%d expired, more %v; want 50", n, more)
	}
	if n := len(list(outbox.Filter{States: []outbox.State{outbox.Expired}, What: outbox.Letter})); n != 50 {
		t.Fatalf("%d listed as expired", n)
	}
	if n, _ := sweep(now + 20_000); n != 0 || len(list(outbox.Filter{})) != 50 {
		t.Fatalf("%d expired again, %d listed; want 50 that still wait", n, len(list(outbox.Filter{})))
	}
	err := b.kv.View(t.Context(), func(r kv.Reader) error {
		_, _, err := b.List(r, outbox.Filter{}, hash("forgotten"), 1)
		return err
	})
	b.refused(err, fault.NotFound)
	for more := true; more; {
		_, more = sweep(now + 4000_000)
	}
	for more := true; more; {
		_, more = sweep(now + 9000_000)
	}
	if f := b.fills(); f["outbox.items"].Used != 0 || f["outbox.bytes"].Used != 0 {
		t.Fatalf("an empty outbox counts %v", f)
	}
}

func TestFullLosesNothing(t *testing.T) {
	lim := outbox.Limits{Items: 8, Bytes: 100, PerGrant: 3}
	b := open(t, private(), lim)
	try := func(it outbox.Item) error { return b.update(func(tx kv.Tx) error { return b.Put(tx, it) }) }
	for i := range 3 {
		b.put(letter(fmt.Sprint("g", i), "g"))
	}
	b.refused(try(letter("g3", "g")), fault.Full)
	b.put(letter("h", "h")) // another grant is not hurt
	big := letter("big", "i")
	big.Data = bytes.Repeat([]byte("x"), 100)
	big.ID = sha256.Sum256(big.Data)
	b.refused(try(big), fault.Full)
	for i := range 4 {
		b.put(letter(fmt.Sprint(i), fmt.Sprint(i)))
	}
	b.refused(try(letter("x", "x")), fault.Full)
	if f := b.fills()["outbox.items"]; f.Used != 8 || f.Cap != 8 {
		t.Fatalf("fill %v", f)
	}
	if names, _ := b.due(now, 64); len(names) != 8 {
		t.Fatalf("%d due, want all 8", len(names))
	}
	b.ack(letter("h", "h").Envelope)
	b.put(letter("x", "x")) // drops the ended one
	if _, err := b.get(letter("h", "h").ID); !errors.Is(err, fault.NotFound) {
		t.Fatalf("the ended item: %v", err)
	}
	b.refused(try(letter("y", "y")), fault.Full)
	for i := range 4 {
		it := letter(fmt.Sprint("same", i), fmt.Sprint("same", i))
		it.Envelope = hash("same")
		wide := open(t, b.kv, outbox.Limits{})
		wide.put(it)
		if i == 3 {
			it = letter("same4", "same4")
			it.Envelope = hash("same")
			wide.refused(wide.update(func(tx kv.Tx) error { return wide.Put(tx, it) }), fault.Full)
		}
	}
}

func TestKeysTellNothing(t *testing.T) {
	plain := kv.Memory()
	b := open(t, kv.Sealed(plain, key.NewSecret()), outbox.Limits{})
	it := letter("a", "g")
	b.put(it)
	find := func() (found bool) {
		b.ok(plain.View(t.Context(), func(r kv.Reader) error {
			return r.Scan(nil, nil, func(k, v []byte) (bool, error) {
				for _, secret := range [][]byte{it.ID[:8], it.Envelope[:8], it.Grant[:8], it.Data, it.Box[:8], it.Seed.Secret().Reveal()} {
					found = found || bytes.Contains(k, secret) || bytes.Contains(v, secret)
				}
				return true, nil
			})
		}))
		return found
	}
	if find() {
		t.Fatal("an id, a secret or the letter stands readable in the store")
	}
	b.ok(plain.Update(t.Context(), func(tx kv.Tx) error { return tx.Put(append([]byte("planted"), it.ID[:]...), nil) }))
	if !find() {
		t.Fatal("the search does not find what is planted")
	}
}

// A run of random steps against a model, over stores that run each transaction
// twice, or fail, and with the outbox opened anew now and then.
func TestOutboxIsItsModel(t *testing.T) {
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		s := storetest.Twice(private())
		b := open(t, s, outbox.Limits{Items: 40, PerGrant: 12, KeepMS: 1})
		model := map[protocol.Hash]*outbox.Item{}
		clock := int64(now)
		for step := range 150 {
			clock += rnd.Int64N(200)
			name, grant := fmt.Sprint(rnd.IntN(60)), fmt.Sprint(rnd.IntN(6))
			failing := b
			broken := rnd.IntN(4) == 0
			if broken {
				failing.kv = storetest.Failing(s, 1+rnd.IntN(8))
			}
			err := randomStep(rnd, failing, model, name, grant, clock)
			if err != nil && !errors.Is(err, fault.Full) && !(broken && errors.Is(err, storetest.ErrInjected)) {
				t.Fatalf("seed %d step %d: %v", seed, step, err)
			}
			if rnd.IntN(10) == 0 {
				b = open(t, s, outbox.Limits{Items: 40, PerGrant: 12, KeepMS: 1})
			}
			compare(t, b, model, clock)
		}
	}
}

func randomStep(rnd *rand.Rand, b box, model map[protocol.Hash]*outbox.Item, name, grant string, clock int64) error {
	it := letter(name, grant)
	known := model[it.ID]
	switch rnd.IntN(6) {
	default:
		it.CreatedMS, it.Next, it.Expires = clock, clock+rnd.Int64N(500), protocol.Second(clock/1000+rnd.Int64N(5))+1
		err := b.update(func(tx kv.Tx) error { return b.Put(tx, it) })
		if err == nil && known == nil {
			it.State = outbox.Queued
			model[it.ID] = &it
			oldest(model, 40)
		}
		return err
	case 2:
		it.State, it.Next = outbox.State(1+rnd.IntN(3)), clock+rnd.Int64N(500)
		err := b.update(func(tx kv.Tx) error { _, err := b.Save(tx, it); return err })
		if known == nil && errors.Is(err, fault.NotFound) {
			return nil
		}
		if err == nil && !known.Over() {
			known.State, known.Next = max(known.State, it.State), it.Next
		}
		return err
	case 3:
		err := b.update(func(tx kv.Tx) error { _, _, err := b.Ack(tx, it.Envelope); return err })
		if err == nil && known != nil && !known.Over() {
			known.State = outbox.Acked
		}
		return err
	case 4:
		err := b.update(func(tx kv.Tx) error { _, err := b.CancelFor(tx, it.Grant); return err })
		for _, m := range model {
			if err == nil && m.Grant == it.Grant && !m.Over() {
				m.State = outbox.Cancelled
			}
		}
		return err
	case 5:
		err := b.update(func(tx kv.Tx) error { _, _, err := b.Sweep(tx, clock); return err })
		for _, m := range model {
			if err == nil && !m.Over() && int64(m.Expires) <= clock/1000 {
				m.State = outbox.Expired
			}
		}
		maps.DeleteFunc(model, func(_ protocol.Hash, m *outbox.Item) bool {
			return err == nil && m.Over() && m.CreatedMS < clock-1
		})
		return err
	}
}

// oldest drops what the outbox drops for room. Creation times may be equal, so the
// model only checks that there was something to drop, and compare fills it in.
func oldest(model map[protocol.Hash]*outbox.Item, most int) {
	for len(model) > most {
		var old *outbox.Item
		for _, m := range model {
			if m.Over() && (old == nil || m.CreatedMS < old.CreatedMS) {
				old = m
			}
		}
		delete(model, old.ID)
	}
}

func compare(t *testing.T, b box, model map[protocol.Hash]*outbox.Item, clock int64) {
	t.Helper()
	var bytes int64
	var due []string
	next := int64(0)
	for id, want := range model {
		got, err := b.get(id)
		if err != nil || got.State != want.State || got.Over() != (got.Data == nil) {
			t.Fatalf("%s: %v in state %v, want %v", id.Short(), err, got.State, want.State)
		}
		if want.Over() {
			continue
		}
		bytes += int64(len(want.Data))
		if want.Next <= clock {
			due = append(due, string(want.Data[len("letter "):]))
		} else if next == 0 || want.Next < next {
			next = want.Next
		}
	}
	got, gotNext := b.due(clock, 64)
	slices.Sort(due)
	slices.Sort(got)
	if !slices.Equal(due, got) || gotNext != next {
		t.Fatalf("due %v next %d, want %v next %d", got, gotNext, due, next)
	}
	f := b.fills()
	if f["outbox.items"].Used != int64(len(model)) || f["outbox.bytes"].Used != bytes {
		t.Fatalf("counters %v, want %d items, %d bytes", f, len(model), bytes)
	}
}

// Every point of failure of every step leaves the outbox as it was.
func TestFailuresKeepNothing(t *testing.T) {
	steps := map[string]func(b box, tx kv.Tx) error{
		"put": func(b box, tx kv.Tx) error { return b.Put(tx, letter("new", "g")) },
		"save": func(b box, tx kv.Tx) error {
			it := letter("a", "g")
			it.State = 2
			_, err := b.Save(tx, it)
			return err
		},
		"ack":    func(b box, tx kv.Tx) error { _, _, err := b.Ack(tx, letter("a", "g").Envelope); return err },
		"cancel": func(b box, tx kv.Tx) error { _, err := b.CancelFor(tx, hash("grant g")); return err },
		"sweep":  func(b box, tx kv.Tx) error { _, _, err := b.Sweep(tx, now*2); return err },
	}
	for name, step := range steps {
		for n := 1; ; n++ {
			plain := kv.Memory()
			b := open(t, plain, outbox.Limits{KeepMS: 1})
			b.put(letter("a", "g"), letter("b", "g"))
			before := dump(t, plain)
			b.kv = storetest.Failing(plain, n)
			err := b.update(func(tx kv.Tx) error { return step(b, tx) })
			if err == nil {
				if n < 3 {
					t.Errorf("%s writes in %d steps only", name, n)
				}
				break
			}
			if !errors.Is(err, storetest.ErrInjected) || !maps.Equal(before, dump(t, plain)) {
				t.Fatalf("%s, step %d: %v, or something was kept", name, n, err)
			}
		}
	}
}

func dump(t *testing.T, s kv.Store) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := s.View(t.Context(), func(r kv.Reader) error {
		return r.Scan(nil, nil, func(k, v []byte) (bool, error) {
			all[string(k)] = string(v)
			return true, nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestOnDiskWithManyCallers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "kv")
	secret := key.NewSecret()
	disk, err := kv.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	b := open(t, kv.Sealed(disk, secret), outbox.Limits{})
	var wg sync.WaitGroup
	for c := range 8 {
		wg.Go(func() {
			for i := range 10 {
				it := letter(fmt.Sprint(c, "/", i), fmt.Sprint(c%2))
				if err := b.update(func(tx kv.Tx) error { return b.Put(tx, it) }); err != nil {
					t.Error(err)
				}
				if i%2 == 0 {
					if err := b.update(func(tx kv.Tx) error { _, _, err := b.Ack(tx, it.Envelope); return err }); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	b.ok(disk.Close())
	disk, err = kv.Open(dir)
	b.ok(err)
	defer disk.Close()
	b = open(t, kv.Sealed(disk, secret), outbox.Limits{})
	if names, _ := b.due(now, 64); len(names) != 40 {
		t.Fatalf("%d due after reopening, want 40", len(names))
	}
	if f := b.fills()["outbox.items"]; f.Used != 80 {
		t.Fatalf("%d items, want 80", f.Used)
	}
}

func TestOpenRefusesABrokenSalt(t *testing.T) {
	s := kv.Memory()
	if err := s.Update(t.Context(), func(tx kv.Tx) error { return tx.Put([]byte("o/salt"), []byte{1}) }); err != nil {
		t.Fatal(err)
	}
	if _, err := outbox.Open(s, outbox.Limits{}); !errors.Is(err, fault.Malformed) {
		t.Fatalf("got %v, want malformed", err)
	}
}

func TestBackoff(t *testing.T) {
	last := int64(0)
	for tries := range 40 {
		low, high := outbox.Backoff(tries, 0), outbox.Backoff(tries, 0.999)
		if low < 250 || high < low || high > 600_000 || high < last {
			t.Errorf("try %d waits %d to %d ms", tries, low, high)
		}
		last = high
	}
	if outbox.Backoff(40, 7) != 600_000 || outbox.Backoff(-1, -1) != 250 {
		t.Error("jitter out of its range is not held to it")
	}
}

// What failed and waits is tried soon, so many at once, those next in turn first; what
// nobody tried yet, is held back, is done or over waits as before.
func TestHasten(t *testing.T) {
	b := open(t, private(), outbox.Limits{})
	hasten := func(jitter float64) (n int) {
		b.ok(b.update(func(tx kv.Tx) (err error) {
			n, err = b.Hasten(tx, now, 2000, func() float64 { return jitter })
			return err
		}))
		return n
	}
	failed := func(name string, change func(*outbox.Item)) protocol.Hash {
		it := letter(name, name)
		b.put(it)
		it.State, it.Tries, it.Next = outbox.Queued, 7, now+500_000
		change(&it)
		b.ok(b.update(func(tx kv.Tx) error { _, err := b.Save(tx, it); return err }))
		return it.ID
	}
	next := func(id protocol.Hash) int64 {
		it, err := b.get(id)
		b.ok(err)
		return it.Next
	}
	for name, row := range map[string]struct {
		change func(*outbox.Item)
		next   int64
	}{
		"failed":       {func(*outbox.Item) {}, now + 1000},
		"at one":       {func(it *outbox.Item) { it.State = outbox.Deposited }, now + 1000},
		"at all":       {func(it *outbox.Item) { it.State = outbox.Done }, now + 500_000},
		"not tried":    {func(it *outbox.Item) { it.Tries = 0 }, now + 500_000},
		"soon anyway":  {func(it *outbox.Item) { it.Next = now + 1500 }, now + 1500},
		"long overdue": {func(it *outbox.Item) { it.Next = now - 1500 }, now - 1500},
		"for nobody":   {func(it *outbox.Item) { it.Next = outbox.Never }, outbox.Never},
	} {
		id := failed(name, row.change)
		hasten(0.5)
		if got := next(id); got != row.next {
			t.Errorf("%s: tried %d ms from now, want %d", name, got-now, row.next-now)
		}
		b.ok(b.update(func(tx kv.Tx) error { _, err := b.CancelFor(tx, hash("grant "+name)); return err }))
		hasten(0.5)
	}
	ids := map[protocol.Hash]bool{}
	for i := range 100 {
		ids[failed(fmt.Sprint(i), func(it *outbox.Item) { it.Next += int64(i) })] = true
	}
	if n, m := hasten(0), hasten(0); n != 64 || m != 36 || hasten(0) != 0 {
		t.Errorf("%d, then %d of 100 are hastened", n, m)
	}
	for id := range ids {
		if next(id) != now {
			t.Error("one was not hastened")
		}
	}
}

func FuzzRecords(f *testing.F) {
	f.Add(binary.BigEndian.AppendUint64(nil, now), []byte{0xa0})
	f.Add([]byte{}, []byte{0xff})
	f.Fuzz(func(t *testing.T, k, v []byte) {
		s := kv.Memory()
		b := open(t, s, outbox.Limits{})
		b.ok(s.Update(t.Context(), func(tx kv.Tx) error {
			return errors.Join(tx.Put(append([]byte("o/d/"), k[:min(len(k), 500)]...), v[:min(len(v), 5000)]), tx.Put([]byte("o/n"), v[:min(len(v), 5000)]))
		}))
		b.ok(s.View(t.Context(), func(r kv.Reader) error { // no panic, and no item made of nothing
			items, _, err := b.Due(r, now*2, 1)
			if err == nil && len(items) > 0 {
				t.Errorf("an item out of %x", k)
			}
			_, _ = b.Stats(r)
			return nil
		}))
	})
}

// An announcement that its keepers have is handed to them again when it is put again;
// one that is under way, and a letter, is not.
func TestAnAnnouncementIsPutAgain(t *testing.T) {
	b := open(t, private(), outbox.Limits{})
	a := letter("need", "context")
	a.What, a.Kind, a.Cap, a.Seed = outbox.Announcement, protocol.KindAnnouncement, protocol.Capability{}, protocol.Shared{}
	l := letter("letter", "grant")
	b.put(a, l)
	before := b.fills()
	for _, it := range []outbox.Item{a, l} {
		it.State, it.Tries, it.Next = outbox.Deposited, 3, 77
		b.save(it)
	}
	b.put(a, l)
	for _, it := range []outbox.Item{a, l} {
		if got, err := b.get(it.ID); err != nil || got.State != outbox.Deposited || got.Tries != 3 {
			t.Fatalf("under way, and put anew: %s, %d tries, %v", got.State, got.Tries, err)
		}
		it.State = outbox.Done
		b.save(it)
	}
	b.put(a, l)
	got, err := b.get(a.ID)
	if err != nil || got.State != outbox.Queued || got.Tries != 0 || len(got.Data) == 0 {
		t.Errorf("the announcement: %s, %d tries, %d bytes, %v", got.State, got.Tries, len(got.Data), err)
	}
	if got, err := b.get(l.ID); err != nil || got.State != outbox.Done {
		t.Errorf("the letter: %s, %v", got.State, err)
	}
	if after := b.fills(); after["outbox.items"] != before["outbox.items"] || after["outbox.bytes"] != before["outbox.bytes"] {
		t.Errorf("the outbox counts %v, before %v", after, before)
	}
}

// Of each keeper the receipt that it gave first is kept.
func TestTheFirstReceiptIsKept(t *testing.T) {
	b := open(t, private(), outbox.Limits{})
	it := letter("letter", "grant")
	b.put(it)
	it.State = outbox.Deposited
	k := key.Generate[key.Keeper]().Public()
	for _, at := range []protocol.Second{20, 10, 30} {
		it.Receipts = []protocol.DepositReceipt{{Keeper: k, At: at}}
		b.save(it)
	}
	if got, err := b.get(it.ID); err != nil || len(got.Receipts) != 1 || got.Receipts[0].At != 10 {
		t.Errorf("kept %+v, %v", got.Receipts, err)
	}
}
