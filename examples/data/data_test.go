package data

import (
	"encoding/csv"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// read gives a file's rows as maps, after checking the header and the text.
func read(t *testing.T, name, header string) []map[string]string {
	t.Helper()
	f, err := Files.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(lines[0], ","); got != header {
		t.Fatalf("%s: header %s", name, got)
	}
	var rows []map[string]string
	for i, line := range lines[1:] {
		row := map[string]string{}
		for j, cell := range line {
			if cell != strings.TrimSpace(cell) || strings.ContainsAny(cell, "\r\n\t") {
				t.Errorf("%s, row %d: unclean %q", name, i+1, cell)
			}
			row[lines[0][j]] = cell
		}
		if c := protocol.Category(row["category"]); !protocol.Categories().Has(c) {
			t.Errorf("%s, row %d: category %s; near: %v", name, i+1, c, protocol.Categories().Near(string(c), 3))
		}
		if r := protocol.Region(row["region"]); !r.Valid() {
			t.Errorf("%s, row %d: region %s; near: %v", name, i+1, r, protocol.NearRegions(string(r), 3))
		}
		if !protocol.Currency(row["currency"]).Valid() {
			t.Errorf("%s, row %d: currency %s", name, i+1, row["currency"])
		}
		rows = append(rows, row)
	}
	return rows
}

// price reads an amount; ok is false where there is none.
func price(t *testing.T, text, currency string) (m protocol.Money, ok bool) {
	t.Helper()
	m, err := protocol.ParseAmount(text, protocol.Currency(currency))
	if err != nil && !errors.Is(err, fault.NotFound) || err == nil && m.Minor == 0 {
		t.Errorf("price %q: %v", text, err)
	}
	return m, err == nil
}

func needs(t *testing.T) []map[string]string {
	return read(t, "needs.csv", "name,category,region,max_price,currency,quantity,detail")
}

func products(t *testing.T) []map[string]string {
	return read(t, "catalog.csv", "id,title,category,price,currency,region,description,condition")
}

func sectors(rows []map[string]string) map[string]bool {
	all := map[string]bool{}
	for _, row := range rows {
		all[protocol.Category(row["category"]).Sector()] = true
	}
	return all
}

func TestNeeds(t *testing.T) {
	rows := needs(t)
	if len(rows) < 45 || len(sectors(rows)) < 12 {
		t.Errorf("%d needs in %d sectors", len(rows), len(sectors(rows)))
	}
	names := map[string]bool{}
	open, abroad := 0, 0
	for _, row := range rows {
		if row["name"] == "" || len(row["name"]) > protocol.MaxName || row["detail"] == "" || len(row["detail"]) > protocol.MaxText {
			t.Errorf("%s: name or detail is empty or too long", row["name"])
		}
		if names[row["name"]] {
			t.Errorf("%s: twice", row["name"])
		}
		names[row["name"]] = true
		if n, err := strconv.Atoi(row["quantity"]); err != nil || n < 1 {
			t.Errorf("%s: quantity %q", row["name"], row["quantity"])
		}
		if _, ok := price(t, row["max_price"], row["currency"]); !ok {
			open++
		}
		if !protocol.Region(row["region"]).Within("ZA") {
			abroad++
		}
	}
	if open < 3 || abroad < 5 {
		t.Errorf("%d needs without a budget, %d outside South Africa", open, abroad)
	}
}

func TestCatalog(t *testing.T) {
	rows := products(t)
	if len(rows) < 320 || len(sectors(rows)) < 12 {
		t.Errorf("%d products in %d sectors", len(rows), len(sectors(rows)))
	}
	ids := map[string]bool{}
	count := map[string]int{}
	for _, row := range rows {
		if row["id"] == "" || ids[row["id"]] {
			t.Errorf("id %q is empty or stands twice", row["id"])
		}
		ids[row["id"]] = true
		if row["title"] == "" || len(row["title"]) > protocol.MaxName || row["description"] == "" || len(row["description"]) > protocol.MaxText {
			t.Errorf("%s: title or description is empty or too long", row["id"])
		}
		if !slices.Contains([]string{"", "new", "used", "refurbished"}, row["condition"]) {
			t.Errorf("%s: condition %q", row["id"], row["condition"])
		}
		count[row["condition"]]++
		// Cakes, flowers and animals are goods that are neither new nor used.
		info, _ := protocol.Categories().Info(protocol.Category(row["category"]))
		living := slices.Contains([]string{"events", "agriculture"}, info.Code.Sector())
		if info.Kind == "goods" && row["condition"] == "" && !living {
			t.Errorf("%s: goods without a condition: %s", row["id"], row["title"])
		}
		if _, ok := price(t, row["price"], row["currency"]); !ok {
			count["on request"]++
		}
	}
	if count["on request"] < 15 || count["used"] < 15 || count[""] < 100 || count["new"] < 100 {
		t.Errorf("out of balance: %v", count)
	}
	for s := range sectors(needs(t)) {
		if !sectors(rows)[s] {
			t.Errorf("nothing on sale in %s", s)
		}
	}
}

var commonWords = strings.Fields("a an and at for from in my near of on or per the to two with")

func words(text string) map[string]bool {
	all := map[string]bool{}
	for _, w := range strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789", r) }) {
		if !slices.Contains(commonWords, w) {
			all[strings.TrimSuffix(w, "s")] = true
		}
	}
	return all
}

// fits reports whether a product answers a need: two words or the category in common.
func fits(need, product map[string]string) bool {
	if need["category"] == product["category"] && need["currency"] == product["currency"] {
		return true
	}
	shared, title := 0, words(product["title"])
	for w := range words(need["name"]) {
		if title[w] {
			shared++
		}
	}
	return shared >= 2
}

func TestNeedsFindProducts(t *testing.T) {
	catalog := products(t)
	budgeted, within, over := 0, 0, 0
	for _, need := range needs(t) {
		limit, hasLimit := price(t, need["max_price"], need["currency"])
		n, _ := strconv.ParseInt(need["quantity"], 10, 64)
		found, cheap, dear := 0, 0, 0
		for _, p := range catalog {
			if !fits(need, p) {
				continue
			}
			found++
			m, ok := price(t, p["price"], p["currency"])
			near := protocol.Region(need["region"]).Within(protocol.Region(p["region"])) || need["region"] == p["region"]
			if ok && hasLimit && near && m.Currency == limit.Currency {
				if m.Minor*n <= limit.Minor {
					cheap++
				} else {
					dear++
				}
			}
		}
		if found < 2 {
			t.Errorf("%s: %d products", need["name"], found)
		}
		if hasLimit {
			budgeted++
			if cheap > 0 {
				within++
			} else {
				t.Logf("%s: nothing within the budget", need["name"])
			}
			if dear > 0 {
				over++
			}
		}
	}
	if within < budgeted*9/10 || over < budgeted/2 {
		t.Errorf("of %d needs with a budget %d find something within it and %d something above it", budgeted, within, over)
	}
}

// TestNeedsSuggestTheirCategory holds the word lists to texts that were not written for them.
func TestNeedsSuggestTheirCategory(t *testing.T) {
	all := needs(t)
	good := 0
	for _, need := range all {
		got := protocol.Categories().Suggest(need["name"], 3)
		if slices.Contains(got, protocol.Category(need["category"])) {
			good++
		} else {
			t.Logf("%s: %v, said %s", need["name"], got, need["category"])
		}
	}
	if good < len(all)*8/10 {
		t.Errorf("%d of %d needs find their category among three", good, len(all))
	}
}
