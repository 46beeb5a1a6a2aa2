package node

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/outbox"
)

// client asks other keepers, and notes who runs them.
func (n *Node) client() keeper.Client {
	return keeper.Client{Port: n.port, Net: n.net, Greeted: n.roster.Greeted}
}

// runBy is the vendor who says to run a keeper, empty where none is known.
func (n *Node) runBy(k key.KeeperKey) string {
	if v := n.roster.Operator(k); !v.IsZero() {
		return v.String()
	}
	return ""
}

// operator is the vendor whose node this is, zero where it has no passport or is
// locked. A stream that opens while the node is being unlocked does not wait for it.
func (n *Node) operator() protocol.VendorID {
	if !n.mu.TryLock() {
		return protocol.VendorID{}
	}
	in := n.inside
	n.mu.Unlock()
	if in == nil {
		return protocol.VendorID{}
	}
	v, err := in.market.Vendor(context.Background())
	if err != nil {
		return protocol.VendorID{}
	}
	return v.ID
}

// judge tells the roster what a sighting says of keepers: who signed for a letter and
// lacked it has lied; who handed out another in its place is doubted, since its sender
// could have left both; and who showed it again after its deletion, since no keeper
// signs that it deleted anything, and its sender could have left it once more where a
// tombstone gave way.
func (n *Node) judge(s records.Sighting) {
	for _, k := range s.Lied() {
		n.roster.Convict(k)
	}
	for _, k := range append(s.Doubted(), s.Replayed...) {
		n.roster.Doubt(k, time.UnixMilli(s.AtMS))
	}
}

// judgeAll judges by what was found before this start.
func (n *Node) judgeAll(ctx context.Context, private kv.Store) error {
	err := private.View(ctx, func(r kv.Reader) error {
		return records.EachSighting(r, nil, func(s records.Sighting) (bool, error) {
			n.judge(s)
			return true, nil
		})
	})
	if err != nil {
		return fmt.Errorf("sightings of keepers: %w", err)
	}
	return nil
}

// places implements market.Places. A public node that knows no other holds its own
// mail; any other node's mail is better held elsewhere, so that those who write to
// it don't come to its own address.
type places struct{ n *Node }

// Keepers implements market.Places.
func (p places) Keepers(most int) []protocol.Keeper {
	list := p.n.roster.Draw(most)
	if len(list) == 0 && p.n.keeper != nil {
		return []protocol.Keeper{p.n.port.Self()}
	}
	return list
}

// Replace implements market.Places.
func (p places) Replace(list []protocol.Keeper) ([]protocol.Keeper, bool) {
	return p.n.roster.Replace(list)
}

// inboxProblem warns a vendor whose passport names keepers that are silent, or that did
// not keep what they promised: requests go to those that it names, until another
// passport names others.
func (n *Node) inboxProblem(ctx context.Context, in *inside, status *desk.Status) error {
	v, err := in.market.Vendor(ctx)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	chain, err := wire.OpenChain(v.Chain, n.net)
	if err != nil {
		return fmt.Errorf("passport: %w", err)
	}
	keepers := chain.Latest().Inbox.Keepers
	answer, trusted := len(keepers), len(keepers)
	for _, k := range keepers {
		switch {
		case n.roster.Silent(k.Key):
			answer--
		case n.roster.Out(k.Key):
			trusted--
		}
	}
	trusted -= len(keepers) - answer
	const fix = "hark passport rotate issues a passport that names others"
	switch {
	case trusted < answer:
		status.Problems = append(status.Problems, desk.Problem{Code: "inbox-keepers", What: fmt.Sprintf("your inbox has %d of %d keepers that answer and are not known to lose, alter or repeat letters: requests are safe only at these", trusted, len(keepers)), Fix: fix})
	case answer < len(keepers):
		status.Problems = append(status.Problems, desk.Problem{Code: "inbox-keepers", What: fmt.Sprintf("your inbox has %d of %d keepers that answer: requests wait only at these, and nowhere once none is left", answer, len(keepers)), Fix: fix})
	}
	return nil
}

// maxReported bounds the letters that a report names of one keeper, of each sort.
const maxReported = 20

// keeperReports gathers what this node has seen of each keeper, as a sender and as a
// reader.
func (n *Node) keeperReports(r kv.Reader, o *outbox.Outbox) ([]desk.KeeperReport, error) {
	by := map[key.KeeperKey]*desk.KeeperReport{}
	of := func(k key.KeeperKey) *desk.KeeperReport {
		if by[k] == nil {
			by[k] = &desk.KeeperReport{Key: k.String()}
		}
		return by[k]
	}
	for _, k := range n.roster.Silents() {
		of(k).Silent = true
	}
	if err := eachItem(r, o, func(it outbox.Item) {
		for _, rec := range it.Receipts {
			of(rec.Keeper).Receipts++
		}
	}); err != nil {
		return nil, err
	}
	var failed error
	lacking := map[key.KeeperKey][]int64{} // when letters were found missing: bounded as the sightings are
	err := records.EachSighting(r, nil, func(s records.Sighting) (bool, error) {
		letter := s.Letter.String()
		for _, list := range []struct {
			of  []key.KeeperKey
			add func(*desk.KeeperReport) *[]string
		}{
			{s.Missing, func(rep *desk.KeeperReport) *[]string { return &rep.Missing }},
			{s.Altered, func(rep *desk.KeeperReport) *[]string { return &rep.Altered }},
			{s.Replayed, func(rep *desk.KeeperReport) *[]string { return &rep.Replayed }},
		} {
			for _, k := range list.of {
				if to := list.add(of(k)); len(*to) < maxReported {
					*to = append(*to, letter)
				}
			}
		}
		for _, k := range append(s.Lied(), s.Doubted()...) {
			failed = errors.Join(failed, prove(of(k), s, k))
		}
		for _, k := range s.Missing {
			lacking[k] = append(lacking[k], s.AtMS)
		}
		return failed == nil, nil
	})
	for k, at := range lacking {
		of(k).Lacked = lackedAt(at, time.Now().UnixMilli())
	}
	out := []desk.KeeperReport{}
	for _, rep := range by {
		out = append(out, *rep)
	}
	slices.SortFunc(out, func(a, b desk.KeeperReport) int { return strings.Compare(a.Key, b.Key) })
	return out, errors.Join(err, failed)
}

// prove adds the receipt by which a keeper had signed for a letter.
func prove(rep *desk.KeeperReport, s records.Sighting, k key.KeeperKey) error {
	receipt, ok := s.Proven(k)
	if !ok || len(rep.Proofs) >= maxReported {
		return nil
	}
	raw, err := wire.Marshal(&receipt)
	if err != nil {
		return fmt.Errorf("receipt of keeper %s: %w", k, err)
	}
	what := "altered"
	if slices.Contains(s.Lied(), k) {
		what = "lacked"
	}
	rep.Proofs = append(rep.Proofs, desk.KeeperProof{
		Letter: s.Letter.String(), Found: what, AtMS: s.AtMS, Signed: int64(receipt.At), Receipt: base64.StdEncoding.EncodeToString(raw),
	})
	return nil
}

// lackedAt sums up when letters were found missing.
func lackedAt(at []int64, nowMS int64) desk.Lacked {
	const hour = int64(time.Hour / time.Millisecond)
	hours := map[int64]bool{}
	for _, ms := range at {
		if ms > nowMS-24*hour {
			hours[(nowMS-ms)/hour] = true
		}
	}
	return desk.Lacked{Letters: len(at), Hours: len(hours), LastMS: slices.Max(at)}
}

// goesOn is in how many of the last 24 hours a keeper lacks letters until that is a problem
// without proof: it was not down for a moment. It ends once fewer of these hours have any.
const goesOn = 4

// keeperProblems names keepers, each with what is known and no more.
func keeperProblems(list []desk.KeeperReport, add func(code, what, fix string)) {
	const names = "hark status --json names the letters, with the receipts that are here"
	for _, k := range list {
		lied := 0
		for _, p := range k.Proofs {
			if p.Found == "lacked" {
				lied++
			}
		}
		switch {
		case lied > 0:
			add("keeper-lied", fmt.Sprintf("keeper %s signed for %d letters and did not have them; it is drawn no more", k.Key, lied), names)
		case k.Lacked.Hours >= goesOn:
			add("keeper-lacked", fmt.Sprintf("keeper %s goes on lacking letters that others have, in %d of the last 24 hours, %d letters in all; without its receipt it may never have had them", k.Key, k.Lacked.Hours, k.Lacked.Letters), names)
		}
		if len(k.Altered) > 0 {
			add("keeper-altered", fmt.Sprintf("keeper %s handed out %d altered letters", k.Key, len(k.Altered)), names)
		}
		if len(k.Replayed) > 0 {
			add("keeper-replayed", fmt.Sprintf("keeper %s showed %d letters again after it had confirmed that they were deleted; it signed nothing of that, so it is avoided for a day", k.Key, len(k.Replayed)), names)
		}
		if k.Silent {
			add("keeper-silent", fmt.Sprintf("keeper %s does not answer while others do; what is announced moves elsewhere by itself, the inbox of a vendor does not", k.Key), "hark peers list: it shows who answers; nothing else needs doing, unless inbox-keepers is named here too")
		}
	}
}
