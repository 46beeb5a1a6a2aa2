package protocol

// An Offer proposes one product or service at one price. Signed by the vendor's
// duty key, sealed under the offer secret and then to the grant's offer key: both
// are needed to open it, and revocation destroys both. All text in it is hostile.
type Offer struct {
	Header                // To and Context: the context id; Re: the Disclosure
	Grant       GrantID   `cbor:"16,keyasint,omitzero"`
	Product     string    `cbor:"17,keyasint,omitempty"` // the vendor's own product id
	Title       string    `cbor:"18,keyasint,omitempty"`
	Description string    `cbor:"19,keyasint,omitempty"`
	Price       Money     `cbor:"20,keyasint,omitzero"` // for the whole quantity, delivered; absent: price on request
	Quantity    uint32    `cbor:"21,keyasint,omitempty"`
	Condition   Condition `cbor:"22,keyasint,omitempty"`
	Region      Region    `cbor:"23,keyasint,omitempty"` // where it can be had or delivered
	ReadyBy     Second    `cbor:"24,keyasint,omitempty"`
	Rank        uint8     `cbor:"25,keyasint,omitempty"` // the vendor's own order, 1 is its best
}

// A DealStep moves an accepted offer on: Accept, Decline, Confirm, Fulfil, Close or
// Cancel, told apart by Header.Kind. Signed and sealed with duty keys.
type DealStep struct {
	Header         // To: the reader's duty key; Re: the envelope it answers
	Grant  GrantID `cbor:"16,keyasint,omitzero"`
	Offer  Hash    `cbor:"17,keyasint,omitzero"` // the Offer's envelope, byte for byte
	Price  Money   `cbor:"18,keyasint,omitzero"` // repeated, so that both sign the same figure
	Note   string  `cbor:"19,keyasint,omitempty"`
}

// A Revocation ends a grant. It goes out after the offer keys are destroyed.
type Revocation struct {
	Header           // To: the vendor's duty key
	Grant    GrantID `cbor:"16,keyasint,omitzero"`
	Deadline Second  `cbor:"17,keyasint,omitempty"` // by which the Deletion is due
	Ledger   Hash    `cbor:"18,keyasint,omitzero"`  // blinded head
	Reason   string  `cbor:"19,keyasint,omitempty"`
}

// A Kept is what a vendor may not delete, and the law that says so.
type Kept struct {
	What  string `cbor:"1,keyasint,omitempty"`
	Law   string `cbor:"2,keyasint,omitempty"`
	Until Second `cbor:"3,keyasint,omitempty"`
}

// A Deletion is the vendor's signed answer to a Revocation, or to an expiry.
type Deletion struct {
	Header           // To: her duty key; Re: the Revocation
	Grant   GrantID  `cbor:"16,keyasint,omitzero"`
	Deleted []string `cbor:"17,keyasint,omitempty"` // names of fields and keys, never values
	Where   []string `cbor:"18,keyasint,omitempty"`
	Kept    []Kept   `cbor:"19,keyasint,omitempty"`
	Ledger  Hash     `cbor:"20,keyasint,omitzero"` // the blinded head in the Revocation, countersigned
}

// An Exercise is a right that the customer uses: POPIA ss 11(3), 23, 24; GDPR 15-21.
type Exercise uint8

// The rights.
const (
	RightAccess     Exercise = 1
	RightCorrection Exercise = 2
	RightDeletion   Exercise = 3
	RightObjection  Exercise = 4
)

// A Right exercises one of her rights, possibly long after the context closed.
type Right struct {
	Header                // To: the vendor's duty key
	Grant    GrantID      `cbor:"16,keyasint,omitzero"`
	Exercise Exercise     `cbor:"17,keyasint,omitempty"`
	Fields   []FieldName  `cbor:"18,keyasint,omitempty"`
	Values   []FieldValue `cbor:"19,keyasint,omitempty"` // for a correction
	Deadline Second       `cbor:"20,keyasint,omitempty"`
}

// An AnswerStatus says what became of a Right; the names are DPV's.
type AnswerStatus uint8

// The statuses.
const (
	RequestFulfilled AnswerStatus = 1
	RequestRejected  AnswerStatus = 2
)

// An Answer answers a Right.
type Answer struct {
	Header              // To: her duty key; Re: the Right
	Grant  GrantID      `cbor:"16,keyasint,omitzero"`
	Status AnswerStatus `cbor:"17,keyasint,omitempty"`
	Values []FieldValue `cbor:"18,keyasint,omitempty"` // for access
	Text   string       `cbor:"19,keyasint,omitempty"`
}

// A Breach tells her that data under a grant may have been exposed (POPIA s22).
type Breach struct {
	Header             // To: her duty key
	Grant  GrantID     `cbor:"16,keyasint,omitzero"`
	What   string      `cbor:"17,keyasint,omitempty"`
	Since  Second      `cbor:"18,keyasint,omitempty"`
	Fields []FieldName `cbor:"19,keyasint,omitempty"`
	Advice string      `cbor:"20,keyasint,omitempty"`
}

// A Pause is a Suspend or a Resume of a grant, told apart by Header.Kind.
type Pause struct {
	Header         // To: the vendor's duty key
	Grant  GrantID `cbor:"16,keyasint,omitzero"`
	Reason string  `cbor:"17,keyasint,omitempty"`
}

// An Ack tells a sender that its letters were opened and kept. A letter whose Re
// names an envelope acknowledges it as well. An Ack is never acknowledged.
type Ack struct {
	Header
	Grant GrantID `cbor:"16,keyasint,omitzero"`
	Acked []Hash  `cbor:"17,keyasint,omitempty"` // envelope hashes
}
