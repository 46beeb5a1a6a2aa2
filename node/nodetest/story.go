package nodetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/harkmarket/hark/node/desk"
)

// A Story plays a text on a World, one command a line, and checks after each line
// what must hold in every story: no promise counts as broken unless the text says
// that one is, every ledger verifies, no vendor holds what it signed that it deleted,
// and no offer was opened after its grant was revoked.
//
//	keeper k1
//	vendor couches
//	sells couches 1 "Two-seater couch grey" 4500
//	customer thandi location.area Melville
//	need thandi couch "a couch for two" budget 6000
//	expect offers thandi couch 1
//	wait 2h
//	revoke thandi
//	expect grants thandi deleted 1
//
// The first line may choose the network: "network simulated latency 30ms loss 1%" plays
// on real hosts over simulated packets; without it a story plays on pipes. On both,
// "partition k1 thandi | couches" and "heal" cut and join it, and "clock thandi +1h"
// puts a clock wrong; "loss 5%" is for the simulated one.
//
// Words with blanks stand in double quotes; # starts a comment. The commands and what
// can be expected are the tables verbs and facts. An expectation may take up to 15
// minutes of the story's time to come true.
type Story struct {
	t       testing.TB
	w       *World
	who     map[string]*Member
	specs   map[string]*desk.NeedSpec
	needs   map[string]string // by its owner's word for it
	allowed map[string]int    // broken promises, by who suffered them
}

// Play plays a text. Call it inside a synctest bubble. The error names the line at
// which the story went another way.
func Play(t testing.TB, text string) error {
	t.Helper()
	s := &Story{t: t, who: map[string]*Member{}, specs: map[string]*desk.NeedSpec{}, needs: map[string]string{}, allowed: map[string]int{}}
	defer func() {
		if s.w != nil {
			s.w.Close()
		}
	}()
	for i, line := range strings.Split(text, "\n") {
		words, err := split(line)
		if len(words) == 0 && err == nil {
			continue
		}
		if err == nil {
			err = s.do(words)
		}
		if err == nil {
			err = s.sound()
		}
		if err != nil {
			return fmt.Errorf("line %d: %s: %w", i+1, strings.TrimSpace(line), err)
		}
	}
	return nil
}

// split gives the words of a line.
func split(line string) (words []string, err error) {
	word, open, quoted := "", false, false
	end := func() {
		if open {
			words = append(words, word)
		}
		word, open = "", false
	}
	for _, r := range line {
		switch {
		case r == '"':
			quoted, open = !quoted, true
		case quoted:
			word += string(r)
		case r == '#':
			end()
			return words, nil
		case r == ' ' || r == '\t':
			end()
		default:
			word, open = word+string(r), true
		}
	}
	end()
	if quoted {
		err = fmt.Errorf("a quotation mark is missing")
	}
	return words, err
}

// A verb is one command: how many words follow it at least, and what it does.
type verb struct {
	least int
	do    func(s *Story, a []string) error
}

// do runs one line.
func (s *Story) do(words []string) error {
	v, ok := verbs[words[0]]
	if !ok {
		return fmt.Errorf("%q is none of %v", words[0], slices.Sorted(maps.Keys(verbs)))
	}
	if len(words)-1 < v.least {
		return fmt.Errorf("%s needs %d words", words[0], v.least)
	}
	if s.w == nil && words[0] != "network" {
		s.w = NewWorld(s.t)
	}
	return v.do(s, words[1:])
}

// node finds who a line is about.
func (s *Story) node(name string) (*Member, error) {
	m := s.who[name]
	if m == nil || m.Node == nil {
		return nil, fmt.Errorf("%q is not there, or stopped", name)
	}
	return m, nil
}

// on makes a verb about one running node.
func on(least int, do func(s *Story, m *Member, a []string) error) verb {
	return verb{least, func(s *Story, a []string) error {
		m, err := s.node(a[0])
		if err != nil {
			return err
		}
		return do(s, m, a[1:])
	}}
}

var bg = context.Background()

// sells are the rules of every vendor of a story.
var sells = desk.Follow{Ask: true, Answer: true, Confirm: true, Fulfil: true}

// verbs is the table of commands.
var verbs = map[string]verb{
	"network":   {1, (*Story).network},
	"partition": {3, (*Story).partition},
	"heal":      {0, func(s *Story, _ []string) error { s.w.Heal(); return nil }},
	"loss":      {1, (*Story).loss},
	"clock":     on(2, (*Story).clock),
	"carrier":   {1, func(s *Story, a []string) error { return s.settle(a[0], s.w.Carrier(a[0])) }},
	"keeper":    {1, func(s *Story, a []string) error { return s.settle(a[0], s.w.Public(a[0])) }},
	"vendor":    {1, (*Story).vendor},
	"customer":  {1, (*Story).customer},
	"sells": on(4, func(_ *Story, m *Member, a []string) error {
		row := fmt.Sprintf("id,title,price\n%s,%q,%s.00\n", a[0], a[1], a[2])
		_, err := m.Vendor().Catalog().Import(bg, reader(row), desk.ImportSpec{})
		return err
	}),
	"asks-also": on(2, func(_ *Story, m *Member, a []string) error {
		own, err := m.Vendor().Passports().Own(bg)
		if err != nil {
			return err
		}
		own.Uses[0].Fields = append(own.Uses[0].Fields, a...) // a vendor's node sends nothing that it does not register
		if _, err := m.Vendor().Passports().Issue(bg, desk.PassportSpec{Uses: own.Uses}); err != nil {
			return err
		}
		f := sells
		f.AskAlso = a
		_, err = m.Vendor().Rules().Set(bg, f)
		return err
	}),
	"need":     {3, func(s *Story, a []string) error { return s.announce(a, false) }},
	"interest": {3, func(s *Story, a []string) error { return s.announce(a, true) }},
	"update":   on(2, (*Story).update),
	"renew":    on(2, func(s *Story, m *Member, a []string) error { return s.end(m, a[0], desk.Renew) }),
	"withdraw": on(2, func(s *Story, m *Member, a []string) error { return s.end(m, a[0], desk.Withdraw) }),
	"accept":   on(2, (*Story).accept),
	"close":    on(1, (*Story).closeDeals),
	"give":     on(3, (*Story).give),
	"give-for": on(4, (*Story).giveFor),
	"set": on(3, func(_ *Story, m *Member, a []string) error {
		m.Fill(map[string]string{a[0]: a[1]})
		return nil
	}),
	"forget": on(2, func(_ *Story, m *Member, a []string) error { return m.Customer().Vault().Remove(bg, a[0], 0) }),
	"take-back": on(2, func(_ *Story, m *Member, a []string) error {
		_, err := m.Customer().Grants().Revoke(bg, nil, desk.Query{Field: a[0]}, "")
		return err
	}),
	"revoke": on(1, func(s *Story, m *Member, a []string) error {
		q := desk.Query{}
		if len(a) > 0 {
			q.Vendor = a[0]
		}
		_, err := m.Customer().Grants().Revoke(bg, nil, q, "")
		return err
	}),
	"suspend": on(2, func(s *Story, m *Member, a []string) error { return s.pause(m, a[0], false) }),
	"resume":  on(2, func(s *Story, m *Member, a []string) error { return s.pause(m, a[0], true) }),
	"right": on(3, func(s *Story, m *Member, a []string) error {
		for _, g := range m.Grants(desk.Query{Vendor: a[0]}) {
			if _, err := m.Customer().Grants().Right(bg, g.ID, desk.RightSpec{Exercise: a[1]}); err != nil {
				return err
			}
		}
		return nil
	}),
	"rule": on(4, func(_ *Story, m *Member, a []string) error {
		_, err := m.Consent().Add(bg, desk.ConsentRule{Name: a[0], Action: a[1], When: a[2]})
		return err
	}),
	"grant":  on(2, func(_ *Story, m *Member, a []string) error { return less(m, a[0], nil) }),
	"less":   on(4, func(_ *Story, m *Member, a []string) error { return less(m, a[0], a[1:]) }),
	"pays":   on(2, pays),
	"credit": on(2, credit),
	"settle": on(2, settled),
	"refuse": on(2, func(_ *Story, m *Member, a []string) error {
		return waiting(m, a[0], func(id string) error {
			_, err := m.Customer().Requests().Refuse(bg, id, strings.Join(a[1:], " "))
			return err
		})
	}),
	"snooze": on(3, func(_ *Story, m *Member, a []string) error {
		return waiting(m, a[0], func(id string) error {
			return pass(a[1], func(d time.Duration) error {
				_, err := m.Customer().Requests().Snooze(bg, id, desk.SnoozeSpec{Seconds: int64(d / time.Second)})
				return err
			})
		})
	}),
	"block":   on(2, func(_ *Story, m *Member, a []string) error { _, err := m.Consent().Block(bg, a[0], true); return err }),
	"unblock": on(2, func(_ *Story, m *Member, a []string) error { _, err := m.Consent().Block(bg, a[0], false); return err }),
	"offline": on(1, func(_ *Story, m *Member, _ []string) error { m.Online(false); return nil }),
	"online":  on(1, func(_ *Story, m *Member, _ []string) error { m.Online(true); return nil }),
	"stop":    on(1, func(_ *Story, m *Member, _ []string) error { m.Stop(); return nil }),
	"start":   {1, (*Story).start},
	"wait":    {1, func(s *Story, a []string) error { return pass(a[0], sleep) }},
	"quiet":   {1, (*Story).quiet},
	"allow":   {3, (*Story).allow},
	"expect":  {2, (*Story).expect},
}

func (s *Story) settle(name string, m *Member) error {
	if s.who[name] != nil {
		return fmt.Errorf("there is a %q already", name)
	}
	s.who[name] = m
	time.Sleep(2 * time.Second)
	return nil
}

// vendor starts a public node that sells; one more word names a promise that it breaks.
func (s *Story) vendor(a []string) error {
	m := s.w.Misbehaving(a[0], true, strings.Join(a[1:], ""))
	if err := s.settle(a[0], m); err != nil {
		return err
	}
	if _, err := m.Vendor().Passports().Issue(bg, desk.PassportSpec{Name: a[0], Country: "ZA", Contact: a[0] + "@example.org"}); err != nil {
		return err
	}
	_, err := m.Vendor().Rules().Set(bg, sells)
	return err
}

// customer starts a personal node with pairs of field and value in its vault.
func (s *Story) customer(a []string) error {
	m := s.w.Personal(a[0])
	for pair := range slices.Chunk(a[1:], 2) {
		if len(pair) < 2 {
			return fmt.Errorf("field %s has no value", pair[0])
		}
		m.Fill(map[string]string{pair[0]: pair[1]})
	}
	return s.settle(a[0], m)
}

// announce reads: owner, the owner's word for it, its name, and constraints.
func (s *Story) announce(a []string, interest bool) error {
	m, err := s.node(a[0])
	if err != nil {
		return err
	}
	spec := &desk.NeedSpec{Auto: true, Name: a[2], Category: "home.furniture", Interest: interest}
	if err := constrain(spec, a[3:]); err != nil {
		return err
	}
	n, err := m.Customer().Needs().Create(bg, *spec)
	s.specs[a[0]+" "+a[1]], s.needs[a[0]+" "+a[1]] = spec, n.ID
	return err
}

// constrain reads pairs of constraint and value.
func constrain(spec *desk.NeedSpec, a []string) error {
	for pair := range slices.Chunk(a, 2) {
		if len(pair) < 2 {
			return fmt.Errorf("%s has no value", pair[0])
		}
		n, err := strconv.Atoi(pair[1])
		switch pair[0] {
		case "budget":
			spec.MaxPrice = int64(n) * 100
		case "quantity":
			spec.Quantity = uint32(max(n, 0))
		case "days":
			spec.Days = n
		case "name":
			spec.Name, err = pair[1], nil
		case "category":
			spec.Category, err = pair[1], nil
		case "auto": // no: she is asked
			spec.Auto, err = pair[1] == "yes", nil
		default:
			err = fmt.Errorf("constraint %q is unknown", pair[0])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Story) need(m *Member, word string) (string, error) {
	id := s.needs[m.Name+" "+word]
	if id == "" {
		return "", fmt.Errorf("%s has no need called %q", m.Name, word)
	}
	return id, nil
}

func (s *Story) update(m *Member, a []string) error {
	id, err := s.need(m, a[0])
	if err != nil {
		return err
	}
	spec := s.specs[m.Name+" "+a[0]]
	if err := constrain(spec, a[1:]); err != nil {
		return err
	}
	_, err = m.Customer().Needs().Update(bg, id, *spec)
	return err
}

func (s *Story) end(m *Member, word string, how desk.NeedEnd) error {
	id, err := s.need(m, word)
	if err != nil {
		return err
	}
	_, err = m.Customer().Needs().End(bg, id, how)
	return err
}

// accept takes the best standing offer for a need.
func (s *Story) accept(m *Member, a []string) error {
	id, err := s.need(m, a[0])
	if err != nil {
		return err
	}
	for _, o := range m.Offers(desk.Query{Context: id}) {
		if o.State == "offered" {
			_, err := m.Customer().Offers().Accept(bg, o.ID, "")
			return err
		}
	}
	return fmt.Errorf("no standing offer for %s", a[0])
}

func (s *Story) closeDeals(m *Member, _ []string) error {
	p, err := m.Customer().Deals().List(bg, desk.Query{State: "fulfilled"})
	for _, d := range p.Items {
		if _, err := m.Customer().Deals().Step(bg, d.ID, "close", ""); err != nil {
			return err
		}
	}
	return err
}

// give starts a relation with a vendor, whose passport comes by another way.
func (s *Story) give(m *Member, a []string) error {
	return s.relate(m, desk.GiveSpec{Name: a[0], Fields: a[1:]})
}

// giveFor does so for a number of days.
func (s *Story) giveFor(m *Member, a []string) error {
	days, err := strconv.Atoi(a[1])
	if err != nil {
		return err
	}
	return s.relate(m, desk.GiveSpec{Name: a[0], Fields: a[2:], Days: days})
}

func (s *Story) relate(m *Member, spec desk.GiveSpec) error {
	v, err := s.node(spec.Name)
	if err != nil {
		return err
	}
	own, err := v.Vendor().Passports().Own(bg)
	if err != nil {
		return err
	}
	spec.Vendor = own.Vendor
	_, err = m.Customer().Grants().Give(bg, spec)
	return err
}

func (s *Story) pause(m *Member, vendor string, resume bool) error {
	for _, g := range m.Grants(desk.Query{Vendor: vendor}) {
		if _, err := m.Customer().Grants().Pause(bg, g.ID, resume, ""); err != nil {
			return err
		}
	}
	return nil
}

func (s *Story) start(a []string) error {
	m := s.who[a[0]]
	if m == nil {
		return fmt.Errorf("there is no %q", a[0])
	}
	m.Start()
	return nil
}

// pass lets a time such as 90m or 12d pass.
func pass(text string, sleep func(time.Duration) error) error {
	days, isDays := strings.CutSuffix(text, "d")
	if n, err := strconv.Atoi(days); isDays && err == nil {
		return sleep(time.Duration(n) * 24 * time.Hour)
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return err
	}
	return sleep(d)
}

func sleep(d time.Duration) error { time.Sleep(d); return nil }

// quiet stops everybody for a while; with a number, so many times over, with ten
// minutes of life after each.
func (s *Story) quiet(a []string) error {
	times := 1
	if len(a) > 1 {
		var err error
		if times, err = strconv.Atoi(a[1]); err != nil {
			return err
		}
	}
	for range times {
		running := s.w.Members()
		for _, m := range running {
			m.Stop()
		}
		if err := pass(a[0], sleep); err != nil {
			return err
		}
		for _, m := range running {
			m.Start()
		}
		time.Sleep(10 * time.Minute)
		if err := s.sound(); err != nil {
			return err
		}
	}
	return nil
}

// allow says that promises to somebody were broken: "allow lapses thandi 1".
func (s *Story) allow(a []string) (err error) {
	if a[0] != "lapses" {
		return fmt.Errorf("only lapses can be allowed")
	}
	s.allowed[a[1]], err = strconv.Atoi(a[2])
	return err
}
