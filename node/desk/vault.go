package desk

import (
	"context"
	"io"
	"time"
)

// A Field is one vault field. Value is masked unless it was asked for, and empty where
// the value is a large one, which Files gives.
type Field struct {
	Name     string    `json:"name"`
	Title    string    `json:"title,omitempty"`
	Category string    `json:"category,omitempty"` // in W3C DPV 2.3, as pd:EmailAddress
	Value    string    `json:"value"`
	Masked   bool      `json:"masked,omitempty"`
	Blob     *Blob     `json:"blob,omitempty"`
	Version  uint64    `json:"version"`
	Changed  time.Time `json:"changed"`            // when this value was stated
	Checked  time.Time `json:"checked,omitzero"`   // when it was last stated or checked
	ReviewBy time.Time `json:"review_by,omitzero"` // when its owner means to look at it again
	Overdue  bool      `json:"overdue,omitempty"`  // that time has come
	Source   string    `json:"source,omitempty"`   // self-stated, verified, inferred
	Class    string    `json:"class,omitempty"`    // ordinary, special, child
	MinPrice *Money    `json:"min_price,omitempty"`
	Rule     string    `json:"rule,omitempty"`   // ask, never, or always: and purposes
	Notice   string    `json:"notice,omitempty"` // what to know where the name is not in the vocabulary
}

// A Blob tells about a large value.
type Blob struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	Media  string `json:"media,omitempty"`
}

// A FieldSpec changes a field; what is not given stays. A field that is new needs a
// value.
type FieldSpec struct {
	Value    *string    `json:"value,omitempty"`
	Source   string     `json:"source,omitempty"`    // self-stated, verified, inferred; self-stated where a new value says nothing
	ReviewBy *time.Time `json:"review_by,omitempty"` // the zero time: never
	Class    string     `json:"class,omitempty"`     // ordinary, special, child: at least what the law says of the field
	MinPrice *Money     `json:"min_price,omitempty"` // the least to give it for; 0 asks nothing
	Rule     string     `json:"rule,omitempty"`      // ask, never, or always: and purposes with commas
}

// Value is a FieldSpec of a value alone.
func Value(v string) FieldSpec { return FieldSpec{Value: &v} }

// Vault is the desk for the customer's own data.
type Vault interface {
	Set(ctx context.Context, name string, spec FieldSpec) (Field, error)
	// Get reveals a field's value.
	Get(ctx context.Context, name string) (Field, error)
	List(ctx context.Context) ([]Field, error)
	// History gives the kept versions, the present one first, masked unless reveal.
	History(ctx context.Context, name string, reveal bool) ([]Field, error)
	// Remove erases a field, or one earlier version of its value, and returns when
	// its bytes are off the disk.
	Remove(ctx context.Context, name string, version uint64) error
	// Erase erases several fields: all of them or, where one is not there, none.
	Erase(ctx context.Context, names []string) error
}

// MaxErased is how many fields are erased at once.
const MaxErased = 256

// A VaultImport says how a file is read.
type VaultImport struct {
	Format string `json:"format"` // json, as Export writes it, or vcard
	DryRun bool   `json:"dry_run,omitempty"`
}

// A VaultReport tells what an import did, or would do; never a value.
type VaultReport struct {
	Format  string        `json:"format"`
	DryRun  bool          `json:"dry_run,omitempty"`
	Added   int           `json:"added"`
	Changed int           `json:"changed"`
	Same    int           `json:"same"`
	Items   []VaultChange `json:"items"`             // what is not the same, in the order of the file
	Ignored []string      `json:"ignored,omitempty"` // parts of the file that no field takes, each with the reason
}

// A VaultChange is what an import did to one field.
type VaultChange struct {
	Field string `json:"field"`
	What  string `json:"what"` // added, changed
	From  string `json:"from,omitempty"`
}

// Files is the desk for what goes into the vault and out of it in streams: large
// values, and the vault as a whole.
type Files interface {
	// Upload makes what src gives the value of a field. The Value of spec is not used.
	Upload(ctx context.Context, name, media string, spec FieldSpec, src io.Reader) (Field, error)
	// Download writes a field's value, small or large: a version, or the present one
	// for 0.
	Download(ctx context.Context, name string, version uint64, w io.Writer) error
	Import(ctx context.Context, src io.Reader, spec VaultImport) (VaultReport, error)
	Export(ctx context.Context, w io.Writer) error
}
