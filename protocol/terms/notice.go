package terms

import (
	"slices"
	"strings"

	"github.com/harkmarket/hark/protocol"
)

// A gap is something that a vendor has to tell before it collects, and did not.
type gap struct {
	section string // of POPIA, as "18(1)(b)"
	what    string // as "its name and how to reach it"
}

// MissingNotice lists, in order of letter, what a request and its vendor's passport
// leave untold of POPIA s18(1), and so of GDPR art. 13(1) and (2), each as
// "18(1)(b): its name and how to reach it". Empty means complete. Where there is
// nothing to tell, that is told too: who receives it is the vendor by its name where
// nobody else does, where it goes is the vendor's own country, and of a law (f) it says
// that none demands it. What art. 13 adds: the contact of a data-protection officer is
// the passport's; legitimate interests (1)(d) are no ground that Decide takes; consent is
// withdrawn from within her node, by her right in any grant, (2)(c); and decisions of no
// person (2)(f) are told in Particulars, whose silence means by the protocol that there
// are none. Whether a transfer abroad (g) was left out depends on her country, so that
// Decide sees to it.
func MissingNotice(r *protocol.Request, p *protocol.Passport, m protocol.Particulars, region protocol.Region) []string {
	var list []string
	for _, g := range gaps(r, p, m, region) {
		list = append(list, g.section+": "+g.what)
	}
	return list
}

func gaps(r *protocol.Request, p *protocol.Passport, m protocol.Particulars, region protocol.Region) []gap {
	var list []gap
	need := func(told bool, letter, what string) {
		if !told {
			list = append(list, gap{"18(1)(" + letter + ")", what})
		}
	}
	n := r.Notice
	// No fields at all is a request for the need alone, which she announced to be read.
	need(all(r.Fields, func(f protocol.FieldAsk) bool { return f.Name.WellFormed() }), "a", "which information it collects")
	need(said(n.Source), "a", "where the information comes from")
	need(said(p.Name) && said(p.Contact), "b", "its name and how to reach it")
	need(all(r.Fields, func(f protocol.FieldAsk) bool { return f.Purpose.Known() }), "c", "for what purpose it collects each field")
	need(r.Basis >= protocol.BasisConsent && r.Basis <= protocol.BasisLegitimate, "d", "whether she is free not to give it")
	need(said(n.Consequence), "e", "what follows if she does not give it")
	need(said(n.Law), "f", "which law demands it, or that none does")
	need(p.Country.Valid(), "g", "in which country it is itself")
	need(len(r.Countries) > 0, "g", "in which countries the information will be, its own at least")
	need(all(r.Countries, protocol.Region.Valid), "g", "in a known code to which countries it sends the information")
	abroad := func(c protocol.Region) bool { return c.Country() != region.Country() }
	need(said(m.Protection) || !slices.ContainsFunc(r.Countries, abroad), "g", "what protects the information in another country")
	need(len(r.Recipients) > 0 && all(r.Recipients, said), "h", "who receives it, itself by its name where nobody else does")
	need(all(r.Fields, func(f protocol.FieldAsk) bool { return f.Retention > 0 }), "h", "for how many days it keeps each field")
	need(said(n.Rights), "h", "her rights of access, correction and objection")
	need(said(n.Complaints), "h", "where she can complain")
	return list
}

func all[T any](list []T, ok func(T) bool) bool {
	return !slices.ContainsFunc(list, func(v T) bool { return !ok(v) })
}

func said(s string) bool { return strings.TrimSpace(s) != "" }
