package protocol

import "github.com/harkmarket/hark/crypto/key"

// A Role is what an operational key may do, as a bit set.
type Role uint8

// The roles.
const (
	RoleRequests Role = 1 // sign requests and receipts
	RoleNodes    Role = 2 // run nodes
	RoleInbox    Role = 4 // open the inbox
)

// An Operational is a dated key that works for the vendor.
type Operational struct {
	Key   key.OperationalKey `cbor:"1,keyasint,omitzero"`
	Roles Role               `cbor:"2,keyasint,omitempty"`
	From  Second             `cbor:"3,keyasint,omitempty"`
	Until Second             `cbor:"4,keyasint,omitempty"`
}

// An Inbox is where strangers and customers write to a vendor. Effort and Quota
// open a lane for those who hold no capability: leading zero bits of a stamp, and
// how many such letters each keeper holds.
type Inbox struct {
	Box     key.MailboxKey                   `cbor:"1,keyasint,omitzero"`
	Seal    key.Encapsulation[key.InboxSeal] `cbor:"2,keyasint,omitzero"`
	Keepers []Keeper                         `cbor:"3,keyasint,omitempty"`
	Effort  uint8                            `cbor:"4,keyasint,omitempty"`
	Quota   uint16                           `cbor:"5,keyasint,omitempty"`
}

// An IntendedUse registers in public what a vendor asks data for (EUDI TS5).
type IntendedUse struct {
	Purpose   Purpose     `cbor:"1,keyasint,omitempty"`
	Fields    []FieldName `cbor:"2,keyasint,omitempty"`
	Retention uint32      `cbor:"3,keyasint,omitempty"` // days
}

// A Passport is a vendor's public record. The first is signed by Root; each later
// one is signed by the root key to which its predecessor committed in Next, and
// names that predecessor in Re. Seq counts from 1.
type Passport struct {
	Header
	Vendor       VendorID      `cbor:"16,keyasint,omitzero"` // absent in the first, whose hash it is
	Root         key.RootKey   `cbor:"17,keyasint,omitzero"`
	Next         Hash          `cbor:"18,keyasint,omitzero"` // commitment to the next root key: SHA-256(LP("hark/1/next-root") ‖ key)
	Operational  []Operational `cbor:"19,keyasint,omitempty"`
	Inbox        Inbox         `cbor:"20,keyasint,omitzero"`
	Name         string        `cbor:"21,keyasint,omitempty"` // trade name
	Registration string        `cbor:"22,keyasint,omitempty"`
	Country      Region        `cbor:"23,keyasint,omitempty"`
	Contact      string        `cbor:"24,keyasint,omitempty"`
	Officer      string        `cbor:"25,keyasint,omitempty"` // information officer
	Authority    string        `cbor:"26,keyasint,omitempty"` // supervisory authority
	Uses         []IntendedUse `cbor:"27,keyasint,omitempty"`
}

// A Device certificate binds a device key, and so that device's ledger, to an
// account. It is kept at home and never shown to vendors.
type Device struct {
	Header               // From: the account key
	Device key.DeviceKey `cbor:"16,keyasint,omitzero"`
	Name   string        `cbor:"17,keyasint,omitempty"`
}
