package edge

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/protocol/record"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/protocol/wire/limits"
	"github.com/harkmarket/hark/protocol/wire/particulars"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/ledger"
	records "github.com/harkmarket/hark/store/market"
)

// A desk has a ledger and reads records at a time.
type desk struct {
	t  *testing.T
	kv kv.Store
	l  *ledger.Ledger
}

func open(t *testing.T) *desk {
	t.Helper()
	s := kv.Sealed(kv.Memory(), key.NewSecret())
	l, err := ledger.Open(t.Context(), s, key.Generate[key.Device]())
	if err != nil {
		t.Fatal(err)
	}
	return &desk{t, s, l}
}

func (d *desk) note(kind string, atMS int64, body any) {
	d.t.Helper()
	raw, err := json.Marshal(body)
	if err == nil {
		err = d.kv.Update(d.t.Context(), func(tx kv.Tx) error {
			_, err := d.l.Append(tx, kind, atMS, raw)
			return err
		})
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) read(now protocol.Second, list ...records.Agreement) (out []record.Entry) {
	d.t.Helper()
	err := d.kv.View(d.t.Context(), func(r kv.Reader) (err error) {
		src := Source{Reader: r, Ledger: d.l, Now: now, Passports: func(context.Context, protocol.VendorID) (wire.Chain, error) {
			return wire.Chain{}, fault.NotFound
		}}
		out, err = src.Entries(d.t.Context(), list)
		return err
	})
	if err != nil {
		d.t.Fatal(err)
	}
	for i := range out {
		if err := out[i].Check(); err != nil {
			d.t.Errorf("entry %d: %v", i, err)
		}
	}
	return out
}

func granted() records.Agreement {
	return records.Agreement{
		ID: protocol.Hash{1}, Context: protocol.ContextID{2}, Reason: protocol.ContextRelation, Vendor: protocol.Hash{3}, VendorName: "Veld & Vine",
		Flow: flow.NewAgreement(protocol.Customer, protocol.DefaultDuties), Letters: records.Letters{Grant: protocol.Hash{4}, Receipt: protocol.Hash{5}},
		Terms: records.Terms{Start: 100, End: 9000, Lease: 60, Fields: []protocol.FieldGrant{{Name: "location.area", Purpose: protocol.PurposeOffer, Form: 1}}},
		Times: records.Times{Granted: 100_000, Receipted: 110_000},
	}
}

func states(e record.Entry) (list []record.State) {
	for _, s := range e.Statuses {
		list = append(list, s.State)
	}
	return list
}

// TestDisclosuresComeFromTheLedger: once each, in order of lease, by her clock where the
// note has it; what is shredded, malformed or another grant's is not among them.
func TestDisclosuresComeFromTheLedger(t *testing.T) {
	d := open(t)
	grant := protocol.Hash{1}.String()
	d.note("disclosure.kept", 205_000, map[string]string{"grant": grant, "fields": "location.area contact.hours", "lease": "2", "made": "200"})
	d.note("disclosure.kept", 300_000, map[string]string{"grant": grant, "fields": "location.area", "lease": "1"})
	d.note("disclosure.kept", 400_000, map[string]string{"grant": grant, "fields": "x.y", "lease": "2", "made": "400"})
	d.note("disclosure.kept", 1, map[string]string{"grant": grant, "lease": "0"})
	d.note("disclosure.kept", 1, map[string]string{"grant": grant, "lease": "-1"})
	d.note("disclosure.kept", 1, map[string]string{"grant": "abc", "lease": "3"})
	d.note("disclosure.kept", 1, map[string]string{"grant": protocol.Hash{9}.String(), "lease": "3"})
	d.note("disclosure.kept", 1, []string{"no map"})
	d.note("disclosure.planned", 1, map[string]string{"grant": grant, "lease": "4"})
	d.note("disclosure.sent", 500_000, map[string]string{"grant": grant, "fields": "Not-A-Field location.area", "lease": "7"})
	e := d.read(1000, granted())[0]
	var leases []uint64
	for _, x := range e.Disclosures {
		leases = append(leases, x.Lease)
	}
	if !slices.Equal(leases, []uint64{1, 2, 7}) || e.Disclosures[1].At != 200 || e.Disclosures[0].At != 300 || len(e.Disclosures[1].Fields) != 2 || len(e.Disclosures[2].Fields) != 1 {
		t.Errorf("%+v", e.Disclosures)
	}
	if !slices.Equal(states(e), []record.State{record.Given, record.Renewed}) || e.At(record.Renewed) != 500 {
		t.Errorf("%+v", e.Statuses)
	}
	never := granted()
	never.Letters.Receipt = protocol.Hash{}
	if e := d.read(1000, never)[0]; len(e.Disclosures) > 0 {
		t.Errorf("disclosures without a receipt: %+v", e.Disclosures)
	}
}

// TestTheLogIsBounded: of more disclosures than a record holds, the latest count.
func TestTheLogIsBounded(t *testing.T) {
	d := open(t)
	for i := range record.MaxLog + 3 {
		lease, err := json.Marshal(i + 1)
		if err != nil {
			t.Fatal(err)
		}
		d.note("disclosure.sent", 1000*int64(i+1), map[string]string{"grant": protocol.Hash{1}.String(), "lease": string(lease)})
	}
	e := d.read(1000, granted())[0]
	if n := len(e.Disclosures); n != record.MaxLog || e.Disclosures[0].Lease != 4 || e.Disclosures[n-1].Lease != record.MaxLog+3 {
		t.Errorf("%d disclosures from lease %d", len(e.Disclosures), e.Disclosures[0].Lease)
	}
}

// TestHowItEnds: by the date, by her word that no letter holds, and what came after.
func TestHowItEnds(t *testing.T) {
	d := open(t)
	withdrawn := granted()
	withdrawn.Flow.Heard = []flow.Event{{Kind: protocol.KindRevocation, ID: protocol.Hash{7}, At: 150}}
	late := granted()
	late.Flow.Heard = []flow.Event{{Kind: protocol.KindRevocation, ID: protocol.Hash{7}, At: 9001}}
	far := granted()
	far.Terms.End = 1 << 62
	for what, c := range map[string]struct {
		a    records.Agreement
		now  protocol.Second
		want []record.State
	}{
		"in force":                         {granted(), 8999, []record.State{record.Given}},
		"over":                             {granted(), 9000, []record.State{record.Given, record.Expired}},
		"withdrawn":                        {withdrawn, 9999, []record.State{record.Given, record.Withdrawn}},
		"withdrawn after it was over":      {late, 9999, []record.State{record.Given, record.Expired}},
		"an end that no date can be":       {far, 9999, []record.State{record.Given}},
		"a request that nobody answered":   {asked(), 9999, []record.State{record.Requested}},
		"a request that was countered":     {asked(flow.Event{Kind: protocol.KindCounter, ID: protocol.Hash{8}, At: 50}), 9999, []record.State{record.Requested, record.Refused}},
		"a refusal whose letter is lost":   {asked(flow.Event{Kind: protocol.KindRefusal, ID: protocol.Hash{8}, At: 50}), 9999, []record.State{record.Requested, record.Refused}},
		"a request from before there were": {asked(flow.Event{Kind: protocol.KindRequest, ID: protocol.Hash{6}}), 1, []record.State{record.Requested}},
	} {
		e := d.read(c.now, c.a)[0]
		if !slices.Equal(states(e), c.want) {
			t.Errorf("%s: %v, want %v", what, states(e), c.want)
		}
	}
}

func asked(heard ...flow.Event) records.Agreement {
	a := granted()
	a.Letters, a.Terms, a.Flow.Heard = records.Letters{Request: protocol.Hash{6}}, records.Terms{Why: "no", Law: "POPIA s69"}, heard
	return a
}

// signed are a vendor's Request and the Grant that answers it, as both sides keep them: it
// tells of what is special, of another country and of decisions of no person, and she
// gives less, coarser, and not too often.
func signed(t *testing.T, more protocol.Particulars, most uint32) (request, grant []byte, a records.Agreement) {
	t.Helper()
	must := func(raw []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	extra := func(x protocol.Extra, err error) protocol.Extra { return must(x, err) }
	net, now := protocol.Hash{7}, protocol.Second(1000)
	root, next, op, ctx := key.Generate[key.Root](), key.Generate[key.Root](), key.Generate[key.Operational](), key.Generate[key.Context]()
	box, depositor := key.Generate[key.Mailbox](), key.Generate[key.Depositor]()
	keepers := []protocol.Keeper{{Key: key.Generate[key.Keeper]().Public(), Addrs: [][]byte{{4, 127, 0, 0, 1}}}}
	p := &protocol.Passport{
		Header: protocol.Header{Net: net, Kind: protocol.KindPassport, ID: wire.NewID(), Seq: 1, Created: now, Expires: now + protocol.Day},
		Root:   root.Public(), Next: wire.NextRoot(next.Public()), Name: "Klinik", Contact: "tel", Country: "DE",
		Operational: []protocol.Operational{{Key: op.Public(), Roles: protocol.RoleRequests, From: now, Until: now + protocol.Day}},
		Inbox:       protocol.Inbox{Box: box.Public(), Seal: key.GenerateSeal[key.InboxSeal]().Public(), Keepers: keepers},
	}
	chain := [][]byte{must(wire.Sign(root, p))}
	address := func() protocol.Address {
		c := protocol.Capability{Box: box.Public(), ID: wire.NewID(), Depositor: depositor.Public(), Letters: 4, KiB: 64, Expires: now + protocol.Day}
		if err := wire.SignCapability(box, &c); err != nil {
			t.Fatal(err)
		}
		return protocol.Address{Keepers: keepers, Capability: c, Seed: protocol.Share(depositor.Seed())}
	}
	r := &protocol.Request{
		Header: protocol.Header{Net: net, Kind: protocol.KindRequest, ID: wire.NewID(), To: protocol.Hash(ctx.Public()), Context: protocol.Hash(ctx.Public()),
			Seq: 1, Created: now, Expires: now + protocol.Hour, Re: protocol.Hash{1}},
		Vendor: wire.ID(chain[0]), Passport: wire.ID(chain[0]), Chain: chain, Recipients: []string{"Klinik"}, Countries: []protocol.Region{"DE"},
		Basis: protocol.BasisConsent, Notice: protocol.Notice{Source: "you", Consequence: "nothing", Law: "none", Rights: "all", Complaints: "there"},
		Terms: protocol.Hash{1}, Rail: protocol.RailNone, Seal: key.GenerateSeal[key.RequestSeal]().Public(), Reply: address(), Until: now + protocol.Day,
		Fields: []protocol.FieldAsk{
			{Name: "health.allergy", Purpose: protocol.PurposeOffer, Form: protocol.FormValue, Retention: 9},
			{Name: "contact.address", Purpose: protocol.PurposeOffer, Form: protocol.FormValue, Retention: 9, Required: true},
		},
	}
	request = must(wire.SignExtra(op, r, extra(particulars.Extra(more))))
	a = records.Agreement{
		Context: ctx.Public(), Reason: protocol.ContextNeed, Vendor: r.Vendor, Flow: flow.NewAgreement(protocol.Vendor, protocol.DefaultDuties),
		ID: wire.GrantID(ctx.Public(), r.Vendor, wire.ID(request)), Letters: records.Letters{Request: wire.ID(request)},
	}
	g := &protocol.Grant{
		Header: protocol.Header{Net: net, Kind: protocol.KindGrant, ID: wire.NewID(), To: r.Vendor, Context: protocol.Hash(ctx.Public()),
			Seq: 1, Created: now, Expires: now + protocol.Hour, Re: wire.ID(request)},
		Grant: a.ID, Reason: protocol.ContextNeed, Start: now, End: now + protocol.Day, Lease: 7200, Rail: protocol.RailNone, Terms: protocol.Hash{1},
		Fields: []protocol.FieldGrant{
			{Name: "health.allergy", Purpose: protocol.PurposeOffer, Form: protocol.FormValue, Retention: 9},
			{Name: "contact.address", Purpose: protocol.PurposeOffer, Form: protocol.FormCoarse, Level: "town", Retention: 9},
		},
		OfferSeal: key.GenerateSeal[key.OfferSeal]().Public(), DutyKey: key.Generate[key.Duty]().Public(), DutySeal: key.GenerateSeal[key.DutySeal]().Public(),
		OfferBox: address(), DutyBox: address(), Ledger: protocol.Hash{2},
	}
	grant = must(wire.SignExtra(ctx, g, extra(limits.Extra(protocol.GrantLimits{PerDay: most}))))
	a.Letters.Grant = wire.ID(grant)
	return request, grant, a
}

// TestWhatStandsBesideTheLetters: how coarse, how often, what was asked for expressly and
// what protects it abroad come into the record from the signed letters, and through every
// format back.
func TestWhatStandsBesideTheLetters(t *testing.T) {
	for _, c := range []struct {
		more protocol.Particulars
		most uint32
	}{
		{protocol.Particulars{Explicit: []protocol.FieldName{"health.allergy"}, Protection: "the GDPR", Automated: "a score"}, 5},
		{},
	} {
		d := open(t)
		request, grant, a := signed(t, c.more, c.most)
		err := d.kv.Update(t.Context(), func(tx kv.Tx) error {
			return errors.Join(records.PutEnvelope(tx, wire.ID(request), request), records.PutEnvelope(tx, wire.ID(grant), grant))
		})
		if err != nil {
			t.Fatal(err)
		}
		e := d.read(2000, a)[0]
		want := []record.Field{
			{Name: "health.allergy", Purpose: protocol.PurposeOffer, Form: protocol.FormValue, Expressly: c.most > 0, Retention: 9},
			{Name: "contact.address", Purpose: protocol.PurposeOffer, Form: protocol.FormCoarse, Level: "town", Required: true, Retention: 9},
		}
		if !slices.Equal(e.Fields, want) || e.PerDay != c.most || e.Lease != 7200 || e.Notice.Protection != c.more.Protection || e.Notice.Automated != c.more.Automated {
			t.Errorf("of %+v and %d a day: %+v", c.more, c.most, e)
		}
		for _, f := range record.Formats() {
			if !f.Holds(&e) {
				continue
			}
			raw, err := record.Encode(f, []record.Entry{e})
			if err != nil {
				t.Fatalf("%s: %v", f, err)
			}
			back, err := record.Decode(f, raw)
			if err != nil || len(e.Differences(&back[0])) > 0 {
				t.Errorf("%s comes back otherwise: %v, %v", f, e.Differences(&back[0]), err)
			}
		}
	}
}
