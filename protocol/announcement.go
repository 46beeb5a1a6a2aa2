package protocol

import "github.com/harkmarket/hark/crypto/key"

// A ContextID names a context: it is the context's own verification key, made for
// this one reason and used for no other, so nothing links two contexts.
type ContextID = key.Public[key.Context]

// A ContextKind says for what reason a customer deals with others.
type ContextKind uint8

// The kinds of context. Study and authority are reserved numbers.
const (
	ContextNeed      ContextKind = 1 // announced, at most 14 days, renewable
	ContextInterest  ContextKind = 2 // announced, standing
	ContextRelation  ContextKind = 3 // not announced: a vendor that she chose
	ContextStudy     ContextKind = 4 // reserved
	ContextAuthority ContextKind = 5 // reserved
)

func (k ContextKind) String() string {
	switch k {
	case ContextNeed:
		return "need"
	case ContextInterest:
		return "interest"
	case ContextRelation:
		return "relation"
	case ContextStudy:
		return "study"
	case ContextAuthority:
		return "authority"
	}
	return "unknown"
}

// Life is the longest that an announcement of this kind may live, in seconds;
// zero for kinds that are not announced.
func (k ContextKind) Life() Second {
	switch k {
	case ContextNeed:
		return MaxNeedLife
	case ContextInterest:
		return MaxStandLife
	}
	return 0
}

// A Status says whether an announcement stands or has been withdrawn.
type Status uint8

// The two statuses.
const (
	Open      Status = 1
	Withdrawn Status = 2
)

// An Announcement is what strangers see of a need or interest: a coarse label and
// one-time keys. It must never carry a name, an address, a value from the vault,
// the words of the need, or any key or id that another context uses. The envelope
// is signed by the context key: From and Context are both the context id.
type Announcement struct {
	Header
	Status     Status                             `cbor:"16,keyasint,omitempty"`
	Reason     ContextKind                        `cbor:"17,keyasint,omitempty"`
	Category   Category                           `cbor:"18,keyasint,omitempty"`
	Region     Region                             `cbor:"19,keyasint,omitempty"`
	Seal       key.Encapsulation[key.ContextSeal] `cbor:"20,keyasint,omitzero"` // requests are sealed to it
	Fields     []FieldOnOffer                     `cbor:"21,keyasint,omitempty"`
	Terms      Hash                               `cbor:"22,keyasint,omitzero"` // the terms under which data may be had
	Issuers    []key.IssuerKey                    `cbor:"23,keyasint,omitempty"`
	Keepers    []Keeper                           `cbor:"24,keyasint,omitempty"`
	Mailbox    key.MailboxKey                     `cbor:"25,keyasint,omitzero"`
	Body       []byte                             `cbor:"26,keyasint,omitempty"` // a sealed Demand; absent when withdrawn
	Commitment Hash                               `cbor:"27,keyasint,omitzero"`  // binds Body to its key
	Admission  Admission                          `cbor:"127,keyasint,omitzero"` // last critical key: the stamp covers all before it
}

// A FieldOnOffer is one vault field that the customer would share, and the least
// that she wants for it. It never holds the value.
type FieldOnOffer struct {
	Name  FieldName `cbor:"1,keyasint,omitempty"`
	Floor Money     `cbor:"2,keyasint,omitzero"` // on the 1-2-5 ladder; absent: free of charge
}

// A Keeper names a node that holds mail, and where it listens (binary multiaddrs).
// Its key is the Ed25519 key of its libp2p peer id.
type Keeper struct {
	Key   key.KeeperKey `cbor:"1,keyasint,omitzero"`
	Addrs [][]byte      `cbor:"2,keyasint,omitempty"`
}

// An Admission is what the announcer paid to be passed on. Lane 0 is none (test
// networks), 1 is work, 2 is reserved for blind tokens.
type Admission struct {
	Lane   uint8  `cbor:"1,keyasint,omitempty"`
	Effort uint8  `cbor:"2,keyasint,omitempty"` // leading zero bits, lane 1
	Nonce  uint64 `cbor:"3,keyasint,omitempty"`
}

// The admission lanes.
const (
	LaneNone  = 0
	LaneWork  = 1
	LaneToken = 2 // reserved
)

// A Condition is the state of goods.
type Condition uint8

// The conditions; AnyCondition stands for "all the same to me" and is not written.
const (
	AnyCondition Condition = 0
	NewCondition Condition = 1
	Used         Condition = 2
	Refurbished  Condition = 3
)

// A Demand is the sealed body of an announcement: what the customer wants, in her
// words, and her constraints. Names follow schema.org/Demand. It must never carry
// who she is.
type Demand struct {
	Name        string    `cbor:"1,keyasint,omitempty"` // schema.org name
	Description string    `cbor:"2,keyasint,omitempty"` // description
	MaxPrice    Money     `cbor:"3,keyasint,omitzero"`  // priceSpecification.maxPrice, for the whole quantity; absent: no limit
	Quantity    uint32    `cbor:"4,keyasint,omitempty"` // eligibleQuantity; absent means 1
	Condition   Condition `cbor:"5,keyasint,omitempty"` // itemCondition
	NeededBy    Second    `cbor:"6,keyasint,omitempty"` // availabilityEnds
	Region      Region    `cbor:"7,keyasint,omitempty"` // eligibleRegion: may be finer than the announcement's
	Currency    Currency  `cbor:"8,keyasint,omitempty"` // priceCurrency that she wants to see
}

// Count is the quantity, 1 where none was said.
func (d Demand) Count() uint32 { return max(d.Quantity, 1) }

// ContextID is the context that an announcement belongs to.
func (a *Announcement) ContextID() ContextID { return ContextID(a.Header.Context) }
