package words

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestRead(t *testing.T) {
	for text, want := range map[string]string{
		"":                                     "",
		"I need a couch, please!":              "couch",
		"Boxes of Batteries, glasses & dishes": "box battery glass dish",
		"Bus gas lens analysis women's shoes’s": "bus gas len analysis women shoe",
		"PS-LX350H":               "ps lx350h +pslx350h(0,1)",
		"size 4 of 4x4":           "size 4 4x4 +size4(0,1) +of4x4(-1,2)",
		"Käse für Genießer, 日本":   "käse für genießer 日本",
		"a 1":                     "1",
		"\xff\xfe broken\x00text": "broken text",
	} {
		got := Read(text, 100)
		said := append([]string{}, got.Words...)
		for _, j := range got.Joints {
			said = append(said, fmt.Sprintf("+%s(%d,%d)", j.Word, j.A, j.B))
		}
		if s := strings.Join(said, " "); s != want {
			t.Errorf("Read(%q) = %q, want %q", text, s, want)
		}
	}
	if got := Read("lamp table", 4); !reflect.DeepEqual(got.Words, []string{"lamp"}) {
		t.Errorf("beyond its bound: %q", got.Words)
	}
}

// FuzzRead: it ends, on any bytes, with words that have no blanks and parts that
// exist.
func FuzzRead(f *testing.F) {
	for _, s := range []string{"A couch's legs", "x1-2y 3", "ſ İ", "\xff", "'s's"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := Read(text, 1000)
		check := func(w string) {
			if w == "" || strings.ContainsAny(w, " \t\n") || utf8.ValidString(text) && len(text) <= 1000 && !utf8.ValidString(w) {
				t.Fatalf("word %q in %q", w, text)
			}
		}
		for _, w := range got.Words {
			check(w)
		}
		for _, j := range got.Joints {
			if check(j.Word); j.A < -1 || j.B < -1 || j.A >= len(got.Words) || j.B >= len(got.Words) {
				t.Fatalf("joint %+v in %q", j, text)
			}
		}
	})
}
