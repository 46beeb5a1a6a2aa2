package edge

import (
	"context"
	"encoding/json"
	"slices"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/protocol/record"
	"github.com/harkmarket/hark/protocol/wire"
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
