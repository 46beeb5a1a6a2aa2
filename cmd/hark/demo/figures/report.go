package figures

import (
	"cmp"
	"slices"

	"github.com/harkmarket/hark/cmd/hark/process"
	"github.com/harkmarket/hark/node/desk"
)

// Schema names the form of a Report.
const Schema = "hark.demo/1"

// A Report is what a show found.
type Report struct {
	Schema    string `json:"schema"`
	Processes int    `json:"processes"`
	Counts
	Consent
	AuditsOK int       `json:"audits_ok"` // nodes whose exported ledger held, as hark-audit judges
	Latency  Latencies `json:"latency_ms"`
	Bytes    Bytes     `json:"bytes"`
	Answers  []Answer  `json:"answers"`
	Problems []string  `json:"problems"`
}

// Counts are how often each thing happened, in all of the network, under the needs: what
// came of interests and of grants without a need is left out, but in ledgers. A heard is a pair
// of a need and a following vendor that heard of it; offers are all that vendors
// made: opened ones that fit their need, opened ones that miss it, and those that
// surfaced after their grant was revoked.
type Counts struct {
	Needs          int   `json:"needs"`
	Announced      int   `json:"announced"`
	ExpectedHeard  int   `json:"expected_heard"`
	Heard          int   `json:"heard"`
	Requests       int   `json:"requests"`
	Grants         int   `json:"grants"`
	Refusals       int   `json:"refusals"`
	Receipts       int   `json:"receipts"`
	Disclosures    int   `json:"disclosures"`
	Offers         int   `json:"offers"`
	Opened         int   `json:"offers_opened"`
	Missed         int   `json:"offers_missed_constraints"`
	Accepted       int   `json:"accepted"`
	Closed         int   `json:"closed"`
	Revoked        int   `json:"revoked"`
	Deletions      int   `json:"deletions"`
	Late           int   `json:"offers_after_revocation"`
	LateOpened     int   `json:"offers_after_revocation_opened"`
	LedgerEntries  int64 `json:"ledger_entries"`
	LedgersChecked int   `json:"ledgers_verified"`
}

// Consent counts what customers decided and what came of it, under needs and all else.
type Consent struct {
	GrantedByRule int `json:"granted_by_rule"` // by a rule of hers, or by what her need offers
	GrantedLess   int `json:"granted_less"`    // than was asked
	Updates       int `json:"updates"`         // disclosures because a field had changed
	Lapses        int `json:"lapses"`          // promises that were broken
}

// consent adds what a customer's node tells.
func (c *Consent) consent(v *View) {
	for _, g := range v.grants {
		c.GrantedByRule += one(g.By == "rule")
		c.GrantedLess += one(g.Less)
		c.Updates += int(g.Updates)
		c.Lapses += len(g.Lapses)
	}
}

// Latencies are in milliseconds. Offers are the first opened one of each pair of a
// need and a vendor.
type Latencies struct {
	Heard    Quantiles `json:"announce_to_heard"`
	Offer    Quantiles `json:"announce_to_offer"`
	Deletion Quantiles `json:"revoke_to_deletion"`
}

// Quantiles are the nearest-rank median and 99th percentile; 0 of nothing.
type Quantiles struct {
	P50 int64 `json:"p50"`
	P99 int64 `json:"p99"`
}

// Bytes are sizes of envelopes.
type Bytes struct {
	Announcement Sizes `json:"announcement"`
}

// Sizes are in bytes.
type Sizes struct {
	P50 int64 `json:"p50"`
	Max int64 `json:"max"`
}

// An Answer is one offer that a customer opened and that fits her need. Rank counts
// from 1 within one need, in the order in which her node shows them.
type Answer struct {
	Need       string `json:"need"` // as it stands in the input
	NeedID     string `json:"need_id"`
	Vendor     string `json:"vendor"`
	ProductID  string `json:"product_id"`
	Product    string `json:"product"`
	PriceMinor int64  `json:"price_minor"` // 0: on request
	Currency   string `json:"currency"`
	Rank       int    `json:"rank"`
}

// quantile is the nearest-rank quantile of values, in percent.
func quantile(values []int64, percent int) int64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[max(0, (len(values)*percent+99)/100-1)]
}

func quantiles(values []int64) Quantiles {
	return Quantiles{quantile(values, 50), quantile(values, 99)}
}

// Compute works all figures out of what the nodes' APIs tell.
func Compute(views []View, needs []Asked) Report {
	r := Report{Schema: Schema, Processes: len(views), Answers: answers(views, needs), Problems: []string{}}
	vendors := 0
	announcedMS := map[string]int64{}
	for i := range views {
		v := &views[i]
		r.LedgerEntries += v.ledger.Entries
		if v.ledger.OK {
			r.LedgersChecked++
		}
		if v.role == process.Vendor {
			vendors++
		}
		if v.role != process.Customer {
			continue
		}
		for _, n := range v.needs {
			if n.AnnouncedMS > 0 && n.Kind == needKind {
				announcedMS[n.ID] = n.AnnouncedMS
			}
		}
		r.consent(v)
	}
	views = under(views, announcedMS)
	for i := range views {
		if v := &views[i]; v.role == process.Customer {
			r.customer(v)
		}
	}
	r.Announced = len(announcedMS)
	r.ExpectedHeard = r.Announced * vendors
	r.heard(views, announcedMS)
	r.times(views, announcedMS)
	return r
}

// needKind is the kind of a context that is a need.
const needKind = "need"

// under leaves of the views what stands under the contexts.
func under(views []View, contexts map[string]int64) []View {
	views = slices.Clone(views)
	for i := range views {
		v := &views[i]
		v.requests = of(v.requests, contexts, func(q desk.Request) string { return q.Context })
		v.grants = of(v.grants, contexts, func(g desk.Grant) string { return g.Context })
		v.offers = of(v.offers, contexts, func(o desk.Offer) string { return o.Context })
	}
	return views
}

func of[T any](list []T, contexts map[string]int64, context func(T) string) (out []T) {
	for _, v := range list {
		if _, ok := contexts[context(v)]; ok {
			out = append(out, v)
		}
	}
	return out
}

// customer adds what a customer's node has counted.
func (r *Report) customer(v *View) {
	c := tally(v)
	r.Requests += c.Requests
	r.Grants += c.Grants
	r.Refusals += c.Refusals
	r.Receipts += c.Receipts
	r.Disclosures += c.Disclosures
	r.Opened += c.Offers - c.Missed
	r.Missed += c.Missed
	r.Accepted += c.Accepted
	r.Closed += c.Closed
	r.Revoked += c.Revoked
	r.Deletions += c.Deletions
	r.Late += c.Late
	r.LateOpened += c.LateOpened
}

// tally counts one node's own agreements and deals. Offers are those that it made,
// as a vendor, or opened, as a customer.
func tally(v *View) (c Counts) {
	c.Requests = len(v.requests)
	for _, q := range v.requests {
		c.Refusals += one(q.State == "refused")
	}
	for _, g := range v.grants {
		c.Grants++
		c.Receipts += one(g.Times.Receipted > 0)
		c.Disclosures += int(g.Disclosures)
		c.Revoked += one(g.Times.Revoked > 0)
		c.Deletions += one(g.Times.Deleted > 0)
		c.Late += g.LateOffers
		c.LateOpened += g.LateOpened
	}
	for _, o := range v.offers {
		c.Offers++
		c.Missed += one(len(o.Misses) > 0)
	}
	for _, d := range v.deals {
		c.Accepted += one(slices.ContainsFunc(d.Steps, func(s desk.Step) bool { return s.Kind == "accept" }))
		c.Closed += one(d.State == "closed")
	}
	return c
}

func one(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// heard reads the vendors' boards, and what vendors say that they offered.
func (r *Report) heard(views []View, announcedMS map[string]int64) {
	var took []int64
	sizes := map[string]int64{}
	for i := range views {
		v := &views[i]
		if v.role != process.Vendor {
			continue
		}
		r.Offers += len(v.offers)
		for _, n := range v.board {
			at, ours := announcedMS[n.Context]
			if !ours {
				continue
			}
			r.Heard++
			took = append(took, n.HeardMS-at)
			sizes[n.ID] = int64(n.Bytes)
		}
	}
	r.Latency.Heard = quantiles(took)
	var all []int64
	for _, n := range sizes {
		all = append(all, n)
	}
	r.Bytes.Announcement = Sizes{quantile(all, 50), quantile(all, 100)}
}

// times reads from the customers how long offers and deletions took.
func (r *Report) times(views []View, announcedMS map[string]int64) {
	var offer, deletion []int64
	for i := range views {
		v := &views[i]
		if v.role != process.Customer {
			continue
		}
		first := map[[2]string]int64{}
		for _, o := range v.offers {
			pair := [2]string{o.Context, o.Vendor}
			if was, ok := first[pair]; !ok || o.AtMS < was {
				first[pair] = o.AtMS
			}
		}
		for pair, at := range first {
			if began := announcedMS[pair[0]]; began > 0 {
				offer = append(offer, at-began)
			}
		}
		for _, g := range v.grants {
			if g.Times.Revoked > 0 && g.Times.Deleted > 0 {
				deletion = append(deletion, g.Times.Deleted-g.Times.Revoked)
			}
		}
	}
	r.Latency.Offer, r.Latency.Deletion = quantiles(offer), quantiles(deletion)
}

// answers lists the opened offers that fit, needs in the order of the input.
func answers(views []View, needs []Asked) []Answer {
	byNeed := map[string][]desk.Offer{}
	for i := range views {
		if views[i].role != process.Customer {
			continue
		}
		for _, o := range views[i].offers {
			if len(o.Misses) == 0 {
				byNeed[o.Context] = append(byNeed[o.Context], o)
			}
		}
	}
	out := []Answer{}
	for _, n := range needs {
		list := byNeed[n.ID]
		slices.SortStableFunc(list, better)
		for i, o := range list {
			a := Answer{Need: n.Input, NeedID: n.ID, Vendor: o.VendorName, ProductID: o.Product, Product: o.Title, Rank: i + 1}
			if o.Price != nil {
				a.PriceMinor, a.Currency = o.Price.Minor, o.Price.Currency
			}
			out = append(out, a)
		}
	}
	return out
}

// better is the order in which a customer's node lists offers to one need: priced
// ones first, then by the vendors' own ranks, then the cheaper.
func better(a, b desk.Offer) int {
	price := func(o desk.Offer) int64 {
		if o.Price == nil {
			return 0
		}
		return o.Price.Minor
	}
	return cmp.Or(cmp.Compare(one(a.Price == nil), one(b.Price == nil)), cmp.Compare(a.Rank, b.Rank),
		cmp.Compare(price(a), price(b)), cmp.Compare(a.ID, b.ID))
}
