package market

import (
	"errors"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/terms"
)

// decideFields asks the owner's rule for each field of a request that the consent rule
// would grant. A field that the vault no longer has gives nothing away.
func (t *turn) decideFields(r *protocol.Request) (terms.Decision, error) {
	for _, ask := range r.Fields {
		f, err := t.m.cfg.Stores.Vault.About(t, ask.Name)
		if errors.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return terms.Decision{}, err
		}
		if d := terms.DecideField(f.Name, f.Class, f.Rule); !d.Grant {
			return d, nil
		}
	}
	return terms.Decision{Grant: true}, nil
}
