package node_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol/fault"
)

// A blobWorld is a customer with a large value in her vault, a vendor that she knows, and
// three keepers that are neither's.
type blobWorld struct {
	*testing.T
	w       *nodetest.World
	her     *nodetest.Member
	vendor  *nodetest.Member
	keepers []*nodetest.Member
	own     string // the vendor's id
	scan    []byte // the large value
}

func newBlobWorld(t *testing.T, w *nodetest.World) *blobWorld {
	t.Helper()
	b := &blobWorld{T: t, w: w, scan: document(1, 3<<20)}
	for _, name := range []string{"keeper one", "keeper two", "keeper three"} {
		b.keepers = append(b.keepers, w.Carrier(name))
	}
	b.vendor, b.her = w.Public("bank"), w.Personal("thandi")
	time.Sleep(5 * time.Second)
	b.vendor.Sell(shop)
	own, err := b.vendor.Vendor().Passports().Own(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	b.own = own.Vendor
	b.her.Fill(map[string]string{"contact.email": "thandi@example.org"})
	b.upload("document.address-proof", b.scan)
	return b
}

// document is a large value like no other.
func document(seed uint64, size int) []byte {
	out, dice := make([]byte, size), rand.New(rand.NewPCG(seed, 9))
	for i := range out {
		out[i] = byte(dice.Uint32())
	}
	return out
}

func (b *blobWorld) upload(field string, value []byte) {
	b.Helper()
	if _, err := b.her.Customer().Files().Upload(context.Background(), field, "application/pdf", desk.FieldSpec{}, bytes.NewReader(value)); err != nil {
		b.Fatal(err)
	}
}

// give lets the vendor have these fields.
func (b *blobWorld) give(fields ...string) desk.Grant {
	b.Helper()
	g, err := b.her.Customer().Grants().Give(context.Background(), desk.GiveSpec{Vendor: b.own, Name: "the bank", Fields: fields})
	if err != nil {
		b.Fatal(err)
	}
	return g
}

// read gives what the vendor holds of a field.
func (b *blobWorld) read(grant, field string) ([]byte, error) {
	var out bytes.Buffer
	err := b.vendor.Vendor().Held().Download(context.Background(), grant, field, &out)
	return out.Bytes(), err
}

// comes waits until the vendor holds exactly a value.
func (b *blobWorld) comes(g desk.Grant, field string, want []byte) {
	b.Helper()
	b.w.Until(5*time.Minute, field, func() (bool, error) {
		got, err := b.read(g.ID, field)
		if errors.Is(err, fault.NotFound) || errors.Is(err, fault.Offline) {
			return false, nil
		}
		return err == nil && bytes.Equal(got, want), err
	})
}

// lies counts copies at all keepers.
func (b *blobWorld) lies() (n int64) {
	b.Helper()
	for _, k := range append(slices.Clone(b.keepers), b.vendor) {
		v, err := k.Admin().Status(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		for _, f := range v.Bounds {
			if f.Name == "blobs.kept" {
				n += f.Used
			}
		}
	}
	return n
}

func (b *blobWorld) none(why string) {
	b.Helper()
	b.w.Until(2*time.Minute, "no copy at any keeper: "+why, func() (bool, error) { return b.lies() == 0, nil })
}

// TestALargeValueIsDisclosed: the vendor reads the same bytes, the keepers have them only
// until then, a change brings the next, and with the revocation it is gone, by name.
func TestALargeValueIsDisclosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.NewWorld(t)
		defer w.Close()
		b := newBlobWorld(t, w)
		g := b.give("contact.email", "document.address-proof")
		b.comes(g, "document.address-proof", b.scan)
		b.comes(g, "contact.email", []byte("thandi@example.org"))
		b.none("the vendor has it")
		list, err := b.vendor.Vendor().Held().List(context.Background(), desk.Query{})
		if err != nil || len(list.Items) != 1 || len(list.Items[0].Large) != 1 || !list.Items[0].Large[0].Whole || list.Items[0].Large[0].Bytes != 3<<20 {
			t.Errorf("what is held: %+v, %v", list, err)
		}
		next := document(2, 70_000)
		b.upload("document.address-proof", next)
		b.comes(g, "document.address-proof", next)
		b.none("the vendor has the next one")
		if _, err := b.her.Customer().Grants().Revoke(context.Background(), []string{g.ID}, desk.Query{}, ""); err != nil {
			t.Fatal(err)
		}
		w.Until(5*time.Minute, "a deletion", func() (bool, error) {
			v, err := b.her.Customer().Grants().Get(context.Background(), g.ID)
			return v.State == "deleted" && slices.Contains(v.Deleted, "field document.address-proof"), err
		})
		if _, err := b.read(g.ID, "document.address-proof"); !errors.Is(err, fault.NotFound) {
			t.Errorf("after the revocation: %v", err)
		}
	})
}

// TestALargeValueIsRevokedBeforeItIsFetched: while the vendor is away it lies at the
// keepers; they have it no longer once she revokes, and the vendor never does.
func TestALargeValueIsRevokedBeforeItIsFetched(t *testing.T) {
	for name, end := range map[string]func(b *blobWorld, g desk.Grant) error{
		"revoked": func(b *blobWorld, g desk.Grant) error {
			_, err := b.her.Customer().Grants().Revoke(context.Background(), []string{g.ID}, desk.Query{}, "")
			return err
		},
		"revoked midway": func(b *blobWorld, g desk.Grant) error {
			_, err := b.her.Customer().Grants().Revoke(context.Background(), []string{g.ID}, desk.Query{}, "")
			return err
		},
		"erased": func(b *blobWorld, _ desk.Grant) error {
			return b.her.Customer().Vault().Remove(context.Background(), "document.address-proof", 0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := nodetest.NewWorld(t)
				defer w.Close()
				b := newBlobWorld(t, w)
				g := b.give("contact.email", "document.address-proof")
				b.comes(g, "document.address-proof", b.scan)
				b.none("the vendor has it")
				b.vendor.Online(false)
				if name == "revoked midway" { // each stream takes a while: two seconds after the change the work begins
					w.Net.SetDelay(3 * time.Second)
					defer w.Net.SetDelay(0)
				}
				b.upload("document.address-proof", document(3, 1<<20))
				w.Until(5*time.Minute, "copies at the keepers", func() (bool, error) { return b.lies() >= 2 || name == "revoked midway" && b.lies() > 0, nil })
				if err := end(b, g); err != nil {
					t.Fatal(err)
				}
				b.none(name)
				b.vendor.Online(true)
				time.Sleep(10 * time.Minute)
				if got, err := b.read(g.ID, "document.address-proof"); err == nil {
					t.Errorf("the vendor reads %d bytes", len(got))
				}
			})
		})
	}
}

// TestALargeValueGoesOnAfterACrash: her node stops in the middle of laying it down, and the
// vendor's in the middle of fetching it.
func TestALargeValueGoesOnAfterACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.NewWorld(t)
		defer w.Close()
		b := newBlobWorld(t, w)
		g := b.give("document.address-proof")
		for range 4 {
			time.Sleep(700 * time.Millisecond)
			b.her.Stop()
			b.her.Start()
			time.Sleep(700 * time.Millisecond)
			b.vendor.Stop()
			b.vendor.Start()
		}
		b.comes(g, "document.address-proof", b.scan)
		b.none("the vendor has it")
	})
}

// TestNothingCoarserOfALargeValue: it is given whole, or not at all.
func TestNothingCoarserOfALargeValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.NewWorld(t)
		defer w.Close()
		b := newBlobWorld(t, w)
		b.upload("contact.hours", b.scan)
		need, err := b.her.Customer().Needs().Create(context.Background(), desk.NeedSpec{
			Name: "a loan", Category: "home.furniture", Fields: map[string]int64{"contact.hours": 0},
		})
		if err != nil {
			t.Fatal(err)
		}
		var id string
		w.Until(5*time.Minute, "a request", func() (bool, error) {
			p, err := b.her.Customer().Requests().List(context.Background(), desk.Query{Context: need.ID, State: "waiting"})
			if len(p.Items) > 0 {
				id = p.Items[0].ID
			}
			return id != "", err
		})
		_, err = b.her.Customer().Requests().Grant(context.Background(), id, desk.LessSpec{Coarse: map[string]string{"contact.hours": "initials"}})
		if !errors.Is(err, fault.Malformed) {
			t.Errorf("a coarser large value: %v", err)
		}
		if _, err := b.her.Customer().Requests().Grant(context.Background(), id, desk.LessSpec{}); err != nil {
			t.Fatal(err)
		}
		b.comes(b.her.Grants(desk.Query{Context: need.ID})[0], "contact.hours", b.scan)
	})
}

// TestALargeValueComesBack: a vendor that was away when its lease ended has deleted what it
// held. The renewal names a copy that no keeper has any more, and the next one a fresh one.
func TestALargeValueComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.NewWorld(t)
		defer w.Close()
		b := newBlobWorld(t, w)
		g := b.give("contact.email", "document.address-proof")
		b.comes(g, "document.address-proof", b.scan)
		b.none("the vendor has it")
		time.Sleep(23 * time.Hour) // the lease is renewed, and nothing is laid down again
		if got, err := b.read(g.ID, "document.address-proof"); err != nil || !bytes.Equal(got, b.scan) || b.lies() != 0 {
			t.Errorf("under the next lease: %d bytes, %d copies, %v", len(got), b.lies(), err)
		}
		b.vendor.Online(false)
		time.Sleep(30 * time.Hour)
		b.vendor.Online(true)
		time.Sleep(10 * time.Minute)
		if _, err := b.read(g.ID, "document.address-proof"); err == nil {
			t.Error("it is read after its lease has ended, before it came again")
		}
		w.Until(26*time.Hour, "a fresh copy", func() (bool, error) {
			time.Sleep(10 * time.Minute)
			got, err := b.read(g.ID, "document.address-proof")
			return err == nil && bytes.Equal(got, b.scan), nil
		})
		b.none("the vendor has it again")
	})
}
