package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol/fault"
)

// mask stands for a value that was not asked for by name.
const mask = "••••••"

func (r *routes) vault(v func() desk.Vault) {
	type fields struct {
		Items []desk.Field `json:"items"`
	}
	type byName struct {
		Name string `path:"name" maxLength:"160" doc:"The field's name"`
	}
	type put struct {
		Name string `path:"name" maxLength:"160" doc:"The field's name"`
		Body desk.FieldSpec
	}
	type past struct {
		Name   string `path:"name" maxLength:"160" doc:"The field's name"`
		Reveal bool   `query:"reveal" doc:"With the values"`
	}
	type several struct {
		Body struct {
			Names []string `json:"names" minItems:"1" maxItems:"256" doc:"The fields' names"`
		}
	}
	type version struct {
		Name    string `path:"name" maxLength:"160" doc:"The field's name"`
		Version uint64 `query:"version" doc:"Only this earlier version of the value"`
	}
	add(r, op{id: "list-vault", verb: http.MethodGet, path: "/vault", tag: "vault", does: "List the vault's fields, values masked"},
		func(ctx context.Context, _ *none) (fields, error) {
			items, err := v().List(ctx)
			return fields{full(masked(items))}, err
		})
	add(r, op{id: "get-vault-field", verb: http.MethodGet, path: "/vault/{name}", tag: "vault", does: "Reveal one field",
		more: "Asking by name is what reveals a value."},
		func(ctx context.Context, in *byName) (desk.Field, error) { return v().Get(ctx, in.Name) })
	add(r, op{id: "get-vault-history", verb: http.MethodGet, path: "/vault/{name}/history", tag: "vault", does: "Show the kept versions of one field",
		more: "The present one first; values are masked unless `reveal` is given."},
		func(ctx context.Context, in *past) (fields, error) {
			items, err := v().History(ctx, in.Name, in.Reveal)
			if !in.Reveal {
				items = masked(items)
			}
			return fields{full(items)}, err
		})
	add(r, op{id: "set-vault-field", verb: http.MethodPut, path: "/vault/{name}", tag: "vault", does: "Set one field, or what is known about it",
		more: "What is not given stays; a new field needs a value. Living grants that cover it get the new value. The answer is masked."},
		func(ctx context.Context, in *put) (desk.Field, error) {
			f, err := v().Set(ctx, in.Name, in.Body)
			return masked([]desk.Field{f})[0], err
		})
	act(r, op{id: "remove-vault-field", resumes: true, verb: http.MethodDelete, path: "/vault/{name}", tag: "vault", does: "Erase one field, or one earlier version of it",
		more: "Its key is shredded, and its bytes are off the disk when the answer comes."},
		func(ctx context.Context, in *version) error { return v().Remove(ctx, in.Name, in.Version) })
	act(r, op{id: "erase-vault-fields", resumes: true, verb: http.MethodPost, path: "/vault/erase", tag: "vault", does: "Erase several fields: all or none",
		more: "Their keys are shredded together, and their bytes are off the disk when the answer comes. Where one of them is not there, none is erased."},
		func(ctx context.Context, in *several) error { return v().Erase(ctx, in.Body.Names) })
}

// masked hides values, whatever the desk did.
func masked(items []desk.Field) []desk.Field {
	for i := range items {
		items[i].Value, items[i].Masked = mask, true
	}
	return items
}

// files makes the operations on large values and on the vault as a whole.
func (r *routes) files(f func() desk.Files) {
	type upload struct {
		streamed
		Name     string    `path:"name" maxLength:"160" doc:"The field's name"`
		Media    string    `query:"media" maxLength:"100" doc:"Its media type, as image/png"`
		Source   string    `query:"source" maxLength:"16" doc:"self-stated, verified or inferred"`
		ReviewBy time.Time `query:"review_by" doc:"When to look at it again"`
		Class    string    `query:"class" maxLength:"16" doc:"ordinary, special or child"`
		Minor    int64     `query:"min_minor" minimum:"-1" default:"-1" doc:"The least to give it for, in minor units"`
		Currency string    `query:"min_currency" maxLength:"8" doc:"ISO 4217 code of min_minor"`
		Rule     string    `query:"rule" maxLength:"256" doc:"ask, never, or always: and purposes"`
	}
	type version struct {
		Name    string `path:"name" maxLength:"160" doc:"The field's name"`
		Version uint64 `query:"version" doc:"A kept version; the present one where it is missing"`
	}
	type importing struct {
		streamed
		Format string `query:"format" required:"true" enum:"json,vcard" doc:"What the file is"`
		DryRun bool   `query:"dry_run" doc:"Only report"`
	}
	takes(r, op{id: "upload-vault-field", verb: http.MethodPut, path: "/vault/{name}/file", tag: "vault", large: maxFile, does: "Make a file the value of one field",
		more: "At most 16 MiB. It is sealed piece by piece as it arrives, and counts once it has arrived whole. The answer is masked."},
		func(ctx context.Context, in *upload) (desk.Field, error) {
			spec := desk.FieldSpec{Source: in.Source, Class: in.Class, Rule: in.Rule}
			if !in.ReviewBy.IsZero() {
				spec.ReviewBy = &in.ReviewBy
			}
			if in.Minor >= 0 {
				spec.MinPrice = &desk.Money{Minor: in.Minor, Currency: in.Currency}
			}
			v, err := f().Upload(ctx, in.Name, in.Media, spec, in.src)
			return masked([]desk.Field{v})[0], err
		})
	gives(r, op{id: "download-vault-field", verb: http.MethodGet, path: "/vault/{name}/file", tag: "vault", does: "Get the bytes of one field's value"},
		func(ctx context.Context, in *version, w io.Writer) error {
			return f().Download(ctx, in.Name, in.Version, w)
		})
	takes(r, op{id: "import-vault", verb: http.MethodPost, path: "/vault/import", tag: "vault", large: maxVault, does: "Import a vCard or an exported vault",
		more: "A vCard (3.0 or 4.0) of one person, at most 4 MiB, or JSON as export-vault gives it. With `dry_run` nothing changes. The answer holds no value."},
		func(ctx context.Context, in *importing) (desk.VaultReport, error) {
			src := &capped{src: in.src, left: maxVault}
			rep, err := f().Import(ctx, src, desk.VaultImport{Format: in.Format, DryRun: in.DryRun})
			rep.Items = full(rep.Items)
			return rep, err
		})
	gives(r, op{id: "export-vault", verb: http.MethodGet, path: "/vault/export", tag: "vault", does: "Export the whole vault as JSON, values revealed",
		more: "With earlier versions and large values. An export that breaks off is no JSON document."},
		func(ctx context.Context, _ *none, w io.Writer) error { return f().Export(ctx, w) })
}

// maxVault bounds an exported vault that is imported: all large values in base64, and
// room for the rest.
const maxVault = 2 << 30

// capped gives an error, not an end, after so many bytes.
type capped struct {
	src  io.Reader
	left int64
}

// Read implements io.Reader.
func (c *capped) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, fmt.Errorf("the file is larger than %d MiB: %w", maxVault>>20, fault.Malformed)
	}
	n, err := c.src.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}
