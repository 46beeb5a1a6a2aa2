package market

import (
	"slices"
	"testing"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/protocol/terms"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/vault"
)

// The consent rule would grant this request; the owner's rule for one field refuses it.
func TestAFieldThatIsNeverGivenIsNotGranted(t *testing.T) {
	for rule, want := range map[string]flow.AgreementState{"ask": flow.Disclosed, "never": flow.Refused, "special": flow.Requested} {
		in(t, func(w *town) {
			c := vault.Change{Class: protocol.Special}
			if rule != "special" {
				r, err := terms.ParseFieldRule(rule)
				w.ok(err)
				c = vault.Change{Rule: &r}
			}
			w.ok(w.her.cfg.Stores.KV.Update(t.Context(), func(tx kv.Tx) error {
				_, _, err := w.her.cfg.Stores.Vault.Put(tx, "contact.email", c, 2)
				return err
			}))
			w.ask()
			w.settle()
			var got []records.Agreement
			w.ok(w.her.cfg.Stores.KV.View(t.Context(), func(r kv.Reader) error {
				return records.EachAgreement(r, nil, func(a records.Agreement) (bool, error) { got = append(got, a); return true, nil })
			}))
			if len(got) != 1 || got[0].Flow.State != want {
				t.Fatalf("rule %s: %+v", rule, got)
			}
			names := func(a records.Agreement) (out []protocol.FieldName) {
				for _, f := range a.Terms.Fields {
					out = append(out, f.Name)
				}
				return out
			}(got[0])
			if slices.Contains(names, "contact.email") != (rule == "ask") || (got[0].Terms.Why == "") != (rule == "ask") {
				t.Errorf("rule %s: granted %v, refused because %q", rule, names, got[0].Terms.Why)
			}
		})
	}
}
