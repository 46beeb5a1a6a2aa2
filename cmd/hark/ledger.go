package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol/fault"
)

type ledgerCmd struct {
	List     ledgerListCmd     `cmd:"" help:"List entries."`
	Show     ledgerShowCmd     `cmd:"" help:"Show one entry, and how it stands in the ledger."`
	Verify   ledgerVerifyCmd   `cmd:"" help:"Check the whole ledger."`
	Prove    ledgerProveCmd    `cmd:"" help:"Write a proof of one entry that others can check, and that shows no other entry."`
	Export   ledgerExportCmd   `cmd:"" help:"Write the ledger, with what others have signed, to a file that others can check."`
	Evidence ledgerEvidenceCmd `cmd:"" help:"Write what both sides have signed under one grant to a file that others can check."`
}

// Help is the long help of the command.
func (*ledgerCmd) Help() string {
	return `What prove, export and evidence write is checked by the program hark-audit, without this
node and without a key:  hark-audit FILE...`
}

type ledgerListCmd struct {
	paging
	Kind   string    `help:"Only of this kind, or below it, as grant, which has grant.given: ${ledger_kinds}."`
	Grant  string    `help:"Only under this grant."`
	Vendor string    `help:"Only of this vendor: its id or name."`
	Need   string    `help:"Only of this need, interest or relation."`
	Since  time.Time `help:"Only from this moment on." format:"2006-01-02" placeholder:"DAY"`
	Until  time.Time `help:"Only before this moment." format:"2006-01-02" placeholder:"DAY"`
}

func (c *ledgerListCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		q, err := c.query()
		if err != nil {
			return err
		}
		q.Kind, q.Grant, q.Vendor, q.Context, q.Since, q.Until = c.Kind, c.Grant, c.Vendor, c.Need, c.Since, c.Until
		p, err := h.Ledger().List(ctx, q)
		if err = known(ctx, h, q, len(p.Items), err); err != nil {
			return err
		}
		return list(a, "hark.entries/1", p.Items, p.Next, "SEQ AT KIND WHAT", func(e desk.LedgerEntry) []string {
			if e.Shredded {
				return []string{fmt.Sprint(e.Seq), when(e.At), e.Kind, "(shredded)"}
			}
			var body []string
			for _, name := range slices.Sorted(maps.Keys(e.Body)) {
				value := e.Body[name]
				if len(value) == 64 {
					value = short(value)
				}
				body = append(body, name+"="+value)
			}
			return []string{fmt.Sprint(e.Seq), when(e.At), e.Kind, strings.Join(body, " ")}
		})
	})
}

// seqArg is the number of an entry.
type seqArg struct {
	Seq int64 `arg:"" help:"The number of the entry."`
}

type ledgerShowCmd struct{ seqArg }

func (c *ledgerShowCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		v, err := h.Ledger().Get(ctx, c.Seq)
		if err != nil {
			return err
		}
		return a.show("hark.entry/1", v, func(p *page) {
			e := v.Entry
			what := e.Kind
			if e.Shredded {
				what = "(shredded: only the commitment is left)"
			}
			p.facts("Entry", fmt.Sprintf("%d of %d", e.Seq, v.Size), "Kind", what, "At", when(e.At), "Commitment", e.Leaf, "Root", v.Root,
				"Stands", map[bool]string{true: fmt.Sprintf("proven: %d hashes from here to the root", len(v.Path)), false: "IT DOES NOT STAND UNDER THE ROOT"}[v.Proven])
			for _, name := range slices.Sorted(maps.Keys(e.Body)) {
				p.line("  %s: %s", name, clean(e.Body[name]))
			}
			for _, c := range v.Heads {
				p.line("%s countersigned it with all before entry %d, in grant %s (%s).", clean(c.Name), c.Size+1, short(c.Grant), c.By)
			}
			if len(v.Heads) == 0 {
				p.line("No vendor has countersigned a head that covers it yet.")
			}
		})
	})
}

type ledgerVerifyCmd struct{}

// Run exits 1 when the ledger does not hold.
func (c *ledgerVerifyCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		r, err := h.Ledger().Verify(ctx)
		if err != nil {
			return err
		}
		if err := a.show("hark.ledger/1", r, func(p *page) {
			verdict := map[bool]string{true: "it holds", false: "IT DOES NOT HOLD"}[r.OK]
			p.facts("Ledger", verdict, "Entries", fmt.Sprint(r.Entries), "Root", r.Root, "Device", r.Device,
				"Heads", fmt.Sprintf("%d countersigned by others", r.Heads))
			for _, what := range r.Problems {
				p.line("PROBLEM  %s", what)
			}
		}); err != nil || r.OK {
			return err
		}
		return fmt.Errorf("the ledger does not hold: %s: %w", strings.Join(r.Problems, "; "), fault.Conflict)
	})
}

// fileArg is where a file is written.
type fileArg struct {
	File string `arg:"" help:"Where to; - is standard output."`
}

// write writes what a desk gives.
func (c *fileArg) write(ctx context.Context, a *app, do func(ctx context.Context, h desk.House, w io.Writer) error) error {
	return a.follow(ctx, func(ctx context.Context, h desk.House) error {
		if c.File == "-" {
			return do(ctx, h, a.stdout)
		}
		if err := writeNew(c.File, func(w io.Writer) error { return do(ctx, h, w) }); err != nil {
			return err
		}
		return a.done("hark.export/1", map[string]string{"file": c.File}, "wrote %s", c.File)
	})
}

type ledgerProveCmd struct {
	seqArg
	fileArg
	Since int64 `help:"Also prove that the ledger continues the one of so many entries." placeholder:"SIZE"`
}

func (c *ledgerProveCmd) Run(ctx context.Context, a *app) error {
	return c.write(ctx, a, func(ctx context.Context, h desk.House, w io.Writer) error {
		return h.Ledger().Prove(ctx, c.Seq, c.Since, w)
	})
}

type ledgerExportCmd struct {
	fileArg
	Bodies string   `help:"Which entries say what happened: all, own (those that concern no grant), or none. The others stay as commitments." enum:"all,own,none" default:"all"`
	Grant  []string `help:"Letters and bodies of these grants alone." placeholder:"ID"`
}

// Help is the long help of the command.
func (*ledgerExportCmd) Help() string {
	return `The file holds addresses with the right to write into mailboxes of its grants, unless
--bodies leaves them out: give it to those alone whom you trust with that.`
}

func (c *ledgerExportCmd) Run(ctx context.Context, a *app) error {
	return c.write(ctx, a, func(ctx context.Context, h desk.House, w io.Writer) error {
		return h.Ledger().Export(ctx, desk.ExportSpec{Bodies: c.Bodies, Grants: c.Grant}, w)
	})
}

type ledgerEvidenceCmd struct {
	Grant string `arg:"" help:"The grant: its id, or the beginning of it."`
	fileArg
}

func (c *ledgerEvidenceCmd) Run(ctx context.Context, a *app) error {
	return c.write(ctx, a, func(ctx context.Context, h desk.House, w io.Writer) error {
		return h.Ledger().Evidence(ctx, c.Grant, w)
	})
}
