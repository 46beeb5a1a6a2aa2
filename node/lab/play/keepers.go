package play

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/lab"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// Attacks are what some stages can do beside to keepers, or have keepers do.
type Attacks interface {
	// Lose takes from a node that is down all that it kept.
	Lose(i int) error
	// Reach takes a node off the network, which runs on, or brings it back.
	Reach(i int, online bool)
	// Issuer is who vouches for the vendors that come after a flood.
	Issuer() string
	// Flood takes a customer off the network, floods her need, given as it was announced,
	// with requests, and brings her back. What came of it at each keeper goes to saw.
	Flood(ctx context.Context, i, need int, raw []byte) error
}

// attacks are those of a stage.
func attacks(on Stage) (Attacks, error) {
	a, ok := on.(Attacks)
	if !ok {
		return nil, fmt.Errorf("this engine can't do that: %w", fault.Unsupported)
	}
	return a, nil
}

// A trade is what vendors and customers do in a run, and what came of it.
type trade struct{ *run }

// An assault is what is done to keepers in a run.
type assault struct{ *run }

// settleIn gives a public node its rules, and a vendor its passport before.
func (r trade) settleIn(ctx context.Context, i int) error {
	if r.s.Network.Follow != lab.FollowAll {
		return nil
	}
	follow := desk.Follow{Sectors: protocol.Categories().Sectors(), Regions: []string{Region}}
	v := r.stage.House(i).Vendor()
	if i < r.s.Letters.Vendors {
		follow.Ask = true
		name := r.plan.Players[i].Name
		if _, err := v.Passports().Issue(ctx, desk.PassportSpec{Name: name, Country: Region, Contact: name + "@example.org"}); err != nil {
			return err
		}
	}
	_, err := v.Rules().Set(ctx, follow)
	return err
}

// field is what customers grant to vendors.
const field = "location.area"

// vaults gives customers something to grant.
func (r trade) vaults(ctx context.Context) error {
	if r.s.Letters.Vendors == 0 {
		return nil
	}
	return r.each(r.customers(), func(i int) error {
		_, err := r.stage.House(i).Customer().Vault().Set(ctx, field, desk.Value("Melville"))
		return err
	})
}

func (r trade) customers() (out []int) {
	for i, p := range r.plan.Players {
		if !p.Public {
			out = append(out, i)
		}
	}
	return out
}

// spec is a need as its customer describes it to her node.
func (r trade) spec(st lab.Step) desk.NeedSpec {
	s := desk.NeedSpec{Auto: true, Name: fmt.Sprintf("need %d", st.Need), Category: st.Category, Region: Region}
	if r.s.Letters.Vendors > 0 {
		s.Fields = map[string]int64{field: 0}
	}
	if a, err := attacks(r.stage); err == nil && r.s.Flooded(st.Need) && r.s.MailFlood.Named {
		s.Issuers = []string{a.Issuer()}
	}
	return s
}

// know notes whose key it is.
func (r *run) know(key, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.who[key] = name
}

// named are the names of public nodes with these keys.
func (r *run) named(keys []string) (out []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range keys {
		out = append(out, r.who[k])
	}
	slices.Sort(out)
	return out
}

// lose has a node lose all that it kept, and start again.
func (r assault) lose(ctx context.Context, i int) error {
	a, err := attacks(r.stage)
	if err != nil {
		return err
	}
	if err := r.down(ctx, i); err != nil {
		return err
	}
	if err := a.Lose(i); err != nil {
		return err
	}
	if err := r.stage.Move(ctx, i, true); err != nil {
		return err
	}
	return errors.Join(trade{r.run}.settleIn(ctx, i), r.arrived(ctx, i, time.Time{}))
}

// leave takes a customer off the network, or brings her back.
func (r assault) leave(i int, online bool) error {
	a, err := attacks(r.stage)
	if err == nil {
		a.Reach(i, online)
	}
	return err
}

// flood floods a need, once it was announced.
func (r assault) flood(ctx context.Context, st lab.Step) error {
	a, err := attacks(r.stage)
	if err != nil {
		return err
	}
	var was said
	select {
	case was = <-r.needs[st.Need]:
		r.needs[st.Need] <- was
	case <-ctx.Done():
		return ctx.Err()
	}
	if !was.ok {
		return nil
	}
	seen, err := r.stage.House(st.Player).Customer().Needs().Stranger(ctx, was.id)
	if err != nil {
		return err
	}
	raw, err := hex.DecodeString(seen.Hex)
	if err != nil {
		return fmt.Errorf("need %d as a stranger sees it: %w", st.Need, err)
	}
	return a.Flood(ctx, st.Player, st.Need, raw)
}

// outcome notes what became of letters, and of who keeps them.
func (r trade) outcome(ctx context.Context) error {
	if r.s.Letters.Vendors == 0 {
		return nil
	}
	all := r.customers()
	for i := range r.s.Letters.Vendors {
		all = append(all, i)
	}
	return r.each(all, func(i int) error {
		h := r.stage.House(i)
		if h == nil {
			return nil // it went, and did not come back in time
		}
		if err := r.letters(ctx, i, h); err != nil {
			return err
		}
		v, err := h.Admin().Status(ctx)
		if err != nil {
			return err
		}
		r.blame(i, v.Problems)
		return r.held(ctx, i, h)
	})
}

// inLedger are the kinds of entries that a letter leaves at who sent it, or keeps it.
var inLedger = []string{"request", "grant", "receipt", "disclosure"}

// letters notes those of a node's ledger.
func (r trade) letters(ctx context.Context, i int, h desk.House) error {
	p := r.plan.Players[i]
	for _, kind := range inLedger {
		q := desk.Query{Kind: kind, Limit: 500}
		for more := true; more; more = q.After != "" {
			page, err := h.Ledger().List(ctx, q)
			if err != nil {
				return err
			}
			for _, e := range page.Items {
				at := time.UnixMilli(e.AtMS).Add(-p.Skew)
				r.saw(at, lab.Record{Kind: lab.KindLetter, Node: p.Name, What: e.Kind, Grant: brief(e.Body["grant"]), Context: brief(e.Body["context"])})
			}
			q.After = page.Next
		}
	}
	return nil
}

// blame notes which keepers a node's status names, and under which code.
func (r trade) blame(i int, problems []desk.Problem) {
	r.mu.Lock()
	var all []lab.Record
	for key, name := range r.who {
		for _, p := range problems {
			if strings.HasPrefix(p.Code, "keeper-") && strings.Contains(p.What, key) {
				all = append(all, lab.Record{Kind: lab.KindNamed, Node: r.plan.Players[i].Name, What: p.Code, From: name})
			}
		}
	}
	r.mu.Unlock()
	slices.SortFunc(all, func(a, b lab.Record) int { return strings.Compare(a.From+a.What, b.From+b.What) })
	for _, rec := range all {
		r.mark(rec)
	}
}

// held notes who keeps a customer's needs.
func (r trade) held(ctx context.Context, i int, h desk.House) error {
	if r.plan.Players[i].Public {
		return nil
	}
	q := desk.Query{Limit: 500}
	for more := true; more; more = q.After != "" {
		page, err := h.Customer().Needs().List(ctx, q)
		if err != nil {
			return err
		}
		for _, n := range page.Items {
			if n.State == "announced" {
				r.mark(lab.Record{Kind: lab.KindHeld, Node: r.plan.Players[i].Name, Context: brief(n.ID), Keepers: r.named(n.Keepers)})
			}
		}
		q.After = page.Next
	}
	return nil
}
