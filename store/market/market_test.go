package market

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/storetest"
)

// open gives a sealed store in memory whose updates all run twice.
func open() kv.Store { return storetest.Twice(kv.Sealed(kv.Memory(), key.NewSecret())) }

func update(t interface{ Fatal(...any) }, s kv.Store, fn func(kv.Tx) error) {
	if err := s.Update(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

func view(t interface{ Fatal(...any) }, s kv.Store, fn func(kv.Reader) error) {
	if err := s.View(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

// same compares records; keys and hashes are plain bytes, secrets are not looked into.
func same(t *testing.T, got, want any) {
	t.Helper()
	if d := cmp.Diff(fmt.Sprintf("%#v", want), fmt.Sprintf("%#v", got)); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func h(b byte) protocol.Hash { return protocol.Hash{b} }

// keepers, an address and the like: one of everything, so that nothing that is nested is lost.
var (
	someKeepers = []protocol.Keeper{{Key: key.KeeperKey{1}, Addrs: [][]byte{{4, 1}, {4, 2}}}, {Key: key.KeeperKey{2}}}
	someShared  = protocol.Share(key.FromSeed[key.Duty](key.NewSecret()).Seed())
	someAddress = protocol.Address{
		Keepers:    someKeepers,
		Capability: protocol.Capability{Box: key.MailboxKey{9}, ID: protocol.ID{1}, Letters: 2, KiB: 3, Expires: 4, Sig: []byte{5}},
		Seed:       someShared,
	}
	someMoney = protocol.Money{Minor: 1250, Currency: "ZAR"}
)

func fullContext() Context {
	return Context{
		ID: protocol.ContextID{1}, Flow: flow.Context{State: flow.Announced, Kind: protocol.ContextNeed, Seq: 3, Expires: 99, ID: h(5)},
		Name: "a desk", Category: "home.furniture", Region: "ZA-GP", Fields: []protocol.FieldOnOffer{{Name: "contact.email", Floor: someMoney}},
		Issuers: []key.IssuerKey{{7}}, Demand: protocol.Demand{Name: "a desk", MaxPrice: someMoney, Quantity: 2}, Keepers: someKeepers,
		Keys:      ContextKeys{Sign: someShared, Seal: someShared, Box: someShared, Body: someShared},
		Announced: []Announced{{Hash: h(5), Seq: 3, Expires: 99}}, Raw: []byte("raw"), CreatedMS: 1, AnnouncedMS: 2, Life: 3,
	}
}

func fullAgreement() Agreement {
	return Agreement{
		ID: h(1), Context: protocol.ContextID{2}, Reason: protocol.ContextNeed, Vendor: h(3), VendorName: "Veld & Vine",
		Flow:  flow.Agreement{Me: protocol.Customer, State: flow.Disclosed, Duties: protocol.DefaultDuties, Handed: []protocol.Hash{h(4)}},
		Terms: Terms{Fields: []protocol.FieldGrant{{Name: "contact.email", Price: someMoney}}, Asked: []protocol.FieldAsk{{Name: "contact.email"}}, Start: 1, End: 2, Lease: 3, Why: "w", Law: "l", Deleted: []string{"need"}},
		Letters: Letters{
			Announcement: h(1), Request: h(2), Grant: h(3), Receipt: h(4), Disclosure: h(5), Revocation: h(6), Deletion: h(7), Pause: h(8),
		},
		Mine:   DutyKeys{Sign: someShared, Seal: someShared, Box: someShared, Request: someShared, Reply: someShared},
		Theirs: Counterparty{Sign: key.DutyKey{1}, Seal: key.GenerateSeal[key.DutySeal]().Public(), Box: someAddress, OfferBox: someAddress},
		MAC:    someShared, Counter: 4, Leases: 5, AckQueue: []protocol.Hash{h(1), h(2)},
		Heads:  []Head{{Blind: h(1), Size: 2, Salt: protocol.ID{3}, By: "grant", Signed: h(4)}},
		Rights: []Right{{ID: h(1), Exercise: protocol.RightAccess, At: 2, Deadline: 3, Status: "open", Text: "t"}},
		Lapses: []string{"no deletion"}, Times: Times{1, 2, 3, 4, 5, 6}, Offers: OfferCount{7, 8, 9}, Answered: true,
	}
}

func fullDeal() Deal {
	return Deal{
		ID: h(1), Grant: h(2), Context: protocol.ContextID{3}, Side: protocol.Vendor, Vendor: h(4), VendorName: "Veld & Vine",
		Offer: protocol.Offer{Grant: h(2), Product: "p", Title: "Desk", Price: someMoney, Quantity: 2, Rank: 1},
		Flow:  flow.Deal{State: flow.Offered}, Misses: []string{"over budget"},
		Steps: []Step{{Kind: protocol.KindOffer, By: protocol.Vendor, ID: h(1), AtMS: 5, Note: "n"}}, LastStep: h(1), AtMS: 6,
	}
}

// trip keeps a record, reads it back and compares it.
func trip[T any](t *testing.T, name string, v T, put func(kv.Tx, T) error, get func(kv.Reader, T) (T, error)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		s := open()
		var got T
		update(t, s, func(tx kv.Tx) error {
			if _, err := get(tx, v); !errors.Is(err, fault.NotFound) {
				t.Errorf("before it was kept: %v", err)
			}
			return put(tx, v)
		})
		view(t, s, func(r kv.Reader) (err error) { got, err = get(r, v); return err })
		same(t, got, v)
	})
}

func TestRecordsComeBackAsTheyWere(t *testing.T) {
	for name, c := range map[string]Context{"context": fullContext(), "zero context": {}} {
		trip(t, name, c, PutContext, func(r kv.Reader, c Context) (Context, error) { return GetContext(r, c.ID) })
	}
	for name, a := range map[string]Agreement{"agreement": fullAgreement(), "zero agreement": {}} {
		trip(t, name, a, PutAgreement, func(r kv.Reader, a Agreement) (Agreement, error) { return GetAgreement(r, a.ID) })
	}
	for name, d := range map[string]Deal{"deal": fullDeal(), "zero deal": {}} {
		trip(t, name, d, PutDeal, func(r kv.Reader, d Deal) (Deal, error) { return GetDeal(r, d.ID) })
	}
	for name, b := range map[string]Box{"box": {Key: key.MailboxKey{1}, Seed: someShared, Role: BoxDuty, Ref: h(2), Keepers: someKeepers, Until: 3}, "zero box": {}} {
		trip(t, name, b, PutBox, func(r kv.Reader, b Box) (Box, error) { return GetBox(r, b.Key) })
	}
	for name, s := range map[string]Sighting{
		"sighting":       {Letter: h(1), Box: key.MailboxKey{2}, AtMS: 3, Missing: []key.KeeperKey{{4}}, Altered: []key.KeeperKey{{5}}, Finished: true},
		"least sighting": {Replayed: []key.KeeperKey{{}}},
	} {
		trip(t, name, s, putSighting, func(r kv.Reader, s Sighting) (Sighting, error) { return GetSighting(r, s.Letter) })
	}
	for name, k := range map[string]OfferKeys{"offer keys": {Seal: someShared, Secret: someShared, Box: someShared}, "zero offer keys": {}} {
		trip(t, name, k, func(tx kv.Tx, k OfferKeys) error { return PutOfferKeys(tx, h(1), k) },
			func(r kv.Reader, _ OfferKeys) (OfferKeys, error) { return GetOfferKeys(r, h(1)) })
	}
	for name, raw := range map[string][]byte{"envelope": []byte("signed"), "empty envelope": {}} {
		trip(t, name, raw, func(tx kv.Tx, raw []byte) error { return PutEnvelope(tx, h(1), raw) },
			func(r kv.Reader, _ []byte) ([]byte, error) { return GetEnvelope(r, h(1)) })
	}
	trip(t, "asked", h(9), func(tx kv.Tx, v protocol.Hash) error { return PutAsked(tx, protocol.ContextID{1}, v) },
		func(r kv.Reader, _ protocol.Hash) (protocol.Hash, error) { return Asked(r, protocol.ContextID{1}) })
	trip(t, "setting", []string{"a", "b"}, func(tx kv.Tx, v []string) error { return PutSetting(tx, "list", v) },
		func(r kv.Reader, _ []string) (v []string, err error) { return v, GetSetting(r, "list", &v) })
}

// Secrets are compared by what they are, not by how they print.
func TestKeysComeBackWhole(t *testing.T) {
	s := open()
	a := fullAgreement()
	update(t, s, func(tx kv.Tx) error { return PutAgreement(tx, a) })
	view(t, s, func(r kv.Reader) error {
		got, err := GetAgreement(r, a.ID)
		for name, pair := range map[string][2]protocol.Shared{
			"sign": {got.Mine.Sign, a.Mine.Sign}, "seal": {got.Mine.Seal, a.Mine.Seal}, "box": {got.Mine.Box, a.Mine.Box},
			"request": {got.Mine.Request, a.Mine.Request}, "reply": {got.Mine.Reply, a.Mine.Reply}, "mac": {got.MAC, a.MAC},
			"address": {got.Theirs.Box.Seed, a.Theirs.Box.Seed},
		} {
			if !bytes.Equal(pair[0].Secret().Reveal(), pair[1].Secret().Reveal()) {
				t.Errorf("the %s key is another one", name)
			}
		}
		return err
	})
}

func TestAContextRemembersItsLatestAnnouncements(t *testing.T) {
	s := open()
	c := fullContext()
	c.Announced = nil
	for seq := range uint64(MaxAnnounced + 3) {
		c.Announced = append(c.Announced, Announced{Seq: seq + 1})
	}
	update(t, s, func(tx kv.Tx) error { return PutContext(tx, c) })
	view(t, s, func(r kv.Reader) error {
		got, err := GetContext(r, c.ID)
		if n := len(got.Announced); n != MaxAnnounced || got.Announced[0].Seq != 4 || got.Announced[n-1].Seq != MaxAnnounced+3 {
			t.Errorf("kept %v", got.Announced)
		}
		return err
	})
	if len(c.Announced) != MaxAnnounced+3 {
		t.Error("the caller's list was cut")
	}
}

func TestDestroyedOfferKeysAreGone(t *testing.T) {
	inner, secret := kv.Memory(), key.NewSecret()
	s := storetest.Twice(kv.Sealed(inner, secret))
	update(t, s, func(tx kv.Tx) error {
		return errors.Join(PutOfferKeys(tx, h(1), OfferKeys{Seal: someShared}), PutOfferKeys(tx, h(2), OfferKeys{Seal: someShared}))
	})
	update(t, s, func(tx kv.Tx) error {
		// Those that never were, and those destroyed twice, are no error.
		return errors.Join(DestroyOfferKeys(tx, h(1)), DestroyOfferKeys(tx, h(1)), DestroyOfferKeys(tx, h(7)))
	})
	view(t, s, func(r kv.Reader) error {
		for _, id := range []protocol.Hash{h(1), h(7)} {
			if _, err := GetOfferKeys(r, id); !errors.Is(err, fault.NotFound) {
				t.Errorf("keys of %s after they were destroyed: %v", id.Short(), err)
			}
		}
		_, err := GetOfferKeys(r, h(2))
		return err
	})
	left := 0
	view(t, inner, func(r kv.Reader) error {
		return r.Scan(nil, nil, func(_, _ []byte) (bool, error) { left++; return true, nil })
	})
	if left != 1 {
		t.Errorf("%d records are left in the store, want the other grant's alone", left)
	}
}

func TestSeen(t *testing.T) {
	s := open()
	for i, want := range []bool{true, false} {
		update(t, s, func(tx kv.Tx) error {
			fresh, err := MarkSeen(tx, key.MailboxKey{9}, h(1), protocol.Second(100*(1-i)), roomy) // an expiry of zero is one, too
			if fresh != want {
				t.Errorf("time %d: fresh is %v", i+1, fresh)
			}
			return err
		})
	}
	update(t, s, func(tx kv.Tx) error { _, err := MarkSeen(tx, key.MailboxKey{9}, h(2), 0, roomy); return err })
	view(t, s, func(r kv.Reader) error {
		for id, want := range map[protocol.Hash]bool{h(1): true, h(2): true, h(3): false} {
			if got, err := Seen(r, id); got != want || err != nil {
				t.Errorf("Seen(%s) = %v, %v", id.Short(), got, err)
			}
		}
		return nil
	})
}

// broken is a store whose reads fail.
type broken struct{ kv.Tx }

var errBroken = errors.New("disk on fire")

func (broken) Get([]byte) ([]byte, error) { return nil, errBroken }

func TestABrokenStoreIsNotTakenForAnEmptyOne(t *testing.T) {
	update(t, open(), func(tx kv.Tx) error {
		b := broken{tx}
		if fresh, err := MarkSeen(b, key.MailboxKey{9}, h(1), 1, roomy); !errors.Is(err, errBroken) || fresh {
			t.Errorf("MarkSeen: %v, %v", fresh, err)
		}
		if seen, err := Seen(b, h(1)); !errors.Is(err, errBroken) || seen {
			t.Errorf("Seen: %v, %v", seen, err)
		}
		if err := SetDue(b, DueAgreement, h(1), 5); !errors.Is(err, errBroken) {
			t.Errorf("SetDue: %v", err)
		}
		return nil
	})
}

func TestARecordOfAnotherShapeIsRefused(t *testing.T) {
	s := open()
	update(t, s, func(tx kv.Tx) error { return tx.Put(append([]byte("k/a/"), make([]byte, 32)...), []byte{0xff}) })
	view(t, s, func(r kv.Reader) error {
		if _, err := GetAgreement(r, h(0)); err == nil {
			t.Error("read as an agreement")
		}
		err := EachAgreement(r, nil, func(Agreement) (bool, error) { t.Error("listed"); return true, nil })
		if err == nil {
			t.Error("passed over in silence")
		}
		return nil
	})
}

// each gathers what one of the Each functions lists.
func each[T any](t *testing.T, s kv.Store, name func(T) byte, list func(kv.Reader, func(T) (bool, error)) error) string {
	t.Helper()
	var out []byte
	view(t, s, func(r kv.Reader) error {
		return list(r, func(v T) (bool, error) { out = append(out, 'a'+name(v)); return true, nil })
	})
	return string(out)
}

func TestLists(t *testing.T) {
	s := open()
	update(t, s, func(tx kv.Tx) error {
		var errs []error
		for i := range byte(6) {
			c := protocol.ContextID{i % 2} // agreements and deals alternate between two parents
			errs = append(errs, PutContext(tx, Context{ID: protocol.ContextID{i}}), PutAgreement(tx, Agreement{ID: h(i), Context: c}),
				PutDeal(tx, Deal{ID: h(i), Grant: h(i % 2)}), PutBox(tx, Box{Key: key.MailboxKey{i}}), putSighting(tx, Sighting{Letter: h(i), Missing: []key.KeeperKey{{1}}}))
		}
		return errors.Join(errs...)
	})
	context := func(c Context) byte { return c.ID[0] }
	agreement := func(a Agreement) byte { return a.ID[0] }
	deal := func(d Deal) byte { return d.ID[0] }
	after := h(3)
	for name, got := range map[string]string{
		"contexts abcdef":   each(t, s, context, func(r kv.Reader, fn func(Context) (bool, error)) error { return EachContext(r, nil, fn) }),
		"contexts after ef": each(t, s, context, func(r kv.Reader, fn func(Context) (bool, error)) error { return EachContext(r, after[:], fn) }),
		"agreements abcdef": each(t, s, agreement, func(r kv.Reader, fn func(Agreement) (bool, error)) error { return EachAgreement(r, nil, fn) }),
		"agreements after ef": each(t, s, agreement, func(r kv.Reader, fn func(Agreement) (bool, error)) error {
			return EachAgreement(r, after[:], fn)
		}),
		"of one context bdf": each(t, s, agreement, func(r kv.Reader, fn func(Agreement) (bool, error)) error {
			return EachUnder(r, protocol.ContextID{1}, fn)
		}),
		"of no context ": each(t, s, agreement, func(r kv.Reader, fn func(Agreement) (bool, error)) error {
			return EachUnder(r, protocol.ContextID{9}, fn)
		}),
		"deals abcdef":     each(t, s, deal, func(r kv.Reader, fn func(Deal) (bool, error)) error { return EachDeal(r, nil, fn) }),
		"deals after ef":   each(t, s, deal, func(r kv.Reader, fn func(Deal) (bool, error)) error { return EachDeal(r, after[:], fn) }),
		"of one grant ace": each(t, s, deal, func(r kv.Reader, fn func(Deal) (bool, error)) error { return EachOf(r, h(0), fn) }),
		"boxes abcdef":     each(t, s, func(b Box) byte { return b.Key[0] }, EachBox),
		"sightings after ef": each(t, s, func(x Sighting) byte { return x.Letter[0] }, func(r kv.Reader, fn func(Sighting) (bool, error)) error {
			return EachSighting(r, after[:], fn)
		}),
	} {
		what, want := name[:strings.LastIndex(name, " ")], name[strings.LastIndex(name, " ")+1:]
		if got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
}

func TestListsStopWhereTheyAreTold(t *testing.T) {
	s := open()
	update(t, s, func(tx kv.Tx) error {
		return errors.Join(PutAgreement(tx, Agreement{ID: h(1)}), PutAgreement(tx, Agreement{ID: h(2)}), PutDeal(tx, Deal{ID: h(1)}), PutDeal(tx, Deal{ID: h(2)}))
	})
	view(t, s, func(r kv.Reader) error {
		n, enough := 0, errors.New("enough")
		stop := func(err error) func(Agreement) (bool, error) {
			return func(Agreement) (bool, error) { n++; return false, err }
		}
		if err := EachUnder(r, protocol.ContextID{}, stop(nil)); err != nil || n != 1 {
			t.Errorf("told to stop: %d calls, %v", n, err)
		}
		if err := EachUnder(r, protocol.ContextID{}, stop(enough)); !errors.Is(err, enough) || n != 2 {
			t.Errorf("with an error: %d calls, %v", n, err)
		}
		if err := EachOf(r, protocol.GrantID{}, func(Deal) (bool, error) { return true, enough }); !errors.Is(err, enough) {
			t.Errorf("deals with an error: %v", err)
		}
		return nil
	})
}

func TestAnAgreementMovedTwiceIsListedOnce(t *testing.T) {
	s := open()
	for i := range 3 {
		update(t, s, func(tx kv.Tx) error {
			return errors.Join(PutAgreement(tx, Agreement{ID: h(1), Counter: uint64(i)}), PutDeal(tx, Deal{ID: h(1), Grant: h(1), AtMS: int64(i)}))
		})
	}
	if got := each(t, s, func(a Agreement) byte { return byte(a.Counter) }, func(r kv.Reader, fn func(Agreement) (bool, error)) error {
		return EachUnder(r, protocol.ContextID{}, fn)
	}); got != "c" {
		t.Errorf("under its context: %q", got)
	}
	if got := each(t, s, func(d Deal) byte { return byte(d.AtMS) }, func(r kv.Reader, fn func(Deal) (bool, error)) error {
		return EachOf(r, h(1), fn)
	}); got != "c" {
		t.Errorf("of its grant: %q", got)
	}
}

func TestGetWith(t *testing.T) {
	s := open()
	c, v := protocol.ContextID{1}, h(7)
	update(t, s, func(tx kv.Tx) error {
		return errors.Join(PutAgreement(tx, Agreement{ID: h(1), Context: c, Vendor: v}), PutAgreement(tx, Agreement{ID: h(2), Context: c, Vendor: h(8)}),
			PutAgreement(tx, Agreement{ID: h(3), Context: protocol.ContextID{2}, Vendor: v}))
	})
	view(t, s, func(r kv.Reader) error {
		if a, err := GetWith(r, c, v); err != nil || a.ID != h(1) {
			t.Errorf("got %s, %v", a.ID.Short(), err)
		}
		if a, err := GetWith(r, c, h(9)); !errors.Is(err, fault.NotFound) {
			t.Errorf("of another vendor: %s, %v", a.ID.Short(), err)
		}
		return nil
	})
	update(t, s, func(tx kv.Tx) error { return PutAgreement(tx, Agreement{ID: h(4), Context: c, Vendor: v}) })
	view(t, s, func(r kv.Reader) error {
		if a, err := GetWith(r, c, v); err != nil || a.ID != h(4) {
			t.Errorf("after a second one: %s, %v", a.ID.Short(), err)
		}
		return nil
	})
}

func TestBoxesAreForgotten(t *testing.T) {
	s := open()
	update(t, s, func(tx kv.Tx) error { return PutBox(tx, Box{Key: key.MailboxKey{1}}) })
	update(t, s, func(tx kv.Tx) error {
		return errors.Join(DeleteBox(tx, key.MailboxKey{1}), DeleteBox(tx, key.MailboxKey{2}))
	})
	view(t, s, func(r kv.Reader) error {
		if _, err := GetBox(r, key.MailboxKey{1}); !errors.Is(err, fault.NotFound) {
			t.Errorf("still there: %v", err)
		}
		return nil
	})
}

func TestMatch(t *testing.T) {
	s := open()
	ids := []protocol.Hash{{0x12, 0x34}, {0x12, 0x3f}, {0x12, 0x40}, {0xab}}
	update(t, s, func(tx kv.Tx) error {
		var errs []error
		for _, id := range ids {
			errs = append(errs, PutAgreement(tx, Agreement{ID: id}), PutDeal(tx, Deal{ID: id, Grant: id}))
		}
		return errors.Join(append(errs, PutContext(tx, Context{ID: protocol.ContextID{0xcd}}))...)
	})
	whole := ids[1].String()
	view(t, s, func(r kv.Reader) error {
		for _, c := range []struct {
			shelf  Shelf
			digits string
			limit  int
			want   []protocol.Hash
		}{
			{Agreements, "", 9, ids},
			{Agreements, "", 2, ids[:2]},
			{Agreements, "1", 9, ids[:3]},
			{Agreements, "12", 9, ids[:3]},
			{Agreements, "123", 9, ids[:2]},
			{Agreements, "123", 1, ids[:1]},
			{Agreements, "1234", 9, ids[:1]},
			{Agreements, whole, 9, ids[1:2]},
			{Agreements, whole + "0", 9, nil},
			{Agreements, "2", 9, nil},
			{Agreements, "cd", 9, nil}, // a context is no agreement
			{Contexts, "cd", 9, []protocol.Hash{{0xcd}}},
			{Deals, "ab", 9, ids[3:]},
		} {
			got, err := Match(r, c.shelf, c.digits, c.limit)
			if err != nil || !slices.EqualFunc(got, c.want, func(a [32]byte, b protocol.Hash) bool { return a == [32]byte(b) }) {
				t.Errorf("Match(%s, %q, %d) = %x, %v", c.shelf, c.digits, c.limit, got, err)
			}
		}
		for _, bad := range []string{"xy", "12zz", "0x12"} {
			if got, err := Match(r, Agreements, bad, 9); err != nil || len(got) > 0 { // no id begins so
				t.Errorf("Match(%q) = %x, %v", bad, got, err)
			}
		}
		return nil
	})
}

// A last digit that stands alone is compared as text, so what is no digit fits nothing.
func TestMatchOfHalfAByte(t *testing.T) {
	s := open()
	update(t, s, func(tx kv.Tx) error { return PutAgreement(tx, Agreement{ID: h(0x12)}) })
	view(t, s, func(r kv.Reader) error {
		for _, digits := range []string{"z", "12z", "1g"} {
			if got, err := Match(r, Agreements, digits, 9); len(got) > 0 {
				t.Errorf("Match(%q) = %s, %v", digits, hex.EncodeToString(got[0][:]), err)
			}
		}
		return nil
	})
}

func due1(t *testing.T, s kv.Store, nowMS int64, limit int) (list []Deadline, next int64) {
	t.Helper()
	view(t, s, func(r kv.Reader) (err error) { list, next, err = NextDue(r, nowMS, limit); return err })
	return list, next
}

func TestDeadlinesMoveAndClear(t *testing.T) {
	s := open()
	set := func(w What, id byte, at int64) {
		t.Helper()
		update(t, s, func(tx kv.Tx) error { return SetDue(tx, w, h(id), at) })
	}
	if list, next := due1(t, s, 1<<40, 9); len(list) != 0 || next != 0 {
		t.Errorf("of an empty store: %v, %d", list, next)
	}
	set(DueAgreement, 1, 100)
	set(DueDeal, 1, 50) // the same id, another machine
	set(DueAck, 2, 300)
	list, next := due1(t, s, 100, 9)
	same(t, list, []Deadline{{50, DueDeal, h(1)}, {100, DueAgreement, h(1)}})
	if next != 300 {
		t.Errorf("next at %d", next)
	}
	if list, next := due1(t, s, 100, 1); len(list) != 1 || next != 100 {
		t.Errorf("one at a time: %v, next at %d", list, next)
	}
	if list, next := due1(t, s, 49, 9); len(list) != 0 || next != 50 {
		t.Errorf("too early: %v, next at %d", list, next)
	}
	set(DueAgreement, 1, 400) // later
	set(DueAck, 2, 10)        // sooner
	set(DueAck, 2, 10)        // again
	set(DueDeal, 1, 0)        // cleared
	set(DueDeal, 1, 0)        // twice
	set(DueBox, 9, 0)         // never set
	list, next = due1(t, s, 399, 9)
	same(t, list, []Deadline{{10, DueAck, h(2)}})
	if next != 400 {
		t.Errorf("next at %d", next)
	}
}

// The list of deadlines is held against a plain map under any order of moves.
func TestDeadlinesAgreeWithAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := open()
		model := map[Deadline]int64{}
		machines := rapid.SampledFrom([]Deadline{
			{What: DueContext, ID: h(1)}, {What: DueAgreement, ID: h(1)}, {What: DueAgreement, ID: h(2)}, {What: DueDeal, ID: h(2)}, {What: DueBox, ID: h(3)},
		})
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				d, at := machines.Draw(t, "machine"), rapid.Int64Range(0, 8).Draw(t, "at")
				update(t, s, func(tx kv.Tx) error { return SetDue(tx, d.What, d.ID, at) })
				if model[d] = at; at == 0 {
					delete(model, d)
				}
			},
			"": func(t *rapid.T) {
				now, limit := rapid.Int64Range(0, 9).Draw(t, "now"), rapid.IntRange(1, 6).Draw(t, "limit")
				var all []Deadline
				for d, at := range model {
					all = append(all, Deadline{at, d.What, d.ID})
				}
				slices.SortFunc(all, func(a, b Deadline) int {
					return bytes.Compare(dueID(uint64(a.AtMS), append([]byte{byte(a.What)}, a.ID[:]...)), dueID(uint64(b.AtMS), append([]byte{byte(b.What)}, b.ID[:]...)))
				})
				var want []Deadline
				var wantNext int64
				for _, d := range all {
					if d.AtMS > now || len(want) == limit {
						wantNext = d.AtMS
						break
					}
					want = append(want, d)
				}
				var got []Deadline
				var next int64
				view(t, s, func(r kv.Reader) (err error) { got, next, err = NextDue(r, now, limit); return err })
				if !slices.Equal(got, want) || next != wantNext {
					t.Fatalf("NextDue(%d, %d) = %v, %d, want %v, %d", now, limit, got, next, want, wantNext)
				}
			},
		})
	})
}

// What is withheld from a vendor is bounded, each field once, the latest last.
func TestWithholdIsBounded(t *testing.T) {
	var a Acquaintance
	ask := func(i int) protocol.FieldAsk {
		return protocol.FieldAsk{Name: protocol.FieldName(fmt.Sprintf("x.f%d", i)), Purpose: protocol.PurposeOffer}
	}
	for i := range MaxWithheld + 3 {
		a.Withhold([]protocol.FieldAsk{ask(i), ask(5)}, int64(i+1))
	}
	if n := len(a.Withheld); n != MaxWithheld || a.WithheldMS("x.f5", protocol.PurposeOffer) != MaxWithheld+3 || a.WithheldMS("x.f0", protocol.PurposeOffer) != 0 {
		t.Errorf("%d are withheld, the oldest %+v", n, a.Withheld[0])
	}
	if a.WithheldMS("x.f5", protocol.PurposeResearch) != 0 {
		t.Error("another purpose is withheld too")
	}
}
