// Package market is the one loop that owns this node's needs, grants and deals,
// for both sides. It imports none of its neighbours: the small interfaces that it
// needs stand below, and node.Open hands them in, so that the whole market runs in
// tests without a network.
//
// Every step is a turn:
//
//  1. something comes in: a command from a desk, a letter, an announcement heard,
//     a deadline;
//  2. the loop opens one transaction over market, ledger, outbox, vault and held;
//  3. protocol/flow says what becomes of the state; the turn performs the acts
//     that it returns inside the transaction: keys made or destroyed, entries
//     appended, letters put into the outbox;
//  4. the transaction is kept and synced;
//  5. only then the world hears of it: the courier is told that there is mail, the
//     mailboxes are read, events are emitted.
//
// A crash before 4 leaves nothing behind, a crash after it leaves the letters in
// the outbox, so that nothing is lost and nothing happens twice.
//
//house:allow package both sides of a deal are steps over the same transaction, letters and keys, and one loop owns them
package market

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/terms"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/held"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/ledger"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/outbox"
	"github.com/harkmarket/hark/store/vault"
)

// Mail is told what changed; it reads the outbox and the mailboxes itself.
type Mail interface {
	Kick()                    // the outbox has work
	Watch(b records.Box)      // read this mailbox from now on
	Unwatch(k key.MailboxKey) // and no longer
	// Collect reads a mailbox to its end now, and then calls Market.Collected.
	Collect(k key.MailboxKey)
}

// Places names public nodes that can hold mail.
type Places interface {
	Keepers(n int) []protocol.Keeper
	// Replace puts others in the place of those that are silent or lied; false: it has
	// nothing to change, or nobody to put there.
	Replace(list []protocol.Keeper) ([]protocol.Keeper, bool)
}

// Registry knows announcements and passports that were heard.
type Registry interface {
	Announcement(ctx context.Context, c protocol.ContextID) (wire.Heard, error)
	Passport(ctx context.Context, v protocol.VendorID) (wire.Chain, error)
	// EachOpen calls fn with every open announcement.
	EachOpen(ctx context.Context, fn func(wire.Heard) error) error
}

// Answers makes offers for a granted need; it calls Market.Offer when it has some.
type Answers interface {
	Match(id protocol.GrantID, d protocol.Demand, c protocol.Category, limit int)
}

// Events hears what happened, after it was kept.
type Events interface {
	Emit(kind, ref string, data map[string]string)
}

// Once keeps, for a command that somebody may ask for twice, that it was done.
type Once interface {
	// Done is told inside the transaction of the command, with the id of what it made
	// where it made something.
	Done(ctx context.Context, tx kv.Tx, made string, nowMS int64) error
	// Since is when a command of several turns that was cut off was begun, 0 where this
	// is the first time.
	Since(ctx context.Context) int64
}

// Stores are what the market keeps, all in one private, sealed kv.Store.
type Stores struct {
	KV     kv.Store
	Ledger *ledger.Ledger
	Outbox *outbox.Outbox
	Vault  *vault.Vault
	Held   *held.Held
}

// Config is all that the market is handed.
type Config struct {
	Stores   Stores
	Net      protocol.Hash
	Genesis  *protocol.Genesis
	Mail     Mail
	Places   Places
	Registry Registry
	Answers  Answers
	Events   Events
	Log      *slog.Logger
	Now      func() time.Time
	// Once is nil where no command is asked for twice.
	Once Once
	// Carry is told, where it is not nil, that there is work on large values.
	Carry func()
	// Judge is told, where it is not nil, of a sighting that has become proof.
	Judge func(records.Sighting)
	// Rules reads the customer's own rules; without it every request is left to her.
	Rules Rules
	// Rails pay, and check what was paid.
	Rails Rails
	// Misbehave breaks a promise on purpose, for demonstrations and attack tests.
	Misbehave Misbehaviour
	Limits    Limits
	// Gather is how long revocations of one need are gathered before its living grants go
	// to a new body key; 250 ms where zero, not at all where it is less.
	Gather time.Duration
}

// A Misbehaviour is a promise that a node breaks on purpose, so that a
// demonstration can show that the others notice.
type Misbehaviour string

// The misbehaviours of the market.
const (
	KeepDeleted   Misbehaviour = "keep-deleted"   // a vendor signs a Deletion and keeps the data
	ForkLedger    Misbehaviour = "fork-ledger"    // a customer shows vendors another ledger than she keeps
	ReopenRevoked Misbehaviour = "reopen-revoked" // a customer keeps offer keys that she said she destroyed
	LeakField     Misbehaviour = "leak-field"     // a customer's node discloses one field more than was granted
	KeepLease     Misbehaviour = "keep-lease"     // a vendor goes on with values whose lease has ended
	RewriteLedger Misbehaviour = "rewrite-ledger" // a customer rewrites her ledger before she shows it
)

// queue is how many jobs may wait for the loop; a desk beyond it waits too, with
// its own context.
const queue = 256

// A Market is the loop. Make it with New and let its crew call Run and Upkeep.
//
//house:allow methods each command of a desk is one method that runs one turn
type Market struct {
	cfg    Config
	jobs   chan job
	gone   chan struct{}
	locked error
	tally  *tally
	rules  func(terms.Question) terms.Verdict // hers, once they were read; the loop's own
	read   map[key.MailboxKey]protocol.Second // since when each was read to its end; the loop's own
	moved  chan struct{}                      // wakes Moves
}

type job struct {
	name string
	fn   func(*turn) error
	done chan error
}

// New makes a market that does nothing until Run.
func New(cfg Config) *Market {
	return &Market{cfg: cfg, tally: newTally(cfg.Limits), jobs: make(chan job, queue), gone: make(chan struct{}), read: map[key.MailboxKey]protocol.Second{}, moved: make(chan struct{}, 1)}
}

// Locked makes a market whose every turn fails with err: that of a locked node.
func Locked(kv kv.Store, err error) *Market {
	m := New(Config{Stores: Stores{KV: kv}})
	m.locked = err
	return m
}

// Stats gives each bound with its fill.
func (m *Market) Stats() []kv.Fill {
	return append(m.tally.fills(), kv.Fill{Name: "market.queue", Used: int64(len(m.jobs)), Cap: int64(cap(m.jobs))})
}

// LetterFills shows how many letters are remembered, in all and of the mailbox that has
// most.
func (m *Market) LetterFills(r kv.Reader) ([]kv.Fill, error) {
	return records.SeenFills(r, "market.letters", m.tally.lim.letters())
}

// A turn is one step of the market: a transaction, and what is to be done once it
// is kept.
//
//house:allow methods each kind of letter, act and deadline is one step of a turn
type turn struct {
	kv.Tx
	m      *Market
	now    protocol.Second
	nowMS  int64
	after  []func()
	mailed bool
	begun  int    // agreements
	made   []byte // the id of what a command made
}

// Run is the loop. It returns when ctx ends.
func (m *Market) Run(ctx context.Context) {
	defer close(m.gone)
	m.resume(ctx)
	timer := time.NewTimer(m.deadlines(ctx))
	defer timer.Stop()
	swept := m.cfg.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case j := <-m.jobs:
			j.done <- m.take(ctx, j.name, j.fn)
		case <-timer.C:
			swept = m.sweep(ctx, swept)
		}
		timer.Reset(m.deadlines(ctx))
	}
}

// How often what is past its date is forgotten, and how long what was found of
// keepers is remembered.
const (
	sweepEvery = time.Hour
	sightings  = 90 * 24 * time.Hour
)

// sweep forgets what is past its date, where the last time is long enough ago.
func (m *Market) sweep(ctx context.Context, last time.Time) time.Time {
	now := m.cfg.Now()
	if now.Sub(last) < sweepEvery {
		return last
	}
	var at []byte
	for range 128 { // bounded; the rest at the next time
		next, err := records.Sweep(ctx, m.cfg.Stores.KV, protocol.Second(now.Unix()), now.Add(-sightings).UnixMilli(), at)
		if err != nil && ctx.Err() == nil {
			m.cfg.Log.Warn("market: sweep", "err", err)
		}
		if err != nil || next == nil {
			break
		}
		at = next
	}
	return now
}

// Do runs fn as one turn of the loop and waits for it.
func (m *Market) Do(ctx context.Context, name string, fn func(*turn) error) error {
	if m.locked != nil {
		return m.locked
	}
	j := job{name: name, fn: fn, done: make(chan error, 1)}
	select {
	case m.jobs <- j:
	case <-ctx.Done():
		return fmt.Errorf("market: %s: %w", name, ctx.Err())
	case <-m.gone:
		return fmt.Errorf("market: %s: closed: %w", name, fault.Offline)
	}
	select {
	case err := <-j.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("market: %s: it may still be done: %w", name, ctx.Err())
	case <-m.gone:
		select { // the loop may have done it just before it ended
		case err := <-j.done:
			return err
		default:
			return fmt.Errorf("market: %s: closed: %w", name, fault.Offline)
		}
	}
}

// command is Do for what a desk is asked to do: that it was done is kept in the same
// transaction.
func (m *Market) command(ctx context.Context, name string, fn func(*turn) error) error {
	return m.Do(ctx, name, func(t *turn) error {
		if err := fn(t); err != nil {
			return err
		}
		return m.Done(ctx, t, hex.EncodeToString(t.made), t.nowMS)
	})
}

// Done is Once.Done, for a desk with a transaction of its own.
func (m *Market) Done(ctx context.Context, tx kv.Tx, made string, nowMS int64) error {
	if m.cfg.Once == nil {
		return nil
	}
	return m.cfg.Once.Done(ctx, tx, made, nowMS)
}

// Since is Once.Since.
func (m *Market) Since(ctx context.Context) int64 {
	if m.cfg.Once == nil {
		return 0
	}
	return m.cfg.Once.Since(ctx)
}

// take runs one turn: all of it is kept, then the world hears of it.
func (m *Market) take(ctx context.Context, name string, fn func(*turn) error) error {
	var t *turn
	err := m.cfg.Stores.KV.Update(ctx, func(tx kv.Tx) error {
		now := m.cfg.Now()
		t = &turn{Tx: tx, m: m, now: protocol.Second(now.Unix()), nowMS: now.UnixMilli()}
		return fn(t)
	})
	if err != nil {
		m.cfg.Log.Debug("market: turn refused", "turn", name, "err", err)
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, f := range t.after {
		f()
	}
	if t.mailed {
		m.cfg.Mail.Kick()
	}
	return nil
}

// then postpones an effect until the turn is kept.
func (t *turn) then(f func()) { t.after = append(t.after, f) }

// note appends to the ledger and emits the same as an event.
func (t *turn) note(kind string, body map[string]string) error {
	raw, err := wireNote(body)
	if err != nil {
		return err
	}
	if _, err := t.m.cfg.Stores.Ledger.Append(t.Tx, kind, t.nowMS, raw); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	ref := body["grant"]
	if ref == "" {
		ref = body["context"]
	}
	t.then(func() { t.m.cfg.Events.Emit(kind, ref, body) })
	return nil
}

// resume reads what must go on after a start: mailboxes, letters, unanswered
// disclosures, needs that were heard but not asked for.
func (m *Market) resume(ctx context.Context) {
	err := m.cfg.Stores.KV.View(ctx, func(r kv.Reader) error {
		if err := m.tally.read(r); err != nil {
			return err
		}
		now := protocol.Second(m.cfg.Now().Unix())
		if err := records.EachBox(r, func(b records.Box) (bool, error) {
			if b.Until > now {
				m.cfg.Mail.Watch(b)
			}
			return true, nil
		}); err != nil {
			return err
		}
		return records.EachAgreement(r, nil, func(a records.Agreement) (bool, error) {
			m.rematch(r, a)
			return true, nil
		})
	})
	if err != nil && ctx.Err() == nil {
		m.cfg.Log.Error("market: could not resume", "err", err)
	}
	m.cfg.Mail.Kick()
	if err := m.take(ctx, "count evidence", func(t *turn) error { return records.CountEvidence(t) }); err != nil && ctx.Err() == nil {
		m.cfg.Log.Warn("market: could not count what is kept", "err", err)
	}
	if err := m.take(ctx, "open late", func(t *turn) error { return t.openAllLate(ctx) }); err != nil && ctx.Err() == nil {
		m.cfg.Log.Warn("market: could not open needs", "err", err)
	}
	if err := m.take(ctx, "catch up", func(t *turn) error { return t.askAll(ctx) }); err != nil && ctx.Err() == nil {
		m.cfg.Log.Warn("market: could not look through the board", "err", err)
	}
}

// maxWait bounds how long the loop sleeps: a clock that was set is noticed.
const maxWait = 30 * time.Second

// deadlines acts on everything that is due and returns how long to sleep.
func (m *Market) deadlines(ctx context.Context) time.Duration {
	for range 64 { // bounded: the rest comes at the next turn
		nowMS := m.cfg.Now().UnixMilli()
		var list []records.Deadline
		var next int64
		err := m.cfg.Stores.KV.View(ctx, func(r kv.Reader) (err error) {
			list, next, err = records.NextDue(r, nowMS, 32)
			return err
		})
		if err != nil {
			return time.Second
		}
		if len(list) == 0 {
			if next == 0 {
				return maxWait
			}
			return min(max(time.Duration(next-nowMS)*time.Millisecond, time.Millisecond), maxWait)
		}
		for _, d := range list {
			if err := m.take(ctx, "deadline", func(t *turn) error { return t.due(d) }); err != nil {
				m.cfg.Log.Warn("market: deadline", "what", string(d.What), "err", err)
				m.postpone(ctx, d, nowMS)
			}
		}
	}
	return time.Millisecond
}

// postpone moves a deadline whose turn failed, so that the loop does not spin.
func (m *Market) postpone(ctx context.Context, d records.Deadline, nowMS int64) {
	err := m.cfg.Stores.KV.Update(ctx, func(tx kv.Tx) error {
		return records.SetDue(tx, d.What, d.ID, nowMS+60_000)
	})
	if err != nil && ctx.Err() == nil {
		m.cfg.Log.Error("market: could not postpone a deadline", "err", err)
	}
}

// due acts on one deadline.
func (t *turn) due(d records.Deadline) error {
	switch d.What {
	case records.DueContext:
		return t.contextDue(protocol.ContextID(d.ID))
	case records.DueAgreement:
		return t.agreementDue(d.ID)
	case records.DueDeal:
		return t.dealDue(d.ID)
	case records.DueAck:
		return t.flushAcks(d.ID)
	case records.DueSnooze:
		return t.snoozeDue(d.ID)
	case records.DueUpdate:
		return t.updateDue()
	case records.DueLater:
		return t.laterDue(d.ID)
	case records.DueBox:
		return t.boxDue(key.MailboxKey(d.ID))
	}
	return records.SetDue(t, d.What, d.ID, 0)
}

// Known reports whether a letter was acted on before.
func (m *Market) Known(ctx context.Context, id protocol.Hash) (known bool, err error) {
	err = m.cfg.Stores.KV.View(ctx, func(r kv.Reader) error {
		known, err = records.Seen(r, id)
		return err
	})
	return known, err
}

// Letter takes one letter that came to a mailbox. Without an error it is done with
// and may be deleted: opened tells whether it was kept, now or before, or was junk.
// An error means: leave it where it is and try again.
func (m *Market) Letter(ctx context.Context, box key.MailboxKey, raw []byte) (opened bool, err error) {
	var refused error
	err = m.Do(ctx, "letter", func(t *turn) error {
		refused = nil
		err := t.letter(box, raw)
		if err != nil && !temporary(err) {
			refused = err
		}
		return err // nothing of a refused letter is kept
	})
	if refused == nil {
		return err == nil, err
	}
	m.cfg.Log.Debug("market: letter refused", "err", refused)
	if e := (*unpaid)(nil); errors.As(refused, &e) {
		return false, m.Do(ctx, "letter refused", func(t *turn) error { return t.unpaid(e) })
	}
	return false, nil
}

// temporary tells a failure of this node, worth another try, from a letter that
// will never be right.
func temporary(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	switch fault.Of(err) {
	case fault.Internal, fault.Offline, fault.Full, fault.Locked: // errParked is Offline
		return true
	}
	return false
}
