package demo

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/harkmarket/hark/cmd/hark/demo/input"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/store/ledger/audit"
)

// maxTold is how many problems of one export are told of.
const maxTold = 2

// auditExports has every node export its ledger, and judges the exports as hark-audit
// does: each by itself, and all against each other. It returns how many hold, and
// names whose do not.
func (sh *show) auditExports(ctx context.Context) (hold int) {
	sh.story.Progress("auditing what the nodes export")
	judge := audit.New(time.Now(), false)
	given := 0
	for _, p := range sh.Nodes {
		if !p.Alive() {
			continue // its end is a problem already
		}
		var export bytes.Buffer
		err := p.API.Ledger().Export(ctx, desk.ExportSpec{}, &export)
		if err == nil {
			err = judge.Add(p.String(), &export)
		}
		if err != nil {
			sh.problem("%s: its ledger cannot be audited: %v", p, err)
			continue
		}
		given++
	}
	found := map[string]int{}
	v := judge.Verdict()
	for _, p := range v.Problems {
		if found[p.File]++; found[p.File] <= maxTold {
			sh.problem("what %s exports does not hold: %s", p.File, input.Clean(fmt.Sprintf("%s: %s", p.What, p.Why)))
		}
	}
	for name, n := range found {
		if n > maxTold {
			sh.problem("what %s exports does not hold: and %d more like these", name, n-maxTold)
		}
	}
	return given - len(found)
}
