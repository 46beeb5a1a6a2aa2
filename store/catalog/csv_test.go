package catalog

import (
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire/alloc"
	"github.com/harkmarket/hark/store/catalog/sheet"
)

func zar(minor int64) protocol.Money { return protocol.Money{Minor: minor, Currency: "ZAR"} }

func TestFilesAsShopsWriteThem(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []Product
	}{
		"commas and quotes": {
			"id,title,category,price,currency,region,description,condition\n" +
				`p1,"Couch, grey",home.furniture,6499.00,EUR,za-gp,"205 cm ""wide""",new` + "\n",
			[]Product{{ID: "p1", Title: "Couch, grey", Description: `205 cm "wide"`, Category: "home.furniture",
				Price: protocol.Money{Minor: 649900, Currency: "EUR"}, Region: "ZA-GP", Condition: protocol.NewCondition}},
		},
		"bars, inches, an exponent": {
			"id|name|description|price\n0|Speaker|Two 2-1/2\" drivers and 5' cable|1.58095e+03\n1|Grill - 22-1/2'||\n",
			[]Product{{ID: "0", Title: "Speaker", Description: "Two 2-1/2\" drivers and 5' cable", Price: zar(158095)}, {ID: "1", Title: "Grill - 22-1/2'"}},
		},
		"hashes, CRLF, a zero price": {
			"id#title#description#manufacturer#price\r\n3#noah's ark##victory#0.0\r\n",
			[]Product{{ID: "3", Title: "noah's ark"}},
		},
		"a feed: tabs, prefixes, currency in the price": {
			"g:id\tg:title\tg:price\tg:condition\tlink\nA\tLamp\t15.00 USD\tRefurbished\thttps://example.org\n",
			[]Product{{ID: "A", Title: "Lamp", Price: protocol.Money{Minor: 1500, Currency: "USD"}, Condition: protocol.Refurbished}},
		},
		"semicolons and a byte order mark": {
			"\ufeffSKU;Product Name;Price\nA;Lamp;R 1 299,00\n",
			[]Product{{ID: "A", Title: "Lamp", Price: zar(129900)}},
		},
		"line breaks and HTML in quotes, blank lines, JSON": {
			"Handle,Title,Body (HTML),Variant Price,options\r\n\r\n" +
				"\"a\",\"Tea &amp; Co\",\"<p>Green</p>\r\n\r\n<b>tea</b>, 5 < 6\",12,\"{\"\"size\"\":\"\"M\"\"}\"\r\n,,,,\r\n",
			[]Product{{ID: "a", Title: "Tea & Co", Description: "Green\ntea , 5 < 6", Price: zar(1200)}},
		},
		"a shop's own category is passed over": {
			"id,title,category\n1,Lamp,Home > Lighting\n2,Lamp,\n",
			[]Product{{ID: "1", Title: "Lamp"}, {ID: "2", Title: "Lamp"}},
		},
		"title before name, whatever the order": {"name,title,id\nx,y,1\n", []Product{{ID: "1", Title: "y"}}},
		"no line feed at the end":               {"id,title\n1,a", []Product{{ID: "1", Title: "a"}}},
		"a header alone":                        {"id,title\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := ReadCSV(strings.NewReader(c.text), "ZAR")
			if err != nil || len(f.Errors) > 0 || !reflect.DeepEqual(f.Products, c.want) || f.Rows != len(c.want) {
				t.Errorf("got %+v, %v\nwant %+v", f, err, c.want)
			}
		})
	}
}

func TestARowThatCannotBeUsedCostsNothingElse(t *testing.T) {
	text := "id,title,category,price,currency,region,condition,description\n"
	rows := []struct{ row, want string }{
		{"1,Good,,,,,,", ""},
		{",No id,,,,,,", "no id"},
		{"2,  ,,,,,,", "no title"},
		{"1,Again,,,,,,", `id "1" stands in row 2 already`},
		{"3,X,home.furnitur,,,,,", "did you mean home.furniture"},
		{"4,X,,12 bananas,,,,", "bananas"},
		{"5,X,,12,ZZZ,,,", "no currency code"},
		{"6,X,,,,ZA-GT,,", "did you mean ZA-GP"},
		{"7,X,,,,,broken,", "no condition"},
		{"8,X", "2 columns, and the header has 8"},
		{"9,X,,,,,,,,", "10 columns"},
		{"10,\xff,,,,,,", "not UTF-8"},
		{"11,\"never closed,,,,,,", ""}, // read as it stands
		{"12,\"closed too\" late,,,,,,", ""},
		{"13," + strings.Repeat("x", MaxTitle+1) + ",,,,,,", "a title has"},
		{"14,X,,,,,," + strings.Repeat("x", sheet.MaxRow), "more than 64 KiB"},
		{strings.Repeat("9", MaxID+1) + ",X,,,,,,", "an id has"},
		{"15,X,,,,,,\"open until the end", ""},
	}
	var want []RowError
	for i, r := range rows {
		text += r.row + "\n"
		if r.want != "" {
			want = append(want, RowError{i + 2, r.want})
		}
	}
	f, err := ReadCSV(strings.NewReader(text), "ZAR")
	if err != nil || len(f.Products) != 4 || f.Rows != len(rows) || len(f.Errors) != len(want) {
		t.Fatalf("%d products, %d rows, %v: %+v", len(f.Products), f.Rows, err, f.Errors)
	}
	for i, e := range f.Errors {
		if e.Row != want[i].Row || !strings.Contains(e.What, want[i].What) {
			t.Errorf("error %+v, want %+v", e, want[i])
		}
	}
	if got := f.Products[1].Title + f.Products[2].Title; got != `"never closed"closed too" late` {
		t.Errorf("titles %q", got)
	}
}

func TestFilesThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		text, want string
		kind       fault.Kind
	}{
		"empty":       {"", "empty", fault.Malformed},
		"no id":       {"name,price\nx,1\n", "no column id among: name, price", fault.Malformed},
		"no title":    {"id;price\nx;1\n", "no column title or name among: id, price", fault.Malformed},
		"UTF-16":      {"\xff\xfei\x00d\x00", "save it as UTF-8", fault.Malformed},
		"Latin":       {"id,title,caf\xe9\n", "not UTF-8", fault.Malformed},
		"long header": {strings.Repeat("id,title,", 10000), "too long", fault.Malformed},
		"rows":        {"id,title\n" + strings.Repeat("x\n", MaxProducts+1), "more than 200000 rows", fault.Full},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := ReadCSV(strings.NewReader(c.text), "ZAR")
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) || f.Products != nil {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	if _, err := ReadCSV(failing{}, "ZAR"); err == nil || !strings.Contains(err.Error(), "disk on fire") {
		t.Errorf("a reader that fails gave %v", err)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("disk on fire") }

func TestErrorsAreBounded(t *testing.T) {
	f, err := ReadCSV(strings.NewReader("id,title\n"+strings.Repeat(",x\n", 250)), "ZAR")
	if err != nil || len(f.Errors) != MaxErrors || f.Rows != 250 {
		t.Fatalf("%d errors, %d rows, %v", len(f.Errors), f.Rows, err)
	}
	if last := f.Errors[MaxErrors-1]; last != (RowError{0, "and 151 rows more"}) {
		t.Errorf("last error %+v", last)
	}
}

// shared finds a file that others wrote. Where HARK_SHARED names its place it must
// be there; else it is looked for beside the project.
func shared(t testing.TB, path ...string) string {
	t.Helper()
	dir, named := os.LookupEnv("HARK_SHARED")
	if !named {
		dir = filepath.Join("..", "..", "..", "shared")
	}
	name := filepath.Join(append([]string{dir, "data"}, path...)...)
	if _, err := os.Stat(name); err != nil {
		if named {
			t.Fatal(err)
		}
		t.Skipf("SKIPPED: HARK_SHARED is not set, and the data of others is not on this machine (%v)", err)
	}
	return name
}

func readShared(t testing.TB, name string) []Product {
	t.Helper()
	file, err := os.Open(shared(t, "catalogs", name))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	f, err := ReadCSV(file, "ZAR")
	if err != nil || len(f.Errors) > 0 {
		t.Fatalf("%s: %v, %+v", name, err, f.Errors)
	}
	return f.Products
}

func TestEveryRowOfRealShopsIsRead(t *testing.T) {
	for name, want := range map[string]int{"abt.csv": 1076, "buy.csv": 1076, "amazon.csv": 1354, "google.csv": 3039} {
		raw, err := os.ReadFile(shared(t, "catalogs", name))
		if err != nil {
			t.Fatal(err)
		}
		if lines := strings.Count(string(raw), "\n"); lines != want && lines != want+1 {
			t.Fatalf("%s has %d lines", name, lines)
		}
		if got := readShared(t, name); len(got) != want {
			t.Errorf("%s: %d products of %d", name, len(got), want)
		}
	}
}

// FuzzReadCSV: whatever a file holds, reading it ends, what comes out can be kept,
// and written down as a proper CSV file it reads back as the same products.
func FuzzReadCSV(f *testing.F) {
	for _, s := range []string{
		"id,title\n1,a\n", "id|name|description|price\n0|x|y \"z\"|1.5e+03\n", "\ufeffid#title\r\n1#a\r\n",
		"id,title\n\"1\",\"a\nb\"\n\"2\",\"open\n3,c\n", "id\ttitle\tprice\tcurrency\n1\ta\t5,00\tEUR\n", "id;title;category;region;condition\n1;a;home.furniture;ZA;used\n",
		"id,title,description\n1,<b>x</b>,&lt;i&gt;\n", "id,title\n\xff,\x00\n", "\"id\",\"title\"\n\"\"\"\",\"\"\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		most := 64<<10 + alloc.Most(len(text)) // the reader's own buffer
		if got, over := alloc.Over(most, func() { _, _ = ReadCSV(strings.NewReader(text), "ZAR") }); over {
			t.Fatalf("%d bytes allocated for %d", got, len(text))
		}
		got, err := ReadCSV(strings.NewReader(text), "ZAR")
		if err != nil {
			if fault.Of(err) != fault.Malformed && fault.Of(err) != fault.Full {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		if _, err := inOrder(got.Products); err != nil || len(got.Errors) > MaxErrors || got.Rows < len(got.Products) {
			t.Fatalf("%+v: %v", got, err)
		}
		var out strings.Builder
		w := csv.NewWriter(&out)
		var want []Product
		_ = w.Write([]string{"id", "title", "description", "price", "category", "region"})
		for _, p := range got.Products {
			if strings.ContainsAny(p.Title+p.Description, "<&") {
				continue // taking out HTML twice may take out more
			}
			price := ""
			if p.Price.Minor > 0 {
				price = p.Price.String()
			}
			p.Condition = protocol.AnyCondition
			want = append(want, p)
			_ = w.Write([]string{p.ID, p.Title, p.Description, price, string(p.Category), string(p.Region)})
		}
		w.Flush()
		again, err := ReadCSV(strings.NewReader(out.String()), "ZAR")
		if err != nil || !slices.Equal(again.Products, want) {
			t.Fatalf("read back %+v, %v; want %+v", again, err, want)
		}
	})
}

func BenchmarkReadCSV(b *testing.B) {
	var text strings.Builder
	text.WriteString("id,title,description,price\n")
	for i := range 1000 {
		fmt.Fprintf(&text, "%d,\"Lamp, no. %d\",\"A lamp of %d cm\",%d.50\n", i, i, i, i+1)
	}
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		if f, err := ReadCSV(strings.NewReader(text.String()), "ZAR"); err != nil || len(f.Products) != 1000 {
			b.Fatal(err)
		}
	}
}
