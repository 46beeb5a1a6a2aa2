package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/record/rows"
	"github.com/harkmarket/hark/protocol/strict"
)

// A Format is a way in which grants are written for others.
type Format string

// The formats.
const (
	TS27560 Format = "27560"   // ISO/IEC TS 27560 consent records
	Receipt Format = "receipt" // ISO/IEC TS 27560 consent receipts: countersigned grants
	ODRL    Format = "odrl"    // ODRL 2.2 agreements: what was granted
	TS10    Format = "ts10"    // a log after EUDI TS10; alone in having disclosures
	CSV     Format = "csv"     // a row for each field of each grant
)

// Formats lists them.
func Formats() []Format { return []Format{TS27560, Receipt, ODRL, TS10, CSV} }

// Holds reports whether a format can say anything about e: a receipt needs a
// countersignature, an agreement a grant.
func (f Format) Holds(e *Entry) bool {
	switch f {
	case Receipt:
		return e.Countersigned != 0
	case ODRL:
		return e.At(Given) != 0
	}
	return true
}

// Encode writes entries in a format. fault.Malformed: a record that Check refuses.
// fault.Unsupported: one that the format does not hold. fault.Full: too many.
func Encode(f Format, entries []Entry) ([]byte, error) {
	seen := map[protocol.GrantID]bool{}
	for i := range entries {
		if err := entries[i].Check(); err != nil {
			return nil, err
		}
		if seen[entries[i].Grant] {
			return nil, fmt.Errorf("record: grant %s twice in one file: %w", entries[i].Grant.Short(), fault.Malformed)
		}
		seen[entries[i].Grant] = true
		if !f.Holds(&entries[i]) {
			return nil, fmt.Errorf("record: grant %s is nothing that %s can say: %w", entries[i].Grant.Short(), f, fault.Unsupported)
		}
	}
	if len(entries) > MaxEntries {
		return nil, fmt.Errorf("record: %d grants in one file, at most %d: %w", len(entries), MaxEntries, fault.Full)
	}
	raw, err := f.write(entries)
	if err == nil && len(raw) > MaxFile {
		err = fmt.Errorf("record: a file of %d bytes, at most %d: %w", len(raw), MaxFile, fault.Full)
	}
	return raw, err
}

func (f Format) write(entries []Entry) ([]byte, error) {
	switch f {
	case TS27560:
		return write(entries, consentOf)
	case Receipt:
		return write(entries, receiptOf)
	case ODRL:
		return write(entries, agreementOf)
	case TS10:
		return writeLog(entries)
	case CSV:
		return writeCSV(entries), nil
	}
	return nil, fmt.Errorf("record: format %.20q is none of %v: %w", f, Formats(), fault.Malformed)
}

// Decode reads what Encode wrote, in any layout and order of keys, and nothing else.
func Decode(f Format, raw []byte) (entries []Entry, err error) {
	if f == CSV {
		return readCSV(raw)
	}
	tree, err := strict.Open(raw)
	if err != nil {
		return nil, err
	}
	m, _ := tree.(map[string]any)
	many := m["@graph"] != nil
	switch f {
	case TS27560:
		entries, err = read[consent](raw, many)
	case Receipt:
		entries, err = read[receipt](raw, many)
	case ODRL:
		entries, err = read[agreement](raw, many)
	case TS10:
		entries, err = readLog(raw)
	default:
		_, err = f.write(nil)
	}
	if err != nil {
		return nil, err
	}
	again, err := Encode(f, entries)
	if err != nil {
		return nil, err
	}
	return entries, strict.Same(tree, again)
}

// Detect says which format a file is in, by what it says of itself.
func Detect(raw []byte) (Format, error) {
	if bytes.HasPrefix(bytes.TrimPrefix(raw, []byte(rows.BOM)), []byte(csvStart)) {
		return CSV, nil
	}
	if err := strict.WellFormed(raw); err != nil {
		return "", err
	}
	var head struct {
		Schema string `json:"schema"`
		Type   string `json:"@type"`
		Graph  []struct {
			Type string `json:"@type"`
		} `json:"@graph"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return "", fmt.Errorf("record: neither JSON-LD nor CSV of a grant: %w", fault.Malformed)
	}
	if len(head.Graph) > 0 {
		head.Type = head.Graph[0].Type
	}
	switch {
	case head.Schema == logSchema:
		return TS10, nil
	case head.Type == "dpv:ConsentRecord":
		return TS27560, nil
	case head.Type == "dpv:ConsentReceipt":
		return Receipt, nil
	case head.Type == "Agreement":
		return ODRL, nil
	}
	return "", fmt.Errorf("record: neither JSON-LD nor CSV of a grant: %w", fault.Malformed)
}

// A document is one thing of a JSON format.
type document[T any] interface {
	*T
	entry() (Entry, error)
	at(context json.RawMessage)
}

// A graph holds several documents under one context.
type graph[T any] struct {
	Context json.RawMessage `json:"@context"`
	Graph   []T             `json:"@graph"`
}

// write makes one document, or a graph of none or several.
func write[T any, D document[T]](entries []Entry, of func(*Entry) T) ([]byte, error) {
	docs := []T{}
	for i := range entries {
		docs = append(docs, of(&entries[i]))
	}
	if len(docs) == 1 {
		D(&docs[0]).at(Context)
		return indented(docs[0])
	}
	return indented(graph[T]{Context, docs})
}

func indented(v any) ([]byte, error) {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	return append(raw, '\n'), nil
}

func read[T any, D document[T]](raw []byte, many bool) ([]Entry, error) {
	var g graph[T]
	var err error
	if many {
		err = strict.Into(raw, &g)
	} else {
		g.Graph = make([]T, 1)
		err = strict.Into(raw, &g.Graph[0])
	}
	if err != nil {
		return nil, err
	}
	return entriesOf[T, D](g.Graph)
}

func entriesOf[T any, D document[T]](docs []T) (entries []Entry, err error) {
	if len(docs) > MaxEntries {
		return nil, fmt.Errorf("record: %d grants in one file, at most %d: %w", len(docs), MaxEntries, fault.Malformed)
	}
	for i := range docs {
		e, err := D(&docs[i]).entry()
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// logSchema names the log, which is no JSON-LD by itself.
const logSchema = "https://github.com/harkmarket/hark/ns#ts10"

type logFile struct {
	Schema string    `json:"schema"`
	Logs   []journal `json:"logs"`
}

func writeLog(entries []Entry) ([]byte, error) {
	f := logFile{logSchema, []journal{}}
	for i := range entries {
		j := journalOf(&entries[i])
		j.at(Context)
		f.Logs = append(f.Logs, j)
	}
	return indented(f)
}

func readLog(raw []byte) ([]Entry, error) {
	var f logFile
	if err := strict.Into(raw, &f); err != nil {
		return nil, err
	}
	return entriesOf[journal, *journal](f.Logs)
}

// Plain gives an entry as every format but the log has it: without disclosures.
func (f Format) Plain(e Entry) Entry {
	if f != TS10 {
		e.Disclosures = nil
	}
	e.Statuses = slices.Clone(e.Statuses)
	return e
}
