package courier

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/outbox"
)

func idle() *Courier {
	return New(Config{Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return time.UnixMilli(1_000_000) }})
}

func letter(n int) (id protocol.Hash) {
	copy(id[:], fmt.Sprint(n))
	return id
}

func TestSlots(t *testing.T) {
	const taken, junk = Taken, Junk
	k := func(b byte) key.KeeperKey { return key.KeeperKey{b} }
	type seen struct {
		letter int
		from   byte
		o      Outcome
	}
	for name, c := range map[string]struct {
		seen []seen
		want []key.KeeperKey // who is named in the end, for letter 1
	}{
		"three honest keepers":         {[]seen{{1, 1, taken}, {1, 2, taken}, {1, 3, taken}}, nil},
		"altered, then the letter":     {[]seen{{9, 1, junk}, {1, 2, taken}}, []key.KeeperKey{k(1)}},
		"the letter, then altered":     {[]seen{{1, 2, taken}, {9, 1, junk}}, []key.KeeperKey{k(1)}},
		"two altered it":               {[]seen{{8, 1, junk}, {9, 3, junk}, {1, 2, taken}}, []key.KeeperKey{k(1), k(3)}},
		"junk alone":                   {[]seen{{9, 1, junk}, {9, 2, junk}}, nil},
		"junk, known the second time":  {[]seen{{9, 1, junk}, {9, 2, taken}}, nil},
		"known at once, and then junk": {[]seen{{9, 2, taken}, {9, 1, junk}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSlots(8)
			var named []key.KeeperKey
			for _, x := range c.seen {
				_, by := s.see(key.MailboxKey{1}, protocol.ID{2}, letter(x.letter), k(x.from), x.o)
				named = append(named, by...)
			}
			if !slices.Equal(named, c.want) {
				t.Errorf("named %v, want %v", named, c.want)
			}
		})
	}
	s := newSlots(2)
	for i := range byte(5) {
		s.see(key.MailboxKey{i}, protocol.ID{2}, letter(1), k(1), Taken)
	}
	if s.len() != 2 || len(s.order) != 2 {
		t.Errorf("it holds %d and %d slots, at most 2", s.len(), len(s.order))
	}
}

func TestDoomedLettersAreBounded(t *testing.T) {
	c := idle()
	w := &watch{doomed: map[key.MailboxKey][]doomed{}, wake: make(chan struct{}, 1)}
	for i := range c.lim.Doomed + 10 {
		c.toDelete(w, key.MailboxKey{byte(i)}, doomed{letter(i), firstTime})
	}
	c.toDelete(w, key.MailboxKey{1}, doomed{letter(1), onceMore}) // known already
	if w.dooms != c.lim.Doomed {
		t.Errorf("%d letters wait, at most %d", w.dooms, c.lim.Doomed)
	}
	if first := w.doomed[key.MailboxKey{1}][0]; !first.first {
		t.Error("a repeat made the first deletion one")
	}
	all := 0
	for _, list := range c.dooms(w) {
		all += len(list)
	}
	if all != c.lim.Doomed || w.dooms != 0 || len(w.doomed) != 0 {
		t.Errorf("%d were handed over, %d stay", all, w.dooms)
	}
}

func TestDeliveriesAreBounded(t *testing.T) {
	c := idle()
	for i := range c.lim.Deliveries {
		if !c.busy.Begin(letter(i)) {
			t.Fatalf("no room for delivery %d", i+1)
		}
	}
	if c.busy.Begin(letter(99)) {
		t.Error("one too many")
	}
	c.busy.End(letter(0))
	if c.busy.Begin(letter(1)) {
		t.Error("one is under way twice")
	}
	if !c.busy.Begin(letter(99)) {
		t.Error("no room after one has ended")
	}
	for _, f := range c.Stats() {
		if f.Used > f.Cap {
			t.Errorf("%s: %d of %d", f.Name, f.Used, f.Cap)
		}
	}
}

func TestSettle(t *testing.T) {
	ok := func(b byte) result {
		return result{keeper: protocol.Keeper{Key: key.KeeperKey{b}}, receipt: protocol.DepositReceipt{Keeper: key.KeeperKey{b}}}
	}
	fail := func(err error) result { return result{err: err} }
	offline, conflict := fail(fault.Offline), fail(&keeper.Refused{Kind: fault.Conflict})
	later, early := fail(&keeper.Refused{Kind: fault.Expired, Text: "precedence"}), fail(&keeper.Refused{Kind: fault.Expired, Text: "early"})
	three := make([]protocol.Keeper, 3)
	for name, c := range map[string]struct {
		it       outbox.Item
		list     []result
		state    outbox.State
		receipts int
		never    bool
	}{
		"all have it":               {outbox.Item{Keepers: three}, []result{ok(1), ok(2), ok(3)}, outbox.Done, 3, false},
		"two of three":              {outbox.Item{Keepers: three}, []result{ok(1), ok(2), offline}, outbox.Deposited, 2, false},
		"one of three":              {outbox.Item{Keepers: three}, []result{ok(1), offline, offline}, outbox.Queued, 1, false},
		"none of three":             {outbox.Item{Keepers: three}, []result{offline, offline, offline}, outbox.Queued, 0, false},
		"one of one":                {outbox.Item{Keepers: three[:1]}, []result{ok(1)}, outbox.Done, 1, false},
		"one of two":                {outbox.Item{Keepers: three[:2]}, []result{ok(1), offline}, outbox.Queued, 1, false},
		"its reader has it":         {outbox.Item{Keepers: three}, []result{conflict, conflict, conflict}, outbox.Done, 0, false},
		"its reader has one":        {outbox.Item{Keepers: three}, []result{ok(1), conflict, offline}, outbox.Deposited, 1, false},
		"not all could be tried":    {outbox.Item{Keepers: three}, []result{ok(1)}, outbox.Queued, 1, false},
		"an ack waits for none":     {outbox.Item{Keepers: three, Kind: protocol.KindAck}, []result{ok(1), ok(2), ok(3)}, outbox.Done, 3, true},
		"an order waits for none":   {outbox.Item{Keepers: three, What: outbox.DeleteLetters}, []result{ok(1), ok(2), ok(3)}, outbox.Done, 3, true},
		"a conflict over no letter": {outbox.Item{Keepers: three, What: outbox.DeleteLetters}, []result{conflict, ok(2), offline}, outbox.Queued, 1, false},
		"a later version is there":  {outbox.Item{Keepers: three, What: outbox.Announcement}, []result{later, later, later}, outbox.Done, 0, true},
		"it came before its date":   {outbox.Item{Keepers: three, What: outbox.Announcement}, []result{early, early, later}, outbox.Queued, 0, false},
		"no letter has a later one": {outbox.Item{Keepers: three}, []result{later, later, later}, outbox.Queued, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			it := c.it
			if it.What == 0 {
				it.What = outbox.Letter
			}
			it.State = outbox.Queued
			idle().settle(&it, c.list)
			if it.State != c.state || len(it.Receipts) != c.receipts || it.Tries != 1 || (it.Next == outbox.Never) != c.never {
				t.Errorf("%s, %d receipts, %d tries, next at %d", it.State, len(it.Receipts), it.Tries, it.Next)
			}
			if it.Next <= 1_000_000 {
				t.Errorf("due again at once: %d", it.Next)
			}
			bad := slices.ContainsFunc(c.list, func(r result) bool { return r.err != nil && !taken(&it, r.err) })
			if (it.Last != "") != bad {
				t.Errorf("its last error is %q", it.Last)
			}
		})
	}
}

func TestAnUnknownSortIsRefused(t *testing.T) {
	if _, err := idle().hand(t.Context(), outbox.Item{What: 99}, protocol.Keeper{}, 0); !errors.Is(err, fault.Unsupported) {
		t.Errorf("got %v", err)
	}
}
