package desks

import (
	"slices"
	"testing"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
)

// TestWhatWasWithheldIsSeenAndLifted: the latest first, no more than a page holds, by
// vendor; and lifted by the vendor's id.
func TestWhatWasWithheldIsSeenAndLifted(t *testing.T) {
	o := open(t)
	asks := []protocol.FieldAsk{{Name: "location.area", Purpose: protocol.PurposeOffer}, {Name: "contact.hours", Purpose: protocol.PurposeOffer}}
	o.keep(t, func(tx kv.Tx) error {
		for i := range maxWithheldShown + 2 {
			a := records.Acquaintance{Vendor: protocol.Hash{1, byte(i >> 8), byte(i)}, Name: "Veld & Vine"}
			a.Withhold(asks[:i%3], int64(1000*(i+1))) // of the need alone, of one field, of two
			if err := records.PutAcquaintance(tx, a); err != nil {
				return err
			}
		}
		return nil
	})
	d := Consent{o, func() []string { return nil }}
	v := must(d.Get(t.Context()))
	first := v.Withheld[0]
	if len(v.Withheld) != maxWithheldShown || first.Name != "Veld & Vine" || !slices.IsSortedFunc(v.Withheld, func(a, b desk.WithheldVendor) int { return b.Since.Compare(a.Since) }) {
		t.Fatalf("%d are shown, first %+v", len(v.Withheld), first)
	}
	if !slices.Equal(v.Withheld[0].Fields, []string{"need"}) || len(v.Withheld[1].Fields) != 2 || !slices.Equal(v.Withheld[2].Fields, []string{"location.area"}) {
		t.Errorf("fields %v, %v, %v", v.Withheld[0].Fields, v.Withheld[1].Fields, v.Withheld[2].Fields)
	}
	lifted := must(d.Block(t.Context(), first.Vendor, false))
	if lifted.Withheld[0].Vendor == first.Vendor || len(lifted.Blocked) > 0 {
		t.Errorf("it is not lifted: %+v", lifted.Withheld[0])
	}
}
