package ledger

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
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
//	{"seq":3,"leaf":"…","withheld":true}
//	{"head":{"size":3,"root":"…","at_ms":1760000000500,"device":"hkdevice1…","sig":"…"}}
//
// Bytes are standard base64 with padding. The leaf of an entry that is there with
// its body is left out, since it follows from the fields. An entry whose body was
// withheld stands as its leaf alone: its owner can show it later, and the leaf says
// whether it is the same.
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
	Withheld bool    `json:"withheld,omitempty"`
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

// MarshalJSON writes the head as a line of an export does.
func (h Head) MarshalJSON() ([]byte, error) {
	return json.Marshal(headFields{h.Size, h.Root[:], h.AtMS, h.Device, h.Sig})
}

// UnmarshalJSON reads what MarshalJSON writes. It does not check the signature.
func (h *Head) UnmarshalJSON(raw []byte) error {
	var f headFields
	if err := json.Unmarshal(raw, &f); err != nil {
		return err
	}
	if len(f.Root) != 32 {
		return fmt.Errorf("ledger: a root of %d bytes: %w", len(f.Root), fault.Malformed)
	}
	*h = Head{f.Size, [32]byte(f.Root), f.AtMS, f.Device, f.Sig}
	return nil
}

// MarshalJSON writes the entry as a line of an export does.
func (e Entry) MarshalJSON() ([]byte, error) { return json.Marshal(lineOf(e)) }

// UnmarshalJSON reads what MarshalJSON writes, and refuses an entry that no ledger
// would hold.
func (e *Entry) UnmarshalJSON(raw []byte) error {
	var n entryLine
	err := json.Unmarshal(raw, &n)
	if err == nil {
		*e, err = n.entry()
	}
	return err
}

// Export writes the whole ledger in the form of Schema, signed at time atMS in
// milliseconds since 1970, and returns the head that it ends with. Of an entry that
// keep does not want the body is withheld; a nil keep wants all. It carries the salt
// of every other one: whoever gets it can read and check them. A damaged ledger is
// not exported: what was written by then has no head and does not verify.
func (l *Ledger) Export(r kv.Reader, w io.Writer, atMS int64, keep func(Entry) bool) (Head, error) {
	head, err := l.Head(r, atMS)
	if err != nil {
		return head, err
	}
	out := bufio.NewWriter(w)
	lines := json.NewEncoder(out)
	if err := lines.Encode(headerLine{Schema, head.Device, head.Size}); err != nil {
		return head, fmt.Errorf("ledger: export: %w", err)
	}
	var t Tree
	err = walk(r, 0, func(e Entry, _ leafRecord) (bool, error) {
		t.Add(e.Leaf)
		if keep != nil && !e.Shredded && !keep(e) {
			e = Entry{Seq: e.Seq, Leaf: e.Leaf, Withheld: true}
		}
		return true, lines.Encode(lineOf(e))
	})
	if err == nil && t.Root() != head.Root {
		err = fmt.Errorf("the root does not match the entries: %w", fault.Malformed)
	}
	if err != nil {
		return head, fmt.Errorf("ledger: export: %w", err)
	}
	end := headFields{head.Size, head.Root[:], head.AtMS, head.Device, head.Sig}
	if err := errors.Join(lines.Encode(headLine{end}), out.Flush()); err != nil {
		return head, fmt.Errorf("ledger: export: %w", err)
	}
	return head, nil
}

func lineOf(e Entry) entryLine {
	if e.Shredded {
		return entryLine{Seq: e.Seq, Leaf: e.Leaf[:], Shredded: true}
	}
	if e.Withheld {
		return entryLine{Seq: e.Seq, Leaf: e.Leaf[:], Withheld: true}
	}
	body := append([]byte{}, e.Body...) // never nil, which would print as null
	return entryLine{Seq: e.Seq, AtMS: &e.AtMS, Kind: e.Kind, Salt: e.Salt[:], Body: &body}
}

func (n entryLine) entry() (Entry, error) {
	e := Entry{Seq: n.Seq, Shredded: n.Shredded, Withheld: n.Withheld}
	alone := n.Shredded != n.Withheld // a leaf alone, for one reason
	switch {
	case alone && len(n.Leaf) == 32 && n.AtMS == nil && n.Kind == "" && n.Salt == nil && n.Body == nil:
		e.Leaf = [32]byte(n.Leaf)
		return e, e.check()
	case !n.Shredded && !n.Withheld && n.Leaf == nil && n.AtMS != nil && len(n.Salt) == 32 && n.Body != nil:
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
	in := NewLines(r)
	report, err := ReadExport(in, nil)
	if err != nil {
		return report, err
	}
	return report, in.End()
}

// ReadExport is VerifyExport for an export that stands among other lines. It calls
// visit, which may be nil, for each entry in order.
func ReadExport(in *Lines, visit func(Entry) error) (Report, error) {
	var report Report
	var header headerLine
	if err := in.Next(&header); err != nil {
		return report, err
	}
	if header.Schema != Schema {
		return report, in.Errorf("schema %.40q, not %q: %w", header.Schema, Schema, fault.Unsupported)
	}
	if header.Size < 0 || header.Size > maxSize {
		return report, in.Errorf("size %d: %w", header.Size, fault.Malformed)
	}
	var t Tree
	for report.Entries < header.Size {
		e, err := in.entry(report.Entries + 1)
		if err != nil {
			return report, err
		}
		t.Add(e.Leaf)
		report.count(e)
		if visit != nil {
			if err := visit(e); err != nil {
				return report, in.Errorf("%w", err)
			}
		}
	}
	report.Root = t.Root()
	var end headLine
	if err := in.Next(&end); err != nil {
		return report, err
	}
	h := end.Head
	if len(h.Root) != 32 || [32]byte(h.Root) != report.Root || h.Size != header.Size || h.Device != header.Device {
		return report, in.Errorf("the head is not that of these entries: %w", fault.Malformed)
	}
	report.Head = Head{Size: h.Size, Root: report.Root, AtMS: h.AtMS, Device: h.Device, Sig: h.Sig}
	if err := report.Head.Check(); err != nil {
		return report, in.Errorf("%w", err)
	}
	return report, nil
}

// Lines reads objects, one a line, in their one spelling. It holds one line.
type Lines struct {
	r   *bufio.Reader
	n   int // lines read so far
	sum hash.Hash
}

// NewLines reads from r.
func NewLines(r io.Reader) *Lines {
	return &Lines{r: bufio.NewReaderSize(r, MaxLine), sum: sha256.New()}
}

// Errorf names the line that was read last.
func (l *Lines) Errorf(format string, a ...any) error {
	return fmt.Errorf("ledger: export: line %d: %w", l.n, fmt.Errorf(format, a...))
}

// Sum is SHA-256 of all lines that were read.
func (l *Lines) Sum() [32]byte { return [32]byte(l.sum.Sum(nil)) }

// Starts tells whether the next line begins with these bytes. It reads nothing.
func (l *Lines) Starts(with string) bool {
	head, _ := l.r.Peek(len(with)) // what is shorter does not begin so
	return string(head) == with
}

// End refuses whatever follows the last line.
func (l *Lines) End() error {
	switch _, err := l.r.ReadByte(); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return l.Errorf("%w", err)
	}
	return l.Errorf("something follows the head: %w", fault.Malformed)
}

// Next reads one line into v. Unknown, missing, repeated or reordered fields and
// other spellings of a value do not survive writing v again.
func (l *Lines) Next(v any) error {
	l.n++
	line, err := l.r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return l.Errorf("longer than %d bytes: %w", MaxLine, fault.Full)
	case errors.Is(err, io.EOF):
		return l.Errorf("the export ends before its head: %w", fault.Malformed)
	case err != nil:
		return l.Errorf("%w", err)
	}
	if err := json.Unmarshal(line, v); err != nil {
		return l.Errorf("%w: %w", err, fault.Malformed)
	}
	again, err := json.Marshal(v)
	if err != nil || !bytes.Equal(append(again, '\n'), line) {
		return l.Errorf("not the one spelling of its fields: %w", fault.Malformed)
	}
	l.sum.Write(line)
	return nil
}

// entry reads the entry that has to come next.
func (l *Lines) entry(seq int64) (Entry, error) {
	var n entryLine
	if err := l.Next(&n); err != nil {
		return Entry{}, err
	}
	e, err := n.entry()
	if err != nil {
		return e, l.Errorf("%w", err)
	}
	if e.Seq != seq {
		return e, l.Errorf("entry %d, wanted %d: %w", e.Seq, seq, fault.Malformed)
	}
	return e, nil
}
