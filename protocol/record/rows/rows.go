// Package rows reads and writes CSV after RFC 4180 so that no byte is lost and no cell
// becomes a formula where a spreadsheet opens the file.
package rows

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/harkmarket/hark/protocol/fault"
)

// BOM may stand before the first row.
const BOM = "\ufeff"

// maxCells bounds a row.
const maxCells = 256

// risky are the first letters for which spreadsheets take a cell as a formula, the mark
// that is left out at the head of a file, behind which one may hide, and the one that
// marks a cell as made harmless.
const risky = "=+-@\t\r\n＝＋－＠'" + BOM

func starts(s string) bool {
	first, n := utf8.DecodeRuneInString(s)
	return n > 0 && strings.ContainsRune(risky, first)
}

// Write adds a row, which ends in CRLF; a cell that could be a formula begins with an apostrophe.
func Write(b *bytes.Buffer, cells []string) {
	for i, c := range cells {
		if i > 0 {
			b.WriteByte(',')
		}
		if starts(c) {
			c = "'" + c
		}
		if strings.ContainsAny(c, "\",\r\n") || strings.TrimSpace(c) != c {
			c = `"` + strings.ReplaceAll(c, `"`, `""`) + `"`
		}
		b.WriteString(c)
	}
	b.WriteString("\r\n")
}

// Read undoes Write. It keeps every byte of a quoted cell, which encoding/csv does not.
// At most size bytes and most rows of as many cells as the first has: fault.Malformed.
func Read(raw []byte, size, most int) (rows [][]string, err error) {
	bad := func(what string) error {
		return fmt.Errorf("CSV row %d: %s: %w", len(rows)+1, what, fault.Malformed)
	}
	if len(raw) > size || !utf8.Valid(raw) {
		return nil, bad("a file that is too large, or no UTF-8")
	}
	rest := strings.TrimPrefix(string(raw), BOM)
	for rest != "" {
		if len(rows) == most {
			return nil, bad("too many")
		}
		var row []string
		for more := true; more; {
			var c string
			if c, rest, more, err = readCell(rest); err != nil {
				return nil, bad(err.Error())
			}
			if row = append(row, c); len(row) > maxCells {
				return nil, bad("too many cells")
			}
		}
		if len(rows) > 0 && len(row) != len(rows[0]) {
			return nil, bad("another number of cells")
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// readCell takes the first cell of s off; more tells that the row goes on.
func readCell(s string) (cell, rest string, more bool, err error) {
	if body, quoted := strings.CutPrefix(s, `"`); quoted {
		var b strings.Builder
		for {
			part, after, ok := strings.Cut(body, `"`)
			if !ok {
				return "", "", false, errors.New("a quote that is not closed")
			}
			b.WriteString(part)
			if !strings.HasPrefix(after, `"`) {
				cell, rest = b.String(), after
				break
			}
			b.WriteByte('"')
			body = after[1:]
		}
	} else {
		n := strings.IndexAny(s, ",\r\n\"")
		if n < 0 {
			n = len(s)
		}
		cell, rest = s[:n], s[n:]
	}
	if harmless, marked := strings.CutPrefix(cell, "'"); marked {
		if !starts(harmless) {
			return "", "", false, errors.New("an apostrophe before what is no formula")
		}
		cell = harmless
	}
	if after, ok := strings.CutPrefix(rest, ","); ok {
		return cell, after, true, nil
	}
	after, ok := strings.CutPrefix(rest, "\r\n")
	if !ok {
		after, ok = strings.CutPrefix(rest, "\n")
	}
	if !ok && rest != "" {
		return "", "", false, errors.New("something after the end of a cell")
	}
	return cell, after, false, nil
}

// lines escapes an item of a list.
var lines = strings.NewReplacer(`\`, `\\`, "\n", `\n`)

// Join puts a list into one cell, an item to a line.
func Join(list []string) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = lines.Replace(s)
	}
	return strings.Join(out, "\n")
}

var unlines = strings.NewReplacer(`\\`, `\`, `\n`, "\n")

// Split undoes it.
func Split(cell string) []string {
	if cell == "" {
		return nil
	}
	out := strings.Split(cell, "\n")
	for i, s := range out {
		out[i] = unlines.Replace(s)
	}
	return out
}
