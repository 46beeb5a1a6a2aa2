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

func isExport(line string) bool { return strings.HasPrefix(line, "list of exports") }
