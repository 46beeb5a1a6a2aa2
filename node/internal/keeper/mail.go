package keeper

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/keeper/budget"
	"github.com/harkmarket/hark/node/internal/keeper/known"
	"github.com/harkmarket/hark/node/internal/keeper/mischief"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/mailbox"
)

// collectPage bounds the letters of one answer; mailboxes bound the bytes.
const collectPage = 64

// mail answers /hark/mail/1.
type mail struct {
	cfg          *Config
	self         key.KeeperKey
	lanes        []protocol.LaneRule
	index        *index
	budgets      *budget.Budgets
	feeds        *feeds
	mischief     *mischief.Mischief
	capabilities *known.Capabilities
	tag          func(from string) [8]byte
	now          func() protocol.Second
	hold         chan struct{} // wakes the loop that ends holds
}

// deposit keeps a letter: under a capability, as a vendor's first letter to the
// mailbox of an announcement, or in the open lane of a vendor's inbox.
func (m *mail) deposit(ctx context.Context, s *stream, op *protocol.Op) (protocol.Reply, error) {
	now := m.now()
	d := mailbox.Deposit{Box: op.Box, Letter: op.Letter, Hold: op.Hold, From: m.tag(s.from), Named: m.index.names}
	var err error
	switch {
	case !op.Cap.Depositor.IsZero():
		d.Cap, err = &op.Cap, m.checkCapability(op.Cap, now)
	case op.First.Vendor.IsZero():
		d.First, err = m.toInbox(ctx, op)
	default:
		d.First, err = m.toContext(ctx, op, now)
	}
	if err != nil {
		return protocol.Reply{}, err
	}
	if m.mischief.Drops(op.Box, op.Letter) {
		return m.pretend(op, now)
	}
	receipt, err := m.cfg.Mail.Deposit(ctx, d, now)
	if err == nil && op.Hold > 0 {
		wake(m.hold)
	}
	return protocol.Reply{Receipt: receipt}, err
}

// capabilityLife is the longest that a capability may still be good for. It lets
// revoke refuse it for long enough without having seen it.
func (m *mail) capabilityLife() protocol.Second {
	return m.cfg.Duties.Boxes + 2*protocol.MaxStandLife
}

func (m *mail) checkCapability(c protocol.Capability, now protocol.Second) error {
	if err := m.capabilities.Check(c, now); err != nil {
		return err
	}
	if c.Expires > now+m.capabilityLife() {
		return fmt.Errorf("keeper: a capability for too long: %w", fault.Denied)
	}
	return m.budgets.Named("capability", c.ID[:], 1)
}

// toInbox is the lane of those whom nobody knows: the box is the inbox of a vendor
// whose passport is known here, and the stamp is what that passport asks for.
func (m *mail) toInbox(ctx context.Context, op *protocol.Op) (*mailbox.FirstLane, error) {
	chain, err := m.index.chainOfInbox(ctx, op.Box)
	if err != nil {
		return nil, err
	}
	inbox, serves := chain.Inbox(op.Box, m.now())
	letter := wire.ID(op.Letter)
	if err := wire.CheckFirst(&op.First, op.Box, letter, m.self, m.now()); err != nil {
		return nil, err
	}
	done := wire.FirstWork(&op.First, op.Box, letter, m.self)
	if !serves || inbox.Quota == 0 || done < int(inbox.Effort) {
		return nil, &said{"stamp", fault.Denied}
	}
	if err := m.budgets.Named("inbox", op.Box[:], 1); err != nil {
		return nil, err
	}
	return &mailbox.FirstLane{Work: done, Quota: int(inbox.Quota)}, nil
}

// toContext is the lane of a vendor's first letter: an announcement that stands
// names the box; the vendor shows its passport, an operational key that may ask, and
// a stamp. Who is vouched for by an issuer that the announcement names goes first.
func (m *mail) toContext(ctx context.Context, op *protocol.Op, now protocol.Second) (*mailbox.FirstLane, error) {
	f, letter := &op.First, wire.ID(op.Letter)
	if err := wire.CheckFirst(f, op.Box, letter, m.self, now); err != nil {
		return nil, err
	}
	a, err := m.index.announcementOf(ctx, op.Box, now)
	if err != nil {
		return nil, err
	}
	done := wire.FirstWork(f, op.Box, letter, m.self)
	if done < m.leastWork() {
		return nil, &said{"stamp", fault.Denied}
	}
	chain, err := m.index.chainOf(ctx, f)
	if err != nil {
		return nil, err
	}
	if !chain.Operational(f.Key, protocol.RoleRequests, now) {
		return nil, fmt.Errorf("keeper: not a key that may ask: %w", fault.Denied)
	}
	lane := &mailbox.FirstLane{Vendor: f.Vendor, Work: done}
	if slices.Contains(a.Issuers, f.Vouch.Issuer) && wire.CheckVouch(f.Vouch, now) == nil {
		lane.Tier = 1
		return lane, nil
	}
	return lane, m.budgets.Named("box", op.Box[:], 1)
}

// leastWork is the stamp that a first letter needs: that of the network's lane 1,
// none where lane 0 is open.
func (m *mail) leastWork() int {
	least := 0
	for _, l := range m.lanes {
		if l.Lane == protocol.LaneNone {
			return 0
		}
		if l.Lane == protocol.LaneWork {
			least = int(l.Effort)
		}
	}
	return least
}

func (m *mail) collect(ctx context.Context, _ *stream, op *protocol.Op) (protocol.Reply, error) {
	if err := m.budgets.Named("owner", op.Box[:], 2); err != nil {
		return protocol.Reply{}, err
	}
	letters, more, err := m.cfg.Mail.Collect(ctx, op.Box, op.After, collectPage, m.now())
	return protocol.Reply{Letters: m.mischief.Given(op.Box, letters, true), More: more}, err
}

func (m *mail) remove(ctx context.Context, _ *stream, op *protocol.Op) (protocol.Reply, error) {
	if err := m.budgets.Named("owner", op.Box[:], 1); err != nil {
		return protocol.Reply{}, err
	}
	had, err := m.cfg.Mail.Delete(ctx, op.Box, op.Hashes, m.now())
	if err == nil {
		m.feeds.dealtWith(op.Box, op.Hashes)
	}
	return protocol.Reply{Hashes: had}, err
}

func (m *mail) revoke(ctx context.Context, s *stream, op *protocol.Op) (protocol.Reply, error) {
	if err := m.budgets.Named("owner", op.Box[:], 2); err != nil {
		return protocol.Reply{}, err
	}
	return protocol.Reply{}, m.cfg.Mail.Revoke(ctx, op.Box, op.CapID, m.now()+m.capabilityLife(), m.tag(s.from))
}

// subscribe adds a box to the feed of a stream.
func (m *mail) subscribe(_ context.Context, s *stream, op *protocol.Op) (protocol.Reply, error) {
	if err := m.budgets.Named("owner", op.Box[:], 2); err != nil {
		return protocol.Reply{}, err
	}
	return protocol.Reply{}, m.feeds.subscribe(s, op.Box)
}

// endHolds shows letters whose hold has ended.
func (m *mail) endHolds(ctx context.Context) {
	for ctx.Err() == nil {
		pause := sweepPause
		if next := m.cfg.Mail.Tick(m.now()); next > 0 {
			left := time.Unix(int64(next), 0).Sub(m.cfg.Now())
			pause = max(min(left, sweepPause), time.Millisecond)
		}
		select {
		case <-ctx.Done():
		case <-m.hold:
		case <-time.After(pause):
		}
	}
}

// pretend signs a receipt for a letter that is not kept.
func (m *mail) pretend(op *protocol.Op, now protocol.Second) (protocol.Reply, error) {
	r := protocol.DepositReceipt{Keeper: m.self, Box: op.Box, Letter: wire.ID(op.Letter), At: now, Expires: now + m.cfg.Duties.Letters}
	err := wire.SignReceipt(m.cfg.Key, &r)
	return protocol.Reply{Receipt: r}, err
}
