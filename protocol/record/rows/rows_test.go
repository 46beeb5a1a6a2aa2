package rows

import (
	"bytes"
	"encoding/csv"
	"slices"
	"strings"
	"testing"
)

// TestNoCellIsAFormula: what could be one is marked, reads back as it was, and the
// standard library's reader agrees on the cells.
func TestNoCellIsAFormula(t *testing.T) {
	cells := []string{"=1+1", "+1", "-1", "@x", "\tx", "\rx", "\n=x", "＝1", "'", "'=1", "''", "plain", "", " =1 ", `a"b`, "a,b", "a\nb", "a\r\nb", "x\ry", "\ufeff=1"}
	var b bytes.Buffer
	Write(&b, cells)
	for i, c := range cells {
		var one bytes.Buffer
		Write(&one, []string{c, "next"})
		text := strings.TrimPrefix(one.String(), `"`)
		if text != "" && strings.ContainsAny(text[:1], "=+-@\t") {
			t.Errorf("cell %d is written as %q", i, one.String())
		}
	}
	list, err := Read(b.Bytes(), 1<<20, 10)
	if err != nil || len(list) != 1 || !slices.Equal(list[0], cells) {
		t.Fatalf("%q, %v", list, err)
	}
	theirs, err := csv.NewReader(bytes.NewReader(b.Bytes())).Read()
	if err != nil || len(theirs) != len(cells) {
		t.Fatalf("encoding/csv reads %d cells, %v", len(theirs), err)
	}
	for i, c := range theirs {
		want := cells[i]
		if starts(want) {
			want = "'" + want
		}
		if c != strings.ReplaceAll(want, "\r\n", "\n") {
			t.Errorf("encoding/csv reads %q, want %q", c, want)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	for what, raw := range map[string]string{
		"an open quote": `"a`, "words after a quote": `"a"b,c`, "a quote inside": `a"b`, "a lone return": "a\rb", "fewer cells": "a,b\r\nc\r\n",
		"a needless mark": "'a", "no UTF-8": "\xff", "rows": "a\na\na\na\n", "size": strings.Repeat("a", 200), "cells": strings.Repeat(",", 150),
	} {
		if list, err := Read([]byte(raw), 190, 3); err == nil && what != "cells" {
			t.Errorf("%s: %q", what, list)
		}
	}
	if _, err := Read(bytes.Repeat([]byte(","), maxCells+1), 1000, 3); err == nil {
		t.Error("a row of too many cells is read")
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("a,\"b\"\"\",'=c\r\n1,2,3\n"))
	f.Add([]byte("\ufeff\"x\ny\""))
	f.Add([]byte("\"\ufeff\""))
	f.Fuzz(func(t *testing.T, raw []byte) {
		list, err := Read(raw, 1<<16, 100)
		if err != nil {
			return
		}
		var b bytes.Buffer
		for _, row := range list {
			Write(&b, row)
		}
		again, err := Read(b.Bytes(), 1<<18, 100)
		if err != nil || !slices.EqualFunc(list, again, slices.Equal) {
			t.Fatalf("%q, then %q, %v", list, again, err)
		}
	})
}
