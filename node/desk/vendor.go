package desk

import (
	"context"
	"io"
	"time"
)

// A Product is one item of a vendor's catalogue.
type Product struct {
	ID          string `json:"id"`
	Title       string `json:"title"`
	Description string `json:"description,omitempty"`
	Category    string `json:"category,omitempty"`
	Price       *Money `json:"price,omitempty"`
	Region      string `json:"region,omitempty"`
	Condition   string `json:"condition,omitempty"`
}

// An ImportReport is what importing a catalogue did.
type ImportReport struct {
	Rows    int        `json:"rows"`
	Added   int        `json:"added"`
	Changed int        `json:"changed"`
	Removed int        `json:"removed"`
	Same    int        `json:"same"`
	Errors  []RowError `json:"errors,omitempty"` // at most 100
	Columns []string   `json:"columns"`
	Applied bool       `json:"applied"`
}

// A RowError is a row that could not be read, and why.
type RowError struct {
	Row  int    `json:"row"`
	What string `json:"what"`
}

// An ImportSpec says how to read a catalogue file.
type ImportSpec struct {
	Currency string `json:"currency,omitempty"` // where the file is silent; ZAR
	DryRun   bool   `json:"dry_run,omitempty"`
	Replace  bool   `json:"replace,omitempty"` // remove products that the file lacks
}

// Catalog is the desk for a vendor's products.
type Catalog interface {
	Import(ctx context.Context, file io.Reader, spec ImportSpec) (ImportReport, error)
	List(ctx context.Context, q Query) (Page[Product], error)
	Search(ctx context.Context, text string, limit int) ([]Product, error)
}

// A Follow is what a vendor listens for; empty lists mean all.
type Follow struct {
	Sectors    []string `json:"sectors"`
	Regions    []string `json:"regions"`
	Ask        bool     `json:"ask"`                  // ask for access by itself
	AskAlso    []string `json:"ask_also,omitempty"`   // fields asked for even where they are not on offer: a customer's rule will refuse
	Answer     bool     `json:"answer"`               // answer granted needs from the catalogue
	Offers     int      `json:"offers"`               // at most so many per grant, 5 where 0
	Confirm    bool     `json:"confirm"`              // confirm accepted offers by itself
	Fulfil     bool     `json:"fulfil"`               // and report them fulfilled: for services rendered at once
	Protection string   `json:"protection,omitempty"` // what requests tell of the protection of what goes abroad
	Automated  string   `json:"automated,omitempty"`  // and of decisions that no person takes
	Effort     int      `json:"effort,omitempty"`     // of the stamp on a request, in bits, where the network asks for less: the dearer one stays in a full mailbox
	Pay        Money    `json:"pay,omitzero"`         // the most that requests pay for one grant by themselves, by voucher; absent: nothing
	Owe        Money    `json:"owe,omitzero"`         // and that may be owed and promised in all, before they stop; 20 times pay where absent
}

// Rules is the desk for a vendor's rules.
type Rules interface {
	Get(ctx context.Context) (Follow, error)
	Set(ctx context.Context, f Follow) (Follow, error)
}

// A Passport is a vendor's public record.
type Passport struct {
	Vendor       string        `json:"vendor"`
	Seq          uint64        `json:"seq"`
	Hash         string        `json:"hash"`
	Name         string        `json:"name"`
	Registration string        `json:"registration,omitempty"`
	Country      string        `json:"country,omitempty"`
	Contact      string        `json:"contact,omitempty"`
	Officer      string        `json:"officer,omitempty"`
	Authority    string        `json:"authority,omitempty"`
	Operational  []OpKey       `json:"operational"`
	Chain        []string      `json:"chain"` // the envelopes, hexadecimal: what others import
	Uses         []IntendedUse `json:"uses,omitempty"`
}

// An OpKey is an operational key with its dates.
type OpKey struct {
	Key   string    `json:"key"`
	Roles []string  `json:"roles"`
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
}

// An IntendedUse is a registered purpose.
type IntendedUse struct {
	Purpose   string   `json:"purpose"`
	Fields    []string `json:"fields"`
	Retention uint32   `json:"retention_days"`
}

// A PassportSpec is what a vendor says of itself.
type PassportSpec struct {
	Name         string `json:"name"`
	Registration string `json:"registration,omitempty"`
	Country      string `json:"country,omitempty"`
	Contact      string `json:"contact,omitempty"`
	Officer      string `json:"officer,omitempty"`
	Authority    string `json:"authority,omitempty"`
	// Uses registers what is asked for, and for what; a request beyond it is not sent, and
	// refused where it comes. Empty: as before, or the usual fields in order to make offers.
	Uses []IntendedUse `json:"uses,omitempty"`
}

// Passports is the desk for the vendor's own passport and those of others.
type Passports interface {
	Own(ctx context.Context) (Passport, error)
	// Issue makes the first passport, or a later one with fresh keys.
	Issue(ctx context.Context, spec PassportSpec) (Passport, error)
	Get(ctx context.Context, vendor string) (Passport, error)
	// Import keeps the passports of a vendor, given as envelopes in hexadecimal.
	Import(ctx context.Context, chain []string) (Passport, error)
}

// A HeldRecord is what a vendor holds of one customer.
type HeldRecord struct {
	Grant   string    `json:"grant"`
	Context string    `json:"context"`
	Fields  []string  `json:"fields"`
	Until   time.Time `json:"until"`
	Keys    []string  `json:"keys,omitempty"` // names of keys held, never keys
	Large   []Large   `json:"large,omitempty"`
}

// A Large tells about one large value that a vendor holds, or still fetches.
type Large struct {
	Field   string `json:"field"`
	Version uint64 `json:"version"`
	Bytes   int64  `json:"bytes"`
	Media   string `json:"media,omitempty"`
	CID     string `json:"cid"`   // of its copy at the keepers
	Whole   bool   `json:"whole"` // all of it has come
}

// Held is the desk for what a vendor holds of customers.
type Held interface {
	List(ctx context.Context, q Query) (Page[HeldRecord], error)
	// Download writes one value that is held, small or large. The ledger notes it, and the
	// deletion at the grant's end names it.
	Download(ctx context.Context, grant, field string, w io.Writer) error
	Delete(ctx context.Context, grant string) error
}

// A Notice is one announcement on this node's board.
type Notice struct {
	ID       string       `json:"id"` // of these bytes
	Context  string       `json:"context"`
	Kind     string       `json:"kind"`
	Status   string       `json:"status"`
	Category string       `json:"category"`
	Region   string       `json:"region"`
	Seq      uint64       `json:"seq"`
	Fields   []FieldPrice `json:"fields,omitempty"`
	Created  time.Time    `json:"created"`
	Expires  time.Time    `json:"expires"`
	HeardMS  int64        `json:"heard_ms"`
	Bytes    int          `json:"bytes"`
	Shard    int          `json:"shard"`
	Asked    bool         `json:"asked"`
}

// Board is the desk for announcements heard.
type Board interface {
	List(ctx context.Context, q Query) (Page[Notice], error)
	Get(ctx context.Context, id string) (Notice, Stranger, error)
}

// A Peer is a public node that this one knows.
type Peer struct {
	Key       string   `json:"key"`
	Addrs     []string `json:"addrs"`
	Connected bool     `json:"connected"`
	From      string   `json:"from,omitempty"` // bootstrap, reached, told, or other network: it counts as none
}

// A NetworkInfo describes the network that this node is in.
type NetworkInfo struct {
	ID         string           `json:"id"`
	Name       string           `json:"name"`
	Shards     int              `json:"shards"`
	Categories string           `json:"categories"`
	Terms      string           `json:"terms"`
	Lanes      []map[string]int `json:"lanes"`
	Duties     map[string]int64 `json:"duties_seconds"`
}

// The three answers to a question about the network.
const (
	Yes      = "yes"
	No       = "no"
	NotKnown = "not known yet"
)

// Off is the answer where the settings turn off what is asked about.
const Off = "off"

// A WayIn is one of the four ways to find public nodes, which do not depend on each
// other: bootstrap, cache, exchange, dht.
type WayIn struct {
	Way     string     `json:"way"`
	Works   string     `json:"works"`   // yes, no, not known yet; off
	Known   int        `json:"known"`   // nodes that it named
	Reached int        `json:"reached"` // of these, reached within a day
	Last    *time.Time `json:"last,omitempty"`
}

// A Check is one question of a Netcheck.
type Check struct {
	Name   string `json:"name"`
	Answer string `json:"answer"` // yes, no, not known yet; off
	Detail string `json:"detail"`
}

// A Netcheck is how the network looks from this node. It is usable where a public node
// is connected.
type Netcheck struct {
	Usable bool    `json:"usable"`
	Checks []Check `json:"checks"`
}

// Network is the desk for peers and the network.
type Network interface {
	Check(ctx context.Context) (Netcheck, error)
	Peers(ctx context.Context) ([]Peer, error)
	Info(ctx context.Context) (NetworkInfo, error)
	Self(ctx context.Context) (Identity, error)
}

// An Identity is who this node is.
type Identity struct {
	Profile string   `json:"profile"`
	Key     string   `json:"key"`     // the keeper key of a public node; a personal node's is fresh each start
	PeerID  string   `json:"peer_id"` // its libp2p form
	Addrs   []string `json:"addrs"`
	Vendor  string   `json:"vendor,omitempty"`
	Device  string   `json:"device,omitempty"`
	Joined  []int    `json:"joined_shards,omitempty"` // topics whose mesh it is in
	Mesh    []string `json:"mesh_peers,omitempty"`    // peer ids to which it gossips
}

// An Evidence is what is kept for as long as the node lives, so that what was agreed and
// who broke it can be shown. It has no bound but the disk: below 96 MB of free space
// nothing is written any more.
type Evidence struct {
	Envelopes int   `json:"envelopes"` // signed messages
	Bytes     int   `json:"bytes"`     // of these
	Entries   int64 `json:"entries"`   // of the ledger
}

// A Fill is a bound and how full it is.
type Fill struct {
	Name string `json:"name"`
	Used int64  `json:"used"`
	Cap  int64  `json:"cap"`
}

// A Problem is something that needs the owner, with the command that mends it.
type Problem struct {
	What string `json:"what"`
	Fix  string `json:"fix,omitempty"`
	Code string `json:"code"`
}

// A Status is how the node is.
type Status struct {
	Problems  []Problem      `json:"problems"`
	Profile   string         `json:"profile"`
	Version   string         `json:"version"`
	PID       int            `json:"pid"`
	Started   time.Time      `json:"started"`
	ReadyMS   int64          `json:"ready_ms"` // from start to ready
	Locked    bool           `json:"locked"`
	Network   string         `json:"network"`
	Peers     int            `json:"peers"`
	Counts    map[string]int `json:"counts"`   // needs, grants, deals, … by state
	Delivery  map[string]int `json:"delivery"` // letters by delivery state
	Bounds    []Fill         `json:"bounds"`
	KeyStore  string         `json:"key_store"` // passphrase, keyring or key file
	Keepers   []KeeperReport `json:"keepers,omitempty"`
	DiskBytes int64          `json:"disk_bytes"`
	Evidence  Evidence       `json:"evidence"`
	Ways      []WayIn        `json:"ways"` // how this node finds others
	Owed      []Debt         `json:"owed"` // by vendors, at most 100; hark grant list has them one by one
}

// A KeeperReport is what this node has seen of a keeper: letters for which it gave
// receipts, and letters that it should have held and did not, or had altered.
type KeeperReport struct {
	Key      string   `json:"key"`
	Receipts int      `json:"receipts"`
	Missing  []string `json:"missing,omitempty"` // letter ids, at most 20
	Lacked   Lacked   `json:"lacked,omitzero"`
	Altered  []string `json:"altered,omitempty"`
	Replayed []string `json:"replayed,omitempty"` // shown again after it had confirmed their deletion
	Silent   bool     `json:"silent,omitempty"`   // of late, while others answered
	// Proofs are receipts that the senders passed on for letters that this node found
	// missing or altered.
	Proofs []KeeperProof `json:"proofs,omitempty"`
}

// Lacked sums up the letters that a keeper did not have and others had. Without its receipt
// it may never have had them: it was down for a moment, or out of the sender's reach.
type Lacked struct {
	Letters int   `json:"letters"`         // all of them
	Hours   int   `json:"hours,omitempty"` // of the last 24, those in which some were found
	LastMS  int64 `json:"last_ms"`         // when the last was found
}

// A KeeperProof is a keeper's signature for a letter that it then did not have, or had
// altered.
type KeeperProof struct {
	Letter  string `json:"letter"`
	Found   string `json:"found"` // lacked, altered
	AtMS    int64  `json:"at_ms"`
	Signed  int64  `json:"signed"`  // when the keeper signed for it, in seconds
	Receipt string `json:"receipt"` // the deposit receipt, CBOR in base64
}

// A LetterReport is one letter as its sender or reader saw it; the two sides'
// reports together convict a keeper that gave a receipt and lost the letter.
type LetterReport struct {
	ID       string   `json:"id"`
	Kind     string   `json:"kind,omitempty"` // known to the sender
	Box      string   `json:"box"`
	State    string   `json:"state"`
	Receipts []string `json:"receipts,omitempty"` // keepers that signed for it
	Missing  []string `json:"missing,omitempty"`  // keepers that did not have it when its reader came
	Altered  []string `json:"altered,omitempty"`
	AtMS     int64    `json:"at_ms"`
}

// EventGap is the kind of an event that stands for those that whoever resumes after an
// id does not get. Its data are "after", the id, and "why": GapDropped, with "missed",
// how many, or GapUnknown.
const (
	EventGap   = "events.gap"
	GapDropped = "dropped" // the node keeps no more of them
	GapUnknown = "unknown" // the id is of another life of the node, or of none: how many are missing is not known
)

// An Event is something that happened, in the order of its ID. Ids grow by one while a
// node runs; those of its next life are others, and greater where its clock goes
// forward. What is missing is shown by an event of kind EventGap.
type Event struct {
	ID   uint64            `json:"id"`
	AtMS int64             `json:"at_ms"`
	Kind string            `json:"kind"`
	Ref  string            `json:"ref,omitempty"`
	Data map[string]string `json:"data,omitempty"`
}

// Admin is the desk for the node itself.
type Admin interface {
	Status(ctx context.Context) (Status, error)
	Unlock(ctx context.Context, passphrase []byte) error
	Lock(ctx context.Context) error
	Letters(ctx context.Context, sent bool, q Query) (Page[LetterReport], error)
	// Events calls fn with every kept event after the given id and then with new
	// ones, until ctx ends or fn returns an error. After 0 come all that are kept; after
	// an id that is unknown or too old an event of kind EventGap, and then all.
	Events(ctx context.Context, after uint64, fn func(Event) error) error
	Stop(ctx context.Context) error
}
