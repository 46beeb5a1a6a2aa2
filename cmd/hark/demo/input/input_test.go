package input

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

func names(in Input) (out []string) {
	for _, n := range in.Needs {
		out = append(out, n.Input)
	}
	return out
}

func TestNeedsInEveryForm(t *testing.T) {
	want := []string{"red bicycle", "piano lessons"}
	for name, text := range map[string]string{
		"one a line":           "red bicycle\npiano lessons\n",
		"CRLF and blank lines": "\r\nred bicycle\r\n\r\n  piano lessons  \r\n",
		"no end of line":       "red bicycle\npiano lessons",
		"BOM":                  "\ufeffname\nred bicycle\npiano lessons\n",
		"commas":               "id,name,category\n1,red bicycle,\n2,piano lessons,\n",
		"tabs":                 "title\tid\nred bicycle\t1\npiano lessons\t2\n",
		"bars":                 "id|name|description|price\n1|red bicycle|x|\n2|piano lessons|y|3\n",
		"hashes":               "id#title#price\n1#red bicycle#\n2#piano lessons#9\n",
		"quotes":               "\"name\",\"region\"\r\n\"red bicycle\",ZA\r\n\"piano lessons\",\"ZA-GP\"\r\n",
		"query column":         "query\nred bicycle\npiano lessons\n",
		"header in capitals":   "ID,Title\n1,red bicycle\n2,piano lessons\n",
		"short rows":           "name,region,quantity\nred bicycle\npiano lessons,ZA\n",
		"rows without a name":  "id,name\n1,red bicycle\n2,\n3,  \n4,piano lessons\n",
		"blank rows":           "id,name\n,\n1,red bicycle\n,,\n2,piano lessons\n",
		"header after blanks":  "\n\n\nname,id\nred bicycle,1\npiano lessons,2\n",
	} {
		in, err := parseNeeds([]byte(text), 10)
		if err != nil || !slices.Equal(names(in), want) {
			t.Errorf("%s: %q, %v", name, names(in), err)
		}
	}
	in, err := parseNeeds([]byte("a\nb\nc\n"), 2)
	if err != nil || !slices.Equal(names(in), []string{"a", "b"}) {
		t.Errorf("limit: %q, %v", names(in), err)
	}
	in, err = parseNeeds([]byte("id,name\n1,a\n2,\n3,b\n"), 9)
	if err != nil || in.Skipped != 1 {
		t.Errorf("%d skipped, %v", in.Skipped, err)
	}
}

func TestNeedsQuotedCells(t *testing.T) {
	in, err := parseNeeds([]byte("name,detail\n\"a \"\"big\"\" desk, oak\",\"two\nlines\"\n19\" screen,x\n"), 10)
	if err != nil || !slices.Equal(names(in), []string{`a "big" desk, oak`, `19" screen`}) {
		t.Fatalf("%q, %v", names(in), err)
	}
	if d := in.Needs[0].Spec.Description; d != "two lines" {
		t.Errorf("detail %q", d)
	}
}

func TestNeedsDefaultsAndColumns(t *testing.T) {
	in, err := parseNeeds([]byte("name\nkettle\n"), 1)
	if err != nil {
		t.Fatal(err)
	}
	s := in.Needs[0].Spec
	if s.Category != "other.unspecified" || s.Region != "ZA" || s.Currency != "ZAR" || s.Quantity != 1 || s.MaxPrice != 0 {
		t.Errorf("defaults: %+v", s)
	}
	in, err = parseNeeds([]byte("Title,Category,Region,Max Price,Currency,Quantity\nsofa,home.furniture,na-kh,\"1,250.50\",nad,3\nlamp,Shop's own > lamps,,R 99,,\n"), 2)
	if err != nil {
		t.Fatal(err)
	}
	s = in.Needs[0].Spec
	if s.Category != "home.furniture" || s.Region != "NA-KH" || s.Currency != "NAD" || s.MaxPrice != 125050 || s.Quantity != 3 {
		t.Errorf("columns: %+v", s)
	}
	if s = in.Needs[1].Spec; s.Category != "other.unspecified" || s.Currency != "ZAR" || s.MaxPrice != 9900 {
		t.Errorf("another shop's category: %+v", s)
	}
}

func TestNeedsRefused(t *testing.T) {
	long := "name,detail\n\"never closed, x\n" + strings.Repeat("more\n", 300)
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "no need"},
		{"blank", " \n\t\n", "no need"},
		{"header alone", "name,category\n", "no need"},
		{"no name column", "id,description,price\n1,x,2\n", "no column name, title or query, only id, description, price"},
		{"UTF-16", "\xff\xfea\x00", "UTF-16"},
		{"not UTF-8", "ok\nb\xffd\n", "line 2: not UTF-8"},
		{"zero byte", "ok\nok\nb\x00d\n", "line 3: a zero byte"},
		{"category", "name,category\nok,\nx,home.furnitur\n", `line 3: "home.furnitur" is no category; near it are home.furniture`},
		{"region", "name,region\nx,Narnia\n", `line 2: "Narnia" is no region`},
		{"currency", "name,currency\nx,ZARR\n", `line 2: "ZARR" is no currency`},
		{"price", "name,max_price\nx,cheap\n", `line 2: price "cheap"`},
		{"negative price", "name,max_price\nx,-5\n", `line 2: price "-5"`},
		{"quantity", "name,quantity\nx,0\n", `line 2: quantity "0"`},
		{"fraction", "name,quantity\nx,1.5\n", `line 2: quantity "1.5"`},
		{"columns", "name,id\nx,1\ny,2,3\n", "line 3: 3 columns, and the header has 2"},
		{"quote", long, "line 2: a quote is opened here"},
		{"line of a row after a long one", "name,detail\nx,\"1\n2\n3\"\ny,\"\",z\n", "line 5: 3 columns"},
	} {
		_, err := parseNeeds([]byte(c.text), 10)
		if !errors.Is(err, fault.Malformed) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	_, err := parseNeeds([]byte("name,quantity\n"+strings.Repeat("x,0\n", 50)), 10)
	if err == nil || strings.Count(err.Error(), "line ") != maxErrors {
		t.Errorf("errors are not bounded: %v", err)
	}
}

func TestLongNamesAreCutBetweenWords(t *testing.T) {
	name := strings.Repeat("word ", 60)
	in, err := parseNeeds([]byte(name+"\nshort\n"), 10)
	if err != nil || in.Cut != 1 {
		t.Fatalf("%d cut, %v", in.Cut, err)
	}
	n := in.Needs[0]
	if n.Input != strings.TrimSpace(name) {
		t.Errorf("the input's name was changed: %q", n.Input)
	}
	if l := len(n.Spec.Name); l > protocol.MaxName || l < protocol.MaxName-8 || !strings.HasSuffix(n.Spec.Name, "word") {
		t.Errorf("cut to %q", n.Spec.Name)
	}
	for _, c := range []struct {
		text string
		most int
		want string
	}{
		{"abc", 3, "abc"}, {"abcdef", 3, "abc"}, {"ab cd ef", 6, "ab cd"}, {"ab cd ef", 5, "ab cd"}, {"ünü", 2, "ü"}, {"ünü", 1, ""}, {"a bbbbbbbb", 8, "a bbbbbb"},
	} {
		if got := Cut(c.text, c.most); got != c.want {
			t.Errorf("Cut(%q, %d) = %q, want %q", c.text, c.most, got, c.want)
		}
	}
	if got := Clean("a\x1b[1m\u202eb\r\n\tc"); got != "a [1m b c" {
		t.Errorf("Clean: %q", got)
	}
}

func FuzzNeeds(f *testing.F) {
	for _, s := range []string{"", "a\nb", "name,category\nx,home.furniture\n", "id|name\n1|\"x", "title#q\n\"a\"\"b\"#\n", "\ufeffquery\n\xff", "name\tregion\n\t\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		in, err := parseNeeds(raw, 50)
		if err != nil {
			return
		}
		if len(in.Needs) == 0 || len(in.Needs) > 50 {
			t.Fatalf("%d needs and no error", len(in.Needs))
		}
		for _, n := range in.Needs {
			s := n.Spec
			if s.Name == "" && Clean(n.Input) != "" || len(s.Name) > protocol.MaxName || !utf8.ValidString(s.Name) || s.Name != Clean(s.Name) ||
				s.MaxPrice < 0 || s.Quantity < 1 || !protocol.Region(s.Region).Valid() || !protocol.Currency(s.Currency).Valid() {
				t.Fatalf("%+v", n)
			}
		}
	})
}

func TestSampleIsDealtBySeed(t *testing.T) {
	a, err := Read(Source{Vendors: 3, Limit: 40, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Needs) != 40 || len(a.Shops) != 3 {
		t.Fatalf("%d needs, %d shops", len(a.Needs), len(a.Shops))
	}
	b, _ := Read(Source{Vendors: 3, Limit: 40, Seed: 1})
	c, _ := Read(Source{Vendors: 3, Limit: 40, Seed: 2})
	rows := 0
	for i := range a.Shops {
		if string(a.Shops[i].CSV) != string(b.Shops[i].CSV) {
			t.Error("one seed, two splits")
		}
		if string(a.Shops[i].CSV) == string(c.Shops[i].CSV) {
			t.Error("two seeds, one split")
		}
		rows += strings.Count(string(a.Shops[i].CSV), "\n") - 1
	}
	if rows < 300 {
		t.Errorf("%d products in all", rows)
	}
	fields := map[protocol.FieldName]bool{}
	for _, n := range a.Needs {
		for _, f := range protocol.Template(protocol.Category(n.Spec.Category)) {
			fields[f] = true
		}
	}
	for f := range fields {
		if Value(string(f), 0) == "not said" || Value(string(f), 0) == Value(string(f), 1) {
			t.Errorf("customers have no values of their own for %s", f)
		}
	}
}

func TestCatalogFilesAreOneVendorEach(t *testing.T) {
	dir := t.TempDir()
	var files []string
	for _, name := range []string{"x/shop.csv", "y/shop.csv", "other.tsv"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("id,title\n1,"+name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, path)
	}
	in, err := Read(Source{Catalogs: files, Vendors: 3, Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range in.Shops {
		got = append(got, s.Name)
	}
	if !slices.Equal(got, []string{"shop", "shop 2", "other"}) || !strings.Contains(string(in.Shops[1].CSV), "y/shop") {
		t.Errorf("%q", got)
	}
	_, err = Read(Source{Catalogs: []string{filepath.Join(dir, "none.csv")}, Limit: 1})
	if !errors.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "none.csv") {
		t.Errorf("missing catalogue: %v", err)
	}
	_, err = Read(Source{Needs: filepath.Join(dir, "none.txt"), Limit: 1})
	if !errors.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "none.txt") {
		t.Errorf("missing needs: %v", err)
	}
	big := filepath.Join(dir, "big.txt")
	f, err := os.Create(big)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(maxNeedsFile+1), f.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(Source{Needs: big, Limit: 1}); !errors.Is(err, fault.Full) {
		t.Errorf("too big a file: %v", err)
	}
}
