package desk

import (
	"context"
	"time"
)

// A ConsentRule is one of a customer's own rules for requests: allow, ask or deny those
// for which When holds, an expression in CEL. Of the rules that hold the most restrictive
// wins.
type ConsentRule struct {
	Name   string `json:"name"`
	Action string `json:"action"` // allow, ask, deny
	When   string `json:"when"`
	Hash   string `json:"hash,omitempty"` // names exactly this rule in the ledger
}

// A PromptBudget is how often a day a customer is told of requests that wait.
type PromptBudget struct {
	Day    int `json:"day"`    // in all
	Vendor int `json:"vendor"` // of one vendor
	Known  int `json:"known"`  // of the day's, kept for vendors that she granted something before
	Used   int `json:"used"`   // in the last 24 hours
}

// A BlockedVendor is one whose requests are dropped.
type BlockedVendor struct {
	Vendor string    `json:"vendor"`
	Name   string    `json:"name,omitempty"`
	Since  time.Time `json:"since"`
}

// A WithheldVendor is one that she refused something: it may not ask for that again but
// under a need that she announced since, and that has it on offer.
type WithheldVendor struct {
	Vendor string    `json:"vendor"`
	Name   string    `json:"name,omitempty"`
	Fields []string  `json:"fields"` // that it asked for; need: for the need alone
	Since  time.Time `json:"since"`  // the latest refusal
}

// A Debt is what one vendor owes to this customer or, where side is vendor, what this
// vendor owes to all customers. It is owed, and nothing of it earned, until it is settled.
type Debt struct {
	Side     string `json:"side"`
	Vendor   string `json:"vendor"`
	Name     string `json:"vendor_name"`
	Owed     Money  `json:"owed"`           // for what was disclosed
	Promised Money  `json:"promised"`       // by grants of which nothing was disclosed yet, and requests
	Most     *Money `json:"most,omitempty"` // that it may owe this customer
	Grants   int    `json:"grants"`
}

// A ConsentView is all that decides on requests, besides the law, the needs and the rules
// for single fields.
type ConsentView struct {
	Rules   []ConsentRule   `json:"rules"`
	Budget  PromptBudget    `json:"budget"`
	Blocked []BlockedVendor `json:"blocked"`
	// Withheld are the vendors that she refused something, at most 500, the latest refused
	// first.
	Withheld []WithheldVendor `json:"withheld"`
	Words    []string         `json:"words"`  // that conditions may use, each with its type
	Levels   []string         `json:"levels"` // at which a value can be granted coarser
	Credit   []Money          `json:"credit"` // the most that one vendor may owe, by currency
}

// A Replay is what would become of an earlier request by the rules as they are.
type Replay struct {
	Request    string `json:"request"`
	VendorName string `json:"vendor_name"`
	Fields     string `json:"fields"`
	State      string `json:"state"`          // as it is
	By         string `json:"by,omitempty"`   // who decided it then: rule, person
	Rule       string `json:"rule,omitempty"` // that decided it then
	Would      string `json:"would"`          // allow, ask, deny
	WouldBy    string `json:"would_by"`       // the rule
	Why        string `json:"why,omitempty"`
	Law        string `json:"law,omitempty"`
}

// A ConsentTest is a replay of the requests got so far.
type ConsentTest struct {
	Items []Replay `json:"items"`
	Whole bool     `json:"whole"` // all of them were looked at
}

// Consent is the desk for what decides on requests by itself.
type Consent interface {
	Get(ctx context.Context) (ConsentView, error)
	Add(ctx context.Context, r ConsentRule) (ConsentRule, error)
	Remove(ctx context.Context, name string) error
	// Test replays the requests got so far, by the rules as they are and, where it has
	// a name, one more.
	Test(ctx context.Context, more ConsentRule) (ConsentTest, error)
	Budget(ctx context.Context, b PromptBudget) (ConsentView, error)
	// Credit says how much one vendor may owe in a currency.
	Credit(ctx context.Context, most Money) (ConsentView, error)
	// Block drops the requests of a vendor, named by its id or by a request of it; or hears
	// it again, also about what she refused it before.
	Block(ctx context.Context, vendor string, yes bool) (ConsentView, error)
}

// A LessSpec says in what a grant is less than the request; empty: in nothing.
type LessSpec struct {
	Fields []string          `json:"fields,omitempty"` // only these
	Days   int               `json:"days,omitempty"`   // for no longer
	Coarse map[string]string `json:"coarse,omitempty"` // field -> level: a coarser value
	Price  map[string]int64  `json:"price,omitempty"`  // field -> least price in minor units: a counter-proposal
}

// A SnoozeSpec says for how long a request is put off.
type SnoozeSpec struct {
	Seconds int64 `json:"seconds"`
}
