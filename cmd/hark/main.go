// Command hark runs a node of the market and is the way to talk to it.
//
// With no arguments it runs the node. Every other command finds the running node
// through its api.json and asks it over the local REST API. What a command prints
// for people may change; what it prints with --json carries a schema and does not.
//
// Exit codes: 0 ok · 1 error · 2 usage · 3 node not running · 4 locked or not
// authorised · 5 not found · 6 refused by consent or policy · 7 timed out.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

func main() { os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// Main runs one command and gives its exit code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	a.cli.JSON = slices.Contains(args, "--json") // for errors of parsing too
	parser, err := newParser(a, func(c int) { panic(exited(c)) })
	if err != nil {
		return a.fail(err)
	}
	defer func() {
		switch v := recover().(type) {
		case nil:
		case exited:
			code = int(v)
		default:
			panic(v)
		}
	}()
	k, err := parser.Parse(args)
	if err != nil {
		return a.fail(&usageError{err})
	}
	if err := nothingEmpty(k); err != nil {
		return a.fail(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	k.BindTo(ctx, (*context.Context)(nil))
	return a.fail(k.Run())
}

// exited unwinds out of the parser when it has printed help.
type exited int

// nothingEmpty refuses an argument without a letter, as a script gives where a variable of it is
// not set: "" is the beginning of every id.
func nothingEmpty(k *kong.Context) error {
	for _, p := range k.Path {
		if p.Positional == nil {
			continue
		}
		v := k.Value(p)
		list, ok := v.Interface().([]string)
		if !ok {
			list = []string{fmt.Sprint(v.Interface())}
		}
		for _, text := range list {
			if strings.TrimSpace(text) == "" {
				return usagef("<%s> is empty", p.Positional.Name)
			}
		}
	}
	return nil
}

// newParser builds the grammar of all commands.
func newParser(a *app, exit func(int)) (*kong.Kong, error) {
	return kong.New(&a.cli,
		kong.Name("hark"),
		kong.Description("Say what you want; vendors come to you, and your data stays with you. With no command, hark runs the node.\n\n"+exitCodes),
		kong.Writers(a.stdout, a.stderr),
		kong.Exit(exit),
		kong.ConfigureHelp(kong.HelpOptions{NoExpandSubcommands: true, Compact: true, WrapUpperBound: 100}),
		kong.ExplicitGroups(groups),
		wordsOfHelp(),
		kong.Bind(a),
	)
}
