package node_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/courier"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/node/internal/keeper/client"
	"github.com/harkmarket/hark/node/internal/market"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/board"
	"github.com/harkmarket/hark/store/mailbox"
	"github.com/harkmarket/hark/store/outbox"
)

func (f *field) client() keeper.Client { return keeper.Client{Port: f.w.Net.Port(false), Net: f.net} }

// mail opens a session with the keeper that is flooded.
func (f *field) mail() *keeper.Session {
	f.Helper()
	s, err := f.client().Mail(f.Context(), f.target.Port.Self())
	if err != nil {
		f.Fatal(err)
	}
	return s
}

// deposit leaves one letter under a capability that the flooder made itself.
func (f *field) deposit(s *keeper.Session, box key.Private[key.Mailbox], size int) (protocol.Hash, error) {
	f.Helper()
	to := key.GenerateSeal[key.DutySeal]().Public()
	raw, _, err := wire.SealLetter(to, seal.Duty, f.net, box.Public(), second()+protocol.Day, make([]byte, size))
	if err != nil {
		f.Fatal(err)
	}
	dep := key.Generate[key.Depositor]()
	c := protocol.Capability{Box: box.Public(), ID: wire.NewID(), Depositor: dep.Public(), Letters: 64, KiB: 640, Expires: second() + protocol.Day}
	if err := wire.SignCapability(box, &c); err != nil {
		f.Fatal(err)
	}
	_, err = s.Deposit(f.Context(), keeper.Deposit{Box: box.Public(), Letter: raw, Cap: c, Key: dep})
	return wire.ID(raw), err
}

// oneBox fills one mailbox, manyBoxes one each.
func oneBox(n, size int) func(*field) error {
	return func(f *field) (err error) {
		s, box := f.mail(), key.Generate[key.Mailbox]()
		for range n {
			_, err = f.deposit(s, box, size)
		}
		return err
	}
}

func manyBoxes(n, size int) func(*field) error {
	return func(f *field) (err error) {
		s := f.mail()
		for range n {
			_, err = f.deposit(s, key.Generate[key.Mailbox](), size)
		}
		return err
	}
}

// manyPrefixes fills them from an address prefix each.
func manyPrefixes(n, size int) func(*field) error {
	return func(f *field) (err error) {
		for range n {
			s := f.mail()
			_, err = f.deposit(s, key.Generate[key.Mailbox](), size)
			_ = s.Close()
		}
		return err
	}
}

// post announces needs of nobody, which end within the hour.
func post(n int) func(*field) error {
	return func(f *field) (err error) {
		s, err := f.client().Post(f.Context(), f.target.Port.Self())
		if err != nil {
			f.Fatal(err)
		}
		for range n {
			if err := s.Announce(f.Context(), needOfNobody(f.T, f.net, f.w.Genesis.Terms, f.places()...)); err != nil {
				return err
			}
		}
		return nil
	}
}

// needOfNobody signs an announcement that ends within the hour.
func needOfNobody(t *testing.T, net, terms protocol.Hash, keepers ...protocol.Keeper) []byte {
	t.Helper()
	ctx := key.Generate[key.Context]()
	body, commitment, err := wire.SealBody(protocol.Demand{Name: "nothing"}, key.NewSecret(), ctx.Public(), 1)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := wire.SignAnnouncement(ctx, &protocol.Announcement{
		Header: protocol.Header{Net: net, ID: wire.NewID(), Seq: 1, Created: second(), Expires: second() + protocol.Hour},
		Status: protocol.Open, Reason: protocol.ContextNeed, Category: "home.furniture", Region: "ZA",
		Seal: key.GenerateSeal[key.ContextSeal]().Public(), Terms: terms, Mailbox: key.Generate[key.Mailbox]().Public(),
		Keepers: keepers, Body: body, Commitment: commitment,
	}, protocol.LaneNone, 0)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// places are where the mailboxes of nobody lie.
func (f *field) places() []protocol.Keeper {
	if len(f.deaf) == 0 {
		return []protocol.Keeper{f.target.Port.Self()}
	}
	return f.deaf
}

// deafly makes the keepers that needs of nobody name take every stream and say nothing.
func deafly(attack func(*field) error) func(*field) error {
	return func(f *field) error {
		for range protocol.MaxKeepers {
			p := f.w.Net.Port(true)
			f.w.Net.Hide(p)
			p.Serve(peers.ProtoMail, func(ctx context.Context, _ peers.Conn, _ string) { <-ctx.Done() })
			f.deaf = append(f.deaf, p.Self())
		}
		return attack(f)
	}
}

// asks wants an offer of the target for a need that she announces now.
func asks(most time.Duration) func(*field) {
	return func(f *field) {
		need := announce(f.T, f.her, 7)
		f.w.Until(most, "an offer of the one that is flooded", func() (bool, error) {
			return slices.ContainsFunc(f.her.Offers(desk.Query{Context: need}), func(o desk.Offer) bool { return o.VendorName == "target" }), nil
		})
		served(f)
	}
}

// askers lets strangers ask about a need of hers, all at one keeper.
func askers(n int, away bool) func(*field) error {
	return func(f *field) (err error) {
		need := announce(f.T, f.her, 7)
		if away {
			f.her.Online(false)
			defer f.her.Online(true)
		}
		for range n {
			v := newIssuer(f.T, f.w)
			if _, err = v.ask(need, v.chain, v.chain, v.ops[0], v.ops[0]); err != nil && !errors.Is(err, fault.Full) {
				f.Fatal(err)
			}
		}
		time.Sleep(30 * time.Second)
		return err
	}
}

// watchers subscribes on streams of their own, to one mailbox or each to another.
func watchers(n int, one bool) func(*field) error {
	return func(f *field) error {
		box := key.Generate[key.Mailbox]()
		var last *keeper.Watch
		for range n {
			if !one {
				box = key.Generate[key.Mailbox]()
			}
			w, err := f.client().Watch(f.Context(), f.target.Port.Self())
			if err != nil {
				return err
			}
			if err := w.Subscribe(box); err != nil {
				return err
			}
			synctest.Wait()
			last = w
		}
		ctx, cancel := context.WithTimeout(f.Context(), time.Second)
		defer cancel()
		p, _ := last.Recv(ctx) // where it was not refused there is nothing to receive
		return p.Err
	}
}

// only cuts her off from all keepers but the target, so that her need is kept there
// alone, until what it returns is called.
func (f *field) only() (mend func()) {
	var others []*nodetest.Member
	for _, m := range f.w.Members() {
		if m != f.target && m != f.her {
			f.w.Net.SetLink(f.her.Port, m.Port, false)
			others = append(others, m)
		}
	}
	return func() {
		for _, m := range others {
			f.w.Net.SetLink(f.her.Port, m.Port, true)
		}
	}
}

// toInbox writes to the inbox of a vendor that has just come.
func toInbox(n int) func(*field) error {
	return func(f *field) error {
		v := newIssuer(f.T, f.w)
		if err := v.publish(f.target, v.chain); err != nil {
			f.Fatal(err)
		}
		c, err := wire.OpenChain(v.chain, v.net)
		if err != nil {
			f.Fatal(err)
		}
		s, box := f.mail(), c.Latest().Inbox.Box
		for range n {
			to := key.GenerateSeal[key.InboxSeal]().Public()
			raw, _, err := wire.SealLetter(to, seal.Vendor, f.net, box, second()+protocol.Day, []byte("hello"))
			if err != nil {
				f.Fatal(err)
			}
			first := protocol.FirstContact{}
			wire.StampFirst(&first, box, wire.ID(raw), f.target.Port.Self().Key, 1)
			if _, err = s.Deposit(f.Context(), keeper.Deposit{Box: box, Letter: raw, First: first, Key: key.Generate[key.Depositor]()}); err != nil {
				return err
			}
		}
		return nil
	}
}

// crowd is post where a need that ends no later than all others finds no room.
func crowd(n int) func(*field) error {
	return func(f *field) error {
		err := post(n)(f)
		if errors.Is(err, fault.Full) {
			return nil
		}
		return err
	}
}

// passports publishes those of vendors that nobody knows.
func passports(n int) func(*field) error {
	return func(f *field) (err error) {
		for range n {
			v := newIssuer(f.T, f.w)
			err = v.publish(f.target, v.chain)
		}
		return err
	}
}

// announcing lets her announce needs faster than they can leave.
func announcing(n int) func(*field) error {
	return func(f *field) (err error) {
		f.w.Net.SetDelay(10 * time.Second)
		defer f.w.Net.SetDelay(0)
		for range n {
			_, err = f.her.Customer().Needs().Create(f.Context(), desk.NeedSpec{Auto: true, Name: "a couch"})
		}
		return err
	}
}

// selling makes a second vendor of the target before strangers flood it.
func selling(attack func(*field) error) func(*field) error {
	return func(f *field) error {
		f.target.Sell(shop)
		f.need = announce(f.T, f.her, 7)
		f.w.Until(5*time.Minute, "an offer of the target", func() (bool, error) { return len(f.grants(f.her, "target")) > 0, nil })
		err := attack(f)
		time.Sleep(time.Minute)
		return err
	}
}

// grants are those that a customer gave to a vendor.
func (f *field) grants(m *nodetest.Member, vendor string) (out []desk.Grant) {
	for _, g := range m.Grants(desk.Query{}) {
		if g.VendorName == vendor && (g.State == "disclosed" || g.State == "deleted") {
			out = append(out, g)
		}
	}
	return out
}

// served looks whether her grant of before the flood is deleted by the target.
func served(f *field) {
	if _, err := f.her.Customer().Grants().Revoke(f.Context(), nil, desk.Query{Context: f.need}, ""); err != nil {
		f.Fatal(err)
	}
	f.w.Until(30*time.Minute, "a deletion by the one that is flooded", func() (bool, error) {
		for _, g := range f.grants(f.her, "target") {
			if g.Context == f.need && g.State == "deleted" {
				return true, nil
			}
		}
		return false, nil
	})
}

// pretends lists vendors that there are not, and passports that are none.
func pretends(op *protocol.Op) (r protocol.Reply) {
	switch {
	case op.Kind == protocol.OpList && op.Shard == client.VendorShard:
		for range 64 {
			r.Hashes = append(r.Hashes, protocol.Hash(key.NewSecret().Reveal()))
		}
		slices.SortFunc(r.Hashes, func(a, b protocol.Hash) int { return bytes.Compare(a[:], b[:]) })
	case op.Kind == protocol.OpPassport:
		r.Letters = [][]byte{[]byte("no passport")}
	case op.Kind == protocol.OpRanges:
		return nodetest.Refuse(fault.Unsupported)
	}
	return r
}

func hers(f *field) *nodetest.Member { return f.her }

var floods = []flood{
	{bound: "board.entries", limits: node.Limits{Board: board.Limits{Entries: 32}}, attack: crowd(64)},
	{bound: "board.bytes", limits: node.Limits{Board: board.Limits{Bytes: 96 << 10}}, attack: crowd(96), slack: protocol.MaxAnnouncement},
	{bound: "board.passports", limits: node.Limits{Board: board.Limits{Passports: 4}}, attack: passports(12)},
	{bound: "board.passport-bytes", limits: node.Limits{Board: board.Limits{PassportBytes: 8 << 10}}, attack: passports(32), slack: 2 << 10},
	{bound: "keeper.boxes", limits: node.Limits{Board: board.Limits{Entries: 32}, Tables: keeper.Tables{Index: 32}}, attack: crowd(64), after: func(f *field) {
		defer f.only()()
		if err := askers(1, true)(f); err != nil {
			f.Errorf("the first letter to a need that has just come: %v", err)
		}
	}},
	{bound: "keeper.inboxes", limits: node.Limits{Board: board.Limits{Passports: 4}, Tables: keeper.Tables{Index: 4}}, attack: passports(12), after: func(f *field) {
		if err := toInbox(1)(f); err != nil {
			f.Errorf("a letter to a vendor that has just come: %v", err)
		}
	}},
	{bound: "mailbox.bytes", limits: node.Limits{Mail: mailbox.Policy{Bytes: 256 << 10}}, refused: fault.Full, attack: manyPrefixes(64, 9000), slack: 20 << 10},
	{bound: "mailbox.bytes-per-box", limits: node.Limits{Mail: mailbox.Policy{BytesPerBox: 128 << 10}}, refused: fault.Full, attack: oneBox(16, 9000), slack: 20 << 10},
	{bound: "mailbox.tombs", limits: node.Limits{Mail: mailbox.Policy{Tombs: 24}}, attack: func(f *field) error {
		s := f.mail()
		for range 32 {
			box := key.Generate[key.Mailbox]()
			id, err := f.deposit(s, box, 100)
			if err != nil {
				return err
			}
			if had, err := s.Delete(f.Context(), box, []protocol.Hash{id}); err != nil || len(had) != 1 {
				return fmt.Errorf("%d deleted: %w", len(had), err)
			}
		}
		return nil
	}},
	{bound: "mailbox.revoked", limits: node.Limits{Mail: mailbox.Policy{Revoked: 24}}, refused: fault.Full, attack: func(f *field) (err error) {
		s := f.mail()
		for range 32 {
			err = s.Revoke(f.Context(), key.Generate[key.Mailbox](), wire.NewID())
		}
		return err
	}},
	{bound: "outbox.items", limits: node.Limits{Outbox: outbox.Limits{Items: 8}}, refused: fault.Full, attack: announcing(12), at: hers},
	{bound: "outbox.bytes", limits: node.Limits{Outbox: outbox.Limits{Bytes: 32 << 10}}, refused: fault.Full, attack: announcing(32), at: hers, slack: 8 << 10},
	{bound: "node.events", limits: node.Limits{Events: 16}, attack: func(f *field) error {
		enough := errors.New("enough")
		next := func(after uint64) (first desk.Event, err error) {
			err = f.her.Admin().Events(f.Context(), after, func(e desk.Event) error { first = e; return enough })
			return first, err
		}
		early, err := next(0)
		if !errors.Is(err, enough) {
			return err
		}
		if err := announcing(24)(f); err != nil {
			return err
		}
		if late, err := next(early.ID); !errors.Is(err, enough) || late.Kind != desk.EventGap || late.Data["why"] != desk.GapDropped {
			return fmt.Errorf("after event %d comes %+v: %w", early.ID, late, err)
		}
		return nil
	}, at: hers},
	{bound: "catalog.products", limits: node.Limits{Products: 8}, refused: fault.Full, attack: selling(func(f *field) (err error) {
		for i := range 8 {
			row := fmt.Sprintf("id,title,price\nx%d,Chair,10.00\n", i)
			_, err = f.target.Vendor().Catalog().Import(f.Context(), strings.NewReader(row), desk.ImportSpec{})
		}
		return err
	}), after: served},
	{bound: "market.agreements", limits: node.Limits{Market: market.Limits{Agreements: 6}}, attack: selling(post(24)), after: asks(3 * time.Hour)}, // once those of nobody have ended
	{bound: "held.records", limits: node.Limits{Held: 4}, attack: selling(func(f *field) error {
		for range 6 {
			announce(f.T, f.her, 7)
		}
		return nil
	}), after: served},
	{bound: "courier.boxes", limits: node.Limits{Courier: courier.Limits{Boxes: 8}}, attack: selling(post(24)), after: asks(3 * time.Hour)},
	{bound: "courier.streams", limits: node.Limits{Courier: courier.Limits{Streams: 2}}, attack: selling(post(24)), after: asks(3 * time.Hour)},
	{bound: "courier.deliveries", limits: node.Limits{Courier: courier.Limits{Deliveries: 4}}, attack: selling(deafly(post(24))), after: asks(time.Hour)},
	{bound: "market.crew", limits: node.Limits{Courier: courier.Limits{Deliveries: 2, Streams: 2}}, attack: selling(deafly(post(24))), after: asks(3 * time.Hour)},
	{bound: "courier.slots", limits: node.Limits{Courier: courier.Limits{Slots: 8}}, attack: askers(12, false), at: hers},
	{bound: "courier.gone", limits: node.Limits{Courier: courier.Limits{Slots: 4}}, attack: askers(12, false), at: hers},
	{bound: "keeper.capabilities", limits: node.Limits{Tables: keeper.Tables{Capabilities: 16}}, attack: manyBoxes(32, 100)},
	{bound: "courier.parked", limits: node.Limits{Held: 2, Courier: courier.Limits{Parked: 2}}, attack: selling(func(f *field) error {
		for range 10 { // what they disclose finds no room: it waits
			announce(f.T, f.her, 7)
		}
		return nil
	}), after: served},
	{bound: "courier.doomed", limits: node.Limits{Courier: courier.Limits{Doomed: 2}}, attack: func(f *field) error {
		f.need = announce(f.T, f.her, 7)
		for range 12 {
			v := newIssuer(f.T, f.w)
			if _, err := v.ask(f.need, v.chain, v.chain, v.ops[0], v.ops[0]); err != nil {
				return err
			}
		}
		synctest.Wait() // they are taken, and will be deleted in a moment
		return nil
	}, at: hers, after: func(f *field) {
		need := announce(f.T, f.her, 7)
		f.w.Until(15*time.Minute, "an offer to her", func() (bool, error) { return offered(f.her, need), nil })
	}},
	{bound: "keeper.refused", limits: node.Limits{Tables: keeper.Tables{Refused: 32}}, attack: func(f *field) error {
		liar := f.w.Net.Port(true)
		for _, m := range f.w.Members() {
			f.w.Net.SetLink(liar, m.Port, m == f.target)
		}
		liar.AnswerSync(f.net, pretends)
		return nil
	}},
	{bound: "mailbox.letters-per-box", limits: node.Limits{Mail: mailbox.Policy{LettersPerBox: 24}}, refused: fault.Full, attack: oneBox(32, 100)},
	{bound: "mailbox.boxes", limits: node.Limits{Mail: mailbox.Policy{Boxes: 24}}, refused: fault.Full, attack: manyPrefixes(32, 100), slack: 6}, // which are kept for those that are named
	{bound: "mailbox.boxes-per-prefix", limits: node.Limits{Mail: mailbox.Policy{BoxesPerPrefix: 12}}, refused: fault.Full, attack: manyBoxes(16, 100)},
	{bound: "mailbox.letters-per-prefix", limits: node.Limits{Mail: mailbox.Policy{LettersPerPrefix: 24}}, refused: fault.Full, attack: oneBox(32, 100)},
	{bound: "mailbox.bytes-per-prefix", limits: node.Limits{Mail: mailbox.Policy{BytesPerPrefix: 128 << 10}}, refused: fault.Full, attack: manyBoxes(16, 9000), slack: 20 << 10},
	{bound: "mailbox.letters", limits: node.Limits{Mail: mailbox.Policy{Letters: 24}}, refused: fault.Full, attack: manyPrefixes(32, 100)},
	{bound: "mailbox.first-per-box", limits: node.Limits{Mail: mailbox.Policy{FirstPerBox: 4}}, refused: fault.Full, attack: func(f *field) error {
		defer f.only()()
		return askers(12, true)(f)
	}},
	{bound: "mailbox.inbox-per-box", limits: node.Limits{Mail: mailbox.Policy{InboxPerBox: 4}}, refused: fault.Full, attack: toInbox(12)},
	{bound: "mailbox.tombs-per-box", limits: node.Limits{Mail: mailbox.Policy{TombsPerBox: 16}}, attack: func(f *field) (err error) {
		s, box := f.mail(), key.Generate[key.Mailbox]()
		for range 24 {
			id, err := f.deposit(s, box, 100)
			if err != nil {
				return err
			}
			if _, err := s.Delete(f.Context(), box, []protocol.Hash{id}); err != nil {
				return err
			}
		}
		return nil
	}},
	{bound: "mailbox.revoked-per-box", limits: node.Limits{Mail: mailbox.Policy{RevokedPerBox: 8}}, refused: fault.Full, attack: func(f *field) (err error) {
		s, box := f.mail(), key.Generate[key.Mailbox]()
		for range 12 {
			err = s.Revoke(f.Context(), box, wire.NewID())
		}
		return err
	}},
	{bound: "mailbox.watchers-per-box", refused: fault.Full, attack: watchers(12, true)},
	{bound: "mailbox.watchers", limits: node.Limits{Mail: mailbox.Policy{Watchers: 48}}, refused: fault.Full, attack: watchers(64, false)},
	{bound: "keeper.pushes", refused: fault.Full, attack: watchers(1100, false)},
	{bound: "market.contexts", limits: node.Limits{Market: market.Limits{Contexts: 4}}, refused: fault.Full, attack: func(f *field) (err error) {
		for range 6 {
			_, err = f.her.Customer().Needs().Create(f.Context(), desk.NeedSpec{Auto: true, Name: "a couch"})
		}
		return err
	}, at: hers},
	{bound: "market.requests-per-context", limits: node.Limits{Market: market.Limits{Requests: 5}}, attack: askers(12, false), at: hers},
}
