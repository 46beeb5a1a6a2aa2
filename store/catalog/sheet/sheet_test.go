package sheet

import (
	"encoding/csv"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/harkmarket/hark/protocol/fault"
)

// rows reads all of a text; a row that is too long shows as nil.
func rows(t *testing.T, text string, sep byte) (all [][]string) {
	t.Helper()
	r := New(strings.NewReader(text))
	r.Separate(sep)
	for {
		row, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			if r.Row != len(all)+1 {
				t.Errorf("the end is row %d, after %d rows", r.Row, len(all))
			}
			return all
		case errors.Is(err, ErrRow):
			row = nil
		case err != nil:
			t.Fatal(err)
		}
		all = append(all, row)
	}
}

func TestRows(t *testing.T) {
	long := strings.Repeat("x", MaxRow)
	for name, c := range map[string]struct {
		text string
		want [][]string
	}{
		"nothing":              {"", nil},
		"an empty line":        {"\n", [][]string{{""}}},
		"plain":                {"a,b\nc,\n", [][]string{{"a", "b"}, {"c", ""}}},
		"no end of line":       {"a,b", [][]string{{"a", "b"}}},
		"CRLF":                 {"a,b\r\nc,d\r\n", [][]string{{"a", "b"}, {"c", "d"}}},
		"quotes":               {`"a,b","c ""d""",""` + "\n", [][]string{{"a,b", `c "d"`, ""}}},
		"lines in quotes":      {"\"a\r\nb\n\nc\",d\ne\n", [][]string{{"a\nb\n\nc", "d"}, {"e"}}},
		"inches":               {"5\" disc,2-1/2\"\nnext", [][]string{{"5\" disc", "2-1/2\""}, {"next"}}},
		"quote inside quotes":  {"\"a \"b\" c\",d", [][]string{{"a \"b\" c", "d"}}},
		"never closed":         {"\"a,b\nc,d\n", [][]string{{"\"a", "b"}, {"c", "d"}}},
		"never closed, thrice": {"\"a\n\"b,\n\"c", [][]string{{"\"a"}, {"\"b", ""}, {"\"c"}}},
		"closed too far away":  {"\"a\n" + strings.Repeat("b\n", maxLines) + "\"\n", append(append([][]string{{"\"a"}}, slices.Repeat([][]string{{"b"}}, maxLines)...), []string{"\""})},
		"too long":             {"a\n" + long + "xx\nb", [][]string{{"a"}, nil, {"b"}}},
		"too long in quotes":   {"\"a\n" + long[2:] + "\nb\"\n", [][]string{{"\"a"}, {long[2:]}, {"b\""}}},
		"too long, read ahead": {"\"a\n" + long + "xx\nb", [][]string{{"\"a"}, nil, {"b"}}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := rows(t, c.text, ','); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %.200q\nwant %.200q", got, c.want)
			}
		})
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("disk on fire") }

func TestWhatEndsAFile(t *testing.T) {
	r := New(strings.NewReader("id,title\n1,a\n2,b\n"))
	r.left = 12
	if line, err := r.Header(); err != nil || line != "id,title" {
		t.Fatalf("header %q, %v", line, err)
	}
	if _, err := r.Next(); !errors.Is(err, fault.Full) {
		t.Errorf("a file that is too large gave %v", err)
	}
	if _, err := New(broken{}).Next(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a reader that fails gave %v", err)
	}
}

// FuzzRows: reading ends; what encoding/csv writes comes back as it was; and Split
// agrees with Next about rows of one line.
func FuzzRows(f *testing.F) {
	for _, s := range []string{"", "a,b\n\"c\nd\",e", "\"", "\"\"\"", "a\"b,\"c\" d,\"e\"\"\r\n", "\n\n,\n", strings.Repeat("\"\n", 600)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all := rows(t, text, ',')
		for _, row := range all {
			var out strings.Builder
			w := csv.NewWriter(&out)
			if err := w.Write(row); err != nil {
				t.Fatal(err)
			}
			w.Flush()
			if row == nil || out.Len() > MaxRow || strings.Count(out.String(), "\n") > maxLines || strings.Contains(out.String(), "\r") {
				continue // no row, or one that reads back otherwise for a good reason
			}
			if got := rows(t, out.String(), ','); len(got) != 1 || !slices.Equal(got[0], row) {
				t.Fatalf("%q was written as %q and read as %q", row, out.String(), got)
			}
			line := strings.TrimSuffix(out.String(), "\n")
			if got, ok := Split(line, ','); !strings.Contains(line, "\n") && (!ok || !slices.Equal(got, row)) {
				t.Fatalf("Split(%q) = %q, %v", line, got, ok)
			}
		}
	})
}
