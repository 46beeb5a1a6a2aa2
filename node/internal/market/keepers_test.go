package market

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/outbox"
)

// signed is a keeper's receipt.
func signed(k key.Private[key.Keeper], box key.MailboxKey, letter protocol.Hash, at protocol.Second) protocol.DepositReceipt {
	r := protocol.DepositReceipt{Keeper: k.Public(), Box: box, Letter: letter, At: at, Expires: at + protocol.Day}
	if err := wire.SignReceipt(k, &r); err != nil {
		panic(err)
	}
	return r
}

func (s *side) update(fn func(tx kv.Tx) error) {
	s.t.Helper()
	if err := s.cfg.Stores.KV.Update(context.Background(), fn); err != nil {
		s.t.Fatal(err)
	}
}

// onLoop does something on the market's own goroutine.
func (s *side) onLoop(do func()) {
	s.t.Helper()
	if err := s.Do(context.Background(), "test", func(*turn) error { do(); return nil }); err != nil {
		s.t.Fatal(err)
	}
}

func (s *side) sighting(id protocol.Hash) (v records.Sighting) {
	s.t.Helper()
	_ = s.cfg.Stores.KV.View(context.Background(), func(r kv.Reader) (err error) { v, err = records.GetSighting(r, id); return err })
	return v
}

func (s *side) told(id protocol.GrantID) (list []protocol.DepositReceipt) {
	s.t.Helper()
	if err := s.cfg.Stores.KV.View(context.Background(), func(r kv.Reader) (err error) { list, err = records.GetTold(r, id); return err }); err != nil {
		s.t.Fatal(err)
	}
	return list
}

// The shop has a keeper's receipt for a letter that she got elsewhere. It passes it on
// with its next message; she keeps it as proof, once, and judges by it.
func TestReceiptsAreToldAndKeptAsProof(t *testing.T) {
	in(t, func(w *town) {
		w.agree()
		var judged []records.Sighting
		w.her.onLoop(func() { w.her.cfg.Judge = func(s records.Sighting) { judged = append(judged, s) } })
		liar, box, letter := key.Generate[key.Keeper](), key.Generate[key.Mailbox]().Public(), protocol.Hash{7}
		other := protocol.Hash{8}
		signedAt := protocol.Second(time.Now().Unix())
		time.Sleep(time.Minute)
		w.her.update(func(tx kv.Tx) error {
			return records.PutSighting(tx, records.Sighting{Letter: letter, Box: box, AtMS: time.Now().UnixMilli(), Missing: []key.KeeperKey{liar.Public()}}, records.Room{All: 8, Box: 4})
		})
		receipts := []protocol.DepositReceipt{signed(liar, box, letter, signedAt), signed(key.Generate[key.Keeper](), box, letter, signedAt), signed(liar, box, other, signedAt)}
		for range 2 { // the second time it is nothing new
			w.shop.update(func(tx kv.Tx) error { return records.PutTold(tx, w.grant, receipts) })
			w.ok(w.her.Pause(context.Background(), w.grant, false, ""))
			w.settle() // it acknowledges
			w.ok(w.her.Pause(context.Background(), w.grant, true, ""))
			w.settle()
		}
		got := w.her.sighting(letter)
		if !slices.Equal(got.Lied(), []key.KeeperKey{liar.Public()}) || len(got.Proof) != 1 || len(judged) != 1 {
			t.Fatalf("she holds %d proofs against %v, and judged %d times", len(got.Proof), got.Lied(), len(judged))
		}
		if v := w.her.sighting(other); !v.Letter.IsZero() {
			t.Error("a receipt for a letter that nobody missed was kept")
		}
		if left := w.shop.told(w.grant); slices.ContainsFunc(left, func(r protocol.DepositReceipt) bool { return r.Keeper == liar.Public() }) {
			t.Error("what was told waits still")
		}
	})
}

// What makes a receipt no proof.
func TestWhatProvesNothing(t *testing.T) {
	k, box, letter := key.Generate[key.Keeper](), key.Generate[key.Mailbox]().Public(), protocol.Hash{7}
	good := records.Sighting{
		Letter: letter, Box: box, AtMS: 2_000_500, Missing: []key.KeeperKey{k.Public()}, Altered: []key.KeeperKey{k.Public()},
		Proof: []protocol.DepositReceipt{{Keeper: k.Public(), Box: box, Letter: letter, At: 2000}},
	}
	if len(good.Lied()) != 1 || len(good.Doubted()) != 1 {
		t.Fatal("a receipt of an earlier second is no proof")
	}
	for name, change := range map[string]func(s *records.Sighting){
		"a later receipt":       func(s *records.Sighting) { s.Proof[0].At = 2001 },
		"of another letter":     func(s *records.Sighting) { s.Proof[0].Letter = protocol.Hash{8} },
		"of another box":        func(s *records.Sighting) { s.Proof[0].Box[0] ^= 1 },
		"of another keeper":     func(s *records.Sighting) { s.Proof[0].Keeper[0] ^= 1 },
		"of a first letter":     func(s *records.Sighting) { s.First = true },
		"no receipt":            func(s *records.Sighting) { s.Proof = nil },
		"found after all":       func(s *records.Sighting) { s.Missing, s.Altered = nil, nil },
		"another one lacked it": func(s *records.Sighting) { s.Missing, s.Altered = []key.KeeperKey{{1}}, nil },
	} {
		s := good
		s.Proof = slices.Clone(good.Proof)
		change(&s)
		if len(s.Lied()) != 0 || len(s.Doubted()) != 0 {
			t.Errorf("%s: it convicts", name)
		}
	}
}

// Receipts of letters that were acknowledged wait to be told: the first of each keeper,
// the latest wire.MaxTold, and none of letters without a capability.
func TestWhatWillBeTold(t *testing.T) {
	in(t, func(w *town) {
		k, box := key.Generate[key.Keeper](), key.Generate[key.Mailbox]().Public()
		w.ok(w.her.Do(context.Background(), "test", func(t *turn) error {
			it := outbox.Item{Grant: protocol.Hash{9}, Receipts: []protocol.DepositReceipt{signed(k, box, protocol.Hash{1}, 1000)}}
			if err := t.willTell(it); err != nil {
				return err
			}
			it.Cap.ID = protocol.ID{1}
			it.Receipts = append(it.Receipts, signed(k, box, protocol.Hash{1}, 2000))
			for range wire.MaxTold + 2 {
				if err := t.willTell(it); err != nil {
					return err
				}
			}
			return nil
		}))
		list := w.her.told(protocol.Hash{9})
		if len(list) != wire.MaxTold || slices.ContainsFunc(list, func(r protocol.DepositReceipt) bool { return r.At != 1000 }) {
			t.Errorf("%d receipts wait, at most %d, and of each keeper the first", len(list), wire.MaxTold)
		}
	})
}

// What is announced is posted again each hour, and moves when its keepers are out: it
// ends when it would have ended, and its mailbox is read at both.
func TestAnnouncementsAreLookedAfter(t *testing.T) {
	in(t, func(w *town) {
		before := w.her.context(w.need)
		done := func() {
			for _, it := range w.her.posted(protocol.KindAnnouncement) {
				it.State = outbox.Done
				w.her.update(func(tx kv.Tx) error { _, err := w.her.cfg.Stores.Outbox.Save(tx, it); return err })
			}
		}
		w.her.carried = map[protocol.Hash]bool{}
		again := 0
		for range 4 * 6 { // four hours
			time.Sleep(10 * time.Minute)
			for _, it := range w.her.posted(protocol.KindAnnouncement) {
				if it.State == outbox.Queued {
					again++
				}
			}
			done()
		}
		if again < 3 || again > 5 {
			t.Errorf("in four hours it was posted %d times", again)
		}
		to := []protocol.Keeper{{Key: key.Generate[key.Keeper]().Public(), Addrs: keepers[0].Addrs}}
		w.her.to.Store(&to)
		time.Sleep(10 * time.Minute)
		c := w.her.context(w.need)
		if c.Flow.Seq != before.Flow.Seq+1 || c.Keepers[0].Key != to[0].Key || ends(&c) != ends(&before) || c.Life != before.Life {
			t.Errorf("seq %d, keepers %v, ends %d not %d, life %d", c.Flow.Seq, c.Keepers, ends(&c), ends(&before), c.Life)
		}
		var box records.Box
		w.ok(w.her.cfg.Stores.KV.View(context.Background(), func(r kv.Reader) (err error) {
			box, err = records.GetBox(r, key.FromSeed[key.Mailbox](c.Keys.Box.Secret()).Public())
			return err
		}))
		if len(box.Keepers) != 2 || box.Keepers[0].Key != to[0].Key || box.Keepers[1].Key != keepers[0].Key {
			t.Errorf("its mailbox is read at %v", box.Keepers)
		}
		time.Sleep(10 * time.Minute)
		if c := w.her.context(w.need); c.Flow.Seq != before.Flow.Seq+1 {
			t.Errorf("it moved on to seq %d", c.Flow.Seq)
		}
	})
}
