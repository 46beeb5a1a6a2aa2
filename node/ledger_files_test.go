package node_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/ledger/audit"
)

// A paper is a file that a node hands out.
type paper func(w io.Writer) error

// audited judges papers as hark-audit does.
func (h *house) audited(papers ...paper) audit.Verdict {
	h.t.Helper()
	a := audit.New(time.Now(), false)
	for i, p := range papers {
		var b bytes.Buffer
		if err := p(&b); err != nil {
			h.t.Fatalf("paper %d: %v", i, err)
		}
		if err := a.Add(string(rune('a'+i)), &b); err != nil {
			h.t.Fatal(err)
		}
	}
	return a.Verdict()
}

func exported(m *nodetest.Member, s desk.ExportSpec) paper {
	return func(w io.Writer) error { return m.Ledger().Export(context.Background(), s, w) }
}

func evidence(m *nodetest.Member, grant string) paper {
	return func(w io.Writer) error { return m.Ledger().Evidence(context.Background(), grant, w) }
}

func proven(m *nodetest.Member, seq, since int64) paper {
	return func(w io.Writer) error { return m.Ledger().Prove(context.Background(), seq, since, w) }
}

func said(list []string, words string) bool { return strings.Contains(strings.Join(list, "\n"), words) }

// TestWhatANodeHandsOutHolds: on either side, whole and in part, before and after a
// deletion; and a lapse comes with its proof.
func TestWhatANodeHandsOutHolds(t *testing.T) {
	settled(t, "a grant that ended well", func(h *house) {
		ctx := context.Background()
		own, err := h.vendor.Vendor().Passports().Own(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.her.Customer().Grants().Give(ctx, desk.GiveSpec{Vendor: own.Vendor, Name: "my couch people", Fields: []string{"location.area"}}); err != nil {
			t.Fatal(err)
		}
		h.right("access")
		h.until("an answer", func(g desk.Grant) bool { return g.Rights[0].Status == "fulfilled" })
		h.revoke()
		h.until("the deletion", deleted)
		time.Sleep(time.Minute)
		v := h.audited(exported(h.her, desk.ExportSpec{}), exported(h.vendor, desk.ExportSpec{}), evidence(h.her, h.grant), evidence(h.vendor, h.grant),
			exported(h.her, desk.ExportSpec{Bodies: "none"}), exported(h.her, desk.ExportSpec{Bodies: "own"}), exported(h.her, desk.ExportSpec{Grants: []string{h.grant[:12]}}),
			proven(h.her, 3, 2), proven(h.vendor, 2, 0))
		if !v.OK {
			t.Fatalf("%v", v.Problems)
		}
		if f := v.Files[0]; f.Grants != 2 || f.Receipts != 2 || f.Deleted != 1 || f.Heads != 3 || f.Letters < 9 {
			t.Errorf("her bundle: %+v", f)
		}
		if f := v.Files[6]; f.Grants != 1 || f.Withheld == 0 || f.Withheld == f.Entries {
			t.Errorf("of one grant: %+v", f)
		}
		if v.Files[4].Withheld != v.Files[4].Entries || v.Files[4].Letters != 0 || v.Files[5].Withheld == v.Files[5].Entries {
			t.Errorf("without bodies: %+v, with her own: %+v", v.Files[4], v.Files[5])
		}
		h.looked()
	})
	settled(t, "a lapse, with its proof", func(h *house) {
		h.vendor.Stop()
		h.revoke()
		time.Sleep(time.Hour)
		quiet(7*day, h.all[1:]...)
		h.until("the lapse", func(g desk.Grant) bool { return g.State == "lapsed" })
		v := h.audited(evidence(h.her, h.grant), exported(h.her, desk.ExportSpec{}))
		if !v.OK || v.Files[0].Lapses != 1 || v.Files[1].Lapses != 1 || !said(v.Proven, "owed a signed deletion under grant "+h.grant[:8]) || !said(v.Unproven, "nobody can prove that nothing came") {
			t.Errorf("%+v", v)
		}
		h.vendor.Start() // late is late: the lapse stands, beside the deletion
		h.until("the late deletion", deleted)
		if v := h.audited(evidence(h.her, h.grant), evidence(h.vendor, h.grant)); !v.OK || v.Files[0].Lapses != 1 || v.Files[0].Deleted != 1 {
			t.Errorf("after the late deletion: %+v", v)
		}
	})
}

// looked looks at the ledger through its desk.
func (h *house) looked() {
	ctx, l := context.Background(), h.her.Ledger()
	all, err := l.List(ctx, desk.Query{Limit: 500})
	if err != nil {
		h.t.Fatal(err)
	}
	late := all.Items[len(all.Items)-2]
	for name, c := range map[string]struct {
		q    desk.Query
		want func(desk.LedgerEntry) bool
	}{
		"a kind":      {desk.Query{Kind: "receipt.kept"}, func(e desk.LedgerEntry) bool { return e.Kind == "receipt.kept" }},
		"kinds below": {desk.Query{Kind: "grant"}, func(e desk.LedgerEntry) bool { return strings.HasPrefix(e.Kind, "grant.") }},
		"a grant":     {desk.Query{Grant: h.grant[:10]}, func(e desk.LedgerEntry) bool { return e.Body["grant"] == h.grant }},
		"a need":      {desk.Query{Context: h.need}, func(e desk.LedgerEntry) bool { return e.Body["context"] == h.need }},
		"since":       {desk.Query{Since: late.At}, func(e desk.LedgerEntry) bool { return e.AtMS >= late.AtMS }},
		"until":       {desk.Query{Until: late.At}, func(e desk.LedgerEntry) bool { return e.AtMS < late.AtMS }},
		"both, narrow": {desk.Query{Kind: "grant", Grant: h.grant, Since: all.Items[0].At}, func(e desk.LedgerEntry) bool {
			return strings.HasPrefix(e.Kind, "grant.") && e.Body["grant"] == h.grant
		}},
	} {
		c.q.Limit = 500
		got, err := l.List(ctx, c.q)
		want := 0
		for _, e := range all.Items {
			if c.want(e) {
				want++
			}
		}
		if err != nil || len(got.Items) != want || want == 0 || want == len(all.Items) {
			h.t.Errorf("%s: %d entries of %d, want %d (%v)", name, len(got.Items), len(all.Items), want, err)
		}
		for _, e := range got.Items {
			if !c.want(e) {
				h.t.Errorf("%s: %+v", name, e)
			}
		}
	}
	v, err := l.Get(ctx, 2)
	if err != nil || !v.Proven || v.Entry.Seq != 2 || len(v.Path) == 0 || len(v.Heads) == 0 || v.Heads[0].Name == "" || v.Heads[0].Size < 2 || v.Size < int64(len(all.Items)) {
		h.t.Errorf("entry 2: %+v, %v", v, err)
	}
	if v, err := l.Get(ctx, v.Size); err != nil || !v.Proven || len(v.Heads) != 0 {
		h.t.Errorf("the last entry: %+v, %v", v, err)
	}
	for name, err := range map[string]error{
		"no such entry":  func() error { _, err := l.Get(ctx, 1<<40); return err }(),
		"no such proof":  l.Prove(ctx, 1<<40, 0, io.Discard),
		"no such growth": l.Prove(ctx, 1, 1<<40, io.Discard),
		"no such grant":  l.Evidence(ctx, "ffffffffffff", io.Discard),
	} {
		if !errors.Is(err, fault.NotFound) {
			h.t.Errorf("%s: %v", name, err)
		}
	}
	if err := l.Export(ctx, desk.ExportSpec{Bodies: "some"}, io.Discard); !errors.Is(err, fault.Malformed) {
		h.t.Errorf("bodies of another kind: %v", err)
	}
}
