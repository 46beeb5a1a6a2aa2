package wire

import (
	"strings"
	"testing"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire/rules"
)

func TestALevelStandsWithACoarserValue(t *testing.T) {
	for level, want := range map[string]bool{"": true, "region": true, strings.Repeat("x", rules.MaxLevel+1): false, "a\nb": false} {
		g := grant()
		g.Fields[0].Form, g.Fields[0].Level = protocol.FormCoarse, level
		if _, err := Sign(contextKey, g); (err == nil) != want {
			t.Errorf("level %.8q: %v", level, err)
		}
		g.Fields[0].Form = protocol.FormValue
		if _, err := Sign(contextKey, g); (err == nil) != (level == "") {
			t.Errorf("level %.8q beside a value: %v", level, err)
		}
	}
}
