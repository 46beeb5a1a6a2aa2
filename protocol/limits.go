package protocol

// Sizes in bytes and counts. A receiver checks the size before it allocates or
// parses anything; each bound has its reason in SPEC.md, "Limits".
const (
	MaxAnnouncement = 4096      // one announcement, as an envelope
	MaxEnvelope     = 16 * 1024 // any other signed envelope
	MaxChain        = 8 * 1024  // the passports inline in a request, together
	MaxChainValue   = 32 * 1024 // a vendor's passports as a value of the DHT
	MaxLetter       = 68 * 1024 // a sealed letter: the 64 KiB bucket and its wrapping
	MaxFrame        = 96 * 1024 // one frame on a stream
	MaxGenesis      = 64 * 1024 // a genesis document
	BodyBucket      = 1024      // a padded announcement body
	MaxBody         = BodyBucket - 4

	MaxFields     = 16 // fields on offer, asked for, granted, or disclosed at once
	MaxIssuers    = 8
	MaxKeepers    = 3  // keepers of one mailbox
	MaxAddrs      = 4  // addresses of one keeper
	MaxAddr       = 96 // bytes of one binary multiaddr
	MaxOperators  = 8  // operational keys in a passport
	MaxPassports  = 16 // passports in a chain
	MaxAcked      = 64 // letters acknowledged at once
	MaxText       = 400
	MaxName       = 160
	MaxValue      = 4096 // one disclosed value
	MaxProof      = 1024 // the proof of a payment
	MaxList       = 32   // any other list
	FirstPerBox   = 64   // first letters kept for one mailbox
	FirstVouched  = 48   // of these, kept for vendors vouched for
	MaxRanges     = 1024 // ranges asked about at once
	MaxPrints     = 2048 // their fingerprints, or ids, in one answer
	MaxRangeBits  = 32   // leading bits that set ranges apart
	PrintSize     = 16   // bytes of a fingerprint
	MaxNeedLife   = 14 * Day
	MaxStandLife  = 180 * Day // an interest
	MaxRelation   = 730 * Day // a grant that she started
	MaxPerDay     = 24        // disclosures under one grant in 24 hours, where she sets a limit
	MaxSkew       = 2 * Hour  // a letter from further ahead is refused, from nearer it is parked
	MaxAnnounceIn = 2 * Minute
	MaxPostHold   = 10_000  // milliseconds that a keeper sits on a sealed post
	MaxPostKey    = 2 * Day // life of the key that posts are sealed to
)
