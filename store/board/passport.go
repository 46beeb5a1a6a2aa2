package board

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
)

// maxChain is the size in bytes of the longest chain that fits into one frame with
// room for the rest of a reply.
const maxChain = protocol.MaxFrame - 8<<10

// A passport is what memory knows of a vendor's chain.
type passport struct {
	latest  protocol.Hash
	length  int
	size    int64
	expires protocol.Second // 0: never
	used    uint64          // when somebody last asked for it, by shelf.uses
}

// A chain is a vendor's passports as they are stored.
type chain struct {
	Net     protocol.Hash   `cbor:"1,keyasint,omitzero"`
	Latest  protocol.Hash   `cbor:"2,keyasint,omitzero"`
	Expires protocol.Second `cbor:"3,keyasint,omitempty"`
	Raws    [][]byte        `cbor:"4,keyasint,omitempty"`
}

func (c *chain) short() passport {
	p := passport{latest: c.Latest, length: len(c.Raws), expires: c.Expires}
	for _, raw := range c.Raws {
		p.size += int64(len(raw))
	}
	return p
}

func passportKey(v protocol.VendorID) []byte { return append([]byte(prefixPassport), v[:]...) }

// A shelf keeps the passports of a board.
type shelf struct {
	s         kv.Store
	most      int
	mostBytes int64
	writing   sync.Mutex // held by the one who writes

	mu      sync.RWMutex // guards what follows; never held while waiting
	known   map[protocol.VendorID]passport
	vendors []protocol.VendorID // sorted
	bytes   int64
	uses    uint64 // counts calls of Passports and PutPassports
}

func (s *shelf) load(k, v []byte) (bool, error) {
	var vendor protocol.VendorID
	if err := vendor.UnmarshalBinary(k[len(prefixPassport):]); err != nil {
		return false, fmt.Errorf("key %x: %w", k, fault.Malformed)
	}
	var c chain
	if err := kv.DecodeCBOR(v, &c); err != nil {
		return false, err
	}
	p := c.short()
	s.known[vendor] = p
	s.vendors = append(s.vendors, vendor) // a Scan is sorted
	s.bytes += p.size
	return true, nil
}

// PutPassports keeps a vendor's passports and says whether they were news: the
// longer chain holds, of two equally long ones that of the lower latest hash, so
// that all nodes agree.
func (b *Board) PutPassports(ctx context.Context, c wire.Chain) (fresh bool, err error) {
	s := &b.shelf
	if c.IsZero() {
		return false, fmt.Errorf("board: no passport: %w", fault.Malformed)
	}
	vendor, last := c.Vendor(), c.Latest()
	rec := chain{Net: last.Net, Latest: c.LatestHash(), Expires: last.Expires, Raws: c.Raws()}
	p := rec.short()
	if p.size > maxChain {
		return false, fmt.Errorf("board: %d bytes of passports of %s, at most %d: %w", p.size, vendor.Short(), maxChain, fault.Malformed)
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	old, known := s.get(vendor)
	if known && (p.length < old.length || p.length == old.length && byHash(p.latest, old.latest) >= 0) {
		return false, nil
	}
	victims, err := s.victims(vendor, p)
	if err != nil {
		return false, err
	}
	err = s.s.Update(ctx, func(tx kv.Tx) error {
		if err := deletePassports(tx, victims); err != nil {
			return err
		}
		return kv.PutCBOR(tx, passportKey(vendor), rec)
	})
	if err != nil {
		return false, fmt.Errorf("board: passport of %s: %w", vendor.Short(), err)
	}
	s.set(victims, vendor, p)
	return true, nil
}

// Knows reports, from memory, whether passports of a vendor stand here.
func (b *Board) Knows(v protocol.VendorID) bool {
	_, ok := b.shelf.get(v)
	return ok
}

func (s *shelf) get(v protocol.VendorID) (passport, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p, ok := s.known[v]
	return p, ok
}

func deletePassports(tx kv.Tx, vendors []protocol.VendorID) error {
	for _, v := range vendors {
		if err := tx.Delete(passportKey(v)); err != nil {
			return err
		}
	}
	return nil
}

// victims chooses who gives way to p: those that nobody asked for longest.
func (s *shelf) victims(vendor protocol.VendorID, p passport) (victims []protocol.VendorID, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	old, known := s.known[vendor]
	count, bytes := len(s.vendors), s.bytes+p.size-old.size
	if !known {
		count++
	}
	for count > s.most || bytes > s.mostBytes {
		idle, found := protocol.VendorID{}, false
		for v, q := range s.known {
			if v == vendor || slices.Contains(victims, v) {
				continue
			}
			if i := s.known[idle]; !found || q.used < i.used || q.used == i.used && byHash(v, idle) < 0 {
				idle, found = v, true
			}
		}
		if !found || len(victims) == maxPassportVictims {
			return nil, fmt.Errorf("board: %d passports, %d bytes: %w", len(s.vendors), s.bytes, fault.Full)
		}
		victims = append(victims, idle)
		count, bytes = count-1, bytes-s.known[idle].size
	}
	return victims, nil
}

// maxPassportVictims is enough for the longest chain to replace the shortest.
const maxPassportVictims = 64

// set removes some from memory and, unless vendor is zero, adds one.
func (s *shelf) set(gone []protocol.VendorID, vendor protocol.VendorID, p passport) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range gone {
		s.bytes -= s.known[v].size
		delete(s.known, v)
		if i, ok := slices.BinarySearchFunc(s.vendors, v, byHash); ok {
			s.vendors = slices.Delete(s.vendors, i, i+1)
		}
	}
	if vendor.IsZero() {
		return
	}
	s.bytes += p.size - s.known[vendor].size
	s.uses++
	p.used = s.uses
	s.known[vendor] = p
	if i, ok := slices.BinarySearchFunc(s.vendors, vendor, byHash); !ok {
		s.vendors = slices.Insert(s.vendors, i, vendor)
	}
}

// Passports gives a vendor's chain; fault.NotFound if it is not known here.
func (b *Board) Passports(ctx context.Context, vendor protocol.VendorID) (wire.Chain, error) {
	s := &b.shelf
	var rec chain
	err := s.s.View(ctx, func(r kv.Reader) error { return kv.GetCBOR(r, passportKey(vendor), &rec) })
	if err != nil {
		return wire.Chain{}, fmt.Errorf("board: passport of %s: %w", vendor.Short(), err)
	}
	s.mu.Lock()
	if p, ok := s.known[vendor]; ok {
		s.uses++
		p.used = s.uses
		s.known[vendor] = p
	}
	s.mu.Unlock()
	return wire.OpenChain(rec.Raws, rec.Net)
}

// PassportIDs lists the vendors whose passports are known, by id from the one after
// the given: at most limit, and never more than MaxIDs.
func (b *Board) PassportIDs(ctx context.Context, after protocol.VendorID, limit int) (ids []protocol.VendorID, more bool, err error) {
	s := &b.shelf
	if err := ctx.Err(); err != nil {
		return nil, false, fmt.Errorf("board: %w", err)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	i, found := slices.BinarySearchFunc(s.vendors, after, byHash)
	if found {
		i++
	}
	n := min(max(limit, 0), MaxIDs, len(s.vendors)-i)
	return slices.Clone(s.vendors[i : i+n]), i+n < len(s.vendors), nil
}

func (s *shelf) expire(ctx context.Context, now protocol.Second) (n int, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	var gone []protocol.VendorID
	s.mu.RLock()
	for v, p := range s.known {
		if p.expires > 0 && p.expires <= now && len(gone) < maxExpire {
			gone = append(gone, v)
		}
	}
	s.mu.RUnlock()
	for part := range slices.Chunk(gone, expireBatch) {
		if err := s.s.Update(ctx, func(tx kv.Tx) error { return deletePassports(tx, part) }); err != nil {
			return n, fmt.Errorf("board: expire: %w", err)
		}
		s.set(part, protocol.VendorID{}, passport{})
		n += len(part)
	}
	return n, nil
}

func (s *shelf) stats() []kv.Fill {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return []kv.Fill{
		{Name: "board.passports", Used: int64(len(s.vendors)), Cap: int64(s.most)},
		{Name: "board.passport-bytes", Used: s.bytes, Cap: s.mostBytes},
	}
}
