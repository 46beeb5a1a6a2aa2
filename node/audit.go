package node

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/desks"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/store/held"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/ledger"
	records "github.com/harkmarket/hark/store/market"
)

// An AuditReport is what the home of a stopped node tells, read without changing a
// byte of it.
type AuditReport struct {
	Schema     string            `json:"schema"`
	Profile    string            `json:"profile"`
	Ledger     desk.LedgerReport `json:"ledger"`
	Needs      int               `json:"needs"`     // needs, interests and relations of its owner
	Announced  int               `json:"announced"` // of these
	AsCustomer AuditSide         `json:"as_customer"`
	AsVendor   AuditSide         `json:"as_vendor"`
	// HeldAfterDeletion is what is still there although its Deletion was signed here.
	HeldAfterDeletion []AuditHeld `json:"held_after_deletion"`
	// OfferKeysAfterEnd are grants that are over, whose offers could still be opened.
	OfferKeysAfterEnd []string `json:"offer_keys_after_end"`
	Lapses            []string `json:"lapses"` // promises of others that were broken
}

// AuditSchema is the schema of an AuditReport.
const AuditSchema = "hark.audit/1"

// An AuditSide counts what one side of the market did. Offers are those that a
// customer opened, or that a vendor made.
type AuditSide struct {
	Requests    int `json:"requests"`
	Grants      int `json:"grants"`
	Refusals    int `json:"refusals"`
	Receipts    int `json:"receipts"`
	Disclosures int `json:"disclosures"`
	Offers      int `json:"offers"`
	Missed      int `json:"offers_missed_constraints"` // of Offers
	LateSeen    int `json:"offers_after_revocation"`
	LateOpened  int `json:"offers_after_revocation_opened"`
	Accepted    int `json:"accepted"`
	Closed      int `json:"closed"`
	Revoked     int `json:"revoked"`
	Deletions   int `json:"deletions"`
}

// An AuditHeld is what is still held under one grant: names, never values.
type AuditHeld struct {
	Grant string   `json:"grant"`
	Names []string `json:"names"`
}

// Audit reads the home of a node that is not running and reports what is in it. The
// passphrase is needed where the key store is one; none is fault.Locked, a wrong one
// fault.Denied, a running node fault.Conflict.
func Audit(paths Paths, passphrase []byte) (a AuditReport, err error) {
	a = AuditReport{Schema: AuditSchema, HeldAfterDeletion: []AuditHeld{}, OfferKeysAfterEnd: []string{}, Lapses: []string{}}
	settings, err := ReadSettings(paths)
	if err != nil {
		return a, err
	}
	a.Profile = settings.Profile
	f, err := readKeys(paths)
	if err != nil {
		return a, err
	}
	master, err := f.open(paths, passphrase)
	if err != nil {
		return a, err
	}
	store, err := kv.OpenReadOnly(paths.store())
	if err != nil {
		return a, fmt.Errorf("audit: %w", err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	// The same layout as openPrivate, without what would be written there at first use.
	sealed := kv.Sealed(store, seal.Derive(master, seal.LabelRecord, nil))
	device := key.FromSeed[key.Device](seal.Derive(master, seal.LabelDevice, nil))
	if err := a.readLedger(sealed, device); err != nil {
		return a, err
	}
	return a, sealed.View(context.Background(), a.read)
}

// readLedger verifies the ledger. A home that was never unlocked has none yet.
func (a *AuditReport) readLedger(sealed kv.Store, device key.Private[key.Device]) error {
	ctx := context.Background()
	begun := false
	err := sealed.View(ctx, func(r kv.Reader) error {
		return r.Scan([]byte("l/"), nil, func(_, _ []byte) (bool, error) {
			begun = true
			return false, nil
		})
	})
	if err != nil {
		return fmt.Errorf("audit: ledger: %w", err)
	}
	if !begun {
		a.Ledger = desk.LedgerReport{Device: device.Public().String(), OK: true}
		return nil
	}
	l, err := ledger.Open(ctx, sealed, device)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return sealed.View(ctx, func(r kv.Reader) error {
		a.Ledger, err = desks.VerifyLedger(r, l)
		return err
	})
}

// read counts the market's records.
func (a *AuditReport) read(r kv.Reader) error {
	if err := records.EachContext(r, nil, func(c records.Context) (bool, error) {
		a.Needs++
		if c.AnnouncedMS > 0 {
			a.Announced++
		}
		return true, nil
	}); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if err := records.EachAgreement(r, nil, func(g records.Agreement) (bool, error) {
		a.side(g.Flow.Me).agreement(g)
		if g.Flow.Me == protocol.Customer {
			return true, a.offerKeys(r, g)
		}
		return true, a.held(r, g)
	}); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if err := records.EachDeal(r, nil, func(d records.Deal) (bool, error) {
		a.side(d.Side).deal(d)
		return true, nil
	}); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return nil
}

func (a *AuditReport) side(s protocol.Side) *AuditSide {
	if s == protocol.Customer {
		return &a.AsCustomer
	}
	return &a.AsVendor
}

// agreement counts one agreement by the letters that made it.
func (s *AuditSide) agreement(g records.Agreement) {
	count := func(n *int, yes bool) {
		if yes {
			*n++
		}
	}
	count(&s.Requests, !g.Letters.Request.IsZero())
	count(&s.Refusals, g.Flow.State == flow.Refused)
	count(&s.Grants, !g.Letters.Grant.IsZero())
	count(&s.Receipts, !g.Letters.Receipt.IsZero())
	count(&s.Revoked, g.Times.Revoked > 0)
	count(&s.Deletions, !g.Letters.Deletion.IsZero())
	s.Disclosures += int(g.Leases)
	s.LateSeen += g.Offers.Late
	s.LateOpened += g.Offers.LateOpened
}

// deal counts one offer and what became of it.
func (s *AuditSide) deal(d records.Deal) {
	s.Offers++
	if len(d.Misses) > 0 {
		s.Missed++
	}
	if slices.ContainsFunc(d.Steps, func(x records.Step) bool { return x.Kind == protocol.KindAccept }) {
		s.Accepted++
	}
	if d.Flow.State == flow.Closed {
		s.Closed++
	}
}

// offerKeys notes a customer's keys that should have been destroyed, and promises to
// her that were broken.
func (a *AuditReport) offerKeys(r kv.Reader, g records.Agreement) error {
	for _, l := range g.Lapses {
		a.Lapses = append(a.Lapses, fmt.Sprintf("vendor %s, grant %s: %s", g.VendorName, g.ID.Short(), l))
	}
	if !g.Flow.State.Over() {
		return nil
	}
	_, err := records.GetOfferKeys(r, g.ID)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	a.OfferKeysAfterEnd = append(a.OfferKeysAfterEnd, g.ID.String())
	return err
}

// held notes what a vendor still holds although it signed that it deleted it.
func (a *AuditReport) held(r kv.Reader, g records.Agreement) error {
	if g.Letters.Deletion.IsZero() {
		return nil
	}
	names, err := held.New().Names(r, g.ID)
	if err == nil && len(names) > 0 {
		a.HeldAfterDeletion = append(a.HeldAfterDeletion, AuditHeld{Grant: g.ID.String(), Names: names})
	}
	return err
}
