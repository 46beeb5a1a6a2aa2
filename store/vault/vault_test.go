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
	"github.com/harkmarket/hark/protocol/terms"
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
			want := vault.Field{Name: "contact.email", Class: protocol.Ordinary, Value: c.value, Version: c.version, ChangedMS: c.changed,
				CheckedMS: c.changed, Source: vault.SelfStated}
			if err != nil || !reflect.DeepEqual(f, want) {
				t.Fatalf("Set = %+v, %v; want %+v", f, err, want)
			}
			if got, err := v.Get(tx, "contact.email"); err != nil || !reflect.DeepEqual(got, want) {
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
	const most = 20
	s, v := kv.Memory(), vault.New(key.NewSecret()).Within(vault.Limits{Fields: most})
	update(t, s, func(tx kv.Tx) error {
		for i := range most - 1 {
			if _, err := v.Set(tx, protocol.FieldName(fmt.Sprintf("note.n%d", i)), "x", 1); err != nil {
				return err
			}
		}
		_, err := v.Set(tx, "work.occupation", "baker", 1)
		return err
	})
	full := func(tx kv.Tx) error { _, err := v.Set(tx, "vehicle.year", "2019", 2); return err }
	if err := s.Update(t.Context(), full); !errors.Is(err, fault.Full) {
		t.Fatalf("one field too many gave %v", err)
	}
	update(t, s, func(tx kv.Tx) error {
		if f, err := v.Fills(tx); err != nil || f[0].Used != most || f[0].Cap != most {
			t.Fatalf("Fills = %+v, %v", f, err)
		}
		if f, err := v.Set(tx, "work.occupation", "cook", 2); err != nil || f.Version != 2 {
			t.Fatalf("a change in a full vault gave %+v, %v", f, err)
		}
		return v.Remove(tx, "note.n0")
	})
	update(t, s, full)
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
		// What she never gives stays inside, whatever was granted before.
		if _, _, err := v.Put(tx, "contact.email", vault.Change{Rule: &terms.FieldRule{Will: terms.Never}}, 3); err != nil {
			return err
		}
		if got, err := v.View(tx, g); err != nil || !slices.Equal(got, want[:1]) {
			t.Errorf("with a rule of never View = %+v, %v; want %+v", got, err, want[:1])
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
	if err != nil || n != 7 { // state, epoch, name, head, record key, value, version key
		t.Fatalf("%d records, %v", n, err)
	}
}

// TestABrokenRecordIsAnError breaks every stored record in turn, at each of the two
// layers, and then takes it away.
func TestABrokenRecordIsAnError(t *testing.T) {
	g := &protocol.Grant{Fields: []protocol.FieldGrant{{Name: "contact.email", Form: protocol.FormValue}}}
	secret, outer := key.NewSecret(), key.NewSecret()
	broken := 0
	for n := 0; ; n++ {
		for layer, breaks := range map[string]func(raw kv.Store) kv.Store{
			"outer": func(raw kv.Store) kv.Store { return raw },
			"inner": func(raw kv.Store) kv.Store { return kv.Sealed(raw, outer) },
			"gone":  nil,
		} {
			raw, v := kv.Memory(), vault.New(secret)
			s := kv.Sealed(raw, outer)
			update(t, s, func(tx kv.Tx) error { _, err := v.Set(tx, "contact.email", "x", 1); return err })
			at, seen := []byte(nil), 0
			update(t, raw, func(tx kv.Tx) error {
				return tx.Scan(nil, nil, func(k, _ []byte) (bool, error) {
					if seen == n {
						at = bytes.Clone(k)
					}
					seen++
					return true, nil
				})
			})
			if at == nil {
				if broken != 3*seen {
					t.Fatalf("%d of %d ways were tried", broken, 3*seen)
				}
				return
			}
			broken++
			if breaks == nil {
				update(t, raw, func(tx kv.Tx) error { return tx.Delete(at) })
			} else {
				update(t, breaks(raw), func(tx kv.Tx) error {
					value, err := tx.Get(at)
					if err != nil {
						return err
					}
					value[len(value)-1] ^= 1
					return tx.Put(at, value)
				})
			}
			// Nothing false is ever told: an error, or, where its way in is gone, no field.
			err := s.View(t.Context(), func(r kv.Reader) error {
				f, err := v.Get(r, "contact.email")
				if err == nil && f.Value != "x" {
					t.Errorf("%s %q: Get gave %+v", layer, at, f)
				}
				if err != nil && f.Value != "" {
					t.Errorf("%s %q: a value beside the error", layer, at)
				}
				if got, err := v.View(r, g); err == nil && len(got) > 0 && got[0].Value != "x" {
					t.Errorf("%s %q: View gave %+v", layer, at, got)
				}
				if list, err := v.List(r); err == nil && len(list) > 0 && list[0].Name != "contact.email" {
					t.Errorf("%s %q: List gave %+v", layer, at, list)
				}
				return err
			})
			counts := string(at) == "v2/s" // counters, which no reading of a field looks at
			if !counts && err == nil {
				t.Errorf("%s %q: nobody noticed", layer, at)
			}
			if err != nil && !errors.Is(err, fault.Malformed) && !errors.Is(err, fault.NotFound) {
				t.Errorf("%s %q: %v", layer, at, err)
			}
		}
	}
}

// TestVaultIsAMap holds a vault to a map beside it, under random commands.
func TestVaultIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, v := kv.Memory(), vault.New(key.NewSecret())
		model := map[protocol.FieldName][]string{} // all values, the oldest first
		name := rapid.SampledFrom([]protocol.FieldName{"contact.email", "contact.phone", "work.occupation", "child.age"})
		value := rapid.SampledFrom([]string{"one", "two", "three"})
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				n, val := name.Draw(t, "name"), value.Draw(t, "value")
				if all := model[n]; len(all) == 0 || all[len(all)-1] != val {
					model[n] = append(model[n], val)
				}
				update(t, s, func(tx kv.Tx) error { _, err := v.Set(tx, n, val, 1); return err })
			},
			"remove": func(t *rapid.T) {
				n := name.Draw(t, "name")
				err := s.Update(context.Background(), func(tx kv.Tx) error { return v.Remove(tx, n) })
				if (len(model[n]) > 0) != (err == nil) {
					t.Fatalf("Remove(%s) gave %v", n, err)
				}
				delete(model, n)
			},
			"purge": func(t *rapid.T) {
				if err := v.Purge(context.Background(), s); err != nil {
					t.Fatal(err)
				}
			},
			"open": func(t *rapid.T) {
				if err := v.Open(context.Background(), s, 1); err != nil {
					t.Fatal(err)
				}
			},
			"rotate": func(t *rapid.T) {
				if err := v.Rotate(context.Background(), s, 1); err != nil {
					t.Fatal(err)
				}
			},
			"view": func(t *rapid.T) {
				g := &protocol.Grant{}
				var want []protocol.FieldValue
				for _, n := range rapid.SliceOfNDistinct(name, 0, 3, rapid.ID[protocol.FieldName]).Draw(t, "granted") {
					g.Fields = append(g.Fields, protocol.FieldGrant{Name: n, Form: protocol.FormValue})
					if all := model[n]; len(all) > 0 {
						want = append(want, protocol.FieldValue{Name: n, Value: all[len(all)-1], Version: uint64(len(all))})
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
					list, err := v.List(tx)
					if err != nil || len(list) != len(model) {
						t.Fatalf("List = %v, %v; want %v", list, err, model)
					}
					for i, n := range slices.Sorted(maps.Keys(model)) {
						all := model[n]
						if list[i].Name != n || list[i].Version != uint64(len(all)) || list[i].Value != "" {
							t.Fatalf("List[%d] = %+v; want %s with %d values", i, list[i], n, len(all))
						}
						past, err := v.History(tx, n, true)
						if err != nil || len(past) != min(len(all), vault.MaxVersions) {
							t.Fatalf("History(%s) = %+v, %v; want %q", n, past, err, all)
						}
						for j, f := range past {
							if at := len(all) - 1 - j; f.Value != all[at] || f.Version != uint64(at+1) {
								t.Fatalf("History(%s)[%d] = %+v; want %q", n, j, f, all[at])
							}
						}
					}
					return nil
				})
			},
		})
	})
}
