package vault_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/terms"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/vault"
)

func ptr[T any](v T) *T { return &v }

func TestWhatIsKnownAboutAValue(t *testing.T) {
	s, v := kv.Memory(), vault.New(key.NewSecret())
	price := protocol.Money{Minor: 500, Currency: "ZAR"}
	always := terms.FieldRule{Will: terms.Always, For: []protocol.Purpose{protocol.PurposeOffer}}
	for i, step := range []struct {
		c    vault.Change
		what vault.What
		is   func(vault.Field) bool
	}{
		{vault.Change{Value: ptr("a@example.org"), Source: vault.Inferred}, vault.Value, func(f vault.Field) bool { return f.Source == vault.Inferred && f.CheckedMS == 10 }},
		{vault.Change{Value: ptr("a@example.org")}, vault.Nothing, func(f vault.Field) bool { return f.Source == vault.Inferred && f.CheckedMS == 10 }},
		{vault.Change{Source: vault.Verified}, vault.About, func(f vault.Field) bool { return f.Source == vault.Verified && f.CheckedMS == 12 && f.ChangedMS == 10 }},
		{vault.Change{Min: &price}, vault.About, func(f vault.Field) bool { return f.Min == price }},
		{vault.Change{Min: &price}, vault.Nothing, func(f vault.Field) bool { return f.Min == price }},
		{vault.Change{Min: &protocol.Money{}}, vault.About, func(f vault.Field) bool { return f.Min == protocol.Money{} }},
		{vault.Change{ReviewMS: ptr(int64(99))}, vault.About, func(f vault.Field) bool { return f.ReviewMS == 99 }},
		{vault.Change{Rule: &always}, vault.About, func(f vault.Field) bool { return f.Rule.String() == "always:make-offer" }},
		{vault.Change{Value: ptr("b@example.org"), CheckedMS: 5}, vault.Value, func(f vault.Field) bool {
			return f.Version == 2 && f.Source == vault.SelfStated && f.ReviewMS == 99 && f.Rule.Will == terms.Always && f.CheckedMS == 5
		}},
		{vault.Change{Rule: &terms.FieldRule{}, Class: protocol.Special}, vault.About, func(f vault.Field) bool { return f.Class == protocol.Special }},
		{vault.Change{Source: vault.Verified, CheckedMS: 1 << 40}, vault.About, func(f vault.Field) bool { return f.CheckedMS == 20 }},
	} {
		update(t, s, func(tx kv.Tx) error {
			_, what, err := v.Put(tx, "contact.email", step.c, int64(10+i))
			if err != nil || what != step.what {
				t.Errorf("step %d: %v, %v", i, what, err)
			}
			f, err := v.Get(tx, "contact.email")
			if err != nil || !step.is(f) {
				t.Errorf("step %d: %+v, %v", i, f, err)
			}
			return nil
		})
	}
}

func TestChangesThatAreRefused(t *testing.T) {
	s, v := kv.Memory(), vault.New(key.NewSecret())
	always := &terms.FieldRule{Will: terms.Always, For: []protocol.Purpose{protocol.PurposeOffer}}
	update(t, s, func(tx kv.Tx) error {
		_, err := v.Set(tx, "health.condition", "well", 1)
		return errors.Join(err, ignore(v.Set(tx, "contact.email", "a", 1)))
	})
	for name, c := range map[string]struct {
		field protocol.FieldName
		c     vault.Change
		want  error
	}{
		"nothing there":             {"contact.phone", vault.Change{Source: vault.Verified}, fault.NotFound},
		"always for special":        {"health.condition", vault.Change{Rule: always}, fault.Denied},
		"special under always":      {"contact.email", vault.Change{Rule: always, Class: protocol.Child}, fault.Denied},
		"less than the law says":    {"health.condition", vault.Change{Class: protocol.Ordinary}, fault.Malformed},
		"unknown class":             {"contact.email", vault.Change{Class: 9}, fault.Malformed},
		"unknown source":            {"contact.email", vault.Change{Source: 9}, fault.Malformed},
		"unknown currency":          {"contact.email", vault.Change{Min: &protocol.Money{Minor: 1, Currency: "XQX"}}, fault.Malformed},
		"a negative price":          {"contact.email", vault.Change{Min: &protocol.Money{Minor: -1, Currency: "ZAR"}}, fault.Malformed},
		"review before 1970":        {"contact.email", vault.Change{ReviewMS: ptr(int64(-1))}, fault.Malformed},
		"checked before 1970":       {"contact.email", vault.Change{Source: vault.Verified, CheckedMS: -1}, fault.Malformed},
		"an unknown will":           {"contact.email", vault.Change{Rule: &terms.FieldRule{Will: 7}}, fault.Malformed},
		"always for a child's name": {"child.name", vault.Change{Value: ptr("x"), Rule: always}, fault.Denied},
	} {
		err := s.Update(t.Context(), func(tx kv.Tx) error { _, _, err := v.Put(tx, c.field, c.c, 2); return err })
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func ignore(_ vault.Field, err error) error { return err }

func TestForget(t *testing.T) {
	s, v := kv.Memory(), vault.New(key.NewSecret())
	const sets = vault.MaxVersions + 3
	for i := range sets {
		update(t, s, func(tx kv.Tx) error {
			_, err := v.Set(tx, "contact.email", fmt.Sprint("value ", i+1), int64(i))
			return err
		})
	}
	for n, want := range map[uint64]error{1: fault.NotFound, 3: fault.NotFound, sets: fault.Conflict, sets + 1: fault.NotFound, 5: nil} {
		if err := s.Update(t.Context(), func(tx kv.Tx) error { return v.Forget(tx, "contact.email", n) }); !errors.Is(err, want) {
			t.Errorf("version %d: %v, want %v", n, err, want)
		}
	}
	update(t, s, func(tx kv.Tx) error {
		past := must(v.History(tx, "contact.email", true))
		if len(past) != vault.MaxVersions-1 || past[0].Value != fmt.Sprint("value ", sets) {
			t.Errorf("%d versions, the first %+v", len(past), past[0])
		}
		for _, f := range past {
			if f.Version == 5 || f.Value != fmt.Sprint("value ", f.Version) {
				t.Errorf("%+v", f)
			}
		}
		if n := must(v.Waiting(tx)); n != 8 { // three that gave way and one that was forgotten: a key and a value each
			t.Errorf("%d wait", n)
		}
		return nil
	})
	if err := v.Purge(t.Context(), s); err != nil || keysOf(t, s, "v2/p") != 0 || keysOf(t, s, "v2/r") != 2+2*(vault.MaxVersions-1) {
		t.Errorf("%v; %d notes and %d records are left", err, keysOf(t, s, "v2/p"), keysOf(t, s, "v2/r"))
	}
}

// After a rotation nothing is under an earlier epoch key, and these keys are gone.
func TestRotation(t *testing.T) {
	s, v := kv.Memory(), vault.New(key.NewSecret())
	const fields = 600 // more than one batch
	for i := 0; i < fields; i += 100 {
		update(t, s, func(tx kv.Tx) error {
			for j := range 100 {
				if _, err := v.Set(tx, protocol.FieldName(fmt.Sprintf("note.n%d", i+j)), fmt.Sprint(i+j), 1); err != nil {
					return err
				}
			}
			return nil
		})
	}
	const day = 24 * 3600 * 1000
	for at, epoch := range map[int64]string{80 * day: "\x00\x00\x00\x01"} {
		if err := v.Open(t.Context(), s, at); err != nil {
			t.Fatal(err)
		}
		update(t, s, func(tx kv.Tx) error { must(tx.Get([]byte("v2/e" + epoch))); return nil })
	}
	if err := v.Open(t.Context(), s, 91*day); err != nil {
		t.Fatal(err)
	}
	update(t, s, func(tx kv.Tx) error {
		must(tx.Get([]byte("v2/e\x00\x00\x00\x02")))
		if _, err := tx.Get([]byte("v2/e\x00\x00\x00\x01")); !errors.Is(err, fault.NotFound) {
			t.Errorf("the first epoch key: %v", err)
		}
		if all := must(v.List(tx)); len(all) != fields {
			t.Errorf("%d fields", len(all))
		}
		for i := range fields {
			if f := must(v.Get(tx, protocol.FieldName(fmt.Sprintf("note.n%d", i)))); f.Value != fmt.Sprint(i) {
				t.Errorf("%+v", f)
			}
		}
		return nil
	})
}
