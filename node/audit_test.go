package node

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/store/held"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
)

// auditHome makes a home and fills its store as a node would have.
func auditHome(t *testing.T, o InitOptions, fill func(p private, tx kv.Tx) error) Paths {
	t.Helper()
	paths, err := DefaultPaths(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	o.Paths, o.Cheap = paths, true
	if err := Init(o); err != nil {
		t.Fatal(err)
	}
	f, err := readKeys(paths)
	if err != nil {
		t.Fatal(err)
	}
	master, err := f.open(paths, o.Passphrase)
	if err != nil {
		t.Fatal(err)
	}
	store, err := kv.Open(paths.store())
	if err != nil {
		t.Fatal(err)
	}
	p, err := openPrivate(t.Context(), store, master, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.stores.KV.Update(t.Context(), func(tx kv.Tx) error { return fill(p, tx) }); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.catalog.Close(), store.Close()); err != nil {
		t.Fatal(err)
	}
	return paths
}

func agreementOf(me protocol.Side, n byte, s flow.AgreementState) records.Agreement {
	one := func(x byte) protocol.Hash { return protocol.Hash{x, n} }
	return records.Agreement{
		ID: one(1), Context: protocol.ContextID(one(2)), VendorName: "Shop", Flow: flow.Agreement{Me: me, State: s}, Leases: 2,
		Letters: records.Letters{Request: one(3), Grant: one(4), Receipt: one(5), Deletion: one(6)},
		Times:   records.Times{Revoked: 5}, Offers: records.OfferCount{Late: 2, LateOpened: 1}, Lapses: []string{"no deletion"},
	}
}

func TestAuditFindsWhatIsStillThere(t *testing.T) {
	mine, theirs := agreementOf(protocol.Customer, 1, flow.Deleted), agreementOf(protocol.Vendor, 2, flow.Deleted)
	open := agreementOf(protocol.Customer, 3, flow.Disclosed)
	open.Letters.Deletion, open.Lapses = protocol.Hash{}, nil
	honest := agreementOf(protocol.Vendor, 4, flow.Deleted)
	paths := auditHome(t, InitOptions{Profile: Public}, func(p private, tx kv.Tx) error {
		var errs []error
		for _, a := range []records.Agreement{mine, theirs, open, honest} {
			errs = append(errs, records.PutAgreement(tx, a))
		}
		for i, d := range []records.Deal{
			{Side: protocol.Customer, Flow: flow.Deal{State: flow.Closed}, Steps: []records.Step{{Kind: protocol.KindAccept}}},
			{Side: protocol.Customer, Misses: []string{"budget"}}, {Side: protocol.Vendor},
		} {
			d.ID, d.Grant = protocol.Hash{9, byte(i)}, mine.ID
			errs = append(errs, records.PutDeal(tx, d))
		}
		errs = append(errs,
			records.PutOfferKeys(tx, mine.ID, records.OfferKeys{}), records.PutOfferKeys(tx, open.ID, records.OfferKeys{}),
			records.PutContext(tx, records.Context{ID: mine.Context, AnnouncedMS: 1}), records.PutContext(tx, records.Context{ID: open.Context}),
			p.stores.Held.Put(tx, held.Record{Grant: theirs.ID, Fields: []protocol.FieldValue{{Name: "location.area", Value: "x"}}}))
		_, err := p.stores.Ledger.Append(tx, "test", 1, []byte("{}"))
		return errors.Join(append(errs, err)...)
	})
	for range 2 { // reading changes nothing
		a, err := Audit(paths, nil)
		if err != nil {
			t.Fatal(err)
		}
		if a.Schema != AuditSchema || a.Profile != Public || a.Needs != 2 || a.Announced != 1 || a.Ledger.Entries != 1 || !a.Ledger.OK {
			t.Errorf("%+v", a)
		}
		want := AuditSide{
			Requests: 2, Grants: 2, Receipts: 2, Disclosures: 4, Offers: 2, Missed: 1, LateSeen: 4, LateOpened: 2, Accepted: 1, Closed: 1, Revoked: 2, Deletions: 1,
		}
		if a.AsCustomer != want {
			t.Errorf("customer: %+v", a.AsCustomer)
		}
		if v := a.AsVendor; v.Offers != 1 || v.Grants != 2 || v.Deletions != 2 {
			t.Errorf("vendor: %+v", v)
		}
		if !slices.Equal(a.OfferKeysAfterEnd, []string{mine.ID.String()}) {
			t.Errorf("offer keys: %v", a.OfferKeysAfterEnd)
		}
		if h := a.HeldAfterDeletion; len(h) != 1 || h[0].Grant != theirs.ID.String() || !slices.Contains(h[0].Names, "field location.area") {
			t.Errorf("held: %v", h)
		}
		if len(a.Lapses) != 1 || !strings.Contains(a.Lapses[0], "vendor Shop") {
			t.Errorf("lapses: %v", a.Lapses)
		}
	}
}

func TestAuditKeepsOut(t *testing.T) {
	nothing := func(private, kv.Tx) error { return nil }
	locked := auditHome(t, InitOptions{Passphrase: []byte("open sesame")}, nothing)
	if _, err := Audit(locked, nil); !errors.Is(err, fault.Locked) {
		t.Errorf("no passphrase: %v", err)
	}
	if _, err := Audit(locked, []byte("open barley")); !errors.Is(err, fault.Denied) {
		t.Errorf("wrong passphrase: %v", err)
	}
	if a, err := Audit(locked, []byte("open sesame")); err != nil || a.Ledger.Entries != 0 || !a.Ledger.OK {
		t.Errorf("%+v, %v", a, err)
	}
	nowhere, err := DefaultPaths(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Audit(nowhere, nil); !errors.Is(err, fault.NotFound) {
		t.Errorf("no home: %v", err)
	}
	running := auditHome(t, InitOptions{}, nothing)
	store, err := kv.Open(running.store())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := Audit(running, nil); !errors.Is(err, fault.Conflict) {
		t.Errorf("a home in use: %v", err)
	}
}

// TestAuditOfALockedLife: a home whose vault was never opened has no ledger yet.
func TestAuditOfALockedLife(t *testing.T) {
	paths, err := DefaultPaths(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := Init(InitOptions{Paths: paths}); err != nil {
		t.Fatal(err)
	}
	store, err := kv.Open(paths.store())
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(store.Update(context.Background(), func(tx kv.Tx) error { return tx.Put([]byte("b/x"), []byte("y")) }), store.Close())
	if err != nil {
		t.Fatal(err)
	}
	if a, err := Audit(paths, nil); err != nil || !a.Ledger.OK || a.Ledger.Entries != 0 || a.Ledger.Device == "" {
		t.Errorf("%+v, %v", a, err)
	}
}
