package held_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/held"
	"github.com/harkmarket/hark/store/kv"
)

func update(t interface{ Fatal(...any) }, s kv.Store, fn func(kv.Tx) error) {
	if err := s.Update(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

func grant(n int) protocol.GrantID { return sha256.Sum256(fmt.Append(nil, "grant ", n)) }

func full(n int) held.Record {
	return held.Record{
		Grant: grant(n), Context: protocol.ContextID{9}, Until: 1000,
		Fields:  []protocol.FieldValue{{Name: "contact.email", Value: "a@example.org", Version: 2}, {Name: "location.area", Value: "Mowbray", Version: 1}},
		BodyKey: protocol.Share(key.NewSecret()), OfferSecret: protocol.Share(key.NewSecret()),
		Demand:   protocol.Demand{Name: "a couch", MaxPrice: protocol.Money{Minor: 500000, Currency: "ZAR"}, Quantity: 2},
		Category: "home.furniture",
	}
}

func same(a, b held.Record) bool {
	secret := func(x, y protocol.Shared) bool {
		return x.IsZero() && y.IsZero() || x.Secret().Equal(y.Secret())
	}
	return a.Grant == b.Grant && a.Context == b.Context && a.Until == b.Until && slices.Equal(a.Fields, b.Fields) &&
		secret(a.BodyKey, b.BodyKey) && secret(a.OfferSecret, b.OfferSecret) && a.Demand == b.Demand && a.Category == b.Category
}

func TestDeleteNamesAllThatWasHeld(t *testing.T) {
	for name, c := range map[string]struct {
		rec  held.Record
		want []string
	}{
		"everything": {full(1), []string{"field contact.email", "field location.area", "body key", "offer secret", "need"}},
		"nothing":    {held.Record{Grant: grant(2)}, nil},
		"a relation": {held.Record{Grant: grant(3), OfferSecret: protocol.Share(key.NewSecret())}, []string{"offer secret"}},
		"no values":  {held.Record{Grant: grant(4), BodyKey: full(4).BodyKey, Demand: protocol.Demand{Name: "x"}}, []string{"body key", "need"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, h := kv.Memory(), held.New()
			update(t, s, func(tx kv.Tx) error { return h.Put(tx, c.rec) })
			update(t, s, func(tx kv.Tx) error {
				if got, err := h.Get(tx, c.rec.Grant); err != nil || !same(got, c.rec) {
					t.Fatalf("Get = %+v, %v", got, err)
				}
				if got, err := h.Names(tx, c.rec.Grant); err != nil || !slices.Equal(got, c.want) {
					t.Fatalf("Names = %q, %v; want %q", got, err, c.want)
				}
				if got, err := h.Delete(tx, c.rec.Grant); err != nil || !slices.Equal(got, c.want) {
					t.Fatalf("Delete = %q, %v; want %q", got, err, c.want)
				}
				return nil
			})
			update(t, s, func(tx kv.Tx) error {
				if left, err := h.Names(tx, c.rec.Grant); err != nil || len(left) != 0 {
					t.Errorf("after Delete %q is left, %v", left, err)
				}
				if _, err := h.Get(tx, c.rec.Grant); !errors.Is(err, fault.NotFound) {
					t.Errorf("Get after Delete gave %v", err)
				}
				if again, err := h.Delete(tx, c.rec.Grant); err != nil || len(again) != 0 {
					t.Errorf("a second Delete gave %q, %v", again, err)
				}
				if f, err := h.Fill(tx); err != nil || f.Used != 0 {
					t.Errorf("Fill = %+v, %v", f, err)
				}
				return nil
			})
		})
	}
}

func TestWhatIsRefused(t *testing.T) {
	s, h := kv.Memory(), held.New()
	err := s.Update(context.Background(), func(tx kv.Tx) error { return h.Put(tx, held.Record{}) })
	if !errors.Is(err, fault.Malformed) {
		t.Errorf("a record without a grant gave %v", err)
	}
	err = s.Update(context.Background(), func(tx kv.Tx) error {
		return h.Put(tx, held.Record{Grant: grant(1), Fields: make([]protocol.FieldValue, protocol.MaxFields+1)})
	})
	if !errors.Is(err, fault.Malformed) {
		t.Errorf("too many fields gave %v", err)
	}
	update(t, s, func(tx kv.Tx) error {
		if err := h.Put(tx, full(1)); err != nil {
			return err
		}
		return kv.PutCBOR(tx, []byte("h/n"), int64(held.MaxRecords)) // as if so many were held
	})
	update(t, s, func(tx kv.Tx) error {
		if err := h.Put(tx, full(2)); !errors.Is(err, fault.Full) {
			t.Errorf("one record too many gave %v", err)
		}
		return h.Put(tx, full(1)) // a change is no addition
	})
}

func TestAnUnreadableRecordIsStillDeleted(t *testing.T) {
	raw, h := kv.Memory(), held.New()
	s := kv.Sealed(raw, key.NewSecret())
	update(t, s, func(tx kv.Tx) error { return h.Put(tx, full(1)) })
	update(t, raw, func(tx kv.Tx) error {
		return tx.Scan([]byte("h/r/"), nil, func(k, v []byte) (bool, error) {
			v = bytes.Clone(v)
			v[30] ^= 1
			return true, tx.Put(k, v)
		})
	})
	update(t, s, func(tx kv.Tx) error {
		if _, err := h.Names(tx, grant(1)); !errors.Is(err, fault.Malformed) {
			t.Errorf("Names gave %v", err)
		}
		if got, err := h.Delete(tx, grant(1)); err != nil || !slices.Equal(got, []string{"unreadable record"}) {
			t.Errorf("Delete gave %q, %v", got, err)
		}
		if left, err := h.Names(tx, grant(1)); err != nil || len(left) > 0 {
			t.Errorf("left: %q, %v", left, err)
		}
		return nil
	})
}

func TestNoValueIsReadableOnDisk(t *testing.T) {
	raw, h := kv.Memory(), held.New()
	update(t, kv.Sealed(raw, key.NewSecret()), func(tx kv.Tx) error { return h.Put(tx, full(1)) })
	err := raw.View(context.Background(), func(r kv.Reader) error {
		return r.Scan(nil, nil, func(k, v []byte) (bool, error) {
			if bytes.Contains(v, []byte("Mowbray")) || bytes.Contains(v, []byte("couch")) || bytes.Contains(k, []byte("contact")) {
				t.Errorf("readable at %q", k)
			}
			return true, nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestHeldIsAMap holds the room to a map beside it, under random commands.
func TestHeldIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, h := kv.Memory(), held.New()
		model := map[protocol.GrantID]held.Record{}
		one := rapid.Custom(func(t *rapid.T) held.Record {
			rec := full(rapid.IntRange(0, 5).Draw(t, "n"))
			if rapid.Bool().Draw(t, "no keys") {
				rec.BodyKey, rec.OfferSecret = protocol.Shared{}, protocol.Shared{}
			}
			rec.Fields = rec.Fields[:rapid.IntRange(0, 2).Draw(t, "fields")]
			return rec
		})
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				rec := one.Draw(t, "record")
				model[rec.Grant] = rec
				update(t, s, func(tx kv.Tx) error { return h.Put(tx, rec) })
			},
			"delete": func(t *rapid.T) {
				g := grant(rapid.IntRange(0, 5).Draw(t, "n"))
				rec, had := model[g]
				delete(model, g)
				update(t, s, func(tx kv.Tx) error {
					got, err := h.Delete(tx, g)
					if err != nil || had && !slices.Equal(got, rec.Names()) || !had && len(got) > 0 {
						t.Fatalf("Delete = %q, %v", got, err)
					}
					return nil
				})
			},
			"": func(t *rapid.T) {
				update(t, s, func(tx kv.Tx) error {
					f, err := h.Fill(tx)
					if err != nil || f.Used != int64(len(model)) {
						t.Fatalf("Fill = %+v, %v; want %d", f, err, len(model))
					}
					var last []byte
					n := 0
					for range len(model) + 1 { // one record a page
						err = h.Each(tx, last, func(rec held.Record) (bool, error) {
							if n++; bytes.Compare(rec.Grant[:], last) <= 0 || !same(rec, model[rec.Grant]) {
								t.Fatalf("Each gave %+v", rec)
							}
							last = bytes.Clone(rec.Grant[:])
							return false, nil
						})
						if err != nil {
							t.Fatal(err)
						}
					}
					if n != len(model) {
						t.Fatalf("Each gave %d of %d", n, len(model))
					}
					return nil
				})
			},
		})
	})
}
