// Package words takes English text apart for a search: words in lower case, without
// plural endings and without the words that every need has. Text in other languages
// comes out too, as its words stand.
package words

import (
	"strings"
	"unicode"
)

// Words of a need that tell nothing about the thing that is needed.
var stopWords = func() map[string]bool {
	all := map[string]bool{}
	for _, w := range strings.Fields(`a an and any are as at be by can do for from get has have help i i'm im in is it its
		like looking me must my need needed needs no not of on one or our please search searching should some someone than that
		the their them this to under up us used want wanted was we which who will with would you your`) {
		all[w] = true
	}
	return all
}()

// A Text is what is looked at in a product or a need: its words in lower case and
// without plural endings, and its joints.
type Text struct {
	Words  []string // in order, with repetitions, without stop words
	Joints []Joint
}

// A Joint is two neighbouring words written as one, where one of them has a digit:
// shops write one model number as PSLX350H, PS-LX350H and PS LX350H.
type Joint struct {
	Word string
	A, B int // its parts, as indexes into Words; -1 for one that is a stop word
}

// Read takes a text apart. It reads at most maxBytes.
func Read(s string, maxBytes int) Text {
	var t Text
	s = strings.ToLower(s[:min(len(s), maxBytes)])
	last, lastAt, apostrophe := "", -1, false
	for len(s) > 0 {
		i := strings.IndexFunc(s, isWord)
		if i < 0 {
			break
		}
		apostrophe = last != "" && (s[:i] == "'" || s[:i] == "’")
		s = s[i:]
		end := strings.IndexFunc(s, func(r rune) bool { return !isWord(r) })
		if end < 0 {
			end = len(s)
		}
		word := s[:end]
		s = s[end:]
		if apostrophe && word == "s" { // women's
			continue
		}
		at := -1
		if !stopWords[word] {
			at = len(t.Words)
			t.Words = append(t.Words, singular(word))
		}
		if last != "" && len(last)+len(word) >= 4 && (hasDigit(last) || hasDigit(word)) {
			t.Joints = append(t.Joints, Joint{last + word, lastAt, at})
		}
		last, lastAt = word, at
	}
	return t
}

func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) }

func hasDigit(s string) bool { return strings.ContainsAny(s, "0123456789") }

// singular takes off the plural endings of English. What has a digit is no English.
func singular(w string) string {
	if len(w) < 4 || w[len(w)-1] != 's' || hasDigit(w) {
		return w
	}
	for _, e := range []struct{ end, put string }{{"ies", "y"}, {"sses", "ss"}, {"xes", "x"}, {"ches", "ch"}, {"shes", "sh"},
		{"ss", "ss"}, {"us", "us"}, {"is", "is"}, {"s", ""}} {
		if stem, ok := strings.CutSuffix(w, e.end); ok && len(stem) > 1 {
			return stem + e.put
		}
	}
	return w
}
