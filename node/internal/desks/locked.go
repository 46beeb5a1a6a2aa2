package desks

import (
	"context"
	"fmt"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/market"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/board"
	"github.com/harkmarket/hark/store/kv"
)

// Locked makes the office of a locked node: whatever needs the vault answers
// fault.Locked.
func Locked(b *board.Board, g *protocol.Genesis, now func() time.Time) Office {
	return Office{
		Market: market.Locked(lockedStore{}, ErrLocked()), Stores: market.Stores{KV: lockedStore{}}, Board: b, Genesis: g, Now: now,
		FetchPassport:     func(context.Context, protocol.VendorID) error { return ErrLocked() },
		FetchAnnouncement: func(context.Context, protocol.ContextID) error { return ErrLocked() },
		Follow:            func(market.Follow) error { return ErrLocked() },
	}
}

// ErrLocked is what a locked node answers.
func ErrLocked() error {
	return fmt.Errorf("the vault is locked; open it with hark unlock: %w", fault.Locked)
}

// lockedStore is the private store of a locked node.
type lockedStore struct{}

// View implements kv.Store.
func (lockedStore) View(context.Context, func(kv.Reader) error) error { return ErrLocked() }

// Update implements kv.Store.
func (lockedStore) Update(context.Context, func(kv.Tx) error) error { return ErrLocked() }

// Purge implements kv.Store.
func (lockedStore) Purge(context.Context, ...[]byte) error { return ErrLocked() }

// Size implements kv.Store.
func (lockedStore) Size() int64 { return 0 }

// Close implements kv.Store.
func (lockedStore) Close() error { return nil }

// Customer implements desk.Customer.
type Customer struct{ *Office }

// Needs implements desk.Customer.
func (c Customer) Needs() desk.Needs { return Needs(c) }

// Requests implements desk.Customer.
func (c Customer) Requests() desk.Requests { return Requests(c) }

// Grants implements desk.Customer.
func (c Customer) Grants() desk.Grants { return Grants(c) }

// Offers implements desk.Customer.
func (c Customer) Offers() desk.Offers { return Offers(c) }

// Deals implements desk.Customer.
func (c Customer) Deals() desk.Deals { return Deals(c) }

// Vault implements desk.Customer.
func (c Customer) Vault() desk.Vault { return Vault(c) }

// Files implements desk.Customer.
func (c Customer) Files() desk.Files { return Files(c) }

// Vendor implements desk.Vendor.
type Vendor struct{ *Office }

// Catalog implements desk.Vendor.
func (v Vendor) Catalog() desk.Catalog { return Catalog(v) }

// Rules implements desk.Vendor.
func (v Vendor) Rules() desk.Rules { return Rules(v) }

// Passports implements desk.Vendor.
func (v Vendor) Passports() desk.Passports { return Passports(v) }

// Held implements desk.Vendor.
func (v Vendor) Held() desk.Held { return Held(v) }

// Board implements desk.Vendor.
func (v Vendor) Board() desk.Board { return Board(v) }
