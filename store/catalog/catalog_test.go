package catalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/terms"
	"github.com/harkmarket/hark/store/kv"
)

func product(id, title string) Product { return Product{ID: id, Title: title} }

func everything(t interface{ Fatal(...any) }, c *Catalog) []Product {
	all, err := c.List(context.Background(), "", MaxPage)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestCatalogIsAMap holds imports to a map beside the catalogue.
func TestCatalogIsAMap(t *testing.T) {
	ctx := context.Background()
	rapid.Check(t, func(t *rapid.T) {
		c := Open(kv.Memory())
		defer c.Close()
		model := map[string]Product{}
		one := rapid.Custom(func(t *rapid.T) Product {
			p := product(rapid.StringMatching(`[a-c1-3]{1,2}`).Draw(t, "id"), rapid.SampledFrom([]string{"lamp", "couch", "plumber"}).Draw(t, "title"))
			if n := rapid.Int64Range(0, 2).Draw(t, "price"); n > 0 {
				p.Price = zar(n)
			}
			return p
		})
		some := rapid.SliceOfNDistinct(one, 0, 6, func(p Product) string { return p.ID })
		t.Repeat(map[string]func(*rapid.T){
			"import": func(t *rapid.T) {
				list, replace := some.Draw(t, "products"), rapid.Bool().Draw(t, "replace")
				var want Diff
				next := map[string]Product{}
				if !replace {
					next = maps.Clone(model)
				}
				for _, p := range list {
					switch old, had := model[p.ID]; {
					case !had:
						want.Added++
					case old == p:
						want.Same++
					default:
						want.Changed++
					}
					next[p.ID] = p
				}
				for id := range model {
					if _, stays := next[id]; !stays {
						want.Removed++
					} else if !slices.ContainsFunc(list, func(p Product) bool { return p.ID == id }) {
						want.Same++
					}
				}
				plan, err := c.Plan(ctx, list, replace)
				if err != nil || plan != want || !slices.Equal(everything(t, c), inOrderOf(model)) {
					t.Fatalf("Plan = %+v, %v; want %+v", plan, err, want)
				}
				got, err := c.Import(ctx, list, replace)
				if err != nil || got != want {
					t.Fatalf("Import = %+v, %v; want %+v", got, err, want)
				}
				model = next
			},
			"get": func(t *rapid.T) {
				id := one.Draw(t, "product").ID
				got, err := c.Get(ctx, id)
				if want, ok := model[id]; ok && (err != nil || got != want) || !ok && !errors.Is(err, fault.NotFound) {
					t.Fatalf("Get(%s) = %+v, %v", id, got, err)
				}
			},
			"search": func(t *rapid.T) {
				found, err := c.Search(ctx, Query{Text: "a lamp please", Limit: 100})
				if err != nil {
					t.Fatal(err)
				}
				var ids []string
				for _, m := range found {
					ids = append(ids, m.ID)
				}
				slices.SortFunc(ids, before)
				var want []string
				for _, p := range inOrderOf(model) {
					if p.Title == "lamp" {
						want = append(want, p.ID)
					}
				}
				if !slices.Equal(ids, want) {
					t.Fatalf("found %q, want %q", ids, want)
				}
			},
			"": func(t *rapid.T) {
				want := inOrderOf(model)
				if n, err := c.Count(ctx); err != nil || n != len(want) {
					t.Fatalf("Count = %d, %v; want %d", n, err, len(want))
				}
				var got []Product
				for after := ""; len(got) <= len(want); {
					page, err := c.List(ctx, after, 2)
					if err != nil {
						t.Fatal(err)
					}
					if len(page) == 0 {
						break
					}
					got, after = append(got, page...), page[len(page)-1].ID
				}
				if !slices.Equal(got, want) {
					t.Fatalf("List gives %+v, want %+v", got, want)
				}
			},
		})
	})
}

func inOrderOf(model map[string]Product) []Product {
	all := slices.Collect(maps.Values(model))
	slices.SortFunc(all, func(a, b Product) int { return before(a.ID, b.ID) })
	return all
}

func TestProductsThatAreRefused(t *testing.T) {
	ctx := context.Background()
	c := Open(kv.Memory())
	good := Product{ID: "1", Title: "Lamp", Category: "home.lighting", Price: zar(1), Region: "ZA", Condition: protocol.Used}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Product){
		"no id":          func(p *Product) { p.ID = "" },
		"long id":        func(p *Product) { p.ID = strings.Repeat("x", MaxID+1) },
		"control in id":  func(p *Product) { p.ID = "a\tb" },
		"no title":       func(p *Product) { p.Title = " " },
		"long title":     func(p *Product) { p.Title = strings.Repeat("x", MaxTitle+1) },
		"lines in title": func(p *Product) { p.Title = "a\nb" },
		"not UTF-8":      func(p *Product) { p.Description = "\xff" },
		"long text":      func(p *Product) { p.Description = strings.Repeat("x", MaxDescription+1) },
		"category":       func(p *Product) { p.Category = "lamps" },
		"price of zero":  func(p *Product) { p.Price.Minor = 0 },
		"negative price": func(p *Product) { p.Price.Minor = -1 },
		"currency":       func(p *Product) { p.Price.Currency = "XXX" },
		"region":         func(p *Product) { p.Region = "ZA-GT" },
		"condition":      func(p *Product) { p.Condition = 4 },
	} {
		p := good
		change(&p)
		if _, err := c.Import(ctx, []Product{good, p}, false); !errors.Is(err, fault.Malformed) {
			t.Errorf("%s gave %v", name, err)
		}
	}
	if _, err := c.Import(ctx, []Product{good, good}, false); !errors.Is(err, fault.Malformed) || !strings.Contains(err.Error(), "twice") {
		t.Errorf("one id twice gave %v", err)
	}
	if _, err := c.Import(ctx, make([]Product, MaxProducts+1), false); !errors.Is(err, fault.Full) {
		t.Errorf("too many products gave %v", err)
	}
	if n, err := c.Count(ctx); n != 0 || err != nil {
		t.Errorf("%d products were kept, %v", n, err)
	}
	if f, err := c.Fill(ctx); err != nil || f != (kv.Fill{Name: "catalog.products", Cap: MaxProducts}) {
		t.Errorf("Fill = %+v, %v", f, err)
	}
}

// TestAnImportIsWholeOrNothing breaks an import at every write.
func TestAnImportIsWholeOrNothing(t *testing.T) {
	ctx := context.Background()
	base := kv.Memory()
	var old, next []Product
	for i := range 300 {
		old = append(old, Product{ID: fmt.Sprint(i), Title: fmt.Sprint("old lamp ", i), Description: strings.Repeat("x", 4000)})
		next = append(next, Product{ID: fmt.Sprint(i + 100), Title: fmt.Sprint("new couch ", i), Description: strings.Repeat("y", 9000)})
	}
	c := Open(base)
	if _, err := c.Import(ctx, old, true); err != nil {
		t.Fatal(err)
	}
	sorted := everything(t, c)
	whole := false
	for n := 0; !whole; n++ {
		if n > 50 {
			t.Fatal("the import never ended")
		}
		f := &breaking{Store: base, left: n}
		_, err := Open(f).Import(ctx, next, true)
		got := everything(t, Open(base))
		ids := ask(t, Open(base), Query{Text: "lamp or couch", Limit: 100})
		if err == nil {
			whole = true
			if len(got) != 300 || got[0].Title != "new couch 0" {
				t.Fatalf("after the import: %d products, first %q", len(got), got[0].Title)
			}
		} else if !errors.Is(err, errBroken) || !slices.Equal(got, sorted) {
			t.Fatalf("broken at write %d: %v, and %d products", n, err, len(got))
		}
		if len(ids) == 0 {
			t.Fatalf("broken at write %d: the search finds nothing", n)
		}
	}
	if err := Open(base).sweep(ctx, 0); err != nil { // all of them, to count what is left
		t.Fatal(err)
	}
	err := base.View(ctx, func(r kv.Reader) error {
		return r.Scan(nil, nil, func(k, _ []byte) (bool, error) {
			if string(k) != headKey {
				t.Errorf("left behind: %x", k)
			}
			return true, nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

var errBroken = errors.New("broken on purpose")

// breaking fails every Update after so many.
type breaking struct {
	kv.Store
	left int
}

func (b *breaking) Update(ctx context.Context, fn func(kv.Tx) error) error {
	if b.left--; b.left < 0 {
		return errBroken
	}
	return b.Store.Update(ctx, fn)
}

func TestWhatACutOffImportLeftIsSweptAway(t *testing.T) {
	ctx := context.Background()
	s := kv.Memory()
	big := make([]Product, 500)
	for i := range big {
		big[i] = Product{ID: fmt.Sprint(i), Title: "lamp", Description: strings.Repeat("x", 5000)}
	}
	if _, err := Open(&breaking{Store: s, left: 3}).Import(ctx, big, true); !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	if _, err := Open(s).Import(ctx, []Product{product("1", "couch")}, true); err != nil {
		t.Fatal(err)
	}
	n := 0
	_ = s.View(ctx, func(r kv.Reader) error {
		return r.Scan([]byte(prefix), nil, func(_, _ []byte) (bool, error) { n++; return true, nil })
	})
	if n != 1 {
		t.Errorf("%d records, want 1", n)
	}
}

func TestFiltersAgreeWithTheCustomersOwnCheck(t *testing.T) {
	var products []Product
	for _, price := range []protocol.Money{{}, zar(100), zar(101), {Minor: 50, Currency: "USD"}} {
		for _, region := range []protocol.Region{"", "ZA", "ZA-GP", "ZA-WC", "NA"} {
			for _, condition := range []protocol.Condition{protocol.AnyCondition, protocol.NewCondition, protocol.Used} {
				products = append(products, Product{ID: fmt.Sprint(len(products)), Title: "lamp", Price: price, Region: region, Condition: condition})
			}
		}
	}
	c := filled(t, products)
	seen := 0
	for _, most := range []protocol.Money{{}, zar(100), zar(303), {Minor: 49, Currency: "USD"}} {
		for _, currency := range []protocol.Currency{"", "ZAR", "USD"} {
			for _, region := range []protocol.Region{"", "ZA", "ZA-GP"} {
				for _, quantity := range []uint32{0, 3} {
					for _, condition := range []protocol.Condition{protocol.AnyCondition, protocol.Used} {
						d := protocol.Demand{MaxPrice: most, Currency: currency, Region: region, Quantity: quantity, Condition: condition}
						var want []string
						for _, p := range products {
							o := &protocol.Offer{Price: p.Price, Quantity: d.Count(), Region: p.Region, Condition: p.Condition}
							o.Price.Minor *= int64(d.Count())
							if len(terms.Misses(d, o, 0)) == 0 {
								want = append(want, p.ID)
							}
						}
						got := ask(t, c, Query{Text: "lamp", Limit: 100, MaxPrice: most, Currency: currency, Region: region, Quantity: quantity, Condition: condition})
						slices.SortFunc(got, before)
						if !slices.Equal(got, want) {
							t.Fatalf("%+v: found %v, want %v", d, got, want)
						}
						seen += len(got)
					}
				}
			}
		}
	}
	if seen == 0 {
		t.Fatal("nothing was ever found")
	}
}

func TestWhatIsSharedDecides(t *testing.T) {
	c := filled(t, []Product{
		{ID: "turntable", Title: "Sony Turntable - PSLX350H", Description: "Belt drive"},
		{ID: "couch", Title: "3-seater couch, grey linen", Category: "home.furniture"},
		{ID: "women", Title: "Women's running shoes"},
		{ID: "plumber", Title: "Plumber call-out", Description: "Burst geysers, blocked drains", Category: "services.plumbing"},
		{ID: "charger", Title: "Phone charger", Description: "For the car"},
		{ID: "tea", Title: "Rooibos-Tee, lose, für Genießer"},
	})
	for _, q := range []struct {
		text, detail string
		category     protocol.Category
		want         string
	}{
		{"sony PS-LX350H turntables", "", "", "turntable"},
		{"ps lx350h", "", "", "turntable"},
		{"Couches", "", "", "couch"},
		{"woman shoe for running", "", "", "women"},
		{"a plumber for a burst geyser in Randburg, today if possible", "", "", "plumber"},
		{"Rooibos für uns", "", "", "tea"},
		{"I need some help please", "the geyser burst and flooded the drains", "", "plumber"},
		{"geyser", "grey couch", "", "plumber"},
		{"", "", "", ""},
		{"!!! ??? --", "", "", ""},
		{"the and of", "", "", ""},
		{"quantum chromodynamics lectures", "", "", ""},
		{"car with four doors, diesel, automatic gearbox, blue paint and a tow bar", "", "", ""}, // shares only "car"
	} {
		got := strings.Join(ask(t, c, Query{Text: q.text, Detail: q.detail, Category: q.category}), " ")
		if got != q.want {
			t.Errorf("%q (%q): found %q, want %q", q.text, q.detail, got, q.want)
		}
	}
}

func TestAShopOfOneThingKnowsItsName(t *testing.T) {
	var products []Product
	for i := range 40 {
		products = append(products, Product{ID: fmt.Sprint(i), Title: fmt.Sprint("Couch ", i), Category: "home.furniture"})
	}
	c := filled(t, products)
	for _, q := range []Query{{Text: "cheap couch"}, {Text: "a comfortable couch for a small lounge", Category: "home.furniture"}} {
		if got := ask(t, c, q); len(got) != 10 {
			t.Errorf("%q: %d found, want 10", q.Text, len(got))
		}
	}
}

func TestACategoryIsPreferred(t *testing.T) {
	c := filled(t, []Product{
		{ID: "1", Title: "Glass table", Category: "services.events"}, {ID: "2", Title: "Glass table", Category: "home.furniture"},
		{ID: "3", Title: "Glass table"}, {ID: "4", Title: "Glass table", Category: "home.kitchen"},
		{ID: "5", Title: "Unrelated", Category: "home.furniture"},
	})
	if got := ask(t, c, Query{Text: "glass table", Category: "home.furniture"}); !slices.Equal(got, []string{"2", "4", "3", "1"}) {
		t.Errorf("order %q", got)
	}
	if got := ask(t, c, Query{Text: "glass table", Category: protocol.Unspecified}); !slices.Equal(got, []string{"1", "2", "3", "4"}) {
		t.Errorf("order without a category %q", got)
	}
}

func TestEqualCataloguesAnswerEqually(t *testing.T) {
	ctx := context.Background()
	var products []Product
	words := strings.Fields("red blue oak pine steel glass lamp table chair couch desk shelf round tall")
	for i := range 2500 {
		products = append(products, Product{ID: fmt.Sprint(i), Title: words[i%7] + " " + words[(i/7)%14] + " " + words[i%14], Description: strings.Repeat(words[i%11]+" ", i%5)})
	}
	first := filled(t, products)
	second := Open(kv.Memory())
	defer second.Close()
	shuffled := slices.Clone(products)
	slices.Reverse(shuffled)
	for _, part := range [][]Product{shuffled[:100], {product("x", "gone later")}, shuffled[50:]} {
		if _, err := second.Import(ctx, part, false); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := second.Import(ctx, products, true); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		q := Query{Text: strings.Join([]string{words[i%14], words[i*3%14], words[i*5%14], words[i%5]}, " "), Limit: 20}
		a, err := first.Search(ctx, q)
		if err != nil || len(a) == 0 {
			t.Fatalf("%q: %d found, %v", q.Text, len(a), err)
		}
		b, err := second.Search(ctx, q)
		if err != nil || !slices.Equal(a, b) {
			t.Fatalf("%q:\n%+v\n%+v, %v", q.Text, a, b, err)
		}
	}
}

func TestNothingIsReadableOnDisk(t *testing.T) {
	ctx := context.Background()
	raw := kv.Memory()
	c := Open(kv.Sealed(raw, key.NewSecret()))
	if _, err := c.Import(ctx, []Product{{ID: "sku-77", Title: "Turntable", Description: "belt"}}, false); err != nil {
		t.Fatal(err)
	}
	n := 0
	_ = raw.View(ctx, func(r kv.Reader) error {
		return r.Scan(nil, nil, func(k, v []byte) (bool, error) {
			n++
			for _, word := range []string{"sku", "Turntable", "belt"} {
				if bytes.Contains(k, []byte(word)) || bytes.Contains(v, []byte(word)) {
					t.Errorf("%s is readable in %x", word, k)
				}
			}
			return true, nil
		})
	})
	if n != 2 {
		t.Errorf("%d records, want 2", n)
	}
}

func TestASearchDuringAnImportSeesOneOrTheOther(t *testing.T) {
	ctx := context.Background()
	side := func(word string) (list []Product) {
		for i := range 50 {
			list = append(list, product(fmt.Sprint(i), "lamp "+word))
		}
		return list
	}
	odd, even := side("odd"), side("even")
	c := filled(t, even)
	done := make(chan error, 1)
	go func() {
		for i := range 30 {
			if _, err := c.Import(ctx, [][]Product{odd, even}[i%2], true); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for {
		found, err := c.Search(ctx, Query{Text: "lamp", Limit: 100})
		if err != nil || len(found) != 50 {
			t.Fatalf("%d found, %v", len(found), err)
		}
		for _, m := range found {
			if m.Title != found[0].Title {
				t.Fatalf("%q beside %q", m.Title, found[0].Title)
			}
		}
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
	}
}

func TestAClosedCatalogueAnswersOffline(t *testing.T) {
	ctx := context.Background()
	leak := goleak.IgnoreCurrent()
	c := Open(kv.Memory())
	if _, err := c.Import(ctx, []Product{product("1", "lamp")}, false); err != nil {
		t.Fatal(err)
	}
	if c.index == nil {
		t.Error("the import built no index")
	}
	if err := errors.Join(c.Close(), c.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Search(ctx, Query{Text: "lamp"}); !errors.Is(err, fault.Offline) {
		t.Errorf("Search gave %v", err)
	}
	if _, err := c.Import(ctx, nil, true); !errors.Is(err, fault.Offline) {
		t.Errorf("Import gave %v", err)
	}
	goleak.VerifyNone(t, leak)
}

func TestACancelledCallChangesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	c := filled(t, []Product{product("1", "lamp")})
	cancel()
	if _, err := c.Import(ctx, []Product{product("2", "couch")}, true); !errors.Is(err, context.Canceled) {
		t.Errorf("Import gave %v", err)
	}
	if _, err := Open(c.store).Search(ctx, Query{Text: "lamp"}); !errors.Is(err, context.Canceled) {
		t.Errorf("Search gave %v", err)
	}
	c.turn <- struct{}{} // another import is under way
	if _, err := c.Import(ctx, []Product{product("2", "couch")}, true); !errors.Is(err, context.Canceled) {
		t.Errorf("a waiting Import gave %v", err)
	}
	<-c.turn
	if got := everything(t, c); len(got) != 1 || got[0].ID != "1" {
		t.Errorf("products %+v", got)
	}
}

func TestABrokenRecordIsAnError(t *testing.T) {
	ctx := context.Background()
	for name, k := range map[string][]byte{"product": place(1, 0), "head": []byte(headKey)} {
		s := kv.Memory()
		if _, err := Open(s).Import(ctx, []Product{product("1", "lamp")}, false); err != nil {
			t.Fatal(err)
		}
		if err := s.Update(ctx, func(tx kv.Tx) error { return tx.Put(k, []byte{0xff}) }); err != nil {
			t.Fatal(err)
		}
		c := Open(s)
		_, e1 := c.Search(ctx, Query{Text: "lamp"})
		_, e2 := c.Get(ctx, "1")
		_, e3 := c.List(ctx, "", 1)
		_, e4 := c.Import(ctx, []Product{product("2", "x")}, false)
		_, e5 := c.Plan(ctx, nil, true)
		for i, err := range []error{e1, e2, e3, e4, e5} {
			if !errors.Is(err, fault.Malformed) {
				t.Errorf("%s, call %d: %v", name, i+1, err)
			}
		}
	}
	s := kv.Memory()
	_, _ = Open(s).Import(ctx, []Product{product("1", "lamp")}, false)
	_ = s.Update(ctx, func(tx kv.Tx) error { return tx.Delete(place(1, 0)) })
	if _, err := Open(s).Search(ctx, Query{Text: "lamp"}); !errors.Is(err, fault.Malformed) {
		t.Errorf("a missing product gave %v", err)
	}
}

func TestShortFitsAnOffer(t *testing.T) {
	for _, p := range []Product{
		product("1", "lamp"),
		{ID: "2", Title: strings.Repeat("wide ", 100), Description: strings.Repeat("très élégant ", 100)},
		{ID: "3", Title: strings.Repeat("é", 500), Description: strings.Repeat("日本", 500)},
	} {
		s := p.Short()
		if len(s.Title) > protocol.MaxName || len(s.Description) > protocol.MaxText || s.Check() != nil || s.Title == "" {
			t.Errorf("%+v", s)
		}
		if len(p.Title) <= protocol.MaxName && s != p {
			t.Errorf("%+v was changed to %+v", p, s)
		}
	}
}

// TestOnDisk runs the room on badger, under a seal, once.
func TestOnDisk(t *testing.T) {
	ctx := context.Background()
	dir, secret := t.TempDir(), key.NewSecret()
	for round := range 2 {
		s, err := kv.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		c := Open(kv.Sealed(s, secret))
		if round == 0 {
			if _, err := c.Import(ctx, []Product{product("1", "lamp"), product("2", "couch")}, false); err != nil {
				t.Fatal(err)
			}
		}
		if got := ask(t, c, Query{Text: "lamps"}); !slices.Equal(got, []string{"1"}) {
			t.Errorf("round %d: found %v", round, got)
		}
		if err := errors.Join(c.Close(), s.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkSearch(b *testing.B) {
	c := filled(b, readShared(b, "google.csv"))
	b.ResetTimer()
	for b.Loop() {
		ask(b, c, Query{Text: "adobe photoshop elements 4.0 upgrade for windows", Limit: 5, MaxPrice: zar(10000)})
	}
}

func BenchmarkIndex(b *testing.B) {
	products := readShared(b, "google.csv")
	for _, n := range []int{3000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var list []Product
			for i := range n {
				p := products[i%len(products)]
				p.ID = fmt.Sprint(i)
				list = append(list, p)
			}
			c := filled(b, list)
			h, _ := c.head(context.Background())
			b.ResetTimer()
			for b.Loop() {
				x, err := build(context.Background(), c.store, h)
				if err != nil {
					b.Fatal(err)
				}
				_ = x.close()
			}
		})
	}
}
