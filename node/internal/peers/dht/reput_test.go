package dht

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/nodetest/netem"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
)

// a trio is three nodes on a simulated network, of which the second puts and may start
// again, and the third asks.
type trio struct {
	*testing.T
	net        *netem.Net
	now        func() time.Time
	hub, asker *node
	putter     *node
	again      setup // of the putter
	keepers    []protocol.Keeper
	need, goes sample
	shop       wire.Chain
	withdrawn  sample
}

// gather opens them; call it inside a bubble.
func gather(t *testing.T) *trio {
	began, round := time.Now(), int64(putEvery.Seconds())
	start := time.Unix((int64(born)/round+1)*round, 0) // of a round: each record has the same turn in every run
	w := &trio{T: t, net: netem.New(netem.Config{Latency: 20 * time.Millisecond})}
	w.now = func() time.Time { return start.Add(time.Since(began)) }
	w.hub = open(t, setup{place: w.net.Add(), now: w.now})
	first := []protocol.Keeper{w.hub.Self()}
	w.again = setup{place: w.net.Add(), now: w.now, bootstrap: first, key: key.Generate[key.Keeper](), store: kv.Memory()}
	w.putter = open(t, w.again)
	w.asker = open(t, setup{place: w.net.Add(), now: w.now, bootstrap: first})
	time.Sleep(time.Minute)
	w.keepers = []protocol.Keeper{w.putter.Self()}
	live := func(a *protocol.Announcement) { a.Expires = born + 7*protocol.Day }
	w.need = sample{name: "stays", keepers: w.keepers, change: live}
	w.goes = sample{name: "goes", keepers: w.keepers, change: live}
	w.withdrawn = sample{name: "goes", seq: 2, withdrawn: true, change: live}
	w.shop = chain("shop", 1, func(p *protocol.Passport) { p.Inbox.Keepers = w.keepers })
	return w
}

// hear brings an announcement to the putter, as its keeper would.
func (w *trio) hear(s sample) {
	w.Helper()
	h, err := wire.OpenAnnouncement(s.sign())
	if err != nil {
		w.Fatal(err)
	}
	if _, err := w.putter.board.Put(w.Context(), h, w.now().UnixMilli()); err != nil {
		w.Fatal(err)
	}
	w.putter.dht.Heard(h)
}

func (w *trio) show() {
	w.Helper()
	if _, err := w.putter.board.PutPassports(w.Context(), w.shop); err != nil {
		w.Fatal(err)
	}
	w.putter.dht.Show(w.shop)
}

// restart ends the putter and starts it again, with nothing but what it keeps.
func (w *trio) restart() {
	w.putter.close()
	time.Sleep(5 * time.Second)
	w.putter = open(w.T, w.again)
}

// finds tells whether the one who asks finds an announcement.
func (w *trio) finds(s sample) bool {
	w.Helper()
	raw, err := w.asker.dht.Announcement(w.Context(), private[key.Context](s.name).Public())
	if err != nil && !errors.Is(err, fault.NotFound) {
		w.Fatal(err)
	}
	return bytes.Equal(raw, s.sign())
}

// found tells what of the need, the withdrawal and the passports is found.
func (w *trio) found() [3]bool {
	c, err := w.asker.dht.Passports(w.Context(), w.shop.Vendor())
	return [3]bool{w.finds(w.need), w.finds(w.withdrawn), err == nil && c.LatestHash() == w.shop.LatestHash()}
}

func (w *trio) end() {
	for _, n := range []*node{w.hub, w.putter, w.asker} {
		n.close()
	}
	time.Sleep(time.Minute)
	w.net.Close()
	time.Sleep(15 * time.Minute)
}

// twoDays lets the putter put a need, a withdrawal and passports that name it, and tells
// which of them another finds a minute later, and 49 hours later: nobody looks meanwhile,
// since that renews what is found. The putter may leave after the first minute, or start
// again then and every seven hours.
func twoDays(t *testing.T, leaves, restarts bool) (first, last [3]bool) {
	synctest.Test(t, func(t *testing.T) {
		w := gather(t)
		defer w.end()
		for _, s := range []sample{w.need, w.goes, w.withdrawn} {
			w.hear(s)
		}
		w.show()
		time.Sleep(time.Minute)
		first = w.found()
		time.Sleep(2 * putLate)
		w.hear(sample{name: "of others", change: w.need.change}) // what came before is not new any more
		if leaves {
			w.putter.close()
		}
		for h := 2; h < 49; h++ {
			if restarts && h%7 == 2 {
				w.restart()
			}
			time.Sleep(time.Hour)
		}
		last = w.found()
	})
	return first, last
}

// TestRecordsStandThanksToRePuts: a record counts for 48 hours where it was put, and what
// its keeper holds stands in the DHT for longer: it is put again within 22, also by one
// that starts again every seven. A need, a withdrawal and passports that nobody puts again
// are gone.
func TestRecordsStandThanksToRePuts(t *testing.T) {
	all := [3]bool{true, true, true}
	if first, last := twoDays(t, true, false); first != all || last != [3]bool{} {
		t.Fatalf("never put again: %v at first, %v after 49 hours", first, last)
	}
	for _, restarts := range []bool{false, true} {
		first, last := twoDays(t, false, restarts)
		t.Logf("need, withdrawal, passports, restarts %v: found %v at first, %v after 49 hours", restarts, first, last)
		if first != all || last != all {
			t.Errorf("restarts %v: %v at first, %v after 49 hours", restarts, first, last)
		}
	}
}

// TestARestartedKeeperPutsAtOnce: a withdrawal that comes after a restart, of a need that
// named the keeper before it, is put at once; so is what had come, and was not put yet,
// when the keeper ended.
func TestARestartedKeeperPutsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := gather(t)
		defer w.end()
		w.hear(w.goes)
		time.Sleep(time.Minute)
		w.restart()
		time.Sleep(time.Minute)
		w.hear(w.withdrawn)
		time.Sleep(time.Minute)
		if !w.finds(w.withdrawn) {
			t.Error("a withdrawal after a restart is not put")
		}
		if w.finds(w.need) {
			t.Fatal("what was never put is found: the check finds nothing")
		}
		w.putter.close() // it hears, and ends before it puts
		h, err := wire.OpenAnnouncement(w.need.sign())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.putter.board.Put(t.Context(), h, w.now().UnixMilli()); err != nil {
			t.Fatal(err)
		}
		w.restart()
		time.Sleep(3 * time.Minute)
		if !w.finds(w.need) {
			t.Error("what was waiting when the keeper ended is not put after its start")
		}
	})
}
