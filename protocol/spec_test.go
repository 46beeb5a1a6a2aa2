package protocol

import (
	"crypto/sha256"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/harkmarket/hark/protocol/fault"
)

func read(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// fieldList is lists/fields.tsv as the vocabulary of this program would write it.
func fieldList() string {
	all := Fields()
	slices.SortFunc(all, func(a, b FieldInfo) int { return strings.Compare(string(a.Name), string(b.Name)) })
	var list strings.Builder
	list.WriteString("hark-fields\t1\n")
	for _, f := range all {
		fmt.Fprintf(&list, "%s\t%s\t%s\t%s\n", f.Name, f.Class, f.DPV, f.Title)
	}
	return list.String()
}

// untold gives the words that a passage of the specification leaves out: each has to
// stand in it by itself, not as a part of another.
func untold(passage string, words []string) (missing []string) {
	for _, w := range words {
		if !regexp.MustCompile(`(^|[^a-z0-9-])` + regexp.QuoteMeta(w) + `($|[^a-z0-9-])`).MatchString(passage) {
			missing = append(missing, w)
		}
	}
	return missing
}

// passage cuts from the specification what stands from one text to another.
func passage(t *testing.T, spec, from, to string) string {
	t.Helper()
	_, rest, ok := strings.Cut(spec, from)
	text, _, end := strings.Cut(rest, to)
	if !ok || !end {
		t.Fatalf("SPEC.md has nothing from %q to %q", from, to)
	}
	return text
}

// TestFieldListIsTheVocabulary: who writes another client reads the list beside the
// specification, and must know of each field what this program knows of it. A field
// that is special there and ordinary here would be refused, or granted, by mistake.
func TestFieldListIsTheVocabulary(t *testing.T) {
	list := read(t, "lists/fields.tsv")
	if list != fieldList() {
		t.Errorf("lists/fields.tsv is not the vocabulary of field.go, which is:\n%s", fieldList())
	}
	for _, class := range []Sensitivity{Ordinary, Special, Child} {
		if !strings.Contains(list, "\t"+class.String()+"\t") {
			t.Errorf("no field of the class %s is listed", class)
		}
	}
}

// TestSpecNamesTheLists: each list stands in the specification under its digest.
func TestSpecNamesTheLists(t *testing.T) {
	registries := passage(t, read(t, "SPEC.md"), "## 14 Registries", "## 15 Extension")
	for _, name := range []string{"categories.tsv", "regions.tsv", "fields.tsv", "terms.txt"} {
		digest := fmt.Sprintf("%x", sha256.Sum256([]byte(read(t, "lists/"+name))))
		if missing := untold(registries, []string{"`lists/" + name + "`", "`" + digest + "`"}); len(missing) > 0 {
			t.Errorf("SPEC.md, 14 names no %s", missing)
		}
	}
	if !strings.Contains(registries, Categories().Digest().String()) || !strings.Contains(registries, TermsRoster().String()) {
		t.Error("the lists of this program are not those of the specification")
	}
}

// TestSpecTellsEachWord: what is said on the wire with a word or a number of this
// package stands in the specification.
func TestSpecTellsEachWord(t *testing.T) {
	spec := read(t, "SPEC.md")
	if got := untold("| purpose | `make-offer-soon` |", []string{"`make-offer`"}); len(got) != 1 {
		t.Fatal("a word that is a part of another counts as told")
	}
	var kinds, purposes, prefixes []string
	for k := range Kind(255) {
		if k.Known() {
			kinds = append(kinds, fmt.Sprintf("%d %s", k, k))
		}
	}
	for _, p := range []Purpose{PurposeOffer, PurposeFulfil, PurposeService, PurposeIdentity, PurposeContact, PurposeResearch} {
		purposes = append(purposes, "`"+string(p)+"`")
	}
	for _, m := range regexp.MustCompile(`refix\(\) string +\{ return "(hk[a-z]+1)" \}`).FindAllStringSubmatch(read(t, "../crypto/key/purpose.go"), -1) {
		prefixes = append(prefixes, "`"+m[1]+"`")
	}
	var labels []string
	for _, m := range regexp.MustCompile(`(?m)^\tLabel\w+ +Label = "hark/1/([a-z-]+)"`).FindAllStringSubmatch(read(t, "../crypto/seal/labels.go"), -1) {
		labels = append(labels, m[1])
	}
	var faults []string
	for k := fault.Internal; k <= fault.Locked; k++ {
		word, _, _ := strings.Cut(k.Error(), " ")
		faults = append(faults, word)
	}
	faults[fault.NotFound] = "not found"
	for _, vocabulary := range []struct {
		from, to string
		words    []string
		least    int
	}{
		{"### 14.1 Kinds", "### 14.2", kinds, 25},
		{"### 14.4 Numbers", "### 14.5", purposes, 6},
		{"## 5 Keys", "## 6 Locks", prefixes, 16},
		{"### 6.6 Labels", "### 6.7", labels, 38},
		{"### 10.3 Faults", "### 10.4", faults, 10},
	} {
		if len(vocabulary.words) < vocabulary.least {
			t.Errorf("%s: only %d words were found", vocabulary.from, len(vocabulary.words))
		}
		if missing := untold(passage(t, spec, vocabulary.from, vocabulary.to), vocabulary.words); len(missing) > 0 {
			t.Errorf("SPEC.md, %q does not tell %q", vocabulary.from, missing)
		}
	}
}
