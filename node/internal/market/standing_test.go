package market

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/outbox"
)

// names lists what a vendor holds under the grant; nothing where nothing is.
func (w *town) names() (out []protocol.FieldName) {
	rec, err := w.shop.held(w.grant)
	if err != nil && !errors.Is(err, fault.NotFound) {
		w.Fatal(err)
	}
	for _, f := range rec.Fields {
		out = append(out, f.Name)
	}
	return out
}

// opened is a letter to the shop as its lock opens it.
func (w *town) opened(it outbox.Item) []byte {
	w.Helper()
	a := w.shop.agreement(w.grant)
	plain, _, err := wire.OpenLetter(key.SealFromSeed[key.DutySeal](a.Mine.Seal.Secret()), seal.Duty, w.shop.cfg.Net, it.Data)
	w.ok(err)
	return plain
}

// TestTakenBackStaysAway: a field that was taken back is deleted, and is not kept again
// whatever a disclosure holds that comes later.
func TestTakenBackStaysAway(t *testing.T) {
	in(t, func(w *town) {
		w.agree()
		if got := w.names(); !slices.Equal(got, []protocol.FieldName{"contact.email", "location.area"}) {
			w.Fatalf("held is %v", got)
		}
		grants := []protocol.GrantID{w.grant}
		w.ok(w.her.WithdrawField(context.Background(), grants, "contact.email", ""))
		w.shop.accepts(w.until(protocol.KindRight))
		if got := w.names(); !slices.Equal(got, []protocol.FieldName{"location.area"}) {
			w.Errorf("held after it was taken back: %v", got)
		}
		w.settle()
		if r := w.her.agreement(w.grant).Rights; len(r) != 1 || r[0].Status != "fulfilled" || r[0].Deadline != r[0].At+w.her.cfg.Genesis.Duties.Deletion {
			w.Errorf("rights %+v", r)
		}
		if err := w.her.WithdrawField(context.Background(), grants, "contact.email", ""); !errors.Is(err, fault.Conflict) {
			w.Errorf("taken back twice: %v", err)
		}
		if err := w.shop.WithdrawField(context.Background(), grants, "location.area", ""); !errors.Is(err, fault.Conflict) {
			w.Errorf("taken back by the shop: %v", err)
		}
		w.disclosed(func(d *protocol.Disclosure) {
			d.Values = []protocol.FieldValue{{Name: "contact.email", Value: "again@example.org", Version: 9}, {Name: "location.area", Value: "Brixton", Version: 9}}
		})
		if got := w.names(); !slices.Equal(got, []protocol.FieldName{"location.area"}) {
			w.Errorf("held after a later disclosure: %v", got)
		}
		w.ok(w.her.WithdrawField(context.Background(), grants, "location.area", "")) // the last one
		if s := w.her.agreement(w.grant).Flow.State; s != flow.Revoked {
			w.Errorf("a grant that gives nothing is %s", s)
		}
	})
}

// TestUnsentGivesWay: a disclosure that has not left is cancelled by a newer one, and by
// taking a field back; what goes instead lacks the field.
func TestUnsentGivesWay(t *testing.T) {
	in(t, func(w *town) {
		w.agree()
		w.settle()
		change := func(area string) {
			w.ok(w.her.cfg.Stores.KV.Update(context.Background(), func(tx kv.Tx) error {
				_, err := w.her.cfg.Stores.Vault.Set(tx, "location.area", area, 2)
				return errors.Join(err, records.Touch(tx, time.Now().UnixMilli()))
			}))
			w.her.Wake()
			time.Sleep(3 * time.Second)
		}
		change("Brixton")
		first := w.her.posted(protocol.KindDisclosure)
		if len(first) != 1 || !bytes.Contains(w.opened(first[0]), []byte("her@example.org")) {
			w.Fatalf("%d disclosures after a change", len(first))
		}
		change("Westdene")
		second := w.her.posted(protocol.KindDisclosure)
		if len(second) != 1 || second[0].ID == first[0].ID || !bytes.Contains(w.opened(second[0]), []byte("Westdene")) {
			w.Fatalf("%d disclosures after two changes", len(second))
		}
		w.ok(w.her.WithdrawField(context.Background(), []protocol.GrantID{w.grant}, "contact.email", ""))
		third := w.her.posted(protocol.KindDisclosure)
		if len(third) != 1 || bytes.Contains(w.opened(third[0]), []byte("her@example.org")) || !bytes.Contains(w.opened(third[0]), []byte("Westdene")) {
			w.Errorf("%d disclosures after a field was taken back, or it is in one", len(third))
		}
		if n := w.her.agreement(w.grant).Standing.Updates; n != 3 {
			w.Errorf("%d updates", n)
		}
	})
}

// disclosed gives the shop one more disclosure, as her keys could make it.
func (w *town) disclosed(change func(*protocol.Disclosure)) {
	w.Helper()
	a, hers, now := w.shop.agreement(w.grant), w.her.agreement(w.grant), protocol.Second(time.Now().Unix())
	d := &protocol.Disclosure{
		Header: protocol.Header{
			Net: w.her.cfg.Net, Kind: protocol.KindDisclosure, ID: wire.NewID(), To: protocol.Hash(hers.Theirs.Sign), Context: protocol.Hash(a.Context),
			From: protocol.Hash(key.FromSeed[key.Duty](hers.Mine.Sign.Secret()).Public()), Seq: 99, Re: a.Letters.Receipt,
			Created: now, Expires: now + protocol.Day,
		},
		Grant: w.grant, Lease: a.Leases + 5, Until: now + protocol.Hour,
	}
	change(d)
	raw := sealed(key.SealFromSeed[key.DutySeal](a.Mine.Seal.Secret()).Public(), seal.Duty, w.shop.cfg.Net, boxOf(a), must(wire.SealDisclosure(d, hers.MAC.Secret())))
	if opened, err := w.shop.Letter(context.Background(), boxOf(a), raw); err != nil || !opened {
		w.Fatalf("a later disclosure is not taken: %v", err)
	}
}

// TestLateDisclosureIsNotHeld: of one whose lease ended on the way nothing is kept, and it
// stands above those before it.
func TestLateDisclosureIsNotHeld(t *testing.T) {
	in(t, func(w *town) {
		w.agree()
		before := w.shop.agreement(w.grant)
		w.disclosed(func(d *protocol.Disclosure) {
			d.Created -= 2 * protocol.Hour
			d.Until = d.Created + protocol.Hour
			d.Values = []protocol.FieldValue{{Name: "contact.email", Value: "late@example.org", Version: 9}}
		})
		rec, err := w.shop.held(w.grant)
		w.ok(err)
		if slices.ContainsFunc(rec.Fields, func(f protocol.FieldValue) bool { return f.Value == "late@example.org" }) {
			w.Errorf("held: %v", w.names())
		}
		if a := w.shop.agreement(w.grant); a.Leases != before.Leases+5 || a.Letters.Disclosure != before.Letters.Disclosure {
			w.Errorf("lease %d after %d", a.Leases, before.Leases)
		}
	})
}
