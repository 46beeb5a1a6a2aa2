// Hark-audit checks what a node has handed out: a ledger with what others have signed,
// the proof of one entry, or what two sides have signed under one grant. It needs no
// node, no key and no network, and it knows nothing but the files that it is given.
//
//	hark-audit FILE...
//
// It says what the files prove and what they do not. It exits 0 when they hold, 1 when
// something is wrong, with the entry and the reason, and 2 when it could not look.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/alecthomas/kong"

	"github.com/harkmarket/hark/store/ledger/audit"
)

type cli struct {
	Files   []string `arg:"" name:"file" help:"What hark ledger export, prove or evidence wrote; - is standard input. Several are held against each other."`
	JSON    bool     `name:"json" help:"Print JSON with a schema."`
	InOrder bool     `help:"The files were received in this order: a ledger that is shorter than one before it went back, whatever its date."`
}

// Exit codes.
const (
	holds = iota
	wrong
	unread
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, time.Now())) }

func run(args []string, stdin io.Reader, stdout, stderr io.Writer, now time.Time) int {
	var c cli
	ended := -1
	k, err := kong.New(&c, kong.Name("hark-audit"), kong.Writers(stdout, stderr), kong.Exit(func(code int) { ended = code }),
		kong.Description("Check what a node of Hark has handed out, without a node and without a key. Exits 0 when all holds, 1 when something is wrong, 2 when it could not look."))
	if err == nil {
		_, err = k.Parse(args)
	}
	if ended >= 0 {
		return ended // help was asked for
	}
	if err != nil {
		fmt.Fprintln(stderr, "hark-audit:", err)
		return unread
	}
	a := audit.New(now, c.InOrder)
	for _, name := range c.Files {
		if err := add(a, name, stdin); err != nil {
			fmt.Fprintln(stderr, "hark-audit:", err)
			return unread
		}
	}
	v := a.Verdict()
	if err := show(stdout, v, c.JSON); err != nil {
		fmt.Fprintln(stderr, "hark-audit:", err)
		return unread
	}
	if !v.OK {
		return wrong
	}
	return holds
}

func add(a *audit.Auditor, name string, stdin io.Reader) error {
	if name == "-" {
		return a.Add("standard input", stdin)
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	return a.Add(name, f)
}

func show(w io.Writer, v audit.Verdict, asJSON bool) error {
	if asJSON {
		raw, err := json.MarshalIndent(v, "", "  ")
		if err == nil {
			_, err = w.Write(append(raw, '\n'))
		}
		return err
	}
	return v.Write(w)
}
