package courier_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/node/internal/courier"
	"github.com/harkmarket/hark/node/internal/crew"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/check"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/board"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/mailbox"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/outbox"
)

const shards, effort = 4, 4

var (
	netID = protocol.Hash{7}
	quiet = slog.New(slog.DiscardHandler)
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func now() protocol.Second { return protocol.Second(time.Now().Unix()) }

// A world is three keepers and the couriers of two nodes.
type world struct {
	*testing.T
	net     *nodetest.Net
	keepers []*node
	met     func(k key.KeeperKey, answers bool) // of the users that are made from now on
	close   []func()
}

// A node is one keeper.
type node struct {
	*keeper.Keeper
	port  *nodetest.Port
	board *board.Board
	mail  *mailbox.Mailboxes
}

// in runs a test in a bubble with three keepers, of which one may misbehave.
func in(t *testing.T, bad keeper.Misbehaviour, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, net: nodetest.NewNet(context.Background())}
		for i := range 3 {
			mis := keeper.Misbehaviour("")
			if i == 0 {
				mis = bad
			}
			w.keepers = append(w.keepers, w.keeper(mis))
		}
		defer func() {
			for _, f := range slices.Backward(w.close) {
				f()
			}
			if err := w.net.Close(); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Minute) // timers of streams that were cut
		}()
		test(w)
	})
}

func (w *world) keeper(bad keeper.Misbehaviour) *node {
	n := &node{port: w.net.Port(true)}
	store := kv.Memory()
	n.board = must(board.Open(store, shards, board.Limits{}))
	n.mail = must(mailbox.Open(store, n.port.Key(), mailbox.Policy{}))
	n.Keeper = w.serve(n, bad)
	return n
}

// serve starts what a keeper does on its port and stores.
func (w *world) serve(n *node, bad keeper.Misbehaviour) *keeper.Keeper {
	k := must(keeper.New(context.Background(), keeper.Config{
		Key: n.port.Key(), Duties: protocol.DefaultDuties, Board: n.board, Mail: n.mail, Port: n.port, Misbehave: bad,
		Door: &check.Door{Net: netID, Shards: shards, Lanes: []protocol.LaneRule{{Lane: protocol.LaneWork, Effort: effort}}, Memory: n.board},
		Log:  quiet, Now: time.Now,
	}))
	if err := errors.Join(k.Serve(), k.Join([]uint16{0, 1, 2, 3})); err != nil {
		w.Fatal(err)
	}
	w.close = append(w.close, func() {
		if err := k.Close(context.Background()); err != nil {
			w.Error(err)
		}
	})
	return k
}

func (w *world) addresses() (out []protocol.Keeper) {
	for _, n := range w.keepers {
		out = append(out, n.port.Self())
	}
	return out
}

func (n *node) key() key.KeeperKey { return n.port.Key().Public() }

// A user is one node's courier with its outbox, over a market that is made up.
type user struct {
	w    *world
	port *nodetest.Port
	kv   kv.Store
	out  *outbox.Outbox
	*courier.Courier

	mu        sync.Mutex
	letters   []string                        // plain text of letters that came to the market, each time
	answer    func() (courier.Outcome, error) // of the market
	collected []protocol.Second
}

func (w *world) user(how ...courier.Posting) *user {
	u := &user{w: w, port: w.net.Port(false), kv: kv.Memory(), answer: func() (courier.Outcome, error) { return courier.Taken, nil }}
	u.out = must(outbox.Open(u.kv, outbox.Limits{}))
	work := crew.New(context.Background(), 512, nil)
	u.Courier = courier.New(courier.Config{
		Client: keeper.Client{Port: u.port, Net: netID}, Crew: work, KV: u.kv, Outbox: u.out, Letter: u.letter,
		Collected: func(_ context.Context, _ key.MailboxKey, at protocol.Second) error {
			u.mu.Lock()
			defer u.mu.Unlock()
			u.collected = append(u.collected, at)
			return nil
		},
		Met: w.met, Now: time.Now, Log: quiet, Posting: append(how, courier.Posting{})[0],
	})
	if err := work.Hire("courier", u.Run); err != nil {
		w.Fatal(err)
	}
	w.close = append(w.close, func() {
		if err := work.Dismiss(context.Background()); err != nil {
			w.Error(err)
		}
	})
	return u
}

// lock opens the letters of these tests.
var lock = key.GenerateSeal[key.DutySeal]()

// letter is the market: what opens is taken, what does not is junk.
func (u *user) letter(_ context.Context, _ key.MailboxKey, raw []byte) (courier.Outcome, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	plain, _, err := wire.OpenLetter(lock, seal.Duty, netID, raw)
	if err != nil {
		u.letters = append(u.letters, "junk")
		return courier.Junk, nil
	}
	u.letters = append(u.letters, string(plain))
	return u.answer()
}

func (u *user) got() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.letters)
}

func (u *user) read() []protocol.Second {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.collected)
}

// box is a mailbox at all keepers with a capability to it.
func (w *world) box() (records.Box, protocol.Capability, key.Private[key.Depositor]) {
	k, d := key.Generate[key.Mailbox](), key.Generate[key.Depositor]()
	c := protocol.Capability{Box: k.Public(), ID: wire.NewID(), Depositor: d.Public(), Letters: 64, KiB: 640, Expires: now() + 30*protocol.Day}
	if err := wire.SignCapability(k, &c); err != nil {
		w.Fatal(err)
	}
	return records.Box{Key: k.Public(), Seed: protocol.Share(k.Seed()), Role: records.BoxDuty, Keepers: w.addresses(), Until: now() + 30*protocol.Day}, c, d
}

func sealed(box key.MailboxKey, text string) []byte {
	raw, _, err := wire.SealLetter(lock.Public(), seal.Duty, netID, box, now()+20*protocol.Day, []byte(text))
	return must(raw, err)
}

// item is a letter for the outbox.
func item(b records.Box, c protocol.Capability, d key.Private[key.Depositor], text string) outbox.Item {
	raw := sealed(b.Key, text)
	return outbox.Item{
		ID: wire.ID(raw), What: outbox.Letter, Data: raw, Box: b.Key, Keepers: b.Keepers, Cap: c, Seed: protocol.Share(d.Seed()),
		Kind: protocol.KindOffer, Grant: protocol.Hash{1}, Envelope: wire.ID([]byte(text)), Expires: now() + 20*protocol.Day, CreatedMS: time.Now().UnixMilli(),
	}
}

func (u *user) send(items ...outbox.Item) {
	u.w.Helper()
	err := u.kv.Update(context.Background(), func(tx kv.Tx) error {
		for _, it := range items {
			if err := u.out.Put(tx, it); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		u.w.Fatal(err)
	}
	u.Kick()
}

func (u *user) item(id protocol.Hash) (it outbox.Item) {
	u.w.Helper()
	if err := u.kv.View(context.Background(), func(r kv.Reader) (err error) { it, err = u.out.Get(r, id); return err }); err != nil {
		u.w.Fatal(err)
	}
	return it
}

// sightings are all that was noted of keepers: letter, and who lacked or altered it.
func (u *user) sightings() (out []records.Sighting) {
	u.w.Helper()
	err := u.kv.View(context.Background(), func(r kv.Reader) error {
		return records.EachSighting(r, nil, func(s records.Sighting) (bool, error) { out = append(out, s); return true, nil })
	})
	if err != nil {
		u.w.Fatal(err)
	}
	return out
}

// lies counts what a keeper has in a mailbox.
func (n *node) lies(b records.Box) int {
	letters, _, err := n.mail.Collect(context.Background(), b.Key, protocol.Hash{}, 64, now())
	if err != nil {
		return 0
	}
	return len(letters)
}

func (w *world) fills(b records.Box) (out [3]int) {
	for i, n := range w.keepers {
		out[i] = n.lies(b)
	}
	return out
}

func TestALetterIsLeftAtAllKeepers(t *testing.T) {
	in(t, "", func(w *world) {
		u := w.user()
		b, c, d := w.box()
		it := item(b, c, d, "hello")
		u.send(it)
		time.Sleep(time.Second)
		got := u.item(it.ID)
		if got.State != outbox.Done || len(got.Receipts) != 3 || got.Last != "" {
			w.Fatalf("%s with %d receipts, last error %q", got.State, len(got.Receipts), got.Last)
		}
		for _, r := range got.Receipts {
			if err := wire.CheckReceipt(r); err != nil || r.Letter != it.ID || r.Box != b.Key {
				w.Errorf("receipt %+v: %v", r, err)
			}
		}
		if fills := w.fills(b); fills != [3]int{1, 1, 1} {
			w.Errorf("the keepers hold %v", fills)
		}
		// It is deposited again until it is acknowledged, and not after.
		time.Sleep(5 * time.Minute)
		if again := u.item(it.ID); again.Tries < 2 || len(again.Receipts) != 3 {
			w.Errorf("after minutes: %d tries, %d receipts", again.Tries, len(again.Receipts))
		}
		if err := u.kv.Update(w.Context(), func(tx kv.Tx) error { _, _, err := u.out.Ack(tx, it.Envelope); return err }); err != nil {
			w.Fatal(err)
		}
		time.Sleep(10 * time.Second) // what was under way
		before := u.item(it.ID).Tries
		time.Sleep(time.Hour)
		if after := u.item(it.ID); after.Tries != before || after.State != outbox.Acked {
			w.Errorf("after its ack: %s, %d tries more", after.State, after.Tries-before)
		}
		if fills := w.fills(b); fills != [3]int{1, 1, 1} {
			w.Errorf("in the end the keepers hold %v", fills)
		}
	})
}

// What could not be delivered is tried again as soon as somebody is back, also if he is
// back all the time: no more often than so often.
func TestWhatWaitsIsHastened(t *testing.T) {
	in(t, "", func(w *world) {
		u := w.user()
		b, c, d := w.box()
		it := item(b, c, d, "hello")
		for _, k := range w.keepers {
			w.net.SetOnline(k.port, false)
		}
		u.send(it)
		time.Sleep(2 * time.Hour) // pauses are ten minutes now
		before, began := u.item(it.ID).Tries, time.Now()
		for range 600 { // ten minutes, in which somebody is back each second
			u.Back(w.Context())
			time.Sleep(time.Second)
		}
		if n := u.item(it.ID).Tries - before; n < 15 || n > 22 {
			w.Errorf("%d tries in %v", n, time.Since(began))
		}
		for _, k := range w.keepers {
			w.net.SetOnline(k.port, true)
		}
		time.Sleep(30 * time.Second)
		if got := u.item(it.ID); got.State != outbox.Queued {
			w.Fatalf("without being told it is %s at once", got.State)
		}
		u.Back(w.Context())
		time.Sleep(5 * time.Second)
		if got := u.item(it.ID); got.State != outbox.Done {
			w.Errorf("it is %s after %d tries, last error %q", got.State, got.Tries, got.Last)
		}
	})
}

func TestAKeeperThatIsAway(t *testing.T) {
	in(t, "", func(w *world) {
		u := w.user()
		b, c, d := w.box()
		it := item(b, c, d, "hello")
		w.net.SetOnline(w.keepers[1].port, false)
		w.net.SetOnline(w.keepers[2].port, false)
		u.send(it)
		time.Sleep(20 * time.Second)
		if got := u.item(it.ID); got.State != outbox.Queued || got.Tries < 2 || got.Last == "" {
			w.Errorf("one of three: %s after %d tries, last error %q", got.State, got.Tries, got.Last)
		}
		w.net.SetOnline(w.keepers[1].port, true)
		time.Sleep(time.Minute)
		if got := u.item(it.ID); got.State != outbox.Deposited || len(got.Receipts) != 2 {
			w.Errorf("two of three: %s, %d receipts", got.State, len(got.Receipts))
		}
		w.net.SetOnline(w.keepers[2].port, true)
		time.Sleep(15 * time.Minute) // pauses grow to ten minutes
		if got := u.item(it.ID); got.State != outbox.Done || len(got.Receipts) != 3 || got.Last != "" {
			w.Errorf("all three: %s, %d receipts, last error %q", got.State, len(got.Receipts), got.Last)
		}
	})
}

// mail opens a session with a keeper, as any client might.
func (w *world) mail(n *node) *keeper.Session {
	w.Helper()
	s, err := keeper.Client{Port: w.net.Port(false), Net: netID}.Mail(w.Context(), n.port.Self())
	if err != nil {
		w.Fatal(err)
	}
	w.close = append(w.close, func() { _ = s.Close() })
	return s
}

// A keeper that holds a tombstone says that the reader has the letter.
func TestALetterThatItsReaderHasIsDelivered(t *testing.T) {
	in(t, "", func(w *world) {
		u := w.user()
		b, c, d := w.box()
		it := item(b, c, d, "hello")
		for _, n := range w.keepers {
			s := w.mail(n)
			must(s.Deposit(w.Context(), keeper.Deposit{Box: b.Key, Letter: it.Data, Cap: c, Key: d}))
			must(s.Delete(w.Context(), key.FromSeed[key.Mailbox](b.Seed.Secret()), []protocol.Hash{it.ID}))
		}
		u.send(it)
		time.Sleep(time.Second)
		if got := u.item(it.ID); got.State != outbox.Done || got.Tries != 1 || got.Last != "" {
			w.Errorf("%s after %d tries, last error %q", got.State, got.Tries, got.Last)
		}
	})
}

func TestLettersThatExpireEnd(t *testing.T) {
	in(t, "", func(w *world) {
		u := w.user()
		b, c, d := w.box()
		for _, n := range w.keepers {
			w.net.SetOnline(n.port, false)
		}
		it := item(b, c, d, "hello")
		it.Expires = now() + protocol.Hour
		u.send(it)
		time.Sleep(2 * time.Hour)
		var got outbox.Item
		if err := u.kv.View(w.Context(), func(r kv.Reader) (err error) { got, err = u.out.Get(r, it.ID); return err }); err != nil || got.State != outbox.Expired {
			w.Errorf("%s, %v", got.State, err)
		}
	})
}

// A vendor's first word: the keeper that lacks the vendor's passports gets them with it.
func TestAFirstLetterBringsThePassports(t *testing.T) {
	in(t, "", func(w *world) {
		u := w.user()
		ctxKey, box, op, root := key.Generate[key.Context](), key.Generate[key.Mailbox](), key.Generate[key.Operational](), key.Generate[key.Root]()
		body, commitment, err := wire.SealBody(protocol.Demand{Name: "Desk"}, key.NewSecret(), ctxKey.Public(), 1)
		if err != nil {
			w.Fatal(err)
		}
		need := must(wire.SignAnnouncement(ctxKey, &protocol.Announcement{
			Header: protocol.Header{Net: netID, ID: wire.NewID(), Seq: 1, Created: now(), Expires: now() + 6*protocol.Hour},
			Status: protocol.Open, Reason: protocol.ContextNeed, Category: "home.furniture", Region: "ZA-GP",
			Seal: key.GenerateSeal[key.ContextSeal]().Public(), Terms: protocol.Hash{8}, Keepers: w.addresses(), Mailbox: box.Public(),
			Body: body, Commitment: commitment,
		}, protocol.LaneWork, effort))
		announce := outbox.Item{
			ID: wire.ID(need), What: outbox.Announcement, Data: need, Keepers: w.addresses(), Kind: protocol.KindAnnouncement,
			Grant: protocol.Hash(ctxKey.Public()), Expires: now() + 6*protocol.Hour,
		}
		u.send(announce)
		time.Sleep(time.Second)
		if got := u.item(announce.ID); got.State != outbox.Done || !got.Over() {
			w.Fatalf("the announcement is %s: %s", got.State, got.Last)
		}
		pass := must(wire.Sign(root, &protocol.Passport{
			Header: protocol.Header{Net: netID, Kind: protocol.KindPassport, ID: wire.NewID(), Seq: 1, Created: now()},
			Root:   root.Public(), Next: wire.NextRoot(key.Generate[key.Root]().Public()), Name: "Veld & Vine", Country: "ZA",
			Operational: []protocol.Operational{{Key: op.Public(), Roles: protocol.RoleRequests, From: now() - 1, Until: now() + 90*protocol.Day}},
			Inbox: protocol.Inbox{
				Box: key.Generate[key.Mailbox]().Public(), Seal: key.GenerateSeal[key.InboxSeal]().Public(), Keepers: w.addresses(), Effort: effort, Quota: 8,
			},
		}))
		vendor := wire.ID(pass)
		raw := sealed(box.Public(), "may I?")
		first := outbox.Item{
			ID: wire.ID(raw), What: outbox.Letter, Data: raw, Box: box.Public(), Keepers: w.addresses(), Kind: protocol.KindRequest, Grant: protocol.Hash{3},
			Seed: protocol.Share(op.Seed()), Expires: now() + 5*protocol.Hour,
			First: protocol.FirstContact{
				Vendor: vendor, Passport: wire.ID(pass), Key: op.Public(), Expires: now() + 5*protocol.Hour,
				Stamp: protocol.Admission{Lane: protocol.LaneWork, Effort: effort},
			},
		}
		// Without its passports it is refused, everywhere.
		u.send(first)
		time.Sleep(time.Second)
		if got := u.item(first.ID); got.State != outbox.Queued || got.Last == "" {
			w.Errorf("without passports: %s, %q", got.State, got.Last)
		}
		raw = sealed(box.Public(), "may I, please?")
		first.ID, first.Data, first.First.Chain = wire.ID(raw), raw, [][]byte{pass}
		u.send(first)
		time.Sleep(time.Second)
		if got := u.item(first.ID); got.State != outbox.Done || len(got.Receipts) != 3 {
			w.Errorf("with passports: %s, %d receipts, %q", got.State, len(got.Receipts), got.Last)
		}
		for i, n := range w.keepers {
			if chain, err := n.board.Passports(w.Context(), vendor); err != nil || chain.Vendor() != vendor {
				w.Errorf("keeper %d does not know the vendor: %v", i, err)
			}
		}
	})
}

func TestPassportsArePublished(t *testing.T) {
	in(t, "", func(w *world) {
		u := w.user()
		root := key.Generate[key.Root]()
		pass := must(wire.Sign(root, &protocol.Passport{
			Header: protocol.Header{Net: netID, Kind: protocol.KindPassport, ID: wire.NewID(), Seq: 1, Created: now()},
			Root:   root.Public(), Next: wire.NextRoot(key.Generate[key.Root]().Public()), Name: "Veld & Vine", Country: "ZA",
			Operational: []protocol.Operational{{Key: key.Generate[key.Operational]().Public(), Roles: protocol.RoleRequests, From: now(), Until: now() + protocol.Day}},
			Inbox: protocol.Inbox{
				Box: key.Generate[key.Mailbox]().Public(), Seal: key.GenerateSeal[key.InboxSeal]().Public(), Keepers: w.addresses(), Effort: effort, Quota: 8,
			},
		}))
		it := outbox.Item{ID: wire.ID(pass), What: outbox.Passport, Data: pass, Keepers: w.addresses(), Kind: protocol.KindPassport, Grant: wire.ID(pass), Expires: now() + protocol.Day}
		it.First.Chain = [][]byte{pass}
		u.send(it)
		time.Sleep(time.Second)
		if got := u.item(it.ID); !got.Over() {
			w.Errorf("%s: %s", got.State, got.Last)
		}
		if _, err := w.keepers[2].board.Passports(w.Context(), wire.ID(pass)); err != nil {
			w.Error(err)
		}
	})
}

func TestALetterFromThreeKeepersIsReadOnceAndDeletedEverywhere(t *testing.T) {
	in(t, "", func(w *world) {
		sender, reader := w.user(), w.user()
		b, c, d := w.box()
		reader.Watch(b)
		reader.Watch(b) // once more does nothing
		time.Sleep(time.Second)
		a, e := item(b, c, d, "one"), item(b, c, d, "two")
		sender.send(a)
		time.Sleep(10 * time.Second)
		sender.send(e)
		time.Sleep(10 * time.Second)
		if got := slices.Compact(reader.got()); !slices.Equal(got, []string{"one", "two"}) {
			w.Errorf("the market got %v", got)
		}
		if fills := w.fills(b); fills != [3]int{} {
			w.Errorf("the keepers still hold %v", fills)
		}
		if list := reader.sightings(); len(list) != 0 {
			w.Errorf("noted %+v", list)
		}
	})
}

// Each push takes one after the other: the second and third keeper's copies come
// when the first was dealt with, and cost the market nothing.
func TestCopiesThatComeLaterCostNothing(t *testing.T) {
	in(t, "", func(w *world) {
		sender, reader := w.user(), w.user()
		b, c, d := w.box()
		w.net.SetLink(reader.port, w.keepers[1].port, false)
		w.net.SetLink(reader.port, w.keepers[2].port, false)
		reader.Watch(b)
		sender.send(item(b, c, d, "one"))
		time.Sleep(10 * time.Second)
		w.net.SetLink(reader.port, w.keepers[1].port, true)
		w.net.SetLink(reader.port, w.keepers[2].port, true)
		time.Sleep(2 * time.Minute)
		if got := reader.got(); !slices.Equal(got, []string{"one"}) {
			w.Errorf("the market got %v", got)
		}
		if fills := w.fills(b); fills != [3]int{} {
			w.Errorf("the keepers still hold %v", fills)
		}
		if list := reader.sightings(); len(list) != 0 {
			w.Errorf("noted %+v", list)
		}
	})
}

// A letter that a broken stream brings twice convicts nobody.
func TestALetterThatIsPushedTwiceConvictsNobody(t *testing.T) {
	in(t, "", func(w *world) {
		sender, reader := w.user(), w.user()
		b, c, d := w.box()
		reader.Watch(b)
		time.Sleep(time.Second)
		for i := range 6 {
			sender.send(item(b, c, d, fmt.Sprint(i)))
			time.Sleep(time.Duration(i*30) * time.Millisecond) // before, amid and after the deletion
			for _, n := range w.keepers {
				w.net.SetLink(reader.port, n.port, false)
			}
			time.Sleep(50 * time.Millisecond)
			for _, n := range w.keepers {
				w.net.SetLink(reader.port, n.port, true)
			}
			time.Sleep(2 * time.Minute)
		}
		got := reader.got()
		slices.Sort(got)
		if got = slices.Compact(got); !slices.Equal(got, []string{"0", "1", "2", "3", "4", "5"}) {
			w.Errorf("the market got %v", got)
		}
		if fills := w.fills(b); fills != [3]int{} {
			w.Errorf("the keepers still hold %v", fills)
		}
		for _, s := range reader.sightings() {
			if len(s.Missing)+len(s.Altered) > 0 {
				w.Errorf("noted %+v", s)
			}
		}
	})
}

func TestAKeeperThatWithholdsIsNoted(t *testing.T) {
	in(t, keeper.WithholdMail, func(w *world) {
		sender, reader := w.user(), w.user()
		b, c, d := w.box()
		reader.Watch(b)
		it := item(b, c, d, "hello")
		sender.send(it)
		time.Sleep(time.Minute)
		if got := sender.item(it.ID); len(got.Receipts) != 3 {
			w.Fatalf("%d receipts", len(got.Receipts))
		}
		list := reader.sightings()
		if len(list) != 1 || list[0].Letter != it.ID || list[0].Box != b.Key || list[0].AtMS == 0 ||
			!slices.Equal(list[0].Missing, []key.KeeperKey{w.keepers[0].key()}) || len(list[0].Altered) != 0 {
			w.Errorf("noted %+v", list)
		}
	})
}

// The same keeper, but the letter was dealt with before the reader's last start: by
// then its copies may have been deleted at any of the keepers.
func TestALetterDealtWithBeforeAStartConvictsNobody(t *testing.T) {
	in(t, keeper.WithholdMail, func(w *world) {
		sender, reader := w.user(), w.user()
		reader.answer = func() (courier.Outcome, error) { return courier.Known, nil }
		b, c, d := w.box()
		reader.Watch(b)
		sender.send(item(b, c, d, "hello"))
		time.Sleep(time.Minute)
		if list := reader.sightings(); len(list) != 0 {
			w.Errorf("noted %+v", list)
		}
		if fills := w.fills(b); fills != [3]int{} {
			w.Errorf("the keepers still hold %v", fills)
		}
	})
}

func TestAKeeperThatAltersIsNoted(t *testing.T) {
	in(t, keeper.FlipBits, func(w *world) {
		sender, reader := w.user(), w.user()
		b, c, d := w.box()
		reader.Watch(b)
		it := item(b, c, d, "hello")
		sender.send(it)
		time.Sleep(time.Minute)
		var altered []key.KeeperKey
		for _, s := range reader.sightings() {
			if s.Letter == it.ID {
				altered = s.Altered
				if len(s.Missing) > 0 {
					w.Errorf("it is said to lack what it altered: %+v", s)
				}
			}
		}
		if !slices.Equal(altered, []key.KeeperKey{w.keepers[0].key()}) {
			w.Errorf("noted %+v", reader.sightings())
		}
		if got := slices.Compact(slices.Sorted(slices.Values(reader.got()))); !slices.Equal(got, []string{"hello", "junk"}) {
			w.Errorf("the market got %v", got)
		}
	})
}

// Junk that a sender has left with all keepers is the sender's, not theirs.
func TestJunkConvictsNobody(t *testing.T) {
	in(t, "", func(w *world) {
		sender, reader := w.user(), w.user()
		b, c, d := w.box()
		reader.Watch(b)
		it := item(b, c, d, "hello")
		other, _, err := wire.SealLetter(key.GenerateSeal[key.DutySeal]().Public(), seal.Duty, netID, b.Key, now()+protocol.Day, []byte("to another"))
		if err != nil {
			w.Fatal(err)
		}
		it.ID, it.Data = wire.ID(other), other
		sender.send(it)
		time.Sleep(time.Minute)
		if got := slices.Compact(reader.got()); !slices.Equal(got, []string{"junk"}) {
			w.Errorf("the market got %v", got)
		}
		if fills := w.fills(b); fills != [3]int{} {
			w.Errorf("the keepers still hold %v", fills)
		}
		if list := reader.sightings(); len(list) != 0 {
			w.Errorf("noted %+v", list)
		}
	})
}

func TestLettersThatTheMarketCannotTakeAreTriedAgain(t *testing.T) {
	in(t, "", func(w *world) {
		sender, reader := w.user(), w.user()
		b, c, d := w.box()
		busy := true
		reader.answer = func() (courier.Outcome, error) {
			if busy {
				return 0, fault.Locked
			}
			return courier.Taken, nil
		}
		reader.Watch(b)
		sender.send(item(b, c, d, "hello"))
		time.Sleep(19 * time.Second) // between two tries: they come every second second, and here all is counted
		tries := len(reader.got())
		if tries < 3 || tries > 60 {
			w.Errorf("%d tries in 19 seconds at 3 keepers", tries)
		}
		if fills := w.fills(b); fills != [3]int{1, 1, 1} {
			w.Errorf("a letter was deleted that was not taken: %v", fills)
		}
		reader.mu.Lock()
		busy = false
		reader.mu.Unlock()
		time.Sleep(20 * time.Second)
		if fills := w.fills(b); fills != [3]int{} {
			w.Errorf("the keepers still hold %v", fills)
		}
		if n := len(reader.got()) - tries; n < 1 || n > 3 {
			w.Errorf("the market was asked %d times more", n)
		}
	})
}

func TestUnwatchedMailboxesAreLeftAlone(t *testing.T) {
	in(t, "", func(w *world) {
		sender, reader := w.user(), w.user()
		b, c, d := w.box()
		other, oc, od := w.box()
		reader.Watch(b)
		reader.Watch(other)
		time.Sleep(time.Second)
		reader.Unwatch(b.Key)
		time.Sleep(5 * time.Minute)   // it lingers for a while
		for _, n := range w.keepers { // streams that open anew follow what is left
			w.net.SetOnline(n.port, false)
			w.net.SetOnline(n.port, true)
		}
		sender.send(item(b, c, d, "to the one"), item(other, oc, od, "to the other"))
		time.Sleep(2 * time.Minute)
		if got := slices.Compact(reader.got()); !slices.Equal(got, []string{"to the other"}) {
			w.Errorf("the market got %v", got)
		}
		if fills := w.fills(b); fills != [3]int{1, 1, 1} {
			w.Errorf("the keepers hold %v", fills)
		}
	})
}

// An order to clear deletes what lies in a mailbox, and refuses its capability.
func TestClearingAMailbox(t *testing.T) {
	in(t, "", func(w *world) {
		u := w.user()
		b, c, d := w.box()
		for i := range 5 {
			u.send(item(b, c, d, fmt.Sprint(i)))
		}
		time.Sleep(2 * time.Second)
		if fills := w.fills(b); fills != [3]int{5, 5, 5} {
			w.Fatalf("the keepers hold %v", fills)
		}
		w.net.SetOnline(w.keepers[2].port, false)
		order := outbox.Item{
			What: outbox.DeleteLetters, Data: []byte("order"), Box: b.Key, Keepers: b.Keepers, Cap: c, Seed: b.Seed, Grant: protocol.Hash{9}, Expires: c.Expires,
			CreatedMS: time.Now().UnixMilli(),
		}
		order.ID = wire.ID(order.Data)
		u.send(order)
		time.Sleep(2 * time.Second)
		if fills := w.fills(b); fills != [3]int{0, 0, 5} {
			w.Errorf("the keepers hold %v", fills)
		}
		if got := u.item(order.ID); got.Over() {
			w.Error("it is over, and one keeper has not heard")
		}
		w.net.SetOnline(w.keepers[2].port, true)
		time.Sleep(2 * time.Minute)
		if fills := w.fills(b); fills != [3]int{} {
			w.Errorf("the keepers hold %v", fills)
		}
		if got := u.item(order.ID); !got.Over() {
			w.Errorf("it is %s: %s", got.State, got.Last)
		}
		_, err := w.mail(w.keepers[2]).Deposit(w.Context(), keeper.Deposit{Box: b.Key, Letter: sealed(b.Key, "late"), Cap: c, Key: d})
		if !errors.Is(err, fault.NotFound) { // what a stranger hears for "denied"
			w.Errorf("a deposit under the revoked capability: %v", err)
		}
	})
}

func TestCollectSaysWhenAMailboxWasRead(t *testing.T) {
	in(t, "", func(w *world) {
		sender, reader := w.user(), w.user()
		b, c, d := w.box()
		reader.Collect(b.Key) // not watched: nothing
		sender.send(item(b, c, d, "hello"))
		time.Sleep(time.Second)
		reader.Watch(b)
		at := now()
		reader.Collect(b.Key)
		time.Sleep(20 * time.Second)
		if !slices.Equal(reader.read(), []protocol.Second{at}) {
			w.Errorf("read at %v, want once at %d", reader.read(), at)
		}
		if got := slices.Compact(reader.got()); !slices.Equal(got, []string{"hello"}) {
			w.Errorf("the market got %v", got)
		}
		w.net.SetOnline(w.keepers[0].port, false) // two of three are enough
		reader.Collect(b.Key)
		time.Sleep(time.Minute)
		if len(reader.read()) != 2 {
			w.Errorf("with one keeper away: read at %v", reader.read())
		}
		w.net.SetOnline(w.keepers[1].port, false)
		reader.Collect(b.Key)
		time.Sleep(time.Minute)
		if len(reader.read()) != 2 {
			w.Errorf("with two keepers away: read at %v", reader.read())
		}
	})
}

// fill finds one bound of a courier.
func (u *user) fill(name string) kv.Fill {
	for _, f := range u.Stats() {
		if f.Name == name {
			return f
		}
	}
	u.w.Fatalf("no bound %s", name)
	return kv.Fill{}
}

// A keeper that takes words and gives none holds up only so many deliveries, and
// these not for ever.
func TestAKeeperThatHangsHoldsUpABoundedNumber(t *testing.T) {
	in(t, "", func(w *world) {
		u := w.user()
		hung := w.net.Port(true)
		hung.Serve(peers.ProtoMail, func(_ context.Context, c peers.Conn, _ string) { _, _ = io.Copy(io.Discard, c) })
		b, c, d := w.box()
		for i := range 40 {
			it := item(b, c, d, fmt.Sprint(i))
			it.Keepers = []protocol.Keeper{hung.Self()}
			u.send(it)
		}
		synctest.Wait()
		if f := u.fill("courier.deliveries"); f.Used != f.Cap {
			w.Errorf("under way: %d of %d", f.Used, f.Cap)
		}
		time.Sleep(10 * time.Minute)
		err := u.kv.View(w.Context(), func(r kv.Reader) error {
			list, _, err := u.out.List(r, outbox.Filter{}, protocol.Hash{}, 64)
			for _, it := range list {
				if it.Tries == 0 || it.State != outbox.Queued {
					w.Errorf("item %s: %d tries, %s", it.ID.Short(), it.Tries, it.State)
				}
			}
			return err
		})
		if err != nil {
			w.Error(err)
		}
	})
}

func TestStreamsAreBounded(t *testing.T) {
	in(t, "", func(w *world) {
		u := w.user()
		for i := range 140 {
			b, _, _ := w.box()
			b.Keepers = []protocol.Keeper{{Key: key.KeeperKey{1, byte(i)}}}
			u.Watch(b)
		}
		time.Sleep(time.Second)
		if f := u.fill("courier.streams"); f.Used != f.Cap {
			w.Errorf("%d streams of %d", f.Used, f.Cap)
		}
	})
}

// Junk at one keeper accuses none of the others that they lack it.
func TestJunkAtOneKeeperAccusesNoOther(t *testing.T) {
	in(t, keeper.FlipBits, func(w *world) {
		sender, reader := w.user(), w.user()
		b, c, d := w.box()
		for _, k := range w.keepers[1:] { // the one that alters is the first to show it
			w.net.SetLink(reader.port, k.port, false)
		}
		it := item(b, c, d, "hello")
		sender.send(it)
		time.Sleep(time.Minute)
		reader.Watch(b)
		time.Sleep(time.Minute)
		for _, k := range w.keepers[1:] {
			w.net.SetLink(reader.port, k.port, true)
		}
		time.Sleep(10 * time.Minute)
		for _, s := range reader.sightings() {
			if len(s.Missing) > 0 || s.Letter != it.ID || !slices.Equal(s.Altered, []key.KeeperKey{w.keepers[0].key()}) {
				w.Errorf("noted %+v", s)
			}
		}
		if got := reader.got(); !slices.Contains(got, "hello") || len(reader.sightings()) != 1 {
			w.Errorf("the market got %v, %d sightings", got, len(reader.sightings()))
		}
	})
}

// A keeper that shows a letter on a new stream, after it confirmed its deletion, is
// noted; one that shows it twice on one stream, or lacks it, is not.
func TestAKeeperThatReplaysIsNoted(t *testing.T) {
	for how, want := range map[keeper.Misbehaviour]bool{keeper.ReplayMail: true, "": false} {
		in(t, how, func(w *world) {
			sender, reader := w.user(), w.user()
			b, c, d := w.box()
			reader.Watch(b)
			it := item(b, c, d, "hello")
			sender.send(it)
			time.Sleep(time.Minute)
			if list := reader.sightings(); len(list) != 0 {
				w.Errorf("%q: too early: %+v", how, list)
			}
			came := len(reader.got()) // three keepers may show it at the same moment: the market tells copies apart
			w.net.SetOnline(reader.port, false)
			time.Sleep(time.Minute)
			w.net.SetOnline(reader.port, true)
			time.Sleep(time.Minute)
			list := reader.sightings()
			if noted := len(list) == 1 && slices.Equal(list[0].Replayed, []key.KeeperKey{w.keepers[0].key()}) && len(list[0].Missing) == 0; noted != want || !want && len(list) > 0 {
				w.Errorf("%q: noted %+v", how, list)
			}
			if got := reader.got(); came == 0 || len(got) != came {
				w.Errorf("%q: the market got %v, %d of them before anything was shown again", how, got, came)
			}
		})
	}
}

// A mailbox that is read already is read at further keepers too.
func TestAMailboxIsReadAtFurtherKeepers(t *testing.T) {
	in(t, "", func(w *world) {
		sender, reader := w.user(), w.user()
		b, c, d := w.box()
		all := b.Keepers
		b.Keepers = all[:1]
		reader.Watch(b)
		time.Sleep(time.Second)
		b.Keepers = all[2:]
		it := item(b, c, d, "hello")
		sender.send(it)
		time.Sleep(time.Minute)
		if got := reader.got(); len(got) != 0 {
			w.Fatalf("read where nobody said: %v", got)
		}
		b.Keepers = all
		reader.Watch(b)
		time.Sleep(time.Minute)
		if got := reader.got(); !slices.Equal(got, []string{"hello"}) || w.fills(b) != [3]int{} {
			w.Errorf("got %v, the keepers hold %v", got, w.fills(b))
		}
		list := reader.sightings()
		if len(list) == 1 && len(list[0].Missing) > 2 || len(list) > 1 {
			w.Errorf("noted %+v", list)
		}
	})
}

// The courier says who answers and who does not; of a failure it says first that
// another keeper is reached, if one is.
func TestTheCourierTellsWhomItMet(t *testing.T) {
	in(t, "", func(w *world) {
		var mu sync.Mutex
		met := map[key.KeeperKey][2]int{}
		w.met = func(k key.KeeperKey, answers bool) {
			mu.Lock()
			defer mu.Unlock()
			n := met[k]
			if answers {
				n[0]++
			} else {
				n[1]++
			}
			met[k] = n
		}
		reader := w.user()
		b, _, _ := w.box()
		reader.Watch(b)
		time.Sleep(time.Second)
		w.net.SetOnline(w.keepers[0].port, false)
		time.Sleep(10 * time.Minute)
		mu.Lock()
		defer mu.Unlock()
		gone, there := met[w.keepers[0].key()], met[w.keepers[1].key()]
		other := met[w.keepers[2].key()]
		if gone[0] != 1 || gone[1] < 10 || there[1]+other[1] != 0 || there[0]+other[0] < gone[1] {
			w.Errorf("the one that is gone %v, the others %v and %v", gone, there, other)
		}
	})
}
