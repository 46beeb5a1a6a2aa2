package integration

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/client"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol/fault"
)

// killSeed draws who is killed at which step, and when. Another one: go test
// ./integration -run kill_anywhere -args -kill.seed 7
var killSeed = flag.Uint64("kill.seed", 1, "draws which process is killed at which step")

const (
	shoppers  = 2
	shops     = 2
	keepers   = 1
	needsEach = 8                      // of one shopper
	rounds    = 2                      // how often somebody of each part is killed at each step
	killDelay = 300 * time.Millisecond // a kill comes at most so long after its step began
	minKills  = 30
)

// The steps of each need, in their order.
var storySteps = []string{
	"set a field", "announce", "get offers", "accept", "see it fulfilled", "close", "see it closed there", "revoke", "see it deleted", "withdraw",
}

// colours tell the needs apart, and the products.
var colours = [shoppers * needsEach]string{
	"amber", "black", "copper", "denim", "emerald", "fawn", "green", "hazel", "indigo", "jade", "khaki", "lilac", "maroon", "navy", "olive", "purple",
}

// A bazaar is the network of the test: shops and keepers are public nodes, shoppers
// personal ones.
type bazaar struct {
	shops, keepers, shoppers []*process
	vendors                  []string // vendor ids, in the order of shops

	mu   sync.Mutex
	told told
}

func (b *bazaar) all() []*process { return slices.Concat(b.shops, b.keepers, b.shoppers) }

// TestMust_kill_anywhere kills real processes at random moments of random steps, and
// starts them again at once. Every flow completes; nothing that an API acknowledged is
// lost; nothing happens twice.
func TestMust_kill_anywhere(t *testing.T) {
	t.Run("the check finds planted violations", checkFinds)
	if t.Failed() {
		return
	}
	b := openBazaar(t)
	k := newKiller(b, *killSeed)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	began := time.Now()
	errs := make(chan error, shoppers*needsEach)
	var wg sync.WaitGroup
	for i := range shoppers {
		var next atomic.Int32
		for range 2 { // needs of one shopper at once
			wg.Go(func() {
				for j := int(next.Add(1)) - 1; j < needsEach && ctx.Err() == nil; j = int(next.Add(1)) - 1 {
					s := &story{bazaar: b, killer: k, shopper: b.shoppers[i], need: i*needsEach + j, name: colours[i*needsEach+j] + " desk lamp"}
					if err := s.run(ctx); err != nil {
						errs <- fmt.Errorf("%s: %w", s.name, err)
						cancel()
					}
				}
			})
		}
	}
	wg.Wait()
	kills, killErr := k.wait()
	t.Logf("seed %d: %d needs, %d kills in %v", *killSeed, shoppers*needsEach, kills, time.Since(began).Round(time.Millisecond))
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	if killErr != nil {
		t.Fatal(killErr)
	}
	if t.Failed() {
		return
	}
	if kills < minKills {
		t.Errorf("%d kills hit a running process, want at least %d", kills, minKills)
	}
	b.rest(t)
	for _, v := range violations(b.look(t), b.told) {
		t.Error(v)
	}
}

// openBazaar starts everyone and prepares them; nobody is killed yet.
func openBazaar(t *testing.T) *bazaar {
	t.Helper()
	g := youngNetwork()
	public, addrs := publicNodes(t, g, shops+keepers)
	b := &bazaar{shops: public[:shops], keepers: public[shops:], told: told{needs: map[string]announced{}, vault: map[string]map[string]string{}}}
	for i := range shoppers {
		b.shoppers = append(b.shoppers, newProcess(t, fmt.Sprintf("shopper-%d", i+1), node.InitOptions{Network: g, Bootstrap: addrs}))
	}
	startAll(t, b.shoppers...)
	acquainted(t, b.shoppers, len(public))
	for i, p := range b.shops {
		if err := p.ask(t.Context(), func(ctx context.Context, h desk.House) error { return openShop(ctx, h, i) }); err != nil {
			t.Fatal(err)
		}
		b.vendors = append(b.vendors, identity(t, p).Vendor)
	}
	b.told.vendors = b.vendors
	for _, p := range b.shoppers {
		for _, f := range []string{"location.area", "preference.delivery", "contact.hours"} {
			if err := b.set(t.Context(), p, f, "what "+p.name+" keeps of "+f); err != nil {
				t.Fatal(err)
			}
		}
	}
	return b
}

// openShop gives a vendor its passport, its catalogue and its rules.
func openShop(ctx context.Context, h desk.House, i int) error {
	_, err := h.Vendor().Passports().Issue(ctx, desk.PassportSpec{Name: fmt.Sprintf("Shop %d", i+1), Country: "ZA", Contact: "desk@shop.example"})
	if err != nil {
		return err
	}
	csv := "id,title,price\n"
	for j, colour := range colours {
		csv += fmt.Sprintf("%d,Desk lamp in %s,%d.00\n%d,Desk lamp in %s with a clamp,%d.00\n", 2*j, colour, 200+i, 2*j+1, colour, 300+i)
	}
	if _, err := h.Vendor().Catalog().Import(ctx, strings.NewReader(csv), desk.ImportSpec{Currency: "ZAR"}); err != nil {
		return err
	}
	_, err = h.Vendor().Rules().Set(ctx, desk.Follow{Sectors: []string{}, Regions: []string{}, Ask: true, Answer: true, Confirm: true, Fulfil: true, Offers: 2})
	return err
}

// set puts a value into a vault, and remembers that this was acknowledged.
func (b *bazaar) set(ctx context.Context, p *process, field, value string) error {
	err := p.ask(ctx, func(ctx context.Context, h desk.House) error {
		_, err := h.Customer().Vault().Set(ctx, field, desk.Value(value))
		return err
	})
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.told.vault[p.name] == nil {
		b.told.vault[p.name] = map[string]string{}
	}
	b.told.vault[p.name][field] = value
	return nil
}

// A killer kills and restarts processes according to a plan that a seed draws: at
// each step the shopper whose step it is, each shop and each keeper, a few times.
type killer struct {
	bazaar *bazaar
	plan   map[string]order // by step and need
	wg     sync.WaitGroup
	kills  atomic.Int32
	mu     sync.Mutex
	err    error
}

// An order is one kill: whom, and how long after the step began.
type order struct {
	victim *process
	after  time.Duration
}

func newKiller(b *bazaar, seed uint64) *killer {
	k := &killer{bazaar: b, plan: map[string]order{}}
	draw := rand.New(rand.NewPCG(seed, 0))
	for _, step := range storySteps {
		needs := draw.Perm(shoppers * needsEach)
		for range rounds {
			owner := b.shoppers[needs[0]/needsEach] // the shopper whose step it is
			for _, victim := range slices.Concat([]*process{owner}, b.shops, b.keepers) {
				k.plan[slot(step, needs[0])] = order{victim, time.Duration(draw.Int64N(int64(killDelay)))}
				needs = needs[1:]
			}
		}
	}
	return k
}

func slot(step string, need int) string { return fmt.Sprintf("%s %d", step, need) }

// begins is told that a step begins.
func (k *killer) begins(step string, need int) {
	o, ok := k.plan[slot(step, need)]
	if !ok {
		return
	}
	k.wg.Go(func() {
		time.Sleep(o.after)
		k.strike(o.victim)
	})
}

// strike kills one process and starts it again at once.
func (k *killer) strike(p *process) {
	p.striking.Lock()
	defer p.striking.Unlock()
	p.kill()
	cmd, _, _ := p.running()
	if !killed(cmd) {
		k.fail(fmt.Errorf("%s ended by itself (%v); it last said:\n%s", p.name, cmd.ProcessState, p.tail()))
		return
	}
	k.kills.Add(1)
	if err := p.start(); err != nil {
		k.fail(err)
	}
}

func (k *killer) fail(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = errors.Join(k.err, err)
}

// wait lets the last kills happen.
func (k *killer) wait() (int, error) {
	k.wg.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	return int(k.kills.Load()), k.err
}

// A story is one need, from the first word to the last. Each step may be cut off and
// begun again, with the same Idempotency-Key.
type story struct {
	*bazaar
	killer  *killer
	shopper *process
	need    int
	name    string

	id     string     // of the need
	chosen desk.Offer // the one that is accepted
	shop   *process   // whose offer it is
}

func (s *story) run(ctx context.Context) error {
	for i, do := range []func(context.Context) error{
		s.setField, s.announce, s.offers, s.accept, s.fulfilled, s.close, s.closedThere, s.revoke, s.deleted, s.withdraw,
	} {
		s.killer.begins(storySteps[i], s.need)
		if err := do(ctx); err != nil {
			return fmt.Errorf("%s: %w", storySteps[i], err)
		}
	}
	return nil
}

func (s *story) setField(ctx context.Context) error {
	return s.set(ctx, s.shopper, fmt.Sprintf("note.of-need-%d", s.need), s.name)
}

// once gives a step a key of its own: a call that was cut off is made again with it,
// and nobody looks what has become of it.
func (s *story) once(ctx context.Context, step string) context.Context {
	return client.Keyed(ctx, step+" "+s.name)
}

// announce creates the need, once.
func (s *story) announce(ctx context.Context) error {
	err := s.shopper.ask(ctx, func(ctx context.Context, h desk.House) error {
		n, err := h.Customer().Needs().Create(s.once(ctx, "announce"), desk.NeedSpec{Auto: true, Name: s.name, Category: "home.furniture", Region: "ZA-GP"})
		s.id = n.ID
		return err
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told.needs[s.name] = announced{id: s.id, shopper: s.shopper.name}
	return err
}

// offers waits until every shop was granted access, and everything that it offered
// has come.
func (s *story) offers(ctx context.Context) error {
	made := map[string]bool{}
	for _, p := range s.shops {
		err := p.until(ctx, "should make offers", func(ctx context.Context, h desk.House) (bool, error) {
			list, err := all(ctx, h.Customer().Offers().List, desk.Query{Context: s.id, All: true})
			for _, o := range list {
				made[o.ID] = true
			}
			return len(list) > 0, err
		})
		if err != nil {
			return err
		}
	}
	return s.shopper.until(ctx, "should get every offer", func(ctx context.Context, h desk.House) (bool, error) {
		list, err := all(ctx, h.Customer().Offers().List, desk.Query{Context: s.id})
		if err != nil || len(list) < len(made) {
			return false, err
		}
		s.chosen = list[s.need%len(list)]
		s.shop = s.shops[slices.Index(s.vendors, s.chosen.Vendor)]
		return true, nil
	})
}

// state is what has become of the chosen offer.
func (s *story) state(ctx context.Context, h desk.House) (string, error) {
	o, err := h.Customer().Offers().Get(ctx, s.chosen.ID)
	return o.State, err
}

func (s *story) accept(ctx context.Context) error {
	return s.shopper.ask(ctx, func(ctx context.Context, h desk.House) error {
		_, err := h.Customer().Offers().Accept(s.once(ctx, "accept"), s.chosen.ID, "")
		return err
	})
}

func (s *story) fulfilled(ctx context.Context) error {
	return s.shopper.until(ctx, "should see the deal fulfilled", func(ctx context.Context, h desk.House) (bool, error) {
		st, err := s.state(ctx, h)
		return st == "fulfilled", err
	})
}

func (s *story) close(ctx context.Context) error {
	return s.shopper.ask(ctx, func(ctx context.Context, h desk.House) error {
		_, err := h.Customer().Deals().Step(s.once(ctx, "close"), s.chosen.ID, "close", "")
		return err
	})
}

func (s *story) closedThere(ctx context.Context) error {
	return s.shop.until(ctx, "should see the deal closed", func(ctx context.Context, h desk.House) (bool, error) {
		st, err := s.state(ctx, h)
		return st == "closed", err
	})
}

func (s *story) grants(ctx context.Context, h desk.House) ([]desk.Grant, error) {
	return all(ctx, h.Customer().Grants().List, desk.Query{Context: s.id})
}

// revoke ends all grants of the need, each by a transaction of its own.
func (s *story) revoke(ctx context.Context) error {
	return s.shopper.ask(ctx, func(ctx context.Context, h desk.House) error {
		list, err := h.Customer().Grants().Revoke(s.once(ctx, "revoke"), nil, desk.Query{Context: s.id}, "it was found")
		if err == nil && len(list) != shops {
			err = fmt.Errorf("%d grants were revoked, of %d", len(list), shops)
		}
		return err
	})
}

// deleted waits until both sides of every grant know that all was deleted.
func (s *story) deleted(ctx context.Context) error {
	for _, p := range append([]*process{s.shopper}, s.shops...) {
		err := p.until(ctx, "should see all deleted", func(ctx context.Context, h desk.House) (bool, error) {
			list, err := s.grants(ctx, h)
			return !slices.ContainsFunc(list, func(g desk.Grant) bool { return g.State != "deleted" }), err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// withdraw takes the need back, and waits until every public node has heard of it.
func (s *story) withdraw(ctx context.Context) error {
	err := s.shopper.ask(ctx, func(ctx context.Context, h desk.House) error {
		_, err := h.Customer().Needs().End(s.once(ctx, "withdraw"), s.id, desk.Withdraw)
		return err
	})
	if err != nil {
		return err
	}
	for _, p := range slices.Concat(s.shops, s.keepers) {
		err := p.until(ctx, "should hear of the withdrawal", func(ctx context.Context, h desk.House) (bool, error) {
			n, _, err := h.Vendor().Board().Get(ctx, s.id)
			if errors.Is(err, fault.NotFound) {
				return false, nil
			}
			return n.Status == "withdrawn", err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// rest waits until nothing is under way and no ledger grows any more.
func (b *bazaar) rest(t *testing.T) {
	t.Helper()
	for _, p := range b.all() {
		last := int64(-1)
		if err := p.until(t.Context(), "should come to rest", func(ctx context.Context, h desk.House) (bool, error) {
			s, err := h.Admin().Status(ctx)
			if err != nil {
				return false, err
			}
			r, err := h.Ledger().Verify(ctx)
			same := r.Entries == last && s.Delivery["queued"] == 0
			last = r.Entries
			return same, err
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// look reads all that the nodes tell, stops them, and reads their homes.
func (b *bazaar) look(t *testing.T) []seen {
	t.Helper()
	var out []seen
	for _, p := range b.all() {
		v := seen{name: p.name, shopper: slices.Contains(b.shoppers, p)}
		if i := slices.Index(b.shops, p); i >= 0 {
			v.vendor = b.vendors[i]
		}
		if err := p.ask(t.Context(), func(ctx context.Context, h desk.House) error { return v.read(ctx, h) }); err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	for i, p := range b.all() {
		if code, err := p.stop(); err != nil || code != 0 {
			t.Errorf("%s: exit code %d: %v", p.name, code, err)
		}
		a, err := node.Audit(p.paths, nil)
		if err != nil {
			t.Errorf("%s: its home cannot be read: %v", p.name, err)
		}
		out[i].audit = a
	}
	return out
}

// read asks one node for everything.
func (v *seen) read(ctx context.Context, h desk.House) error {
	c, whole := h.Customer(), desk.Query{All: true}
	var errs [9]error
	v.needs, errs[0] = all(ctx, c.Needs().List, whole)
	v.requests, errs[1] = all(ctx, c.Requests().List, whole)
	v.grants, errs[2] = all(ctx, c.Grants().List, whole)
	v.offers, errs[3] = all(ctx, c.Offers().List, whole)
	v.deals, errs[4] = all(ctx, c.Deals().List, desk.Query{})
	v.entries, errs[5] = all(ctx, h.Ledger().List, desk.Query{})
	v.ledger, errs[6] = h.Ledger().Verify(ctx)
	v.held, errs[7] = all(ctx, h.Vendor().Held().List, desk.Query{})
	var fields []desk.Field
	fields, errs[8] = c.Vault().List(ctx)
	v.vault = map[string]string{}
	for _, f := range fields {
		got, err := c.Vault().Get(ctx, f.Name)
		if err != nil {
			return err
		}
		v.vault[f.Name] = got.Value
	}
	return errors.Join(errs[:]...)
}
