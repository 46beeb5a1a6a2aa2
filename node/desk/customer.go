package desk

import (
	"context"
	"time"
)

// A Query selects and pages through a list. After is the Next of the page before.
type Query struct {
	Limit   int    `json:"limit,omitempty"`
	After   string `json:"after,omitempty"`
	State   string `json:"state,omitempty"`
	Context string `json:"context,omitempty"` // a need, interest or relation
	Vendor  string `json:"vendor,omitempty"`
	Grant   string `json:"grant,omitempty"`
	Kind    string `json:"kind,omitempty"`
	Field   string `json:"field,omitempty"` // of a grant or request
	Text    string `json:"text,omitempty"`
	All     bool   `json:"all,omitempty"` // also what missed the constraints, is expired or closed
	// Since and Until select entries of the ledger by their time, the first included.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
}

// A Page is a part of a list; Next continues it, empty at the end.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
}

// A Money is an amount for display: minor units and ISO 4217 code.
type Money struct {
	Minor    int64  `json:"minor"`
	Currency string `json:"currency"`
	Text     string `json:"text,omitempty"` // "ZAR 1 299.00", made by the node
}

// A Due says who must act in a state, by when, and what happens otherwise.
type Due struct {
	By        string    `json:"by,omitempty"` // customer or vendor
	At        time.Time `json:"at,omitzero"`
	Otherwise string    `json:"otherwise,omitempty"`
}

// A NeedSpec describes a need or interest to be announced.
type NeedSpec struct {
	Name        string           `json:"name"`
	Description string           `json:"description,omitempty"`
	Category    string           `json:"category,omitempty"` // other.unspecified where empty
	Region      string           `json:"region,omitempty"`   // ZA where empty
	MaxPrice    int64            `json:"max_price_minor,omitempty"`
	Currency    string           `json:"currency,omitempty"` // ZAR where empty
	Quantity    uint32           `json:"quantity,omitempty"`
	Condition   string           `json:"condition,omitempty"` // new, used, refurbished; empty: any
	NeededBy    time.Time        `json:"needed_by,omitzero"`
	Fields      map[string]int64 `json:"fields,omitempty"`  // field on offer -> floor price in minor units; empty: the category's template
	Issuers     []string         `json:"issuers,omitempty"` // whose vouched vendors come first
	Days        int              `json:"days,omitempty"`    // life; the kind's longest where 0
	Interest    bool             `json:"interest,omitempty"`
	Auto        bool             `json:"auto,omitempty"` // grant what it offers by itself, to whoever asks for no more; otherwise its owner is asked
}

// A Need is a need, interest or relation of this node's owner.
//
//house:allow fields a view names everything about a need in one flat JSON object
type Need struct {
	ID          string       `json:"id"`
	Kind        string       `json:"kind"`
	Name        string       `json:"name"`
	Description string       `json:"description,omitempty"`
	Category    string       `json:"category,omitempty"`
	Region      string       `json:"region,omitempty"`
	MaxPrice    *Money       `json:"max_price,omitempty"`
	Quantity    uint32       `json:"quantity,omitempty"`
	Condition   string       `json:"condition,omitempty"`
	State       string       `json:"state"`
	Seq         uint64       `json:"seq"`
	Fields      []FieldPrice `json:"fields,omitempty"`
	Keepers     []string     `json:"keepers,omitempty"`
	Created     time.Time    `json:"created"`
	Expires     time.Time    `json:"expires,omitzero"`
	NeededBy    time.Time    `json:"needed_by,omitzero"`
	AnnouncedMS int64        `json:"announced_ms,omitempty"` // when its owner asked, Unix milliseconds
	Queued      bool         `json:"queued,omitempty"`       // no keeper has its latest announcement yet: it goes out when one is reached
	Requests    int          `json:"requests"`
	Grants      int          `json:"grants"`
	Offers      int          `json:"offers"`
	Auto        bool         `json:"auto,omitempty"` // what it offers is granted by itself
	Due         Due          `json:"due,omitzero"`
}

// A FieldPrice is a field and its price.
type FieldPrice struct {
	Field string `json:"field"`
	Price *Money `json:"price,omitempty"`
}

// A Stranger is an announcement as anyone sees it: the very bytes, and each part
// of them in words.
type Stranger struct {
	ID    string         `json:"id"`
	Bytes int            `json:"bytes"`
	Hex   string         `json:"hex"`
	Parts []StrangerPart `json:"parts"`
}

// A StrangerPart is one part of an announcement that strangers see.
type StrangerPart struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Bytes int    `json:"bytes"`
}

// Needs is the desk for needs and interests.
type Needs interface {
	Create(ctx context.Context, spec NeedSpec) (Need, error)
	Preview(ctx context.Context, spec NeedSpec) (Stranger, error)
	List(ctx context.Context, q Query) (Page[Need], error)
	Get(ctx context.Context, id string) (Need, error)
	Stranger(ctx context.Context, id string) (Stranger, error)
	Update(ctx context.Context, id string, spec NeedSpec) (Need, error)
	End(ctx context.Context, id string, how NeedEnd) (Need, error)
}

// A NeedEnd is what End does with a need.
type NeedEnd string

// Renew announces the same need again for another life; Withdraw takes it back.
const (
	Renew    NeedEnd = "renew"
	Withdraw NeedEnd = "withdraw"
)

// A Request is one that a customer got, or a vendor sent.
//
//house:allow fields a view names everything about a request in one flat JSON object
type Request struct {
	ID         string       `json:"id"`
	Grant      string       `json:"grant"` // the id that a grant has or would have
	Context    string       `json:"context"`
	Vendor     string       `json:"vendor"`
	VendorName string       `json:"vendor_name"`
	Fields     []FieldAsk   `json:"fields"`
	Until      time.Time    `json:"until,omitzero"`
	State      string       `json:"state"`         // of a customer's own: waiting or snoozed, in place of requested
	Why        string       `json:"why,omitempty"` // of a refusal or counter, or why it waits
	Law        string       `json:"law,omitempty"`
	At         time.Time    `json:"at"`
	AtMS       int64        `json:"at_ms"`
	Notice     []StringPair `json:"notice,omitempty"`
	NoticeHash string       `json:"notice_hash,omitempty"` // under which it is kept, and named in the ledger
	By         string       `json:"by,omitempty"`          // who decided: rule, person
	Rule       string       `json:"rule,omitempty"`        // that decided, or left it to her
	RuleHash   string       `json:"rule_hash,omitempty"`   // of one of her own
	Less       bool         `json:"less,omitempty"`        // less was granted than was asked
	Prompted   time.Time    `json:"prompted,omitzero"`     // when she was told of it; absent: it waits silently
	Snoozed    time.Time    `json:"snoozed_until,omitzero"`
	Price      *Money       `json:"price,omitempty"`   // that it pays for all of it
	Counter    []FieldPrice `json:"counter,omitempty"` // what she would grant instead, and for how much
}

// A FieldAsk is one field asked for.
type FieldAsk struct {
	Field     string `json:"field"`
	Purpose   string `json:"purpose"`
	Required  bool   `json:"required,omitempty"`
	Retention uint32 `json:"retention_days,omitempty"`
	Price     *Money `json:"price,omitempty"`
}

// A StringPair is a name with a text.
type StringPair struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// An AskSpec is a vendor's request, by hand, for access to one announced need.
type AskSpec struct {
	Context string   `json:"context"`
	Fields  []string `json:"fields,omitempty"` // all on offer where empty
	Days    int      `json:"days,omitempty"`
	Special []string `json:"special,omitempty"` // of the fields: special, or a child's, and asked for expressly
	// Price says what is paid for a field, in minor units: by a voucher, which this vendor
	// then owes. A field whose floor is above 0 needs one.
	Price    map[string]int64 `json:"price,omitempty"`
	Currency string           `json:"currency,omitempty"` // of all prices; ZAR where empty
}

// Requests is the desk for access requests, got or sent.
type Requests interface {
	List(ctx context.Context, q Query) (Page[Request], error)
	Get(ctx context.Context, id string) (Request, error)
	Ask(ctx context.Context, spec AskSpec) (Request, error)
	// Grant grants a request that waits, or less than it asks.
	Grant(ctx context.Context, id string, less LessSpec) (Request, error)
	Refuse(ctx context.Context, id, reason string) (Request, error)
	// Snooze puts a request off; it comes back once.
	Snooze(ctx context.Context, id string, spec SnoozeSpec) (Request, error)
}

// A Grant is what a customer allows a vendor, seen from either side.
//
//house:allow fields a view names everything about a grant in one flat JSON object
type Grant struct {
	ID           string       `json:"id"`
	Side         string       `json:"side"`
	Context      string       `json:"context"`
	ContextKind  string       `json:"context_kind"`
	Vendor       string       `json:"vendor"`
	VendorName   string       `json:"vendor_name"`
	State        string       `json:"state"`
	Fields       []FieldPrice `json:"fields,omitempty"`
	Start        time.Time    `json:"start,omitzero"`
	End          time.Time    `json:"end,omitzero"`
	Disclosures  uint64       `json:"disclosures"`
	Updates      uint64       `json:"updates"`                 // disclosures that went because a field changed
	PerDay       int          `json:"per_day,omitempty"`       // at most so many disclosures in 24 hours
	LeaseSeconds int64        `json:"lease_seconds,omitempty"` // how long a disclosure stays good; 0: for one use
	Renews       time.Time    `json:"renews,omitzero"`         // when the next disclosure goes by itself
	Withdrawn    []string     `json:"withdrawn,omitempty"`     // fields that were taken back
	Times        GrantTimes   `json:"times"`
	Deleted      []string     `json:"deleted,omitempty"` // what the vendor signed that it deleted
	Lapses       []string     `json:"lapses,omitempty"`
	LateOffers   int          `json:"late_offers,omitempty"`        // offers that surfaced after revocation
	LateOpened   int          `json:"late_offers_opened,omitempty"` // of these, opened: must be 0
	Heads        []HeadCheck  `json:"heads,omitempty"`              // blinded ledger heads that the other side countersigned
	Rights       []RightView  `json:"rights,omitempty"`
	By           string       `json:"by,omitempty"`   // who granted: rule, person
	Rule         string       `json:"rule,omitempty"` // by which
	Less         bool         `json:"less,omitempty"` // than was asked
	Due          Due          `json:"due,omitzero"`
	Price        *Money       `json:"price,omitempty"` // of all of it
	Rail         string       `json:"rail,omitempty"`  // by which it is paid: voucher
	Owed         *Money       `json:"owed,omitempty"`  // by the vendor, for what it was given; owed, and not earned
	Settled      time.Time    `json:"settled,omitzero"`
	SettledHow   string       `json:"settled_how,omitempty"` // in this side's own words
}

// GrantTimes are moments in Unix milliseconds; 0 where it has not happened.
type GrantTimes struct {
	Requested int64 `json:"requested_ms,omitempty"`
	Granted   int64 `json:"granted_ms,omitempty"`
	Receipted int64 `json:"receipted_ms,omitempty"`
	Disclosed int64 `json:"disclosed_ms,omitempty"`
	Revoked   int64 `json:"revoked_ms,omitempty"`
	Deleted   int64 `json:"deleted_ms,omitempty"`
}

// A HeadCheck is a ledger head that a counterparty countersigned, and whether this
// ledger still holds it.
type HeadCheck struct {
	Size   int64  `json:"size"`
	Blind  string `json:"blind"`
	By     string `json:"by"`
	Signed bool   `json:"signed"` // the countersignature is here
}

// A RightView is a right that was exercised.
type RightView struct {
	ID       string    `json:"id"`
	Exercise string    `json:"exercise"`
	At       time.Time `json:"at"`
	Deadline time.Time `json:"deadline"`
	Status   string    `json:"status"` // open, fulfilled, rejected, lapsed
	Text     string    `json:"text,omitempty"`
	// Values is what the vendor answered that it holds: the right of access. Only where
	// one grant is shown.
	Values []HeldValue `json:"values,omitempty"`
}

// A HeldValue is one value that a vendor says it holds, masked unless it was asked for.
type HeldValue struct {
	Field  string `json:"field"`
	Value  string `json:"value"`
	Masked bool   `json:"masked,omitempty"`
}

// A GiveSpec is a grant that a customer starts herself: no need, a vendor of her
// choice.
type GiveSpec struct {
	Vendor  string   `json:"vendor"` // vendor id, or a file with its passports
	Name    string   `json:"name"`   // her own words for the relation
	Fields  []string `json:"fields"`
	Purpose string   `json:"purpose,omitempty"` // make-offer where empty
	Days    int      `json:"days,omitempty"`    // 360 where 0; at most 730
	PerDay  int      `json:"per_day,omitempty"` // at most so many disclosures in 24 hours; 0: as many as it takes
	// LeaseSeconds is how long the vendor may go on with the values when it hears nothing
	// more; the network's where 0.
	LeaseSeconds int64 `json:"lease_seconds,omitempty"`
	Once         bool  `json:"once,omitempty"` // the values may be used once, at once; always so of special personal information
}

// A RightSpec exercises a right under a grant.
type RightSpec struct {
	Exercise string            `json:"exercise"` // access, correction, deletion, objection
	Fields   []string          `json:"fields,omitempty"`
	Values   map[string]string `json:"values,omitempty"` // for a correction
}

// Grants is the desk for grants, seen from either side.
//
//house:allow interface one method for each thing that is done with a grant
type Grants interface {
	List(ctx context.Context, q Query) (Page[Grant], error)
	Get(ctx context.Context, id string) (Grant, error)
	Give(ctx context.Context, spec GiveSpec) (Grant, error)
	// Revoke ends the named grants; none named: all that q selects. With a field in q
	// only that field is taken back, and a grant of nothing else ends.
	Revoke(ctx context.Context, ids []string, q Query, reason string) ([]Grant, error)
	Pause(ctx context.Context, id string, resume bool, reason string) (Grant, error)
	Right(ctx context.Context, id string, spec RightSpec) (Grant, error)
	// Rights gives the rights exercised under a grant with their answers, values masked
	// unless reveal.
	Rights(ctx context.Context, id string, reveal bool) ([]RightView, error)
	// Settle says that what is owed under a grant was paid, outside of this node; how, in
	// words of one's own.
	Settle(ctx context.Context, id, how string) (Grant, error)
}

// An Offer is one that a customer opened, or a vendor made.
type Offer struct {
	ID          string    `json:"id"`
	Grant       string    `json:"grant"`
	Context     string    `json:"context"`
	Need        string    `json:"need,omitempty"` // the need's name, on the customer's side
	Vendor      string    `json:"vendor"`
	VendorName  string    `json:"vendor_name"`
	Product     string    `json:"product_id"`
	Title       string    `json:"title"`
	Description string    `json:"description,omitempty"`
	Price       *Money    `json:"price,omitempty"` // absent: on request
	Quantity    uint32    `json:"quantity"`
	Condition   string    `json:"condition,omitempty"`
	Region      string    `json:"region,omitempty"`
	Rank        int       `json:"rank"`
	ValidUntil  time.Time `json:"valid_until"`
	State       string    `json:"state"`            // of the deal that it began
	Misses      []string  `json:"misses,omitempty"` // constraints that it misses
	AtMS        int64     `json:"at_ms"`
}

// An OfferSpec is an offer made by hand.
type OfferSpec struct {
	Grant   string `json:"grant"`
	Product string `json:"product"`                // catalogue id
	Price   int64  `json:"price_minor,omitempty"`  // the catalogue's where 0
	Hold    int    `json:"hold_seconds,omitempty"` // ask keepers to show it only then, at most an hour
}

// Offers is the desk for offers.
type Offers interface {
	List(ctx context.Context, q Query) (Page[Offer], error)
	Get(ctx context.Context, id string) (Offer, error)
	Make(ctx context.Context, spec OfferSpec) (Offer, error)
	Accept(ctx context.Context, id, note string) (Deal, error)
	Decline(ctx context.Context, id, note string) (Deal, error)
}

// A Deal is what became of an accepted offer.
type Deal struct {
	ID    string `json:"id"` // the offer's id
	Offer Offer  `json:"offer"`
	Side  string `json:"side"`
	State string `json:"state"`
	Steps []Step `json:"steps,omitempty"`
	Due   Due    `json:"due,omitzero"`
}

// A Step is one move of a deal.
type Step struct {
	Kind string `json:"kind"`
	By   string `json:"by"`
	AtMS int64  `json:"at_ms"`
	Note string `json:"note,omitempty"`
}

// Deals is the desk for deals.
type Deals interface {
	List(ctx context.Context, q Query) (Page[Deal], error)
	Get(ctx context.Context, id string) (Deal, error)
	// Step moves a deal on: confirm, fulfil, close or cancel.
	Step(ctx context.Context, id, step, note string) (Deal, error)
}
