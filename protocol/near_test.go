package protocol

import (
	"slices"
	"strings"
	"testing"
)

func TestNear(t *testing.T) {
	known := []string{"post_hops", "post_delay", "profile", "listen", "api", "Sofa Shop"}
	for word, want := range map[string][]string{
		"post_hop": {"post_hops"}, "Sofa Shak": {"Sofa Shop"}, "LISTEN": {"listen"}, "post_": {"post_delay", "post_hops"},
		"": nil, "x": nil, "nothing like it": nil, strings.Repeat("listen", 1000): nil, "apj": {"api"}, "\xff\xfe": nil,
	} {
		if got := Near(word, known, 3); !slices.Equal(got, want) {
			t.Errorf("near %.20q are %q, want %q", word, got, want)
		}
	}
	if got := Near("post_", known, 1); len(got) != 1 {
		t.Errorf("asked for one, got %q", got)
	}
	if got := Near("api", nil, 3); len(got) != 0 {
		t.Errorf("of nothing: %q", got)
	}
}
