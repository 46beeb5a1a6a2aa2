package keeper_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/mailbox"
)

// A siege is a flood of fresh mailboxes against one keeper.
type siege struct {
	prefixes, each int // unnamed boxes that each address prefix makes
	named          int // boxes that the flood's own announcements name
	blind          bool
}

// A crowding is what became of it.
type crowding struct {
	made, kept   int // boxes of the flood: taken at first, and there in the end
	before, lost int // letters of others that came before it, and what it drove out
	needs, in    int // new needs after it, and those whose first letter was taken
}

func (r crowding) wrong() (out []string) {
	if r.lost > 0 {
		out = append(out, fmt.Sprintf("%d of %d letters of others were driven out", r.lost, r.before))
	}
	if r.in < r.needs {
		out = append(out, fmt.Sprintf("the first letters to %d of %d new needs were taken", r.in, r.needs))
	}
	return out
}

func (r crowding) String() string {
	return fmt.Sprintf("the flood made %d mailboxes, %d of them stay; letters of others kept: %d of %d; new needs whose first letter is taken: %d of %d",
		r.made, r.kept, r.before-r.lost, r.before, r.in, r.needs)
}

// A besieged is a keeper's mailboxes at their usual bounds behind the door.
type besieged struct {
	*testing.T
	siege
	store kv.Store
	m     *mailbox.Mailboxes
	names map[key.MailboxKey]bool
	n     int
}

func (b *besieged) open() {
	b.m = must(mailbox.Open(b.store, key.Generate[key.Keeper](), mailbox.Policy{}))
}

// leave makes a box with one letter, and says whether it was taken.
func (b *besieged) leave(prefix int, named bool) (box key.MailboxKey, ok bool) {
	b.Helper()
	b.n++
	box = key.Generate[key.Mailbox]().Public()
	b.names[box] = named
	raw := junk(box, b.n)
	d := mailbox.Deposit{Box: box, Letter: raw}
	if !b.blind {
		d.From, d.Named = mailbox.Tag{1, byte(prefix), byte(prefix >> 8)}, func(k key.MailboxKey) bool { return b.names[k] }
	}
	if named {
		d.First = &mailbox.FirstLane{Vendor: wire.ID(raw)}
	} else {
		d.Cap = &protocol.Capability{Box: box, ID: wire.NewID(), Letters: 1, KiB: 9, Expires: now() + 30*protocol.Day}
	}
	_, err := b.m.Deposit(b.Context(), d, now()+protocol.Second(b.n/50)) // fifty deposits a second
	if err != nil && !errors.Is(err, fault.Full) {
		b.Fatal(err)
	}
	return box, err == nil
}

func (b *besieged) there(boxes []key.MailboxKey) (n int) {
	b.Helper()
	for _, box := range boxes {
		letters, _, err := b.m.Collect(b.Context(), box, protocol.Hash{}, 1, now())
		if err != nil {
			b.Fatal(err)
		}
		n += len(letters)
	}
	return n
}

// floodBoxes lets honest people leave letters, the flood come, and new needs after it,
// half of them after a restart. Honest prefixes are numbered from 1,000.
func floodBoxes(t *testing.T, s siege) (r crowding) {
	t.Helper()
	b := &besieged{T: t, siege: s, store: kv.Memory(), names: map[key.MailboxKey]bool{}}
	b.open()
	var honest, flood []key.MailboxKey
	for i := range 300 {
		box, ok := b.leave(1000+i%30, false)
		if honest = append(honest, box); !ok {
			t.Fatal("an empty keeper is full")
		}
	}
	for range s.each {
		for p := range s.prefixes {
			if box, ok := b.leave(p, false); ok {
				flood = append(flood, box)
			}
		}
	}
	for i := range s.named {
		if box, ok := b.leave(i%s.prefixes, true); ok {
			flood = append(flood, box)
		}
	}
	r = crowding{made: len(flood), before: len(honest), needs: 300}
	for i := range r.needs {
		if i == r.needs/2 {
			before := fmt.Sprint(b.m.Stats())
			if b.open(); fmt.Sprint(b.m.Stats()) != before {
				t.Errorf("reopened with\n%v, was\n%v", b.m.Stats(), before)
			}
		}
		if _, ok := b.leave(2000+i, true); ok {
			r.in++
		}
	}
	r.kept, r.lost = b.there(flood), r.before-b.there(honest)
	for _, f := range b.m.Stats() {
		if f.Used > f.Cap {
			t.Errorf("%s is %d of %d", f.Name, f.Used, f.Cap)
		}
	}
	return r
}

// floodBoxesOfKeeper does it from one address prefix through everything that a keeper
// has, which has room for 64 boxes.
func floodBoxesOfKeeper(w *world) (r crowding) {
	w.Helper()
	p := mailbox.Policy{Boxes: 64}
	k := w.keeper(func(c *keeper.Config) { c.Mail = must(mailbox.Open(kv.Memory(), c.Key, p)) })
	leave := func(s *keeper.Session, box key.Private[key.Mailbox]) error {
		r.made++
		c, d := capability(box)
		_, err := s.Deposit(w.Context(), keeper.Deposit{Box: box.Public(), Letter: junk(box.Public(), r.made), Cap: c, Key: d})
		if err != nil && !errors.Is(err, fault.Full) {
			w.Fatal(err)
		}
		return err
	}
	reply := key.Generate[key.Mailbox]()
	if err := leave(w.mail(k), reply); err != nil {
		w.Fatal(err)
	}
	r.made, r.before = 0, 1
	one := w.mail(k)
	for range 200 {
		if leave(one, key.Generate[key.Mailbox]()) == nil {
			r.kept++
		}
	}
	for range 8 {
		r.needs++
		n := w.need(k, effort)
		w.announce(k, n.raw)
		v, raw := w.seller(k, protocol.RoleRequests), junk(n.box.Public(), r.needs)
		f := v.first(n, raw, k, effort)
		f.Chain = v.chain
		if _, err := w.mail(k).Deposit(w.Context(), keeper.Deposit{Box: n.box.Public(), Letter: raw, First: f}); err == nil {
			r.in++
		}
	}
	if err := leave(w.mail(k), key.Generate[key.Mailbox]()); err != nil {
		w.Errorf("a reply to somebody else: %v", err)
	}
	r.made--
	letters, _, err := w.mail(k).Collect(w.Context(), reply, protocol.Hash{})
	if r.lost = 1 - len(letters); err != nil {
		w.Fatal(err)
	}
	return r
}

// besiege shows what a flood of mailboxes does to a keeper: none to others.
func besiege(t *testing.T) {
	if r := floodBoxes(t, siege{prefixes: 1, each: 9000, blind: true}); len(r.wrong()) != 1 {
		t.Fatalf("nobody knows where a box comes from nor who names it, and what is wrong is: %q (%s)", r.wrong(), r)
	}
	for name, s := range map[string]siege{
		"from one address prefix":                                   {prefixes: 1, each: 9000},
		"from 100 address prefixes":                                 {prefixes: 100, each: 90},
		"from 100 address prefixes, and 2,300 that the flood names": {prefixes: 100, each: 90, named: 2300},
	} {
		r := floodBoxes(t, s)
		if wrong := r.wrong(); len(wrong) > 0 {
			t.Errorf("%s: %q", name, wrong)
		}
		t.Logf("mailboxes %s: %s", name, r)
	}
	in(t, func(w *world) {
		r := floodBoxesOfKeeper(w)
		if wrong := r.wrong(); len(wrong) > 0 {
			t.Errorf("at the keeper: %q", wrong)
		}
		t.Logf("at a keeper with room for 64 mailboxes, from one address prefix: of %d attempts %s", r.made, r)
	})
}
