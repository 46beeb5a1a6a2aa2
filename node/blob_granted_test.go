package node_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/protocol/wire/large"
	records "github.com/harkmarket/hark/store/market"
)

// copiesOn gathers every copy that ever lay at a keeper, as its chunks came.
func copiesOn(keepers ...*tape) map[protocol.Hash][]byte {
	out := map[protocol.Hash][]byte{}
	for _, tp := range keepers {
		of := map[protocol.Hash][]byte{}
		for _, w := range tp.all("x/c/") { // mailbox ‖ digest ‖ number
			digest := protocol.Hash(w.key[4+32 : 4+64])
			of[digest] = append(of[digest], w.value...)
		}
		for digest, raw := range of {
			if wire.ID(raw) == digest { // else one that was left off midway
				out[digest] = raw
			} else if out[digest] == nil {
				out[digest] = nil
			}
		}
	}
	return out
}

// openCopy opens a whole copy.
func openCopy(l protocol.LargeValue, raw []byte) (plain []byte, err error) {
	chunks := slices.Collect(slices.Chunk(raw, protocol.CopyChunk))
	for i, c := range chunks {
		part, err := seal.OpenCopy(l.Key.Secret(), uint64(i), i+1 == len(chunks), c)
		if err != nil {
			return nil, err
		}
		plain = append(plain, part...)
	}
	return plain, nil
}

// playBlobs plays a customer with two large values, of which she grants one to one vendor
// and none to another, and says what left beyond that.
func playBlobs(t *testing.T, misbehave string) (wrong []string, copies int) {
	synctest.Test(t, func(t *testing.T) {
		ctx, w := context.Background(), nodetest.NewWorld(t)
		defer w.Close()
		var keepers []*tape
		for range 3 {
			keepers = append(keepers, onTape(w.Public("keeper")))
		}
		bank, shop := w.Public("bank"), w.Public("shop")
		vendors := []*tape{onTape(bank), onTape(shop)}
		keepers = append(keepers, vendors...)
		her := w.Misbehaving("thandi", false, misbehave)
		hers := onTape(her)
		time.Sleep(5 * time.Second)
		b := &blobWorld{T: t, w: w, her: her}
		her.Fill(map[string]string{"contact.email": "thandi@example.org"})
		values := map[string][][]byte{}
		put := func(field string, seed uint64, size int) {
			values[field] = append(values[field], document(seed, size))
			b.upload(field, document(seed, size))
		}
		put("document.address-proof", 1, 200_000)
		put("document.bank-statement", 2, 150_000) // granted to nobody
		var grants []desk.Grant
		for i, v := range []*nodetest.Member{bank, shop} {
			v.Sell("")
			own, err := v.Vendor().Passports().Own(ctx)
			if err != nil {
				t.Fatal(err)
			}
			b.vendor, b.own = v, own.Vendor
			grants = append(grants, b.give(slices.Concat([]string{"contact.email"}, [][]string{{"document.address-proof"}, nil}[i])...))
			time.Sleep(time.Minute)
		}
		put("document.address-proof", 3, 90_000)
		put("document.bank-statement", 4, 80_000)
		time.Sleep(time.Minute)
		if _, err := her.Customer().Grants().Revoke(ctx, []string{grants[0].ID}, desk.Query{}, ""); err != nil {
			t.Fatal(err)
		}
		put("document.address-proof", 5, 70_000) // after the end
		time.Sleep(5 * time.Minute)
		wrong, copies = judgeBlobs(t, w, keepers, vendors, hers, values["document.address-proof"][:2], grants[0].ID)
	})
	return wrong, copies
}

// judgeBlobs opens all that lay at keepers with the vendors' keys: each copy is named in a
// disclosure under the one grant that allows it, and is exactly one of the values.
func judgeBlobs(t *testing.T, w *nodetest.World, keepers, vendors []*tape, hers *tape, values [][]byte, grant string) (wrong []string, copies int) {
	var s secrets
	macs := map[protocol.GrantID]protocol.Shared{}
	for _, tp := range vendors {
		s.learn(t, tp, false)
		for _, x := range tp.all("k/a/") {
			if a := decode[records.Agreement](t, x); !a.MAC.IsZero() {
				macs[a.ID] = a.MAC
			}
		}
	}
	s.learn(t, hers, true)
	lay := copiesOn(keepers...)
	copies = len(lay)
	named := map[protocol.Hash]bool{}
	for n, raw := range letters(keepers...) {
		plain, _, err := s.read(netOf(t, w.Genesis), raw)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("letter %d does not open: %v", n, err))
		}
		for id, mac := range macs {
			if _, _, err := wire.OpenDisclosure(plain, mac.Secret()); err != nil || !wire.IsDisclosure(plain) {
				continue
			}
			for _, l := range large.In(plain).Values {
				named[l.Digest] = true
				value, err := openCopy(l, lay[l.Digest])
				exact := slices.ContainsFunc(values, func(v []byte) bool { return bytes.Equal(v, value) })
				if err != nil || !exact || l.Name != "document.address-proof" || id.String() != grant {
					wrong = append(wrong, fmt.Sprintf("a disclosure under grant %s gives %s, which is not what she granted (%d bytes, %v)", id.Short(), l.Name, len(value), err))
				}
			}
		}
	}
	for digest := range lay {
		if !named[digest] {
			wrong = append(wrong, fmt.Sprintf("copy %s lay at a keeper, and no disclosure names it", digest.Short()))
		}
	}
	return wrong, copies
}

// TestBlobOnlyAsGranted: of large values nothing leaves but the granted ones, as they are,
// under the keys of their copies, to the vendor that they were granted to.
func TestBlobOnlyAsGranted(t *testing.T) {
	wrong, _ := playBlobs(t, "leak-field")
	if !slices.ContainsFunc(wrong, func(s string) bool {
		return strings.Contains(s, "gives document.bank-statement, which is not what she granted")
	}) {
		t.Fatalf("a customer's node that discloses one large value more is not found: %q", wrong)
	}
	wrong, copies := playBlobs(t, "")
	for _, w := range wrong {
		t.Error(w)
	}
	if copies != 2 {
		t.Errorf("%d copies lay at keepers, want 2", copies)
	}
	t.Logf("%d copies lay at keepers, each named in one vendor's disclosure and exactly what was granted; the planted leak was found", copies)
}
