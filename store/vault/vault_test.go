package vault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/vault"
)

func update(t interface{ Fatal(...any) }, s kv.Store, fn func(kv.Tx) error) {
	if err := s.Update(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

func TestASecondSetOfTheSameValueChangesNothing(t *testing.T) {
	s, v := kv.Memory(), vault.New(key.NewSecret())
	update(t, s, func(tx kv.Tx) error {
		for _, c := range []struct {
			value   string
			now     int64
			version uint64
			changed int64
		}{{"a@example.org", 5, 1, 5}, {"a@example.org", 6, 1, 5}, {"b@example.org", 7, 2, 7}, {"a@example.org", 8, 3, 8}} {
			f, err := v.Set(tx, "contact.email", c.value, c.now)
			want := vault.Field{Name: "contact.email", Value: c.value, Version: c.version, ChangedMS: c.changed}
			if err != nil || f != want {
				t.Fatalf("Set = %+v, %v; want %+v", f, err, want)
			}
			if got, err := v.Get(tx, "contact.email"); err != nil || got != want {
				t.Fatalf("Get = %+v, %v; want %+v", got, err, want)
			}
		}
		return nil
	})
}

func TestWhatIsRefused(t *testing.T) {
	s, v := kv.Memory(), vault.New(key.NewSecret())
	for name, c := range map[string]struct {
		field protocol.FieldName
		value string
		ok    bool
	}{
		"known":            {"contact.phone", "+27 11 555 0100", true},
		"well-formed":      {"hobby.chess-rating", "1500", true},
		"lines":            {"contact.address", "1 Long Street\nCape Town", true},
		"longest":          {"contact.hours", strings.Repeat("x", protocol.MaxValue), true},
		"no group":         {"email", "x", false},
		"capital":          {"Contact.email", "x", false},
		"no name":          {"", "x", false},
		"long name":        {protocol.FieldName("a." + strings.Repeat("b", 60)), "x", false},
		"empty":            {"contact.phone", "", false},
		"too long":         {"contact.phone", strings.Repeat("x", protocol.MaxValue+1), false},
		"not UTF-8":        {"contact.phone", "\xff", false},
		"carriage return":  {"contact.phone", "a\r\nb", false},
		"null":             {"contact.phone", "a\x00b", false},
		"control of Latin": {"contact.phone", "a\u0085b", false},
	} {
		t.Run(name, func(t *testing.T) {
			err := s.Update(context.Background(), func(tx kv.Tx) error {
				_, err := v.Set(tx, c.field, c.value, 1)
				return err
			})
			if c.ok && err != nil || !c.ok && !errors.Is(err, fault.Malformed) {
				t.Fatalf("Set gave %v", err)
			}
			if err != nil && len(c.value) > 1 && strings.Contains(err.Error(), c.value) {
				t.Fatal("the error shows the value")
			}
		})
	}
	for name, fn := range map[string]func(kv.Tx) error{
		"get nothing":    func(tx kv.Tx) error { _, err := v.Get(tx, "vehicle.year"); return err },
		"remove nothing": func(tx kv.Tx) error { return v.Remove(tx, "vehicle.year") },
		"another secret": func(tx kv.Tx) error { _, err := vault.New(key.NewSecret()).Get(tx, "contact.phone"); return err },
	} {
		if err := s.Update(context.Background(), fn); !errors.Is(err, fault.NotFound) {
			t.Errorf("%s gave %v, want not found", name, err)
		}
	}
	update(t, s, func(tx kv.Tx) error {
		if _, err := v.View(tx, nil); !errors.Is(err, fault.Malformed) {
			t.Errorf("a view without a grant gave %v", err)
		}
		if _, err := v.View(tx, &protocol.Grant{Fields: make([]protocol.FieldGrant, protocol.MaxFields+1)}); !errors.Is(err, fault.Malformed) {
			t.Errorf("a view of an overlong grant gave %v", err)
		}
		return nil
	})
}

func TestAFullVaultStillChangesWhatItHas(t *testing.T) {
	s, v := kv.Memory(), vault.New(key.NewSecret())
	for from := 0; from < vault.MaxFields; from += 100 {
		update(t, s, func(tx kv.Tx) error {
			for i := range 100 {
				// The count is the same, and cheaper to reach, with keys of the vault's own form.
				if err := kv.PutCBOR(tx, fmt.Appendf(nil, "v/%030d", from+i), vault.Field{Name: "a.b", Value: "x", Version: 1}); err != nil {
					return err
				}
			}
			if from == 0 {
				_, err := v.Set(tx, "work.occupation", "baker", 1)
				return err
			}
			return nil
		})
		if from == vault.MaxFields-200 {
			update(t, s, func(tx kv.Tx) error { return tx.Delete(fmt.Appendf(nil, "v/%030d", 0)) })
		}
	}
	update(t, s, func(tx kv.Tx) error {
		if f, err := v.Fill(tx); err != nil || f.Used != vault.MaxFields || f.Cap != vault.MaxFields {
			t.Fatalf("Fill = %+v, %v", f, err)
		}
		if f, err := v.Set(tx, "work.occupation", "cook", 2); err != nil || f.Version != 2 {
			t.Fatalf("a change in a full vault gave %+v, %v", f, err)
		}
		if _, err := v.Set(tx, "vehicle.year", "2019", 2); !errors.Is(err, fault.Full) {
			t.Fatalf("one field too many gave %v", err)
		}
		return nil
	})
}

func TestViewGivesExactlyTheGrant(t *testing.T) {
	s, v := kv.Memory(), vault.New(key.NewSecret())
	g := &protocol.Grant{Fields: []protocol.FieldGrant{
		{Name: "health.condition", Form: protocol.FormValue},
		{Name: "contact.phone", Form: protocol.FormPredicate}, // only whether there is one
		{Name: "vehicle.year", Form: protocol.FormValue},      // which she does not have
		{Name: "contact.email", Form: protocol.FormValue, Purpose: protocol.PurposeOffer},
		{Name: "contact.email", Form: protocol.FormValue, Purpose: protocol.PurposeFulfil},
		{Name: "not a name", Form: 0},
	}}
	update(t, s, func(tx kv.Tx) error {
		for _, f := range []protocol.FieldName{"contact.email", "contact.phone", "health.condition", "belief.religion"} {
			if _, err := v.Set(tx, f, "my "+string(f), 1); err != nil {
				return err
			}
		}
		if _, err := v.Set(tx, "contact.email", "new", 2); err != nil {
			return err
		}
		got, err := v.View(tx, g)
		want := []protocol.FieldValue{
			{Name: "health.condition", Value: "my health.condition", Version: 1},
			{Name: "contact.email", Value: "new", Version: 2},
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("View = %+v, %v; want %+v", got, err, want)
		}
		return nil
	})
}

func TestNoNameIsReadableInAKey(t *testing.T) {
	raw, v := kv.Memory(), vault.New(key.NewSecret())
	s := kv.Sealed(raw, key.NewSecret())
	update(t, s, func(tx kv.Tx) error { _, err := v.Set(tx, "health.condition", "asthma", 1); return err })
	n := 0
	err := raw.View(context.Background(), func(r kv.Reader) error {
		return r.Scan(nil, nil, func(k, value []byte) (bool, error) {
			n++
			for _, word := range []string{"health", "condition", "asthma"} {
				if bytes.Contains(k, []byte(word)) || bytes.Contains(value, []byte(word)) {
					t.Errorf("%s is readable in %q", word, k)
				}
			}
			return true, nil
		})
	})
	if err != nil || n != 1 {
		t.Fatalf("%d records, %v", n, err)
	}
}

func TestABrokenRecordIsAnError(t *testing.T) {
	raw, v := kv.Memory(), vault.New(key.NewSecret())
	s := kv.Sealed(raw, key.NewSecret())
	update(t, s, func(tx kv.Tx) error { _, err := v.Set(tx, "contact.email", "x", 1); return err })
	update(t, raw, func(tx kv.Tx) error {
		return tx.Scan(nil, nil, func(k, value []byte) (bool, error) {
			value = bytes.Clone(value)
			value[len(value)-1] ^= 1
			return true, tx.Put(k, value)
		})
	})
	update(t, s, func(tx kv.Tx) error {
		g := &protocol.Grant{Fields: []protocol.FieldGrant{{Name: "contact.email", Form: protocol.FormValue}}}
		if got, err := v.View(tx, g); !errors.Is(err, fault.Malformed) {
			t.Errorf("View of a broken record gave %v, %v", got, err)
		}
		if _, err := v.List(tx); !errors.Is(err, fault.Malformed) {
			t.Errorf("List of a broken record gave %v", err)
		}
		if _, err := v.Set(tx, "contact.email", "y", 2); !errors.Is(err, fault.Malformed) {
			t.Errorf("Set over a broken record gave %v", err)
		}
		return nil
	})
}

// TestVaultIsAMap holds a vault to a map beside it, under random commands.
func TestVaultIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, v := kv.Memory(), vault.New(key.NewSecret())
		model := map[protocol.FieldName]vault.Field{}
		name := rapid.SampledFrom([]protocol.FieldName{"contact.email", "contact.phone", "work.occupation", "child.age"})
		value := rapid.SampledFrom([]string{"one", "two", "three"})
		now := int64(0)
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				n, val := name.Draw(t, "name"), value.Draw(t, "value")
				now++
				if old := model[n]; old.Value != val {
					model[n] = vault.Field{Name: n, Value: val, Version: old.Version + 1, ChangedMS: now}
				}
				update(t, s, func(tx kv.Tx) error { _, err := v.Set(tx, n, val, now); return err })
			},
			"remove": func(t *rapid.T) {
				n := name.Draw(t, "name")
				_, had := model[n]
				err := s.Update(context.Background(), func(tx kv.Tx) error { return v.Remove(tx, n) })
				if had != (err == nil) {
					t.Fatalf("Remove(%s) gave %v", n, err)
				}
				delete(model, n)
			},
			"view": func(t *rapid.T) {
				g := &protocol.Grant{}
				var want []protocol.FieldValue
				for _, n := range rapid.SliceOfNDistinct(name, 0, 3, rapid.ID[protocol.FieldName]).Draw(t, "granted") {
					g.Fields = append(g.Fields, protocol.FieldGrant{Name: n, Form: protocol.FormValue})
					if f, ok := model[n]; ok {
						want = append(want, protocol.FieldValue{Name: n, Value: f.Value, Version: f.Version})
					}
				}
				update(t, s, func(tx kv.Tx) error {
					if got, err := v.View(tx, g); err != nil || !slices.Equal(got, want) {
						t.Fatalf("View = %v, %v; want %v", got, err, want)
					}
					return nil
				})
			},
			"": func(t *rapid.T) {
				update(t, s, func(tx kv.Tx) error {
					all, err := v.List(tx)
					var want []vault.Field
					for _, n := range slices.Sorted(maps.Keys(model)) {
						want = append(want, model[n])
					}
					if err != nil || !reflect.DeepEqual(all, want) {
						t.Fatalf("List = %v, %v; want %v", all, err, want)
					}
					return nil
				})
			},
		})
	})
}
