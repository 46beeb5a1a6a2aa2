package desks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/terms"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/vault"
)

// Vault implements desk.Vault.
type Vault struct{ *Office }

// Set implements desk.Vault. A value that is there already is no change: a call that
// was cut off and repeated is noted once. One that was kept before it was cut off sets
// nothing, and lets go of what it replaced.
func (d Vault) Set(ctx context.Context, name string, spec desk.FieldSpec) (v desk.Field, err error) {
	c, err := change(spec)
	if err != nil {
		return v, err
	}
	if d.Market.Since(ctx) > 0 {
		err = d.view(ctx, func(r kv.Reader) error {
			f, err := d.Stores.Vault.About(r, protocol.FieldName(name))
			v = d.field(f, true)
			return d.missing(err, name)
		})
		return v, errors.Join(err, d.sweep(ctx))
	}
	err = d.Stores.KV.Update(ctx, func(tx kv.Tx) error {
		nowMS := d.Now().UnixMilli()
		f, what, err := d.Stores.Vault.Put(tx, protocol.FieldName(name), c, nowMS)
		if err != nil {
			return d.missing(err, name)
		}
		v = d.field(f, true)
		return errors.Join(d.noteField(tx, f, what, nowMS), d.Market.Done(ctx, tx, "", nowMS))
	})
	d.Market.Wake()
	return v, errors.Join(err, d.sweep(ctx))
}

// change reads what is to be different about a field.
func change(s desk.FieldSpec) (c vault.Change, err error) {
	c.Value = s.Value
	if c.Source, err = vault.ParseSource(s.Source); err != nil {
		return c, err
	}
	if s.ReviewBy != nil {
		ms := int64(0)
		if !s.ReviewBy.IsZero() {
			ms = s.ReviewBy.UnixMilli()
		}
		c.ReviewMS = &ms
	}
	if s.MinPrice != nil {
		c.Min = &protocol.Money{}
		if s.MinPrice.Minor != 0 {
			*c.Min = protocol.Money{Minor: s.MinPrice.Minor, Currency: protocol.Currency(s.MinPrice.Currency)}
		}
	}
	if s.Rule != "" {
		r, err := terms.ParseFieldRule(s.Rule)
		if err != nil {
			return c, err
		}
		c.Rule = &r
	}
	c.Class, err = class(s.Class)
	return c, err
}

func class(text string) (protocol.Sensitivity, error) {
	for c := protocol.Ordinary; c <= protocol.Child; c++ {
		if c.String() == text {
			return c, nil
		}
	}
	if text == "" {
		return 0, nil
	}
	return 0, fmt.Errorf("class %.40q is none of ordinary, special, child: %w", text, fault.Malformed)
}

// noteField writes a change to a field into the ledger; never the value.
func (o *Office) noteField(tx kv.Tx, f vault.Field, what vault.What, nowMS int64) error {
	kind := map[vault.What]string{vault.About: "vault.about", vault.Value: "vault.set"}[what]
	if kind == "" {
		return nil
	}
	return o.note(tx, kind, nowMS, map[string]string{"field": string(f.Name), "version": strconv.FormatUint(f.Version, 10)})
}

func (o *Office) note(tx kv.Tx, kind string, nowMS int64, body map[string]string) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if _, err = o.Stores.Ledger.Append(tx, kind, nowMS, raw); err != nil {
		return err
	}
	return records.Touch(tx, nowMS) // living grants may have to hear of it
}

// sweepAt is how many values that gave way to newer ones may wait on the disk, without
// their keys, until they are taken off it together.
const sweepAt = 64

func (o *Office) sweep(ctx context.Context) error {
	var n int
	err := o.view(ctx, func(r kv.Reader) (err error) {
		n, err = o.Stores.Vault.Waiting(r)
		return err
	})
	if err != nil || n < sweepAt {
		return err
	}
	return o.Stores.Vault.Purge(context.WithoutCancel(ctx), o.Stores.KV)
}

// mask stands in the place of a value that was not asked for.
const mask = "••••••"

// field makes the view of a vault field, masked or not.
func (o *Office) field(f vault.Field, masked bool) desk.Field {
	v := desk.Field{
		Name: string(f.Name), Value: f.Value, Version: f.Version, Changed: momentMS(f.ChangedMS), Checked: momentMS(f.CheckedMS),
		ReviewBy: momentMS(f.ReviewMS), Overdue: f.ReviewMS > 0 && f.ReviewMS <= o.Now().UnixMilli(),
		Source: f.Source.String(), Class: f.Class.String(), Rule: f.Rule.String(),
	}
	if info, ok := f.Name.Info(); ok {
		v.Title, v.Category = info.Title, info.DPV
	} else {
		v.Notice = unknownName(f)
	}
	if f.Min.Minor > 0 {
		v.MinPrice = &desk.Money{Minor: f.Min.Minor, Currency: string(f.Min.Currency), Text: f.Min.String()}
	}
	if b := f.Blob; b != nil {
		v.Blob = &desk.Blob{Bytes: b.Size, SHA256: hexOf(b.Sum), Media: b.Media}
	}
	if masked {
		v.Value, v.Masked = mask, true
	}
	return v
}

// unknownName says what becomes of a field whose name the vocabulary does not have.
func unknownName(f vault.Field) string {
	return fmt.Sprintf("unknown name%s; vendors cannot ask for it, and it is taken as %s", didYouMean(f.Name), f.Class)
}

func didYouMean(name protocol.FieldName) string {
	near := protocol.NearFields(name, 3)
	if len(near) == 0 {
		return ", of those that hark vault fields lists"
	}
	return "; did you mean " + strings.Join(near, " or ") + "?"
}

// Get implements desk.Vault.
func (d Vault) Get(ctx context.Context, name string) (v desk.Field, err error) {
	err = d.view(ctx, func(r kv.Reader) error {
		f, err := d.Stores.Vault.Get(r, protocol.FieldName(name))
		if err != nil {
			return d.missing(err, name)
		}
		v = d.field(f, false)
		return nil
	})
	return v, err
}

// History implements desk.Vault.
func (d Vault) History(ctx context.Context, name string, reveal bool) (out []desk.Field, err error) {
	err = d.view(ctx, func(r kv.Reader) error {
		list, err := d.Stores.Vault.History(r, protocol.FieldName(name), reveal)
		if err != nil {
			return d.missing(err, name)
		}
		for _, f := range list {
			out = append(out, d.field(f, !reveal))
		}
		return nil
	})
	return out, err
}

// missing names fields of the vocabulary near the one that is not there.
func (o *Office) missing(err error, name string) error {
	if !errors.Is(err, fault.NotFound) {
		return err
	}
	if _, ok := protocol.FieldName(name).Info(); ok {
		return fmt.Errorf("field %q is not in the vault; set it with hark vault set %s: %w", name, name, fault.NotFound)
	}
	var group, all []string
	first, _, _ := strings.Cut(name, ".")
	for _, f := range protocol.Fields() {
		if all = append(all, string(f.Name)); strings.HasPrefix(string(f.Name), first+".") {
			group = append(group, string(f.Name))
		}
	}
	near := protocol.Near(name, all, 3)
	if len(near) == 0 {
		near = group
	}
	return fmt.Errorf("field %.64q is not in the vault%s: %w", name, protocol.NearBy(near), fault.NotFound)
}

// List implements desk.Vault.
func (d Vault) List(ctx context.Context) (out []desk.Field, err error) {
	out = []desk.Field{}
	err = d.view(ctx, func(r kv.Reader) error {
		all, err := d.Stores.Vault.List(r)
		for _, f := range all {
			out = append(out, d.field(f, true))
		}
		return err
	})
	return out, err
}

// Remove implements desk.Vault: the key is destroyed and that is noted, in one synced
// transaction; then the bytes go. Where they can't, the next unlock tries again, and so
// does whoever asks again.
func (d Vault) Remove(ctx context.Context, name string, version uint64) error {
	if version == 0 {
		return d.Erase(ctx, []string{name})
	}
	return d.shred(ctx, func(tx kv.Tx, nowMS int64) error {
		if err := d.Stores.Vault.Forget(tx, protocol.FieldName(name), version); err != nil {
			return err
		}
		return d.note(tx, "vault.forgotten", nowMS, map[string]string{"field": name, "version": strconv.FormatUint(version, 10)})
	})
}

// Erase implements desk.Vault: the keys of all of them are destroyed in one transaction.
func (d Vault) Erase(ctx context.Context, names []string) error {
	if n := len(names); n == 0 || n > desk.MaxErased {
		return fmt.Errorf("%d fields, want 1 to %d: %w", n, desk.MaxErased, fault.Malformed)
	}
	return d.shred(ctx, func(tx kv.Tx, nowMS int64) error {
		for i, name := range names {
			if slices.Contains(names[:i], name) {
				continue
			}
			if err := d.Stores.Vault.Remove(tx, protocol.FieldName(name)); err != nil {
				return d.missing(err, name)
			}
			if err := d.note(tx, "vault.removed", nowMS, map[string]string{"field": name}); err != nil {
				return err
			}
		}
		return nil
	})
}

// shred destroys keys, once for each time that it is asked, and then takes the bytes off
// the disk.
func (d Vault) shred(ctx context.Context, destroy func(tx kv.Tx, nowMS int64) error) error {
	if d.Market.Since(ctx) > 0 {
		return d.Stores.Vault.Purge(context.WithoutCancel(ctx), d.Stores.KV)
	}
	err := d.Stores.KV.Update(ctx, func(tx kv.Tx) error {
		nowMS := d.Now().UnixMilli()
		if err := destroy(tx, nowMS); err != nil {
			return err
		}
		return d.Market.Done(ctx, tx, "", nowMS)
	})
	if err != nil {
		return err
	}
	d.Market.Wake()
	return d.Stores.Vault.Purge(context.WithoutCancel(ctx), d.Stores.KV)
}
