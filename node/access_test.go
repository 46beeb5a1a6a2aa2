package node_test

import (
	"context"
	"testing"
	"time"

	"github.com/harkmarket/hark/node/desk"
)

// TestAccessShowsWhatIsHeld: who asks what a vendor holds reads the answer, names and, where
// she says so, values; also once either node was started anew. What was deleted is not in the
// next answer, and the first one stays what it was.
func TestAccessShowsWhatIsHeld(t *testing.T) {
	ctx := context.Background()
	relate(t, "", 30, func(r *relation) {
		ask := func(exercise string, fields ...string) {
			t.Helper()
			v, err := r.her.Customer().Grants().Right(ctx, r.grant, desk.RightSpec{Exercise: exercise, Fields: fields})
			if err != nil {
				t.Fatal(err)
			}
			n := len(v.Rights)
			r.w.Until(5*time.Minute, "it is answered", func() (bool, error) {
				v, err := r.her.Customer().Grants().Get(ctx, r.grant)
				return err == nil && v.Rights[n-1].Status == "fulfilled", err
			})
		}
		ask("access")
		r.her.Stop()
		r.her.Start()
		ask("deletion", "contact.address")
		ask("access")
		g, err := r.her.Customer().Grants().Get(ctx, r.grant)
		if err != nil || len(g.Rights) != 3 {
			t.Fatalf("%+v, %v", g.Rights, err)
		}
		revealed, err := r.her.Customer().Grants().Rights(ctx, r.grant, true)
		if err != nil || len(revealed) != 3 {
			t.Fatalf("%+v, %v", revealed, err)
		}
		hidden, open := heldOf(g.Rights[0], "contact.address"), heldOf(revealed[0], "contact.address")
		if !hidden.Masked || hidden.Value != "••••••" {
			t.Errorf("shown with a grant: %+v", hidden)
		}
		if open.Masked || open.Value != "3 Long Street" {
			t.Errorf("shown where she asks for values: %+v", open)
		}
		if v := heldOf(revealed[2], "contact.address"); v.Field != "" {
			t.Errorf("deleted, and said to be held: %+v", v)
		}
	})
}

// heldOf finds a field in the answer to a right; the zero value where it is not there.
func heldOf(v desk.RightView, field string) desk.HeldValue {
	for _, held := range v.Values {
		if held.Field == field {
			return held
		}
	}
	return desk.HeldValue{}
}

// TestAnUnknownHealthFieldIsGivenOnce: a slip of the pen in a field's name does not give away
// for months what would be given for one use, and her own word for its class does.
func TestAnUnknownHealthFieldIsGivenOnce(t *testing.T) {
	ctx := context.Background()
	relate(t, "", 30, func(r *relation) {
		v := r.show(r.her)
		for class, once := range map[string]bool{"": true, "ordinary": false} {
			name := "health.conditions" + class
			spec := desk.Value("asthma")
			spec.Class = class
			if _, err := r.her.Customer().Vault().Set(ctx, name, spec); err != nil {
				t.Fatal(err)
			}
			g, err := r.her.Customer().Grants().Give(ctx, desk.GiveSpec{Vendor: v.Vendor, Name: "a dentist " + class, Fields: []string{name}})
			if err != nil || (g.LeaseSeconds == 0) != once {
				t.Errorf("class %q: good for %d seconds, %v", class, g.LeaseSeconds, err)
			}
		}
	})
}
