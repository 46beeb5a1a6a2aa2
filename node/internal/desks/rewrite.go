package desks

import (
	"context"
	"encoding/json"

	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/ledger"
)

// rewriteBatch is how many entries one transaction writes anew.
const rewriteBatch = 200

// rewrite does what nobody can keep the owner of a store from doing: it writes her
// ledger anew from the first entry, sound in itself, with a lie in it. Only heads that
// others have countersigned give it away. It is there for demonstrations.
func (o *Office) rewrite(ctx context.Context) error {
	var all []ledger.Entry
	err := o.view(ctx, func(r kv.Reader) error {
		return o.Stores.Ledger.Each(r, 0, func(e ledger.Entry) (bool, error) {
			all = append(all, e)
			return true, nil
		})
	})
	if err != nil {
		return err
	}
	lied := false
	for at := 0; at < len(all); at += rewriteBatch {
		batch := all[at:min(at+rewriteBatch, len(all))]
		for i := range batch {
			if body := bodyOf(batch[i]); batch[i].Kind == "grant.given" && !lied {
				lied, body["fields"] = true, ""
				if batch[i].Body, err = json.Marshal(body); err != nil {
					return err
				}
			}
		}
		err := o.Stores.KV.Update(ctx, func(tx kv.Tx) error {
			if at == 0 {
				if err := tx.Put([]byte("l/n"), make([]byte, 8)); err != nil { // as if it had no entry yet
					return err
				}
			}
			for _, e := range batch {
				if _, err := o.Stores.Ledger.Append(tx, e.Kind, e.AtMS, e.Body); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
