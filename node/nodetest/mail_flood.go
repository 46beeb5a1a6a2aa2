package nodetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/node/internal/gossip"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/mailbox"
)

// A MailFlood is a flood of requests to one need of a simulated world, through the doors of
// its keepers: from identities made for it, then from vendors whom an issuer vouches for.
// Each request has a passport, a signature, and of the flood some have a stamp too. What is
// sealed in it is nothing, which a keeper can't tell.
type MailFlood struct {
	Identities int // vendors made for it
	Addresses  int // from which these come
	Vouched    int // vendors vouched for, each at an address of its own
	Issuer     key.Private[key.Issuer]
}

// BoxFlooded is what became of one side of a flood at one keeper.
type BoxFlooded struct {
	Keeper              *Member
	Vouched             bool
	Came, Refused, Kept int
}

// A flood is one under way.
type flood struct {
	MailFlood
	w   *World
	net protocol.Hash
	a   *protocol.Announcement

	mu      sync.Mutex
	vouched map[protocol.Hash]bool // letters that came: whether of a vendor vouched for
	n       uint64
	refused map[key.KeeperKey][2]int
	came    map[key.KeeperKey][2]int
	err     error
}

// Flood plays it on the need in raw and tells what each of its keepers kept. The customer
// should be away: what she collects makes room.
func (f MailFlood) Flood(ctx context.Context, w *World, raw []byte) ([]BoxFlooded, error) {
	h, err := wire.OpenAnnouncement(raw)
	if err != nil {
		return nil, err
	}
	fl := &flood{
		MailFlood: f, w: w, net: h.A().Net, a: h.A(), vouched: map[protocol.Hash]bool{},
		refused: map[key.KeeperKey][2]int{}, came: map[key.KeeperKey][2]int{},
	}
	fl.wave(ctx, min(f.Addresses, f.Identities), f.Identities, false)
	fl.wave(ctx, f.Vouched, f.Vouched, true)
	if fl.err != nil {
		return nil, fl.err
	}
	return fl.count(ctx)
}

// wave has so many vendors come from so many addresses, at once.
func (f *flood) wave(ctx context.Context, addresses, vendors int, vouched bool) {
	var wg sync.WaitGroup
	for i := range addresses {
		n := vendors / addresses
		if i < vendors%addresses {
			n++
		}
		wg.Go(func() {
			if err := f.from(ctx, n, vouched); err != nil {
				f.mu.Lock()
				f.err = errors.Join(f.err, err)
				f.mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// from sends the requests of so many vendors from one address.
func (f *flood) from(ctx context.Context, vendors int, vouched bool) (err error) {
	place := f.place()
	port, err := gossip.Open(ctx, peers.Config{
		Profile: peers.Personal, Key: key.Generate[key.Keeper](), Bootstrap: f.a.Keepers, Options: place.host.Options(),
		Log: slog.New(slog.DiscardHandler), Now: time.Now,
	}, f.net, f.w.Genesis.Shards)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, port.Close(context.WithoutCancel(ctx))) }()
	c := keeper.Client{Port: port, Net: f.net}
	to := map[key.KeeperKey]*keeper.Session{}
	defer func() {
		for _, s := range to {
			_ = s.Close() // all was said
		}
	}()
	for i := range vendors {
		v, err := f.vendor()
		if err != nil {
			return err
		}
		for _, k := range f.a.Keepers {
			if to[k.Key] == nil {
				if to[k.Key], err = c.Mail(ctx, k); err != nil {
					return err
				}
			}
			if err = f.ask(ctx, to[k.Key], v, k.Key, uint8(i%4), vouched); errors.Is(err, fault.Offline) {
				_ = to[k.Key].Close() // it ended this stream: the next comes on another
				delete(to, k.Key)
			} else if err != nil {
				return err
			}
		}
	}
	return nil
}

// place is a fresh address. One comes after another.
func (f *flood) place() *place {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.w.sim.settle(nil)
}

// A stranger is a vendor with one passport that nobody has heard of, and its letter.
type stranger struct {
	chain  [][]byte
	op     key.Private[key.Operational]
	letter []byte
}

func (f *flood) vendor() (s stranger, err error) {
	f.mu.Lock()
	f.n++
	n := f.n
	f.mu.Unlock()
	now := protocol.Second(time.Now().Unix())
	l := protocol.Letter{
		V: protocol.Version, Suite: seal.Suite, Box: f.a.Mailbox, Expires: uint32(now/protocol.Day) + 10,
		Enc: bytes.Repeat([]byte{1}, seal.EncSize), Sealed: bytes.Repeat([]byte{2}, seal.Bucket1K+seal.Overhead),
	}
	binary.BigEndian.PutUint64(l.Slot[:], n)
	if s.letter, err = wire.Marshal(l); err != nil {
		return s, err
	}
	s.op = key.Generate[key.Operational]()
	root, next := key.Generate[key.Root](), key.Generate[key.Root]()
	raw, err := wire.Sign(root, &protocol.Passport{
		Header: protocol.Header{Net: f.net, Kind: protocol.KindPassport, ID: wire.NewID(), Seq: 1, Created: now},
		Root:   root.Public(), Next: wire.NextRoot(next.Public()), Name: "Veld & Vine", Country: "ZA",
		Operational: []protocol.Operational{{Key: s.op.Public(), Roles: protocol.RoleRequests, From: now - 1, Until: now + 90*protocol.Day}},
		Inbox: protocol.Inbox{Box: key.Generate[key.Mailbox]().Public(), Seal: key.SealFromSeed[key.InboxSeal](key.NewSecret()).Public(),
			Keepers: f.a.Keepers, Quota: 8},
	})
	s.chain = [][]byte{raw}
	return s, err
}

// ask leaves a vendor's request at a keeper. That it has no room for it is no error.
func (f *flood) ask(ctx context.Context, s *keeper.Session, v stranger, at key.KeeperKey, effort uint8, vouched bool) error {
	now, letter := protocol.Second(time.Now().Unix()), wire.ID(v.letter)
	who := wire.ID(v.chain[0])
	first := protocol.FirstContact{Vendor: who, Passport: wire.ID(v.chain[0]), Expires: now + protocol.Hour, Chain: v.chain}
	side := 0
	if vouched {
		side, effort = 1, 0
		first.Vouch = protocol.Vouch{Vendor: who, Expires: now + protocol.Day}
		if err := wire.SignVouch(f.Issuer, &first.Vouch); err != nil {
			return err
		}
	}
	wire.StampFirst(&first, f.a.Mailbox, letter, at, effort+f.least())
	if err := wire.SignFirst(v.op, &first, f.a.Mailbox, letter, at); err != nil {
		return err
	}
	f.mu.Lock()
	came := f.came[at]
	came[side]++
	f.came[at], f.vouched[letter] = came, vouched
	f.mu.Unlock()
	_, err := s.Deposit(ctx, keeper.Deposit{Box: f.a.Mailbox, Letter: v.letter, First: first})
	if err != nil {
		f.mu.Lock()
		refused := f.refused[at]
		refused[side]++
		f.refused[at] = refused
		f.mu.Unlock()
	}
	if errors.Is(err, fault.Full) {
		return nil
	}
	return err
}

// least is the stamp that a first letter needs.
func (f *flood) least() uint8 {
	for _, l := range f.w.Genesis.Lanes {
		if l.Lane == protocol.LaneWork {
			return l.Effort
		}
	}
	return 0
}

// count looks into the mailbox of the need at each of its keepers.
func (f *flood) count(ctx context.Context) (out []BoxFlooded, err error) {
	for _, k := range f.a.Keepers {
		for _, m := range f.w.nodes {
			if m.Key.Public() != k.Key {
				continue
			}
			kept, err := lettersOf(ctx, m, f.a.Mailbox, f.vouched)
			if err != nil {
				return nil, err
			}
			for side, vouched := range []bool{false, true} {
				out = append(out, BoxFlooded{Keeper: m, Vouched: vouched, Came: f.came[k.Key][side], Refused: f.refused[k.Key][side], Kept: kept[side]})
			}
		}
	}
	return out, nil
}

// lettersOf counts what a keeper keeps of a mailbox, of either side of a flood.
func lettersOf(ctx context.Context, m *Member, box key.MailboxKey, vouched map[protocol.Hash]bool) (kept [2]int, err error) {
	b, err := mailbox.Open(m.Store, m.Key, mailbox.Policy{}) // as the node would at its next start
	if err != nil {
		return kept, err
	}
	var after protocol.Hash
	for more := true; more; {
		var letters [][]byte
		if letters, more, err = b.Collect(ctx, box, after, protocol.FirstPerBox, protocol.Second(m.now().Unix())); err != nil {
			return kept, err
		}
		for _, raw := range letters {
			after = wire.ID(raw)
			if of, known := vouched[after]; known && of {
				kept[1]++
			} else if known {
				kept[0]++
			}
		}
		more = more && len(letters) > 0
	}
	return kept, nil
}
