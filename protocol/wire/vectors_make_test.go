package wire

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fingerprint"
	"github.com/harkmarket/hark/protocol/wire/canon"
	"github.com/harkmarket/hark/protocol/wire/limits"
	"github.com/harkmarket/hark/protocol/wire/particulars"
)

// vectors makes every case. Keys come from the seeds of sample_test.go.
func vectors() (all []*vector) {
	add := func(name, what, expect, comment string, raw []byte, heads ...string) *vector {
		v := &vector{name: name, raw: raw, heads: [][2]string{{"comment", comment}, {"what", what}, {"expect", expect}}}
		for i := 0; i < len(heads); i += 2 {
			v.heads = append(v.heads, [2]string{heads[i], heads[i+1]})
		}
		all = append(all, v)
		return v
	}
	kindVectors(add)
	announcementVectors(add)
	formVectors(add)
	meetVectors(add)
	letterVectors(add)
	mailVectors(add)
	valueVectors(add)
	blobVectors(add)
	return all
}

type adder func(name, what, expect, comment string, raw []byte, heads ...string) *vector

// hexOf gives the bytes of a key, hash or slice; %x would ask its String method.
func hexOf(v any) string {
	bytes := reflect.ValueOf(v)
	raw := make([]byte, bytes.Len())
	reflect.Copy(reflect.ValueOf(raw), bytes)
	return hex.EncodeToString(raw)
}

// kindVectors: one valid envelope of each signed kind.
func kindVectors(add adder) {
	for _, s := range specimens() {
		k := s.m.Head().Kind
		if k == protocol.KindAnnouncement {
			continue
		}
		raw := must(s.sign(s.m, nil))
		add("ok-"+k.String(), "envelope", "ok", "a valid "+k.String(), raw, "kind", k.String(), "id", hexOf(ID(raw)))
	}
	g := grant()
	g.Re, g.Nonce, g.Reason = protocol.Hash{}, hash("nonce"), protocol.ContextRelation
	g.Grant = GrantID(contextKey.Public(), g.To, g.Nonce)
	raw := must(Sign(contextKey, g))
	add("ok-grant-unasked", "envelope", "ok", "a grant to a vendor of her choice, without a request", raw, "kind", "grant", "id", hexOf(ID(raw)))
	cost, pays := priced()
	for name, raw := range map[string][]byte{"grant": must(Sign(contextKey, cost)), "receipt": must(Sign(operation, pays))} {
		add("priced-"+name, "envelope", "ok", "a "+name+" of 5.00 ZAR on the rail voucher", raw, "kind", name, "id", hexOf(ID(raw)))
	}
	three := must(limits.Extra(protocol.GrantLimits{PerDay: 3}))
	add("grant-limits", "limits", "ok", "a grant under which she discloses at most three times a day", must(SignExtra(contextKey, g, three)), "per-day", "3")
	add("grant-limits-form", "limits", "ok", "25 in its place, which is too many, counts as none", must(SignExtra(contextKey, g, protocol.Extra("\x18\x8c\xa1\x01\x18\x19"))), "per-day", "0")
}

func announcementVectors(add adder) {
	raw := must(SignAnnouncement(contextKey, announcement(), 1, 8))
	add("announcement-open", "announcement", "ok", "a need with a stamp of 8 bits", raw, "kind", "announcement", "id", hexOf(ID(raw)), "work", "8")
	add("announcement-body", "body", "ok", "its body under the body key", raw, "body-key", hexOf(secret("body").Reveal()), "plain", hexOf(must(Marshal(demand()))))
	add("announcement-body-other-key", "body", "denied", "its body under another key", raw, "body-key", hexOf(secret("x").Reveal()))
	gone := must(SignAnnouncement(contextKey, withdrawal(), 0, 0))
	add("announcement-withdrawn", "announcement", "ok", "a withdrawal: no keys, no mailbox, no body", gone, "kind", "announcement", "id", hexOf(ID(gone)))
	more := must(announcementExtra())
	add("announcement-ignorable", "announcement", "ok", "keys 128 and 300 of a newer program are kept as they are", more, "id", hexOf(ID(more)), "extra", hexOf([]byte(extra())))
	large := announcement()
	for i := range protocol.MaxIssuers - 2 {
		large.Issuers = append(large.Issuers, private[key.Issuer](fmt.Sprint(i)).Public())
	}
	filled := must(SignAnnouncement(contextKey, large, 0, 0))
	add("announcement-too-large", "announcement", "malformed", "over 4,096 bytes", append(filled, make([]byte, protocol.MaxAnnouncement)...))
	for _, c := range []struct {
		name, expect, comment string
		do                    func(*protocol.Announcement)
	}{
		{"life", "malformed", "a need that lives longer than 14 days", func(a *protocol.Announcement) { a.Expires = a.Created + protocol.MaxNeedLife + 1 }},
		{"study", "unsupported", "a reserved kind of context", func(a *protocol.Announcement) { a.Reason = protocol.ContextStudy }},
		{"status", "unsupported", "a status that is not known", func(a *protocol.Announcement) { a.Status = 3 }},
		{"other-context", "malformed", "context is another key than the sender's", func(a *protocol.Announcement) { a.Context = hash("x") }},
		{"small-order", "malformed", "a mailbox key of small order", func(a *protocol.Announcement) { a.Mailbox = smallOrder }},
		{"short-body", "malformed", "a body that is no full bucket", func(a *protocol.Announcement) { a.Body = a.Body[1:] }},
		{"no-keeper", "malformed", "open without a keeper", func(a *protocol.Announcement) { a.Keepers = nil }},
		{"off-ladder", "malformed", "a price floor of 3 cents, off the 1-2-5 ladder", func(a *protocol.Announcement) { a.Fields[1].Floor.Minor = 3 }},
		{"withdrawn-with-body", "malformed", "a withdrawal that still offers", func(a *protocol.Announcement) { a.Status = protocol.Withdrawn }},
		{"region", "malformed", "a region in small letters", func(a *protocol.Announcement) { a.Region = "za" }},
	} {
		a := announcement()
		a.Header.V, a.Kind, a.Alg, a.From, a.Context = 1, protocol.KindAnnouncement, protocol.AlgEd25519, contextID, contextID
		c.do(a)
		add("announcement-"+c.name, "announcement", c.expect, c.comment, seal.SignEnvelope(contextKey, announcementDomain, must(encodePayload(a, nil))))
	}
}

// formVectors: one offer, spelled wrongly in each way.
func formVectors(add adder) {
	raw := must(Sign(itsDuty, offer()))
	e := must(seal.ParseEnvelope(raw))
	p := e.Payload
	payload := func(p []byte) []byte { return seal.SignEnvelope(itsDuty, protocol.KindOffer.Domain(), p) }
	replace := func(old, new string) []byte {
		if !bytes.Contains(p, []byte(old)) {
			panic("nothing to replace")
		}
		return payload(bytes.Replace(p, []byte(old), []byte(new), 1))
	}
	change := func(do func(*seal.Envelope)) []byte {
		c := must(seal.ParseEnvelope(bytes.Clone(raw)))
		do(&c)
		return c.Marshal()
	}
	title := "\x12\x68Oak desk"
	for _, c := range []struct {
		name, expect, comment string
		raw                   []byte
	}{
		{"long-int", "malformed", "seq 1 written in two bytes", replace("\x09\x01\x0a", "\x09\x18\x01\x0a")},
		{"long-length", "malformed", "a text length written in two bytes", replace(title, "\x12\x78\x08Oak desk")},
		{"unsorted", "malformed", "keys 30 and 29 in that order", payload(with(p, "\x18\x1e\x01", "\x18\x1d\x01"))},
		{"double-key", "malformed", "the last key twice", payload(with(p, "\x18\x19\x02"))},
		{"critical-key", "unsupported", "a critical key that is not known", payload(with(p, "\x18\x7e\x01"))},
		{"ignorable-key", "ok", "an ignorable key that is not known", payload(with(p, "\x18\x80\x01"))},
		{"ignorable-unsorted", "malformed", "ignorable keys out of order", payload(with(p, "\x18\x81\x01", "\x18\x80\x01"))},
		{"ignorable-zero", "malformed", "a zero written under an ignorable key", payload(with(p, "\x18\x80\x00"))},
		{"zero-written", "malformed", "rank 0 written instead of left out", replace("\x18\x19\x01", "\x18\x19\x00")},
		{"float", "malformed", "a rank of 1.0", replace("\x18\x19\x01", "\x18\x19\xf9\x3c\x00")},
		{"negative", "malformed", "a rank of -1", replace("\x18\x19\x01", "\x18\x19\x20")},
		{"null", "malformed", "a rank of null", replace("\x18\x19\x01", "\x18\x19\xf6")},
		{"tag", "malformed", "a tagged rank", replace("\x18\x19\x01", "\x18\x19\xc1\x01")},
		{"indefinite", "malformed", "a title of indefinite length", replace(title, "\x12\x7f\x68Oak desk\xff")},
		{"not-utf8", "malformed", "a title that is not UTF-8", replace(title, "\x12\x68Oak des\xff")},
		{"bytes-as-text", "malformed", "a title as a byte string", replace(title, "\x12\x48Oak desk")},
		{"array-as-bytes", "malformed", "the id as an array of 16 numbers", replace("\x05\x50"+string(p[bytes.Index(p, []byte("\x05\x50"))+2:][:16]), "\x05\x90"+string(bytes.Repeat([]byte{1}, 16)))},
		{"control-character", "malformed", "an escape code in a title", replace(title, "\x12\x68Oak\x1bdesk")},
		{"bytes-after-payload", "malformed", "a byte after the payload's map", payload(append(bytes.Clone(p), 0))},
		{"bytes-after-envelope", "malformed", "a byte after the envelope", append(bytes.Clone(raw), 0)},
		{"version-2", "unsupported", "version 2", replace("\x01\x01\x02", "\x01\x02\x02")},
		{"algorithm-3", "unsupported", "an algorithm that is not known", replace("\x03\x08\x04\x01", "\x03\x08\x04\x03")},
		{"kind-40", "unsupported", "a reserved kind", seal.SignEnvelope(itsDuty, "hark/1/kind-40", p)},
		{"other-kind", "malformed", "an offer in the domain of an acceptance", seal.SignEnvelope(itsDuty, protocol.KindAccept.Domain(), p)},
		{"foreign-domain", "malformed", "a domain of another protocol", seal.SignEnvelope(itsDuty, "libp2p-peer-record", p)},
		{"swapped-type", "malformed", "signed as an offer, typed as an acceptance", change(func(e *seal.Envelope) { e.Type = []byte("hark/1/accept") })},
		{"other-signer", "malformed", "signed by another key than from", seal.SignEnvelope(herDuty, protocol.KindOffer.Domain(), p)},
		{"signature", "malformed", "one bit of the signature is wrong", change(func(e *seal.Envelope) { e.Signature[0] ^= 1 })},
		{"signature-s-plus-l", "malformed", "S of the signature plus the group's order", change(func(e *seal.Envelope) { e.Signature = plusOrder(e.Signature) })},
		{"small-order-sender", "malformed", "an envelope key of small order, with R = the identity and S = 0", change(func(e *seal.Envelope) {
			e.Payload = bytes.Replace(e.Payload, e.Key[:], smallOrder[:], 1)
			e.Key, e.Signature = smallOrder, append(bytes.Clone(smallOrder[:]), make([]byte, 32)...)
		})},
		{"too-large", "malformed", "over 16 KiB", append(bytes.Clone(raw), make([]byte, protocol.MaxEnvelope)...)},
	} {
		heads := []string{}
		if c.name == "ignorable-key" {
			heads = []string{"extra", "188001"}
		}
		add("form-"+c.name, "envelope", c.expect, c.comment, c.raw, heads...)
	}
}

// meetVectors: a valid message that is not what its reader expects.
func meetVectors(add adder) {
	raw := must(Sign(operation, request()))
	expect := func(change ...string) []string {
		heads := []string{"kind", "request", "net", hexOf(testNet), "to", hexOf(contextID), "context", hexOf(contextID), "now", fmt.Sprint(testNow)}
		for i := 0; i < len(heads); i += 2 {
			if heads[i] == change[0] {
				heads[i+1] = change[1]
			}
		}
		return heads
	}
	add("meets", "envelope", "ok", "a request as its reader expects it", raw, expect("", "")...)
	add("meets-other-net", "envelope", "denied", "a request of another network", raw, expect("net", hexOf(hash("x")))...)
	add("meets-other-reader", "envelope", "denied", "a request to another customer", raw, expect("to", hexOf(hash("x")))...)
	add("meets-other-context", "envelope", "denied", "a request in another context", raw, expect("context", hexOf(hash("x")))...)
	add("meets-other-kind", "envelope", "denied", "a request where a receipt is expected", raw, expect("kind", "receipt")...)
	add("meets-expired", "envelope", "expired", "a request at the second of its end", raw, expect("now", fmt.Sprint(testNow+30*protocol.Day))...)
	add("meets-from-the-future", "envelope", "expired", "a request created more than two hours ahead", raw, expect("now", fmt.Sprint(testNow-protocol.MaxSkew-1))...)
	add("meets-within-skew", "envelope", "ok", "a request created two hours ahead", raw, expect("now", fmt.Sprint(testNow-protocol.MaxSkew))...)
}

func letterVectors(add adder) {
	box := private[key.Mailbox]("box context").Public()
	put := func(name, class, expect, comment string, seed key.Secret, raw, plain []byte, more ...string) {
		heads := append([]string{"class", class, "net", hexOf(testNet), "seed", hexOf(seed.Reveal())}, more...)
		if expect == "ok" {
			heads = append(heads, "plain", hexOf(plain))
		}
		add(name, "letter", expect, comment, raw, heads...).drawn = true
	}
	req, gr, off, fin := must(Sign(operation, request())), must(Sign(contextKey, grant())), must(Sign(itsDuty, offer())), must(Sign(itsDuty, step(protocol.KindClose)))
	first, _ := sealTo(opener[key.ContextSeal]("context").Public(), seal.First, box, req)
	put("letter-first", "first", "ok", "a request to a context", secret("context"), first, req)
	put("letter-other-class", "duty", "denied", "the same, opened as class duty", secret("context"), first, nil)
	put("letter-other-key", "first", "denied", "the same, with another key", secret("x"), first, nil)
	bent := bytes.Clone(first)
	bent[bytes.Index(first, box[:])+31] ^= 1
	put("letter-other-box", "first", "denied", "the same, moved to another mailbox", secret("context"), bent, nil)
	put("letter-cut", "first", "malformed", "the same without its last byte", secret("context"), first[:len(first)-1], nil)
	granted, export := sealTo(opener[key.RequestSeal]("request").Public(), seal.Vendor, box, gr)
	mac := export(seal.LabelDisclose)
	put("letter-vendor", "vendor", "ok", "a grant to a request key, with the exported MAC key", secret("request"), granted, gr, "export", hexOf(mac.Reveal()))
	duty, _ := sealTo(opener[key.DutySeal]("her duty").Public(), seal.Duty, box, fin)
	put("letter-duty", "duty", "ok", "the end of a deal, to her duty key", secret("her duty"), duty, fin)
	locked, _ := sealTo(opener[key.OfferSeal]("offer").Public(), seal.Offer, box, SealOffer(secret("offer secret"), grant().Grant, off))
	put("letter-offer", "offer", "ok", "an offer under its two locks", secret("offer"), locked, off, "offer-secret", hexOf(secret("offer secret").Reveal()), "grant", hexOf(grant().Grant))
	put("letter-offer-other-secret", "offer", "denied", "an offer with another offer secret", secret("offer"), locked, nil, "offer-secret", hexOf(secret("x").Reveal()), "grant", hexOf(grant().Grant))
	put("letter-offer-other-grant", "offer", "denied", "an offer moved to another grant", secret("offer"), locked, nil, "offer-secret", hexOf(secret("offer secret").Reveal()), "grant", hexOf(hash("x")))
	disclosed := must(SealDisclosure(disclosure(), secret("mac")))
	add("disclosure", "disclosure", "ok", "a disclosure under its MAC key", disclosed, "mac-key", hexOf(secret("mac").Reveal()), "id", hexOf(ID(disclosed)),
		"body-key", hexOf(secret("body").Reveal()), "offer-secret", hexOf(secret("offer secret").Reveal()))
	add("disclosure-other-key", "disclosure", "denied", "a disclosure under another MAC key", disclosed, "mac-key", hexOf(secret("x").Reveal()))
}

func sealTo[P key.SealPurpose](to key.Encapsulation[P], c seal.Class, box key.MailboxKey, plain []byte) ([]byte, func(seal.Label) key.Secret) {
	raw, export, err := SealLetter(to, c, testNet, box, testNow+30*protocol.Day, plain)
	return must(raw, err), export
}

// fingerprintVectors: the raw bytes are the ids, one after another.
func fingerprintVectors(add adder) {
	salt := id("salt")
	for n, name := range []string{"none", "one", "two", "three"} {
		var sum fingerprint.Sum
		var ids []byte
		for i := range n {
			x := hash(fmt.Sprint("announcement ", i))
			sum.Add(fingerprint.SumOf(salt, x))
			ids = append(ids, x[:]...)
		}
		p := sum.Print(uint32(n))
		add("fingerprint-"+name, "fingerprint", "ok", "fingerprint of a range of so many ids", ids, "salt", hexOf(salt), "print", hexOf(p))
	}
}

func mailVectors(add adder) {
	now := fmt.Sprint(testNow)
	c := capability("offer")
	add("capability", "capability", "ok", "a capability for 20 letters", must(Marshal(c)), "now", now)
	add("capability-expired", "capability", "expired", "the same at its end", must(Marshal(c)), "now", fmt.Sprint(c.Expires))
	c.Letters++
	add("capability-changed", "capability", "denied", "the same for one letter more", must(Marshal(c)), "now", now)
	keeper, nonce := hexOf(keepers(1)[0].Key), hexOf(id("nonce"))
	for _, v := range sampleOps() {
		o := v.(*protocol.Op)
		add(fmt.Sprintf("operation-%d-of-kind-%d", o.N, o.Kind), "operation", "ok", fmt.Sprintf("operation of kind %d", o.Kind), must(Marshal(o)), "keeper", keeper, "nonce", nonce)
	}
	add("operation-replayed", "operation", "denied", "a deposit on another stream", must(Marshal(capDeposit())), "keeper", keeper, "nonce", hexOf(id("x")))
	add("operation-other-keeper", "operation", "denied", "a deposit at another keeper", must(Marshal(capDeposit())), "keeper", hexOf(keepers(2)[1].Key), "nonce", nonce)
	add("operation-unknown-key", "operation", "unsupported", "an operation with a key above 128, which may not be left unread here", with(must(Marshal(sampleOps()[0])), "\x18\x80\x01"), "keeper", keeper, "nonce", nonce)
	disorder := must(Marshal(&protocol.Op{N: 12, Kind: protocol.OpRanges, Ranges: []uint32{9, 9}, Bits: 4, Split: 6}))
	add("operation-ranges-twice", "operation", "malformed", "an operation that names a range twice", disorder, "keeper", keeper, "nonce", nonce)
	ranges := must(Marshal(&protocol.Op{N: 12, Kind: protocol.OpRanges, Ranges: []uint32{16}, Bits: 4, Split: 6}))
	add("operation-ranges-beyond", "operation", "malformed", "an operation that names a range of more bits than it says", ranges, "keeper", keeper, "nonce", nonce)
	fingerprintVectors(add)
	r := depositReceipt()
	add("deposit-receipt", "deposit-receipt", "ok", "a keeper's receipt", must(Marshal(r)))
	r.Expires++
	add("deposit-receipt-changed", "deposit-receipt", "denied", "the same for a second longer", must(Marshal(r)))
	ack := &protocol.Ack{Header: header(protocol.KindAck, protocol.Hash(itsDuty.Public()), ""), Grant: grant().Grant, Acked: []protocol.Hash{hash("x")}}
	add("ack-told", "told", "ok", "an ack that passes two receipts on", must(SignExtra(herDuty, ack, toldExtra(2))), "letters", strings.Repeat(hexOf(hash("letter")), 2))
	add("ack-told-form", "told", "ok", "a text in their place counts as none", must(SignExtra(herDuty, ack, extra())), "letters", "")
	more := protocol.Particulars{Explicit: []protocol.FieldName{"health.allergy"}, Protection: "the law of Kenya", Automated: "a score decides who gets an offer"}
	add("request-particulars", "particulars", "ok", "a request that asks expressly for something special", must(SignExtra(operation, request(), must(particulars.Extra(more)))),
		"said", "[health.allergy] the law of Kenya a score decides who gets an offer")
	add("request-particulars-form", "particulars", "ok", "a text in their place counts as not said", must(SignExtra(operation, request(), extra())), "said", "[]")
	coarse := grant()
	coarse.Fields[0].Form, coarse.Fields[0].Level = protocol.FormCoarse, "region"
	less := must(Sign(contextKey, coarse))
	add("grant-coarse", "envelope", "ok", "a grant of a coarser value than was asked", less, "kind", "grant", "id", hexOf(ID(less)))
	add("hello", "hello", "ok", "a keeper's first word", hello(protocol.Hash{}), "operator", strings.Repeat("00", 32))
	add("hello-operator", "hello", "ok", "the same of a keeper that a vendor runs", hello(hash("vendor")), "operator", hexOf(hash("vendor")))
	add("hello-operator-form", "hello", "ok", "a number in the operator's place counts as none", with(hello(protocol.Hash{}), "\x18\x80\x01"), "operator", strings.Repeat("00", 32))
	clocked := func(operator protocol.VendorID) []byte {
		return must(encodeHello(protocol.Hello{V: 1, Nonce: id("n"), Net: testNet}, Aside{operator, 1_800_000_000}))
	}
	add("hello-clock", "hello", "ok", "a keeper that says what time it is", clocked(protocol.Hash{}), "operator", strings.Repeat("00", 32), "clock", "1800000000")
	add("hello-operator-clock", "hello", "ok", "and who runs it", clocked(hash("vendor")), "operator", hexOf(hash("vendor")), "clock", "1800000000")
	add("hello-clock-form", "hello", "ok", "a text in the clock's place counts as none", with(hello(protocol.Hash{}), "\x18\x81\x61x"), "operator", strings.Repeat("00", 32), "clock", "0")
	add("hello-unknown-key", "hello", "unsupported", "an unknown critical key", with(hello(protocol.Hash{}), "\x04\x01"))
	postVectors(add, now)
	f := firstDeposit().First
	box, letter := hexOf(private[key.Mailbox]("box context").Public()), hexOf(ID([]byte("letter")))
	add("first-contact", "first-contact", "ok", "a vendor's first letter with a stamp of 6 bits", must(Marshal(f)), "box", box, "letter", letter, "keeper", keeper, "now", now, "work", "6")
	add("first-contact-other-letter", "first-contact", "denied", "the same beside another letter", must(Marshal(f)), "box", box, "letter", hexOf(hash("x")), "keeper", keeper, "now", now)
	add("vouch", "vouch", "ok", "an issuer's word for a vendor", must(Marshal(vouch())), "now", now)
}

func postVectors(add adder, now string) {
	p := postKey()
	add("post-key", "post-key", "ok", "a keeper's word for the key that posts are sealed to", must(Marshal(p)), "now", now)
	add("post-key-expired", "post-key", "expired", "the same at its end", must(Marshal(p)), "now", fmt.Sprint(p.Expires))
	add("post-key-far", "post-key", "expired", "the same more than two days and two hours before its end", must(Marshal(p)), "now", fmt.Sprint(p.Expires-protocol.MaxPostKey-protocol.MaxSkew-1))
	sealed := must(SealPost(p, testNet, post()))
	heads := func(seed string, keeper key.KeeperKey, more ...string) []string {
		return append([]string{"net", hexOf(testNet), "seed", hexOf(secret(seed).Reveal()), "keeper", hexOf(keeper)}, more...)
	}
	add("post", "post", "ok", "an announcement to be published 1.5 s later", sealed, heads("post", p.Keeper, "plain", hexOf(must(Marshal(post()))))...).drawn = true
	add("post-other-key", "post", "denied", "the same with another key", sealed, heads("x", p.Keeper)...).drawn = true
	add("post-other-keeper", "post", "denied", "the same at another keeper", sealed, heads("post", keepers(2)[1].Key)...).drawn = true
	add("post-cut", "post", "malformed", "the same without its last byte", sealed[:len(sealed)-1], heads("post", p.Keeper)...).drawn = true
	p.Expires++
	add("post-key-changed", "post-key", "denied", "the same for a second longer", must(Marshal(p)), "now", now)
	o := &protocol.Op{N: 6, Kind: protocol.OpPostKey, Next: keepers(2)[1]}
	add("operation-6-of-kind-14", "operation", "ok", "asks for another keeper's post key", must(Marshal(o)), "keeper", hexOf(keepers(1)[0].Key), "nonce", hexOf(id("nonce")))
	open := &protocol.Op{N: 7, Kind: protocol.OpPost, Next: keepers(2)[1], Data: []byte("an announcement")}
	add("operation-post-open-to-next", "operation", "malformed", "an announcement in the open that another node shall publish", must(Marshal(open)), "keeper", hexOf(keepers(1)[0].Key), "nonce", hexOf(id("nonce")))
}

func valueVectors(add adder) {
	raw := must(Marshal(genesis()))
	add("genesis", "genesis", "ok", "a network of 16 shards that opens lanes 0 and 1", raw, "id", hexOf(ID(raw)))
	add("genesis-12-shards", "genesis", "malformed", "12 is no power of two", bytes.Replace(raw, []byte("\x03\x10"), []byte("\x03\x0c"), 1))
	add("genesis-ignorable-key", "genesis", "unsupported", "nothing may be left unread in a genesis document", with(raw, "\x18\x80\x01"))
	chain := func(name, expect, comment string, raws [][]byte, more ...string) {
		heads := append([]string{"net", hexOf(testNet)}, more...)
		for _, raw := range raws {
			heads = append(heads, "passport", hex.EncodeToString(raw))
		}
		add(name, "chain", expect, comment, nil, heads...)
	}
	three := passports(3)
	chain("chain", "ok", "a passport rotated twice", three, "vendor", hexOf(ID(three[0])))
	chain("chain-thief", "denied", "the third signed by a key that nobody committed to", next(passports(2), 7, func(*protocol.Passport) {}))
	chain("chain-no-first", "denied", "without the first passport", three[1:])
	for _, s := range []struct {
		c protocol.Category
		r protocol.Region
		n uint16
	}{{"home.furniture", "ZA-GP", 16}, {"home.furniture", "ZA", 1024}, {"insurance.motor", "ZA-WC", 16}, {"insurance.motor", "NA", 256}, {"other.unspecified", "US", 1}} {
		add(fmt.Sprintf("shard-%s-%s-%d", s.c.Sector(), s.r, s.n), "shard", "ok", "the gossip shard", nil, "category", string(s.c), "region", string(s.r),
			"shards", fmt.Sprint(s.n), "shard", fmt.Sprint(Shard(s.c, s.r, s.n)))
	}
	add("grant-id", "grant-id", "ok", "the id of a grant", nil, "context", hexOf(contextID), "vendor", hexOf(hash("vendor")), "request", hexOf(hash("request")), "grant", hexOf(GrantID(contextKey.Public(), hash("vendor"), hash("request"))))
	add("next-root", "next-root", "ok", "the commitment to a root key", nil, "key", hexOf(rootKey(1).Public()), "commitment", hexOf(NextRoot(rootKey(1).Public())))
	if d := must(canon.Walk(raw)); d.Count != 8 {
		panic("the genesis document changed")
	}
}
