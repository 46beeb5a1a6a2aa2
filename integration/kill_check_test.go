package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/desk"
)

// told is what the nodes' APIs acknowledged while processes were killed.
type told struct {
	vendors []string                     // ids of those who ask for every need
	needs   map[string]announced         // by name
	vault   map[string]map[string]string // by shopper and field: the last value
}

type announced struct{ id, shopper string }

// seen is what one node tells at the end, and what was then found in its home.
type seen struct {
	name     string
	shopper  bool
	vendor   string // its id, of a vendor
	needs    []desk.Need
	requests []desk.Request
	grants   []desk.Grant
	offers   []desk.Offer
	deals    []desk.Deal
	entries  []desk.LedgerEntry
	ledger   desk.LedgerReport
	held     []desk.HeldRecord
	vault    map[string]string
	audit    node.AuditReport
}

// count counts the ledger's entries of one kind that name one thing.
func (v *seen) count(kind, about, id string) (n int) {
	for _, e := range v.entries {
		if e.Kind == kind && e.Body[about] == id {
			n++
		}
	}
	return n
}

// first gives the place of the first such entry, -1 where there is none.
func (v *seen) first(kind, about, id string) int {
	return slices.IndexFunc(v.entries, func(e desk.LedgerEntry) bool { return e.Kind == kind && e.Body[about] == id })
}

// wrongs gathers what does not hold.
type wrongs []string

func (f *wrongs) want(ok bool, format string, args ...any) {
	if !ok {
		*f = append(*f, fmt.Sprintf(format, args...))
	}
}

// violations names everything that was lost, happened twice, or did not come to its
// end, after all flows were said to have completed and every grant to be deleted.
func violations(views []seen, t told) []string {
	var f wrongs
	of := map[string]*seen{} // by name, and vendors by id
	for i := range views {
		v := &views[i]
		of[v.name] = v
		if v.vendor != "" {
			of[v.vendor] = v
		}
		f.node(v)
	}
	mine := map[string]int{} // needs by shopper
	for _, name := range slices.Sorted(maps.Keys(t.needs)) {
		a := t.needs[name]
		mine[a.shopper]++
		f.need(name, a, of, t.vendors)
	}
	for i := range views {
		v := &views[i]
		f.want(len(v.needs) == mine[v.name], "%s: %d needs, but %d were announced", v.name, len(v.needs), mine[v.name])
		for field, value := range t.vault[v.name] {
			f.want(v.vault[field] == value, "%s: field %s is %q, but %q was acknowledged", v.name, field, v.vault[field], value)
		}
		expected := len(t.vendors) * mine[v.name]
		if v.vendor != "" {
			expected = len(t.needs)
		}
		f.want(len(v.requests) == expected, "%s: %d requests, want %d", v.name, len(v.requests), expected)
		f.want(len(v.grants) == expected, "%s: %d grants, want %d", v.name, len(v.grants), expected)
	}
	return f
}

// node checks what one node tells by itself.
func (f *wrongs) node(v *seen) {
	f.want(v.ledger.OK && len(v.ledger.Problems) == 0, "%s: its ledger is not sound: %v", v.name, v.ledger.Problems)
	f.want(v.audit.Ledger.OK && len(v.audit.Ledger.Problems) == 0, "%s: the ledger in its home is not sound: %v", v.name, v.audit.Ledger.Problems)
	f.want(v.audit.Ledger.Entries == v.ledger.Entries, "%s: %d ledger entries, but %d in its home", v.name, v.ledger.Entries, v.audit.Ledger.Entries)
	f.want(int64(len(v.entries)) == v.ledger.Entries, "%s: %d ledger entries are listed, %d verified", v.name, len(v.entries), v.ledger.Entries)
	f.want(len(v.held) == 0, "%s: still holds %d records after all was deleted", v.name, len(v.held))
	f.want(len(v.audit.HeldAfterDeletion) == 0, "%s: its home holds what it signed to have deleted: %v", v.name, v.audit.HeldAfterDeletion)
	f.want(len(v.audit.OfferKeysAfterEnd) == 0, "%s: its home holds keys of grants that are over: %v", v.name, v.audit.OfferKeysAfterEnd)
	f.want(len(v.audit.Lapses) == 0, "%s: lapses %v", v.name, v.audit.Lapses)
	f.unique(v, "need", len(v.needs), func(i int) string { return v.needs[i].Name })
	f.unique(v, "request", len(v.requests), func(i int) string { return v.requests[i].Context + " " + v.requests[i].Vendor })
	f.unique(v, "grant", len(v.grants), func(i int) string { return v.grants[i].Context + " " + v.grants[i].Vendor })
	f.unique(v, "offer", len(v.offers), func(i int) string { return v.offers[i].Grant + " " + v.offers[i].Product })
	f.unique(v, "offer id", len(v.offers), func(i int) string { return v.offers[i].ID })
	f.unique(v, "deal", len(v.deals), func(i int) string { return v.deals[i].Offer.Context })
	var versions []string
	for _, e := range v.entries {
		if e.Kind == "vault.set" {
			versions = append(versions, e.Body["field"]+" "+e.Body["version"])
		}
	}
	f.unique(v, "change of field", len(versions), func(i int) string { return versions[i] })
}

// unique finds what is there twice.
func (f *wrongs) unique(v *seen, what string, n int, key func(int) string) {
	was := map[string]bool{}
	for i := range n {
		f.want(!was[key(i)], "%s: %s %q is there twice", v.name, what, key(i))
		was[key(i)] = true
	}
}

// need checks one need on both sides.
func (f *wrongs) need(name string, a announced, of map[string]*seen, vendors []string) {
	her := of[a.shopper]
	i := slices.IndexFunc(her.needs, func(n desk.Need) bool { return n.Name == name })
	if i < 0 {
		f.want(false, "%s: the need %q was acknowledged and is lost", a.shopper, name)
		return
	}
	n := her.needs[i]
	f.want(n.ID == a.id, "%s: the need %q is %s, but %s was acknowledged", a.shopper, name, n.ID, a.id)
	f.want(n.State == "withdrawn", "%s: the need %q is %s", a.shopper, name, n.State)
	f.want(her.count("need.announced", "context", n.ID) == int(n.Seq)-1, "%s: the need %q has %d versions and %d entries", a.shopper, name, n.Seq-1, her.count("need.announced", "context", n.ID))
	f.want(her.count("need.withdrawn", "context", n.ID) == 1, "%s: the need %q was withdrawn %d times", a.shopper, name, her.count("need.withdrawn", "context", n.ID))
	deals := 0
	for _, id := range vendors {
		deals += f.pair(name, n.ID, her, of[id])
	}
	f.want(deals == 1, "%q has %d deals, want 1", name, deals)
}

// The entries that both ledgers hold once for each grant.
var (
	herEntries   = []string{"request.received", "grant.given", "receipt.kept", "grant.revoked", "deletion.kept"}
	theirEntries = []string{"request.sent", "grant.kept", "receipt.sent", "revocation.kept", "deletion.sent"}
	dealEntries  = []string{"deal.accepted", "deal.confirmed", "deal.fulfilled", "deal.closed"}
)

// pair checks what went on between a shopper and one vendor about one need, and gives
// the number of their deals.
func (f *wrongs) pair(name, context string, her, shop *seen) int {
	who := fmt.Sprintf("%q with %s", name, shop.name)
	hers, theirs := grantsOf(her, context, shop.vendor), grantsOf(shop, context, shop.vendor)
	if len(hers) != 1 || len(theirs) != 1 || hers[0].ID != theirs[0].ID {
		f.want(false, "%s: %d grants here, %d there, want the same one", who, len(hers), len(theirs))
		return 0
	}
	g := hers[0]
	for i, kind := range herEntries {
		f.want(her.count(kind, "grant", g.ID) == 1, "%s: %d entries %s in her ledger", who, her.count(kind, "grant", g.ID), kind)
		kind = theirEntries[i]
		f.want(shop.count(kind, "grant", g.ID) == 1, "%s: %d entries %s in its ledger", who, shop.count(kind, "grant", g.ID), kind)
	}
	for _, x := range []struct {
		side, name string
		g          desk.Grant
	}{{"her", her.name, g}, {"its", shop.name, theirs[0]}} {
		f.want(x.g.State == "deleted", "%s: the grant is %s on %s side", who, x.g.State, x.side)
		f.want(len(x.g.Lapses) == 0, "%s: lapses on %s side: %v", who, x.side, x.g.Lapses)
		f.want(x.g.LateOffers == 0 && x.g.LateOpened == 0, "%s: %d offers came late, %d of them opened", who, x.g.LateOffers, x.g.LateOpened)
	}
	f.want(g.Disclosures > 0 && her.count("disclosure.sent", "grant", g.ID) == int(g.Disclosures), "%s: %d disclosures, %d entries", who, g.Disclosures, her.count("disclosure.sent", "grant", g.ID))
	f.want(her.first("receipt.kept", "grant", g.ID) < her.first("disclosure.sent", "grant", g.ID), "%s: disclosed before there was a receipt", who)
	kept, sent := her.first("deletion.kept", "grant", g.ID), shop.first("deletion.sent", "grant", g.ID)
	f.want(kept < 0 || sent < 0 || her.entries[kept].Body["envelope"] == shop.entries[sent].Body["envelope"], "%s: the two sides hold different deletions", who)
	for _, h := range g.Heads {
		f.want(h.Signed, "%s: the head at %d entries (%s) was not countersigned", who, h.Size, h.By)
	}
	f.offers(who, g.ID, her, shop)
	return f.deals(who, g.ID, her, shop)
}

func grantsOf(v *seen, context, vendor string) (out []desk.Grant) {
	for _, g := range v.grants {
		if g.Context == context && g.Vendor == vendor {
			out = append(out, g)
		}
	}
	return out
}

// offers checks that all offers under a grant came, each once.
func (f *wrongs) offers(who, grant string, her, shop *seen) {
	list := func(v *seen) (ids []string) {
		for _, o := range v.offers {
			if o.Grant == grant {
				ids = append(ids, o.ID)
			}
		}
		slices.Sort(ids)
		return ids
	}
	got, made := list(her), list(shop)
	f.want(len(made) > 0 && slices.Equal(got, made), "%s: offers %v were made, %v opened", who, made, got)
	for _, id := range made {
		f.want(shop.count("offer.sent", "offer", id) == 1, "%s: %d entries of sending offer %s", who, shop.count("offer.sent", "offer", id), id)
		f.want(her.count("offer.opened", "offer", id) == 1, "%s: %d entries of opening offer %s", who, her.count("offer.opened", "offer", id), id)
	}
}

// deals checks that both sides hold the same deals under a grant, closed, each step
// of them once.
func (f *wrongs) deals(who, grant string, her, shop *seen) (n int) {
	list := func(v *seen) (ids []string) {
		for _, d := range v.deals {
			if d.Offer.Grant != grant {
				continue
			}
			ids = append(ids, d.ID)
			f.want(d.State == "closed", "%s: the deal is %s at %s", who, d.State, v.name)
			for _, kind := range dealEntries {
				f.want(v.count(kind, "offer", d.ID) == 1, "%s: %d entries %s at %s", who, v.count(kind, "offer", d.ID), kind, v.name)
			}
			f.want(len(d.Steps) == len(dealEntries)+1, "%s: %d steps of the deal at %s", who, len(d.Steps), v.name)
		}
		slices.Sort(ids)
		return ids
	}
	mine, theirs := list(her), list(shop)
	f.want(slices.Equal(mine, theirs), "%s: deals %v here, %v there", who, mine, theirs)
	for _, v := range []*seen{her, shop} {
		for _, e := range v.entries {
			if strings.HasPrefix(e.Kind, "deal.") && e.Body["grant"] == grant {
				f.want(slices.Contains(mine, e.Body["offer"]), "%s: %s notes %s of an offer that is no deal", who, v.name, e.Kind)
			}
		}
	}
	return len(mine)
}

// sound makes the views of a small market in which all is well.
func sound() ([]seen, told) {
	her := seen{name: "she", shopper: true, vault: map[string]string{"location.area": "Observatory"}}
	shop := seen{name: "shop", vendor: "v1", vault: map[string]string{}}
	note := func(v *seen, kind string, body ...string) {
		m := map[string]string{}
		for i := 0; i < len(body); i += 2 {
			m[body[i]] = body[i+1]
		}
		v.entries = append(v.entries, desk.LedgerEntry{Seq: int64(len(v.entries)), Kind: kind, Body: m})
	}
	her.needs = []desk.Need{{ID: "n1", Name: "lamp", State: "withdrawn", Seq: 2}}
	note(&her, "vault.set", "field", "location.area", "version", "1")
	note(&her, "need.announced", "context", "n1")
	g := desk.Grant{ID: "g1", Context: "n1", Vendor: "v1", State: "deleted", Disclosures: 1, Heads: []desk.HeadCheck{{Size: 3, By: "grant", Signed: true}}}
	o := desk.Offer{ID: "o1", Grant: "g1", Context: "n1", Vendor: "v1", Product: "p1"}
	d := desk.Deal{ID: "o1", Offer: o, State: "closed", Steps: make([]desk.Step, 5)}
	for _, v := range []*seen{&her, &shop} {
		v.requests = []desk.Request{{ID: "r1", Grant: "g1", Context: "n1", Vendor: "v1"}}
		v.grants, v.offers, v.deals = []desk.Grant{g}, []desk.Offer{o}, []desk.Deal{d}
	}
	for i := range herEntries {
		note(&her, herEntries[i], "grant", "g1", "envelope", fmt.Sprint("e", i))
		note(&shop, theirEntries[i], "grant", "g1", "envelope", fmt.Sprint("e", i))
		if herEntries[i] == "receipt.kept" {
			note(&her, "disclosure.sent", "grant", "g1")
		}
	}
	note(&shop, "offer.sent", "offer", "o1", "grant", "g1")
	note(&her, "offer.opened", "offer", "o1", "grant", "g1")
	for _, kind := range dealEntries {
		note(&her, kind, "offer", "o1", "grant", "g1")
		note(&shop, kind, "offer", "o1", "grant", "g1")
	}
	note(&her, "need.withdrawn", "context", "n1")
	views := []seen{her, shop}
	for i := range views {
		views[i].ledger = desk.LedgerReport{OK: true, Entries: int64(len(views[i].entries))}
		views[i].audit.Ledger = views[i].ledger
	}
	return views, told{
		vendors: []string{"v1"}, needs: map[string]announced{"lamp": {"n1", "she"}},
		vault: map[string]map[string]string{"she": {"location.area": "Observatory"}},
	}
}

// checkFinds shows that the check passes what is sound and finds what was planted.
func checkFinds(t *testing.T) {
	views, told := sound()
	for _, v := range violations(views, told) {
		t.Errorf("in a sound market: %s", v)
	}
	for what, plant := range map[string]struct {
		do   func(her, shop *seen)
		want string // part of what is found
	}{
		"a need is lost":                {func(h, _ *seen) { h.needs = nil }, "acknowledged and is lost"},
		"a need is announced twice":     {func(h, _ *seen) { h.needs = append(h.needs, desk.Need{ID: "n2", Name: "lamp"}) }, `need "lamp" is there twice`},
		"a need came back":              {func(h, _ *seen) { h.needs[0].State = "announced" }, "is announced"},
		"a version without an entry":    {func(h, _ *seen) { h.needs[0].Seq = 3 }, "versions"},
		"a value is lost":               {func(h, _ *seen) { h.vault["location.area"] = "Woodstock" }, "was acknowledged"},
		"a value is written twice":      {func(h, _ *seen) { h.again("vault.set") }, "change of field"},
		"a grant is lost":               {func(h, _ *seen) { h.grants = nil }, "0 grants"},
		"a grant is given twice":        {func(h, _ *seen) { h.grants = append(h.grants, desk.Grant{ID: "g2", Context: "n1", Vendor: "v1"}) }, "2 grants"},
		"a vendor asks twice":           {func(_, s *seen) { s.requests = append(s.requests, s.requests[0]) }, `request "n1 v1" is there twice`},
		"two receipts":                  {func(h, _ *seen) { h.again("receipt.kept") }, "2 entries receipt.kept"},
		"no receipt":                    {func(h, _ *seen) { h.drop("receipt.kept") }, "0 entries receipt.kept"},
		"disclosed before the receipt":  {func(h, _ *seen) { h.swap("receipt.kept", "disclosure.sent") }, "before there was a receipt"},
		"disclosed twice":               {func(h, _ *seen) { h.again("disclosure.sent") }, "disclosures"},
		"an offer is lost":              {func(h, _ *seen) { h.offers = nil }, "[] opened"},
		"a product is offered twice":    {func(_, s *seen) { s.offers = append(s.offers, desk.Offer{ID: "o2", Grant: "g1", Product: "p1"}) }, `offer "g1 p1" is there twice`},
		"an offer is opened twice":      {func(h, _ *seen) { h.again("offer.opened") }, "2 entries of opening"},
		"a late offer":                  {func(h, _ *seen) { h.grants[0].LateOffers = 1 }, "came late"},
		"a second deal":                 {func(h, s *seen) { h.deals, s.deals = h.second(), s.second() }, "has 2 deals"},
		"a deal is accepted twice":      {func(h, _ *seen) { h.again("deal.accepted") }, "2 entries deal.accepted"},
		"a deal hangs at the vendor":    {func(_, s *seen) { s.deals[0].State = "fulfilled" }, "the deal is fulfilled"},
		"a deal is lost at the vendor":  {func(_, s *seen) { s.deals = nil }, "[] there"},
		"two revocations":               {func(_, s *seen) { s.again("revocation.kept") }, "2 entries revocation.kept"},
		"two deletions":                 {func(h, _ *seen) { h.again("deletion.kept") }, "2 entries deletion.kept"},
		"another deletion":              {func(_, s *seen) { s.entries[s.first("deletion.sent", "grant", "g1")].Body["envelope"] = "x" }, "different deletions"},
		"a grant that is not deleted":   {func(_, s *seen) { s.grants[0].State = "revoked" }, "is revoked on its side"},
		"what is held after a deletion": {func(_, s *seen) { s.held = []desk.HeldRecord{{Grant: "g1"}} }, "still holds"},
		"what a home holds":             {func(_, s *seen) { s.audit.HeldAfterDeletion = []node.AuditHeld{{Grant: "g1"}} }, "signed to have deleted"},
		"keys in a home":                {func(h, _ *seen) { h.audit.OfferKeysAfterEnd = []string{"g1"} }, "keys of grants"},
		"a lapse":                       {func(h, _ *seen) { h.grants[0].Lapses = []string{"no deletion"} }, "lapses on her side"},
		"a head not countersigned":      {func(h, _ *seen) { h.grants[0].Heads[0].Signed = false }, "not countersigned"},
		"a ledger that is not sound":    {func(h, _ *seen) { h.ledger.OK = false }, "not sound"},
		"entries that the home lacks":   {func(h, _ *seen) { h.audit.Ledger.Entries-- }, "in its home"},
	} {
		views, told := sound()
		plant.do(&views[0], &views[1])
		found := violations(views, told)
		if !slices.ContainsFunc(found, func(v string) bool { return strings.Contains(v, plant.want) }) {
			t.Errorf("%s: found %q, want %q among it", what, found, plant.want)
		}
	}
}

// again plants a copy of an entry.
func (v *seen) again(kind string) {
	for _, e := range v.entries {
		if e.Kind == kind {
			v.entries = append(v.entries, e)
			return
		}
	}
}

// drop takes an entry away.
func (v *seen) drop(kind string) {
	v.entries = slices.DeleteFunc(v.entries, func(e desk.LedgerEntry) bool { return e.Kind == kind })
}

// swap lets two entries change places.
func (v *seen) swap(a, b string) {
	at := func(kind string) int {
		return slices.IndexFunc(v.entries, func(e desk.LedgerEntry) bool { return e.Kind == kind })
	}
	i, j := at(a), at(b)
	v.entries[i], v.entries[j] = v.entries[j], v.entries[i]
}

// second gives the deals with a second one beside the first.
func (v *seen) second() []desk.Deal {
	raw, _ := json.Marshal(v.deals[0]) // a plain struct
	var d desk.Deal
	_ = json.Unmarshal(raw, &d)
	d.ID, d.Offer.ID, d.Offer.Context = "o2", "o2", "n1"
	return append(v.deals, d)
}
