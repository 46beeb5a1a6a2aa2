package api

import (
	"bytes"
	"context"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/harkmarket/hark/node/desk"
)

// vendor makes the operations of a vendor.
func (r *routes) vendor() {
	v := r.s.house.Vendor
	r.catalog(func() desk.Catalog { return v().Catalog() })
	r.passports(func() desk.Passports { return v().Passports() })
	rules := func() desk.Rules { return v().Rules() }
	held := func() desk.Held { return v().Held() }
	board := func() desk.Board { return v().Board() }
	add(r, op{id: "get-rules", verb: http.MethodGet, path: "/rules", tag: "vendor", does: "Show what this vendor listens for and does by itself"},
		func(ctx context.Context, _ *none) (desk.Follow, error) { return rules().Get(ctx) })
	add(r, op{id: "set-rules", verb: http.MethodPut, path: "/rules", tag: "vendor", does: "Replace this vendor's rules"},
		seen(func(ctx context.Context, in *with[desk.Follow]) (desk.Follow, error) {
			return rules().Set(ctx, in.Body)
		},
			func(ctx context.Context, _ *with[desk.Follow], _ string) (desk.Follow, error) {
				return rules().Get(ctx)
			}))

	pages(r, op{id: "list-held", path: "/held", tag: "vendor", does: "List what is held of customers, per grant"}, held, desk.Held.List)
	type holding struct {
		ID    string `path:"id" maxLength:"160" doc:"The grant"`
		Field string `path:"field" maxLength:"160" doc:"The field's name"`
	}
	gives(r, op{id: "download-held", verb: http.MethodGet, path: "/held/{id}/fields/{field}", tag: "vendor", does: "Get the bytes of one value that is held",
		more: "A large value is there once all of it has come; `large` of list-held says so."},
		func(ctx context.Context, in *holding, w io.Writer) error {
			return held().Download(ctx, in.ID, in.Field, w)
		})
	act(r, op{id: "delete-held", verb: http.MethodDelete, path: "/held/{id}", tag: "vendor", does: "Delete what is held under a grant",
		more: "Its keys are shredded."},
		func(ctx context.Context, in *byID) error { return held().Delete(ctx, in.ID) })

	type heard struct {
		Notice   desk.Notice   `json:"notice"`
		Stranger desk.Stranger `json:"stranger"`
	}
	pages(r, op{id: "list-board", path: "/board", tag: "vendor", does: "List announcements heard",
		more: "`text` names sectors, with spaces between them; `all` also shows what is withdrawn."}, board, desk.Board.List)
	one(r, op{id: "get-notice", path: "/board/{id}", tag: "vendor", does: "Show one announcement and its bytes"},
		board, func(board desk.Board, ctx context.Context, id string) (heard, error) {
			n, s, err := board.Get(ctx, id)
			return heard{n, s}, err
		})
}

func (r *routes) catalog(c func() desk.Catalog) {
	type importing struct {
		Currency string `query:"currency" maxLength:"3" doc:"ISO 4217 code where the file is silent"`
		DryRun   bool   `query:"dry_run" doc:"Only report"`
		Replace  bool   `query:"replace" doc:"Remove products that the file lacks"`
		RawBody  []byte `contentType:"text/csv"`
	}
	imports := r.operation(op{id: "import-catalog", verb: http.MethodPost, path: "/catalog/import", tag: "vendor", large: maxFile, does: "Import a catalogue file",
		more: "CSV with a header; comma, tab, semicolon, `|` or `#` between columns; columns id, title or name, price, description and, where they are there, " +
			"category, currency, region, condition. At most 32 MiB. All of it or nothing is applied."})
	imports.MaxBodyBytes, imports.BodyReadTimeout = maxFile, fileTimeout
	huma.Register(r.api, imports, func(ctx context.Context, in *importing) (*reply[desk.ImportReport], error) {
		rep, err := c().Import(ctx, bytes.NewReader(in.RawBody), desk.ImportSpec{Currency: in.Currency, DryRun: in.DryRun, Replace: in.Replace})
		if err != nil {
			return nil, r.failed(ctx, op{id: "import-catalog"}, err)
		}
		return &reply[desk.ImportReport]{rep}, nil
	})
	pages(r, op{id: "list-catalog", path: "/catalog", tag: "vendor", does: "List products"}, c, desk.Catalog.List)
	type searching struct {
		Text  string `query:"text" required:"true" maxLength:"1000" doc:"Words to look for"`
		Limit int    `query:"limit" minimum:"1" maximum:"50" default:"20" doc:"At most so many products"`
	}
	type found struct {
		Items []desk.Product `json:"items"`
	}
	add(r, op{id: "search-catalog", verb: http.MethodGet, path: "/catalog/search", tag: "vendor", does: "Find products by words, best first"},
		func(ctx context.Context, in *searching) (found, error) {
			items, err := c().Search(ctx, in.Text, in.Limit)
			return found{full(items)}, err
		})
}

func (r *routes) passports(p func() desk.Passports) {
	type chain struct {
		Chain []string `json:"chain" minItems:"1" maxItems:"16" doc:"The passports' envelopes in hexadecimal, first to last"`
	}
	add(r, op{id: "get-passport", verb: http.MethodGet, path: "/passport", tag: "vendor", does: "Show this vendor's passport"},
		func(ctx context.Context, _ *none) (desk.Passport, error) { return p().Own(ctx) })
	add(r, op{id: "issue-passport", verb: http.MethodPost, path: "/passport", tag: "vendor", does: "Issue this vendor's passport, or rotate its keys"},
		seen(func(ctx context.Context, in *with[desk.PassportSpec]) (desk.Passport, error) {
			return p().Issue(ctx, in.Body)
		},
			func(ctx context.Context, _ *with[desk.PassportSpec], _ string) (desk.Passport, error) {
				own, err := p().Own(ctx)
				if err != nil {
					return own, err
				}
				return p().Import(ctx, own.Chain) // the crash may have come before it was shown to others
			}))
	one(r, op{id: "get-vendor-passport", path: "/passports/{id}", tag: "vendor", does: "Show a vendor's passport"}, p, desk.Passports.Get)
	create(r, op{id: "import-passport", path: "/passports", tag: "vendor", free: true, does: "Keep a vendor's passports",
		more: "The chain is checked from its first passport on."},
		p, func(p desk.Passports, ctx context.Context, in chain) (desk.Passport, error) {
			return p.Import(ctx, in.Chain)
		})
}
