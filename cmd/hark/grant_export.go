package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol/fault"
)

type grantExportCmd struct {
	ID     string `arg:"" optional:"" help:"The grant, by its id or a unique prefix."`
	All    bool   `help:"All grants, requests that were refused, and those that wait."`
	As     string `help:"27560 and receipt: consent records and receipts after ISO/IEC TS 27560. odrl: ODRL 2.2 agreements. ts10: a log after EUDI TS10, of what was disclosed when. csv: a row for each field." enum:"27560,receipt,odrl,ts10,csv" default:"27560"`
	Out    string `help:"Where to, a new file; standard output where it is left out." placeholder:"FILE"`
	Need   string `help:"With --all: only under this need, interest or relation." placeholder:"ID"`
	Vendor string `help:"With --all: only of this vendor: its id or name." placeholder:"ID"`
	State  string `help:"With --all: only in this state: ${grant_states}." placeholder:"STATE"`
	Limit  *int   `help:"With --all: at most so many in one file (500 at most)." placeholder:"N"`
	After  string `help:"With --all: go on after this one." placeholder:"CURSOR"`
}

// Help is the long help of the command.
func (c *grantExportCmd) Help() string {
	return `Write grants in words that others understand. Either side of a grant can, and
writes the same record. It holds the names of fields, never their values, and of the
customer no more than the key that she made for this one need or relation.`
}

func (c *grantExportCmd) Run(ctx context.Context, a *app) error {
	if (c.ID == "") != c.All {
		return usagef("export which grant? Name one id, or --all")
	}
	if c.Limit != nil {
		if err := within("--limit", *c.Limit, 1, maxPage); err != nil {
			return err
		}
	}
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		f, err := h.Records().Export(ctx, desk.RecordSpec{
			As: c.As, ID: c.ID, Context: c.Need, Vendor: c.Vendor, State: c.State, Limit: valueOf(c.Limit), After: c.After,
		})
		if err != nil {
			return err
		}
		if c.All {
			if err := known(ctx, h, desk.Query{Context: c.Need, Vendor: c.Vendor}, f.Grants+f.LeftOut, nil); err != nil {
				return err
			}
		}
		if f.LeftOut > 0 {
			fmt.Fprintf(a.stderr, "hark: %d left out: there is no %s of them\n", f.LeftOut, f.As)
		}
		if f.Next != "" {
			fmt.Fprintf(a.stderr, "hark: more: --after %s\n", f.Next)
		}
		if c.Out == "" {
			if a.JSON {
				return a.writeJSON(a.stdout, "hark.record-file/1", f, true)
			}
			_, err := io.WriteString(a.stdout, f.Text)
			return err
		}
		if err := writeNew(c.Out, func(w io.Writer) error { _, err := io.WriteString(w, f.Text); return err }); err != nil {
			return err
		}
		return a.done("hark.export/1", map[string]any{"file": c.Out, "as": f.As, "grants": f.Grants, "left_out": f.LeftOut, "next": f.Next},
			"wrote %s: %d as %s", c.Out, f.Grants, f.As)
	})
}

type grantCheckCmd struct {
	File string `arg:"" help:"What hark grant export wrote, in any of its formats; - is standard input."`
}

// Help is the long help of the command.
func (c *grantCheckCmd) Help() string {
	return `Read an exported record, say what it is, and compare it with the grant that this
node holds. A file that says anything besides is refused. Exit status 1 where it is not
the same.`
}

func (c *grantCheckCmd) Run(ctx context.Context, a *app) error {
	src, done, err := a.input(c.File)
	if err != nil {
		return err
	}
	defer done()
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		rep, err := h.Records().Check(ctx, src)
		if err != nil {
			return err
		}
		if err := a.show("hark.record-check/1", rep, func(p *page) { writeCheck(p, rep) }); err != nil || rep.Same {
			return err
		}
		return fmt.Errorf("%s is not what this node holds: %w", clean(c.File), fault.Conflict)
	})
}

func writeCheck(p *page, rep desk.RecordCheck) {
	says := map[string]string{"same": "as held here", "other": "NOT as held here", "none": "not held here"}
	rows := make([][]string, len(rep.Items))
	for i, x := range rep.Items {
		rows[i] = []string{short(x.Grant), x.Vendor, strings.TrimPrefix(x.State, "dpv:"), says[x.Held], strings.Join(x.Differs, ", ")}
	}
	p.line("%s, %d grants", map[string]string{
		"27560": "consent records (ISO/IEC TS 27560)", "receipt": "consent receipts (ISO/IEC TS 27560)", "odrl": "agreements (ODRL 2.2)",
		"ts10": "a log (EUDI TS10)", "csv": "CSV",
	}[rep.As], len(rep.Items))
	p.table([]string{"GRANT", "VENDOR", "STATE", "IS", "DIFFERS-IN"}, rows)
}
