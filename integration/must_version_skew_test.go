package integration

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/desk"
)

// editions are the build tags of the step before, the present one, and one to come.
var editions = []string{"hark_prev", "", "hark_next"}

// blames finds in a node's metrics what it held against others, and letters that did
// not arrive.
func blames(metrics string) (found []string) {
	for _, m := range regexp.MustCompile(`(?m)^(hark_announcements_judged_total\{reason="[a-z]+",verdict="blame"\}|hark_gossip_messages_total\{outcome="blamed"\}|hark_letters\{state="(?:queued|deposited|expired|failed)"\}) ([1-9][0-9]*)$`).FindAllStringSubmatch(metrics, -1) {
		found = append(found, m[1]+" "+m[2])
	}
	return found
}

// TestMust_version_skew: nodes of three editions in one network, each a vendor, a
// customer and the keeper of others: every customer gets an offer of every vendor, all
// is deleted after she revokes, no letter is lost, and nobody is blamed.
func TestMust_version_skew(t *testing.T) {
	skewed(t)
	planted := "hark_announcements_judged_total{reason=\"encoding\",verdict=\"blame\"} 3\nhark_gossip_messages_total{outcome=\"blamed\"} 1\n" +
		"hark_letters{state=\"queued\"} 2\nhark_letters{state=\"acked\"} 7\nhark_gossip_messages_total{outcome=\"kept\"} 9\n"
	if got := blames(planted); len(got) != 3 {
		t.Fatalf("of three planted faults these were found: %q", got)
	}
	g := youngNetwork()
	var public, customers []*process
	var addrs []string
	for _, tag := range editions {
		p := newProcess(t, "vendor"+tag, node.InitOptions{Profile: node.Public, Network: g, Bootstrap: addrs})
		p.bin = edition(t, tag)
		startAll(t, p)
		public, addrs = append(public, p), append(addrs, identity(t, p).Addrs[0])
	}
	acquainted(t, public, len(public)-1)
	for _, p := range public {
		sells(t, p)
	}
	for _, tag := range editions {
		p := newProcess(t, "customer"+tag, node.InitOptions{Network: g, Bootstrap: addrs, PostDelay: "0s"})
		p.bin = edition(t, tag)
		startAll(t, p)
		customers = append(customers, p)
	}
	acquainted(t, customers, len(public))
	for _, p := range customers {
		deals(t, p, len(public))
	}
	for _, p := range slices.Concat(public, customers) {
		err := p.until(t.Context(), "has nothing under way", func(ctx context.Context, _ desk.House) (bool, error) {
			c, _, err := p.house(ctx)
			if err != nil {
				return false, err
			}
			text, err := c.Metrics(ctx)
			return len(blames(string(text))) == 0, err
		})
		if err != nil {
			c, _, _ := p.house(t.Context())
			text, _ := c.Metrics(t.Context())
			t.Errorf("%v: %q", err, blames(string(text)))
		}
	}
	t.Logf("%d editions: %d customers, each with an offer of each of %d vendors and a deletion by each; nobody blamed", len(editions), len(customers), len(public))
}

// skewed plants two violations between real nodes, which blames must find: a node that
// blames a later edition for what it does not know, and a letter that stays with its
// keepers. A vendor of the edition to come announces a need of its own, and asks a customer
// who is gone.
func skewed(t *testing.T) {
	t.Helper()
	g := youngNetwork()
	later := newProcess(t, "later", node.InitOptions{Profile: node.Public, Network: g})
	later.bin = edition(t, "hark_next")
	startAll(t, later)
	addrs := identity(t, later).Addrs[:1]
	strict := newProcess(t, "strict", node.InitOptions{Profile: node.Public, Network: g, Bootstrap: addrs})
	strict.args = append(strict.args, "--misbehave", "blame-later")
	gone := newProcess(t, "gone", node.InitOptions{Network: g, Bootstrap: addrs, PostDelay: "0s"})
	startAll(t, strict, gone)
	acquainted(t, []*process{strict, gone}, 1)
	sells(t, strict) // so that it follows all shards
	for _, p := range []*process{gone, later} {
		err := p.ask(t.Context(), func(ctx context.Context, h desk.House) error {
			_, err := h.Customer().Needs().Create(ctx, desk.NeedSpec{Auto: true, Name: "a couch for two", Category: "home.furniture"})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	found := func(p *process, what string) {
		err := p.until(t.Context(), "has "+what, func(ctx context.Context, _ desk.House) (bool, error) {
			c, _, err := p.house(ctx)
			if err != nil {
				return false, err
			}
			text, err := c.Metrics(ctx)
			return slices.ContainsFunc(blames(string(text)), func(s string) bool { return strings.HasPrefix(s, what) }), err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	found(strict, `hark_announcements_judged_total{reason="encoding",verdict="blame"}`)
	err := strict.until(t.Context(), "has the need that it does not blame", func(ctx context.Context, h desk.House) (bool, error) {
		list, err := h.Vendor().Board().List(ctx, desk.Query{})
		return len(list.Items) == 1, err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gone.stop(); err != nil {
		t.Fatal(err)
	}
	sells(t, later) // it follows all shards now, pulls her need, and asks
	found(later, `hark_letters{`)
	for _, p := range []*process{strict, later} {
		if _, err := p.stop(); err != nil {
			t.Fatal(err)
		}
	}
}

// sells makes a vendor of a public node.
func sells(t *testing.T, p *process) {
	t.Helper()
	err := p.ask(t.Context(), func(ctx context.Context, h desk.House) error {
		if _, err := h.Vendor().Passports().Issue(ctx, desk.PassportSpec{Name: p.name, Country: "ZA", Contact: p.name + "@example.org"}); err != nil {
			return err
		}
		if _, err := h.Vendor().Catalog().Import(ctx, strings.NewReader("id,title,price\n1,Two-seater couch grey,4500.00\n"), desk.ImportSpec{Currency: "ZAR"}); err != nil {
			return err
		}
		_, err := h.Vendor().Rules().Set(ctx, desk.Follow{Ask: true, Answer: true, Confirm: true, Fulfil: true})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// deals announces a need, waits for an offer of each vendor, and revokes what it gave.
func deals(t *testing.T, p *process, vendors int) {
	t.Helper()
	var need string
	err := p.ask(t.Context(), func(ctx context.Context, h desk.House) error {
		for name, value := range map[string]string{"location.area": "Melville", "contact.hours": "evenings"} {
			if _, err := h.Customer().Vault().Set(ctx, name, desk.Value(value)); err != nil {
				return err
			}
		}
		n, err := h.Customer().Needs().Create(ctx, desk.NeedSpec{Auto: true, Name: "a couch for two", Category: "home.furniture"})
		need = n.ID
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	count := func(what string, want int, have func(context.Context, desk.House) (map[string]bool, error)) {
		err := p.until(t.Context(), fmt.Sprintf("should have %d %s", want, what), func(ctx context.Context, h desk.House) (bool, error) {
			got, err := have(ctx, h)
			return len(got) == want, err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	count("vendors with offers", vendors, func(ctx context.Context, h desk.House) (map[string]bool, error) {
		got := map[string]bool{}
		list, err := all(ctx, h.Customer().Offers().List, desk.Query{Context: need})
		for _, o := range list {
			got[o.Vendor] = true
		}
		return got, err
	})
	if err := p.ask(t.Context(), func(ctx context.Context, h desk.House) error {
		_, err := h.Customer().Grants().Revoke(ctx, nil, desk.Query{Context: need}, "")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	count("deletions", vendors, func(ctx context.Context, h desk.House) (map[string]bool, error) {
		got := map[string]bool{}
		list, err := all(ctx, h.Customer().Grants().List, desk.Query{State: "deleted"})
		for _, g := range list {
			got[g.ID] = true
		}
		return got, err
	})
}
