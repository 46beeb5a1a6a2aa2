package figures

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/harkmarket/hark/cmd/hark/process"
	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/desk"
)

// Problems names everything that does not hold, and who is to blame where one is.
func Problems(views []View, needs []Asked, r Report) []string {
	out := slices.Concat(unheard(views, r), ungranted(views, needs), relations(r))
	for i := range views {
		out = append(out, unfinished(&views[i])...)
	}
	out = append(out, Blames(views)...)
	for i := range views {
		if v := &views[i]; v.Audit != nil {
			for _, d := range differences(v, v.Audit) {
				out = append(out, fmt.Sprintf("%s: its API says %s", v, d))
			}
		}
	}
	return out
}

// Blames are promises that somebody has broken, however far the show went.
func Blames(views []View) (out []string) {
	for i := range views {
		v := &views[i]
		out = append(out, ledgerProblems(v)...)
		out = append(out, customerProblems(v, away(views))...)
		out = append(out, vendorProblems(v, views)...)
		if v.Audit != nil {
			out = append(out, auditProblems(v)...)
		}
	}
	return append(out, keeperProblems(views)...)
}

// unheard names the vendors that missed needs.
func unheard(views []View, r Report) (out []string) {
	if r.Heard == r.ExpectedHeard {
		return nil
	}
	announced := map[string]bool{}
	for i := range views {
		for _, n := range views[i].needs {
			announced[n.ID] = views[i].role == process.Customer && n.AnnouncedMS > 0 && n.Kind == needKind
		}
	}
	for i := range views {
		v := &views[i]
		if v.role != process.Vendor {
			continue
		}
		heard := 0
		for _, n := range v.board {
			heard += one(announced[n.Context])
		}
		if heard != r.Announced {
			out = append(out, fmt.Sprintf("vendor %s heard of %d of %d needs", v.name, heard, r.Announced))
		}
	}
	return out
}

// ungranted names needs that nobody was granted access to.
func ungranted(views []View, needs []Asked) (out []string) {
	granted := map[string]bool{}
	for i := range views {
		if views[i].role != process.Customer {
			continue
		}
		for _, g := range views[i].grants {
			granted[g.Context] = true
		}
	}
	for _, n := range needs {
		if !granted[n.ID] {
			out = append(out, fmt.Sprintf("no vendor was granted access to the need %q of customer %s", n.Input, n.Customer))
		}
	}
	return out
}

// relations are what must hold between the figures.
func relations(r Report) (out []string) {
	want := func(ok bool, format string, args ...any) {
		if !ok {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	want(r.Announced == r.Needs, "%d of %d needs were announced", r.Announced, r.Needs)
	want(r.Requests == r.Grants+r.Refusals, "%d requests, but %d grants and %d refusals", r.Requests, r.Grants, r.Refusals)
	want(r.Receipts == r.Grants, "%d of %d grants were countersigned", r.Receipts, r.Grants)
	want(r.Disclosures >= r.Receipts, "%d grants were countersigned, but only %d disclosures made", r.Receipts, r.Disclosures)
	want(r.Offers == r.Opened+r.Missed+r.Late, "vendors made %d offers; %d were opened, %d of them past the need, and %d came after revocation",
		r.Offers, r.Opened+r.Missed, r.Missed, r.Late)
	want(r.Closed == r.Accepted, "%d offers were accepted, but %d deals closed", r.Accepted, r.Closed)
	want(r.Revoked == r.Grants, "%d of %d grants were revoked", r.Revoked, r.Grants)
	want(r.Deletions == r.Receipts, "%d signed deletions for %d grants that were countersigned and revoked", r.Deletions, r.Receipts)
	want(r.Late > 0 || r.Grants == 0, "no offer surfaced after its grant was revoked, so that nothing was shown about it")
	want(r.LedgersChecked == r.Processes, "%d of %d ledgers are sound", r.LedgersChecked, r.Processes)
	return out
}

// ledgerProblems names who keeps a ledger that is not what others countersigned.
func ledgerProblems(v *View) (out []string) {
	list := v.ledger.Problems
	if len(list) == 0 && !v.ledger.OK && v.ledger.Device != "" {
		list = []string{"it could not be verified"}
	}
	if n := len(list); n > 2 {
		list = append(slices.Clone(list[:2]), fmt.Sprintf("and %d more like these", n-2))
	}
	for _, what := range list {
		out = append(out, fmt.Sprintf("the ledger of %s is not sound: %s", v, what))
	}
	return out
}

// unfinished names grants that did not end.
func unfinished(v *View) (out []string) {
	if v.role != process.Customer {
		return nil
	}
	var open []string
	for _, g := range v.grants {
		if g.State != "deleted" {
			open = append(open, fmt.Sprintf("%s of vendor %s is %s", short(g.ID), g.VendorName, g.State))
		}
	}
	if len(open) > 0 {
		out = append(out, fmt.Sprintf("grants of customer %s that did not end with a signed deletion: %s", v.name, few(open)))
	}
	return out
}

// customerProblems are what a customer's own API gives away.
func customerProblems(v *View, away string) (out []string) {
	if v.role != process.Customer {
		return nil
	}
	late := 0
	var beyond []string
	for _, g := range v.grants {
		late += g.LateOpened
		if more := ungiven(&g); len(more) > 0 {
			beyond = append(beyond, fmt.Sprintf("%s to vendor %s under grant %s", strings.Join(more, ", "), g.VendorName, short(g.ID)))
		}
		for _, l := range g.Lapses {
			if away != "" && g.Vendor == away && g.Times.Deleted > 0 {
				continue // it was switched off, and has made up for it
			}
			out = append(out, fmt.Sprintf("vendor %s broke a promise to customer %s: %s", g.VendorName, v.name, l))
		}
	}
	if len(beyond) > 0 {
		out = append(out, fmt.Sprintf("customer %s disclosed what was not granted, as %d signed deletions of vendors name it: %s", v.name, len(beyond), few(beyond)))
	}
	if late > 0 {
		out = append(out, fmt.Sprintf("customer %s opened %d offers under grants that she had revoked: her node kept keys that it should have destroyed", v.name, late))
	}
	return out
}

// away is the vendor that was switched off past its deadline, as the show has it.
func away(views []View) string {
	for i := range views {
		if views[i].role == process.Practice {
			return views[i].vendor
		}
	}
	return ""
}

// ungiven lists the fields that a vendor signed to have deleted and was never granted.
func ungiven(g *desk.Grant) (out []string) {
	for _, name := range g.Deleted {
		field, is := strings.CutPrefix(name, "field ")
		if is && !slices.ContainsFunc(g.Fields, func(f desk.FieldPrice) bool { return f.Field == field }) {
			out = append(out, field)
		}
	}
	return out
}

// vendorProblems compares what a vendor's API says with what customers got.
func vendorProblems(v *View, views []View) (out []string) {
	if v.role != process.Vendor {
		return nil
	}
	signed := map[string]bool{}
	for i := range views {
		if views[i].role != process.Customer {
			continue
		}
		for _, g := range views[i].grants {
			signed[g.ID] = g.Times.Deleted > 0
		}
	}
	var kept []string
	for _, h := range v.held {
		if signed[h.Grant] {
			kept = append(kept, fmt.Sprintf("%s (%s)", short(h.Grant), strings.Join(append(slices.Clone(h.Fields), h.Keys...), ", ")))
		}
	}
	if len(kept) > 0 {
		out = append(out, fmt.Sprintf("vendor %s signed that it deleted what it held, and still holds it, under %d grants: %s", v.name, len(kept), few(kept)))
	}
	return out
}

// auditProblems are what a stopped home gives away, and where it disagrees with what
// the running node said.
func auditProblems(v *View) (out []string) {
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	a := v.Audit
	for _, what := range a.Ledger.Problems[:min(len(a.Ledger.Problems), 2)] {
		if !slices.Contains(v.ledger.Problems, what) {
			add("the ledger in the home of %s is not sound: %s", v, what)
		}
	}
	var kept []string
	for _, h := range a.HeldAfterDeletion {
		kept = append(kept, fmt.Sprintf("%s (%s)", short(h.Grant), strings.Join(h.Names, ", ")))
	}
	if len(kept) > 0 {
		add("the home of %s still holds what it signed to have deleted, under %d grants: %s", v, len(kept), few(kept))
	}
	if n := len(a.OfferKeysAfterEnd); n > 0 {
		add("the home of %s still holds the keys to offers under %d grants that are over, such as %s", v, n, short(a.OfferKeysAfterEnd[0]))
	}
	return out
}

// differences compares a node's API with its home.
func differences(v *View, a *node.AuditReport) (out []string) {
	api, home := tally(v), a.AsVendor
	if v.role == process.Customer {
		home = a.AsCustomer
	}
	same := func(what string, x, y int64) {
		if x != y {
			out = append(out, fmt.Sprintf("%d %s, its home %d", x, what, y))
		}
	}
	same("ledger entries", v.ledger.Entries, a.Ledger.Entries)
	announced := 0
	for _, n := range v.needs {
		announced += one(n.AnnouncedMS > 0)
	}
	for _, c := range []struct {
		what string
		x, y int
	}{
		{"needs announced", announced, a.Announced}, {"requests", api.Requests, home.Requests}, {"grants", api.Grants, home.Grants},
		{"refusals", api.Refusals, home.Refusals}, {"receipts", api.Receipts, home.Receipts},
		{"disclosures", api.Disclosures, home.Disclosures}, {"offers", api.Offers, home.Offers},
		{"offers that miss", api.Missed, home.Missed}, {"late offers", api.Late, home.LateSeen},
		{"late offers opened", api.LateOpened, home.LateOpened}, {"accepted offers", api.Accepted, home.Accepted},
		{"closed deals", api.Closed, home.Closed}, {"lapses", lapses(v), len(a.Lapses)}, {"revocations", api.Revoked, home.Revoked}, {"deletions", api.Deletions, home.Deletions},
	} {
		same(c.what, int64(c.x), int64(c.y))
	}
	return out
}

func lapses(v *View) (n int) {
	if v.role != process.Customer {
		return 0
	}
	for _, g := range v.grants {
		n += len(g.Lapses)
	}
	return n
}

// keeperProblems puts the two sides of each letter together: a keeper that signed
// for a letter, and did not have it, or had it altered, when its reader came.
func keeperProblems(views []View) (out []string) {
	signed := map[string]map[string]bool{} // letter -> keepers
	names := map[string]string{}
	for i := range views {
		v := &views[i]
		if v.key != "" {
			names[v.key] = v.String()
		}
		for _, l := range v.sent {
			for _, k := range l.Receipts {
				if signed[l.ID] == nil {
					signed[l.ID] = map[string]bool{}
				}
				signed[l.ID][k] = true
			}
		}
	}
	missing, altered := map[string][]string{}, map[string][]string{}
	for i := range views {
		for _, l := range views[i].read {
			for _, k := range l.Missing {
				if signed[l.ID][k] && !slices.Contains(l.Altered, k) {
					missing[k] = append(missing[k], short(l.ID))
				}
			}
			for _, k := range l.Altered {
				if signed[l.ID][k] {
					altered[k] = append(altered[k], short(l.ID))
				}
			}
		}
	}
	name := func(k string) string {
		if n := names[k]; n != "" {
			return n
		}
		return "keeper " + short(k)
	}
	for _, k := range slices.Sorted(maps.Keys(missing)) {
		out = append(out, fmt.Sprintf("%s signed receipts for %d letters and did not have them when their readers came: %s",
			name(k), len(missing[k]), few(missing[k])))
	}
	for _, k := range slices.Sorted(maps.Keys(altered)) {
		out = append(out, fmt.Sprintf("%s signed receipts for %d letters and handed out altered ones: %s", name(k), len(altered[k]), few(altered[k])))
	}
	return out
}

// few names the first of a list.
func few(list []string) string {
	if len(list) <= 3 {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:3], ", "), len(list)-3)
}

// short is enough of an id for people.
func short(id string) string { return id[:min(len(id), 12)] }
