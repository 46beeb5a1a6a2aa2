package protocol

import "github.com/harkmarket/hark/crypto/key"

// A Letter is what a keeper sees of a message: a mailbox, a random slot, a day of
// expiry and sealed bytes. It must never carry a kind, a sender or a time of day.
type Letter struct {
	V       uint8          `cbor:"1,keyasint,omitempty"`
	Suite   uint8          `cbor:"2,keyasint,omitempty"` // 1: MLKEM768-X25519, HKDF-SHA256, ChaCha20-Poly1305
	Box     key.MailboxKey `cbor:"3,keyasint,omitzero"`
	Slot    ID             `cbor:"4,keyasint,omitzero"`
	Expires uint32         `cbor:"5,keyasint,omitempty"` // days since 1970-01-01
	Enc     []byte         `cbor:"6,keyasint,omitempty"` // HPKE encapsulated key, 1120 bytes
	Sealed  []byte         `cbor:"7,keyasint,omitempty"` // ciphertext of one padding bucket
}

// A Capability lets the holder of one depositor key leave letters in one mailbox.
// It never names the vendor, and is revoked alone. Signed by the mailbox key.
type Capability struct {
	Box       key.MailboxKey   `cbor:"1,keyasint,omitzero"`
	ID        ID               `cbor:"2,keyasint,omitzero"`
	Depositor key.DepositorKey `cbor:"3,keyasint,omitzero"`
	Letters   uint16           `cbor:"4,keyasint,omitempty"` // letters that one keeper holds at once
	KiB       uint16           `cbor:"5,keyasint,omitempty"` // of plaintext buckets, likewise
	Expires   Second           `cbor:"6,keyasint,omitempty"`
	Sig       []byte           `cbor:"7,keyasint,omitempty"` // by Box over the other keys
}

// An Address tells one counterparty how to reach a mailbox: where it is kept, and
// the capability with the seed of its depositor key. Only inside sealed letters.
type Address struct {
	Keepers    []Keeper   `cbor:"1,keyasint,omitempty"`
	Capability Capability `cbor:"2,keyasint,omitzero"`
	Seed       Shared     `cbor:"3,keyasint,omitzero"` // of the depositor key
}

// A Vouch is an issuer's word for a vendor; keepers serve such vendors first where
// the announcement names the issuer.
type Vouch struct {
	Issuer  key.IssuerKey `cbor:"1,keyasint,omitzero"`
	Vendor  VendorID      `cbor:"2,keyasint,omitzero"`
	Expires Second        `cbor:"3,keyasint,omitempty"`
	Sig     []byte        `cbor:"4,keyasint,omitempty"`
}

// A FirstContact is shown with a letter that has no capability. To a context
// mailbox: the vendor, its passport, an operational key's signature over box,
// letter, keeper and expiry, and a stamp. To a vendor's inbox: the stamp alone.
type FirstContact struct {
	Vendor   VendorID           `cbor:"1,keyasint,omitzero"`
	Passport Hash               `cbor:"2,keyasint,omitzero"`
	Key      key.OperationalKey `cbor:"3,keyasint,omitzero"`
	Expires  Second             `cbor:"4,keyasint,omitempty"`
	Sig      []byte             `cbor:"5,keyasint,omitempty"`
	Stamp    Admission          `cbor:"6,keyasint,omitzero"`
	Vouch    Vouch              `cbor:"7,keyasint,omitzero"`
	Chain    [][]byte           `cbor:"8,keyasint,omitempty"` // passports, where the keeper said that it lacks them
}

// An OpKind is an operation on a stream. Numbers are on the wire.
type OpKind uint8

// The operations of /hark/mail/1, /hark/post/1, /hark/sync/1 and /hark/blob/1.
const (
	OpDeposit   OpKind = 1
	OpCollect   OpKind = 2 // list and fetch what a mailbox holds
	OpSubscribe OpKind = 3 // have letters of a mailbox pushed on this stream from now on
	OpDelete    OpKind = 4
	OpRevoke    OpKind = 5  // a capability
	OpPost      OpKind = 6  // an announcement, to be published
	OpList      OpKind = 7  // live ids of a shard
	OpFetch     OpKind = 8  // announcements by id
	OpPassport  OpKind = 9  // a vendor's passports
	OpPeers     OpKind = 10 // public nodes that this one knows
	OpPublish   OpKind = 11 // a passport, to be kept and passed on
	OpRanges    OpKind = 12 // fingerprints of ranges of a shard's ids, or the ids themselves
	OpPostKey   OpKind = 14 // the key that posts to a keeper are sealed to

	OpBlobPut    OpKind = 20 // announce the copy of a large value, or go on with it
	OpBlobChunk  OpKind = 21 // its next chunk
	OpBlobGet    OpKind = 22 // one chunk of it, for whoever shows its token
	OpBlobDelete OpKind = 23 // copies, for good
)

// An Op is one operation. Owner is the mailbox key that signs OpCollect,
// OpSubscribe, OpDelete, OpRevoke, OpBlobPut, OpBlobChunk and OpBlobDelete; a deposit under a capability is signed by
// its depositor key. The signature covers keeper, the stream's nonce, N and all
// other keys, so that no operation can be replayed or moved to another keeper.
type Op struct {
	N      uint32         `cbor:"1,keyasint,omitempty"` // counts operations on this stream from 1
	Kind   OpKind         `cbor:"2,keyasint,omitempty"`
	Box    key.MailboxKey `cbor:"3,keyasint,omitzero"`
	Letter []byte         `cbor:"4,keyasint,omitempty"`
	Cap    Capability     `cbor:"5,keyasint,omitzero"`
	First  FirstContact   `cbor:"6,keyasint,omitzero"`
	Hold   Second         `cbor:"7,keyasint,omitempty"` // deposit: show the letter only after so many seconds, at most an hour
	Hashes []Hash         `cbor:"8,keyasint,omitempty"` // delete, fetch
	After  Hash           `cbor:"9,keyasint,omitzero"`  // list, collect: resume after this id
	Shard  uint16         `cbor:"10,keyasint,omitempty"`
	Next   Keeper         `cbor:"11,keyasint,omitzero"`  // post: hand it to this node, which alone can open it and publishes it; post key: whose
	Data   []byte         `cbor:"12,keyasint,omitempty"` // post, publish: the envelope; post with next: a sealed Post
	Vendor VendorID       `cbor:"13,keyasint,omitzero"`
	CapID  ID             `cbor:"14,keyasint,omitzero"`  // revoke
	Ranges []uint32       `cbor:"15,keyasint,omitempty"` // ranges: each is all ids that begin with these Bits, ascending
	Bits   uint8          `cbor:"16,keyasint,omitempty"`
	Split  uint8          `cbor:"17,keyasint,omitempty"` // fingerprints of the 2^Split parts of each; 0: the ids after After
	Blob   BlobOp         `cbor:"30,keyasint,omitzero"`
	Sig    []byte         `cbor:"127,keyasint,omitempty"`
}

// A Reply answers the Op of the same N, or, with N zero, pushes letters of a
// subscribed mailbox.
type Reply struct {
	N       uint32         `cbor:"1,keyasint,omitempty"`
	Fault   uint8          `cbor:"2,keyasint,omitempty"` // fault.Kind + 1, as Outside shows it; absent: done
	Text    string         `cbor:"3,keyasint,omitempty"`
	Receipt DepositReceipt `cbor:"4,keyasint,omitzero"`
	Box     key.MailboxKey `cbor:"5,keyasint,omitzero"`
	Letters [][]byte       `cbor:"6,keyasint,omitempty"` // collect, push: letters; fetch: announcements; passport: the chain
	Hashes  []Hash         `cbor:"7,keyasint,omitempty"` // list: ids; delete: those that were there
	More    bool           `cbor:"8,keyasint,omitempty"`
	Keepers []Keeper       `cbor:"9,keyasint,omitempty"`
	Salt    ID             `cbor:"10,keyasint,omitzero"`  // ranges: under which this node's fingerprints are made
	Counts  []uint32       `cbor:"11,keyasint,omitempty"` // ranges: how many ids each part has
	Prints  []byte         `cbor:"12,keyasint,omitempty"` // ranges: the fingerprint of each part, 16 bytes
	PostKey PostKey        `cbor:"20,keyasint,omitzero"`
	Blob    BlobReply      `cbor:"30,keyasint,omitzero"`
}

// A PostKey is a keeper's signed word for the key that posts to it are sealed to
// until Expires. Others pass it on, so that who asks for it need not ask the keeper.
type PostKey struct {
	Keeper  key.KeeperKey                   `cbor:"1,keyasint,omitzero"`
	Seal    key.Encapsulation[key.PostSeal] `cbor:"2,keyasint,omitzero"`
	Expires Second                          `cbor:"3,keyasint,omitempty"`
	Sig     []byte                          `cbor:"4,keyasint,omitempty"` // by Keeper over the other keys
}

// A Post is what is sealed to a keeper by way of another node: an announcement, and
// for how many milliseconds the keeper shall sit on it before it publishes it. It
// must never say who posts.
type Post struct {
	Data []byte `cbor:"1,keyasint,omitempty"`
	Hold uint16 `cbor:"2,keyasint,omitempty"`
}

// A DepositReceipt is a keeper's signed word that it holds a letter until Expires.
// A keeper that then lacks the letter convicts itself with it.
type DepositReceipt struct {
	Keeper  key.KeeperKey  `cbor:"1,keyasint,omitzero"`
	Box     key.MailboxKey `cbor:"2,keyasint,omitzero"`
	Letter  Hash           `cbor:"3,keyasint,omitzero"`
	At      Second         `cbor:"4,keyasint,omitempty"`
	Expires Second         `cbor:"5,keyasint,omitempty"`
	Sig     []byte         `cbor:"6,keyasint,omitempty"`
}

// A Hello opens a stream: the keeper's fresh nonce.
type Hello struct {
	V     uint8 `cbor:"1,keyasint,omitempty"`
	Nonce ID    `cbor:"2,keyasint,omitzero"`
	Net   Hash  `cbor:"3,keyasint,omitzero"`
}
