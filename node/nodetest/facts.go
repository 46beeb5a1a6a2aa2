package nodetest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/ledger/audit"
)

// A fact is something that a story can expect of one node: how many words it takes
// beside the node and what is expected, and how it is found out.
type fact struct {
	words int
	find  func(s *Story, m *Member, a []string) (string, error)
}

// facts is the table of what can be expected: expect FACT WHO [WORDS] VALUE.
var facts = map[string]fact{
	"offers": {1, func(s *Story, m *Member, a []string) (string, error) {
		id, err := s.need(m, a[0])
		return count(m.Offers(desk.Query{Context: id})), err
	}},
	"standing": {1, func(s *Story, m *Member, a []string) (string, error) {
		id, err := s.need(m, a[0])
		list := slices.DeleteFunc(m.Offers(desk.Query{Context: id}), func(o desk.Offer) bool { return o.State != "offered" })
		return count(list), err
	}},
	"missed": {1, func(s *Story, m *Member, a []string) (string, error) {
		id, err := s.need(m, a[0])
		list := slices.DeleteFunc(m.Offers(desk.Query{Context: id, All: true}), func(o desk.Offer) bool { return len(o.Misses) == 0 })
		return count(list), err
	}},
	"grants": {1, func(_ *Story, m *Member, a []string) (string, error) {
		return count(m.Grants(desk.Query{State: a[0]})), nil
	}},
	"deals": {1, func(_ *Story, m *Member, a []string) (string, error) {
		p, err := m.Customer().Deals().List(bg, desk.Query{State: a[0]})
		return count(p.Items), err
	}},
	"requests": {1, func(_ *Story, m *Member, a []string) (string, error) {
		p, err := m.Customer().Requests().List(bg, desk.Query{State: a[0]})
		return count(p.Items), err
	}},
	"prompts": {0, func(_ *Story, m *Member, _ []string) (string, error) {
		return countRequests(m, func(r desk.Request) bool { return r.State == "waiting" && !r.Prompted.IsZero() })
	}},
	"by": {1, func(_ *Story, m *Member, a []string) (string, error) { // decided by a rule of that name
		return countRequests(m, func(r desk.Request) bool { return r.By != "" && r.Rule == a[0] })
	}},
	"owed": {1, func(_ *Story, m *Member, a []string) (string, error) { // to her, by a vendor, in minor units
		return owed(m, func(d desk.Debt) bool { return d.Side == "customer" && d.Name == a[0] })
	}},
	"owes": {0, func(_ *Story, m *Member, _ []string) (string, error) { // a vendor, to all
		return owed(m, func(d desk.Debt) bool { return d.Side == "vendor" })
	}},
	"less": {0, func(_ *Story, m *Member, _ []string) (string, error) {
		return countRequests(m, func(r desk.Request) bool { return r.Less })
	}},
	"need": {1, func(s *Story, m *Member, a []string) (string, error) {
		id, err := s.need(m, a[0])
		if err != nil {
			return "", err
		}
		n, err := m.Customer().Needs().Get(bg, id)
		return fmt.Sprintf("%s %d", n.State, n.Seq), err
	}},
	"board": {0, func(_ *Story, m *Member, _ []string) (string, error) {
		p, err := m.Vendor().Board().List(bg, desk.Query{})
		return count(slices.DeleteFunc(p.Items, func(n desk.Notice) bool { return n.Status != "open" })), err
	}},
	"held": {0, func(_ *Story, m *Member, _ []string) (string, error) {
		p, err := m.Vendor().Held().List(bg, desk.Query{})
		return count(p.Items), err
	}},
	"disclosures": {0, func(_ *Story, m *Member, _ []string) (string, error) {
		n := uint64(0)
		for _, g := range m.Grants(desk.Query{}) {
			n += g.Disclosures
		}
		return fmt.Sprint(n), nil
	}},
	"updates": {0, func(_ *Story, m *Member, _ []string) (string, error) {
		n := uint64(0)
		for _, g := range m.Grants(desk.Query{}) {
			n += g.Updates
		}
		return fmt.Sprint(n), nil
	}},
	"field-held": {1, func(_ *Story, m *Member, a []string) (string, error) {
		p, err := m.Vendor().Held().List(bg, desk.Query{})
		return count(slices.DeleteFunc(p.Items, func(h desk.HeldRecord) bool { return !slices.Contains(h.Fields, a[0]) })), err
	}},
	"proofs": {0, proofs},
	"rights": {1, func(_ *Story, m *Member, a []string) (string, error) {
		n := 0
		for _, g := range m.Grants(desk.Query{}) {
			for _, r := range g.Rights {
				if r.Status == a[0] {
					n++
				}
			}
		}
		return fmt.Sprint(n), nil
	}},
	"problem": {1, func(_ *Story, m *Member, a []string) (string, error) {
		v, err := m.Admin().Status(bg)
		return count(slices.DeleteFunc(v.Problems, func(p desk.Problem) bool { return p.Code != a[0] })), err
	}},
	"lapses": {0, func(s *Story, m *Member, _ []string) (string, error) { return fmt.Sprint(lapses(m)), nil }},
}

// proofs counts the broken promises that the signed messages show, as hark-audit judges.
func proofs(_ *Story, m *Member, _ []string) (string, error) {
	n := 0
	for _, g := range m.Grants(desk.Query{}) {
		if g.Times.Granted == 0 {
			continue
		}
		var file bytes.Buffer
		if err := m.Ledger().Evidence(bg, g.ID, &file); err != nil {
			return "", err
		}
		judge := audit.New(time.Now(), false)
		if err := judge.Add(g.ID, &file); err != nil {
			return "", err
		}
		v := judge.Verdict()
		if !v.OK {
			return "", fmt.Errorf("evidence under grant %s does not hold: %v: %w", g.ID, v.Problems, fault.Malformed)
		}
		for _, what := range v.Proven {
			if strings.Contains(what, " owed a signed ") {
				n++
			}
		}
	}
	return fmt.Sprint(n), nil
}

func count[T any](list []T) string { return fmt.Sprint(len(list)) }

// lapses counts the promises to a customer that were broken.
func lapses(m *Member) (n int) {
	for _, g := range m.Grants(desk.Query{}) {
		if g.Side == "customer" {
			n += len(g.Lapses)
		}
	}
	return n
}

// expect waits until a fact is as expected.
func (s *Story) expect(a []string) error {
	f, ok := facts[a[0]]
	if !ok {
		return fmt.Errorf("%q is none of %v", a[0], slices.Sorted(maps.Keys(facts)))
	}
	m, err := s.node(a[1])
	if err != nil {
		return err
	}
	if len(a) < f.words+3 {
		return fmt.Errorf("expect %s needs %d words and a value", a[0], f.words)
	}
	words, want := a[2:2+f.words], strings.Join(a[2+f.words:], " ")
	var got string
	for end := time.Now().Add(15 * time.Minute); time.Now().Before(end); time.Sleep(time.Second) {
		if got, err = f.find(s, m, words); err == nil && got == want {
			return nil
		}
	}
	if err == nil {
		err = fmt.Errorf("it is %s after 15 minutes; grants %s", got, m.States())
	}
	return err
}

// sound checks what must hold after every line.
func (s *Story) sound() error {
	deleted := map[string]bool{} // grants, read before what is held: what is signed was done
	for _, m := range s.w.open() {
		rep, err := m.Ledger().Verify(bg)
		if err != nil || !rep.OK {
			return fmt.Errorf("the ledger of %s: %+v %v", m.Name, rep.Problems, err)
		}
		if n := lapses(m); n > s.allowed[m.Name] {
			return fmt.Errorf("%d broken promises to %s, and the story knows of %d", n, m.Name, s.allowed[m.Name])
		}
		for _, g := range m.Grants(desk.Query{}) {
			if g.LateOpened > 0 {
				return fmt.Errorf("%s opened an offer under a grant that is over", m.Name)
			}
			deleted[g.ID] = deleted[g.ID] || g.State == "deleted"
		}
	}
	for _, m := range s.w.open() {
		p, err := m.Vendor().Held().List(bg, desk.Query{Limit: 500})
		if err != nil {
			return err
		}
		for _, h := range p.Items {
			if deleted[h.Grant] {
				return fmt.Errorf("%s still holds what it signed that it deleted", m.Name)
			}
		}
	}
	return nil
}
