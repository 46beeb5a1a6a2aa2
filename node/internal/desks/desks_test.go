package desks

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/market"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/board"
	"github.com/harkmarket/hark/store/held"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
)

func csv(text string) io.Reader { return strings.NewReader(text) }

// nowhere counts what is written to it.
type nowhere struct{ n int }

func (w *nowhere) Write(b []byte) (int, error) { w.n += len(b); return len(b), nil }

func TestALockedOfficeAnswersLocked(t *testing.T) {
	o := Locked(must(board.Open(kv.Memory(), 4, board.Limits{})), genesis, time.Now)
	for what, err := range everything(t.Context(), Customer{&o}, Vendor{&o}, Ledger{&o}, Records{&o}) {
		if !errors.Is(err, fault.Locked) {
			t.Errorf("%s: %v", what, err)
		}
		if err != nil && !strings.Contains(err.Error(), "hark unlock") {
			t.Errorf("%s does not say what to do: %v", what, err)
		}
	}
	if o.Stores.KV.Size() != 0 || o.Stores.KV.Close() != nil {
		t.Error("the store of a locked node has something")
	}
}

// The same operations never answer so where the vault is open.
func TestAnOpenOfficeIsNotLocked(t *testing.T) {
	o := open(t)
	o.fill(t, "contact.email")
	for what, err := range everything(t.Context(), Customer{o}, Vendor{o}, Ledger{o}, Records{o}) {
		if errors.Is(err, fault.Locked) || fault.Of(err) == fault.Internal && err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestNeedSpecsAreChecked(t *testing.T) {
	o := open(t)
	o.fill(t, "contact.email")
	for name, c := range map[string]struct {
		s    desk.NeedSpec
		want fault.Kind
		says string
	}{
		"no words":            {desk.NeedSpec{Name: " \t"}, fault.Malformed, "what is needed"},
		"too many words":      {desk.NeedSpec{Name: strings.Repeat("x", 2000)}, fault.Malformed, ""},
		"a category mistyped": {desk.NeedSpec{Name: "x", Category: "home.furnitur"}, fault.Malformed, "home.furniture"},
		"a region mistyped":   {desk.NeedSpec{Name: "x", Region: "ZA-GT"}, fault.Malformed, "ZA-GP"},
		"a currency":          {desk.NeedSpec{Name: "x", Currency: "RAND"}, fault.Malformed, "ISO 4217"},
		"gold":                {desk.NeedSpec{Name: "x", Currency: "XAU"}, fault.Malformed, "ISO 4217"},
		"a condition":         {desk.NeedSpec{Name: "x", Condition: "shiny"}, fault.Malformed, "refurbished"},
		"a negative budget":   {desk.NeedSpec{Name: "x", MaxPrice: -1}, fault.Malformed, "budget"},
		"too many days":       {desk.NeedSpec{Name: "x", Days: 15}, fault.Malformed, "14 days"},
		"an endless interest": {desk.NeedSpec{Name: "x", Interest: true, Days: 181}, fault.Malformed, "180 days"},
		"days before today":   {desk.NeedSpec{Name: "x", Days: -1}, fault.Malformed, "days"},
		"days without end":    {desk.NeedSpec{Name: "x", Days: 1 << 62}, fault.Malformed, "days"},
		"an issuer":           {desk.NeedSpec{Name: "x", Issuers: []string{"hkissuer1nonsense"}}, fault.Malformed, "issuer"},
		"a field not held":    {desk.NeedSpec{Name: "x", Fields: map[string]int64{"contact.phone": 0}}, fault.NotFound, "hark vault set contact.phone"},
		"a negative price":    {desk.NeedSpec{Name: "x", Fields: map[string]int64{"contact.email": -1}}, fault.Malformed, "below zero"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := (Needs{o}).Create(t.Context(), c.s)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v", err)
			}
			if _, err := (Needs{o}).Preview(t.Context(), c.s); !errors.Is(err, c.want) {
				t.Errorf("its preview: %v", err)
			}
		})
	}
	if p := must((Needs{o}).List(t.Context(), desk.Query{})); len(p.Items) != 0 {
		t.Errorf("%d needs were kept all the same", len(p.Items))
	}
}

func TestWhatASpecLeavesOpen(t *testing.T) {
	o := open(t)
	v := must((Needs{o}).Create(t.Context(), desk.NeedSpec{Name: "  a desk  "}))
	if v.Name != "a desk" || v.Category != "other.unspecified" || v.Region != "ZA" || v.Quantity != 1 || v.Kind != "need" || v.State != "announced" ||
		v.Seq != 1 || v.MaxPrice != nil || v.Condition != "" || len(v.Fields) != 0 || len(v.Keepers) != 1 {
		t.Errorf("%+v", v)
	}
	if life := v.Expires.Sub(v.Created); life < 14*24*time.Hour-2*time.Second || life > 14*24*time.Hour {
		t.Errorf("it lives %v", life)
	}
	v = must((Needs{o}).Create(t.Context(), desk.NeedSpec{
		Name: "a car", Interest: true, Days: 3, Category: "home.furniture", Region: "ZA-WC", MaxPrice: 12345, Currency: "USD", Quantity: 7, Condition: "used",
	}))
	if v.Kind != "interest" || v.Region != "ZA-WC" || v.Quantity != 7 || v.Condition != "used" || v.MaxPrice.Minor != 12345 || v.MaxPrice.Currency != "USD" {
		t.Errorf("%+v", v)
	}
	if life := v.Expires.Sub(v.Created); life < 3*24*time.Hour-2*time.Second || life > 3*24*time.Hour {
		t.Errorf("it lives %v", life)
	}
}

func TestFieldsOnOffer(t *testing.T) {
	o := open(t)
	o.fill(t, "contact.hours", "location.area", "contact.email")
	fields := func(s desk.NeedSpec) string {
		t.Helper()
		s.Name, s.Category = "x", "home.furniture"
		var out []string
		for _, f := range must((Needs{o}).Create(t.Context(), s)).Fields {
			price := ""
			if f.Price != nil {
				price = " " + f.Price.Text
			}
			out = append(out, f.Field+price)
		}
		return strings.Join(out, ", ")
	}
	template := protocol.Template("home.furniture")
	var want []string
	for _, name := range []string{"contact.email", "contact.hours", "location.area"} {
		if slices.Contains(template, protocol.FieldName(name)) {
			want = append(want, name)
		}
	}
	if got := fields(desk.NeedSpec{}); got != strings.Join(want, ", ") || got == "" {
		t.Errorf("of the template %v: %q", template, got)
	}
	// Floor prices go up to a step of the ladder, so that they link nothing.
	got := fields(desk.NeedSpec{Fields: map[string]int64{"location.area": 1, "contact.email": 1234, "contact.hours": 0}})
	if got != "contact.email ZAR 20.00, contact.hours, location.area ZAR 0.01" {
		t.Errorf("priced: %q", got)
	}
	many := map[string]int64{}
	for i := range protocol.MaxFields + 1 {
		name := fmt.Sprintf("my.field-%d", i)
		o.fill(t, name)
		many[name] = 0
	}
	if _, err := (Needs{o}).Create(t.Context(), desk.NeedSpec{Name: "x", Fields: many}); !errors.Is(err, fault.Malformed) {
		t.Errorf("too many fields: %v", err)
	}
}

func TestUpdates(t *testing.T) {
	o := open(t)
	o.fill(t, "contact.email")
	n := Needs{o}
	was := must(n.Create(t.Context(), desk.NeedSpec{
		Name: "a desk", Category: "home.furniture", Region: "ZA-GP", Currency: "USD", Fields: map[string]int64{"contact.email": 0},
		NeededBy: time.Now().Add(48 * time.Hour).Truncate(time.Second),
	}))
	now := must(n.Update(t.Context(), was.ID[:12], desk.NeedSpec{Description: "oak", Quantity: 2}))
	if now.Seq != 2 || now.Name != "a desk" || now.Category != was.Category || now.Region != was.Region || now.Description != "oak" || now.Quantity != 2 ||
		len(now.Fields) != 1 || !now.NeededBy.Equal(was.NeededBy) {
		t.Errorf("%+v", now)
	}
	o.keep(t, func(tx kv.Tx) error {
		id, err := hex.DecodeString(was.ID)
		if err != nil {
			return err
		}
		c, err := records.GetContext(tx, protocol.ContextID(id))
		if c.Demand.Currency != "USD" {
			t.Errorf("she now wants to see %s", c.Demand.Currency)
		}
		return err
	})
	for name, c := range map[string]struct {
		s    desk.NeedSpec
		want fault.Kind
	}{
		"another category": {desk.NeedSpec{Category: "travel.flights"}, fault.Conflict},
		"another region":   {desk.NeedSpec{Region: "ZA-WC"}, fault.Conflict},
		"a bad currency":   {desk.NeedSpec{Currency: "RAND"}, fault.Malformed},
	} {
		if c.s.Category != "" && !protocol.Categories().Has(protocol.Category(c.s.Category)) {
			c.s.Category = string(protocol.Unspecified)
		}
		if _, err := n.Update(t.Context(), was.ID, c.s); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if v := must(n.End(t.Context(), was.ID, desk.Renew)); v.Seq != 3 || v.State != "announced" {
		t.Errorf("renewed: %+v", v)
	}
	if _, err := n.End(t.Context(), was.ID, "forget"); !errors.Is(err, fault.Malformed) {
		t.Errorf("ended otherwise: %v", err)
	}
	if v := must(n.End(t.Context(), was.ID, desk.Withdraw)); v.State != "withdrawn" {
		t.Errorf("withdrawn: %+v", v)
	}
	if _, err := n.End(t.Context(), was.ID, desk.Renew); !errors.Is(err, fault.Conflict) {
		t.Errorf("renewed after all: %v", err)
	}
}

func TestWhatAStrangerSees(t *testing.T) {
	o := open(t)
	o.fill(t, "contact.email")
	n := Needs{o}
	spec := desk.NeedSpec{
		Name: "a secret wish", Description: "of mahogany", Category: "home.furniture", Region: "ZA-GP", MaxPrice: 777_00,
		Fields: map[string]int64{"contact.email": 150},
	}
	preview := must(n.Preview(t.Context(), spec))
	if p := must(n.List(t.Context(), desk.Query{})); len(p.Items) != 0 {
		t.Fatal("a preview was kept")
	}
	v := must(n.Create(t.Context(), spec))
	s := must(n.Stranger(t.Context(), v.ID))
	raw := must(hex.DecodeString(s.Hex))
	if len(raw) != s.Bytes || s.ID != wire.ID(raw).String() || preview.Bytes != s.Bytes {
		t.Errorf("%d bytes of %d, the preview had %d", len(raw), s.Bytes, preview.Bytes)
	}
	if preview.Hex == s.Hex {
		t.Error("the keys of the preview were used")
	}
	for _, word := range []string{"secret", "wish", "mahogany", "value of", "777"} {
		if bytes.Contains(raw, []byte(word)) {
			t.Errorf("the bytes hold %q", word)
		}
	}
	parts := map[string]string{}
	var names []string
	for _, p := range s.Parts {
		parts[p.Name] = p.Value
		names = append(names, p.Name)
		if p.Bytes <= 0 || p.Value == "" {
			t.Errorf("part %+v", p)
		}
	}
	want := []string{"network", "kind", "category", "region", "announced", "until", "version", "field on offer", "terms", "keeper", "one-time signing key", "one-time mailbox", "one-time lock", "sealed need"}
	if !slices.Equal(names, want) {
		t.Errorf("parts %v", names)
	}
	if parts["field on offer"] != "contact.email, ZAR 2.00" || parts["kind"] != "need" || parts["category"] != "home.furniture" || parts["region"] != "ZA-GP" {
		t.Errorf("%v", parts)
	}
	must(n.End(t.Context(), v.ID, desk.Withdraw))
	s = must(n.Stranger(t.Context(), v.ID))
	for _, p := range s.Parts {
		if p.Name == "sealed need" || p.Name == "field on offer" || p.Name == "one-time mailbox" {
			t.Errorf("withdrawn, it still shows %+v", p)
		}
	}
	if _, err := Stranger(raw[:len(raw)-1]); err == nil {
		t.Error("bytes that are no announcement are explained")
	}
	o.keep(t, func(tx kv.Tx) error {
		return records.PutContext(tx, records.Context{ID: protocol.ContextID{9}, Flow: flow.Context{Kind: protocol.ContextRelation}})
	})
	if _, err := n.Stranger(t.Context(), hexOf(protocol.ContextID{9})); !errors.Is(err, fault.NotFound) {
		t.Errorf("of a relation: %v", err)
	}
}

func TestIdsAreFoundByTheirStart(t *testing.T) {
	o := open(t)
	o.keep(t, func(tx kv.Tx) error {
		return errors.Join(records.PutAgreement(tx, agreement(0x12, flow.Disclosed)), records.PutAgreement(tx, agreement(0x13, flow.Disclosed)))
	})
	g := Grants{o}
	whole := protocol.Hash{0x12}.String()
	for _, id := range []string{whole, "12", " 12 ", strings.ToUpper(whole), "1200"} {
		if v, err := g.Get(t.Context(), id); err != nil || v.ID != whole {
			t.Errorf("%q: %v, %v", id, v.ID, err)
		}
	}
	for id, c := range map[string]struct {
		want fault.Kind
		says string
	}{
		"":          {fault.Malformed, "name a grant"},
		"1":         {fault.Conflict, "fits several: 120000000000, 130000000000"},
		"14":        {fault.NotFound, "near it are 120000000000"},
		"9":         {fault.NotFound, "no grant begins with 9; near it are 120000000000, 130000000000"},
		"zz":        {fault.NotFound, "no grant begins with zz; near it are 120000000000, 130000000000"},
		"13zz":      {fault.NotFound, "no grant begins with 13zz; near it are 130000000000"},
		whole + "0": {fault.NotFound, "no grant"},
	} {
		if _, err := g.Get(t.Context(), id); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// A promise that was broken is found by its state, whatever has come of the grant since:
// that is what hark status tells people to look for.
func TestGrantsThatLapsedAreFoundAfterTheyEnded(t *testing.T) {
	o := open(t)
	late := agreement(1, flow.Deleted)
	late.Lapses = []string{"deletion"}
	o.keep(t, func(tx kv.Tx) error {
		return errors.Join(records.PutAgreement(tx, late), records.PutAgreement(tx, agreement(2, flow.Lapsed)), records.PutAgreement(tx, agreement(3, flow.Deleted)))
	})
	p := must(Grants{o}.List(t.Context(), desk.Query{State: "lapsed"}))
	if len(p.Items) != 2 || p.Items[0].State != "deleted" || p.Items[1].State != "lapsed" {
		t.Errorf("%+v", p.Items)
	}
	if p := must(Grants{o}.List(t.Context(), desk.Query{State: "deleted"})); len(p.Items) != 2 {
		t.Errorf("%+v", p.Items)
	}
}

// Whatever the noun, an id that nothing has is not found, whether it could be one or
// not; and what comes near is named.
func TestUnknownIDsOfEveryNoun(t *testing.T) {
	o := open(t)
	o.keep(t, func(tx kv.Tx) error {
		a := agreement(0x12, flow.Disclosed)
		a.Flow.Me = protocol.Customer
		deal := records.Deal{ID: a.ID, Grant: a.ID, Context: a.Context, Side: protocol.Customer, Offer: protocol.Offer{Title: "Desk"}, Flow: flow.Deal{State: flow.Offered}}
		return errors.Join(records.PutAgreement(tx, a), records.PutContext(tx, records.Context{ID: a.Context, Name: "x"}), records.PutDeal(tx, deal),
			o.Stores.Held.Put(tx, held.Record{Grant: a.ID, Context: a.Context}))
	})
	_ = must(Passports{o}.Issue(t.Context(), desk.PassportSpec{Name: "Veld & Vine", Contact: "a@example.org", Country: "ZA"}))
	ctx := t.Context()
	for noun, get := range map[string]func(id string) error{
		"need":          func(id string) error { _, err := Needs{o}.Get(ctx, id); return err },
		"its strangers": func(id string) error { _, err := Needs{o}.Stranger(ctx, id); return err },
		"request":       func(id string) error { _, err := Requests{o}.Get(ctx, id); return err },
		"grant":         func(id string) error { _, err := Grants{o}.Get(ctx, id); return err },
		"offer":         func(id string) error { _, err := Offers{o}.Get(ctx, id); return err },
		"deal":          func(id string) error { _, err := Deals{o}.Get(ctx, id); return err },
		"held":          func(id string) error { return Held{o}.Delete(ctx, id) },
		"passport":      func(id string) error { _, err := Passports{o}.Get(ctx, id); return err },
		"block":         func(id string) error { _, err := (Consent{Office: o}).Block(ctx, id, true); return err },
	} {
		for _, id := range []string{"zzzz", "ffff", "0x12", strings.Repeat("f", 65)} {
			if err := get(id); !errors.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "; near it are ") {
				t.Errorf("%s %s: %v", noun, id, err)
			}
		}
	}
	for _, id := range []string{"zzzz", "ffff"} {
		if _, _, err := (Board{o}).Get(ctx, id); !errors.Is(err, fault.NotFound) {
			t.Errorf("announcement %s: %v", id, err)
		}
	}
}

// Each list gives all of its items once, in pages of any size, and refuses a cursor
// that is none.
func TestPages(t *testing.T) {
	o := open(t)
	o.keep(t, func(tx kv.Tx) error {
		var errs []error
		for i := range byte(5) {
			a := agreement(i+1, flow.Disclosed)
			deal := records.Deal{ID: a.ID, Grant: a.ID, Context: a.Context, Side: protocol.Customer, Offer: protocol.Offer{Title: "Desk"}, Flow: flow.Deal{State: flow.Accepted}, Steps: make([]records.Step, 2)}
			errs = append(errs, records.PutAgreement(tx, a), records.PutDeal(tx, deal), records.PutContext(tx, records.Context{ID: a.Context, Name: "x"}),
				o.Stores.Held.Put(tx, held.Record{Grant: a.ID, Context: a.Context}))
		}
		return errors.Join(errs...)
	})
	must(Catalog{o}.Import(t.Context(), csv("id,title,price\na,A,1.00\nb,B,2.00\nc,C,3.00\nd,D,4.00\ne,E,5.00\n"), desk.ImportSpec{}))
	o.fill(t, "contact.email", "contact.phone", "contact.hours", "location.area", "identity.name") // five entries of the ledger
	ctx := t.Context()
	lists := map[string]func(desk.Query) (ids []string, next string, err error){
		"needs":    pager(func(q desk.Query) (desk.Page[desk.Need], error) { return Needs{o}.List(ctx, q) }, func(v desk.Need) string { return v.ID }),
		"requests": pager(func(q desk.Query) (desk.Page[desk.Request], error) { return Requests{o}.List(ctx, q) }, func(v desk.Request) string { return v.ID }),
		"grants":   pager(func(q desk.Query) (desk.Page[desk.Grant], error) { return Grants{o}.List(ctx, q) }, func(v desk.Grant) string { return v.ID }),
		"offers":   pager(func(q desk.Query) (desk.Page[desk.Offer], error) { return Offers{o}.List(ctx, q) }, func(v desk.Offer) string { return v.ID }),
		"deals":    pager(func(q desk.Query) (desk.Page[desk.Deal], error) { return Deals{o}.List(ctx, q) }, func(v desk.Deal) string { return v.ID }),
		"held":     pager(func(q desk.Query) (desk.Page[desk.HeldRecord], error) { return Held{o}.List(ctx, q) }, func(v desk.HeldRecord) string { return v.Grant }),
		"catalog":  pager(func(q desk.Query) (desk.Page[desk.Product], error) { return Catalog{o}.List(ctx, q) }, func(v desk.Product) string { return v.ID }),
		"ledger":   pager(func(q desk.Query) (desk.Page[desk.LedgerEntry], error) { return Ledger{o}.List(ctx, q) }, func(v desk.LedgerEntry) string { return fmt.Sprint(v.Seq) }),
	}
	for name, list := range lists {
		for size := 1; size <= 6; size++ {
			var all []string
			q := desk.Query{Limit: size}
			for pages := 0; ; pages++ {
				ids, next, err := list(q)
				if err != nil || len(ids) > size || pages > 6 {
					t.Fatalf("%s in pages of %d: page %d has %d, %v", name, size, pages, len(ids), err)
				}
				all = append(all, ids...)
				if q.After = next; next == "" {
					break
				}
			}
			if once := slices.Compact(slices.Clone(all)); len(all) != 5 || len(once) != 5 {
				t.Errorf("%s in pages of %d: %v", name, size, all)
			}
		}
		if name == "catalog" {
			continue // its cursor is any product id
		}
		cursors := []string{"zz", "-1", "x1", "00"}
		if name == "ledger" {
			cursors = cursors[:3] // its cursor is a number
		}
		for _, cursor := range cursors {
			if _, _, err := list(desk.Query{After: cursor}); !errors.Is(err, fault.Malformed) {
				t.Errorf("%s after %q: %v", name, cursor, err)
			}
		}
	}
	for _, n := range []int{-5, 0, 100_000} {
		if got := limit(desk.Query{Limit: n}); got < 1 || got > maxPage {
			t.Errorf("a limit of %d is taken for %d", n, got)
		}
	}
}

func pager[T any](list func(desk.Query) (desk.Page[T], error), id func(T) string) func(desk.Query) ([]string, string, error) {
	return func(q desk.Query) (ids []string, next string, err error) {
		p, err := list(q)
		for _, v := range p.Items {
			ids = append(ids, id(v))
		}
		return ids, p.Next, err
	}
}

func TestQueriesSelect(t *testing.T) {
	o := open(t)
	other := agreement(2, flow.Revoked)
	other.VendorName = "Another"
	o.keep(t, func(tx kv.Tx) error {
		return errors.Join(records.PutAgreement(tx, agreement(1, flow.Disclosed)), records.PutAgreement(tx, other))
	})
	for name, c := range map[string]struct {
		q    desk.Query
		want int
	}{
		"all": {desk.Query{}, 2}, "by state": {desk.Query{State: "revoked"}, 1}, "by no state at all": {desk.Query{State: "lapsed"}, 0},
		"by grant": {desk.Query{Grant: "01"}, 1}, "by context": {desk.Query{Context: "02"}, 1}, "by vendor": {desk.Query{Vendor: "aa01"}, 1},
		"by any vendor": {desk.Query{Vendor: "aa"}, 2}, "by its name": {desk.Query{Vendor: "another"}, 1}, "by part of a name": {desk.Query{Vendor: "anoth"}, 0},
	} {
		if p := must((Grants{o}).List(t.Context(), c.q)); len(p.Items) != c.want {
			t.Errorf("%s: %d", name, len(p.Items))
		}
	}
}

// A slip of the pen selects nothing, and that is an error and no empty list: somebody meant to
// take something back.
func TestWhatIsRevokedMustBeSomething(t *testing.T) {
	o := open(t)
	o.fill(t, "contact.email")
	other := agreement(2, flow.Revoked)
	other.VendorName = "Sofa Shop"
	o.keep(t, func(tx kv.Tx) error {
		return errors.Join(records.PutAgreement(tx, agreement(1, flow.Disclosed)), records.PutAgreement(tx, other))
	})
	for _, c := range []struct {
		q    desk.Query
		want fault.Kind
		says string
	}{
		{desk.Query{Vendor: "Sofa Shak"}, fault.NotFound, "near it are Sofa Shop"},
		{desk.Query{Vendor: "zzz"}, fault.NotFound, "there are"},
		{desk.Query{Vendor: strings.Repeat("0", 64)}, fault.NotFound, "no vendor"},
		{desk.Query{Vendor: "aa"}, fault.Conflict, "fits several: aa01"},
		{desk.Query{Field: "contact.emial"}, fault.NotFound, "near it are contact.email"},
		{desk.Query{Field: "nosuch.field"}, fault.NotFound, "no field"},
		{desk.Query{Context: "ffff"}, fault.NotFound, `no need "ffff"`},
		{desk.Query{Context: "0"}, fault.Conflict, "fits several: 01"},
	} {
		if gs, err := (Grants{o}).Revoke(t.Context(), nil, c.q, ""); !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.says) || len(gs) > 0 {
			t.Errorf("%+v: %d, %v, want %v that says %s", c.q, len(gs), err, c.want, c.says)
		}
	}
	for _, q := range []desk.Query{{Vendor: "sofa shop"}, {Field: "contact.email"}, {Context: "02"}} { // known, and none of it lives
		if err := (Grants{o}).known(t.Context(), q); err != nil {
			t.Errorf("%+v: %v", q, err)
		}
	}
}

func TestNoListTakesAStateThatNothingIsIn(t *testing.T) {
	o := open(t)
	q := desk.Query{State: "given"}
	_, needs := Needs{o}.List(t.Context(), q)
	_, requests := Requests{o}.List(t.Context(), q)
	_, grants := Grants{o}.List(t.Context(), q)
	_, offers := Offers{o}.List(t.Context(), q)
	_, deals := Deals{o}.List(t.Context(), q)
	_, export := Records{o}.Export(t.Context(), desk.RecordSpec{As: "csv", State: "given"})
	for name, err := range map[string]error{"needs": needs, "requests": requests, "grants": grants, "offers": offers, "deals": deals, "export": export} {
		if !errors.Is(err, fault.Malformed) || !strings.Contains(err.Error(), `"given"; `) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := (Ledger{o}).List(t.Context(), desk.Query{Kind: "bogus"}); !errors.Is(err, fault.Malformed) {
		t.Errorf("ledger: %v", err)
	}
	if _, err := (Board{o}).List(t.Context(), desk.Query{Text: "home bogus"}); !errors.Is(err, fault.Malformed) {
		t.Errorf("board: %v", err)
	}
}

func TestGivesAreChecked(t *testing.T) {
	o := open(t)
	o.fill(t, "contact.email")
	vendor := protocol.Hash{7}.String()
	sound := func(change func(*desk.GiveSpec)) desk.GiveSpec {
		s := desk.GiveSpec{Vendor: vendor, Name: "my bank", Fields: []string{"contact.email"}}
		change(&s)
		return s
	}
	for name, c := range map[string]struct {
		s    desk.GiveSpec
		want fault.Kind
	}{
		"no vendor":          {sound(func(s *desk.GiveSpec) { s.Vendor = "" }), fault.Malformed},
		"a short vendor":     {sound(func(s *desk.GiveSpec) { s.Vendor = "0707" }), fault.NotFound},
		"too many days":      {sound(func(s *desk.GiveSpec) { s.Days = maxGiveDays + 1 }), fault.Malformed},
		"days before today":  {sound(func(s *desk.GiveSpec) { s.Days = -1 }), fault.Malformed},
		"too often":          {sound(func(s *desk.GiveSpec) { s.PerDay = protocol.MaxPerDay + 1 }), fault.Malformed},
		"less than never":    {sound(func(s *desk.GiveSpec) { s.PerDay = -1 }), fault.Malformed},
		"a lease of minutes": {sound(func(s *desk.GiveSpec) { s.LeaseSeconds = 600 }), fault.Malformed},
		"a lease of a month": {sound(func(s *desk.GiveSpec) { s.LeaseSeconds = 30 * 86400 }), fault.Malformed},
		"a negative lease":   {sound(func(s *desk.GiveSpec) { s.LeaseSeconds = -86400 }), fault.Malformed},
		"a lease too often":  {sound(func(s *desk.GiveSpec) { s.LeaseSeconds, s.PerDay = 3600, 2 }), fault.Malformed},
		"a lease of one use": {sound(func(s *desk.GiveSpec) { s.LeaseSeconds, s.Once = 86400, true }), fault.Malformed},
		"two years":          {sound(func(s *desk.GiveSpec) { s.Days, s.LeaseSeconds, s.PerDay = 730, 86400, 2 }), fault.NotFound}, // of the vendor
		"a purpose":          {sound(func(s *desk.GiveSpec) { s.Purpose = "sell-it-on" }), fault.Malformed},
		"no fields":          {sound(func(s *desk.GiveSpec) { s.Fields = nil }), fault.Malformed},
		"too many fields":    {sound(func(s *desk.GiveSpec) { s.Fields = make([]string, protocol.MaxFields+1) }), fault.Malformed},
		"a field not held":   {sound(func(s *desk.GiveSpec) { s.Fields = []string{"contact.email", "contact.phone"} }), fault.NotFound},
		"an unknown vendor":  {sound(func(*desk.GiveSpec) {}), fault.NotFound},
		"unknown, half gone": {sound(func(s *desk.GiveSpec) { s.Days = 1; s.Purpose = "stay-in-contact" }), fault.NotFound},
	} {
		if v, err := (Grants{o}).Give(t.Context(), c.s); !errors.Is(err, c.want) {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
}

func TestRightsAreChecked(t *testing.T) {
	o := open(t)
	o.keep(t, func(tx kv.Tx) error { return records.PutAgreement(tx, agreement(1, flow.Granted)) })
	values := map[string]string{"contact.email": "b@example.org"}
	for name, c := range map[string]struct {
		id   string
		s    desk.RightSpec
		want fault.Kind
	}{
		"an unknown one":               {"01", desk.RightSpec{Exercise: "portability"}, fault.Malformed},
		"none":                         {"01", desk.RightSpec{}, fault.Malformed},
		"a correction without values":  {"01", desk.RightSpec{Exercise: "correction"}, fault.Malformed},
		"values without correction":    {"01", desk.RightSpec{Exercise: "access", Values: values}, fault.Malformed},
		"of an unknown grant":          {"99", desk.RightSpec{Exercise: "access"}, fault.NotFound},
		"of a grant without a receipt": {"01", desk.RightSpec{Exercise: "access"}, fault.Conflict},
	} {
		if _, err := (Grants{o}).Right(t.Context(), c.id, c.s); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, e := range exercises {
		if exerciseName(e) != name {
			t.Errorf("%s is called %s", name, exerciseName(e))
		}
	}
	if exerciseName(99) != "unknown" {
		t.Error("a right of tomorrow has a name")
	}
}

func TestRevokingNothingIsNoError(t *testing.T) {
	o := open(t)
	if list, err := (Grants{o}).Revoke(t.Context(), nil, desk.Query{}, ""); err != nil || list == nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	if list, err := (Grants{o}).Revoke(t.Context(), nil, desk.Query{Field: "contact.email"}, ""); err != nil || len(list) != 0 {
		t.Errorf("of a field: %v, %v", list, err)
	}
	if _, err := (Grants{o}).Revoke(t.Context(), nil, desk.Query{Field: "no field"}, ""); !errors.Is(err, fault.Malformed) {
		t.Errorf("of what is no field: %v", err)
	}
	if _, err := (Grants{o}).Revoke(t.Context(), []string{"77"}, desk.Query{}, ""); !errors.Is(err, fault.NotFound) {
		t.Errorf("an unknown one: %v", err)
	}
}

func TestOffersAndDeals(t *testing.T) {
	o := open(t)
	deal := func(id byte, minor int64, rank uint8, state flow.DealState, misses ...string) records.Deal {
		d := records.Deal{
			ID: protocol.Hash{id}, Grant: protocol.Hash{0xaa}, Context: protocol.ContextID{0xcc}, Side: protocol.Customer, Misses: misses,
			Offer: protocol.Offer{Title: "Desk", Rank: rank}, Flow: flow.Deal{State: state}, Steps: make([]records.Step, 1),
		}
		if minor > 0 {
			d.Offer.Price = protocol.Money{Minor: minor, Currency: "ZAR"}
		}
		if state != flow.Offered {
			d.Steps = append(d.Steps, records.Step{Kind: protocol.KindAccept, By: protocol.Customer})
		}
		return d
	}
	o.keep(t, func(tx kv.Tx) error {
		return errors.Join(
			records.PutContext(tx, records.Context{ID: protocol.ContextID{0xcc}, Name: "a desk"}),
			records.PutDeal(tx, deal(1, 0, 1, flow.Offered)), records.PutDeal(tx, deal(2, 200, 2, flow.Offered)), records.PutDeal(tx, deal(3, 300, 1, flow.Offered)),
			records.PutDeal(tx, deal(4, 100, 1, flow.Offered, "over budget")), records.PutDeal(tx, deal(5, 150, 1, flow.Accepted)))
	})
	order := func(q desk.Query) (out string) {
		t.Helper()
		for _, v := range must((Offers{o}).List(t.Context(), q)).Items {
			out += v.ID[1:2]
			if v.Need != "a desk" || v.Quantity != 1 {
				t.Errorf("%+v", v)
			}
		}
		return out
	}
	for name, c := range map[string]struct {
		q    desk.Query
		want string
	}{
		"what fits":             {desk.Query{}, "1235"},
		"all":                   {desk.Query{All: true}, "12345"},
		"of a need, best first": {desk.Query{Context: "cc"}, "5321"},
		"accepted":              {desk.Query{State: "accepted"}, "5"},
		"of another need":       {desk.Query{Context: "dd"}, ""},
	} {
		if got := order(c.q); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	if p := must((Deals{o}).List(t.Context(), desk.Query{})); len(p.Items) != 1 || p.Items[0].State != "accepted" || len(p.Items[0].Steps) != 2 {
		t.Errorf("deals %+v", p.Items)
	}
	if p := must((Deals{o}).List(t.Context(), desk.Query{All: true})); len(p.Items) != 5 {
		t.Errorf("%d of all deals", len(p.Items))
	}
	long := strings.Repeat("x", protocol.MaxText+1)
	for name, c := range map[string]struct {
		err  error
		want fault.Kind
	}{
		"an unknown step": {second2((Deals{o}).Step(t.Context(), "05", "haggle", "")), fault.Malformed},
		"a long note":     {second2((Offers{o}).Accept(t.Context(), "01", long)), fault.Malformed},
		"no such offer":   {second2((Offers{o}).Decline(t.Context(), "99", "")), fault.NotFound},
		"no product":      {second2((Offers{o}).Make(t.Context(), desk.OfferSpec{Grant: "99"})), fault.NotFound},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v", name, c.err)
		}
	}
}

func second2[T any](_ T, err error) error { return err }

func TestOffersByHandAreChecked(t *testing.T) {
	o := open(t)
	must(Catalog{o}.Import(t.Context(), csv("id,title,price\n1,Desk,10.00\n"), desk.ImportSpec{}))
	a := agreement(1, flow.Granted)
	o.keep(t, func(tx kv.Tx) error { return records.PutAgreement(tx, a) })
	for name, c := range map[string]struct {
		s    desk.OfferSpec
		want fault.Kind
	}{
		"an unknown grant":     {desk.OfferSpec{Grant: "77", Product: "1"}, fault.NotFound},
		"an unknown product":   {desk.OfferSpec{Grant: "01", Product: "2"}, fault.NotFound},
		"held for too long":    {desk.OfferSpec{Grant: "01", Product: "1", Hold: 3601}, fault.Malformed},
		"held for less than 0": {desk.OfferSpec{Grant: "01", Product: "1", Hold: -1}, fault.Malformed},
		"a grant not in force": {desk.OfferSpec{Grant: "01", Product: "1"}, fault.Conflict},
	} {
		if _, err := (Offers{o}).Make(t.Context(), c.s); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheVault(t *testing.T) {
	o := open(t)
	v := Vault{o}
	if f := must(v.Set(t.Context(), "contact.email", desk.Value("a@example.org"))); !f.Masked || strings.Contains(f.Value, "example") || f.Version != 1 || f.Title == "" {
		t.Errorf("what set says: %+v", f)
	}
	must(v.Set(t.Context(), "health.condition", desk.Value("well")))
	must(v.Set(t.Context(), "child.age", desk.Value("7")))
	if f := must(v.Set(t.Context(), "contact.email", desk.Value("a@example.org"))); f.Version != 1 {
		t.Errorf("the same value again: %+v", f)
	}
	if f := must(v.Get(t.Context(), "contact.email")); f.Masked || f.Value != "a@example.org" || f.Class != "ordinary" {
		t.Errorf("asked for by name: %+v", f)
	}
	classes := map[string]string{}
	for _, f := range must(v.List(t.Context())) {
		classes[f.Name] = f.Class
		if !f.Masked || f.Value != "••••••" {
			t.Errorf("listed: %+v", f)
		}
	}
	if len(classes) != 3 || classes["health.condition"] != "special" || classes["child.age"] != "child" {
		t.Errorf("classes %v", classes)
	}
	if _, err := v.Get(t.Context(), "contact.phone"); !errors.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "hark vault set contact.phone") {
		t.Errorf("a field that is not there: %v", err)
	}
	if _, err := v.Get(t.Context(), "contact.fone"); !errors.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "near it are contact.phone:") {
		t.Errorf("a field that nothing is called: %v", err)
	}
	if _, err := v.Get(t.Context(), "unheard.of"); !errors.Is(err, fault.NotFound) {
		t.Errorf("a field of another group: %v", err)
	}
	if _, err := v.Set(t.Context(), "Not A Name", desk.Value("x")); !errors.Is(err, fault.Malformed) {
		t.Errorf("a bad name: %v", err)
	}
	if _, err := v.Set(t.Context(), "contact.email", desk.Value(strings.Repeat("x", protocol.MaxValue+1))); !errors.Is(err, fault.Malformed) {
		t.Errorf("a long value: %v", err)
	}
	if err := v.Remove(t.Context(), "child.age", 0); err != nil {
		t.Error(err)
	}
	if err := v.Remove(t.Context(), "child.age", 0); !errors.Is(err, fault.NotFound) {
		t.Errorf("removed twice: %v", err)
	}
	// The ledger names fields, never values, and nothing that was refused.
	p := must((Ledger{o}).List(t.Context(), desk.Query{}))
	var kinds []string
	for _, e := range p.Items {
		kinds = append(kinds, e.Kind+" "+e.Body["field"])
	}
	if want := []string{"vault.set contact.email", "vault.set health.condition", "vault.set child.age", "vault.removed child.age"}; !slices.Equal(kinds, want) {
		t.Errorf("the ledger has %v", kinds)
	}
	if p := must((Ledger{o}).List(t.Context(), desk.Query{Kind: "vault.removed"})); len(p.Items) != 1 {
		t.Errorf("of one kind: %v", p.Items)
	}
	if rep := must((Ledger{o}).Verify(t.Context())); !rep.OK || rep.Entries != 4 || len(rep.Problems) != 0 {
		t.Errorf("%+v", rep)
	}
	var w nowhere
	if err := (Ledger{o}).Export(t.Context(), desk.ExportSpec{}, &w); err != nil || w.n == 0 {
		t.Errorf("%d bytes, %v", w.n, err)
	}
}

// A head that a counterparty countersigned and that this ledger does not have shows a fork.
func TestAForkedLedgerIsFound(t *testing.T) {
	o := open(t)
	o.fill(t, "contact.email")
	a := agreement(1, flow.Disclosed)
	a.Heads = []records.Head{{Blind: protocol.Hash{1}, Size: 1}} // not countersigned yet
	o.keep(t, func(tx kv.Tx) error { return records.PutAgreement(tx, a) })
	if rep := must((Ledger{o}).Verify(t.Context())); !rep.OK || rep.Heads != 0 {
		t.Errorf("before: %+v", rep)
	}
	for name, h := range map[string]records.Head{
		"of another history": {Blind: protocol.Hash{1}, Size: 1, Signed: protocol.Hash{2}},
		"of more entries":    {Blind: protocol.Hash{1}, Size: 99, Signed: protocol.Hash{2}},
	} {
		a.Heads = []records.Head{h}
		o.keep(t, func(tx kv.Tx) error { return records.PutAgreement(tx, a) })
		if rep := must((Ledger{o}).Verify(t.Context())); rep.OK || rep.Heads != 1 || len(rep.Problems) != 1 || !strings.Contains(rep.Problems[0], "Veld & Vine") {
			t.Errorf("%s: %+v", name, rep)
		}
	}
}

func TestRulesAreChecked(t *testing.T) {
	o := open(t)
	for name, c := range map[string]struct {
		f    desk.Follow
		says string
	}{
		"a sector": {desk.Follow{Sectors: []string{"home", "hom"}}, "home"},
		"a region": {desk.Follow{Regions: []string{"ZA-GT"}}, "ZA-GP"},
		"a field":  {desk.Follow{AskAlso: []string{"Full Name"}}, "field"},
		"work":     {desk.Follow{Effort: 31}, "0 to 30"},
		"no work":  {desk.Follow{Effort: -1}, "0 to 30"},
	} {
		if _, err := (Rules{o}).Set(t.Context(), c.f); !errors.Is(err, fault.Malformed) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	f := desk.Follow{Sectors: []string{"home"}, Regions: []string{"ZA-GP"}, Ask: true, AskAlso: []string{"identity.name"}, Answer: true, Offers: 3, Confirm: true, Fulfil: true, Effort: 20}
	if got := must((Rules{o}).Set(t.Context(), f)); fmt.Sprint(got) != fmt.Sprint(f) {
		t.Errorf("%+v", got)
	}
	o.Follow = func(market.Follow) error { return fault.Unsupported } // a personal node
	if _, err := (Rules{o}).Set(t.Context(), desk.Follow{Ask: true}); !errors.Is(err, fault.Unsupported) {
		t.Errorf("of a personal node: %v", err)
	}
	if got := must((Rules{o}).Get(t.Context())); got.Offers != 3 {
		t.Errorf("rules that were refused are kept: %+v", got)
	}
}

func TestPassports(t *testing.T) {
	o := open(t)
	p := Passports{o}
	if _, err := p.Own(t.Context()); !errors.Is(err, fault.NotFound) {
		t.Errorf("before it was issued: %v", err)
	}
	for name, s := range map[string]desk.PassportSpec{"no name": {Country: "ZA"}, "a country": {Name: "x", Country: "Azania"}} {
		if _, err := p.Issue(t.Context(), s); !errors.Is(err, fault.Malformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	first := must(p.Issue(t.Context(), desk.PassportSpec{Name: "Veld & Vine", Country: "ZA", Contact: "a@example.org"}))
	second := must(p.Issue(t.Context(), desk.PassportSpec{Contact: "b@example.org"}))
	if first.Seq != 1 || second.Seq != 2 || second.Vendor != first.Vendor || second.Name != "Veld & Vine" || second.Contact != "b@example.org" || len(second.Chain) != 2 {
		t.Errorf("%+v", second)
	}
	o.FetchPassport = Locked(nil, nil, nil).FetchPassport
	if _, err := p.Get(t.Context(), first.Vendor); !errors.Is(err, fault.Locked) {
		t.Errorf("what fetching says: %v", err)
	}
	if _, err := p.Get(t.Context(), "zz"); !errors.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "near it are "+first.Vendor[:12]) {
		t.Errorf("an id that is none: %v", err)
	}
	if _, err := p.Get(t.Context(), first.Vendor[:9]); !errors.Is(err, fault.Locked) {
		t.Errorf("the beginning of one that is here: %v", err)
	}
	give := desk.GiveSpec{Vendor: first.Vendor[:12], Name: "x", Fields: []string{"contact.email"}}
	if _, err := (Grants{o}).Give(t.Context(), give); !errors.Is(err, fault.Malformed) || !strings.Contains(err.Error(), first.Vendor) {
		t.Errorf("given to the beginning of an id: %v", err)
	}
	other := open(t)
	if v := must(Passports{other}.Import(t.Context(), second.Chain)); v.Seq != 2 {
		t.Errorf("imported: %+v", v)
	}
	for name, chain := range map[string][]string{
		"none": nil, "not hexadecimal": {"zz"}, "too many": make([]string, protocol.MaxPassports+1), "the second alone": second.Chain[1:],
		"out of order": {second.Chain[1], second.Chain[0]}, "cut short": {second.Chain[0][:100]},
	} {
		if _, err := (Passports{open(t)}).Import(t.Context(), chain); err == nil {
			t.Errorf("%s: imported", name)
		}
	}
}

func TestTheCatalogue(t *testing.T) {
	o := open(t)
	c := Catalog{o}
	file := "id,title,price\n1,Oak desk,10.00\n2,Chair,\n3,,5.00\n"
	dry := must(c.Import(t.Context(), csv(file), desk.ImportSpec{DryRun: true}))
	if dry.Applied || dry.Added != 2 || len(dry.Errors) != 1 || dry.Errors[0].What == "" {
		t.Errorf("a dry run: %+v", dry)
	}
	if p := must(c.List(t.Context(), desk.Query{})); len(p.Items) != 0 {
		t.Errorf("it kept %v", p.Items)
	}
	if got := must(c.Import(t.Context(), csv(file), desk.ImportSpec{})); !got.Applied || got.Added != 2 || got.Rows != 3 {
		t.Errorf("%+v", got)
	}
	p := must(c.List(t.Context(), desk.Query{}))
	if len(p.Items) != 2 || p.Items[0].Price.Text != "ZAR 10.00" || p.Items[1].Price != nil {
		t.Errorf("%+v", p.Items)
	}
	if got := must(c.Import(t.Context(), csv("id,title,price\n1,Oak desk,11.00\n"), desk.ImportSpec{Replace: true})); got.Changed != 1 || got.Removed != 1 {
		t.Errorf("replaced: %+v", got)
	}
	if _, err := c.Import(t.Context(), csv(file), desk.ImportSpec{Currency: "RAND"}); !errors.Is(err, fault.Malformed) {
		t.Errorf("a currency: %v", err)
	}
	if _, err := c.Import(t.Context(), csv(""), desk.ImportSpec{}); err == nil {
		t.Error("an empty file is imported")
	}
	if got := must(c.Search(t.Context(), "desk", -1)); len(got) != 1 || got[0].ID != "1" {
		t.Errorf("found %+v", got)
	}
}

func TestTheBoard(t *testing.T) {
	o := open(t)
	b := Board{o}
	for i := range 3 {
		v := must(Needs{o}.Create(t.Context(), desk.NeedSpec{Name: "x", Category: "home.furniture", Days: i + 1}))
		raw := must(hex.DecodeString(must(Needs{o}.Stranger(t.Context(), v.ID)).Hex))
		must(o.Board.Put(t.Context(), must(wire.OpenAnnouncement(raw)), 1000))
	}
	p := must(b.List(t.Context(), desk.Query{Limit: 2}))
	rest := must(b.List(t.Context(), desk.Query{After: p.Next}))
	if len(p.Items) != 2 || len(rest.Items) != 1 || rest.Next != "" {
		t.Fatalf("%d and %d, then %q", len(p.Items), len(rest.Items), rest.Next)
	}
	locked := Locked(o.Board, genesis, time.Now)
	if _, err := (Board{&locked}).List(t.Context(), desk.Query{Limit: 2}); !errors.Is(err, fault.Locked) {
		t.Errorf("a locked node's board of more than a page: %v", err)
	}
	if p := must(b.List(t.Context(), desk.Query{Text: "travel"})); len(p.Items) != 0 {
		t.Errorf("of another sector: %v", p.Items)
	}
	n, s, err := b.Get(t.Context(), strings.ToUpper(rest.Items[0].Context[:16]))
	if err != nil || n.Context != rest.Items[0].Context || s.ID != n.ID || n.Bytes != s.Bytes || n.Asked || n.Status != "open" {
		t.Errorf("%+v, %v", n, err)
	}
	if _, _, err := b.Get(t.Context(), ""); !errors.Is(err, fault.Conflict) {
		t.Errorf("any: %v", err)
	}
	if _, _, err := b.Get(t.Context(), "zz"); !errors.Is(err, fault.NotFound) {
		t.Errorf("none: %v", err)
	}
	if _, err := b.List(t.Context(), desk.Query{After: "zz"}); !errors.Is(err, fault.Malformed) {
		t.Errorf("a cursor: %v", err)
	}
	if _, err := (Requests{o}).Ask(t.Context(), desk.AskSpec{Context: n.Context}); !errors.Is(err, fault.NotFound) {
		t.Errorf("asked without a passport: %v", err)
	}
}

func TestCount(t *testing.T) {
	o := open(t)
	lapsed := agreement(1, flow.Lapsed)
	lapsed.Lapses = []string{"a", "b"}
	o.keep(t, func(tx kv.Tx) error {
		return errors.Join(records.PutAgreement(tx, lapsed), records.PutAgreement(tx, agreement(2, flow.Disclosed)),
			records.PutContext(tx, records.Context{ID: protocol.ContextID{1}, Flow: flow.Context{Kind: protocol.ContextNeed, State: flow.Announced}}),
			records.PutDeal(tx, records.Deal{ID: protocol.Hash{1}, Flow: flow.Deal{State: flow.Accepted}}))
	})
	got := map[string]int{}
	if err := o.Stores.KV.View(t.Context(), func(r kv.Reader) error { return Count(r, got) }); err != nil {
		t.Fatal(err)
	}
	if want := "map[deal.accepted:1 grant.disclosed:1 grant.lapsed:1 lapses:2 need.announced:1]"; fmt.Sprint(got) != want {
		t.Errorf("%v", got)
	}
}

func TestHeldIsShownByName(t *testing.T) {
	o := open(t)
	a := agreement(1, flow.Disclosed)
	o.keep(t, func(tx kv.Tx) error {
		return errors.Join(records.PutAgreement(tx, a), o.Stores.Held.Put(tx, held.Record{
			Grant: a.ID, Context: a.Context, Fields: []protocol.FieldValue{{Name: "contact.email", Value: "a@example.org"}}, Until: 99,
		}))
	})
	p := must((Held{o}).List(t.Context(), desk.Query{}))
	if len(p.Items) != 1 || !slices.Equal(p.Items[0].Fields, []string{"contact.email"}) || len(p.Items[0].Keys) != 0 || strings.Contains(fmt.Sprint(p), "example") {
		t.Errorf("%+v", p.Items)
	}
	if err := (Held{o}).Delete(t.Context(), "01"); err != nil {
		t.Error(err)
	}
	if p := must((Held{o}).List(t.Context(), desk.Query{})); len(p.Items) != 0 {
		t.Errorf("still held: %+v", p.Items)
	}
}
