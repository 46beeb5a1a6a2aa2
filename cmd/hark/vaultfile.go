package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol/fault"
)

func noVersion(name string, n uint64) error {
	return fmt.Errorf("%s: version %d is not kept: %w", name, n, fault.NotFound)
}

// source opens where a value comes from: "-" is standard input, "file:PATH" a file,
// empty the file that the environment names; nil means that a person is to be asked.
func (a *app) source(where, env string) (src io.ReadCloser, path string, size int64, err error) {
	path, isFile := strings.CutPrefix(where, "file:")
	if where == "" {
		path = os.Getenv(env + "_FILE")
		isFile = path != ""
	}
	switch {
	case where == "-":
		return io.NopCloser(a.stdin), "", 0, nil
	case isFile:
		return openSized(path)
	}
	return nil, "", 0, nil // secret refuses anything else that was given
}

func openSized(path string) (io.ReadCloser, string, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, "", 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, "", 0, errors.Join(err, f.Close())
	}
	if info.IsDir() {
		return nil, "", 0, errors.Join(fmt.Errorf("%s is a folder, and no file: %w", path, fault.Malformed), f.Close())
	}
	return f, path, info.Size(), nil
}

// A meter says how far a stream has come; only on a terminal.
type meter struct {
	a     *app
	what  string
	src   io.Reader
	n     int64
	whole int64 // 0 where it is not known
	said  time.Time
}

func newMeter(a *app, what string, src io.Reader, whole int64) *meter {
	return &meter{a: a, what: what, src: src, whole: whole, said: time.Now()}
}

// Read implements io.Reader.
func (m *meter) Read(p []byte) (int, error) {
	n, err := m.src.Read(p)
	m.n += int64(n)
	if isTerminal(m.a.stderr) && time.Since(m.said) > time.Second/4 {
		m.said = time.Now()
		if m.whole > 0 {
			fmt.Fprintf(m.a.stderr, "\r%s %d of %d KiB (%d %%)", m.what, m.n>>10, m.whole>>10, m.n*100/m.whole)
		} else {
			fmt.Fprintf(m.a.stderr, "\r%s %d KiB", m.what, m.n>>10)
		}
	}
	return n, err
}

// end leaves the line.
func (m *meter) end() {
	if isTerminal(m.a.stderr) {
		fmt.Fprint(m.a.stderr, "\r\033[K")
	}
}

// meterWriter counts.
type meterWriter struct {
	w io.Writer
	n int64
}

// Write implements io.Writer.
func (m *meterWriter) Write(p []byte) (int, error) {
	n, err := m.w.Write(p)
	m.n += int64(n)
	return n, err
}

type vaultImportCmd struct {
	File       string `arg:"" help:"A vCard (.vcf, 3.0 or 4.0), or what hark vault export wrote, as JSON or age file; - is standard input."`
	DryRun     bool   `help:"Only say what would change."`
	Format     string `help:"vcard or json; found out where it is left out." placeholder:"FORMAT"`
	Identity   string `help:"File with the age identity that opens an age file." placeholder:"FILE"`
	Passphrase string `help:"Passphrase that opens an age file: - for standard input, or file:PATH (or HARK_EXPORT_PASSPHRASE_FILE)." placeholder:"FROM"`
}

func (c *vaultImportCmd) Run(ctx context.Context, a *app) error {
	if c.File == "-" && c.Passphrase == "-" {
		return usagef("file and passphrase can't both come from standard input")
	}
	src, size := io.NopCloser(a.stdin), int64(0)
	if c.File != "-" {
		var err error
		if src, _, size, err = openSized(c.File); err != nil {
			return err
		}
	}
	defer func() { _ = src.Close() }() // it was only read
	m := newMeter(a, "read", src, size)
	plain, err := c.open(a, bufio.NewReader(m))
	if err != nil {
		return err
	}
	if c.Format == "" {
		if c.Format, err = formatOf(plain); err != nil {
			return err
		}
	}
	return a.follow(ctx, func(ctx context.Context, h desk.House) error {
		rep, err := h.Customer().Files().Import(ctx, plain, desk.VaultImport{Format: c.Format, DryRun: c.DryRun})
		m.end()
		if err != nil {
			return err
		}
		return a.show("hark.vault-import/1", rep, func(p *page) { writeImport(p, rep) })
	})
}

func writeImport(p *page, rep desk.VaultReport) {
	if len(rep.Items) > 0 {
		rows := make([][]string, len(rep.Items))
		for i, c := range rep.Items {
			rows[i] = []string{c.Field, c.What, c.From}
		}
		p.table([]string{"FIELD", "WHAT", "FROM"}, rows)
	}
	for _, s := range rep.Ignored {
		p.line("ignored: %s", clean(s))
	}
	verb := "imported"
	if rep.DryRun {
		verb = "would import"
	}
	p.line("%s %d new and %d changed fields; %d are the same", verb, rep.Added, rep.Changed, rep.Same)
}

// open undoes an age file; anything else passes.
func (c *vaultImportCmd) open(a *app, src *bufio.Reader) (*bufio.Reader, error) {
	head, err := src.Peek(len(armor.Header))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	in := io.Reader(src)
	switch {
	case bytes.HasPrefix(head, []byte(armor.Header)):
		in = armor.NewReader(src)
	case !bytes.HasPrefix(head, []byte("age-encryption.org/v1")):
		return src, nil
	}
	ids, err := c.identities(a)
	if err != nil {
		return nil, err
	}
	plain, err := age.Decrypt(in, ids...)
	if _, ok := errors.AsType[*age.NoIdentityMatchError](err); ok {
		return nil, &wrongKey{fmt.Errorf("the age file does not open with this passphrase or identity: %w", fault.Denied), "give the passphrase or the identity that the file was made for"}
	}
	if err != nil {
		return nil, fmt.Errorf("age file (%w): %w", err, fault.Malformed)
	}
	return bufio.NewReader(plain), nil
}

func (c *vaultImportCmd) identities(a *app) ([]age.Identity, error) {
	if c.Identity != "" {
		raw, err := readSecretFile(c.Identity)
		if err != nil {
			return nil, err
		}
		ids, err := age.ParseIdentities(bytes.NewReader(raw))
		if err != nil {
			return nil, fmt.Errorf("%s holds no age identity: %w", c.Identity, fault.Malformed)
		}
		return ids, nil
	}
	pass, err := a.secret(c.Passphrase, "HARK_EXPORT_PASSPHRASE", "passphrase of the file")
	if err != nil {
		return nil, err
	}
	id, err := age.NewScryptIdentity(string(pass))
	if err != nil {
		return nil, usagef("passphrase of the file: %v", err)
	}
	return []age.Identity{id}, nil
}

// formatOf looks at the beginning of a file.
func formatOf(src *bufio.Reader) (string, error) {
	head, err := src.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("import: %w", err)
	}
	head = bytes.TrimSpace(bytes.TrimPrefix(head, []byte("\ufeff")))
	switch {
	case len(head) > 0 && head[0] == '{':
		return "json", nil
	case len(head) >= 11 && bytes.EqualFold(head[:11], []byte("BEGIN:VCARD")):
		return "vcard", nil
	}
	return "", usagef("the file is neither a vCard nor an exported vault; --format says which")
}

type vaultExportCmd struct {
	File       string   `arg:"" help:"Where to, a new file; - is standard output."`
	Recipient  []string `help:"Encrypt to this age recipient (age1…). Repeat it." placeholder:"AGE1"`
	Age        bool     `help:"Encrypt with a passphrase that is asked for."`
	Passphrase string   `help:"Encrypt with the passphrase from here: - for standard input, or file:PATH (or HARK_EXPORT_PASSPHRASE_FILE)." placeholder:"FROM"`
}

func (c *vaultExportCmd) Run(ctx context.Context, a *app) error {
	to, err := c.recipients(a)
	if err != nil {
		return err
	}
	return a.follow(ctx, func(ctx context.Context, h desk.House) error {
		if c.File == "-" {
			return exportVault(ctx, h, a.stdout, to)
		}
		a.progress("exporting the vault")
		if err := writeNew(c.File, func(w io.Writer) error { return exportVault(ctx, h, w, to) }); err != nil {
			return err
		}
		if len(to) == 0 {
			fmt.Fprintf(a.stderr, "hark: WARNING: %s holds every value of the vault in the clear.\n", c.File)
		}
		return a.done("hark.export/1", map[string]any{"file": c.File, "encrypted": len(to) > 0}, "wrote %s", c.File)
	})
}

func exportVault(ctx context.Context, h desk.House, w io.Writer, to []age.Recipient) error {
	if len(to) == 0 {
		return h.Customer().Files().Export(ctx, w)
	}
	sealed, err := age.Encrypt(w, to...)
	if err != nil {
		return fmt.Errorf("age: %w", err)
	}
	if err := h.Customer().Files().Export(ctx, sealed); err != nil {
		return err // without Close the file is cut off, and does not open
	}
	return sealed.Close()
}

func (c *vaultExportCmd) recipients(a *app) (to []age.Recipient, err error) {
	byPass := c.Age || c.Passphrase != ""
	if byPass && len(c.Recipient) > 0 {
		return nil, usagef("an age file opens with a passphrase or for recipients, not both")
	}
	for _, text := range c.Recipient {
		list, err := age.ParseRecipients(strings.NewReader(text))
		if err != nil {
			return nil, usagef("--recipient %s: not an age recipient (age1…)", clean(text))
		}
		to = append(to, list...)
	}
	if !byPass {
		return to, nil
	}
	pass, err := a.secret(c.Passphrase, "HARK_EXPORT_PASSPHRASE", "passphrase for the file")
	if err != nil {
		return nil, err
	}
	r, err := age.NewScryptRecipient(string(pass))
	if err != nil {
		return nil, usagef("passphrase for the file: %v", err)
	}
	return []age.Recipient{r}, nil
}
