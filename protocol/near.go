package protocol

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// NearBy is the end of a sentence about a word that is not known: what is near it, or nothing
// where nothing is.
func NearBy[T ~string](near []T) string {
	if len(near) == 0 {
		return ""
	}
	text := make([]string, len(near))
	for i, w := range near {
		text[i] = string(w)
	}
	return "; near it are " + strings.Join(text, ", ")
}

// maxNamed bounds the words that a sentence names.
const maxNamed = 24

// NoSuch says that a word is none of those known, and which of them it may have meant, or
// else which there are. The known ones may come from others: they are not made safe to show.
func NoSuch(what, word string, known []string) string {
	text := fmt.Sprintf("there is no %s %.64q", what, word)
	near := Near(word, known, 3)
	switch {
	case len(near) > 0 || len(known) == 0:
		return text + NearBy(near)
	case len(known) > maxNamed:
		return text + "; there are " + strings.Join(known[:maxNamed], ", ") + " and more"
	}
	return text + "; there are " + strings.Join(known, ", ")
}

// Near gives up to n of the known words that a mistyped one may have meant, best first: by
// edit distance, one letter in four and one more at most, and those that it is the beginning of.
func Near(word string, known []string, n int) []string {
	word = strings.ToLower(clip([]byte(word)))
	type ranked struct {
		cost int
		word string
	}
	var found []ranked
	for _, k := range known {
		low := strings.ToLower(k)
		cost := distance(word, low)
		if word != "" && strings.HasPrefix(low, word) {
			cost = 0
		}
		if cost <= 1+len(word)/4 && cost < len(word) {
			found = append(found, ranked{cost, k})
		}
	}
	slices.SortFunc(found, func(a, b ranked) int { return cmp.Or(a.cost-b.cost, cmp.Compare(a.word, b.word)) })
	var out []string
	for _, f := range found[:max(0, min(n, len(found)))] {
		if f.cost <= found[0].cost+1 { // beside one that is much nearer the others are none
			out = append(out, f.word)
		}
	}
	return slices.Compact(out)
}
