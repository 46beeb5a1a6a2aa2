package record

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/harkmarket/hark/protocol"
)

// listed reads a list of terms, one to a line.
func listed(t *testing.T, raw []byte) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for line := range strings.Lines(string(raw)) {
		if term := strings.TrimSuffix(line, "\n"); term != "" && !strings.HasPrefix(term, "#") {
			out[strings.TrimSuffix(term, " +")] = true
		}
	}
	if len(out) < 40 {
		t.Fatalf("a list of %d terms", len(out))
	}
	return out
}

func listedIn(t *testing.T, file string) map[string]bool {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return listed(t, raw)
}

// defined gives the ids that a vocabulary defines, and the terms that it uses.
func defined(t *testing.T, raw []byte) (ids map[string]bool, used map[string]string) {
	t.Helper()
	var doc struct {
		Context map[string]any   `json:"@context"`
		Graph   []map[string]any `json:"@graph"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	ids, used = map[string]bool{}, map[string]string{}
	for _, c := range doc.Graph {
		id, _ := c["@id"].(string)
		if c["skos:definition"] == nil || ids[id] {
			t.Errorf("%s is not defined, or twice", id)
		}
		ids[id] = true
		delete(c, "skos:prefLabel")
		delete(c, "skos:definition")
		wordsIn(c, id, used)
	}
	return ids, used
}

// prefixes are those of the context.
var prefixes = []string{"dct:", "dpv:", "pd:", "loc:", "odrl:", "schema:", "skos:", "xsd:", "popia:", "hark:"}

// wordsIn collects every term in a document, in keys and values, with where it stands.
func wordsIn(v any, at string, used map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if k == "@context" {
				continue
			}
			wordsIn(k, at, used)
			wordsIn(x, at+"/"+k, used)
		}
	case []any:
		for _, x := range v {
			wordsIn(x, at, used)
		}
	case string:
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(v, p) && !strings.Contains(v, " ") }) {
			used[v] = at
		}
	}
}

// TestEveryWordIsDefined: each term that an export, or the vocabulary for POPIA, uses
// is defined here or listed as another vocabulary's; and what is listed of DPV is a
// term of DPV 2.3, and is used.
func TestEveryWordIsDefined(t *testing.T) {
	popia, used := defined(t, POPIA)
	hark, more := defined(t, Hark)
	for k, v := range more {
		used[k] = v
	}
	for _, life := range lives {
		for i := range 6 {
			e := plain(life...)
			e.Reason, e.Basis = protocol.ContextKind(1+i%5), protocol.LegalBasis(1+i)
			e.Rail = protocol.Rail(1 + i%2)
			for j := range e.Fields {
				e.Fields[j].Purpose = []protocol.Purpose{protocol.PurposeOffer, protocol.PurposeFulfil, protocol.PurposeService,
					protocol.PurposeIdentity, protocol.PurposeContact, protocol.PurposeResearch}[(i+j)%6]
				if e.Fields[j].Form = protocol.Form(1 + (i+j)%4); e.Fields[j].Form != protocol.FormCoarse {
					e.Fields[j].Level = ""
				}
			}
			for _, f := range Formats() {
				if f == CSV || !f.Holds(&e) {
					continue
				}
				raw, err := Encode(f, []Entry{e})
				if err != nil {
					t.Fatal(err)
				}
				var doc any
				if err := json.Unmarshal(raw, &doc); err != nil {
					t.Fatal(err)
				}
				wordsIn(doc, string(f), used)
			}
		}
	}
	others, dpv := listed(t, Listed), listedIn(t, "testdata/dpv-2.3.txt")
	pd, loc := listedIn(t, "../testdata/dpv-pd-2.3.txt"), listedIn(t, "testdata/dpv-loc-2.3.txt")
	known := func(term string) bool {
		return popia[term] || hark[term] || others[term] || strings.HasPrefix(term, "pd:") && pd[term] || strings.HasPrefix(term, "loc:") && loc[term]
	}
	if known("dpv:ConsentDoubted") || known("pd:Melville") || known("popia:S12") {
		t.Fatal("a word that nobody defines passes")
	}
	for term, at := range used {
		switch term {
		case "skos:inScheme", "skos:related", "skos:ConceptScheme", "skos:Concept": // the vocabularies' own frame
			continue
		}
		if !known(term) {
			t.Errorf("%s at %s is defined nowhere", term, at)
		}
	}
	for term := range others {
		if strings.HasPrefix(term, "dpv:") && !dpv[term] {
			t.Errorf("%s is listed, and no term of DPV 2.3", term)
		}
		if used[term] == "" && !bytes.Contains(Context, []byte(`"`+term+`"`)) {
			t.Errorf("%s is listed, and not used", term)
		}
	}
	for _, c := range []protocol.Region{"ZA", "NA", "DE", "GB", "US"} {
		if !loc["loc:"+string(c)] {
			t.Errorf("%s is no country of DPV", c)
		}
	}
	for _, must := range []string{"a", "b", "c", "d", "e", "f"} {
		if !popia["popia:S11-1-"+must] {
			t.Errorf("s11(1)(%s) is missing", must)
		}
	}
}

// TestContextKnowsEveryKey: a key of a document that the context does not map would be
// dropped by whoever reads it as JSON-LD.
func TestContextKnowsEveryKey(t *testing.T) {
	var ctx map[string]any
	if err := json.Unmarshal(Context, &ctx); err != nil {
		t.Fatal(err)
	}
	mapped := func(k string) bool {
		prefix, _, compact := strings.Cut(k, ":")
		return strings.HasPrefix(k, "@") || ctx[k] != nil || compact && ctx[prefix] != nil
	}
	if mapped("lease") || mapped("evil:key") {
		t.Fatal("a key that nobody maps passes")
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, x := range v {
				if k == "@context" {
					continue
				}
				if !mapped(k) {
					t.Errorf("key %q is in no context", k)
				}
				walk(x)
			}
		case []any:
			for _, x := range v {
				walk(x)
			}
		}
	}
	for _, f := range []Format{TS27560, Receipt, ODRL} {
		e := plain(Requested, Given, Renewed, Withdrawn)
		raw, err := Encode(f, []Entry{e})
		if err != nil {
			t.Fatal(err)
		}
		var doc any
		if err := json.Unmarshal(raw, &doc); err != nil {
			t.Fatal(err)
		}
		walk(doc)
	}
}
