package desks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/storetest"
)

// left are the fields in the vault.
func left(t *testing.T, v Vault) (names []string) {
	t.Helper()
	for _, f := range must(v.List(t.Context())) {
		names = append(names, f.Name)
	}
	return names
}

// halfErased stops an erasure of three of four fields at each of its writes, asks again, and
// counts how often something was half done, and how often asking again did not end it.
func halfErased(t *testing.T, erase func(context.Context, Vault, []string) error) (points, half, stuck int) {
	t.Helper()
	names := []string{"contact.email", "contact.phone", "child.age"}
	for n, over := 1, false; !over; n++ {
		o := open(t)
		o.fill(t, append(names, "vehicle.year")...)
		whole := o.Stores.KV
		o.Stores.KV = storetest.Failing(whole, n)
		err := erase(t.Context(), Vault{o}, names)
		if err != nil && !errors.Is(err, storetest.ErrInjected) {
			t.Fatal(err)
		}
		over = err == nil
		points = n - 1
		o.Stores.KV = whole
		got := left(t, Vault{o})
		if len(got) != 4 && len(got) != 1 {
			half++
		}
		if again := erase(t.Context(), Vault{o}, names); len(got) > 1 && again != nil || !slices.Equal(left(t, Vault{o}), []string{"vehicle.year"}) {
			stuck++
		}
		if rep := must((Ledger{o}).Verify(t.Context())); !rep.OK {
			t.Errorf("point %d: the ledger: %+v", n, rep)
		}
	}
	return points, half, stuck
}

// Several fields are erased together: wherever it is stopped, all are there or none, and
// asking again ends it. One by one they are not.
func TestFieldsAreErasedTogether(t *testing.T) {
	oneByOne := func(ctx context.Context, v Vault, names []string) error {
		for _, n := range names {
			if err := v.Remove(ctx, n, 0); err != nil {
				return err
			}
		}
		return nil
	}
	if _, half, stuck := halfErased(t, oneByOne); half == 0 || stuck == 0 {
		t.Fatalf("one by one %d are left half erased, %d of them for good: the check finds nothing", half, stuck)
	}
	points, half, stuck := halfErased(t, func(ctx context.Context, v Vault, names []string) error { return v.Erase(ctx, names) })
	t.Logf("stopped at %d points: %d half erased, %d did not end when asked again", points, half, stuck)
	if points < 10 || half+stuck > 0 {
		t.Errorf("%d points, %d half erased, %d did not end", points, half, stuck)
	}
}

// Where one is not there, none is erased; a name twice is one.
func TestAllThatIsNamedIsErasedOrNothing(t *testing.T) {
	o := open(t)
	v := Vault{o}
	o.fill(t, "contact.email", "contact.phone")
	for name, c := range map[string]struct {
		names []string
		want  fault.Kind
	}{
		"one is not there": {[]string{"contact.email", "contact.fone"}, fault.NotFound},
		"none is named":    {nil, fault.Malformed},
		"too many":         {make([]string, desk.MaxErased+1), fault.Malformed},
	} {
		if err := v.Erase(t.Context(), c.names); !errors.Is(err, c.want) || len(left(t, v)) != 2 {
			t.Errorf("%s: %v, and %v are left", name, err, left(t, v))
		}
	}
	if err := v.Erase(t.Context(), []string{"contact.email", "contact.phone", "contact.email"}); err != nil || len(left(t, v)) != 0 {
		t.Errorf("%v, and %v are left", err, left(t, v))
	}
	var erased []string
	for _, e := range must((Ledger{o}).List(t.Context(), desk.Query{Kind: "vault.removed"})).Items {
		erased = append(erased, fmt.Sprint(e.Body["field"]))
	}
	if !slices.Equal(erased, []string{"contact.email", "contact.phone"}) {
		t.Errorf("the ledger has %v", erased)
	}
}
