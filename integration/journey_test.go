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
			synctest.Test(t, func(t *testing.T) { nodetest.Play(t, string(text)) })
		})
	}
}
