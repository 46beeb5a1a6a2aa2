// Announce says what its owner needs through a running node, shows what strangers
// see of it, and waits for the first offers.
//
//	hark run &
//	go run ./examples/announce "a desk for a small room"
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/client"
	"github.com/harkmarket/hark/node/desk"
)

// wait is how long offers are waited for.
const wait = 30 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, strings.Join(os.Args[1:], " ")); err != nil {
		fmt.Fprintln(os.Stderr, "announce:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, words string) error {
	if words == "" {
		return errors.New("say what you need, as in: announce a desk for a small room")
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
	need, err := c.Customer().Needs().Create(ctx, desk.NeedSpec{Name: words, Auto: true, Category: os.Getenv("CATEGORY")})
	if err != nil {
		return err
	}
	seen, err := c.Customer().Needs().Stranger(ctx, need.ID)
	if err != nil {
		return err
	}
	fmt.Printf("announced %s; strangers see %d bytes, and of these no word of yours:\n", need.ID[:12], seen.Bytes)
	for _, p := range seen.Parts {
		fmt.Printf("  %-22s %s\n", p.Name, p.Value)
	}
	return follow(ctx, c, need.ID)
}

// follow prints each offer as this node opens it, until the wait is over.
func follow(ctx context.Context, c *client.Client, need string) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	err := c.Admin().Events(ctx, 0, func(e desk.Event) error {
		if e.Kind != "offer.opened" || e.Data["context"] != need {
			return nil
		}
		o, err := c.Customer().Offers().Get(ctx, e.Data["offer"])
		if err != nil {
			return err
		}
		price := "price on request"
		if o.Price != nil {
			price = o.Price.Text
		}
		fmt.Printf("%s offers %q for %s\n", o.VendorName, o.Title, price)
		return nil
	})
	if ctx.Err() != nil {
		return nil // the wait is over, or the user has seen enough
	}
	return err
}
