package catalog

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/analysis/analyzer/custom"
	"github.com/blevesearch/bleve/v2/analysis/tokenizer/whitespace"
	"github.com/blevesearch/bleve/v2/index/scorch"
	"github.com/blevesearch/bleve/v2/mapping"
	"github.com/blevesearch/bleve/v2/search/query"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
)

// The fields of the index. Nothing is stored in it but what searching takes.
const (
	fieldTerms     = "t"
	fieldPrice     = "p" // in minor units: below 2^53, so exact as a float
	fieldCurrency  = "m"
	fieldCondition = "c"
	fieldRegion    = "r"
	fieldCountry   = "n"
)

// none stands for an absent currency or region.
const none = "-"

// An index finds products of one generation. Its documents are named by places.
type index struct {
	bleve bleve.Index
	head  head
	size  float64 // of the average document, in terms
}

func (x *index) close() error {
	if x == nil {
		return nil
	}
	return x.bleve.Close()
}

func newMapping() (mapping.IndexMapping, error) {
	m := bleve.NewIndexMapping()
	m.ScoringModel = "bm25"
	// The terms come ready, with blanks between them.
	if err := m.AddCustomAnalyzer("ready", map[string]any{"type": custom.Name, "tokenizer": whitespace.Name}); err != nil {
		return nil, err
	}
	doc := bleve.NewDocumentStaticMapping()
	add := func(name string, f *mapping.FieldMapping) {
		f.Store, f.IncludeTermVectors, f.IncludeInAll, f.DocValues = false, false, false, false
		doc.AddFieldMappingsAt(name, f)
	}
	terms := bleve.NewTextFieldMapping()
	terms.Analyzer = "ready"
	add(fieldTerms, terms)
	add(fieldPrice, bleve.NewNumericFieldMapping())
	for _, name := range []string{fieldCurrency, fieldCondition, fieldRegion, fieldCountry} {
		add(name, bleve.NewKeywordFieldMapping())
	}
	m.DefaultMapping = doc
	return m, nil
}

const buildBatch = 1000

// build makes the index of a generation, in memory.
func build(ctx context.Context, s kv.Store, h head) (x *index, err error) {
	m, err := newMapping()
	if err != nil {
		return nil, fmt.Errorf("catalog: index: %w", err)
	}
	b, err := bleve.NewUsing("", m, scorch.Name, scorch.Name, nil)
	if err != nil {
		return nil, fmt.Errorf("catalog: index: %w", err)
	}
	x = &index{bleve: b, head: h}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("catalog: index: %w", err), b.Close())
			x = nil
		}
	}()
	products := stream{store: s, head: h}
	batch := b.NewBatch()
	total := 0
	for n := range h.Products {
		p, err := products.peek(ctx)
		if err != nil {
			return x, err
		}
		products.next()
		d := documentOf(p)
		total += d.size
		if err := batch.Index(strconv.Itoa(int(n)), fields(p, d)); err != nil {
			return x, err
		}
		if batch.Size() == buildBatch || n == h.Products-1 {
			if err := b.Batch(batch); err != nil {
				return x, err
			}
			batch.Reset()
		}
	}
	x.size = float64(total) / max(1, float64(h.Products))
	return x, nil
}

func fields(p *Product, d document) map[string]any {
	var terms strings.Builder
	for w, n := range d.terms {
		for range n {
			terms.WriteString(w)
			terms.WriteByte(' ')
		}
	}
	f := map[string]any{
		fieldTerms: terms.String(), fieldCondition: strconv.Itoa(int(p.Condition)),
		fieldCurrency: none, fieldRegion: none, fieldCountry: none,
	}
	if p.Price.Minor > 0 {
		f[fieldCurrency], f[fieldPrice] = string(p.Price.Currency), float64(p.Price.Minor)
	}
	if p.Region != "" {
		f[fieldRegion], f[fieldCountry] = string(p.Region), p.Region.Country()
	}
	return f
}

// candidates names up to n products that have a term of the need and pass its
// filters, best first by the index's own BM25.
func (x *index) candidates(ctx context.Context, need need, q *Query, n int) ([]uint32, error) {
	var terms []query.Query
	for _, t := range need.terms {
		tq := is(fieldTerms, t.word)
		tq.SetBoost(t.weight)
		terms = append(terms, tq)
	}
	whole := bleve.NewBooleanQuery()
	whole.AddMust(bleve.NewDisjunctionQuery(terms...))
	if f := filters(q); len(f) > 0 {
		whole.AddFilter(bleve.NewConjunctionQuery(f...))
	}
	req := bleve.NewSearchRequestOptions(whole, n, 0, false)
	req.SortBy([]string{"-_score", "_id"})
	res, err := x.bleve.SearchInContext(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("catalog: search: %w", err)
	}
	found := make([]uint32, 0, len(res.Hits))
	for _, hit := range res.Hits {
		place, err := strconv.ParseUint(hit.ID, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("catalog: search: %w", err)
		}
		found = append(found, uint32(place))
	}
	return found, nil
}

func is(field, value string) *query.TermQuery {
	q := bleve.NewTermQuery(value)
	q.SetField(field)
	return q
}

func either(list ...query.Query) query.Query { return bleve.NewDisjunctionQuery(list...) }

// filters are the constraints of a need, as package protocol/terms judges them:
// what a product leaves open is no miss.
func filters(q *Query) (all []query.Query) {
	noPrice := is(fieldCurrency, none)
	if q.Currency != "" {
		all = append(all, either(noPrice, is(fieldCurrency, string(q.Currency))))
	}
	if q.MaxPrice.Minor > 0 {
		most, yes := float64(q.MaxPrice.Minor/int64(max(q.Quantity, 1))), true
		r := bleve.NewNumericRangeInclusiveQuery(nil, &most, &yes, &yes)
		r.SetField(fieldPrice)
		all = append(all, either(noPrice, bleve.NewConjunctionQuery(r, is(fieldCurrency, string(q.MaxPrice.Currency)))))
	}
	if q.Condition != protocol.AnyCondition {
		all = append(all, either(is(fieldCondition, "0"), is(fieldCondition, strconv.Itoa(int(q.Condition)))))
	}
	if country := q.Region.Country(); q.Region != "" {
		where := []query.Query{is(fieldRegion, none), is(fieldRegion, string(q.Region)), is(fieldRegion, country)}
		if string(q.Region) == country {
			where = append(where, is(fieldCountry, country))
		}
		all = append(all, either(where...))
	}
	return all
}

// having counts the products that have each term of the need.
func (x *index) having(ctx context.Context, need need) (counts []float64, err error) {
	inner, err := x.bleve.Advanced()
	if err != nil {
		return nil, fmt.Errorf("catalog: search: %w", err)
	}
	r, err := inner.Reader()
	if err != nil {
		return nil, fmt.Errorf("catalog: search: %w", err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for _, t := range need.terms {
		one, err := r.TermFieldReader(ctx, []byte(t.word), fieldTerms, false, false, false)
		if err != nil {
			return nil, fmt.Errorf("catalog: search: %w", err)
		}
		counts = append(counts, float64(one.Count()))
		if err := one.Close(); err != nil {
			return nil, fmt.Errorf("catalog: search: %w", err)
		}
	}
	return counts, nil
}

func (c *Catalog) closed() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.gone
}

func errClosed() error { return fmt.Errorf("catalog: closed: %w", fault.Offline) }

// rebuild puts the index of h in place of the old one; where it cannot be built
// there is none, and the next search tries again. The caller has the turn.
func (c *Catalog) rebuild(ctx context.Context, h head) {
	x, err := build(ctx, c.store, h)
	if err != nil {
		x = nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.index
	if c.index = x; c.gone {
		c.index = nil
		_ = x.close() // in memory: nothing to lose
	}
	_ = old.close()
}

// ready locks the index for reading, and builds it first where there is none. The
// caller unlocks c.mu.
func (c *Catalog) ready(ctx context.Context) (*index, error) {
	c.mu.RLock()
	switch {
	case c.gone:
		c.mu.RUnlock()
		return nil, errClosed()
	case c.index != nil:
		return c.index, nil
	}
	c.mu.RUnlock()
	if err := c.make(ctx); err != nil {
		return nil, err
	}
	c.mu.RLock()
	if c.index == nil {
		c.mu.RUnlock()
		return nil, errClosed()
	}
	return c.index, nil
}

// make builds the index where there is none.
func (c *Catalog) make(ctx context.Context) error {
	if err := c.take(ctx); err != nil {
		return err
	}
	defer c.leave()
	c.mu.RLock()
	done := c.index != nil || c.gone
	c.mu.RUnlock()
	if done {
		return nil
	}
	h, err := c.head(ctx)
	if err != nil {
		return fmt.Errorf("catalog: %w", err)
	}
	x, err := build(ctx, c.store, h)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return errors.Join(errClosed(), x.close())
	}
	c.index = x
	return nil
}
