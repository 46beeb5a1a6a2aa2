package desks

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/vault"
	"github.com/harkmarket/hark/store/vault/card"
	"github.com/harkmarket/hark/store/vault/dump"
)

// Files implements desk.Files.
type Files struct{ *Office }

// Upload implements desk.Files.
func (d Files) Upload(ctx context.Context, name, media string, spec desk.FieldSpec, src io.Reader) (v desk.Field, err error) {
	spec.Value = nil
	c, err := change(spec)
	if err != nil {
		return v, err
	}
	f, _, err := d.upload(ctx, protocol.FieldName(name), media, c, src)
	d.Market.Wake()
	if err != nil {
		return v, err
	}
	return d.field(f, true), d.sweep(ctx)
}

func (d Files) upload(ctx context.Context, name protocol.FieldName, media string, c vault.Change, src io.Reader) (vault.Field, vault.What, error) {
	nowMS := d.Now().UnixMilli()
	return d.Stores.Vault.Upload(ctx, d.Stores.KV, name, media, c, src, nowMS, func(tx kv.Tx, f vault.Field, what vault.What) error {
		return d.noteField(tx, f, what, nowMS)
	})
}

// Download implements desk.Files.
func (d Files) Download(ctx context.Context, name string, version uint64, w io.Writer) error {
	err := d.Stores.Vault.Download(ctx, d.Stores.KV, protocol.FieldName(name), version, w)
	if version == 0 {
		err = d.missing(err, name)
	}
	return err
}

// Export implements desk.Files. It reads field by field, so that no transaction is
// open while w is written to.
func (d Files) Export(ctx context.Context, w io.Writer) error {
	var all []vault.Field
	err := d.view(ctx, func(r kv.Reader) (err error) {
		all, err = d.Stores.Vault.List(r)
		return err
	})
	if err != nil {
		return err
	}
	out := dump.NewWriter(w, d.Now())
	type large struct {
		name    protocol.FieldName
		version uint64
	}
	var later []large
	for _, f := range all {
		var versions []vault.Field
		err := d.view(ctx, func(r kv.Reader) (err error) {
			versions, err = d.Stores.Vault.History(r, f.Name, true)
			return err
		})
		if errors.Is(err, fault.NotFound) {
			continue // removed meanwhile
		}
		if err == nil {
			err = out.Field(d.dumped(versions))
		}
		if err != nil {
			return err
		}
		for _, v := range versions {
			if v.Blob != nil {
				later = append(later, large{v.Name, v.Version})
			}
		}
	}
	for _, l := range later {
		if err := d.Stores.Vault.Download(ctx, d.Stores.KV, l.name, l.version, out.Blob(string(l.name), l.version)); err != nil {
			return fmt.Errorf("vault export: %w", err)
		}
	}
	return out.Close()
}

// dumped is a field with its history as an export has it.
func (o *Office) dumped(versions []vault.Field) dump.Field {
	v := o.field(versions[0], false)
	f := dump.Field{Name: v.Name, Title: v.Title, Category: v.Category, Version: dumpedVersion(v), ReviewBy: v.ReviewBy, Class: v.Class, Rule: v.Rule}
	if v.MinPrice != nil {
		f.MinPrice = &dump.Money{Minor: v.MinPrice.Minor, Currency: v.MinPrice.Currency}
	}
	for _, old := range versions[1:] {
		f.History = append(f.History, dumpedVersion(o.field(old, false)))
	}
	return f
}

func dumpedVersion(v desk.Field) dump.Version {
	d := dump.Version{Value: v.Value, Version: v.Version, Changed: v.Changed, Checked: v.Checked, Source: v.Source}
	if v.Blob != nil {
		d.Blob = &dump.Blob{Bytes: v.Blob.Bytes, SHA256: v.Blob.SHA256, Media: v.Blob.Media}
	}
	return d
}

// Import implements desk.Files.
func (d Files) Import(ctx context.Context, src io.Reader, spec desk.VaultImport) (desk.VaultReport, error) {
	im := importer{Files: d, rep: desk.VaultReport{Format: spec.Format, DryRun: spec.DryRun, Items: []desk.VaultChange{}}}
	var err error
	switch spec.Format {
	case "json":
		err = im.json(ctx, src)
	case "vcard":
		err = im.card(ctx, src)
	default:
		return im.rep, fmt.Errorf("import format %.20q is none of json, vcard: %w", spec.Format, fault.Malformed)
	}
	if n := im.rep.Added + im.rep.Changed; err != nil && n > 0 && !spec.DryRun {
		err = fmt.Errorf("%d fields were imported before this: %w", n, err)
	}
	return im.rep, errors.Join(err, d.sweep(ctx))
}

// importBatch is how many fields one transaction takes: with 4 KiB each and their
// ledger entries, far below what one may hold.
const importBatch = 32

// An importer applies a file to the vault, some fields in each transaction.
type importer struct {
	Files
	rep   desk.VaultReport
	batch []incoming
	large map[string]incoming // fields whose value stands in chunks
}

// An incoming is a field of a file.
type incoming struct {
	name   protocol.FieldName
	change vault.Change
	from   string
	blob   dump.Blob
	at     uint64 // the version that the chunks name
}

func (im *importer) card(ctx context.Context, src io.Reader) error {
	values, ignored, err := card.Read(src)
	if err != nil {
		return err
	}
	im.rep.Ignored = ignored
	for _, v := range values {
		if err := im.add(ctx, incoming{name: v.Field, change: vault.Change{Value: &v.Text}, from: v.From}); err != nil {
			return err
		}
	}
	return im.flush(ctx)
}

func (im *importer) json(ctx context.Context, src io.Reader) error {
	r, err := dump.NewReader(src)
	if err != nil {
		return err
	}
	im.large = map[string]incoming{}
	for {
		f, err := r.Field()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := im.field(ctx, f); err != nil {
			return fmt.Errorf("field %.48q: %w", f.Name, err)
		}
	}
	if err := im.flush(ctx); err != nil {
		return err
	}
	return im.blobs(ctx, r)
}

// field queues a field, or, where its value comes later, remembers it.
func (im *importer) field(ctx context.Context, f dump.Field) error {
	spec := desk.FieldSpec{Source: f.Source, Class: f.Class, Rule: f.Rule, ReviewBy: &f.ReviewBy, MinPrice: &desk.Money{}}
	if f.MinPrice != nil {
		spec.MinPrice = &desk.Money{Minor: f.MinPrice.Minor, Currency: f.MinPrice.Currency}
	}
	c, err := change(spec)
	if err != nil {
		return err
	}
	if !f.Checked.IsZero() {
		c.CheckedMS = f.Checked.UnixMilli()
	}
	if len(f.History) > 0 {
		im.rep.Ignored = append(im.rep.Ignored, fmt.Sprintf("%.48s: %d earlier versions; the vault keeps those that it had itself", f.Name, len(f.History)))
	}
	in := incoming{name: protocol.FieldName(f.Name), change: c}
	if f.Blob == nil {
		in.change.Value = &f.Value
		return im.add(ctx, in)
	}
	if _, twice := im.large[f.Name]; twice || len(im.large) >= vault.MaxFields {
		return fmt.Errorf("it stands in the file twice, or too many do: %w", fault.Malformed)
	}
	in.blob, in.at = *f.Blob, f.Version.Version
	im.large[f.Name] = in
	return nil
}

func (im *importer) add(ctx context.Context, in incoming) error {
	im.batch = append(im.batch, in)
	if len(im.batch) < importBatch {
		return nil
	}
	return im.flush(ctx)
}

// errDryRun ends a transaction that is not to be kept.
var errDryRun = errors.New("a dry run")

// flush applies the queue; in a dry run it does all the same and keeps nothing.
func (im *importer) flush(ctx context.Context) error {
	nowMS := im.Now().UnixMilli()
	var done []vault.What
	var isNew []bool
	err := im.Stores.KV.Update(ctx, func(tx kv.Tx) error {
		done, isNew = nil, nil // it may run again
		for _, in := range im.batch {
			_, err := im.Stores.Vault.About(tx, in.name)
			isNew = append(isNew, errors.Is(err, fault.NotFound))
			f, what, err := im.Stores.Vault.Put(tx, in.name, in.change, nowMS)
			if err != nil {
				return err
			}
			if err := im.noteField(tx, f, what, nowMS); err != nil {
				return err
			}
			done = append(done, what)
		}
		if im.rep.DryRun {
			return errDryRun
		}
		return nil
	})
	if err != nil && !errors.Is(err, errDryRun) {
		return err
	}
	im.Market.Wake()
	for i, in := range im.batch {
		im.report(in, isNew[i], done[i])
	}
	im.batch = im.batch[:0]
	return nil
}

func (im *importer) report(in incoming, isNew bool, what vault.What) {
	c := desk.VaultChange{Field: string(in.name), What: "changed", From: in.from}
	switch {
	case what == vault.Nothing:
		im.rep.Same++
		return
	case isNew:
		c.What = "added"
		im.rep.Added++
	default:
		im.rep.Changed++
	}
	im.rep.Items = append(im.rep.Items, c)
}

// blobs takes the large values. Those of earlier versions are passed over.
func (im *importer) blobs(ctx context.Context, r *dump.Reader) error {
	for {
		name, version, data, err := r.Blob()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		in, ok := im.large[name]
		if !ok || version != in.at {
			if _, err := io.Copy(io.Discard, data); err != nil {
				return err
			}
			continue
		}
		delete(im.large, name)
		if err := im.blob(ctx, in, &summed{src: data, want: in.blob, sum: sha256.New()}); err != nil {
			return fmt.Errorf("field %.48q: %w", name, err)
		}
	}
	if len(im.large) > 0 {
		return fmt.Errorf("field %.48q: its value is missing in the file: %w", slices.Sorted(maps.Keys(im.large))[0], fault.Malformed)
	}
	return nil
}

func (im *importer) blob(ctx context.Context, in incoming, src *summed) error {
	var had vault.Field
	err := im.view(ctx, func(r kv.Reader) (err error) {
		had, err = im.Stores.Vault.About(r, in.name)
		return err
	})
	isNew := errors.Is(err, fault.NotFound)
	if err != nil && !isNew {
		return err
	}
	what := vault.Value
	if im.rep.DryRun {
		if _, err := io.Copy(io.Discard, src); err != nil {
			return err
		}
		if had.Blob != nil && hexOf(had.Blob.Sum) == in.blob.SHA256 && had.Blob.Media == in.blob.Media {
			what, err = im.about(ctx, in) // the value is there: what is said of it may differ
		}
		if err != nil && !isNew {
			return err
		}
	} else if _, what, err = im.upload(ctx, in.name, in.blob.Media, in.change, src); err != nil {
		return err
	}
	im.report(in, isNew, what)
	return nil
}

// about tells what a change to a field that is there would do, and does not do it.
func (im *importer) about(ctx context.Context, in incoming) (what vault.What, err error) {
	err = im.Stores.KV.Update(ctx, func(tx kv.Tx) (err error) {
		if _, what, err = im.Stores.Vault.Put(tx, in.name, in.change, im.Now().UnixMilli()); err != nil {
			return err
		}
		return errDryRun
	})
	if errors.Is(err, errDryRun) {
		err = nil
	}
	return what, err
}

// summed reads a value and fails at its end where it is not the one that was named.
type summed struct {
	src  io.Reader
	want dump.Blob
	sum  hash.Hash
	size int64
}

// Read implements io.Reader.
func (s *summed) Read(p []byte) (int, error) {
	n, err := s.src.Read(p)
	s.sum.Write(p[:n])
	s.size += int64(n)
	switch {
	case s.size > vault.MaxBlob:
		return 0, fmt.Errorf("a value of more than %d bytes: %w", vault.MaxBlob, fault.Malformed)
	case errors.Is(err, io.EOF) && (s.size != s.want.Bytes || hex.EncodeToString(s.sum.Sum(nil)) != s.want.SHA256):
		return 0, fmt.Errorf("its bytes are not those that the file names by size and SHA-256: %w", fault.Malformed)
	}
	return n, err
}
