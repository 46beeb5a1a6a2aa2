package desk

import (
	"context"
	"io"
)

// A RecordSpec says which grants to export, and in which format.
type RecordSpec struct {
	As      string `json:"as"`           // 27560, receipt, odrl, ts10 or csv
	ID      string `json:"id,omitempty"` // one grant; without it, all that the others select
	Context string `json:"context,omitempty"`
	Vendor  string `json:"vendor,omitempty"`
	State   string `json:"state,omitempty"`
	Limit   int    `json:"limit,omitempty"` // of grants in one file; 500 where 0, and at most
	After   string `json:"after,omitempty"` // the Next of the file before
}

// A RecordFile is grants in a format of others: a consent record or receipt after
// ISO/IEC TS 27560, an ODRL agreement, a log after EUDI TS10, or CSV. It holds names of
// fields, never a value.
type RecordFile struct {
	As      string `json:"as"` // 27560, receipt, odrl, ts10 or csv
	Grants  int    `json:"grants"`
	LeftOut int    `json:"left_out,omitempty"` // of which the format has nothing to say, as a receipt of what was refused
	Next    string `json:"next,omitempty"`     // the After of the file that goes on
	Text    string `json:"text"`               // the file
}

// A RecordCheck is what such a file is, and how it stands to what this node holds.
type RecordCheck struct {
	As    string       `json:"as"`
	Same  bool         `json:"same"` // all of it is held here, and says the same
	Items []RecordItem `json:"items"`
}

// A RecordItem is one grant of a file.
type RecordItem struct {
	Grant   string   `json:"grant"`
	Vendor  string   `json:"vendor"`
	State   string   `json:"state"` // in the words of W3C DPV, as dpv:ConsentGiven
	Held    string   `json:"held"`  // same, other, or none: this node has no such grant
	Differs []string `json:"differs,omitempty"`
}

// Records is the desk for what both sides of a grant can show to others.
type Records interface {
	Export(ctx context.Context, spec RecordSpec) (RecordFile, error)
	// Check reads such a file and compares it with the grants held here.
	Check(ctx context.Context, file io.Reader) (RecordCheck, error)
}
