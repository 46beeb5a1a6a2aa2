package fault

import (
	"errors"
	"fmt"
	"testing"
)

func TestAKindSurvivesWrapping(t *testing.T) {
	err := fmt.Errorf("vault: phone: %w", fmt.Errorf("grant: %w", Denied))
	if !errors.Is(err, Denied) || errors.Is(err, NotFound) {
		t.Fatalf("errors.Is got the kind of %v wrong", err)
	}
	if Of(err) != Denied || Of(errors.New("x")) != Internal {
		t.Fatalf("Of(%v) = %v", err, Of(err))
	}
}

func TestAStrangerCannotTellDeniedFromNotFound(t *testing.T) {
	for _, k := range []Kind{Denied, NotFound, Locked} {
		if k.Outside() != NotFound {
			t.Errorf("%v.Outside() = %v, want NotFound", k, k.Outside())
		}
	}
	if Malformed.Outside() != Malformed || Conflict.Outside() != Conflict {
		t.Error("Outside changed a kind that it should not, or kept one that it should not")
	}
}

func TestAnUnknownNumberHasAName(t *testing.T) {
	if Kind(200).Error() == "" {
		t.Error("a kind from a newer node must print")
	}
}
