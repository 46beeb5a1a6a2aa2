// Package sheet splits files as shops write them into rows of fields: after RFC
// 4180, with any separator, and bounded, so that one quote that nobody closed cannot
// make a whole file into one field, as it can with encoding/csv.
package sheet

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/harkmarket/hark/protocol/fault"
)

// Bounds of a file.
const (
	MaxRow   = 64 << 10  // bytes of one row
	MaxFile  = 256 << 20 // bytes of one file; beyond it Next gives fault.Full
	maxLines = 500       // lines of one row, by line breaks in quotes
)

// ErrRow marks a row that is too long; the next one can be read.
var ErrRow = errors.New("not a row")

// Rows reads a file row by row. A quote inside a field that does not begin with one
// is just a quote (2-1/2" wide), and a quote that is never closed costs its row only.
type Rows struct {
	Row int // of what was read last; the first is 1, as in a spreadsheet

	in   *bufio.Reader
	sep  byte
	left int64    // bytes that the file may still have
	back []string // lines read ahead,
	late error    // and what reading on had met
}

// New reads the file r, which may have MaxFile bytes.
func New(r io.Reader) *Rows { return &Rows{in: bufio.NewReaderSize(r, 64<<10), left: MaxFile} }

// Header reads the first line whole, for the caller to look at and to choose the
// separator with Separate.
func (r *Rows) Header() (string, error) {
	r.Row++
	return r.line()
}

// Separate sets the separator of the rows to come.
func (r *Rows) Separate(sep byte) { r.sep = sep }

// Split takes a row of one line apart; ok is false where a quote is not closed.
func Split(line string, sep byte) (fields []string, ok bool) {
	s := splitter{sep: sep}
	s.feed(line)
	return s.fields, !s.quoted
}

// line gives the next line without its end. A line that is too long is passed over
// and gives ErrRow.
func (r *Rows) line() (string, error) {
	if len(r.back) > 0 {
		l := r.back[0]
		r.back = r.back[1:]
		return l, nil
	}
	if err := r.late; err != nil {
		r.late = nil
		return "", err
	}
	var line []byte
	long := false
	for {
		part, err := r.in.ReadSlice('\n')
		if r.left -= int64(len(part)); r.left < 0 {
			return "", fmt.Errorf("sheet: a file of more than %d MiB: %w", MaxFile>>20, fault.Full)
		}
		if long = long || len(line)+len(part) > MaxRow; !long {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(line) == 0 && !long:
			return "", io.EOF
		case err != nil && !errors.Is(err, io.EOF):
			return "", fmt.Errorf("sheet: reading: %w", err)
		case long:
			return "", fmt.Errorf("more than %d KiB: %w", MaxRow>>10, ErrRow)
		}
		return string(bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))), nil
	}
}

// Next gives the fields of the next row; io.EOF after the last.
func (r *Rows) Next() ([]string, error) {
	r.Row++
	first, err := r.line()
	if err != nil {
		return nil, err
	}
	s := splitter{sep: r.sep}
	s.feed(first)
	size := len(first)
	var ahead []string
	for s.quoted && len(ahead) < maxLines {
		l, err := r.line()
		if err != nil {
			r.late = err
			break
		}
		ahead = append(ahead, l)
		if size += 1 + len(l); size > MaxRow {
			break
		}
		s.field.WriteByte('\n')
		s.feed(l)
	}
	if s.quoted { // never closed: the lines after the first are rows of their own
		r.back = append(ahead, r.back...)
		return strings.Split(first, string(r.sep)), nil
	}
	return s.fields, nil
}

// A splitter takes a row apart, line by line.
type splitter struct {
	sep    byte
	fields []string
	field  strings.Builder
	quoted bool // inside quotes at the end of the line
}

func (s *splitter) feed(line string) {
	start := !s.quoted // at the start of a field
	for i := 0; i < len(line); i++ {
		c := line[i]
		end := i+1 == len(line) || line[i+1] == s.sep
		switch {
		case s.quoted && c == '"' && i+1 < len(line) && line[i+1] == '"':
			s.field.WriteByte('"')
			i++
		case s.quoted && c == '"' && end:
			s.quoted = false
		case s.quoted:
			s.field.WriteByte(c)
		case c == s.sep:
			s.end()
			start = true
			continue
		case start && c == '"':
			s.quoted = true
		default:
			s.field.WriteByte(c)
		}
		start = false
	}
	if !s.quoted {
		s.end()
	}
}

func (s *splitter) end() {
	s.fields = append(s.fields, s.field.String())
	s.field.Reset()
}
