package node_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/harkmarket/hark/node/desk"
)

// download writes the dentist's copy of her address out of its node.
func (r *relation) download() {
	r.t.Helper()
	var out bytes.Buffer
	err := r.vendor.Vendor().Held().Download(context.Background(), r.grant, "contact.address", &out)
	if err != nil || out.String() != "3 Long Street" {
		r.t.Fatalf("%q, %v", out.String(), err)
	}
	if err := r.vendor.Vendor().Held().Download(context.Background(), r.grant, "contact.email", &out); err == nil {
		r.t.Error("a value that is not held was given")
	}
}

// signed is what the vendor signed that it deleted, once she has it.
func (r *relation) signed() []string {
	r.t.Helper()
	if _, err := r.her.Customer().Grants().Revoke(context.Background(), []string{r.grant}, desk.Query{}, ""); err != nil {
		r.t.Fatal(err)
	}
	r.w.Until(5*time.Minute, "the deletion", func() (bool, error) { return r.show(r.her).State == "deleted", nil })
	return r.show(r.her).Deleted
}

// TestDeletionNamesExports: what a vendor's owner wrote out of the node is beyond a
// deletion, so the deletion names it; also where the lease ended meanwhile.
func TestDeletionNamesExports(t *testing.T) {
	relate(t, "", 30, func(r *relation) {
		if got := r.signed(); !slices.Contains(got, "field contact.address") || slices.ContainsFunc(got, isExport) {
			t.Errorf("nothing was exported, and it signed %q", got)
		}
	})
	relate(t, "", 30, func(r *relation) {
		r.download()
		r.download()
		r.her.Stop()
		r.vendor.Stop() // a node that was started anew still knows
		r.vendor.Start()
		time.Sleep(25 * time.Hour)
		if r.holds() {
			t.Fatal("the lease has not ended")
		}
		r.her.Start()
		if got := r.entries(r.vendor, "held.exported"); len(got) != 2 || got[0].Body["field"] != "contact.address" {
			t.Errorf("the vendor's ledger has %v", got)
		}
		got := r.signed()
		if !slices.Contains(got, "field contact.address") || !slices.Contains(got, "list of exports: field contact.address") {
			t.Errorf("it signed %q", got)
		}
		for _, line := range got {
			if strings.Contains(line, "Long Street") {
				t.Errorf("a deletion holds a value: %q", line)
			}
		}
	})
}

// TestDeletionNamesWhatWentBefore: what a vendor deleted while the grant lived, because its
// owner said so or she did, stands in the deletion that the grant ends with; also where
// the node was started anew meanwhile.
func TestDeletionNamesWhatWentBefore(t *testing.T) {
	ctx := context.Background()
	atOnce := func(r *relation) error { return r.vendor.Vendor().Held().Delete(ctx, r.grant) }
	right := func(exercise string, fields ...string) func(r *relation) error {
		return func(r *relation) error {
			_, err := r.her.Customer().Grants().Right(ctx, r.grant, desk.RightSpec{Exercise: exercise, Fields: fields})
			return err
		}
	}
	for _, c := range []struct {
		name   string
		delete func(r *relation) error
		noted  int // in the vendor's ledger, as its owner's doing
	}{
		{"at once", atOnce, 1}, {"a right to all", right("deletion"), 0}, {"a right to one field", right("deletion", "contact.address"), 0}, {"an objection", right("objection"), 0},
	} {
		relate(t, "", 30, func(r *relation) {
			if err := c.delete(r); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			r.w.Until(5*time.Minute, "it is deleted", func() (bool, error) { return !slices.Contains(r.fields(), "contact.address"), nil })
			if c.noted > 0 {
				if err := c.delete(r); err != nil { // there is nothing left: nothing is noted
					t.Errorf("%s, again: %v", c.name, err)
				}
			}
			r.vendor.Stop()
			r.vendor.Start()
			if got := r.entries(r.vendor, "held.deleted"); len(got) != c.noted || c.noted > 0 && !strings.Contains(got[0].Body["deleted"], "field contact.address") {
				t.Errorf("%s: the vendor's ledger has %v", c.name, got)
			}
			got := r.signed()
			if n := len(slices.DeleteFunc(slices.Clone(got), func(line string) bool { return line != "field contact.address" })); n != 1 {
				t.Errorf("%s: it signed %q", c.name, got)
			}
		})
	}
}

// fields are the names of what the vendor holds.
func (r *relation) fields() (names []string) {
	r.t.Helper()
	p, err := r.vendor.Vendor().Held().List(context.Background(), desk.Query{Grant: r.grant})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, h := range p.Items {
		names = append(names, h.Fields...)
	}
	return names
}

func isExport(line string) bool { return strings.HasPrefix(line, "list of exports") }
