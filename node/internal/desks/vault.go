package desks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/ledger"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/vault"
)

// Vault implements desk.Vault.
type Vault struct{ *Office }

// Set implements desk.Vault. A value that is there already is no change: a call that
// was cut off and repeated is noted once.
func (d Vault) Set(ctx context.Context, name, value string) (v desk.Field, err error) {
	err = d.Stores.KV.Update(ctx, func(tx kv.Tx) error {
		nowMS := d.Now().UnixMilli()
		was, err := d.Stores.Vault.Get(tx, protocol.FieldName(name))
		if err != nil && !errors.Is(err, fault.NotFound) {
			return err
		}
		f, err := d.Stores.Vault.Set(tx, protocol.FieldName(name), value, nowMS)
		if err != nil {
			return err
		}
		v = field(f, true)
		if f.Version == was.Version {
			return nil
		}
		body, err := json.Marshal(map[string]string{"field": name, "version": strconv.FormatUint(f.Version, 10)})
		if err != nil {
			return err
		}
		_, err = d.Stores.Ledger.Append(tx, "vault.set", nowMS, body)
		return err
	})
	return v, err
}

// field makes the view of a vault field, masked or not.
func field(f vault.Field, masked bool) desk.Field {
	v := desk.Field{Name: string(f.Name), Value: f.Value, Version: f.Version, Changed: momentMS(f.ChangedMS), Class: "ordinary"}
	if info, ok := f.Name.Info(); ok {
		v.Title = info.Title
		switch info.Class {
		case protocol.Special:
			v.Class = "special"
		case protocol.Child:
			v.Class = "child"
		}
	}
	if masked {
		v.Value, v.Masked = strings.Repeat("•", 6), true
	}
	return v
}

// Get implements desk.Vault.
func (d Vault) Get(ctx context.Context, name string) (v desk.Field, err error) {
	err = d.view(ctx, func(r kv.Reader) error {
		f, err := d.Stores.Vault.Get(r, protocol.FieldName(name))
		if err != nil {
			return d.missing(err, name)
		}
		v = field(f, false)
		return nil
	})
	return v, err
}

// missing names fields of the vocabulary near the one that is not there.
func (d Vault) missing(err error, name string) error {
	if !errors.Is(err, fault.NotFound) {
		return err
	}
	var near []string
	group, _, _ := strings.Cut(name, ".")
	for _, f := range protocol.Fields() {
		if strings.HasPrefix(string(f.Name), group+".") {
			near = append(near, string(f.Name))
		}
	}
	if len(near) == 0 {
		return fmt.Errorf("field %q is not in the vault: %w", name, fault.NotFound)
	}
	return fmt.Errorf("field %q is not in the vault; near it are %s: %w", name, strings.Join(near, ", "), fault.NotFound)
}

// List implements desk.Vault.
func (d Vault) List(ctx context.Context) (out []desk.Field, err error) {
	out = []desk.Field{}
	err = d.view(ctx, func(r kv.Reader) error {
		all, err := d.Stores.Vault.List(r)
		for _, f := range all {
			out = append(out, field(f, true))
		}
		return err
	})
	return out, err
}

// Remove implements desk.Vault.
func (d Vault) Remove(ctx context.Context, name string) error {
	return d.Stores.KV.Update(ctx, func(tx kv.Tx) error {
		if err := d.Stores.Vault.Remove(tx, protocol.FieldName(name)); err != nil {
			return d.missing(err, name)
		}
		body, err := json.Marshal(map[string]string{"field": name})
		if err != nil {
			return err
		}
		_, err = d.Stores.Ledger.Append(tx, "vault.removed", d.Now().UnixMilli(), body)
		return err
	})
}

// Ledger implements desk.Ledger.
type Ledger struct{ *Office }

// List implements desk.Ledger; the cursor is the sequence number.
func (d Ledger) List(ctx context.Context, q desk.Query) (page desk.Page[desk.LedgerEntry], err error) {
	from := int64(0)
	if q.After != "" {
		if from, err = strconv.ParseInt(q.After, 10, 64); err != nil || from < 0 {
			return page, fmt.Errorf("page cursor %q is no entry number: %w", q.After, fault.Malformed)
		}
	}
	page.Items = []desk.LedgerEntry{}
	err = d.view(ctx, func(r kv.Reader) error {
		entries, err := d.Stores.Ledger.List(r, from, limit(q)+1, q.Kind)
		for i, e := range entries {
			if i == limit(q) {
				page.Next = strconv.FormatInt(entries[i-1].Seq, 10)
				break
			}
			page.Items = append(page.Items, entry(e))
		}
		return err
	})
	return page, err
}

func entry(e ledger.Entry) desk.LedgerEntry {
	v := desk.LedgerEntry{Seq: e.Seq, Kind: e.Kind, At: momentMS(e.AtMS), AtMS: e.AtMS, Leaf: hexOf(e.Leaf), Shredded: e.Shredded}
	if !e.Shredded {
		_ = json.Unmarshal(e.Body, &v.Body) // a body of another shape shows as none
	}
	return v
}

// Verify implements desk.Ledger.
func (d Ledger) Verify(ctx context.Context) (v desk.LedgerReport, err error) {
	err = d.view(ctx, func(r kv.Reader) error {
		v, err = VerifyLedger(r, d.Stores.Ledger)
		return err
	})
	return v, err
}

// VerifyLedger recomputes a ledger from its entries, and holds it against every
// blinded head that a counterparty has countersigned.
func VerifyLedger(r kv.Reader, l *ledger.Ledger) (v desk.LedgerReport, err error) {
	v.Device = l.Device().String()
	report, err := l.Verify(r)
	if err != nil {
		if fault.Of(err) == fault.Internal {
			return v, err
		}
		v.Problems = append(v.Problems, err.Error())
	}
	v.Entries, v.Root = report.Entries, hexOf(report.Root)
	err = records.EachAgreement(r, nil, func(a records.Agreement) (bool, error) {
		if a.Flow.Me != protocol.Customer {
			return true, nil
		}
		for _, h := range a.Heads {
			if h.Signed.IsZero() {
				continue
			}
			v.Heads++
			root, err := l.RootAt(r, h.Size)
			if err != nil || ledger.Blind(ledger.Head{Size: h.Size, Root: root, Device: l.Device()}, h.Salt) != h.Blind {
				v.Problems = append(v.Problems, fmt.Sprintf("the head of %d entries that vendor %s countersigned in grant %s is not a head of this ledger: the ledger was forked or rewritten",
					h.Size, a.VendorName, a.ID.Short()))
			}
		}
		return true, nil
	})
	v.OK = len(v.Problems) == 0
	return v, err
}

// Export implements desk.Ledger.
func (d Ledger) Export(ctx context.Context, w io.Writer) error {
	return d.view(ctx, func(r kv.Reader) error { return d.Stores.Ledger.Export(r, w, d.Now().UnixMilli()) })
}
