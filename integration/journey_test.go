package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/harkmarket/hark/node/nodetest"
)

// TestJourneys plays each story in testdata/journeys on a network of whole nodes in
// memory. What must hold is checked after every line.
func TestJourneys(t *testing.T) {
	files, err := filepath.Glob("testdata/journeys/*.txt")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d journeys (%v)", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if err := nodetest.Play(t, string(text)); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestJourneysFindFaults plants in a story what must not be, and sees it found.
func TestJourneysFindFaults(t *testing.T) {
	const begin = `keeper k1
vendor couches %
sells couches 1 "Two-seater couch grey" 4500
customer thandi location.area Melville
need thandi couch "a couch for two" budget 6000
expect offers thandi couch 1
`
	for name, c := range map[string]struct{ how, lines, want string }{
		"a vendor that keeps what it deleted": {"keep-deleted", "revoke thandi\nwait 10m", "still holds"},
		"a broken promise nobody spoke of":    {"", "stop couches\nrevoke thandi\nquiet 8d", "1 broken promises to thandi"},
		"a count that is wrong":               {"", "expect offers thandi couch 2", "it is 1 after 15 minutes"},
		"a word that is unknown":              {"", "dance thandi", "none of"},
		"a quotation mark too few":            {"", `need thandi x "a couch`, "quotation mark"},
		"a second network":                    {"", "network simulated", "first line"},
		"loss on pipes":                       {"", "loss 5%", "lose nothing"},
		"a partition with one side":           {"", "partition thandi couches k1", "two sides"},
		"a partition that nobody heals":       {"", "partition thandi k1 | couches\nwait 2m\naccept thandi couch\nexpect deals thandi fulfilled 1", "after 15 minutes"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				err := nodetest.Play(t, strings.Replace(begin, "%", c.how, 1)+c.lines)
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v, want %q", err, c.want)
				}
			})
		})
	}
}
