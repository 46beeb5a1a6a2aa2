package protocol

import (
	"slices"
	"testing"
)

// TestClassOfUnknownNames: a slip of the pen does not make a field less than its group.
func TestClassOfUnknownNames(t *testing.T) {
	for _, f := range Fields() {
		if f.Name.Class() != f.Class {
			t.Errorf("%s is %s, want %s", f.Name, f.Name.Class(), f.Class)
		}
	}
	for name, want := range map[FieldName]Sensitivity{
		"health.conditions": Special, "belief.faith": Special, "record.arrest": Special, "child.nickname": Child,
		"contact.mobile": Ordinary, "stamp.collection": Ordinary, "": Ordinary, "health": Special,
	} {
		if got := name.Class(); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if near := NearFields("health.conditions", 3); !slices.Equal(near, []string{"health.condition"}) {
		t.Errorf("near health.conditions are %v", near)
	}
	if near := NearFields("nothing.like-this-at-all", 3); len(near) != 0 {
		t.Errorf("near nothing are %v", near)
	}
}
