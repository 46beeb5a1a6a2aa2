package desks

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/consent"
	"github.com/harkmarket/hark/node/internal/market"
	"github.com/harkmarket/hark/node/internal/pay"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/board"
	"github.com/harkmarket/hark/store/catalog"
	"github.com/harkmarket/hark/store/held"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/ledger"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/outbox"
	"github.com/harkmarket/hark/store/vault"
)

var genesis = &protocol.Genesis{
	V: protocol.Version, Name: "test", Shards: 4, Categories: protocol.Categories().Digest(), Lanes: []protocol.LaneRule{{}},
	Terms: protocol.TermsRoster(), Duties: protocol.DefaultDuties, Salt: protocol.ID{1},
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// around is what stands around the market in these tests: one keeper that is named
// and never asked, and a board.
type around struct{ b *board.Board }

// Kick, Watch, Unwatch and Collect implement market.Mail.
func (around) Kick() {}

func (around) Watch(records.Box) {}

func (around) Unwatch(key.MailboxKey) {}

func (around) Collect(key.MailboxKey) {}

// Replace implements market.Places.
func (around) Replace(list []protocol.Keeper) ([]protocol.Keeper, bool) { return list, false }

// Keepers implements market.Places.
func (around) Keepers(int) []protocol.Keeper {
	return []protocol.Keeper{{Key: someKeeper, Addrs: [][]byte{{4, 127, 0, 0, 1}}}}
}

var someKeeper = key.Generate[key.Keeper]().Public()

// Announcement, Passport and EachOpen implement market.Registry.
func (a around) Announcement(ctx context.Context, c protocol.ContextID) (wire.Heard, error) {
	e, err := a.b.Get(ctx, c)
	return e.Heard, err
}

func (a around) Passport(ctx context.Context, v protocol.VendorID) (wire.Chain, error) {
	return a.b.Passports(ctx, v)
}

func (around) EachOpen(context.Context, func(wire.Heard) error) error { return nil }

// Match implements market.Answers.
func (around) Match(protocol.GrantID, protocol.Demand, protocol.Category, int) {}

// Emit implements market.Events.
func (around) Emit(string, string, map[string]string) {}

// open makes the office of an unlocked node that knows nobody.
func open(t *testing.T) *Office {
	t.Helper()
	store := kv.Sealed(kv.Memory(), key.NewSecret())
	net, _, err := wire.NetworkID(genesis)
	if err != nil {
		t.Fatal(err)
	}
	o := &Office{
		Stores: market.Stores{
			KV: store, Ledger: must(ledger.Open(t.Context(), store, key.Generate[key.Device]())),
			Outbox: must(outbox.Open(store, outbox.Limits{})), Vault: vault.New(key.NewSecret()), Held: held.New(),
		},
		Board: must(board.Open(kv.Memory(), genesis.Shards, board.Limits{})), Catalog: catalog.OpenOnDemand(store), Genesis: genesis, Now: time.Now,
		FetchPassport:     func(context.Context, protocol.VendorID) error { return fault.NotFound },
		FetchAnnouncement: func(context.Context, protocol.ContextID) error { return fault.NotFound },
		Follow:            func(market.Follow) error { return nil },
	}
	a := around{o.Board}
	o.Market = market.New(market.Config{
		Stores: o.Stores, Net: net, Genesis: genesis, Mail: a, Places: a, Registry: a, Answers: a, Events: a, Rules: consent.Engine{}, Rails: pay.Rails{Life: genesis.Duties.Boxes},
		Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); o.Market.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	return o
}

// fill puts fields into the vault.
func (o *Office) fill(t *testing.T, names ...string) {
	t.Helper()
	for _, n := range names {
		if _, err := (Vault{o}).Set(t.Context(), n, desk.Value("value of "+n)); err != nil {
			t.Fatal(err)
		}
	}
}

// keep writes records as the market would have.
func (o *Office) keep(t *testing.T, fn func(kv.Tx) error) {
	t.Helper()
	if err := o.Stores.KV.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// agreement is one in a state, with all that a view shows.
func agreement(id byte, state flow.AgreementState) records.Agreement {
	a := records.Agreement{
		ID: protocol.Hash{id}, Context: protocol.ContextID{id}, Reason: protocol.ContextNeed, Vendor: protocol.Hash{0xaa, id}, VendorName: "Veld & Vine",
		Flow:    flow.NewAgreement(protocol.Customer, protocol.DefaultDuties),
		Letters: records.Letters{Request: protocol.Hash{0xbb, id}, Grant: protocol.Hash{0xcc, id}},
		Times:   records.Times{Requested: 1000},
	}
	a.Flow.State = state
	return a
}

// everything calls each operation of a house's desks that reads or writes what is
// private, with arguments that are sound.
func everything(ctx context.Context, c desk.Customer, v desk.Vendor, l desk.Ledger, r desk.Records) map[string]error {
	err1 := func(_ any, err error) error { return err }
	id := protocol.Hash{1}.String()
	spec := desk.NeedSpec{Name: "a desk"}
	return map[string]error{
		"needs create":     err1(c.Needs().Create(ctx, spec)),
		"needs preview":    err1(c.Needs().Preview(ctx, spec)),
		"needs list":       err1(c.Needs().List(ctx, desk.Query{})),
		"needs get":        err1(c.Needs().Get(ctx, id)),
		"needs stranger":   err1(c.Needs().Stranger(ctx, id)),
		"needs update":     err1(c.Needs().Update(ctx, id, spec)),
		"needs end":        err1(c.Needs().End(ctx, id, desk.Withdraw)),
		"requests list":    err1(c.Requests().List(ctx, desk.Query{})),
		"requests get":     err1(c.Requests().Get(ctx, id)),
		"requests grant":   err1(c.Requests().Grant(ctx, id, desk.LessSpec{})),
		"requests refuse":  err1(c.Requests().Refuse(ctx, id, "")),
		"requests snooze":  err1(c.Requests().Snooze(ctx, id, desk.SnoozeSpec{Seconds: 3600})),
		"grants list":      err1(c.Grants().List(ctx, desk.Query{})),
		"grants get":       err1(c.Grants().Get(ctx, id)),
		"grants give":      err1(c.Grants().Give(ctx, desk.GiveSpec{Vendor: id, Name: "x", Fields: []string{"contact.email"}})),
		"grants revoke":    err1(c.Grants().Revoke(ctx, []string{id}, desk.Query{}, "")),
		"grants revoke *":  err1(c.Grants().Revoke(ctx, nil, desk.Query{}, "")),
		"grants pause":     err1(c.Grants().Pause(ctx, id, false, "")),
		"grants right":     err1(c.Grants().Right(ctx, id, desk.RightSpec{Exercise: "access"})),
		"offers list":      err1(c.Offers().List(ctx, desk.Query{})),
		"offers get":       err1(c.Offers().Get(ctx, id)),
		"offers make":      err1(c.Offers().Make(ctx, desk.OfferSpec{Grant: id, Product: "1"})),
		"offers accept":    err1(c.Offers().Accept(ctx, id, "")),
		"offers decline":   err1(c.Offers().Decline(ctx, id, "")),
		"deals list":       err1(c.Deals().List(ctx, desk.Query{})),
		"deals get":        err1(c.Deals().Get(ctx, id)),
		"deals step":       err1(c.Deals().Step(ctx, id, "confirm", "")),
		"vault set":        err1(c.Vault().Set(ctx, "contact.email", desk.Value("a@example.org"))),
		"vault get":        err1(c.Vault().Get(ctx, "contact.email")),
		"vault list":       err1(c.Vault().List(ctx)),
		"vault history":    err1(c.Vault().History(ctx, "contact.email", true)),
		"vault upload":     err1(c.Files().Upload(ctx, "identity.photo", "", desk.FieldSpec{}, strings.NewReader("x"))),
		"vault download":   c.Files().Download(ctx, "identity.photo", 0, io.Discard),
		"vault import":     err1(c.Files().Import(ctx, strings.NewReader("BEGIN:VCARD\nVERSION:4.0\nFN:A\nEND:VCARD\n"), desk.VaultImport{Format: "vcard"})),
		"vault export":     c.Files().Export(ctx, io.Discard),
		"vault remove":     c.Vault().Remove(ctx, "contact.email", 0),
		"vault erase":      c.Vault().Erase(ctx, []string{"contact.email", "contact.phone"}),
		"catalog import":   err1(v.Catalog().Import(ctx, csv("id,title\n1,Desk\n"), desk.ImportSpec{})),
		"catalog list":     err1(v.Catalog().List(ctx, desk.Query{})),
		"catalog search":   err1(v.Catalog().Search(ctx, "desk", 3)),
		"rules get":        err1(v.Rules().Get(ctx)),
		"rules set":        err1(v.Rules().Set(ctx, desk.Follow{Ask: true})),
		"passports own":    err1(v.Passports().Own(ctx)),
		"passports issue":  err1(v.Passports().Issue(ctx, desk.PassportSpec{Name: "x"})),
		"passports get":    err1(v.Passports().Get(ctx, id)),
		"held list":        err1(v.Held().List(ctx, desk.Query{})),
		"held delete":      v.Held().Delete(ctx, id),
		"board list":       err1(v.Board().List(ctx, desk.Query{})),
		"records export":   err1(r.Export(ctx, desk.RecordSpec{As: "27560", ID: id})),
		"records all":      err1(r.Export(ctx, desk.RecordSpec{As: "csv"})),
		"records check":    err1(r.Check(ctx, strings.NewReader(someRecord))),
		"ledger list":      err1(l.List(ctx, desk.Query{})),
		"ledger verify":    err1(l.Verify(ctx)),
		"ledger export":    l.Export(ctx, desk.ExportSpec{}, &nowhere{}),
		"ledger get":       err1(l.Get(ctx, 1)),
		"ledger prove":     l.Prove(ctx, 1, 0, io.Discard),
		"ledger evidence":  l.Evidence(ctx, id, io.Discard),
		"catalog dry run":  err1(v.Catalog().Import(ctx, csv("id,title\n1,Desk\n"), desk.ImportSpec{DryRun: true})),
		"needs end, renew": err1(c.Needs().End(ctx, id, desk.Renew)),
	}
}
