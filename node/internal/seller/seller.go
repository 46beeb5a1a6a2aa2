// Package seller answers granted needs from the vendor's catalogue.
//
// The flow of one need:
//
//  1. The market has opened a need under a grant and calls [Seller.Match], which
//     queues it and returns at once.
//  2. [Seller.Run], a loop that the node's crew hires once or twice, takes the need
//     that waited longest.
//  3. The catalogue is searched for the need's own words, within its budget, region
//     and condition.
//  4. The products, best first and cut to the size of an offer, go to the market's
//     own Offer, none of them too: the market then acknowledges the disclosure.
//
// Nothing here is durable, and nothing needs to be: a need that was dropped from a
// full queue, or that failed, stays unanswered in the market, which asks again when
// the node starts next.
package seller

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/catalog"
	"github.com/harkmarket/hark/store/kv"
)

// Searcher finds products for a need; catalog.Catalog does.
type Searcher interface {
	Search(ctx context.Context, q catalog.Query) ([]catalog.Match, error)
}

// Config is all that a Seller is handed.
type Config struct {
	Catalog Searcher
	// Offer proposes products under a grant, best first; perhaps none.
	Offer func(ctx context.Context, grant protocol.GrantID, products []catalog.Product) error
	Log   *slog.Logger
	Queue int // needs that may wait; 1024 where 0
}

// maxOffers bounds what one need gets, whatever Match is told.
const maxOffers = 20

// A Seller is a queue of needs to be answered. Make it with New.
type Seller struct {
	cfg    Config
	orders chan protocol.GrantID

	mu     sync.Mutex
	wanted map[protocol.GrantID]order // what waits, or is to be answered once more
	stats  Stats
}

type order struct {
	demand   protocol.Demand
	category protocol.Category
	limit    int
}

// Stats count what a Seller has done since its start.
type Stats struct {
	Waiting  int // needs in the queue
	Answered int // needs for which Offer was called and went well
	Products int // that were offered for them
	Empty    int // of these needs, the ones for which there was no product
	Dropped  int // needs for which the queue was full
	Failed   int // needs for which the search or the offer failed
}

// New makes a Seller that only queues until Run is called.
func New(cfg Config) *Seller {
	cfg.Queue = cmp.Or(max(cfg.Queue, 0), 1024)
	return &Seller{cfg: cfg, orders: make(chan protocol.GrantID, cfg.Queue), wanted: map[protocol.GrantID]order{}}
}

// Match queues a need. It never waits: a full queue drops it and counts that. A
// grant that waits already keeps its place and gets the newer need.
func (s *Seller) Match(id protocol.GrantID, d protocol.Demand, c protocol.Category, limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, waits := s.wanted[id]
	if !waits {
		select {
		case s.orders <- id:
		default:
			s.stats.Dropped++
			s.cfg.Log.Warn("a need is not answered: too many wait", "grant", id.Short(), "waiting", len(s.orders))
			return
		}
	}
	s.wanted[id] = order{d, c, max(1, min(limit, maxOffers))}
}

// Run answers needs until ctx ends. Several may run at once.
func (s *Seller) Run(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case id := <-s.orders:
			s.answer(ctx, id)
		}
	}
}

func (s *Seller) answer(ctx context.Context, id protocol.GrantID) {
	s.mu.Lock()
	o := s.wanted[id]
	delete(s.wanted, id)
	s.mu.Unlock()

	products, err := s.products(ctx, o)
	if err == nil {
		err = s.cfg.Offer(ctx, id, products)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.stats.Answered++
		s.stats.Products += len(products)
		if len(products) == 0 {
			s.stats.Empty++
		}
	case ctx.Err() != nil: // the node stops; the next start asks again
	case errors.Is(err, fault.Conflict):
		s.stats.Failed++
		s.cfg.Log.Info("a need came too late to be answered", "grant", id.Short(), "err", err)
	default:
		s.stats.Failed++
		s.cfg.Log.Warn("a need is not answered", "grant", id.Short(), "err", err)
	}
}

func (s *Seller) products(ctx context.Context, o order) ([]catalog.Product, error) {
	d := o.demand
	found, err := s.cfg.Catalog.Search(ctx, catalog.Query{
		Text: d.Name, Detail: d.Description, Limit: o.limit, Category: o.category,
		MaxPrice: d.MaxPrice, Quantity: d.Count(), Currency: cmp.Or(d.Currency, d.MaxPrice.Currency),
		Region: d.Region, Condition: d.Condition,
	})
	if err != nil {
		return nil, err
	}
	var products []catalog.Product
	for _, m := range found {
		products = append(products, m.Short())
	}
	return products, nil
}

// Stats tells what was done.
func (s *Seller) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Waiting = len(s.orders)
	return st
}

// Fill tells how full the queue is.
func (s *Seller) Fill() kv.Fill {
	return kv.Fill{Name: "seller.queue", Used: int64(len(s.orders)), Cap: int64(cap(s.orders))}
}
