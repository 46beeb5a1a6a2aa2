package protocol

// Bounds of large values. A copy is a large value sealed for one reader, in chunks of
// 64 KiB with 16 bytes each on top.
const (
	MaxLarge     = 16 << 20              // bytes of one large value
	MaxLarges    = 4                     // large values that one disclosure names
	CopyChunk    = 64<<10 + 16           // bytes of each chunk of a copy but the last
	MaxCopy      = MaxLarge + 16*256     // bytes of one copy
	MaxCopyParts = MaxLarge / (64 << 10) // chunks of one copy
)

// CopySize is how many bytes the copy of a large value of so many bytes has.
func CopySize(plain uint32) uint32 { return plain + 16*((plain+64<<10-1)/(64<<10)) }

// CopyParts is how many chunks a copy of so many bytes has.
func CopyParts(size uint32) uint32 { return (size + CopyChunk - 1) / CopyChunk }

// A BlobOp is what the operations on copies carry. It must never say whose value it is,
// or for whom.
type BlobOp struct {
	Digest  Hash   `cbor:"1,keyasint,omitzero"`  // SHA-256 of the copy
	Size    uint32 `cbor:"2,keyasint,omitempty"` // put: bytes of the copy
	Index   uint32 `cbor:"3,keyasint,omitempty"` // chunk, get: which, from 0
	Chunk   []byte `cbor:"4,keyasint,omitempty"` // chunk: its bytes
	Token   Hash   `cbor:"5,keyasint,omitzero"`  // get: shows that its reader was told of it; put: SHA-256 of that
	Expires Second `cbor:"6,keyasint,omitempty"` // put: the keeper deletes it then
}

// A BlobReply is what the answers to them carry.
type BlobReply struct {
	Next  uint32 `cbor:"1,keyasint,omitempty"` // put, chunk: the chunk that is wanted next; all of them: it is kept
	Chunk []byte `cbor:"2,keyasint,omitempty"` // get
}

// A LargeValue is one large value in a Disclosure: where its copy is to be had, and the
// key of that copy alone, never one of the vault.
type LargeValue struct {
	Name    FieldName `cbor:"1,keyasint,omitempty"`
	Version uint64    `cbor:"2,keyasint,omitempty"`
	Size    uint32    `cbor:"3,keyasint,omitempty"` // bytes of the value
	Digest  Hash      `cbor:"4,keyasint,omitzero"`  // SHA-256 of the copy
	Key     Shared    `cbor:"5,keyasint,omitzero"`
	Media   string    `cbor:"6,keyasint,omitempty"` // media type
}

// LargeValues stand under ignorable key 150 of a Disclosure: a program that does not know
// them gets the other values.
type LargeValues struct {
	Keepers []Keeper     `cbor:"1,keyasint,omitempty"` // where the copies lie
	Values  []LargeValue `cbor:"2,keyasint,omitempty"`
}
