// Package dump writes a whole vault as one JSON document, and reads one back. Both go
// piece by piece: whatever the size of the vault or of a hostile file, memory is
// bounded by one element.
//
//	{"schema": "hark.vault/1", "exported": "2026-11-26T12:00:00Z",
//	 "fields": [{"name": "contact.email", "category": "pd:EmailAddress", "value": "…", "version": 2, …,
//	             "history": [{"value": "…", "version": 1, …}]},
//	            {"name": "document.cv", "blob": {"bytes": 70000, "sha256": "…", "media": "application/pdf"}, …}],
//	 "chunks": [{"field": "document.cv", "version": 1, "data": "…base64…"}, …]}
//
// The keys stand in this order; "exported", "chunks" and everything in a field but its
// name may be missing. Chunks of one value stand together, in their order. A reader
// refuses what it does not know: half a vault is worse than none.
package dump

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/strict"
)

// Schema is the schema of the document.
const Schema = "hark.vault/1"

// Bounds of a document.
const (
	maxElement = 1 << 20  // bytes of JSON that one field or chunk may take
	chunkSize  = 48 << 10 // bytes of a value in one chunk
	maxElems   = 1 << 20  // fields, and chunks
)

// A Version is one value of a field.
type Version struct {
	Value   string    `json:"value,omitempty"`
	Blob    *Blob     `json:"blob,omitempty"`
	Version uint64    `json:"version,omitempty"`
	Changed time.Time `json:"changed,omitzero"`
	Checked time.Time `json:"checked,omitzero"`
	Source  string    `json:"source,omitempty"`
}

// A Blob tells about a value that stands in chunks.
type Blob struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	Media  string `json:"media,omitempty"`
}

// A Money is an amount in minor units.
type Money struct {
	Minor    int64  `json:"minor"`
	Currency string `json:"currency"`
}

// A Field is a field with everything about it.
type Field struct {
	Name     string `json:"name"`
	Title    string `json:"title,omitempty"`
	Category string `json:"category,omitempty"`
	Version
	ReviewBy time.Time `json:"review_by,omitzero"`
	Class    string    `json:"class,omitempty"`
	MinPrice *Money    `json:"min_price,omitempty"`
	Rule     string    `json:"rule,omitempty"`
	History  []Version `json:"history,omitempty"` // earlier values, the latest first
}

type chunk struct {
	Field   string `json:"field"`
	Version uint64 `json:"version"`
	Data    []byte `json:"data"`
}

// A Writer writes a document: Field for each field, then Blob for each large value,
// then Close. Without Close the document is cut off, and refused when it is read.
type Writer struct {
	out io.Writer
	err error
	n   int
	in  string // the array that is open
}

// NewWriter begins a document.
func NewWriter(out io.Writer, now time.Time) *Writer {
	w := &Writer{out: out, in: "fields"}
	w.print(`{"schema":%q,"exported":%q,"fields":[`, Schema, now.UTC().Format(time.RFC3339))
	return w
}

func (w *Writer) print(format string, args ...any) {
	if w.err == nil {
		_, w.err = fmt.Fprintf(w.out, format, args...)
	}
}

func (w *Writer) element(v any) error {
	raw, err := json.Marshal(v)
	if w.err == nil {
		w.err = err
	}
	if w.n++; w.n > 1 {
		w.print(",")
	}
	w.print("\n%s", raw)
	return w.err
}

// Field writes a field. All fields come before the first Blob.
func (w *Writer) Field(f Field) error {
	if w.in != "fields" && w.err == nil {
		w.err = fmt.Errorf("vault export: a field after the chunks: %w", fault.Internal)
	}
	return w.element(f)
}

// Blob gives a writer for the bytes of one version of a field.
func (w *Writer) Blob(field string, version uint64) io.Writer {
	if w.in == "fields" {
		w.print("],\"chunks\":[")
		w.in, w.n = "chunks", 0
	}
	return writerFunc(func(p []byte) (int, error) {
		for done := 0; done < len(p); done += chunkSize {
			if err := w.element(chunk{field, version, p[done:min(done+chunkSize, len(p))]}); err != nil {
				return done, err
			}
		}
		return len(p), nil
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// Close ends the document.
func (w *Writer) Close() error {
	w.print("]}\n")
	return w.err
}

// A Reader reads a document: Field until io.EOF, then Blob until io.EOF. Every error
// but io.EOF has kind fault.Malformed, unless reading src itself failed.
type Reader struct {
	src     *allowance
	dec     *json.Decoder
	elems   int
	pending *chunk // read, and not yet given
	inArray bool
	err     error
}

// An allowance lets so many bytes through until it is renewed, so that no token can
// grow beyond it.
type allowance struct {
	src  io.Reader
	left int
	err  error // of src
}

var errElement = errors.New("an element of more than 1 MiB")

func (a *allowance) Read(p []byte) (int, error) {
	if a.left <= 0 {
		return 0, errElement
	}
	n, err := a.src.Read(p[:min(len(p), a.left)])
	a.left -= n
	if err != nil && !errors.Is(err, io.EOF) {
		a.err = err
	}
	return n, err
}

// NewReader reads the beginning of a document.
func NewReader(src io.Reader) (*Reader, error) {
	r := &Reader{src: &allowance{src: src, left: maxElement}}
	r.dec = json.NewDecoder(r.src)
	var schema, exported string
	if err := errors.Join(r.delim('{'), r.key("schema"), r.decode(&schema)); err != nil {
		return nil, r.fail(err)
	}
	if schema != Schema {
		return nil, fmt.Errorf("vault export: schema %.40q, want %s: %w", schema, Schema, fault.Unsupported)
	}
	k, err := r.text()
	if err == nil && k == "exported" {
		if err = r.decode(&exported); err == nil {
			k, err = r.text()
		}
	}
	if err == nil && k != "fields" {
		err = fmt.Errorf("%.40q where \"fields\" should stand", k)
	}
	if err == nil {
		err = r.delim('[')
	}
	if err != nil {
		return nil, r.fail(err)
	}
	r.inArray = true
	return r, nil
}

// Field gives the next field, io.EOF after the last.
func (r *Reader) Field() (Field, error) {
	var f Field
	err := r.next(&f)
	switch {
	case errors.Is(err, io.EOF):
		return f, io.EOF
	case err != nil:
		return f, r.fail(err)
	case f.Name == "":
		return f, r.fail(errors.New("a field without a name"))
	}
	return f, nil
}

// next decodes the next element of the array, io.EOF at its end, and opens the array
// of chunks after that of fields.
func (r *Reader) next(v any) error {
	if r.err != nil || !r.inArray {
		return cmpErr(r.err, io.EOF)
	}
	r.src.left = maxElement
	if r.dec.More() {
		if r.elems++; r.elems > maxElems {
			return errors.New("too many elements")
		}
		return r.decode(v)
	}
	r.inArray = false
	if err := r.delim(']'); err != nil {
		return err
	}
	return io.EOF
}

func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// chunks opens the array of chunks, where there is one; io.EOF at the end of the
// document.
func (r *Reader) chunks() error {
	t, err := r.token()
	if err != nil {
		return err
	}
	switch t {
	case "chunks":
		if err := r.delim('['); err != nil {
			return err
		}
		r.elems, r.inArray = 0, true
		return nil
	case json.Delim('}'):
		return io.EOF
	}
	return fmt.Errorf("%.40q where the document should end", fmt.Sprint(t))
}

// Blob gives the next large value: whose it is, and its bytes, which are to be read
// to their end before the next call. io.EOF after the last, once the document has
// ended as it should.
func (r *Reader) Blob() (field string, version uint64, data io.Reader, err error) {
	if r.pending == nil {
		if err := r.openChunks(); err != nil {
			return "", 0, nil, err
		}
	}
	if r.pending == nil {
		return "", 0, nil, io.EOF
	}
	b := &blobReader{r: r, field: r.pending.Field, version: r.pending.Version, data: r.pending.Data}
	r.pending = nil
	return b.field, b.version, b, nil
}

// openChunks looks for the first chunk.
func (r *Reader) openChunks() error {
	if r.err != nil || r.ended() {
		return cmpErr(r.err, io.EOF)
	}
	switch err := r.chunks(); {
	case errors.Is(err, io.EOF):
		return r.end()
	case err != nil:
		return r.fail(err)
	}
	return r.pull()
}

func (r *Reader) ended() bool { return r.src == nil }

// end makes sure that nothing follows the document.
func (r *Reader) end() error {
	r.src.left = maxElement
	_, err := r.dec.Token()
	if !errors.Is(err, io.EOF) {
		return r.fail(errors.New("more after the end"))
	}
	r.src = nil
	return io.EOF
}

// pull reads the next chunk into pending; at the end of the array it reads the end
// of the document and leaves none.
func (r *Reader) pull() error {
	var c chunk
	err := r.next(&c)
	switch {
	case errors.Is(err, io.EOF):
		if err := r.delim('}'); err != nil {
			return r.fail(err)
		}
		if err := r.end(); !errors.Is(err, io.EOF) {
			return err
		}
		return nil
	case err != nil:
		return r.fail(err)
	case c.Field == "" || len(c.Data) == 0:
		return r.fail(errors.New("a chunk without a field or data"))
	}
	r.pending = &c
	return nil
}

// A blobReader reads the chunks that belong together.
type blobReader struct {
	r       *Reader
	field   string
	version uint64
	data    []byte
}

// Read implements io.Reader.
func (b *blobReader) Read(p []byte) (int, error) {
	if len(b.data) == 0 {
		if b.r.pending == nil {
			if b.r.err != nil || b.r.ended() {
				return 0, cmpErr(b.r.err, io.EOF)
			}
			if err := b.r.pull(); err != nil {
				return 0, err
			}
		}
		next := b.r.pending
		if next == nil || next.Field != b.field || next.Version != b.version {
			return 0, io.EOF
		}
		b.data, b.r.pending = next.Data, nil
	}
	n := copy(p, b.data)
	b.data = b.data[n:]
	return n, nil
}

func (r *Reader) token() (json.Token, error) {
	r.src.left = maxElement
	t, err := r.dec.Token()
	return t, inside(err)
}

// decode reads one element. Its bytes are bounded by the allowance.
func (r *Reader) decode(v any) error {
	var raw json.RawMessage
	if err := r.dec.Decode(&raw); err != nil {
		return inside(err)
	}
	return strict.Decode(raw, v)
}

// inside is for errors where the document must go on.
func inside(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (r *Reader) delim(want json.Delim) error {
	t, err := r.token()
	if err == nil && t != want {
		err = fmt.Errorf("%.40q where %q should stand", fmt.Sprint(t), want.String())
	}
	return err
}

func (r *Reader) text() (string, error) {
	t, err := r.token()
	s, ok := t.(string)
	if err == nil && !ok {
		err = fmt.Errorf("%.40q where a key should stand", fmt.Sprint(t))
	}
	return s, err
}

func (r *Reader) key(want string) error {
	k, err := r.text()
	if err == nil && k != want {
		err = fmt.Errorf("%.40q where %q should stand", k, want)
	}
	return err
}

// fail makes the error that every later call gives, too. It never repeats a value.
func (r *Reader) fail(err error) error {
	if r.err == nil {
		switch {
		case r.src != nil && r.src.err != nil:
			r.err = fmt.Errorf("vault export: %w", r.src.err)
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			r.err = fmt.Errorf("vault export: the document is cut off: %w", fault.Malformed)
		case errors.Is(err, fault.Malformed):
			r.err = fmt.Errorf("vault export: %w", err)
		default:
			r.err = fmt.Errorf("vault export: %s: %w", wording(err), fault.Malformed)
		}
	}
	return r.err
}

// wording keeps of a decoder's error what can't contain a value.
func wording(err error) string {
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Sprintf("not JSON at byte %d", e.Offset)
	}
	return err.Error()
}
