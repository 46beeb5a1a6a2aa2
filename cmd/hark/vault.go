package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol"
)

type vaultCmd struct {
	Set     vaultSetCmd     `cmd:"" help:"Set a field, or what is known about it; its value comes from standard input or a file."`
	Get     vaultGetCmd     `cmd:"" help:"Print one field's value, or write it to a file."`
	List    vaultListCmd    `cmd:"" help:"List fields, values masked."`
	Show    vaultShowCmd    `cmd:"" help:"Show everything about a field, its value masked."`
	History vaultHistoryCmd `cmd:"" help:"List the kept versions of a field, values masked."`
	Rm      vaultRmCmd      `cmd:"" help:"Erase fields, or an earlier version of one: the key is shredded, then the bytes go."`
	Import  vaultImportCmd  `cmd:"" help:"Import a vCard, or an exported vault."`
	Fields  vaultFieldsCmd  `cmd:"" help:"List the names that a field can have, each with its class in law."`
	Export  vaultExportCmd  `cmd:"" help:"Export the whole vault, values revealed, as JSON or as an age file."`
}

type vaultSetCmd struct {
	Name     string `arg:"" help:"The field, as contact.phone."`
	From     string `arg:"" optional:"" help:"- for standard input, or file:PATH (or HARK_VALUE_FILE). Up to 4 KiB of text are a value; anything else, up to 16 MiB, is kept and granted as a large one. Left out where only the flags are to change."`
	Source   string `help:"Where the value comes from: self-stated, verified or inferred." placeholder:"SOURCE"`
	ReviewBy string `help:"When to look at it again: 2027-01-31, or never." placeholder:"DATE"`
	Class    string `help:"ordinary, special or child: at least what the law says of the field." placeholder:"CLASS"`
	MinPrice string `help:"The least to give it for, as 5.00; 0 asks nothing." placeholder:"PRICE"`
	Currency string `help:"Currency of the price." default:"ZAR" placeholder:"CODE"`
	Rule     string `help:"What to do when it is asked for: ask, never, or always: and purposes with commas." placeholder:"RULE"`
	Media    string `help:"Media type of a large value; guessed from the file's name where it is left out." placeholder:"TYPE"`
}

func (c *vaultSetCmd) Run(ctx context.Context, a *app) error {
	spec, err := c.spec()
	if err != nil {
		return err
	}
	only := c.From == "" && os.Getenv("HARK_VALUE_FILE") == "" && (spec != desk.FieldSpec{})
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		var f desk.Field
		switch {
		case only:
			f, err = h.Customer().Vault().Set(ctx, c.Name, spec)
		default:
			f, err = c.value(ctx, a, h, spec)
		}
		if err != nil {
			return err
		}
		size := ""
		if f.Blob != nil && !only {
			size = fmt.Sprintf(", a large value of %d bytes", f.Blob.Bytes)
		}
		return a.show("hark.field/1", f, func(p *page) {
			p.line("set %s (version %d%s)", clean(f.Name), f.Version, size)
			if f.Notice != "" {
				p.line("note: %s", clean(f.Notice))
			}
		})
	})
}

// spec reads the flags.
func (c *vaultSetCmd) spec() (s desk.FieldSpec, err error) {
	s = desk.FieldSpec{Source: c.Source, Class: c.Class, Rule: c.Rule}
	switch c.ReviewBy {
	case "":
	case "never":
		s.ReviewBy = &time.Time{}
	default:
		t, err := time.Parse(time.DateOnly, c.ReviewBy)
		if err != nil {
			return s, usagef("--review-by %s: want a date as 2027-01-31, or never", c.ReviewBy)
		}
		s.ReviewBy = &t
	}
	if c.MinPrice != "" {
		m, err := protocol.ParseAmount(c.MinPrice, protocol.Currency(c.Currency))
		if err != nil {
			return s, &usageError{fmt.Errorf("--min-price: %w", err)}
		}
		s.MinPrice = &desk.Money{Minor: m.Minor, Currency: string(m.Currency)}
	}
	return s, nil
}

// value sets a value: as a text where it is one that a grant can carry, else as a
// large value, which is streamed.
func (c *vaultSetCmd) value(ctx context.Context, a *app, h desk.House, spec desk.FieldSpec) (desk.Field, error) {
	src, path, size, err := a.source(c.From, "HARK_VALUE")
	if err != nil {
		return desk.Field{}, err
	}
	if src == nil { // a person at the terminal
		value, err := a.secret(c.From, "HARK_VALUE", "value of "+c.Name)
		if err != nil {
			return desk.Field{}, err
		}
		text := string(value)
		spec.Value = &text
		return h.Customer().Vault().Set(ctx, c.Name, spec)
	}
	defer func() { _ = src.Close() }() // it was only read
	head := make([]byte, protocol.MaxValue+3)
	n, err := io.ReadFull(src, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return desk.Field{}, fmt.Errorf("value of %s: %w", c.Name, err)
	}
	if text, ok := smallText(head[:n]); ok && err != nil {
		spec.Value = &text
		return h.Customer().Vault().Set(ctx, c.Name, spec)
	}
	media := c.Media
	if media == "" {
		media = mime.TypeByExtension(filepath.Ext(path))
	}
	m := newMeter(a, "sealed", io.MultiReader(bytes.NewReader(head[:n]), src), size)
	defer m.end()
	return h.Customer().Files().Upload(ctx, c.Name, media, spec, m)
}

// smallText tells whether bytes are a value that a disclosure carries itself. An end of line at
// its end does not count.
func smallText(raw []byte) (string, bool) {
	raw = bytes.TrimSuffix(bytes.TrimSuffix(raw, []byte("\n")), []byte("\r"))
	text := strings.ReplaceAll(string(raw), "\r\n", "\n")
	odd := strings.ContainsFunc(text, func(c rune) bool { return c != '\n' && unicode.IsControl(c) })
	return text, len(text) <= protocol.MaxValue && utf8.ValidString(text) && !odd
}

type vaultGetCmd struct {
	Name    string `arg:"" help:"The field."`
	Out     string `help:"Write the value to this new file; - is standard output. A large value needs it." placeholder:"FILE"`
	Version uint64 `help:"An earlier version; see hark vault history." placeholder:"N"`
}

func (c *vaultGetCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		if c.Out == "-" {
			return h.Customer().Files().Download(ctx, c.Name, c.Version, a.stdout)
		}
		if c.Out != "" {
			return c.write(ctx, a, h)
		}
		f, err := c.field(ctx, h)
		if err != nil {
			return err
		}
		if f.Blob != nil && !a.JSON {
			return usagef("%s is a large value of %d bytes: give --out FILE, or --out - for standard output", clean(f.Name), f.Blob.Bytes)
		}
		return a.done("hark.field/1", f, "%s", f.Value)
	})
}

func (c *vaultGetCmd) field(ctx context.Context, h desk.House) (desk.Field, error) {
	if c.Version == 0 {
		return h.Customer().Vault().Get(ctx, c.Name)
	}
	past, err := h.Customer().Vault().History(ctx, c.Name, true)
	for _, f := range past {
		if f.Version == c.Version {
			return f, nil
		}
	}
	if err == nil {
		err = noVersion(c.Name, c.Version)
	}
	return desk.Field{}, err
}

func (c *vaultGetCmd) write(ctx context.Context, a *app, h desk.House) error {
	var n int64
	err := writeNew(c.Out, func(w io.Writer) error {
		m := &meterWriter{w: w}
		err := h.Customer().Files().Download(ctx, c.Name, c.Version, m)
		n = m.n
		return err
	})
	if err != nil {
		return err
	}
	return a.done("hark.export/1", map[string]any{"file": c.Out, "bytes": n}, "wrote %s (%d bytes)", c.Out, n)
}

type vaultListCmd struct {
	Reveal bool `help:"Show the values."`
}

func (c *vaultListCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		fields, err := h.Customer().Vault().List(ctx)
		for i := range fields {
			if c.Reveal && err == nil {
				fields[i], err = h.Customer().Vault().Get(ctx, fields[i].Name)
			}
		}
		if err != nil {
			return err
		}
		return list(a, "hark.fields/1", fields, "", "NAME VALUE VERSION CHANGED SOURCE REVIEW-BY CLASS MIN-PRICE RULE", func(f desk.Field) []string {
			return []string{f.Name, shownValue(f), fmt.Sprint(f.Version), when(f.Changed), f.Source, reviewBy(f), f.Class, money(f.MinPrice), f.Rule}
		})
	})
}

// shownValue is a value on one line.
func shownValue(f desk.Field) string {
	if f.Blob != nil {
		return strings.TrimSpace(fmt.Sprintf("(%d bytes) %s", f.Blob.Bytes, f.Blob.Media))
	}
	return f.Value
}

func reviewBy(f desk.Field) string {
	if f.ReviewBy.IsZero() {
		return ""
	}
	day := f.ReviewBy.UTC().Format(time.DateOnly)
	if f.Overdue {
		day += " (now)"
	}
	return day
}

type vaultShowCmd struct {
	Name   string `arg:"" help:"The field."`
	Reveal bool   `help:"Show the value."`
}

func (c *vaultShowCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		past, err := h.Customer().Vault().History(ctx, c.Name, c.Reveal)
		if err != nil {
			return err
		}
		f := past[0]
		return a.show("hark.field/1", f, func(p *page) {
			p.facts("Field", f.Name, "Title", f.Title, "Category", f.Category, "Class", f.Class, "Value", shownValue(f),
				"Version", fmt.Sprint(f.Version), "Kept versions", fmt.Sprint(len(past)), "Source", f.Source, "Stated", when(f.Changed),
				"Checked", when(f.Checked), "Review by", reviewBy(f), "Least price", money(f.MinPrice), "Rule", f.Rule, "Note", f.Notice)
			if f.Blob != nil {
				p.facts("SHA-256", f.Blob.SHA256)
			}
		})
	})
}

type vaultHistoryCmd struct {
	Name   string `arg:"" help:"The field."`
	Reveal bool   `help:"Show the values."`
}

func (c *vaultHistoryCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		past, err := h.Customer().Vault().History(ctx, c.Name, c.Reveal)
		if err != nil {
			return err
		}
		return list(a, "hark.fields/1", past, "", "VERSION VALUE STATED CHECKED SOURCE", func(f desk.Field) []string {
			return []string{fmt.Sprint(f.Version), shownValue(f), when(f.Changed), when(f.Checked), f.Source}
		})
	})
}

type vaultRmCmd struct {
	Names   []string `arg:"" name:"name" help:"The fields."`
	Version uint64   `help:"Only this earlier version of the one field." placeholder:"N"`
	Yes     bool     `help:"Don't ask whether that is meant: what is erased does not come back."`
}

// Run erases all of the fields or, where one of them is not there, none: also where
// the node dies half-way.
func (c *vaultRmCmd) Run(ctx context.Context, a *app) error {
	if c.Version != 0 && len(c.Names) > 1 {
		return usagef("--version is for one field")
	}
	c.Names = distinct(c.Names)
	if err := a.ask(ctx, c.check); err != nil {
		return err
	}
	what := strings.Join(c.Names, ", ")
	if c.Version != 0 {
		what = fmt.Sprintf("version %d of %s", c.Version, what)
	}
	if !c.Yes && !a.agree(fmt.Sprintf("This erases %s for good.", clean(what))) {
		return usagef("nothing was erased")
	}
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		if c.Version != 0 {
			if err := h.Customer().Vault().Remove(ctx, c.Names[0], c.Version); err != nil {
				return err
			}
			return a.done("hark.removed/1", map[string]any{"name": c.Names[0], "version": c.Version}, "removed version %d of %s", c.Version, c.Names[0])
		}
		if err := h.Customer().Vault().Erase(ctx, c.Names); err != nil {
			return err
		}
		return a.done("hark.removed/1", map[string]any{"name": c.Names[0], "names": c.Names}, "removed %s", strings.Join(c.Names, ", "))
	})
}

// check looks whether there is all that is to be erased.
func (c *vaultRmCmd) check(ctx context.Context, h desk.House) error {
	for _, name := range c.Names {
		past, err := h.Customer().Vault().History(ctx, name, false)
		if err != nil && len(c.Names) > 1 {
			return fmt.Errorf("nothing was erased: %w", err)
		}
		if err != nil {
			return err
		}
		if c.Version != 0 && !slices.ContainsFunc(past, func(f desk.Field) bool { return f.Version == c.Version }) {
			return noVersion(name, c.Version)
		}
	}
	return nil
}

// distinct leaves each name once, in the order in which they came.
func distinct(names []string) (out []string) {
	for _, name := range names {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}
