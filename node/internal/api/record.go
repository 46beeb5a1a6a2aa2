package api

import (
	"context"
	"net/http"

	"github.com/harkmarket/hark/node/desk"
)

// records makes the operations on what both sides of a grant can show to others.
func (r *routes) records(d func() desk.Records) {
	type export struct {
		As      string `query:"as" default:"27560" maxLength:"16" doc:"27560, receipt, odrl, ts10 or csv"`
		ID      string `query:"id" maxLength:"128" doc:"This grant alone: its id, or a unique prefix of it"`
		Context string `query:"context" maxLength:"128" doc:"Only of this need, interest or relation"`
		Vendor  string `query:"vendor" maxLength:"128" doc:"Only of this vendor"`
		State   string `query:"state" maxLength:"64" doc:"Only in this state"`
		Limit   int    `query:"limit" minimum:"1" maximum:"500" default:"500" doc:"At most so many grants"`
		After   string `query:"after" maxLength:"256" doc:"The next of the file before"`
	}
	add(r, op{id: "export-records", verb: http.MethodGet, path: "/records", tag: "grants", does: "Export grants for others to read",
		more: "As consent records or receipts after ISO/IEC TS 27560, ODRL 2.2 agreements, a log after EUDI TS10, or CSV; from either side. Names of fields, never values."},
		func(ctx context.Context, in *export) (desk.RecordFile, error) {
			return d().Export(ctx, desk.RecordSpec(*in))
		})
	takes(r, op{id: "check-records", verb: http.MethodPost, path: "/records/check", tag: "grants", free: true, does: "Compare an exported file with the grants held here",
		more: "At most 8 MiB. Nothing changes. A file that is not exactly what an export writes is refused with 422."},
		func(ctx context.Context, in *streamed) (desk.RecordCheck, error) {
			rep, err := d().Check(ctx, in.src)
			rep.Items = full(rep.Items)
			return rep, err
		})
}
