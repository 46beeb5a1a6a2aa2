package rules

import (
	"fmt"
	"strings"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
)

// nameOf is what people call a noun.
func nameOf(v any) string {
	switch v.(type) {
	case *protocol.Genesis:
		return "genesis document"
	case *protocol.Demand:
		return "words of a need"
	}
	return strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", v), "*protocol."))
}

// Noun applies the rules of the nouns that have no header. Others, as test
// structs or parts of a noun, have none of their own.
func Noun(v any) error {
	r := &rules{of: nameOf(v)}
	switch v := v.(type) {
	case *protocol.Letter:
		checkLetter(r, v)
	case *protocol.Op:
		checkOp(r, v)
	case *protocol.Reply:
		checkReply(r, v)
	case *protocol.Hello:
		r.known(v.V == protocol.Version, "version")
		r.must(!v.Nonce.IsZero() && !v.Net.IsZero(), "no nonce or network")
	case *protocol.Demand:
		checkDemand(r, v)
	case *protocol.Genesis:
		checkGenesis(r, v)
	case *protocol.Capability:
		r.capability(*v)
	case *protocol.DepositReceipt:
		checkDepositReceipt(r, *v)
	case *protocol.FirstContact:
		checkFirst(r, v)
	case *protocol.Vouch:
		checkVouch(r, *v)
	case *protocol.PostKey:
		checkPostKey(r, *v)
	case *protocol.Post:
		r.must(len(v.Data) > 0 && len(v.Data) <= protocol.MaxAnnouncement, "size of the announcement")
		r.must(v.Hold <= protocol.MaxPostHold, "held too long")
	}
	return r.err
}

// LetterVersion is the version of letters, apart from that of what is inside.
const LetterVersion = 1

// checkLetter: one known suite, one bucket.
func checkLetter(r *rules, l *protocol.Letter) {
	r.must(l.V != 0 && l.Suite != 0, "no version or suite")
	r.known(l.V == LetterVersion && l.Suite == seal.Suite, "version or suite")
	publicKey(r, l.Box, "mailbox")
	r.must(!l.Slot.IsZero() && l.Expires != 0, "no slot or day of expiry")
	r.must(len(l.Enc) == seal.EncSize, "encapsulated key")
	plain := len(l.Sealed) - seal.Overhead
	r.must(plain > 0 && seal.Bucket(plain-4) == plain, "sealed bytes are no bucket")
}

func (r *rules) capability(c protocol.Capability) {
	publicKey(r, c.Box, "mailbox of a capability")
	publicKey(r, c.Depositor, "depositor of a capability")
	r.must(!c.ID.IsZero() && c.Letters != 0 && c.KiB != 0 && c.Expires != 0, "capability without id, quota or end")
	r.must(len(c.Sig) == key.SignatureSize, "signature of a capability")
}

func checkDepositReceipt(r *rules, d protocol.DepositReceipt) {
	publicKey(r, d.Keeper, "keeper")
	publicKey(r, d.Box, "mailbox")
	r.must(!d.Letter.IsZero() && d.At != 0 && d.Expires > d.At, "letter or dates of a deposit receipt")
	r.must(len(d.Sig) == key.SignatureSize, "signature of a deposit receipt")
}

func checkVouch(r *rules, v protocol.Vouch) {
	publicKey(r, v.Issuer, "issuer")
	r.must(!v.Vendor.IsZero() && v.Expires != 0, "vouch without vendor or end")
	r.must(len(v.Sig) == key.SignatureSize, "signature of a vouch")
}

// checkFirst: the vendor with passport, key, date and signature, or none of these.
func checkFirst(r *rules, f *protocol.FirstContact) {
	named := !f.Vendor.IsZero()
	r.must(named == !f.Passport.IsZero() && named == !f.Key.IsZero() && named == (f.Expires != 0), "first contact names a vendor by halves")
	if named {
		publicKey(r, f.Key, "operational key")
		r.must(len(f.Sig) == key.SignatureSize, "signature of a first contact")
	} else {
		r.must(len(f.Sig) == 0 && len(f.Chain) == 0 && f.Vouch.Issuer.IsZero(), "first contact without a vendor")
	}
	r.known(f.Stamp.Lane <= protocol.LaneWork, "lane")
	r.admission(f.Stamp)
	if !f.Vouch.Issuer.IsZero() {
		checkVouch(r, f.Vouch)
		r.must(f.Vouch.Vendor == f.Vendor, "vouch for another vendor")
	}
	size := 0
	for _, raw := range f.Chain {
		size += len(raw)
	}
	r.must(len(f.Chain) <= protocol.MaxPassports && size <= protocol.MaxChain, "size of the passport chain")
}

// MaxHold is the longest that a deposit may ask a keeper to keep a letter from view.
const MaxHold = protocol.Hour

// checkOp: each kind of operation carries what it needs, signed where somebody must sign.
// The hashes of a fetch or a delete are bounded by the frame.
func checkOp(r *rules, o *protocol.Op) {
	r.must(o.N != 0 && o.Kind != 0, "no number or kind")
	blob := o.Kind >= protocol.OpBlobPut && o.Kind <= protocol.OpBlobDelete
	known := o.Kind <= protocol.OpRanges || o.Kind == protocol.OpPostKey || blob
	r.known(known && (protocol.Edition >= 0 || o.Kind <= protocol.OpPublish), "kind of operation")
	if r.err != nil {
		return
	}
	if o.Kind <= protocol.OpRevoke || blob {
		publicKey(r, o.Box, "mailbox")
	}
	_, bySomebody := Signer(o)
	r.must(bySomebody == (len(o.Sig) == key.SignatureSize) && (bySomebody || len(o.Sig) == 0), "signature")
	switch o.Kind {
	case protocol.OpDeposit:
		checkDeposit(r, o)
	case protocol.OpDelete, protocol.OpFetch:
		r.must(len(o.Hashes) > 0, "no hashes")
	case protocol.OpRevoke:
		r.must(!o.CapID.IsZero(), "no capability")
	case protocol.OpPost:
		checkPost(r, o)
	case protocol.OpPublish:
		r.must(len(o.Data) > 0 && len(o.Data) <= protocol.MaxEnvelope, "size of the passport")
	case protocol.OpPassport:
		r.must(!o.Vendor.IsZero(), "no vendor")
	case protocol.OpRanges:
		checkRanges(r, o)
	case protocol.OpBlobPut, protocol.OpBlobChunk, protocol.OpBlobGet, protocol.OpBlobDelete:
		checkBlob(r, o)
	}
	if !o.Next.Key.IsZero() || len(o.Next.Addrs) > 0 {
		r.keepers([]protocol.Keeper{o.Next}, 1, 1)
	}
}

// maxSplit is the finest split of one range in one step.
const maxSplit = 8

// checkRanges: ranges that ascend and so never overlap, each of as many bits as it says, and
// no more parts than one answer holds.
func checkRanges(r *rules, o *protocol.Op) {
	r.must(len(o.Ranges) > 0 && len(o.Ranges) <= protocol.MaxRanges, "number of ranges")
	r.must(o.Split <= maxSplit && o.Bits <= protocol.MaxRangeBits && o.Bits+o.Split <= protocol.MaxRangeBits, "bits of the ranges")
	r.must(o.Split == 0 || len(o.Ranges) <= protocol.MaxPrints>>o.Split, "parts of the ranges")
	r.must(o.Split == 0 || o.After.IsZero(), "a cursor among fingerprints")
	for i, p := range o.Ranges {
		r.must(uint64(p) < 1<<o.Bits && (i == 0 || o.Ranges[i-1] < p), "order of the ranges")
	}
}

// SealedPost is the size of every sealed post, in bytes.
const SealedPost = seal.EncSize + PostBucket + seal.Overhead

// PostBucket holds any announcement with its hold.
const PostBucket = seal.Bucket8K

// checkPost: an announcement, or, where a next node is named, what only that one can
// open. All of the latter have one size.
func checkPost(r *rules, o *protocol.Op) {
	if o.Next.Key.IsZero() {
		r.must(len(o.Data) > 0 && len(o.Data) <= protocol.MaxAnnouncement, "size of the announcement")
		return
	}
	r.must(len(o.Data) == SealedPost, "size of the sealed post")
}

// checkBlob: a copy has a digest, a size in bounds, a token and an end; a chunk is no larger
// than a chunk of a copy, and stands within the largest.
func checkBlob(r *rules, o *protocol.Op) {
	b := &o.Blob
	if o.Kind == protocol.OpBlobDelete {
		r.must(len(o.Hashes) > 0 && len(o.Hashes) <= MaxBlobsDeleted, "number of copies")
		return
	}
	r.must(!b.Digest.IsZero(), "no digest")
	r.must(b.Index < protocol.MaxCopyParts, "number of a chunk")
	switch o.Kind {
	case protocol.OpBlobPut:
		r.must(b.Size > seal.CopyOverhead && b.Size <= protocol.MaxCopy, "size of a copy")
		r.must(!b.Token.IsZero() && b.Expires != 0, "copy without token or end")
	case protocol.OpBlobChunk:
		r.must(len(b.Chunk) > 0 && len(b.Chunk) <= protocol.CopyChunk, "size of a chunk")
	case protocol.OpBlobGet:
		r.must(!b.Token.IsZero(), "no token")
	}
}

// MaxBlobsDeleted is how many copies one operation deletes.
const MaxBlobsDeleted = 8

// LargeValues applies the rules of the large values that a disclosure names: each field
// once, with a size, a digest and a key of its own.
func LargeValues(v *protocol.LargeValues) error {
	r := &rules{of: "large values"}
	r.keepers(v.Keepers, 1, protocol.MaxKeepers)
	r.must(len(v.Values) > 0 && len(v.Values) <= protocol.MaxLarges, "number of large values")
	fieldNames(r, v.Values, func(l protocol.LargeValue) protocol.FieldName { return l.Name })
	for i, l := range v.Values {
		r.must(l.Version != 0 && l.Size != 0 && l.Size <= protocol.MaxLarge, "version or size of a large value")
		r.must(!l.Digest.IsZero() && !l.Key.IsZero(), "large value without digest or key")
		r.line(l.Media, "media type", MaxMedia)
		for _, other := range v.Values[:i] {
			r.must(other.Digest != l.Digest, "copy named twice")
		}
	}
	return r.err
}

// MaxMedia bounds a media type, in bytes.
const MaxMedia = 100

// checkPostKey: whether its date is too far away is a question of the reader's clock.
func checkPostKey(r *rules, p protocol.PostKey) {
	publicKey(r, p.Keeper, "keeper")
	r.must(!p.Seal.IsZero() && p.Expires != 0, "post key without key or end")
	r.must(len(p.Sig) == key.SignatureSize, "signature of a post key")
}

// Signer tells which key signs an operation; ok is false for those that nobody signs.
func Signer(o *protocol.Op) (signer [32]byte, ok bool) {
	switch o.Kind {
	case protocol.OpCollect, protocol.OpSubscribe, protocol.OpDelete, protocol.OpRevoke,
		protocol.OpBlobPut, protocol.OpBlobChunk, protocol.OpBlobDelete:
		return o.Box, true
	case protocol.OpDeposit:
		return o.Cap.Depositor, !o.Cap.Depositor.IsZero()
	}
	return signer, false
}

func checkDeposit(r *rules, o *protocol.Op) {
	r.must(len(o.Letter) > 0 && len(o.Letter) <= protocol.MaxLetter, "size of the letter")
	r.must(o.Hold <= MaxHold, "held too long")
	if o.Cap.Depositor.IsZero() {
		checkFirst(r, &o.First)
		return
	}
	r.capability(o.Cap)
	r.must(o.Cap.Box == o.Box, "capability for another mailbox")
}

func checkReply(r *rules, p *protocol.Reply) {
	r.text(p.Text, "text", protocol.MaxText)
	if !p.Receipt.Keeper.IsZero() {
		checkDepositReceipt(r, p.Receipt)
	}
	if !p.PostKey.Keeper.IsZero() || len(p.PostKey.Sig) > 0 {
		checkPostKey(r, p.PostKey)
	}
	r.keepers(p.Keepers, 0, protocol.MaxList)
	r.must(p.Box.Check() == nil || p.Box.IsZero(), "mailbox")
	r.must(len(p.Counts) <= protocol.MaxPrints && len(p.Prints) == len(p.Counts)*protocol.PrintSize, "number of fingerprints")
	r.must(len(p.Counts) == 0 || !p.Salt.IsZero(), "fingerprints without a salt")
	r.must(p.Blob.Next <= protocol.MaxCopyParts && len(p.Blob.Chunk) <= protocol.CopyChunk, "chunk of a copy")
}

// maxDuty bounds the deadlines of a genesis document.
const maxDuty = 3660 * protocol.Day

// checkGenesis: shards a power of two up to 1,024, so that the top bits of a hash number
// them; lanes 0 and 1, in order; every deadline set.
func checkGenesis(r *rules, g *protocol.Genesis) {
	r.must(g.V != 0, "no version")
	r.known(g.V == protocol.Version, "version")
	r.must(g.Name != "", "no name")
	r.line(g.Name, "name", protocol.MaxName)
	r.must(g.Shards >= 1 && g.Shards <= 1024 && g.Shards&(g.Shards-1) == 0, "number of shards")
	r.must(!g.Categories.IsZero() && !g.Salt.IsZero(), "no category list or salt")
	r.must(len(g.Lanes) > 0, "no lane")
	for i, l := range g.Lanes {
		r.known(l.Lane <= protocol.LaneWork, "lane")
		r.admission(protocol.Admission{Lane: l.Lane, Effort: l.Effort})
		r.must(i == 0 || g.Lanes[i-1].Lane < l.Lane, "order of lanes")
	}
	d := g.Duties
	for _, s := range []protocol.Second{d.Deletion, d.Right, d.Letters, d.Boxes, d.Lease} {
		r.must(s > 0 && s <= maxDuty, "duties")
	}
}
