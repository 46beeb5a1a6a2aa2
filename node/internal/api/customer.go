package api

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol/fault"
)

var tags = []*huma.Tag{
	{Name: "node", Description: "The node itself, its peers, and what happens on it"},
	{Name: "needs", Description: "What a customer wants: needs and standing interests"},
	{Name: "requests", Description: "Vendors' requests for access"},
	{Name: "consent", Description: "What decides on requests by itself"},
	{Name: "grants", Description: "Who may see what, until when; seen from either side"},
	{Name: "offers", Description: "Offers under grants"},
	{Name: "deals", Description: "What became of accepted offers"},
	{Name: "vault", Description: "The customer's own data"},
	{Name: "ledger", Description: "The tamper-evident record"},
	{Name: "vendor", Description: "Catalogue, rules, passport, board, and what is held of customers"},
}

// customer makes the operations on needs and the vault.
func (r *routes) customer() {
	n := func() desk.Needs { return r.s.house.Customer().Needs() }
	pages(r, op{id: "list-needs", path: "/needs", tag: "needs", does: "List needs and interests",
		more: "`kind` need, interest or relation; `state` as in the views; `text` looks in the names."}, n, desk.Needs.List)
	makes(r, op{id: "create-need", path: "/needs", tag: "needs", does: "Announce a need or interest", status: http.StatusCreated,
		more: "Strangers will see the coarse label only; `preview-need` shows exactly what."}, n, desk.Needs.Create, desk.Needs.Get)
	create(r, op{id: "preview-need", path: "/needs/preview", tag: "needs", free: true, does: "Show what strangers would see of a need",
		more: "Makes the very bytes with keys that are thrown away; nothing is announced."}, n, desk.Needs.Preview)
	one(r, op{id: "get-need", path: "/needs/{id}", tag: "needs", does: "Show one need"}, n, desk.Needs.Get)
	one(r, op{id: "get-need-stranger", path: "/needs/{id}/stranger", tag: "needs", does: "Show what strangers see of a need, byte for byte"}, n, desk.Needs.Stranger)
	add(r, op{id: "update-need", verb: http.MethodPut, path: "/needs/{id}", tag: "needs", does: "Announce a need with other words or constraints",
		more: "Category and region stay as announced. Living grants get the new words."},
		shown(func(ctx context.Context, in *byIDWith[desk.NeedSpec]) (desk.Need, error) {
			return n().Update(ctx, in.ID, in.Body)
		}, n, desk.Needs.Get))
	for _, how := range []desk.NeedEnd{desk.Renew, desk.Withdraw} {
		does := map[desk.NeedEnd]string{desk.Renew: "Announce a need for another life", desk.Withdraw: "Take a need back"}[how]
		add(r, op{id: string(how) + "-need", verb: http.MethodPost, path: "/needs/{id}/" + string(how), tag: "needs", does: does},
			shown(func(ctx context.Context, in *byID) (desk.Need, error) { return n().End(ctx, in.ID, how) }, n, desk.Needs.Get))
	}
	r.vault(func() desk.Vault { return r.s.house.Customer().Vault() })
	r.files(func() desk.Files { return r.s.house.Customer().Files() })
	r.ledger(r.s.house.Ledger)
	r.records(r.s.house.Records)
}

func (r *routes) ledger(l func() desk.Ledger) {
	pages(r, op{id: "list-ledger", path: "/ledger", tag: "ledger", does: "List ledger entries",
		more: "A kind selects also what is below it: `grant` has `grant.given`. What is shredded has none of what is selected by."}, l, desk.Ledger.List)
	type numbered struct {
		Seq   int64 `path:"seq" minimum:"1" doc:"The number of the entry"`
		Since int64 `query:"since" minimum:"0" doc:"Also prove that the ledger continues the one of so many entries"`
	}
	add(r, op{id: "get-ledger-entry", verb: http.MethodGet, path: "/ledger/{seq}", tag: "ledger", does: "Show one entry and how it stands in the ledger"},
		func(ctx context.Context, in *numbered) (desk.LedgerProof, error) { return l().Get(ctx, in.Seq) })
	gives(r, op{id: "prove-ledger-entry", verb: http.MethodGet, path: "/ledger/{seq}/proof", tag: "ledger", does: "Prove one entry",
		more: "A file that `hark-audit` checks alone: the entry, its path in the Merkle tree, and the signed head."},
		func(ctx context.Context, in *numbered, w io.Writer) error { return l().Prove(ctx, in.Seq, in.Since, w) })
	add(r, op{id: "verify-ledger", verb: http.MethodGet, path: "/ledger/verify", tag: "ledger", does: "Check the whole ledger",
		more: "Recomputes the Merkle tree, the signed heads, and the heads that others countersigned."},
		func(ctx context.Context, _ *none) (desk.LedgerReport, error) { return l().Verify(ctx) })
	type export struct {
		Bodies string   `query:"bodies" maxLength:"8" doc:"Which entries say what happened: all, those that concern no grant, or none"`
		Grants []string `query:"grant" maxItems:"64" doc:"Letters and bodies of these grants alone"`
	}
	gives(r, op{id: "export-ledger", verb: http.MethodGet, path: "/ledger/export", tag: "ledger", does: "Export the ledger",
		more: "A bundle of the ledger and of what others have signed, which `hark-audit` and any other reader of the format can check without this node."},
		func(ctx context.Context, in *export, w io.Writer) error {
			return l().Export(ctx, desk.ExportSpec{Bodies: in.Bodies, Grants: in.Grants}, w)
		})
	gives(r, op{id: "get-grant-evidence", verb: http.MethodGet, path: "/grants/{id}/evidence", tag: "ledger", does: "Show what both sides have signed under one grant",
		more: "Grant, receipt, revocation, deletion, and the promises that lapsed, with the passports to check them: a file for `hark-audit`."},
		func(ctx context.Context, in *byID, w io.Writer) error { return l().Evidence(ctx, in.ID, w) })
}

// grants makes the operations on requests and grants.
func (r *routes) grants() {
	q := func() desk.Requests { return r.s.house.Customer().Requests() }
	g := func() desk.Grants { return r.s.house.Customer().Grants() }
	pages(r, op{id: "list-requests", path: "/requests", tag: "requests", does: "List requests, got or sent"}, q, desk.Requests.List)
	one(r, op{id: "get-request", path: "/requests/{id}", tag: "requests", does: "Show one request"}, q, desk.Requests.Get)
	makes(r, op{id: "ask", path: "/requests", tag: "requests", does: "Ask for access to one announced need", status: http.StatusCreated}, q, desk.Requests.Ask, desk.Requests.Get)
	r.decisions()
	r.consent(r.s.house.Consent)

	pages(r, op{id: "list-grants", path: "/grants", tag: "grants", does: "List grants, from either side"}, g, desk.Grants.List)
	one(r, op{id: "get-grant", path: "/grants/{id}", tag: "grants", does: "Show one grant"}, g, desk.Grants.Get)
	makes(r, op{id: "give-grant", path: "/grants", tag: "grants", does: "Grant a vendor of one's choice access, with no need", status: http.StatusCreated}, g, desk.Grants.Give, desk.Grants.Get)
	type revocation struct {
		IDs     []string `json:"ids,omitempty" maxItems:"500" doc:"These grants; none: all that the other fields select"`
		Context string   `json:"context,omitempty" maxLength:"128" doc:"All under this need, interest or relation"`
		Vendor  string   `json:"vendor,omitempty" maxLength:"128" doc:"All of this vendor"`
		All     bool     `json:"all,omitempty" doc:"All there are"`
		Field   string   `json:"field,omitempty" maxLength:"48" doc:"Take only this field back; a grant of nothing else ends"`
		Reason  string   `json:"reason,omitempty" maxLength:"400" doc:"Words to the vendor"`
	}
	type revoked struct {
		Items []desk.Grant `json:"items"`
	}
	create(r, op{id: "revoke-grants", path: "/grants/revoke", tag: "grants", does: "Revoke grants",
		more: "Offer keys die at once; the vendor owes a signed deletion by the deadline. What it has read, it has read."},
		g, func(g desk.Grants, ctx context.Context, in revocation) (revoked, error) {
			if len(in.IDs) == 0 && in.Context == "" && in.Vendor == "" && in.Field == "" && !in.All {
				return revoked{}, fmt.Errorf("revoke which grants: name ids, a context, a vendor, a field, or all: %w", fault.Malformed)
			}
			items, err := g.Revoke(ctx, in.IDs, desk.Query{Context: in.Context, Vendor: in.Vendor, Field: in.Field, All: in.All}, in.Reason)
			return revoked{full(items)}, err
		})
	for name, resume := range map[string]bool{"suspend": false, "resume": true} {
		does := map[bool]string{false: "Suspend a grant: nothing further is disclosed", true: "Resume a suspended grant"}[resume]
		add(r, op{id: name + "-grant", verb: http.MethodPost, path: "/grants/{id}/" + name, tag: "grants", does: does},
			shown(func(ctx context.Context, in *noted) (desk.Grant, error) {
				return g().Pause(ctx, in.ID, resume, in.text())
			}, g, desk.Grants.Get))
	}
	add(r, op{id: "exercise-right", verb: http.MethodPost, path: "/grants/{id}/rights", tag: "grants", does: "Exercise a right under a grant",
		more: "access, correction, deletion or objection; the vendor owes an answer by the deadline, long after the need is closed."},
		shown(func(ctx context.Context, in *byIDWith[desk.RightSpec]) (desk.Grant, error) {
			return g().Right(ctx, in.ID, in.Body)
		}, g, desk.Grants.Get))
	type answers struct {
		ID     string `path:"id" maxLength:"128" doc:"The grant's id"`
		Reveal bool   `query:"reveal" doc:"With the values"`
	}
	type rights struct {
		Items []desk.RightView `json:"items"`
	}
	add(r, op{id: "list-rights", verb: http.MethodGet, path: "/grants/{id}/rights", tag: "grants", does: "List the rights exercised under a grant, with their answers",
		more: "What the vendor says that it holds is masked unless `reveal` is given."},
		func(ctx context.Context, in *answers) (rights, error) {
			items, err := g().Rights(ctx, in.ID, in.Reveal)
			return rights{full(items)}, err
		})
	add(r, op{id: "settle-grant", verb: http.MethodPost, path: "/grants/{id}/settle", tag: "grants", does: "Say that what is owed under a grant was paid",
		more: "It was paid outside of this node; the note says how. What the vendor owes is less from then on."},
		shown(func(ctx context.Context, in *noted) (desk.Grant, error) { return g().Settle(ctx, in.ID, in.text()) }, g, desk.Grants.Get))
}

// deals makes the operations on offers and deals.
func (r *routes) deals() {
	o := func() desk.Offers { return r.s.house.Customer().Offers() }
	d := func() desk.Deals { return r.s.house.Customer().Deals() }
	pages(r, op{id: "list-offers", path: "/offers", tag: "offers", does: "List offers, best first",
		more: "Offers that miss the need's constraints are shown with `all` only."}, o, desk.Offers.List)
	one(r, op{id: "get-offer", path: "/offers/{id}", tag: "offers", does: "Show one offer"}, o, desk.Offers.Get)
	makes(r, op{id: "make-offer", path: "/offers", tag: "offers", does: "Make an offer under a grant, by hand", status: http.StatusCreated}, o, desk.Offers.Make, desk.Offers.Get)
	add(r, op{id: "accept-offer", verb: http.MethodPost, path: "/offers/{id}/accept", tag: "offers", does: "Accept an offer"},
		shown(func(ctx context.Context, in *noted) (desk.Deal, error) { return o().Accept(ctx, in.ID, in.text()) }, d, desk.Deals.Get))
	add(r, op{id: "decline-offer", verb: http.MethodPost, path: "/offers/{id}/decline", tag: "offers", does: "Decline an offer"},
		shown(func(ctx context.Context, in *noted) (desk.Deal, error) { return o().Decline(ctx, in.ID, in.text()) }, d, desk.Deals.Get))
	pages(r, op{id: "list-deals", path: "/deals", tag: "deals", does: "List deals, from either side"}, d, desk.Deals.List)
	one(r, op{id: "get-deal", path: "/deals/{id}", tag: "deals", does: "Show one deal"}, d, desk.Deals.Get)
	for _, step := range []string{"confirm", "fulfil", "close", "cancel"} {
		does := map[string]string{"confirm": "Confirm an accepted offer (vendor)", "fulfil": "Report a deal fulfilled (vendor)",
			"close": "Close a fulfilled deal (customer)", "cancel": "Cancel a deal"}[step]
		add(r, op{id: step + "-deal", verb: http.MethodPost, path: "/deals/{id}/" + step, tag: "deals", does: does},
			shown(func(ctx context.Context, in *noted) (desk.Deal, error) { return d().Step(ctx, in.ID, step, in.text()) }, d, desk.Deals.Get))
	}
}
