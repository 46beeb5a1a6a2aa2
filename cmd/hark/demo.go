package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/harkmarket/hark/cmd/hark/demo"
)

type demoCmd struct {
	Needs     string   `help:"What customers want: one need a line, or a table with a header, separated by comma, tab, | or # (columns name, title or query; category, region, max_price, currency, quantity). The sample without it." placeholder:"FILE"`
	Catalog   []string `help:"What a vendor sells: a table separated by comma, semicolon, tab, | or #, with columns id and title or name; price, description. Repeat it: one vendor for each." placeholder:"FILE" sep:"none"`
	Customers int      `help:"How many customers." default:"2"`
	Vendors   *int     `help:"How many vendors share the sample catalogue (3); only without --catalog." placeholder:"N"`
	Limit     int      `help:"Announce at most so many needs." default:"40"`
	Seed      uint64   `help:"Decides how the sample catalogue is split." default:"1"`
	Keep      bool     `help:"Leave the network running and say how to talk to it."`
	Sabotage  string   `help:"Make one node break a promise: withhold-mail, keep-deleted, fork-ledger, rewrite-ledger, reopen-revoked, flip-bits or leak-field. The demonstration must notice, and exit 1." placeholder:"HOW"`
}

// errNotAll says that the demonstration ran and not everything held. It is what the
// demonstration found, and no error of this program.
var errNotAll = codedError{"not everything held", "problems-found", "read the problems; run it again with --keep to look at the nodes"}

// A codedError is one that no kind of fault fits.
type codedError struct{ what, code, next string }

func (e codedError) Error() string { return e.what }

// Next is what can be done.
func (e codedError) Next() string { return e.next }

// Run shows the market and prints the story, or one JSON object. It fails where
// anything did not hold.
func (c *demoCmd) Run(ctx context.Context, a *app) error {
	if c.Vendors != nil && *c.Vendors < 1 {
		return usagef("--vendors %d: want 1 or more", *c.Vendors)
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("own program: %w", err)
	}
	o := demo.Options{
		Needs: c.Needs, Catalogs: c.Catalog, Customers: c.Customers, Vendors: valueOf(c.Vendors), Limit: c.Limit, Seed: c.Seed,
		Keep: c.Keep, Sabotage: c.Sabotage, Program: program,
	}
	if err := o.Check(); err != nil {
		return &usageError{err}
	}
	s := &demo.Story{Out: a.stdout, Waiting: a.progress, Bold: isTerminal(a.stdout) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
	if a.JSON {
		s.Out, s.Notes = io.Discard, a.stderr
	}
	r, err := demo.Run(ctx, o, s)
	if err != nil {
		return err
	}
	if a.JSON {
		enc := json.NewEncoder(a.stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(r); err != nil {
			return fmt.Errorf("output: %w", err)
		}
	}
	if n := len(r.Problems); n > 0 {
		return fmt.Errorf("%w: %s", errNotAll, map[bool]string{true: "1 problem is named above", false: fmt.Sprintf("%d problems are named above", n)}[n == 1])
	}
	return nil
}
