package desks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/edge"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/record"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
)

// Records implements desk.Records.
type Records struct{ *Office }

// Export implements desk.Records.
func (d Records) Export(ctx context.Context, s desk.RecordSpec) (v desk.RecordFile, err error) {
	format := record.Format(s.As)
	if _, err := record.Encode(format, nil); err != nil {
		return v, fmt.Errorf("export as %.20q, which is none of %v: %w", s.As, record.Formats(), fault.Malformed)
	}
	var list []records.Agreement
	if s.ID != "" {
		list, err = d.one(ctx, s.ID)
	} else {
		list, v.Next, err = d.chosen(ctx, s)
	}
	if err != nil {
		return v, err
	}
	entries, err := d.entries(ctx, list)
	if err != nil {
		return v, err
	}
	v.As = s.As
	for {
		told := slices.DeleteFunc(slices.Clone(entries), func(e record.Entry) bool { return e.Check() != nil || !format.Holds(&e) })
		if s.ID != "" && len(told) == 0 {
			return v, fmt.Errorf("grant %.12s is %s: there is no %s of it: %w", s.ID, list[0].Flow.State, s.As, fault.Conflict)
		}
		raw, err := record.Encode(format, told)
		if errors.Is(err, fault.Full) && len(entries) > 1 { // fewer of them fit into one file
			entries = entries[:len(entries)/2]
			v.Next = entries[len(entries)-1].Grant.String()
			continue
		}
		v.Grants, v.LeftOut, v.Text = len(told), len(entries)-len(told), string(raw)
		return v, err
	}
}

func (d Records) one(ctx context.Context, id string) (list []records.Agreement, err error) {
	gid, err := d.resolve(ctx, records.Agreements, id)
	if err != nil {
		return nil, err
	}
	err = d.view(ctx, func(r kv.Reader) error {
		a, err := records.GetAgreement(r, gid)
		list = []records.Agreement{a}
		return err
	})
	return list, err
}

// chosen gives what s selects of everything that was asked or given.
func (d Records) chosen(ctx context.Context, s desk.RecordSpec) (list []records.Agreement, next string, err error) {
	q := desk.Query{Context: s.Context, Vendor: s.Vendor, State: s.State, Limit: cmp.Or(s.Limit, record.MaxEntries), After: s.After}
	page, err := pageAgreements(ctx, d.Office, q, func(_ kv.Reader, a records.Agreement) (records.Agreement, bool) {
		return a, !a.Letters.Request.IsZero() || !a.Letters.Grant.IsZero()
	}, func(a records.Agreement) string { return a.ID.String() })
	return page.Items, page.Next, err
}

func (d Records) entries(ctx context.Context, list []records.Agreement) (out []record.Entry, err error) {
	err = d.view(ctx, func(r kv.Reader) error {
		src := edge.Source{Reader: r, Ledger: d.Stores.Ledger, Passports: d.Office.Board.Passports, Now: protocol.Second(d.Now().Unix())}
		out, err = src.Entries(ctx, list)
		return err
	})
	return out, err
}

// Check implements desk.Records.
func (d Records) Check(ctx context.Context, file io.Reader) (v desk.RecordCheck, err error) {
	raw, err := io.ReadAll(io.LimitReader(file, record.MaxFile+1))
	if err != nil {
		return v, fmt.Errorf("read the file: %w", err)
	}
	format, err := record.Detect(raw)
	if err != nil {
		return v, err
	}
	entries, err := record.Decode(format, raw)
	if err != nil {
		return v, err
	}
	held, err := d.held(ctx, entries)
	if err != nil {
		return v, err
	}
	v = desk.RecordCheck{As: string(format), Same: len(entries) > 0, Items: []desk.RecordItem{}}
	for _, e := range entries {
		item := desk.RecordItem{Grant: e.Grant.String(), Vendor: e.Vendor.Name, State: e.Last().Term(), Held: "none"}
		if own, ok := held[e.Grant]; ok {
			own = format.Plain(own)
			if item.Differs = own.Differences(&e); len(item.Differs) == 0 {
				item.Held = "same"
			} else {
				item.Held = "other"
			}
		}
		v.Same = v.Same && item.Held == "same"
		v.Items = append(v.Items, item)
	}
	return v, nil
}

// held reads what this node has of the grants in a file.
func (d Records) held(ctx context.Context, entries []record.Entry) (map[protocol.GrantID]record.Entry, error) {
	var list []records.Agreement
	err := d.view(ctx, func(r kv.Reader) error {
		for _, e := range entries {
			a, err := records.GetAgreement(r, e.Grant)
			if errors.Is(err, fault.NotFound) {
				continue
			}
			if err != nil {
				return err
			}
			list = append(list, a)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	own, err := d.entries(ctx, list)
	held := map[protocol.GrantID]record.Entry{}
	for _, e := range own {
		held[e.Grant] = e
	}
	return held, err
}
