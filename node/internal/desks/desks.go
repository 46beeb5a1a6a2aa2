// Package desks is the counter between the front door and the market: it reads what
// people and programs ask for, checks it, hands commands to the market's loop, and
// turns what is kept into views. It holds no state of its own.
//
// A reading goes straight to a snapshot of the store; a command becomes one turn
// of the market's loop, and the answer is read back from the store after it.
//
//house:allow package eleven thin desks, one for each noun; apart they would share half their lines
package desks

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/market"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/store/board"
	"github.com/harkmarket/hark/store/catalog"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
)

// An Office holds the rooms of an unlocked node.
type Office struct {
	Market  *market.Market
	Stores  market.Stores
	Board   *board.Board
	Catalog *catalog.Catalog
	Genesis *protocol.Genesis
	Now     func() time.Time
	// FetchPassport brings a vendor's passports onto the board, from other nodes
	// where it has to.
	FetchPassport func(ctx context.Context, v protocol.VendorID) error
	// FetchAnnouncement brings an announcement onto the board that is not there.
	FetchAnnouncement func(ctx context.Context, c protocol.ContextID) error
	// Follow joins the topics that a vendor's rules need.
	Follow func(market.Follow) error
	// Reached tells whether a public node is reached now; nil: one is.
	Reached func() bool
	// Rewrite breaks a promise on purpose: the ledger is rewritten before it is shown.
	Rewrite bool
}

// maxPage bounds every list.
const maxPage = 500

func limit(q desk.Query) int {
	if q.Limit <= 0 {
		return 100
	}
	return min(q.Limit, maxPage)
}

// view runs fn on a snapshot.
func (o *Office) view(ctx context.Context, fn func(kv.Reader) error) error {
	return o.Stores.KV.View(ctx, fn)
}

// shelfNames says what people call what stands on a shelf.
var shelfNames = map[records.Shelf]string{records.Contexts: "need", records.Agreements: "grant", records.Deals: "offer"}

// resolve finds the one id that begins with the given digits.
func (o *Office) resolve(ctx context.Context, s records.Shelf, digits string) (id [32]byte, err error) {
	digits = strings.ToLower(strings.TrimSpace(digits))
	if digits == "" {
		return id, fmt.Errorf("name a %s: %w", shelfNames[s], fault.Malformed)
	}
	err = o.view(ctx, func(r kv.Reader) error {
		ids, err := records.Match(r, s, digits, 4)
		switch {
		case err != nil:
			return err
		case len(ids) == 1:
			id = ids[0]
			return nil
		case len(ids) > 1:
			return fmt.Errorf("%s %s fits several: %s: %w", shelfNames[s], digits, list(ids), fault.Conflict)
		}
		var near []string
		for n := min(len(digits), 64); n >= 0 && len(near) == 0 && err == nil; n-- {
			ids, err = records.Match(r, s, digits[:n], maxNear)
			near = texts(ids)
		}
		if err != nil {
			return err
		}
		return unknown(shelfNames[s], digits, near)
	})
	return id, err
}

// maxNear is how many ids are named where one is not there.
const maxNear = 3

// unknown says that no id begins with digits, and which come near: those that share the
// most of its beginning, in order.
func unknown(what, digits string, ids []string) error {
	var near []string
	for n := min(len(digits), 64); n >= 0 && len(near) == 0; n-- {
		for _, id := range ids {
			if strings.HasPrefix(id, digits[:n]) && len(near) < maxNear {
				near = append(near, id[:min(len(id), 12)])
			}
		}
	}
	if len(near) == 0 {
		return fmt.Errorf("no %s begins with %.64s: %w", what, digits, fault.NotFound)
	}
	return fmt.Errorf("no %s begins with %.64s; near it are %s: %w", what, digits, strings.Join(near, ", "), fault.NotFound)
}

// closer keeps of the ids that were met those that share the most of digits' beginning.
func closer(kept []string, id, digits string) []string {
	shared := func(s string) (n int) {
		for n < min(len(s), len(digits)) && s[n] == digits[n] {
			n++
		}
		return n
	}
	if !slices.Contains(kept, id) {
		kept = append(kept, id)
	}
	if len(kept) > maxNear {
		slices.SortStableFunc(kept, func(a, b string) int { return shared(b) - shared(a) })
		kept = kept[:maxNear]
	}
	return kept
}

// texts writes ids in full.
func texts[T ~[32]byte](ids []T) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = hex.EncodeToString(id[:])
	}
	return out
}

func list(ids [][32]byte) string {
	text := make([]string, len(ids))
	for i, id := range ids {
		text[i] = hex.EncodeToString(id[:6])
	}
	return strings.Join(text, ", ")
}

// stateIn refuses a state that no item of a list can be in.
func stateIn(q desk.Query, what string, states []string) error {
	if q.State == "" || slices.Contains(states, q.State) {
		return nil
	}
	return noSuch("state of "+what, q.State, states, fault.Malformed)
}

// noSuch says that a word is none of those known, which of them it may have meant, or which
// there are.
func noSuch(what, word string, known []string, kind fault.Kind) error {
	return fmt.Errorf("%s: %w", protocol.NoSuch(what, word, known), kind)
}

// after reads the cursor of a page.
func after(q desk.Query) ([]byte, error) {
	if q.After == "" {
		return nil, nil
	}
	b, err := hex.DecodeString(q.After)
	if err != nil || len(b) != 32 {
		return nil, fmt.Errorf("page cursor %q: %w", q.After, fault.Malformed)
	}
	return b, nil
}

func hexOf[T ~[32]byte](id T) string { return hex.EncodeToString(id[:]) }

func moment(s protocol.Second) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(int64(s), 0).UTC()
}

func momentMS(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func due(d flow.Due) desk.Due {
	if d.At == 0 {
		return desk.Due{}
	}
	return desk.Due{By: d.By.String(), At: moment(d.At), Otherwise: d.Otherwise}
}

// notFound turns a missing record into what the user asked for.
func notFound(err error, what string) error {
	if errors.Is(err, fault.NotFound) {
		return fmt.Errorf("%s: %w", what, fault.NotFound)
	}
	return err
}

var conditions = map[string]protocol.Condition{
	"": protocol.AnyCondition, "any": protocol.AnyCondition, "new": protocol.NewCondition,
	"used": protocol.Used, "refurbished": protocol.Refurbished,
}

func condition(c protocol.Condition) string {
	for name, v := range conditions {
		if v == c && name != "" && name != "any" {
			return name
		}
	}
	return ""
}
