package mailbox_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/mailbox"
	"github.com/harkmarket/hark/store/storetest"
)

// by is a deposit from an address prefix, into a box that is named or not.
func by(prefix byte, named bool, d mailbox.Deposit) mailbox.Deposit {
	d.From = mailbox.Tag{prefix}
	d.Named = func(box key.MailboxKey) bool { return named && box == d.Box }
	return d
}

// TestSharesOfAPrefix: one has a part of the boxes, letters and bytes, and what others
// have is theirs; after a restart too.
func TestSharesOfAPrefix(t *testing.T) {
	size := int64(len(under("a", "x").Letter))
	for bound, p := range map[string]mailbox.Policy{
		"boxes":   {Boxes: 40},
		"letters": {Letters: 40},
		"bytes":   {Bytes: 40 * (size + 8)},
	} {
		s := kv.Memory()
		m := open(t, s, p)
		for i := range 10 {
			m.deposit(by(1, false, under(fmt.Sprint("box", i), fmt.Sprint(i))))
		}
		for range 2 {
			if f := m.fill("mailbox." + bound + "-per-prefix"); f.Used < f.Cap*9/10 || f.Used > f.Cap {
				t.Errorf("%s: %v", bound, f)
			}
			m.refused(fault.Full, by(1, true, under("named", "x")))
			m.refused(fault.Full, by(1, false, first("c", "x", 1, 9)))
			if bound == "boxes" {
				m.deposit(by(1, false, under("box1", "more"))) // into one that is there
				err := m.Revoke(t.Context(), boxKey("new"), id("c"), now+9, mailbox.Tag{1})
				if !errors.Is(err, fault.Full) {
					t.Errorf("a revocation made a box too many: %v", err)
				}
			}
			m.deposit(by(2, false, under("other", "x")))
			m.deposit(under("this machine", "x"))
			m = open(t, s, p)
		}
		if _, err := m.Expire(t.Context(), now+90*protocol.Day); err != nil {
			t.Fatal(err)
		}
		for _, f := range m.Stats() {
			if f.Used != 0 {
				t.Errorf("%s: all is gone, and %s is %d", bound, f.Name, f.Used)
			}
		}
		m.deposit(by(1, false, under("box1", "x")))
	}
}

// A box without letters is its maker's as long as anything is in it.
func TestABoxStaysItsMakers(t *testing.T) {
	s, p := kv.Memory(), mailbox.Policy{Boxes: 8}
	m := open(t, s, p)
	m.delete("a", m.deposit(by(1, false, under("a", "x"))).Letter)
	if err := m.Revoke(t.Context(), boxKey("b"), id("c"), now+9, mailbox.Tag{1}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		m.refused(fault.Full, by(1, false, under("c", "x")))
		m.deposit(by(2, false, under("a", "from elsewhere")))
		m = open(t, s, p)
	}
}

// crowded fills all eight places: the box old, one of a prefix each, and three of a
// prefix that floods, one of these without letters.
func crowded(t *testing.T, s kv.Store, p mailbox.Policy) boxes {
	t.Helper()
	m := open(t, s, p)
	m.deposit(by(1, false, under("old", "x")))
	for _, name := range []string{"flood1", "flood2", "flood3"} {
		m.deposit(by(9, false, under(name, "x")))
	}
	m.delete("flood2", m.all("flood2", now)...)
	m.deposit(by(2, false, under("two", "x")))
	for i := range byte(3) {
		m.deposit(by(10+i, true, under(fmt.Sprint("named", i), "x")))
	}
	if f := m.fill("mailbox.boxes"); f.Used != f.Cap {
		t.Fatal(f)
	}
	return m
}

var crowdedPolicy = mailbox.Policy{Boxes: 8, BoxesNamed: 2, BoxesPerPrefix: 3}

// TestANamedBoxDisplaces one that nobody names, of the prefix that has most of them.
func TestANamedBoxDisplaces(t *testing.T) {
	s := kv.Memory()
	m := crowded(t, s, crowdedPolicy)
	names := map[key.MailboxKey]bool{}
	for _, name := range []string{"named0", "named1", "named2", "new0", "new1", "new2", "new3", "new4"} {
		names[boxKey(name)] = true
	}
	named := func(prefix byte, box string) mailbox.Deposit {
		d := by(prefix, true, first(box, "v", 0, 0))
		d.Named = func(k key.MailboxKey) bool { return names[k] }
		return d
	}
	m.refused(fault.Full, by(3, false, under("unnamed", "x")))
	left := func(boxes ...string) {
		t.Helper()
		var there []string
		for _, name := range []string{"old", "flood1", "flood2", "flood3", "two", "new0", "new1", "new2", "new3"} {
			if len(m.all(name, now)) > 0 {
				there = append(there, name)
			}
		}
		if !slices.Equal(there, boxes) {
			t.Fatalf("%q are there, want %q", there, boxes)
		}
	}
	m.deposit(named(20, "new0")) // the one without letters goes
	left("old", "flood1", "flood3", "two", "new0")
	if f := m.fill("mailbox.tombs"); f.Used != 0 {
		t.Errorf("%d tombstones of a box that is gone", f.Used)
	}
	m = open(t, s, crowdedPolicy)
	m.deposit(named(21, "new1")) // the younger one goes
	left("old", "flood1", "two", "new0", "new1")
	m.deposit(named(22, "new2")) // now each prefix has one, of which the youngest goes
	m.deposit(named(23, "new3"))
	if got := len(m.all("old", now)); got != 1 {
		t.Error("the oldest went before younger ones")
	}
	names[boxKey("old")] = true
	m.refused(fault.Full, named(24, "new4"))
	if f := m.fill("mailbox.boxes"); f.Used != f.Cap {
		t.Error(f)
	}
	if a, b := fmt.Sprint(m.Stats()), fmt.Sprint(open(t, s, crowdedPolicy).Stats()); a != b {
		t.Errorf("memory says %v, disk %v", a, b)
	}
}

// A prefix that has no more than it is spared loses nothing.
func TestFewBoxesAreSpared(t *testing.T) {
	p := mailbox.Policy{Boxes: 8, BoxesNamed: 2, BoxesPerPrefix: 3 * 128}
	m := crowded(t, kv.Memory(), p)
	m.refused(fault.Full, by(20, true, first("new", "v", 0, 0)))
	if len(m.all("flood3", now)) != 1 {
		t.Error("it went")
	}
}

// A disk that fails at any operation of it: nothing is lost, and it works the next time.
func TestADisplacementThatFails(t *testing.T) {
	for n := 1; ; n++ {
		s := kv.Memory()
		crowded(t, s, crowdedPolicy)
		m := open(t, storetest.Failing(s, n), crowdedPolicy)
		before := fmt.Sprint(m.Stats())
		d := by(20, true, first("new", "v", 0, 0))
		_, err := m.Deposit(context.Background(), d, now)
		if err == nil {
			if n < 3 {
				t.Fatal("nothing failed")
			}
			break
		}
		if !errors.Is(err, storetest.ErrInjected) {
			t.Fatal(err)
		}
		disk := fmt.Sprint(open(t, s, crowdedPolicy).Stats())
		if memory := fmt.Sprint(m.Stats()); memory != disk {
			t.Fatalf("step %d: memory says %v, disk %v, before %v", n, memory, disk, before)
		}
		m.deposit(d)
	}
}
