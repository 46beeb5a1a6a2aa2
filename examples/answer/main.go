// Answer makes a vendor of a running public node: it issues a passport where there is
// none, imports a catalogue, asks for access to what is announced, and answers from
// the catalogue. It prints what happens until it is interrupted.
//
//	hark init --profile public && hark run &
//	go run ./examples/answer "Example Furniture" products.csv
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/client"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol/fault"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "answer:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 2 {
		return errors.New("give your trade name and a CSV file with id, title and price")
	}
	paths, err := node.DefaultPaths(os.Getenv("HARK_HOME"))
	if err != nil {
		return err
	}
	c, err := client.Open(ctx, paths.API())
	if err != nil {
		return err
	}
	defer c.Close()
	if err := setUp(ctx, c.Vendor(), args[0], args[1]); err != nil {
		return err
	}
	return c.Admin().Events(ctx, 0, func(e desk.Event) error {
		switch e.Kind {
		case "request.sent", "grant.kept", "offer.sent", "deal.accepted", "deletion.sent":
			fmt.Printf("%-14s %s\n", e.Kind, e.Ref)
		}
		return nil
	})
}

// setUp gives the node a passport, products and rules.
func setUp(ctx context.Context, v desk.Vendor, name, products string) error {
	_, err := v.Passports().Own(ctx)
	if errors.Is(err, fault.NotFound) {
		_, err = v.Passports().Issue(ctx, desk.PassportSpec{Name: name, Country: "ZA", Contact: "the node's owner"})
	}
	if err != nil {
		return err
	}
	f, err := os.Open(products)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	report, err := v.Catalog().Import(ctx, f, desk.ImportSpec{})
	if err != nil {
		return err
	}
	fmt.Printf("%d products, %d rows refused\n", report.Added+report.Changed+report.Same, len(report.Errors))
	_, err = v.Rules().Set(ctx, desk.Follow{Ask: true, Answer: true, Confirm: true})
	return err
}
