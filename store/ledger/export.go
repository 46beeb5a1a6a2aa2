package ledger

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
)

// Schema names the form of an export: NDJSON, one object a line, each line ending
// in "\n", every object in the one spelling that encoding/json writes.
//
//	{"schema":"hark.ledger/1","device":"hkdevice1…","size":2}
//	{"seq":1,"at_ms":1760000000000,"kind":"grant","salt":"…","body":"…"}
//	{"seq":2,"leaf":"…","shredded":true}
//	{"head":{"size":2,"root":"…","at_ms":1760000000500,"device":"hkdevice1…","sig":"…"}}
//
// Bytes are standard base64 with padding. The leaf of an entry that is not
// shredded is left out, since it follows from the fields.
const Schema = "hark.ledger/1"

// MaxLine is the longest line of an export in bytes, with its end.
const MaxLine = (MaxBody+2)/3*4 + 1024

type headerLine struct {
	Schema string                 `json:"schema"`
	Device key.Public[key.Device] `json:"device"`
	Size   int64                  `json:"size"`
}

type entryLine struct {
	Seq      int64   `json:"seq"`
	AtMS     *int64  `json:"at_ms,omitempty"`
	Kind     string  `json:"kind,omitempty"`
	Salt     []byte  `json:"salt,omitempty"`
	Body     *[]byte `json:"body,omitempty"`
	Leaf     []byte  `json:"leaf,omitempty"`
	Shredded bool    `json:"shredded,omitempty"`
}

type headLine struct {
	Head headFields `json:"head"`
}

type headFields struct {
	Size   int64                  `json:"size"`
	Root   []byte                 `json:"root"`
	AtMS   int64                  `json:"at_ms"`
	Device key.Public[key.Device] `json:"device"`
	Sig    []byte                 `json:"sig"`
}

// Export writes the whole ledger in the form of Schema, signed at time atMS in
// milliseconds since 1970. It carries every salt: whoever gets it can read and
// check every entry that is not shredded. A damaged ledger is not exported: what was
// written by then has no head and does not verify.
func (l *Ledger) Export(r kv.Reader, w io.Writer, atMS int64) error {
	head, err := l.Head(r, atMS)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(w)
	lines := json.NewEncoder(out)
	if err := lines.Encode(headerLine{Schema, head.Device, head.Size}); err != nil {
		return fmt.Errorf("ledger: export: %w", err)
	}
	var f frontier
	err = walk(r, 0, func(e Entry, _ leafRecord) (bool, error) {
		f.add(e.Leaf)
		return true, lines.Encode(lineOf(e))
	})
	if err == nil && f.root() != head.Root {
		err = fmt.Errorf("the root does not match the entries: %w", fault.Malformed)
	}
	if err != nil {
		return fmt.Errorf("ledger: export: %w", err)
	}
	end := headFields{head.Size, head.Root[:], head.AtMS, head.Device, head.Sig}
	if err := errors.Join(lines.Encode(headLine{end}), out.Flush()); err != nil {
		return fmt.Errorf("ledger: export: %w", err)
	}
	return nil
}

func lineOf(e Entry) entryLine {
	if e.Shredded {
		return entryLine{Seq: e.Seq, Leaf: e.Leaf[:], Shredded: true}
	}
	body := append([]byte{}, e.Body...) // never nil, which would print as null
	return entryLine{Seq: e.Seq, AtMS: &e.AtMS, Kind: e.Kind, Salt: e.Salt[:], Body: &body}
}

func (n entryLine) entry() (Entry, error) {
	e := Entry{Seq: n.Seq, Shredded: n.Shredded}
	switch {
	case n.Shredded && len(n.Leaf) == 32 && n.AtMS == nil && n.Kind == "" && n.Salt == nil && n.Body == nil:
		e.Leaf = [32]byte(n.Leaf)
		return e, e.check()
	case !n.Shredded && n.Leaf == nil && n.AtMS != nil && len(n.Salt) == 32 && n.Body != nil:
		e.AtMS, e.Kind, e.Salt, e.Body = *n.AtMS, n.Kind, [32]byte(n.Salt), *n.Body
		e.Leaf = e.Commitment()
		return e, e.check()
	}
	return e, fmt.Errorf("ledger: fields are missing or too many: %w", fault.Malformed)
}

// VerifyExport reads an export and recomputes everything in it, without a node. It
// holds one line in memory at a time. The error names the line. A nil error means:
// the device named in Report.Head has signed exactly these entries. Whether that is
// the device of the person in question, and whether the head continues an earlier
// one, is for the caller to compare.
func VerifyExport(r io.Reader) (Report, error) {
	var report Report
	in := lineReader{r: bufio.NewReaderSize(r, MaxLine)}
	var header headerLine
	if err := in.next(&header); err != nil {
		return report, err
	}
	if header.Schema != Schema {
		return report, in.errorf("schema %.40q, not %q: %w", header.Schema, Schema, fault.Unsupported)
	}
	if header.Size < 0 || header.Size > maxSize {
		return report, in.errorf("size %d: %w", header.Size, fault.Malformed)
	}
	var f frontier
	for report.Entries < header.Size {
		if err := in.entry(&report, &f); err != nil {
			return report, err
		}
	}
	report.Root = f.root()
	var end headLine
	if err := in.next(&end); err != nil {
		return report, err
	}
	h := end.Head
	if len(h.Root) != 32 || [32]byte(h.Root) != report.Root || h.Size != header.Size || h.Device != header.Device {
		return report, in.errorf("the head is not that of these entries: %w", fault.Malformed)
	}
	report.Head = Head{Size: h.Size, Root: report.Root, AtMS: h.AtMS, Device: h.Device, Sig: h.Sig}
	if err := report.Head.Check(); err != nil {
		return report, in.errorf("%w", err)
	}
	if _, err := in.r.ReadByte(); !errors.Is(err, io.EOF) {
		return report, in.errorf("something follows the head: %w", fault.Malformed)
	}
	return report, nil
}

// A lineReader reads objects in their one spelling.
type lineReader struct {
	r *bufio.Reader
	n int // lines read so far
}

func (l *lineReader) errorf(format string, a ...any) error {
	return fmt.Errorf("ledger: export: line %d: %w", l.n, fmt.Errorf(format, a...))
}

// next reads one line into v. Unknown, missing, repeated or reordered fields and
// other spellings of a value do not survive writing v again.
func (l *lineReader) next(v any) error {
	l.n++
	line, err := l.r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return l.errorf("longer than %d bytes: %w", MaxLine, fault.Full)
	case errors.Is(err, io.EOF):
		return l.errorf("the export ends before its head: %w", fault.Malformed)
	case err != nil:
		return l.errorf("%w", err)
	}
	if err := json.Unmarshal(line, v); err != nil {
		return l.errorf("%w: %w", err, fault.Malformed)
	}
	again, err := json.Marshal(v)
	if err != nil || !bytes.Equal(append(again, '\n'), line) {
		return l.errorf("not the one spelling of its fields: %w", fault.Malformed)
	}
	return nil
}

func (l *lineReader) entry(report *Report, f *frontier) error {
	var n entryLine
	if err := l.next(&n); err != nil {
		return err
	}
	e, err := n.entry()
	if err != nil {
		return l.errorf("%w", err)
	}
	if e.Seq != report.Entries+1 {
		return l.errorf("entry %d, wanted %d: %w", e.Seq, report.Entries+1, fault.Malformed)
	}
	f.add(e.Leaf)
	report.count(e)
	return nil
}
