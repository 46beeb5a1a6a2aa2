package integration

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/harkmarket/hark/protocol/strict"
)

// demoReport is what other programs may rely on; its keys are all that there are.
type demoReport struct {
	Schema         string `json:"schema"`
	Processes      int    `json:"processes"`
	Needs          int    `json:"needs"`
	Announced      int    `json:"announced"`
	ExpectedHeard  int    `json:"expected_heard"`
	Heard          int    `json:"heard"`
	Requests       int    `json:"requests"`
	Grants         int    `json:"grants"`
	Refusals       int    `json:"refusals"`
	Receipts       int    `json:"receipts"`
	Disclosures    int    `json:"disclosures"`
	Offers         int    `json:"offers"`
	Opened         int    `json:"offers_opened"`
	Missed         int    `json:"offers_missed_constraints"`
	Accepted       int    `json:"accepted"`
	Closed         int    `json:"closed"`
	Revoked        int    `json:"revoked"`
	Deletions      int    `json:"deletions"`
	Late           int    `json:"offers_after_revocation"`
	LateOpened     int    `json:"offers_after_revocation_opened"`
	LedgerEntries  int    `json:"ledger_entries"`
	LedgersChecked int    `json:"ledgers_verified"`
	GrantedByRule  int    `json:"granted_by_rule"`
	GrantedLess    int    `json:"granted_less"`
	Updates        int    `json:"updates"`
	Lapses         int    `json:"lapses"`
	AuditsOK       int    `json:"audits_ok"` // nodes whose exported ledger held
	Latency        struct {
		Heard    quantiles `json:"announce_to_heard"`
		Offer    quantiles `json:"announce_to_offer"`
		Deletion quantiles `json:"revoke_to_deletion"`
	} `json:"latency_ms"`
	Bytes struct {
		Announcement struct {
			P50 int `json:"p50"`
			Max int `json:"max"`
		} `json:"announcement"`
	} `json:"bytes"`
	Answers  []demoAnswer `json:"answers"`
	Problems []string     `json:"problems"`
}

type demoAnswer struct {
	Need     string `json:"need"`
	NeedID   string `json:"need_id"`
	Vendor   string `json:"vendor"`
	Product  string `json:"product_id"`
	Title    string `json:"product"`
	Price    int64  `json:"price_minor"`
	Currency string `json:"currency"`
	Rank     int    `json:"rank"`
}

type quantiles struct {
	P50 int `json:"p50"`
	P99 int `json:"p99"`
}

// demo runs hark demo and gives its exit code and what it printed. It must leave
// nothing behind.
func demo(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts whole networks")
	}
	ctx, cancel := context.WithTimeout(t.Context(), storyWait)
	defer cancel()
	tmp := t.TempDir()
	cmd := exec.CommandContext(ctx, program(t), append([]string{"demo"}, args...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp, "TMP="+tmp)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		code = e.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	return code, out.String(), errs.String()
}

// readReport reads the one object that --json prints: with every key that there is, each
// spelt so, and none besides.
func readReport(stdout string) (r demoReport, err error) {
	if err := strict.Decode([]byte(stdout), &r); err != nil {
		return r, err
	}
	var tree any
	if err := json.Unmarshal([]byte(stdout), &tree); err != nil {
		return r, err
	}
	if missing := missingKeys("", reflect.TypeOf(r), tree); len(missing) > 0 {
		return r, fmt.Errorf("keys are missing: %v", missing)
	}
	return r, nil
}

// missingKeys gives the keys of a type that a document lacks.
func missingKeys(at string, of reflect.Type, tree any) (missing []string) {
	switch of.Kind() {
	case reflect.Slice:
		list, _ := tree.([]any)
		for i, v := range list {
			missing = append(missing, missingKeys(fmt.Sprintf("%s/%d", at, i), of.Elem(), v)...)
		}
	case reflect.Struct:
		object, _ := tree.(map[string]any)
		for f := range of.Fields() {
			k := f.Tag.Get("json")
			if v, there := object[k]; !there {
				missing = append(missing, at+"/"+k)
			} else {
				missing = append(missing, missingKeys(at+"/"+k, f.Type, v)...)
			}
		}
	}
	return missing
}

// TestReportsLackNothing: each key that a report has would be missed, wherever it stands.
func TestReportsLackNothing(t *testing.T) {
	var r demoReport
	r.Schema, r.Problems = "hark.demo/1", []string{}
	r.Answers = []demoAnswer{{}}
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readReport(string(raw)); err != nil {
		t.Fatal(err)
	}
	keys := 0
	for _, m := range regexp.MustCompile(`"([a-z0-9_]+)":`).FindAllSubmatchIndex(raw, -1) {
		renamed := slices.Concat(raw[:m[2]], []byte("x"), raw[m[2]:])
		if _, err := readReport(string(renamed)); err == nil {
			t.Errorf("x in the place of %s is not noticed", raw[m[2]:m[3]])
		}
		var value json.RawMessage
		if err := json.NewDecoder(bytes.NewReader(raw[m[1]:])).Decode(&value); err != nil {
			t.Fatal(err)
		}
		from, to := m[0], m[1]+len(value)
		if raw[to] == ',' {
			to++
		} else if raw[from-1] == ',' {
			from--
		}
		if _, err := readReport(string(slices.Concat(raw[:from], raw[to:]))); err == nil || !strings.Contains(err.Error(), "missing") {
			t.Errorf("without %s: %v", raw[m[2]:m[3]], err)
		}
		keys++
	}
	if keys < 50 {
		t.Errorf("only %d keys were tried", keys)
	}
}

// reported reads the report of a run.
func reported(t *testing.T, stdout string) (r demoReport) {
	t.Helper()
	r, err := readReport(stdout)
	if err != nil {
		t.Fatalf("not one object of the known form (%v): %.300s", err, stdout)
	}
	if r.Schema != "hark.demo/1" || r.Answers == nil || r.Problems == nil {
		t.Fatalf("%.300s", stdout)
	}
	return r
}

// held checks what must be so in a run without a problem.
func held(t *testing.T, r demoReport, needs, vendors int) {
	t.Helper()
	type relation struct {
		what string
		ok   bool
	}
	for _, c := range []relation{
		{"no problems", len(r.Problems) == 0},
		{"every need announced", r.Needs == needs && r.Announced == needs},
		{"every vendor heard of every need", r.ExpectedHeard == needs*vendors && r.Heard == r.ExpectedHeard},
		{"every vendor asked once", r.Requests == r.Heard},
		{"every request answered", r.Requests == r.Grants+r.Refusals && r.Grants > 0},
		{"every grant countersigned, then disclosed", r.Receipts == r.Grants && r.Disclosures >= r.Receipts},
		{"every offer accounted for", r.Offers == r.Opened+r.Missed+r.Late && r.Opened > 0},
		{"a deal for every need with an offer, and closed", r.Accepted > 0 && r.Accepted <= needs && r.Closed == r.Accepted},
		{"every grant revoked and deleted", r.Revoked == r.Grants && r.Deletions == r.Grants},
		{"an offer of each vendor came late, and none was opened", r.Late == vendors && r.LateOpened == 0},
		{"every ledger sound", r.LedgersChecked == r.Processes && r.LedgerEntries > 0},
		{"what every node exports holds", r.AuditsOK == r.Processes},
		{"needs grant by rule, and a rule of hers one more", r.GrantedByRule == r.Grants+1},
		{"less is granted where there is a second vendor", r.GrantedLess == (vendors+1)/3},
		{"a changed field goes out once", r.Updates == 1},
		{"one promise is broken, by the one that was switched off", r.Lapses == 1},
		{"latencies in order", r.Latency.Heard.P50 > 0 && r.Latency.Heard.P50 <= r.Latency.Heard.P99 && r.Latency.Offer.P50 > r.Latency.Heard.P50 && r.Latency.Deletion.P50 > 0},
		{"announcements within their bounds", r.Bytes.Announcement.P50 > 1216 && r.Bytes.Announcement.P50 <= 3300 && r.Bytes.Announcement.Max <= 4096},
		{"an answer for each opened offer", len(r.Answers) == r.Opened},
	} {
		if !c.ok {
			t.Errorf("does not hold: %s", c.what)
		}
	}
	rank := map[string]int{}
	for _, a := range r.Answers {
		if rank[a.NeedID]++; a.Rank != rank[a.NeedID] || a.Need == "" || a.Vendor == "" || a.Product == "" || a.Title == "" || (a.Price > 0) != (a.Currency != "") {
			t.Errorf("answer %+v", a)
		}
	}
	if t.Failed() {
		r.Answers = nil
		t.Logf("%+v", r)
	}
}

// TestDemo is the main job on the sample market: three vendors, two customers.
func TestDemo(t *testing.T) {
	code, stdout, stderr := demo(t, "--json", "--limit", "16")
	if code != 0 || stderr != "" {
		t.Errorf("exit %d: %s", code, stderr)
	}
	r := reported(t, stdout)
	held(t, r, 16, 3)
	if r.Processes != 6 {
		t.Errorf("%d processes", r.Processes)
	}
}

// TestDemoOnRealCatalogues is the main job on two shops' real catalogues, with the
// product names of a third as needs.
func TestDemoOnRealCatalogues(t *testing.T) {
	shared := os.Getenv("HARK_SHARED")
	if shared == "" {
		shared = filepath.Join("..", "..", "shared")
	}
	dir := filepath.Join(shared, "data", "catalogs")
	if _, err := os.Stat(filepath.Join(dir, "abt.csv")); err != nil {
		t.Skipf("no catalogues in %s; HARK_SHARED names the folder that has data/catalogs", dir)
	}
	const needs = 60
	code, stdout, stderr := demo(t, "--json", "--limit", strconv.Itoa(needs), "--needs", filepath.Join(dir, "abt.csv"),
		"--catalog", filepath.Join(dir, "buy.csv"), "--catalog", filepath.Join(dir, "google.csv"))
	if code != 0 {
		t.Errorf("exit %d: %s", code, stderr)
	}
	r := reported(t, stdout)
	held(t, r, needs, 2)
	matches := map[string][]string{}
	for _, row := range table(t, filepath.Join(dir, "abt-buy-matches.csv"))[1:] {
		matches[row[0]] = append(matches[row[0]], row[1])
	}
	hits := 0
	for _, row := range table(t, filepath.Join(dir, "abt.csv"))[1 : needs+1] {
		hit := false
		for _, a := range r.Answers {
			hit = hit || a.Need == row[1] && a.Vendor == "buy" && slices.Contains(matches[row[0]], a.Product)
		}
		if hit {
			hits++
		}
	}
	if t.Logf("%d of %d needs were offered their match", hits, needs); hits < 35 {
		t.Errorf("%d of %d needs were offered their match, want at least 35", hits, needs)
	}
}

func table(t *testing.T, path string) [][]string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r := csv.NewReader(bytes.NewReader(raw))
	r.Comma, r.LazyQuotes = '|', true
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// TestDemoNotices breaks one promise at a time: it must say what happened and who
// did it, and nobody else is to blame.
func TestDemoNotices(t *testing.T) {
	for _, c := range []struct{ how, want, others string }{
		{"withhold-mail", "vendor Protea Supply signed receipts for ", "signed receipts for "},
		{"keep-deleted", "vendor Karoo Traders signed that it deleted what it held, and still holds it", "signed that it deleted"},
		{"fork-ledger", "the ledger of customer Pieter is not sound", "is not sound"},
		{"reopen-revoked", "customer Pieter opened 1 offers under grants that she had revoked", ""}, // and nothing else is found
		{"rewrite-ledger", "customer Pieter exports does not hold: rewritten: the head of ", "exports does not hold"},
		{"leak-field", "customer Pieter disclosed what was not granted", "what was not granted"},
		{"flip-bits", "vendor Protea Supply signed receipts for ", "signed receipts for "},
	} {
		t.Run(c.how, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := demo(t, "--json", "--limit", "4", "--sabotage", c.how)
			if code != 1 || !strings.Contains(stderr, "not everything held") {
				t.Errorf("exit %d: %s", code, stderr)
			}
			r := reported(t, stdout)
			who, _, _ := strings.Cut(strings.TrimPrefix(c.want, "the ledger of "), " signed")
			who, _, _ = strings.Cut(who, " is ")
			who, _, _ = strings.Cut(who, " exports")
			who, _, _ = strings.Cut(who, " opened")
			who, _, _ = strings.Cut(who, " disclosed")
			found := false
			for _, p := range r.Problems {
				found = found || strings.Contains(p, c.want)
				if strings.Contains(p, c.others) && !strings.Contains(p, who) {
					t.Errorf("%s is blamed too: %s", who, p)
				}
			}
			if !found {
				t.Errorf("%q is not among %q", c.want, r.Problems)
			}
			if r.Closed == 0 || r.Deletions != r.Grants {
				t.Errorf("the flow did not survive it: %d closed, %d of %d deletions", r.Closed, r.Deletions, r.Grants)
			}
		})
	}
}

// TestDemoTellsAStory: what people read, from the first need to the table, and the
// problems in it.
func TestDemoTellsAStory(t *testing.T) {
	code, stdout, stderr := demo(t, "--limit", "3", "--vendors", "1", "--customers", "1", "--sabotage", "keep-deleted")
	if code != 1 {
		t.Errorf("exit %d: %s", code, stderr)
	}
	at := 0
	for _, want := range []string{
		"Who is there", "Baobab Stores", "Keeper 2", "Thandi", "Dentist on Main", "Access without a need", "A need is announced", "What a stranger sees", "category", "The bytes themselves",
		"<- category", "Vendors ask, her rule decides", "Granted", "what they now know", "The offers, which she alone can open", "ZAR",
		"The best offer of each need is accepted", "What no rule decides waits", "granted by her rule", "Every grant is revoked", "The ledgers are checked", "What was counted",
		"problems", "vendor Baobab Stores signed that it deleted",
	} {
		i := strings.Index(stdout[at:], want)
		if i < 0 {
			t.Fatalf("%q is not told, or not in its place:\n%s", want, stdout)
		}
		at += i
	}
	if strings.Contains(stdout, "\x1b") {
		t.Error("colours without a terminal")
	}
}
