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
)

// twoDays lets one of three nodes put a need, a withdrawal and passports that name it, and
// tells which of them another finds a minute later, and two days later. What the board
// of the one that put them does not hold, it never puts again.
func twoDays(t *testing.T, onBoard bool) (first, last [3]bool) {
	synctest.Test(t, func(t *testing.T) {
		net := netem.New(netem.Config{Latency: 20 * time.Millisecond})
		began := time.Now()
		now := func() time.Time { return time.Unix(int64(born), 0).Add(time.Since(began)) }
		var all []*node
		for range 3 {
			s := setup{place: net.Add(), now: now}
			if len(all) > 0 {
				s.bootstrap = []protocol.Keeper{all[0].Self()}
			}
			all = append(all, open(t, s))
		}
		time.Sleep(time.Minute)
		putter, asker := all[1], all[2]
		live := func(a *protocol.Announcement) { a.Expires = born + 7*protocol.Day }
		need := sample{name: "stays", keepers: []protocol.Keeper{putter.Self()}, change: live}
		open := sample{name: "goes", keepers: need.keepers, change: live}
		gone := sample{name: "goes", seq: 2, withdrawn: true, change: live}
		shop := chain("shop", 1, func(p *protocol.Passport) { p.Inbox.Keepers = need.keepers })
		for _, one := range []sample{need, open, gone} {
			h, err := wire.OpenAnnouncement(one.sign())
			if err != nil {
				t.Fatal(err)
			}
			if onBoard {
				if _, err := putter.board.Put(t.Context(), h, now().UnixMilli()); err != nil {
					t.Fatal(err)
				}
			}
			putter.dht.Heard(h)
		}
		if onBoard {
			if _, err := putter.board.PutPassports(t.Context(), shop); err != nil {
				t.Fatal(err)
			}
		}
		putter.dht.Show(shop)
		found := func() (out [3]bool) {
			for i, one := range []sample{need, gone} {
				raw, err := asker.dht.Announcement(t.Context(), private[key.Context](one.name).Public())
				if err != nil && !errors.Is(err, fault.NotFound) {
					t.Fatal(err)
				}
				out[i] = bytes.Equal(raw, one.sign()) || err == nil && one.withdrawn
			}
			c, err := asker.dht.Passports(t.Context(), shop.Vendor())
			out[2] = err == nil && c.LatestHash() == shop.LatestHash()
			return out
		}
		time.Sleep(time.Minute)
		first = found()
		time.Sleep(49 * time.Hour)
		last = found()
		for _, n := range all {
			n.close()
		}
		time.Sleep(time.Minute)
		net.Close()
		time.Sleep(15 * time.Minute)
	})
	return first, last
}

// TestRecordsStandThanksToRePuts: a record counts for 48 hours where it was put, and what
// its keeper holds stands in the DHT for longer: it is put again within 22. A need, a
// withdrawal and passports that nobody puts again are gone.
func TestRecordsStandThanksToRePuts(t *testing.T) {
	all := [3]bool{true, true, true}
	if first, last := twoDays(t, false); first != all || last != [3]bool{} {
		t.Fatalf("never put again: %v at first, %v after 49 hours", first, last)
	}
	first, last := twoDays(t, true)
	t.Logf("need, withdrawal, passports: found %v at first, %v after 49 hours", first, last)
	if first != all || last != all {
		t.Errorf("%v at first, %v after 49 hours", first, last)
	}
}
