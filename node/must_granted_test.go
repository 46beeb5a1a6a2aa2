package node_test

import (
	"bytes"
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/terms"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/protocol/wire/limits"
	records "github.com/harkmarket/hark/store/market"
)

// A belief is what the test knows of a customer's vault and grants from a moment on: it
// did all of it, and keeps its own books.
type belief struct {
	fromMS int64
	vault  map[protocol.FieldName]protocol.FieldValue // what may be given at all
	gone   map[string]bool                            // grant, or grant and field, that is not to be given now
}

// A history is one customer with a random life among vendors that forget nothing.
type history struct {
	t       *testing.T
	dice    *rand.Rand
	w       *nodetest.World
	her     *nodetest.Member
	vendors []*nodetest.Member
	tapes   []*tape // of the vendors
	keepers []*tape
	hers    *tape
	ids     []string // the vendors' ids
	beliefs []belief
	serial  int
	special protocol.FieldName
	coarse  map[string]int           // values that she granted coarser, by level
	perDay  map[protocol.GrantID]int // as the grants say
	sent    map[protocol.GrantID][]protocol.Second
}

// Fields that a random vault may have; the last two are never to be seen, or once.
var ordinary = []protocol.FieldName{"location.area", "contact.hours", "contact.email", "contact.phone", "preference.delivery", "demographic.age-range",
	"preference.brand", "contact.address"}

// shaped makes the values of a field such that they can be made coarser, each another; and
// names the levels at which. The others can be given by their initials.
var shaped = map[protocol.FieldName]struct {
	value  func(n int) string
	levels []string
}{
	"contact.email":         {func(n int) string { return fmt.Sprintf("her-%d@of-%d.example", n, n) }, []string{"domain"}},
	"contact.address":       {func(n int) string { return fmt.Sprintf("%d Long Road, Sub-%d, Townville, Gauteng", n, n) }, []string{"town", "region"}},
	"contact.hours":         {func(n int) string { return time.Unix(0, 0).UTC().AddDate(20, 0, 37*n).Format(time.DateOnly) }, []string{"year", "decade"}},
	"demographic.age-range": {func(n int) string { return fmt.Sprint(1_234_000 + n) }, []string{"tens", "hundreds", "thousands"}},
	"preference.delivery":   {func(n int) string { return fmt.Sprintf("zq%06d", n) }, []string{"prefix"}},
}

func valueOf(f protocol.FieldName, serial int) string {
	if s, ok := shaped[f]; ok {
		return s.value(serial)
	}
	return fmt.Sprintf("value %d of %s", serial, f)
}

func levelsOf(f protocol.FieldName) []string {
	if s, ok := shaped[f]; ok {
		return s.levels
	}
	return []string{"initials"}
}

func newHistory(t *testing.T, seed uint64, misbehave string) *history {
	h := &history{t: t, dice: rand.New(rand.NewPCG(seed, 4)), w: nodetest.NewWorld(t), special: "health.condition", coarse: map[string]int{}}
	if _, ok := h.special.Info(); !ok {
		t.Fatalf("%s is not in the vocabulary", h.special)
	}
	h.keepers = []*tape{onTape(h.w.Public("keeper"))}
	for _, name := range []string{"couches", "sofas", "desks"} {
		v := h.w.Public(name)
		tp := onTape(v)
		h.vendors, h.tapes, h.keepers = append(h.vendors, v), append(h.tapes, tp), append(h.keepers, tp)
	}
	h.her = h.w.Misbehaving("thandi", false, misbehave)
	h.hers = onTape(h.her)
	time.Sleep(5 * time.Second)
	for _, v := range h.vendors {
		v.Sell(shop)
		own, err := v.Vendor().Passports().Own(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		h.ids = append(h.ids, own.Vendor)
	}
	h.beliefs = []belief{{vault: map[protocol.FieldName]protocol.FieldValue{}, gone: map[string]bool{}}}
	for _, f := range append(slices.Clone(ordinary[:5]), h.special) {
		h.set(f)
	}
	return h
}

// now begins a new belief, like the last one.
func (h *history) now() belief {
	last := h.beliefs[len(h.beliefs)-1]
	b := belief{fromMS: time.Now().UnixMilli(), vault: map[protocol.FieldName]protocol.FieldValue{}, gone: map[string]bool{}}
	for k, v := range last.vault {
		b.vault[k] = v
	}
	for k := range last.gone {
		b.gone[k] = true
	}
	return b
}

func (h *history) ok(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *history) set(f protocol.FieldName) {
	h.serial++
	value := valueOf(f, h.serial)
	v, err := h.her.Customer().Vault().Set(context.Background(), string(f), desk.Value(value))
	h.ok(err)
	b := h.now()
	b.vault[f] = protocol.FieldValue{Name: f, Value: value, Version: v.Version}
	h.beliefs = append(h.beliefs, b)
}

func (h *history) some() []string {
	var out []string
	for _, i := range h.dice.Perm(len(ordinary))[:1+h.dice.IntN(4)] {
		if _, has := h.beliefs[len(h.beliefs)-1].vault[ordinary[i]]; has {
			out = append(out, string(ordinary[i]))
		}
	}
	return out
}

// grant draws one of her living grants.
func (h *history) grant(state string) (desk.Grant, bool) {
	list := h.her.Grants(desk.Query{State: state})
	if len(list) == 0 {
		return desk.Grant{}, false
	}
	return list[h.dice.IntN(len(list))], true
}

// step does one random thing.
func (h *history) step() {
	ctx, c := context.Background(), h.her.Customer()
	switch h.dice.IntN(11) {
	case 0:
		fields := map[string]int64{}
		for _, f := range h.some() {
			fields[f] = 0
		}
		_, err := c.Needs().Create(ctx, desk.NeedSpec{Name: fmt.Sprintf("a couch %d", h.serial), Category: "home.furniture", Fields: fields, Auto: h.dice.IntN(3) > 0})
		h.ok(err)
	case 10:
		h.decide()
	case 1, 2:
		if fields := h.some(); len(fields) > 0 {
			if h.dice.IntN(4) == 0 {
				fields = append(fields, string(h.special))
			}
			_, err := c.Grants().Give(ctx, desk.GiveSpec{Vendor: h.ids[h.dice.IntN(len(h.ids))], Name: "a relation", Fields: fields, Days: 1 + h.dice.IntN(9), PerDay: h.dice.IntN(4)})
			h.ok(err)
		}
	case 3, 4, 5:
		h.set(ordinary[h.dice.IntN(len(ordinary))])
	case 6:
		f := ordinary[h.dice.IntN(len(ordinary))]
		if b := h.now(); b.vault[f].Value != "" {
			h.ok(c.Vault().Remove(ctx, string(f), 0))
			delete(b.vault, f)
			h.beliefs = append(h.beliefs, b)
		}
	case 7:
		if g, ok := h.grant("disclosed"); ok {
			h.pausing(g, false)
			h.rest()
			h.set(ordinary[h.dice.IntN(len(ordinary))])
			h.rest()
			if g, err := c.Grants().Get(ctx, g.ID); err == nil && g.State == "suspended" {
				h.pausing(g, true)
			}
		}
	case 8:
		if g, ok := h.grant("disclosed"); ok {
			_, err := c.Grants().Revoke(ctx, []string{g.ID}, desk.Query{}, "")
			h.ok(err)
			h.end(g.ID)
		}
	case 9:
		f := ordinary[h.dice.IntN(len(ordinary))]
		b := h.now()
		list, err := c.Grants().Revoke(ctx, nil, desk.Query{Field: string(f)}, "")
		h.ok(err)
		for _, g := range list {
			b.gone[g.ID+" "+string(f)] = true
		}
		b.fromMS = time.Now().UnixMilli()
		h.beliefs = append(h.beliefs, b)
	}
}

func (h *history) pausing(g desk.Grant, resume bool) {
	_, err := h.her.Customer().Grants().Pause(context.Background(), g.ID, resume, "")
	h.ok(err)
	b := h.now()
	if b.gone[g.ID] = !resume; resume {
		delete(b.gone, g.ID)
	}
	h.beliefs = append(h.beliefs, b)
}

func (h *history) end(grant string) {
	b := h.now()
	b.gone[grant] = true
	h.beliefs = append(h.beliefs, b)
}

// rest lets some time pass, and her node restart now and then.
func (h *history) rest() {
	time.Sleep(time.Duration(10+h.dice.IntN(60)) * time.Second)
	switch h.dice.IntN(6) {
	case 0:
		h.her.Stop()
		time.Sleep(time.Duration(h.dice.IntN(40)) * time.Minute)
		h.her.Start()
		time.Sleep(20 * time.Second)
	case 1:
		time.Sleep(time.Duration(h.dice.IntN(16)) * time.Hour)
	}
}

// decide answers what waits for her: as it was asked, with less, or not at all.
func (h *history) decide() {
	ctx, desks := context.Background(), h.her.Customer().Requests()
	p, err := desks.List(ctx, desk.Query{State: "waiting"})
	h.ok(err)
	for _, q := range p.Items {
		less := desk.LessSpec{}
		switch h.dice.IntN(4) {
		case 0:
			_, err = desks.Refuse(ctx, q.ID, "")
			h.ok(err)
			continue
		case 1:
			less.Fields = []string{q.Fields[h.dice.IntN(len(q.Fields))].Field}
		case 2:
			f := q.Fields[h.dice.IntN(len(q.Fields))].Field
			if _, has := h.beliefs[len(h.beliefs)-1].vault[protocol.FieldName(f)]; has {
				levels := levelsOf(protocol.FieldName(f))
				less.Coarse = map[string]string{f: levels[h.dice.IntN(len(levels))]}
			}
		}
		_, err = desks.Grant(ctx, q.ID, less)
		h.ok(err)
		for _, level := range less.Coarse {
			h.coarse[level]++
		}
	}
}

// fits reports whether a disclosure is what a grant allows under a belief.
func (b *belief) fits(g *protocol.Grant, d *protocol.Disclosure) bool {
	if b.gone[g.Grant.String()] {
		return false
	}
	var want []protocol.FieldValue
	for _, f := range g.Fields {
		v, has := b.vault[f.Name]
		if !has || b.gone[g.Grant.String()+" "+string(f.Name)] || g.Lease == 0 && d.Lease > 1 {
			continue
		}
		if f.Form == protocol.FormCoarse {
			var err error
			if v.Value, err = terms.Coarsen(f.Level, v.Value); err != nil {
				continue
			}
		}
		want = append(want, v)
	}
	return slices.Equal(want, d.Values)
}

// judge opens every letter that ever lay at a keeper with the keys of who it was for, and
// says what vendors were told beyond what she granted.
func (h *history) judge() (wrong []string, disclosures int) {
	var s secrets
	grants, macs := map[protocol.GrantID]*protocol.Grant{}, map[protocol.GrantID]protocol.Shared{}
	h.perDay, h.sent = map[protocol.GrantID]int{}, map[protocol.GrantID][]protocol.Second{}
	for _, tp := range h.tapes {
		s.learn(h.t, tp, false)
		for _, w := range tp.all("k/a/") {
			if a := decode[records.Agreement](h.t, w); !a.MAC.IsZero() {
				macs[a.ID] = a.MAC
			}
		}
		for _, w := range tp.all("k/e/") {
			if signed, err := wire.Open(decode[[]byte](h.t, w)); err == nil && signed.Kind() == protocol.KindGrant {
				g, err := wire.As[*protocol.Grant](signed)
				h.ok(err)
				grants[g.Grant], h.perDay[g.Grant] = g, int(limits.Of(signed.Extra()).PerDay)
			}
		}
	}
	s.learn(h.t, h.hers, true)
	net := netOf(h.t, h.w.Genesis)
	for n, raw := range letters(h.keepers...) {
		plain, d, err := s.read(net, raw)
		switch {
		case err != nil:
			wrong = append(wrong, fmt.Sprintf("letter %d does not open: %v", n, err))
		case d.hers:
		case wire.IsDisclosure(plain):
			disclosures++
			wrong = append(wrong, h.judgeDisclosure(plain, grants, macs)...)
		default:
			for f, v := range h.all() {
				if bytes.Contains(plain, []byte(v)) {
					wrong = append(wrong, fmt.Sprintf("letter %d, no disclosure, holds %s", n, f))
				}
			}
		}
	}
	return append(wrong, h.tooOften()...), disclosures
}

// tooOften names the grants under which more was disclosed in 24 hours than they say.
func (h *history) tooOften() (wrong []string) {
	for id, sent := range h.sent {
		slices.Sort(sent)
		most := h.perDay[id]
		for i := most; most > 0 && i < len(sent); i++ {
			if sent[i] < sent[i-most]+protocol.Day {
				wrong = append(wrong, fmt.Sprintf("more than %d disclosures in 24 hours under grant %s", most, id.Short()))
			}
		}
	}
	return wrong
}

// all lists every value that was ever in the vault.
func (h *history) all() map[string]string {
	out := map[string]string{}
	for _, b := range h.beliefs {
		for _, v := range b.vault {
			out[fmt.Sprintf("%s version %d", v.Name, v.Version)] = v.Value
		}
	}
	return out
}

func (h *history) judgeDisclosure(plain []byte, grants map[protocol.GrantID]*protocol.Grant, macs map[protocol.GrantID]protocol.Shared) []string {
	for id, mac := range macs {
		d, _, err := wire.OpenDisclosure(plain, mac.Secret())
		if err != nil {
			continue
		}
		g := grants[id]
		h.sent[id] = append(h.sent[id], d.Created)
		if d.Grant != id || g == nil || d.Created >= g.End {
			return []string{fmt.Sprintf("a disclosure under grant %s, which does not allow it", d.Grant.Short())}
		}
		from, to := int64(d.Created)*1000, int64(d.Created)*1000+999
		for i := range h.beliefs {
			over := i+1 < len(h.beliefs) && h.beliefs[i+1].fromMS < from
			if h.beliefs[i].fromMS <= to && !over && h.beliefs[i].fits(g, d) {
				return nil
			}
		}
		names := []string{}
		for _, v := range d.Values {
			names = append(names, string(v.Name))
		}
		return []string{fmt.Sprintf("disclosure %d under grant %s of %d fields gives %v, which is not what she granted then", d.Lease, id.Short(), len(g.Fields), names)}
	}
	return []string{"a disclosure that no vendor's key authenticates"}
}

// live plays one history and judges it.
func live(t *testing.T, seed uint64, steps int, misbehave string) (wrong []string, disclosures int, coarse map[string]int) {
	synctest.Test(t, func(t *testing.T) {
		h := newHistory(t, seed, misbehave)
		defer h.w.Close()
		for range steps {
			h.step()
			h.rest()
		}
		time.Sleep(2 * time.Minute) // what is under way arrives
		wrong, disclosures = h.judge()
		coarse = h.coarse
	})
	return wrong, disclosures, coarse
}

// TestMust_only_what_was_granted: whatever a customer does with her vault and her grants,
// vendors are told the granted fields as they are, and nothing else; and there is but one
// way out of the vault.
func TestMust_only_what_was_granted(t *testing.T) {
	if wrong, _, _ := live(t, 1, 12, "leak-field"); !slices.ContainsFunc(wrong, func(s string) bool { return strings.Contains(s, "not what she granted") }) {
		t.Fatalf("a customer's node that discloses one field more is not found: %q", wrong)
	}
	total, coarse, seeds := 0, map[string]int{}, seedsOf(t)
	t.Logf("seeds %v; HARK_SEED=N repeats one of them", seeds)
	for _, seed := range seeds {
		wrong, n, c := live(t, seed, 20, "")
		for _, w := range wrong {
			t.Errorf("history of HARK_SEED=%d: %s", seed, w)
		}
		total += n
		for level, k := range c {
			coarse[level] += k
		}
	}
	if total < 3*len(seeds) { // what is drawn anew in each run may be quiet
		t.Errorf("only %d disclosures in %d histories", total, len(seeds))
	}
	t.Logf("%d disclosures in %d random histories, each exactly what was granted, coarser at levels %v; the planted leak was found", total, len(seeds), coarse)
	t.Run("every level", everyLevel)
	t.Run("one way out", oneWayOut)
}

// seedsOf are those of the histories: half of them the same in each run, half new; or the
// one that HARK_SEED names.
func seedsOf(t *testing.T) []uint64 {
	t.Helper()
	if text := os.Getenv("HARK_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("HARK_SEED=%q is no number", text)
		}
		return []uint64{seed}
	}
	seeds := []uint64{1, 2, 3, rand.Uint64(), rand.Uint64(), rand.Uint64()}
	if testing.Short() {
		seeds = seeds[2:5]
	}
	return seeds
}

// everyLevel: histories may draw each level that there is, and the values have the shape.
func everyLevel(t *testing.T) {
	drawn := map[string]bool{}
	for _, f := range ordinary {
		for _, level := range levelsOf(f) {
			drawn[level] = true
			a, err := terms.Coarsen(level, valueOf(f, 7))
			if err != nil || a == valueOf(f, 7) {
				t.Errorf("%s of %s: %q, %v", level, f, a, err)
			}
		}
		if valueOf(f, 7) == valueOf(f, 8) {
			t.Errorf("two values of %s are one", f)
		}
	}
	for _, level := range terms.Levels() {
		if !drawn[level] {
			t.Errorf("no history draws the level %s", level)
		}
	}
}

// readers are the vault's methods that give values, or lead to them.
var readers = []string{"Get", "History", "View", "Large", "Download", "List", "Upload"}

// waysOut finds where a file reads values from the vault: "file: Method".
func waysOut(name string, f *ast.File) (out []string) {
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || !slices.Contains(readers, sel.Sel.Name) {
			return true
		}
		of, ok := sel.X.(*ast.SelectorExpr)
		if ok && of.Sel.Name == "Vault" {
			out = append(out, name+": "+sel.Sel.Name)
		}
		return true
	})
	return out
}

// oneWayOut: on the way to the wire nothing reads the vault but View, in one place; the
// list of names beside it is the planted leak's, and what waits for her is tried against
// her own rule for a field, and whether its value can be made coarser. The owner's own desks read all, and hand
// values to nobody but her.
func oneWayOut(t *testing.T) {
	planted, err := parser.ParseFile(token.NewFileSet(), "planted.go", "package market\nfunc (t *turn) x() { t.m.cfg.Stores.Vault.Get(t, \"contact.email\") }", 0)
	if err != nil || len(waysOut("planted.go", planted)) != 1 {
		t.Fatalf("a planted way out is not found: %v", err)
	}
	var found []string
	err = filepath.WalkDir(".", func(path string, e fs.DirEntry, err error) error {
		slashed := filepath.ToSlash(path)
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") ||
			strings.HasPrefix(slashed, "internal/desks/") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		found = append(found, waysOut(slashed, f)...)
		return nil
	})
	if want := []string{"internal/market/standing.go: Large", "internal/market/standing.go: List", "internal/market/standing.go: View", "internal/market/waiting.go: Get"}; err != nil || !slices.Equal(slices.Sorted(slices.Values(found)), want) {
		t.Errorf("values are read from the vault at %q, want %q; %v", found, want, err)
	}
}
