package desks

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/market"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/board"
	"github.com/harkmarket/hark/store/catalog"
	"github.com/harkmarket/hark/store/held"
	"github.com/harkmarket/hark/store/kv"
	records "github.com/harkmarket/hark/store/market"
)

// Board implements desk.Board.
type Board struct{ *Office }

// List implements desk.Board.
func (d Board) List(ctx context.Context, q desk.Query) (page desk.Page[desk.Notice], err error) {
	from, err := after(q)
	if err != nil {
		return page, err
	}
	var cursor protocol.ContextID
	copy(cursor[:], from)
	f := board.Filter{}
	if q.Text != "" {
		f.Sectors = strings.Fields(q.Text)
	}
	for _, s := range f.Sectors {
		if known := protocol.Categories().Sectors(); !contains(known, s) {
			return page, noSuch("sector", s, known, fault.Malformed)
		}
	}
	if !q.All {
		f.Status = protocol.Open
	}
	found, more, err := d.Board.Find(ctx, f, cursor, limit(q))
	if err != nil {
		return page, err
	}
	page.Items = []desk.Notice{}
	err = d.view(ctx, func(r kv.Reader) error {
		for _, e := range found {
			page.Items = append(page.Items, notice(r, e))
		}
		return nil
	})
	if err == nil && more && len(found) > 0 {
		page.Next = page.Items[len(found)-1].Context
	}
	return page, err
}

func notice(r kv.Reader, e board.Entry) desk.Notice {
	a := e.Heard.A()
	status := "open"
	if a.Status == protocol.Withdrawn {
		status = "withdrawn"
	}
	_, err := records.Asked(r, a.ContextID())
	return desk.Notice{
		ID: e.Heard.ID().String(), Context: hexOf(a.ContextID()), Kind: a.Reason.String(), Status: status, Category: string(a.Category),
		Region: string(a.Region), Seq: a.Seq, Fields: prices(a.Fields), Created: moment(a.Created), Expires: moment(a.Expires),
		HeardMS: e.HeardMS, Bytes: len(e.Heard.Raw()), Shard: int(e.Shard), Asked: err == nil,
	}
}

// Get implements desk.Board; the id is a context's, or a unique prefix of it.
func (d Board) Get(ctx context.Context, id string) (n desk.Notice, s desk.Stranger, err error) {
	id = strings.ToLower(id)
	var hit *board.Entry
	var cursor protocol.ContextID
	var ids []string
	for more := true; more; {
		var found []board.Entry
		found, more, err = d.Board.Find(ctx, board.Filter{}, cursor, maxPage)
		if err != nil {
			return n, s, err
		}
		for i := range found {
			c := found[i].Heard.A().ContextID()
			if cursor = c; !strings.HasPrefix(hexOf(c), id) {
				ids = closer(ids, hexOf(c), id)
				continue
			}
			if hit != nil {
				return n, s, fmt.Errorf("%s fits several announcements: %w", id, fault.Conflict)
			}
			hit = &found[i]
		}
		more = more && len(found) > 0
	}
	if hit == nil {
		return n, s, unknown("announcement", id, ids)
	}
	if s, err = Stranger(hit.Heard.Raw()); err != nil {
		return n, s, err
	}
	err = d.view(ctx, func(r kv.Reader) error { n = notice(r, *hit); return nil })
	return n, s, err
}

// Rules implements desk.Rules.
type Rules struct{ *Office }

// Get implements desk.Rules.
func (d Rules) Get(ctx context.Context) (desk.Follow, error) {
	f, err := d.Market.Rules(ctx)
	return showFollow(f), err
}

func showFollow(f market.Follow) desk.Follow {
	v := desk.Follow{
		Sectors: append([]string{}, f.Sectors...), Regions: []string{}, Ask: f.Ask, Answer: f.Answer, Offers: f.Offers,
		Confirm: f.Confirm, Fulfil: f.Fulfil, Effort: int(f.Effort), Protection: f.Protection, Automated: f.Automated,
	}
	if m := desk.ShowMoney(f.Pay); m != nil {
		v.Pay = *m
	}
	if m := desk.ShowMoney(f.Owe); m != nil {
		v.Owe = *m
	}
	for _, r := range f.Regions {
		v.Regions = append(v.Regions, string(r))
	}
	for _, a := range f.AskAlso {
		v.AskAlso = append(v.AskAlso, string(a))
	}
	return v
}

// Set implements desk.Rules.
func (d Rules) Set(ctx context.Context, v desk.Follow) (desk.Follow, error) {
	f := market.Follow{Sectors: v.Sectors, Ask: v.Ask, Answer: v.Answer, Offers: v.Offers, Confirm: v.Confirm, Fulfil: v.Fulfil}
	if v.Effort < 0 || v.Effort > market.MaxEffort {
		return v, fmt.Errorf("effort %d: a stamp has 0 to %d bits, and each one more doubles the work (20: about a second of one core, at each keeper): %w", v.Effort, market.MaxEffort, fault.Malformed)
	}
	if v.Offers < 0 || v.Offers > market.MaxOffers {
		return v, fmt.Errorf("%d offers for a grant, want 1 to %d: %w", v.Offers, market.MaxOffers, fault.Malformed)
	}
	if len(v.Protection) > protocol.MaxText || len(v.Automated) > protocol.MaxText {
		return v, fmt.Errorf("words of more than %d bytes: %w", protocol.MaxText, fault.Malformed)
	}
	f.Effort, f.Protection, f.Automated = uint8(v.Effort), v.Protection, v.Automated
	known := protocol.Categories().Sectors()
	for _, s := range v.Sectors {
		if !contains(known, s) {
			return v, noSuch("sector", s, known, fault.Malformed)
		}
	}
	for _, r := range v.Regions {
		if !protocol.Region(r).Valid() {
			return v, fmt.Errorf("region %q is not in ISO 3166%s: %w", r, protocol.NearBy(protocol.NearRegions(r, 3)), fault.Malformed)
		}
		f.Regions = append(f.Regions, protocol.Region(r))
	}
	for _, a := range v.AskAlso {
		if !protocol.FieldName(a).WellFormed() {
			return v, fmt.Errorf("field %q: %w", a, fault.Malformed)
		}
		f.AskAlso = append(f.AskAlso, protocol.FieldName(a))
	}
	if err := errors.Join(readMoney(&f.Pay, v.Pay), readMoney(&f.Owe, v.Owe)); err != nil {
		return v, err
	}
	if f.Owe.Minor > 0 && f.Owe.Currency != f.Pay.Currency {
		return v, fmt.Errorf("what may be owed in all is in %s, and what is paid for one grant in %s: %w", f.Owe.Currency, f.Pay.Currency, fault.Malformed)
	}
	if err := d.Follow(f); err != nil {
		return v, err
	}
	if err := d.Market.SetRules(ctx, f); err != nil {
		return v, err
	}
	return d.Get(ctx)
}

// Catalog implements desk.Catalog.
type Catalog struct{ *Office }

// Import implements desk.Catalog.
func (d Catalog) Import(ctx context.Context, file io.Reader, spec desk.ImportSpec) (v desk.ImportReport, err error) {
	if d.Office.Catalog == nil {
		return v, ErrLocked()
	}
	cur := protocol.Currency(spec.Currency)
	if cur == "" {
		cur = "ZAR"
	}
	if !cur.Valid() {
		return v, fmt.Errorf("currency %q is not in ISO 4217: %w", spec.Currency, fault.Malformed)
	}
	f, err := catalog.ReadCSV(file, cur)
	if err != nil {
		return v, err
	}
	v.Rows, v.Columns = f.Rows, f.Columns
	for _, e := range f.Errors {
		v.Errors = append(v.Errors, desk.RowError{Row: e.Row, What: e.What})
	}
	do := d.Office.Catalog.Import
	if spec.DryRun {
		do = d.Office.Catalog.Plan
	}
	diff, err := do(ctx, f.Products, spec.Replace)
	v.Added, v.Changed, v.Removed, v.Same, v.Applied = diff.Added, diff.Changed, diff.Removed, diff.Same, err == nil && !spec.DryRun
	return v, err
}

// List implements desk.Catalog; the cursor is a product id.
func (d Catalog) List(ctx context.Context, q desk.Query) (page desk.Page[desk.Product], err error) {
	if d.Office.Catalog == nil {
		return page, ErrLocked()
	}
	list, err := d.Office.Catalog.List(ctx, q.After, limit(q))
	page.Items = []desk.Product{}
	for _, p := range list {
		page.Items = append(page.Items, product(p))
	}
	if len(list) == limit(q) {
		page.Next = list[len(list)-1].ID
	}
	return page, err
}

func product(p catalog.Product) desk.Product {
	return desk.Product{
		ID: p.ID, Title: p.Title, Description: p.Description, Category: string(p.Category), Price: desk.ShowMoney(p.Price),
		Region: string(p.Region), Condition: condition(p.Condition),
	}
}

// Search implements desk.Catalog.
func (d Catalog) Search(ctx context.Context, text string, n int) ([]desk.Product, error) {
	if d.Office.Catalog == nil {
		return nil, ErrLocked()
	}
	if n <= 0 || n > 50 {
		n = 10
	}
	found, err := d.Office.Catalog.Search(ctx, catalog.Query{Text: text, Limit: n})
	out := []desk.Product{}
	for _, m := range found {
		out = append(out, product(m.Product))
	}
	return out, err
}

// Passports implements desk.Passports.
type Passports struct{ *Office }

// Own implements desk.Passports.
func (d Passports) Own(ctx context.Context) (desk.Passport, error) {
	v, err := d.Market.Vendor(ctx)
	if err != nil {
		return desk.Passport{}, err
	}
	return d.open(v.Chain)
}

// open checks a chain and makes its view.
func (d Passports) open(raws [][]byte) (desk.Passport, error) {
	net, _, err := wire.NetworkID(d.Genesis)
	if err != nil {
		return desk.Passport{}, err
	}
	c, err := wire.OpenChain(raws, net)
	if err != nil {
		return desk.Passport{}, err
	}
	return showPassport(c), nil
}

func showPassport(c wire.Chain) desk.Passport {
	p := c.Latest()
	v := desk.Passport{
		Vendor: c.Vendor().String(), Seq: p.Seq, Hash: c.LatestHash().String(), Name: p.Name, Registration: p.Registration,
		Country: string(p.Country), Contact: p.Contact, Officer: p.Officer, Authority: p.Authority, Operational: []desk.OpKey{}, Chain: []string{},
	}
	for _, o := range p.Operational {
		k := desk.OpKey{Key: o.Key.String(), From: moment(o.From), Until: moment(o.Until)}
		for role, name := range map[protocol.Role]string{protocol.RoleRequests: "sign requests", protocol.RoleNodes: "run nodes", protocol.RoleInbox: "open the inbox"} {
			if o.Roles&role != 0 {
				k.Roles = append(k.Roles, name)
			}
		}
		v.Operational = append(v.Operational, k)
	}
	for _, raw := range c.Raws() {
		v.Chain = append(v.Chain, hex.EncodeToString(raw))
	}
	for _, u := range p.Uses {
		use := desk.IntendedUse{Purpose: string(u.Purpose), Retention: u.Retention}
		for _, f := range u.Fields {
			use.Fields = append(use.Fields, string(f))
		}
		v.Uses = append(v.Uses, use)
	}
	return v
}

// Issue implements desk.Passports. A later passport keeps what the spec leaves empty.
func (d Passports) Issue(ctx context.Context, s desk.PassportSpec) (desk.Passport, error) {
	was, err := d.Own(ctx)
	if err != nil && !errors.Is(err, fault.NotFound) {
		return was, err
	}
	or := func(a, b string) string {
		if a == "" {
			return b
		}
		return a
	}
	p := market.Profile{
		Name: or(s.Name, was.Name), Registration: or(s.Registration, was.Registration), Contact: or(s.Contact, was.Contact),
		Officer: or(s.Officer, was.Officer), Authority: or(s.Authority, was.Authority), Country: protocol.Region(or(s.Country, was.Country)),
	}
	if p.Uses, err = uses(s.Uses, was.Uses); err != nil {
		return was, err
	}
	if p.Name == "" {
		return was, fmt.Errorf("a passport needs a trade name: %w", fault.Malformed)
	}
	if p.Country != "" && !p.Country.Valid() {
		return was, fmt.Errorf("country %q is not in ISO 3166: %w", p.Country, fault.Malformed)
	}
	if err := d.Market.IssuePassport(ctx, p); err != nil {
		return was, err
	}
	v, err := d.Market.Vendor(ctx)
	if err != nil {
		return was, err
	}
	if err := d.keep(ctx, v.Chain); err != nil {
		return was, err
	}
	return d.Own(ctx)
}

// uses reads what a passport registers; what was registered before stays where nothing
// is said.
func uses(list, was []desk.IntendedUse) (out []protocol.IntendedUse, err error) {
	if len(list) == 0 {
		list = was
	}
	if len(list) > protocol.MaxList {
		return nil, fmt.Errorf("%d uses, at most %d: %w", len(list), protocol.MaxList, fault.Malformed)
	}
	for _, u := range list {
		use := protocol.IntendedUse{Purpose: protocol.Purpose(u.Purpose), Retention: u.Retention}
		if !use.Purpose.Known() {
			return nil, fmt.Errorf("purpose %.40q is not known: %w", u.Purpose, fault.Malformed)
		}
		for _, f := range u.Fields {
			name := protocol.FieldName(f)
			if !name.WellFormed() || slices.Contains(use.Fields, name) {
				return nil, fmt.Errorf("field %.48q is no field name, or there twice: %w", f, fault.Malformed)
			}
			use.Fields = append(use.Fields, name)
		}
		if len(use.Fields) > protocol.MaxFields {
			return nil, fmt.Errorf("%d fields for one use, at most %d; register another use: %w", len(use.Fields), protocol.MaxFields, fault.Malformed)
		}
		out = append(out, use)
	}
	return out, nil
}

// keep puts a chain on this node's board.
func (d Passports) keep(ctx context.Context, raws [][]byte) error {
	net, _, err := wire.NetworkID(d.Genesis)
	if err != nil {
		return err
	}
	c, err := wire.OpenChain(raws, net)
	if err != nil {
		return err
	}
	_, err = d.Office.Board.PutPassports(ctx, c)
	return err
}

// knownVendor reads the id of a vendor: the whole of it, or the beginning of one whose
// passport is here.
func (o *Office) knownVendor(ctx context.Context, text string) (v protocol.VendorID, err error) {
	text = strings.ToLower(strings.TrimSpace(text))
	if text == "" {
		return v, fmt.Errorf("name a vendor: %w", fault.Malformed)
	}
	if v.UnmarshalText([]byte(text)) == nil {
		return v, nil
	}
	var fits, ids []string
	var cursor protocol.VendorID
	for more := true; more; {
		var found []protocol.VendorID
		if found, more, err = o.Board.PassportIDs(ctx, cursor, maxPage); err != nil {
			return v, err
		}
		for _, id := range found {
			if cursor = id; strings.HasPrefix(id.String(), text) {
				fits = append(fits, id.String())
			} else {
				ids = closer(ids, id.String(), text)
			}
		}
		more = more && len(found) > 0
	}
	switch len(fits) {
	case 0:
		return v, unknown("vendor", text, ids)
	case 1:
		return v, v.UnmarshalText([]byte(fits[0]))
	}
	return v, fmt.Errorf("%s fits several vendors: %s: %w", text, strings.Join(fits[:min(len(fits), maxNear)], ", "), fault.Conflict)
}

// Get implements desk.Passports. The id may be the beginning of one that is known here.
func (d Passports) Get(ctx context.Context, vendor string) (desk.Passport, error) {
	v, err := d.knownVendor(ctx, vendor)
	if err != nil {
		return desk.Passport{}, err
	}
	if err := d.FetchPassport(ctx, v); err != nil {
		return desk.Passport{}, err
	}
	c, err := d.Office.Board.Passports(ctx, v)
	if err != nil {
		return desk.Passport{}, notFound(err, "no passport of vendor "+vendor+" is known here")
	}
	return showPassport(c), nil
}

// Import implements desk.Passports.
func (d Passports) Import(ctx context.Context, chain []string) (desk.Passport, error) {
	var raws [][]byte
	if len(chain) > protocol.MaxPassports {
		return desk.Passport{}, fmt.Errorf("%d passports, at most %d: %w", len(chain), protocol.MaxPassports, fault.Malformed)
	}
	for _, text := range chain {
		raw, err := hex.DecodeString(text)
		if err != nil {
			return desk.Passport{}, fmt.Errorf("passport is not hexadecimal: %w", fault.Malformed)
		}
		raws = append(raws, raw)
	}
	v, err := d.open(raws)
	if err != nil {
		return v, err
	}
	return v, d.keep(ctx, raws)
}

// Held implements desk.Held.
type Held struct{ *Office }

// List implements desk.Held.
func (d Held) List(ctx context.Context, q desk.Query) (page desk.Page[desk.HeldRecord], err error) {
	from, err := after(q)
	if err != nil {
		return page, err
	}
	page.Items = []desk.HeldRecord{}
	err = d.view(ctx, func(r kv.Reader) error {
		return d.Stores.Held.Each(r, from, func(rec held.Record) (bool, error) {
			if len(page.Items) == limit(q) {
				page.Next = page.Items[len(page.Items)-1].Grant
				return false, nil
			}
			v := desk.HeldRecord{Grant: rec.Grant.String(), Context: hexOf(rec.Context), Until: moment(rec.Until), Fields: []string{}}
			for _, f := range rec.Fields {
				v.Fields = append(v.Fields, string(f.Name))
			}
			for _, b := range rec.Blobs {
				v.Fields = append(v.Fields, string(b.Name))
				v.Large = append(v.Large, desk.Large{Field: string(b.Name), Version: b.Version, Bytes: int64(b.Size), Media: b.Media, CID: cidOf(b.Digest), Whole: b.Whole()})
			}
			if !rec.BodyKey.IsZero() {
				v.Keys = append(v.Keys, "body key")
			}
			if !rec.OfferSecret.IsZero() {
				v.Keys = append(v.Keys, "offer secret")
			}
			page.Items = append(page.Items, v)
			return true, nil
		})
	})
	return page, err
}

// cidOf spells a digest as a content id for people: CIDv1, raw, sha2-256.
func cidOf(digest protocol.Hash) string {
	sum, err := multihash.Encode(digest[:], multihash.SHA2_256)
	if err != nil {
		return hexOf(digest)
	}
	return cid.NewCidV1(cid.Raw, sum).String()
}

// Download implements desk.Held. That a value leaves the node is kept before it does.
func (d Held) Download(ctx context.Context, grant, field string, w io.Writer) error {
	id, err := d.resolve(ctx, records.Agreements, grant)
	if err != nil {
		return err
	}
	var small *string
	var whole bool
	err = d.view(ctx, func(r kv.Reader) error {
		rec, err := d.Stores.Held.Get(r, id)
		if err != nil {
			return notFound(err, "nothing is held under grant "+hexOf(id)[:12])
		}
		for _, f := range rec.Fields {
			if string(f.Name) == field {
				small = &f.Value
			}
		}
		whole = slices.ContainsFunc(rec.Blobs, func(b held.Blob) bool { return string(b.Name) == field && b.Whole() })
		return err
	})
	if err != nil {
		return err
	}
	if small != nil || whole {
		if err := d.Market.Exported(ctx, id, protocol.FieldName(field)); err != nil {
			return err
		}
	}
	if small != nil {
		_, err = io.WriteString(w, *small)
		return err
	}
	return d.Stores.Held.Read(ctx, d.Stores.KV, id, protocol.FieldName(field), w) // or why there is none
}

// Delete implements desk.Held.
func (d Held) Delete(ctx context.Context, grant string) error {
	id, err := d.resolve(ctx, records.Agreements, grant)
	if err != nil {
		return err
	}
	return d.Market.DeleteHeld(ctx, id)
}
