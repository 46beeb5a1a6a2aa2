package differ

import (
	"slices"
	"testing"
)

func TestFields(t *testing.T) {
	type inner struct{ Name, Other string }
	type base struct{ In inner }
	type outer struct {
		base
		List []inner
	}
	a := outer{base{inner{"x", "y"}}, nil}
	b := outer{base{inner{"z", "y"}}, []inner{}}
	if d := Fields(a, b); !slices.Equal(d, []string{"in.name"}) {
		t.Errorf("%q", d)
	}
	b.List = append(b.List, inner{})
	if d := Fields(a, b); !slices.Equal(d, []string{"in.name", "list"}) {
		t.Errorf("%q", d)
	}
	if d := Fields(b, b); len(d) > 0 {
		t.Errorf("%q", d)
	}
}
