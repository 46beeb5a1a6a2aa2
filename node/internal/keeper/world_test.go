package keeper_test

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/check"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/board"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/mailbox"
)

const (
	shards = 4
	effort = 4
)

var (
	netID = protocol.Hash{7, 7, 7}
	terms = protocol.Hash{8}
)

// A world is a network of keepers in memory.
type world struct {
	testing.TB
	net *nodetest.Net
}

// A node is one keeper and what it stands on.
type node struct {
	*keeper.Keeper
	port  *nodetest.Port
	board *board.Board
	mail  *mailbox.Mailboxes
	mu    sync.Mutex
	fresh []protocol.Hash
}

// in runs a test in a bubble with fake time.
func in(t *testing.T, test func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t, nodetest.NewNet(context.Background())}
		t.Cleanup(func() {
			if err := w.net.Close(); err != nil {
				t.Error(err)
			}
		})
		test(w)
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func now() protocol.Second { return protocol.Second(time.Now().Unix()) }

func (w *world) keeper(change ...func(*keeper.Config)) *node {
	w.Helper()
	n := &node{port: w.net.Port(true)}
	store := kv.Memory()
	n.board = must(board.Open(store, shards, board.Limits{}))
	n.mail = must(mailbox.Open(store, n.port.Key(), mailbox.Policy{}))
	cfg := keeper.Config{
		Key: n.port.Key(), Duties: protocol.DefaultDuties, Board: n.board, Mail: n.mail, Port: n.port,
		Door: &check.Door{Net: netID, Shards: shards, Lanes: []protocol.LaneRule{{Lane: protocol.LaneWork, Effort: effort}}, Memory: n.board},
		Tell: func(_ string, most int) []protocol.Keeper { return n.port.Keepers(most) },
		Fresh: func(h wire.Heard) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.fresh = append(n.fresh, h.ID())
		},
		Log: slog.New(slog.DiscardHandler), Now: time.Now,
	}
	for _, c := range change {
		c(&cfg)
	}
	n.Keeper = must(keeper.New(context.Background(), cfg))
	if err := n.Serve(); err != nil {
		w.Fatal(err)
	}
	if err := n.Join([]uint16{0, 1, 2, 3}); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		if err := n.Close(context.Background()); err != nil {
			w.Error(err)
		}
	})
	return n
}

func (n *node) heard(id protocol.Hash) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Contains(n.fresh, id)
}

func (w *world) client() keeper.Client { return keeper.Client{Port: w.net.Port(false), Net: netID} }

func (w *world) mail(to *node) *keeper.Session {
	w.Helper()
	s, err := w.client().Mail(w.Context(), to.port.Self())
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = s.Close() })
	return s
}

// A need is an announcement and the keys behind it.
type need struct {
	raw    []byte
	ctx    key.Private[key.Context]
	box    key.Private[key.Mailbox]
	issuer key.Private[key.Issuer]
}

func (w *world) need(at *node, stamp uint8) need {
	n := need{ctx: key.Generate[key.Context](), box: key.Generate[key.Mailbox](), issuer: key.Generate[key.Issuer]()}
	body, commitment, err := wire.SealBody(protocol.Demand{Name: "Desk"}, key.NewSecret(), n.ctx.Public(), 1)
	if err != nil {
		w.Fatal(err)
	}
	n.raw = must(wire.SignAnnouncement(n.ctx, &protocol.Announcement{
		Header: protocol.Header{Net: netID, ID: wire.NewID(), Seq: 1, Created: now(), Expires: now() + 6*protocol.Hour},
		Status: protocol.Open, Reason: protocol.ContextNeed, Category: "home.furniture", Region: "ZA-GP",
		Seal: key.SealFromSeed[key.ContextSeal](key.NewSecret()).Public(), Terms: terms, Issuers: []key.IssuerKey{n.issuer.Public()},
		Keepers: []protocol.Keeper{at.port.Self()}, Mailbox: n.box.Public(), Body: body, Commitment: commitment,
	}, protocol.LaneWork, stamp))
	return n
}

// A seller is a vendor with one passport.
type seller struct {
	chain [][]byte
	op    key.Private[key.Operational]
	inbox key.Private[key.Mailbox]
}

func (v seller) id() protocol.VendorID { return wire.ID(v.chain[0]) }

func (w *world) seller(at *node, role protocol.Role) seller {
	v := seller{op: key.Generate[key.Operational](), inbox: key.Generate[key.Mailbox]()}
	root, next := key.Generate[key.Root](), key.Generate[key.Root]()
	v.chain = [][]byte{must(wire.Sign(root, &protocol.Passport{
		Header: protocol.Header{Net: netID, Kind: protocol.KindPassport, ID: wire.NewID(), Seq: 1, Created: now()},
		Root:   root.Public(), Next: wire.NextRoot(next.Public()), Name: "Veld & Vine", Country: "ZA",
		Operational: []protocol.Operational{{Key: v.op.Public(), Roles: role, From: now() - 1, Until: now() + 90*protocol.Day}},
		Inbox: protocol.Inbox{Box: v.inbox.Public(), Seal: key.SealFromSeed[key.InboxSeal](key.NewSecret()).Public(),
			Keepers: []protocol.Keeper{at.port.Self()}, Effort: effort, Quota: 8},
	}))}
	return v
}

// letter is sealed bytes for a box.
func letter(box key.MailboxKey) []byte {
	to := key.SealFromSeed[key.DutySeal](key.NewSecret()).Public()
	raw, _, err := wire.SealLetter(to, seal.Duty, netID, box, now()+20*protocol.Day, []byte("hello"))
	return must(raw, err)
}

// capability lets a new depositor into a box.
func capability(box key.Private[key.Mailbox]) (protocol.Capability, key.Private[key.Depositor]) {
	d := key.Generate[key.Depositor]()
	c := protocol.Capability{Box: box.Public(), ID: wire.NewID(), Depositor: d.Public(), Letters: 64, KiB: 640, Expires: now() + 30*protocol.Day}
	if err := wire.SignCapability(box, &c); err != nil {
		panic(err)
	}
	return c, d
}

// first is a vendor's first contact with a letter, for one keeper.
func (v seller) first(n need, raw []byte, at *node, stamp uint8) protocol.FirstContact {
	f := protocol.FirstContact{Vendor: v.id(), Passport: wire.ID(v.chain[len(v.chain)-1]), Expires: now() + protocol.Hour}
	keeper := at.port.Key().Public()
	wire.StampFirst(&f, n.box.Public(), wire.ID(raw), keeper, stamp)
	if err := wire.SignFirst(v.op, &f, n.box.Public(), wire.ID(raw), keeper); err != nil {
		panic(err)
	}
	return f
}

func (w *world) announce(at *node, raw []byte) {
	w.Helper()
	s, err := w.client().Post(w.Context(), at.port.Self())
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if err := s.Announce(w.Context(), raw); err != nil {
		w.Fatal(err)
	}
}
