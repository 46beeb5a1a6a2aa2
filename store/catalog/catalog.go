// Package catalog keeps a vendor's products and finds those that answer a need in
// a customer's own words.
//
// How products come in:
//
//  1. [ReadCSV] turns a file into products and a list of rows that it could not use.
//  2. [Catalog.Plan] says what an import would change; [Catalog.Import] does it.
//  3. Import writes all products under a new generation, in as many transactions as
//     it takes, and then moves one pointer. A reader sees the old catalogue or the
//     new one, never a half; an import that a crash cut off leaves nothing to see.
//  4. The index is built beside the old one and takes its place; then the old
//     generation is deleted.
//
// How a need is answered: see [Catalog.Search].
//
// The products lie in the private, sealed store; their keys are numbers. The index
// (bleve) is kept in memory only, because its files would be plain text on disk.
// It is built by the first search or import, so that a node without products pays
// nothing: some 0.2 ms and 2 KB a product.
package catalog

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
)

// Bounds. Beyond them Import and ReadCSV give fault.Full or fault.Malformed.
const (
	MaxProducts    = 200_000
	MaxID          = protocol.MaxName // bytes
	MaxTitle       = 1000             // bytes; an offer shows protocol.MaxName of them
	MaxDescription = 64 << 10         // bytes; an offer shows protocol.MaxText of them
	MaxPage        = 1000             // products that List gives at once
)

// A Product is one thing or service that a vendor sells. A zero Price means "price
// on request", no Region everywhere, no Category unclassified.
type Product struct {
	ID          string             `cbor:"1,keyasint"`
	Title       string             `cbor:"2,keyasint"`
	Description string             `cbor:"3,keyasint,omitempty"`
	Category    protocol.Category  `cbor:"4,keyasint,omitempty"`
	Price       protocol.Money     `cbor:"5,keyasint,omitzero"` // of one
	Region      protocol.Region    `cbor:"6,keyasint,omitempty"`
	Condition   protocol.Condition `cbor:"7,keyasint,omitempty"`
}

// Check says whether p can be kept; fault.Malformed.
func (p *Product) Check() error {
	why := ""
	switch {
	case p.ID == "" || len(p.ID) > MaxID || !clean(p.ID, -1):
		why = fmt.Sprintf("an id has 1 to %d bytes of printable text", MaxID)
	case strings.TrimSpace(p.Title) == "" || len(p.Title) > MaxTitle || !clean(p.Title, -1):
		why = fmt.Sprintf("a title has 1 to %d bytes of printable text", MaxTitle)
	case len(p.Description) > MaxDescription || !clean(p.Description, '\n'):
		why = fmt.Sprintf("a description has at most %d bytes of printable text", MaxDescription)
	case p.Category != "" && !p.Category.WellFormed():
		why = fmt.Sprintf("%.48q is no category", string(p.Category))
	case p.Price != (protocol.Money{}) && (!p.Price.Valid() || p.Price.Minor == 0):
		why = "a price is above zero, in a known currency; leave it out where it is on request"
	case p.Region != "" && !p.Region.Valid():
		why = fmt.Sprintf("%.8q is no region", string(p.Region))
	case p.Condition > protocol.Refurbished:
		why = fmt.Sprintf("%d is no condition", p.Condition)
	default:
		return nil
	}
	return fmt.Errorf("product %.48q: %s: %w", p.ID, why, fault.Malformed)
}

func clean(s string, except rune) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool { return c != except && unicode.IsControl(c) })
}

// Short is p with its title and description cut to what an offer may carry.
func (p Product) Short() Product {
	p.Title, p.Description = cut(p.Title, protocol.MaxName), cut(p.Description, protocol.MaxText)
	return p
}

// cut shortens text to at most n bytes, at the end of a word where one is near.
func cut(s string, n int) string {
	const more = "…"
	if len(s) <= n {
		return s
	}
	n -= len(more)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	s = s[:n]
	if i := strings.LastIndexAny(s, " \n"); i > n*3/4 {
		s = s[:i]
	}
	return strings.TrimRight(s, " \n,;") + more
}

// before is the order of products: by the length of the id, then bytewise, so that
// numbers stand in the order of numbers.
func before(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// A Catalog is a vendor's products. It is safe for many goroutines.
type Catalog struct {
	onDemand bool // see OpenOnDemand
	most     int  // products
	store    kv.Store
	turn     chan struct{} // held by the one who imports or builds the index

	mu    sync.RWMutex // held for reading while the index, or its generation, is read
	index *index       // nil until needed
	gone  bool
}

// Open readies the catalogue in the private store s. It reads and builds nothing.
func Open(s kv.Store) *Catalog {
	return &Catalog{store: s, most: MaxProducts, turn: make(chan struct{}, 1)}
}

// Bound lets it keep at most so many products, fewer than MaxProducts. It is called
// before the first use; zero changes nothing.
func (c *Catalog) Bound(products int) { c.most = cmp.Or(products, c.most) }

// OpenOnDemand is Open where an import leaves the index to the first search: for
// homes in which nobody searches, and for bubbles of fake time, in which bleve's own
// goroutines can't take part.
func OpenOnDemand(s kv.Store) *Catalog {
	c := Open(s)
	c.onDemand = true
	return c
}

// Close frees the index; every later Search or Import gives fault.Offline.
func (c *Catalog) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
	old := c.index
	c.index = nil
	return old.close()
}

func (c *Catalog) take(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("catalog: another import is under way: %w", ctx.Err())
	}
}

func (c *Catalog) leave() { <-c.turn }

// head points at the generation that counts.
type head struct {
	Generation uint64 `cbor:"1,keyasint"`
	Products   uint32 `cbor:"2,keyasint"`
}

const (
	headKey = "c/h"
	prefix  = "c/p/" // generation (8 bytes) ‖ place (4 bytes) -> Product, in the order of before
)

func readHead(r kv.Reader) (h head, err error) {
	if err = kv.GetCBOR(r, []byte(headKey), &h); fault.Of(err) == fault.NotFound {
		return head{}, nil
	}
	return h, err
}

func (c *Catalog) head(ctx context.Context) (h head, err error) {
	err = c.store.View(ctx, func(r kv.Reader) error { h, err = readHead(r); return err })
	return h, err
}

func generation(g uint64) []byte { return binary.BigEndian.AppendUint64([]byte(prefix), g) }

func place(g uint64, n uint32) []byte { return binary.BigEndian.AppendUint32(generation(g), n) }

func at(r kv.Reader, g uint64, n uint32) (p Product, err error) {
	err = kv.GetCBOR(r, place(g, n), &p)
	return p, err
}

// find is the place of the first product that does not stand before id.
func find(r kv.Reader, h head, id string) (n uint32, err error) {
	i := sort.Search(int(h.Products), func(i int) bool {
		p, e := at(r, h.Generation, uint32(i))
		if e != nil {
			err = e
		}
		return before(p.ID, id) >= 0
	})
	return uint32(i), err
}

// Get finds a product by its id; fault.NotFound.
func (c *Catalog) Get(ctx context.Context, id string) (p Product, err error) {
	err = c.store.View(ctx, func(r kv.Reader) error {
		h, err := readHead(r)
		if err != nil {
			return err
		}
		n, err := find(r, h, id)
		if err != nil {
			return err
		}
		if n < h.Products {
			if p, err = at(r, h.Generation, n); err != nil {
				return err
			}
		}
		if n == h.Products || p.ID != id {
			return fmt.Errorf("product %.48q: %w", id, fault.NotFound)
		}
		return nil
	})
	if err != nil {
		return Product{}, fmt.Errorf("catalog: %w", err)
	}
	return p, nil
}

// List gives up to limit products after the one with the given id ("": from the
// first), in the order of their ids: shorter ones first, then bytewise.
func (c *Catalog) List(ctx context.Context, after string, limit int) (list []Product, err error) {
	limit = max(1, min(limit, MaxPage))
	err = c.store.View(ctx, func(r kv.Reader) error {
		h, err := readHead(r)
		if err != nil {
			return err
		}
		n, err := find(r, h, after)
		if err != nil {
			return err
		}
		list, err = page(r, h.Generation, n, limit+1)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("catalog: %w", err)
	}
	if len(list) > 0 && list[0].ID == after {
		list = list[1:]
	}
	return list[:min(len(list), limit)], nil
}

// page reads up to limit products from place n on.
func page(r kv.Reader, g uint64, n uint32, limit int) (list []Product, err error) {
	var from []byte
	if n > 0 {
		from = place(g, n-1)
	}
	err = r.Scan(generation(g), from, func(k, raw []byte) (bool, error) {
		var p Product
		if err := kv.DecodeCBOR(raw, &p); err != nil {
			return false, fmt.Errorf("record %x: %w", k, err)
		}
		list = append(list, p)
		return len(list) < limit, nil
	})
	return list, err
}

// Count is the number of products.
func (c *Catalog) Count(ctx context.Context) (int, error) {
	h, err := c.head(ctx)
	return int(h.Products), err
}

// Fill tells how full the catalogue is.
func (c *Catalog) Fill(ctx context.Context) (kv.Fill, error) {
	n, err := c.Count(ctx)
	return kv.Fill{Name: "catalog.products", Used: int64(n), Cap: int64(c.most)}, err
}

// A Diff counts what an import does to the products.
type Diff struct{ Added, Changed, Removed, Same int }

// Plan says what Import would do, and changes nothing.
func (c *Catalog) Plan(ctx context.Context, products []Product, replace bool) (Diff, error) {
	list, err := inOrder(products)
	if err != nil {
		return Diff{}, err
	}
	h, err := c.head(ctx)
	if err != nil {
		return Diff{}, fmt.Errorf("catalog: %w", err)
	}
	return c.merge(ctx, h, list, replace, func(*Product) error { return nil })
}

// Import adds and changes products; with replace it also removes those that are not
// among the given ones. It is done whole or not at all. A product that Check
// refuses, or two of one id, give fault.Malformed, too many fault.Full.
func (c *Catalog) Import(ctx context.Context, products []Product, replace bool) (Diff, error) {
	list, err := inOrder(products)
	if err != nil {
		return Diff{}, err
	}
	if err := c.take(ctx); err != nil {
		return Diff{}, err
	}
	defer c.leave()
	if c.closed() {
		return Diff{}, errClosed()
	}
	d, err := c.apply(ctx, list, replace)
	if err != nil {
		return Diff{}, fmt.Errorf("catalog: import: %w", err)
	}
	return d, nil
}

func (c *Catalog) apply(ctx context.Context, list []*Product, replace bool) (Diff, error) {
	old, err := c.head(ctx)
	if err != nil {
		return Diff{}, err
	}
	d, err := c.merge(ctx, old, list, replace, func(*Product) error { return nil })
	if err != nil || d.Added+d.Changed+d.Removed == 0 {
		return d, err
	}
	if err := c.sweep(ctx, old.Generation); err != nil { // what an import left that was cut off
		return Diff{}, err
	}
	w := writer{store: c.store, head: head{Generation: old.Generation + 1}}
	if _, err := c.merge(ctx, old, list, replace, func(p *Product) error { return w.put(ctx, p) }); err != nil {
		return Diff{}, err
	}
	if err := w.flush(ctx); err != nil {
		return Diff{}, err
	}
	err = c.store.Update(ctx, func(tx kv.Tx) error { return kv.PutCBOR(tx, []byte(headKey), w.head) })
	if err != nil {
		return Diff{}, err
	}
	// The import is done. If ctx ends now, the next search builds the index and the
	// next import sweeps.
	if !c.onDemand {
		c.rebuild(ctx, w.head)
	}
	_ = c.sweep(ctx, w.head.Generation)
	return d, nil
}

// inOrder checks the products and sorts them.
func inOrder(products []Product) ([]*Product, error) {
	if len(products) > MaxProducts {
		return nil, fmt.Errorf("catalog: %d products, at most %d: %w", len(products), MaxProducts, fault.Full)
	}
	list := make([]*Product, len(products))
	for i := range products {
		if err := products[i].Check(); err != nil {
			return nil, err
		}
		list[i] = &products[i]
	}
	slices.SortFunc(list, func(a, b *Product) int { return before(a.ID, b.ID) })
	for i := 1; i < len(list); i++ {
		if list[i].ID == list[i-1].ID {
			return nil, fmt.Errorf("catalog: product %.48q stands twice in one import: %w", list[i].ID, fault.Malformed)
		}
	}
	return list, nil
}

// merge walks through the kept products and the given ones together and calls emit
// with what shall be kept, in order.
func (c *Catalog) merge(ctx context.Context, h head, list []*Product, replace bool, emit func(*Product) error) (d Diff, err error) {
	old := stream{store: c.store, head: h}
	total := 0
	keep := func(p *Product) error {
		if total++; total > c.most {
			return fmt.Errorf("more than %d products: %w", c.most, fault.Full)
		}
		return emit(p)
	}
	for {
		was, err := old.peek(ctx)
		if err != nil {
			return Diff{}, err
		}
		switch {
		case was == nil && len(list) == 0:
			return d, nil
		case was == nil || len(list) > 0 && before(list[0].ID, was.ID) < 0:
			d.Added++
			err = keep(list[0])
			list = list[1:]
		case len(list) == 0 || before(was.ID, list[0].ID) < 0:
			if old.next(); replace {
				d.Removed++
			} else {
				d.Same++
				err = keep(was)
			}
		default:
			if *was == *list[0] {
				d.Same++
			} else {
				d.Changed++
			}
			err = keep(list[0])
			old.next()
			list = list[1:]
		}
		if err != nil {
			return Diff{}, err
		}
	}
}

// A stream reads a generation in pages.
type stream struct {
	store kv.Store
	head  head
	read  uint32
	page  []Product
}

// peek shows the next product, nil at the end.
func (s *stream) peek(ctx context.Context) (*Product, error) {
	if len(s.page) == 0 && s.read < s.head.Products {
		err := s.store.View(ctx, func(r kv.Reader) (err error) {
			s.page, err = page(r, s.head.Generation, s.read, 512)
			return err
		})
		if err != nil {
			return nil, err
		}
		if len(s.page) == 0 {
			return nil, fmt.Errorf("product %d of %d is missing: %w", s.read, s.head.Products, fault.Malformed)
		}
		s.read += uint32(len(s.page))
	}
	if len(s.page) == 0 {
		return nil, nil
	}
	return &s.page[0], nil
}

func (s *stream) next() { s.page = s.page[1:] }

// A writer writes a generation in transactions that fit.
type writer struct {
	store kv.Store
	head  head
	batch []*Product
	bytes int
}

func (w *writer) put(ctx context.Context, p *Product) error {
	size := len(p.ID) + len(p.Title) + len(p.Description) + 512 // with the record's frame, seal and key
	if w.bytes+size > kv.MaxTx {
		if err := w.flush(ctx); err != nil {
			return err
		}
	}
	w.batch, w.bytes = append(w.batch, p), w.bytes+size
	return nil
}

func (w *writer) flush(ctx context.Context) error {
	err := w.store.Update(ctx, func(tx kv.Tx) error {
		for i, p := range w.batch {
			if err := kv.PutCBOR(tx, place(w.head.Generation, w.head.Products+uint32(i)), p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	w.head.Products += uint32(len(w.batch))
	w.batch, w.bytes = nil, 0
	return nil
}

// sweep deletes every generation but one.
func (c *Catalog) sweep(ctx context.Context, keep uint64) error {
	for {
		n := 0
		err := c.store.Update(ctx, func(tx kv.Tx) error {
			n = 0
			own := generation(keep)
			drop := func(k, _ []byte) (bool, error) {
				if string(k[:len(own)]) == string(own) {
					return false, nil
				}
				n++
				return n < 2000, tx.Delete(k)
			}
			if err := tx.Scan([]byte(prefix), nil, drop); err != nil {
				return err
			}
			past := place(keep, ^uint32(0)) // the generations after the one that stays
			return tx.Scan([]byte(prefix), past, func(k, v []byte) (bool, error) {
				if n >= 2000 {
					return false, nil
				}
				return drop(k, v)
			})
		})
		if err != nil || n == 0 {
			return err
		}
	}
}
