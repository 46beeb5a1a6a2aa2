package node

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/store/outbox"
)

// Every kind that the sources note or emit is in the list that people are shown, so that none
// is refused as unknown.
func TestEveryKindIsKnown(t *testing.T) {
	calls := regexp.MustCompile(`(?:note|advance|advanceNote|Emit)\([^"\n]*"([a-z]+\.[a-z-]+|lapse|breach)"`)
	chosen := regexp.MustCompile(`kind(?:, [a-z]+(?:\[[^\]]*\])?(?:\.[A-Za-z]+)?)* :?= "([a-z]+\.[a-z-]+)"|protocol\.Kind[A-Z][a-z]+: "([a-z]+\.[a-z-]+)"|vault\.(?:About|Value): "([a-z]+\.[a-z-]+)"`)
	known, found := desk.EventKinds(), map[string]bool{}
	for _, pattern := range []string{"*.go", "internal/market/*.go", "internal/desks/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range append(calls.FindAllStringSubmatch(string(raw), -1), chosen.FindAllStringSubmatch(string(raw), -1)...) {
				kind := strings.Join(m[1:], "")
				if found[kind] = true; !slices.Contains(known, kind) {
					t.Errorf("%s notes %q, which desk.EventKinds lacks", path, kind)
				}
			}
		}
	}
	for _, must := range []string{"vault.set", "grant.revoked", "deal.closed", "vendor.blocked", "node.ready", "offer.missed", "breach"} {
		if !found[must] {
			t.Errorf("the search finds no %s: it looks for the wrong thing", must)
		}
	}
	for _, s := range flow.AgreementStates() {
		if s != "none" && !slices.Contains(known, "grant."+s) {
			t.Errorf("desk.EventKinds lacks grant.%s", s)
		}
	}
	if got := outbox.States(); !slices.Equal(got, desk.LetterStates()) {
		t.Errorf("letters are %v, and desk.LetterStates says %v", got, desk.LetterStates())
	}
	if !desk.Within(known, "vault") || !desk.Within(known, "vault.") || !desk.Within(known, "lapse") || desk.Within(known, "vau") || desk.Within(known, "bogus") {
		t.Error("what a word means is told wrongly")
	}
}
