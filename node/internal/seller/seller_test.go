package seller_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/harkmarket/hark/node/internal/seller"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/catalog"
	"github.com/harkmarket/hark/store/kv"
)

var quiet = slog.New(slog.DiscardHandler)

// desk takes the place of the market.
type desk struct {
	mu     sync.Mutex
	grants []protocol.GrantID
	offers [][]catalog.Product
	err    error
}

func (d *desk) offer(_ context.Context, id protocol.GrantID, p []catalog.Product) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.grants, d.offers = append(d.grants, id), append(d.offers, p)
	return d.err
}

// shelf takes the place of the catalogue: it answers "need N" with product N.
type shelf struct {
	mu    sync.Mutex
	asked []catalog.Query
	err   error
	block chan struct{}
}

func (s *shelf) Search(ctx context.Context, q catalog.Query) ([]catalog.Match, error) {
	if s.block != nil {
		select {
		case <-s.block:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, q)
	id, ok := strings.CutPrefix(q.Text, "need ")
	if !ok || s.err != nil {
		return nil, s.err
	}
	return []catalog.Match{{Product: catalog.Product{ID: id, Title: strings.Repeat("wide ", 100)}, Score: 1}}, nil
}

func need(n int) (protocol.GrantID, protocol.Demand) {
	return protocol.GrantID{byte(n), byte(n >> 8)}, protocol.Demand{Name: fmt.Sprint("need ", n)}
}

// run lets n workers answer all that waits.
func run(s *seller.Seller, n int) {
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	for range n {
		wait.Go(func() { s.Run(ctx) })
	}
	synctest.Wait()
	cancel()
	wait.Wait()
}

func TestEveryNeedIsAnsweredOnce(t *testing.T) {
	for _, workers := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			market, products := &desk{}, &shelf{}
			s := seller.New(seller.Config{Catalog: products, Offer: market.offer, Log: quiet})
			for i := range 50 {
				id, d := need(i)
				s.Match(id, d, "", 5)
				s.Match(id, d, "", 5) // the market may ask twice
			}
			if st := s.Stats(); st.Waiting != 50 || s.Fill() != (kv.Fill{Name: "seller.queue", Used: 50, Cap: 1024}) {
				t.Fatalf("%+v, %+v", st, s.Fill())
			}
			run(s, workers)
			if st := s.Stats(); st != (seller.Stats{Answered: 50, Products: 50}) {
				t.Fatalf("%+v", st)
			}
			for i, p := range market.offers {
				if p[0].ID != fmt.Sprint(market.grants[i][0]) {
					t.Errorf("grant %d got product %s", market.grants[i][0], p[0].ID)
				}
				if len(p[0].Title) > protocol.MaxName {
					t.Errorf("a title of %d bytes for an offer", len(p[0].Title))
				}
			}
			if workers == 1 && !slices.IsSortedFunc(market.grants, func(a, b protocol.GrantID) int { return bytes.Compare(a[:], b[:]) }) {
				t.Error("not in the order of asking")
			}
		})
	}
}

func TestTheNeedBecomesTheQuery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		products := &shelf{}
		s := seller.New(seller.Config{Catalog: products, Offer: (&desk{}).offer, Log: quiet})
		max := protocol.Money{Minor: 100, Currency: "ZAR"}
		for i, c := range []struct {
			d     protocol.Demand
			limit int
		}{
			{protocol.Demand{Name: "couch", Description: "grey", MaxPrice: max, Quantity: 3, Condition: protocol.Used, Region: "ZA-GP"}, 4},
			{protocol.Demand{Name: "couch", Currency: "USD"}, 0},
			{protocol.Demand{Name: "couch"}, 1000},
		} {
			s.Match(protocol.GrantID{byte(i)}, c.d, "home.furniture", c.limit)
		}
		run(s, 1)
		want := []catalog.Query{
			{Text: "couch", Detail: "grey", Limit: 4, MaxPrice: max, Currency: "ZAR", Quantity: 3, Condition: protocol.Used, Region: "ZA-GP", Category: "home.furniture"},
			{Text: "couch", Limit: 1, Currency: "USD", Quantity: 1, Category: "home.furniture"},
			{Text: "couch", Limit: 20, Quantity: 1, Category: "home.furniture"},
		}
		if !slices.Equal(products.asked, want) {
			t.Errorf("asked %+v\nwant %+v", products.asked, want)
		}
	})
}

func TestANewerNeedTakesTheOldOnesPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		market := &desk{}
		s := seller.New(seller.Config{Catalog: &shelf{}, Offer: market.offer, Log: quiet})
		id, d := need(1)
		s.Match(id, d, "", 5)
		s.Match(id, protocol.Demand{Name: "need 2"}, "", 5)
		run(s, 1)
		if len(market.offers) != 1 || market.offers[0][0].ID != "2" {
			t.Errorf("offers %+v", market.offers)
		}
	})
}

func TestNoProductIsAnAnswerToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		market := &desk{}
		s := seller.New(seller.Config{Catalog: &shelf{}, Offer: market.offer, Log: quiet})
		s.Match(protocol.GrantID{1}, protocol.Demand{Name: "what nobody sells"}, "", 5)
		run(s, 1)
		if len(market.grants) != 1 || len(market.offers[0]) != 0 {
			t.Errorf("%d offers", len(market.grants))
		}
		if st := s.Stats(); st != (seller.Stats{Answered: 1, Empty: 1}) {
			t.Errorf("%+v", st)
		}
	})
}

func TestAFullQueueDropsAndCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		market := &desk{}
		s := seller.New(seller.Config{Catalog: &shelf{}, Offer: market.offer, Log: slog.New(slog.NewTextHandler(&log, nil)), Queue: 2})
		for i := range 5 {
			id, d := need(i)
			s.Match(id, d, "", 5)
		}
		if st := s.Stats(); st != (seller.Stats{Waiting: 2, Dropped: 3}) || s.Fill().Used != s.Fill().Cap {
			t.Errorf("%+v, %+v", st, s.Fill())
		}
		if strings.Contains(log.String(), "need 4") {
			t.Error("the words of a need are in the log")
		}
		run(s, 1)
		id, d := need(4)
		s.Match(id, d, "", 5) // asked again, it is taken
		run(s, 1)
		if st := s.Stats(); st != (seller.Stats{Answered: 3, Products: 3, Dropped: 3}) {
			t.Errorf("%+v", st)
		}
	})
}

func TestAFailureEndsOneNeedOnly(t *testing.T) {
	for name, c := range map[string]struct {
		search, offer error
		offers        int
	}{
		"search":  {search: errors.New("disk on fire")},
		"offer":   {offer: errors.New("disk on fire"), offers: 2},
		"revoked": {offer: fmt.Errorf("grant is revoked: %w", fault.Conflict), offers: 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				market := &desk{err: c.offer}
				s := seller.New(seller.Config{Catalog: &shelf{err: c.search}, Offer: market.offer, Log: quiet})
				for i := range 2 {
					id, d := need(i)
					s.Match(id, d, "", 5)
				}
				run(s, 1)
				if st := s.Stats(); st != (seller.Stats{Failed: 2}) || len(market.grants) != c.offers {
					t.Errorf("%+v, %d offers", st, len(market.grants))
				}
			})
		})
	}
}

func TestStoppingIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		market := &desk{}
		s := seller.New(seller.Config{Catalog: &shelf{block: make(chan struct{})}, Offer: market.offer, Log: quiet})
		id, d := need(1)
		s.Match(id, d, "", 5)
		run(s, 1) // stopped in the middle of the search
		if st := s.Stats(); st != (seller.Stats{}) || len(market.grants) != 0 {
			t.Errorf("%+v, %d offers", st, len(market.grants))
		}
	})
}

func TestWithARealCatalogue(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	c := catalog.Open(kv.Memory())
	defer c.Close()
	_, err := c.Import(ctx, []catalog.Product{
		{ID: "1", Title: "Grey couch", Price: protocol.Money{Minor: 500000, Currency: "ZAR"}},
		{ID: "2", Title: "Grey couch, leather", Price: protocol.Money{Minor: 900000, Currency: "ZAR"}},
		{ID: "3", Title: "Grey couch on request"},
	}, true)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	s := seller.New(seller.Config{Catalog: c, Log: quiet, Offer: func(_ context.Context, _ protocol.GrantID, products []catalog.Product) error {
		for _, p := range products {
			got = append(got, p.ID)
		}
		cancel()
		return nil
	}})
	s.Match(protocol.GrantID{1}, protocol.Demand{Name: "a grey couch", MaxPrice: protocol.Money{Minor: 600000, Currency: "ZAR"}}, "", 5)
	s.Run(ctx)
	if !slices.Equal(got, []string{"1", "3"}) {
		t.Errorf("offered %q", got)
	}
}
