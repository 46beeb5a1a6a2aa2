package node_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/courier"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
)

// postFloods are done to what is posted by way of others, and to what a first letter
// costs.
var postFloods = []flood{
	{bound: "courier.post-keys", limits: node.Limits{Courier: courier.Limits{PostKeys: 2}}, attack: func(f *field) error {
		for range 6 { // each at three keepers, whose keys she needs
			f.need = announce(f.T, f.her, 7)
			time.Sleep(10 * time.Second)
			f.within("courier.post-keys", f.her)
		}
		return nil
	}, at: hers, after: func(f *field) {
		f.w.Until(5*time.Minute, "an offer for a need whose keys did not fit", func() (bool, error) { return offered(f.her, f.need), nil })
	}},
	{bound: "courier.stamps", limits: node.Limits{Courier: courier.Limits{Stamps: 8}}, attack: selling(deafly(func(f *field) error {
		follow := desk.Follow{Ask: true, Answer: true, Confirm: true, Fulfil: true, Effort: 4}
		if _, err := f.target.Vendor().Rules().Set(f.Context(), follow); err != nil {
			return err
		}
		return post(24)(f)
	})), after: asks(time.Hour)},
	{bound: "keeper.held-posts", limits: node.Limits{Tables: keeper.Tables{HeldPosts: 16}}, refused: fault.Full, attack: holding, after: released},
	{bound: "keeper.post-keys", limits: node.Limits{Tables: keeper.Tables{PostKeys: 4}}, attack: passing("keeper.post-keys"), after: passesOn},
	{bound: "keeper.post-lines", limits: node.Limits{Tables: keeper.Tables{PostLines: 3}}, attack: passing("keeper.post-lines"), after: passesOn},
}

// within checks that a bound is not passed.
func (f *field) within(bound string, m *nodetest.Member) {
	f.Helper()
	v, err := m.Admin().Status(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	if wrong := overruns(v.Bounds, []string{bound}); len(wrong) > 0 {
		f.Error(wrong)
	}
}

// A poster posts by way of the keeper that is flooded, from an address prefix of its own.
type poster struct {
	*field
	s *keeper.Session
}

func (f *field) poster() poster {
	f.Helper()
	s, err := f.client().Post(f.Context(), f.target.Port.Self())
	if err != nil {
		f.Fatal(err)
	}
	return poster{f, s}
}

// post lets a keeper publish a need of nobody once the hold is over.
func (p poster) post(to protocol.Keeper, hold time.Duration) (id protocol.Hash, err error) {
	p.Helper()
	word, err := p.s.PostKey(p.Context(), to.Key, second())
	if err != nil {
		return id, fmt.Errorf("post key: %w", err)
	}
	raw := needOfNobody(p.T, p.net, p.w.Genesis.Terms, to)
	sealed, err := wire.SealPost(word, p.net, protocol.Post{Data: raw, Hold: uint16(hold.Milliseconds())})
	if err != nil {
		p.Fatal(err)
	}
	return wire.ID(raw), p.s.Post(p.Context(), sealed, protocol.Keeper{Key: to.Key})
}

// stands looks whether an announcement is on a keeper's board.
func (f *field) stands(id protocol.Hash, at protocol.Keeper) bool {
	f.Helper()
	s, err := f.client().Sync(f.Context(), at)
	if err != nil {
		f.Fatal(err)
	}
	defer func() { _ = s.Close() }() // nothing was written
	pages, refused, err := s.Fetch(f.Context(), []protocol.Hash{id})
	if err != nil || refused != nil {
		f.Fatal(err, refused)
	}
	return len(pages[0]) == 1 && wire.ID(pages[0][0]) == id
}

// hold is the longest that a post may be held.
const hold = protocol.MaxPostHold * time.Millisecond

// holding lets the keeper sit on more posts than it may. One address prefix takes a
// quarter of its places: somebody else still finds one. And what need not be held is
// published even when all are taken.
func holding(f *field) (last error) {
	self := f.target.Port.Self()
	for prefix := range 5 {
		p := f.poster()
		for n := range 5 {
			id, err := p.post(self, hold)
			if fits := prefix < 4 && n < 4; (err == nil) != fits || !fits && !errors.Is(err, fault.Full) {
				f.Errorf("post %d of prefix %d: %v", n, prefix, err)
			}
			if last = err; err == nil {
				f.held = append(f.held, id)
			}
			f.within("keeper.held-posts", f.target)
		}
	}
	if id, err := f.poster().post(self, 0); err != nil || !f.stands(id, self) {
		f.Errorf("one that need not be held: %v", err)
	}
	return last
}

// released looks whether what was held is published, and there is room again.
func released(f *field) {
	self := f.target.Port.Self()
	time.Sleep(hold + time.Second)
	for i, id := range f.held {
		if !f.stands(id, self) {
			f.Errorf("held post %d of %d is not published", i, len(f.held))
		}
	}
	id, err := f.poster().post(self, hold)
	if time.Sleep(hold + time.Second); err != nil || !f.stands(id, self) {
		f.Errorf("one that comes when they are out: %v", err)
	}
}

// others are the keepers to which the one that is flooded can pass something on.
func (f *field) others() (out []protocol.Keeper) {
	for _, m := range f.w.Members() {
		if self := m.Port.Self(); m != f.target && len(self.Addrs) > 0 {
			out = append(out, self)
		}
	}
	return out
}

// passing posts to more keepers than the one that is flooded can remember.
func passing(bound string) func(*field) error {
	return func(f *field) error {
		for i := range 4 {
			f.w.Carrier(fmt.Sprint("carrier ", i))
		}
		time.Sleep(5 * time.Second)
		p := f.poster()
		for range 2 {
			for i, to := range f.others() {
				if _, err := p.post(to, 0); err != nil {
					return fmt.Errorf("to keeper %d: %w", i, err)
				}
				f.within(bound, f.target)
			}
		}
		return nil
	}
}

// passesOn looks whether somebody else still gets something to each of them.
func passesOn(f *field) {
	p := f.poster()
	for i, to := range f.others() {
		if id, err := p.post(to, 0); err != nil || !f.stands(id, to) {
			f.Errorf("somebody else, to keeper %d: %v", i, err)
		}
	}
}
