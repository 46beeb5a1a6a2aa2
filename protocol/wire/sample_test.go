package wire

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
)

// Everything in the tests hangs on numbered seeds, so that it is the same each run.

const testNow protocol.Second = 1_800_000_000

var testNet = hash("net")

func hash(s string) protocol.Hash { return sha256.Sum256([]byte(s)) }

func secret(s string) key.Secret {
	h := hash("secret " + s)
	k, err := key.SecretFrom(h[:])
	if err != nil {
		panic(err)
	}
	return k
}

func private[P key.Purpose](s string) key.Private[P] {
	return once("private "+s, func() key.Private[P] { return key.FromSeed[P](secret(s)) })
}

func opener[P key.SealPurpose](s string) key.Decapsulation[P] {
	return once("opener "+s, func() key.Decapsulation[P] { return key.SealFromSeed[P](secret(s)) })
}

var made sync.Map

// once keeps what is dear to make. Values are not to be changed.
func once[T any](name string, build func() T) T {
	name = fmt.Sprintf("%s %T", name, *new(T))
	if v, ok := made.Load(name); ok {
		return v.(T)
	}
	v := build()
	made.Store(name, v)
	return v
}

func id(s string) (x protocol.ID) {
	h := hash(s)
	copy(x[:], h[:])
	return x
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func keepers(n int) (all []protocol.Keeper) {
	for i := range n {
		name := string(rune('a' + i))
		all = append(all, protocol.Keeper{Key: private[key.Keeper]("keeper " + name).Public(),
			Addrs: [][]byte{append([]byte("\x04\x7f\x00\x00\x01\x91\x02\x0f"), byte(0xa0+i), 0xcd, 0x03)}})
	}
	return all
}

func capability(box string) protocol.Capability {
	return once("capability "+box, func() protocol.Capability { return newCapability(box) })
}

func newCapability(box string) protocol.Capability {
	k := private[key.Mailbox]("box " + box)
	c := protocol.Capability{Box: k.Public(), ID: id("cap " + box), Depositor: private[key.Depositor]("depositor " + box).Public(),
		Letters: 20, KiB: 160, Expires: testNow + 30*protocol.Day}
	if err := SignCapability(k, &c); err != nil {
		panic(err)
	}
	return c
}

func address(box string) protocol.Address {
	return protocol.Address{Keepers: keepers(2), Capability: capability(box), Seed: protocol.Share(secret("depositor " + box))}
}

var (
	contextKey = private[key.Context]("context")
	contextID  = protocol.Hash(contextKey.Public())
	operation  = private[key.Operational]("operation")
	herDuty    = private[key.Duty]("her duty")
	itsDuty    = private[key.Duty]("its duty")
)

func header(k protocol.Kind, to protocol.Hash, re string) protocol.Header {
	h := protocol.Header{Net: testNet, Kind: k, ID: id(k.String()), To: to, Context: contextID, Seq: 1, Created: testNow, Expires: testNow + 30*protocol.Day}
	if re != "" {
		h.Re = hash(re)
	}
	return h
}

func demand() protocol.Demand {
	return protocol.Demand{Name: "Desk for a home office", Description: "Oak, 160 cm\nwith drawers", MaxPrice: protocol.Money{Minor: 450000, Currency: "ZAR"},
		Quantity: 2, Condition: protocol.NewCondition, NeededBy: testNow + 20*protocol.Day, Region: "ZA-GP", Currency: "ZAR"}
}

func announcement() *protocol.Announcement {
	body, commitment, err := SealBody(demand(), secret("body"), contextKey.Public(), 1)
	if err != nil {
		panic(err)
	}
	a := &protocol.Announcement{
		Header: protocol.Header{Net: testNet, ID: id("announcement"), Seq: 1, Created: testNow, Expires: testNow + 14*protocol.Day},
		Status: protocol.Open, Reason: protocol.ContextNeed, Category: "home.furniture", Region: "ZA-GP",
		Seal: opener[key.ContextSeal]("context").Public(),
		Fields: []protocol.FieldOnOffer{{Name: "location.area"}, {Name: "preference.delivery", Floor: protocol.Money{Minor: 200, Currency: "ZAR"}},
			{Name: "contact.hours", Floor: protocol.Money{Minor: 5000, Currency: "ZAR"}}},
		Terms:   hash("terms"),
		Issuers: []key.IssuerKey{private[key.Issuer]("bank").Public(), private[key.Issuer]("school").Public()},
		Keepers: keepers(3), Mailbox: private[key.Mailbox]("box context").Public(), Body: body, Commitment: commitment,
	}
	return a
}

func withdrawal() *protocol.Announcement {
	a := announcement()
	return &protocol.Announcement{Header: protocol.Header{Net: a.Net, ID: id("withdrawal"), Seq: 2, Created: testNow + 1, Expires: a.Expires},
		Status: protocol.Withdrawn, Reason: a.Reason, Category: a.Category, Region: a.Region}
}

func rootKey(n int) key.Private[key.Root] { return private[key.Root]("root " + string(rune('0'+n))) }

// passports gives a chain of n.
func passports(n int) [][]byte {
	return slices.Clone(once(fmt.Sprint("passports ", n), func() [][]byte { return newPassports(n) }))
}

func newPassports(n int) (raws [][]byte) {
	for i := range n {
		p := &protocol.Passport{
			Header: protocol.Header{Net: testNet, Kind: protocol.KindPassport, ID: id("passport" + string(rune('0'+i))), Seq: uint64(i + 1), Created: testNow + protocol.Second(i)},
			Root:   rootKey(i).Public(), Next: NextRoot(rootKey(i + 1).Public()),
			Operational: []protocol.Operational{{Key: operation.Public(), Roles: protocol.RoleRequests | protocol.RoleNodes,
				From: testNow - protocol.Day, Until: testNow + 90*protocol.Day}},
			Inbox: protocol.Inbox{Box: private[key.Mailbox]("box inbox").Public(), Seal: opener[key.InboxSeal]("inbox").Public(), Keepers: keepers(1), Effort: 12, Quota: 200},
			Name:  "Veld & Vine (Pty) Ltd", Registration: "2019/123456/07", Country: "ZA", Contact: "hello@veld.example", Officer: "T. Mokoena", Authority: "Information Regulator",
			Uses: []protocol.IntendedUse{{Purpose: protocol.PurposeOffer, Fields: []protocol.FieldName{"location.area"}, Retention: 30}},
		}
		if i > 0 {
			p.Vendor, p.Re = ID(raws[0]), ID(raws[i-1])
		}
		raws = append(raws, must(Sign(rootKey(i), p)))
	}
	return raws
}

func request() *protocol.Request {
	chain := passports(2)
	return &protocol.Request{
		Header: header(protocol.KindRequest, contextID, "announcement"), Vendor: ID(chain[0]), Passport: ID(chain[1]), Chain: chain,
		Fields:     []protocol.FieldAsk{{Name: "location.area", Purpose: protocol.PurposeOffer, Required: true, Form: protocol.FormValue, Retention: 30, Price: protocol.Money{Currency: "ZAR"}}},
		Recipients: []string{"Couriers"}, Countries: []protocol.Region{"ZA"}, Basis: protocol.BasisConsent,
		Notice: protocol.Notice{Source: "You", Consequence: "No offer", Rights: "Access", Complaints: "Information Regulator"},
		Terms:  hash("terms"), Rail: protocol.RailNone, Seal: opener[key.RequestSeal]("request").Public(), Reply: address("inbox"), Until: testNow + 30*protocol.Day,
	}
}

func grant() *protocol.Grant {
	r := request()
	g := &protocol.Grant{
		Header: header(protocol.KindGrant, r.Vendor, "request"), Reason: protocol.ContextNeed,
		Fields: []protocol.FieldGrant{{Name: "location.area", Purpose: protocol.PurposeOffer, Form: protocol.FormValue, Retention: 30}},
		Start:  testNow, End: testNow + 30*protocol.Day, Lease: protocol.Day, Price: protocol.Money{Currency: "ZAR"}, Rail: protocol.RailNone, Terms: hash("terms"),
		OfferSeal: opener[key.OfferSeal]("offer").Public(), DutyKey: herDuty.Public(), DutySeal: opener[key.DutySeal]("her duty").Public(),
		OfferBox: address("offer"), DutyBox: address("her duty"), Ledger: hash("head"),
	}
	g.Grant = GrantID(contextKey.Public(), r.Vendor, g.Re)
	return g
}

func receipt() *protocol.Receipt {
	return &protocol.Receipt{Header: header(protocol.KindReceipt, protocol.Hash(herDuty.Public()), "grant"), Grant: grant().Grant,
		Payment: protocol.Payment{Rail: protocol.RailNone}, DutyKey: itsDuty.Public(), DutySeal: opener[key.DutySeal]("its duty").Public(), DutyBox: address("its duty"), Ledger: hash("head")}
}

// priced are a grant that costs 5.00 and the receipt that pays it with a voucher.
func priced() (*protocol.Grant, *protocol.Receipt) {
	g, r := grant(), receipt()
	g.Price, g.Rail = voucher().Amount, protocol.RailVoucher
	g.Fields[0].Price = g.Price
	r.Re = ID(must(Sign(contextKey, g)))
	v := voucher()
	v.Re = r.Re
	r.Payment = protocol.Payment{Rail: protocol.RailVoucher, Amount: g.Price, Proof: must(Sign(operation, v))}
	return g, r
}

func voucher() *protocol.Voucher {
	v := &protocol.Voucher{Header: header(protocol.KindVoucher, protocol.Hash(herDuty.Public()), "grant"), Grant: grant().Grant, Amount: protocol.Money{Minor: 500, Currency: "ZAR"}}
	v.Expires = testNow + 430*protocol.Day
	return v
}

func disclosure() *protocol.Disclosure {
	d := &protocol.Disclosure{Header: header(protocol.KindDisclosure, protocol.Hash(itsDuty.Public()), "receipt"), Grant: grant().Grant,
		Values: []protocol.FieldValue{{Name: "location.area", Value: "Observatory", Version: 3}}, Lease: 1, Until: testNow + protocol.Day,
		Announcement: hash("announcement"), BodyKey: protocol.Share(secret("body")), OfferSecret: protocol.Share(secret("offer secret"))}
	d.From = protocol.Hash(herDuty.Public())
	return d
}

func offer() *protocol.Offer {
	return &protocol.Offer{Header: header(protocol.KindOffer, contextID, "disclosure"), Grant: grant().Grant, Product: "SKU-1", Title: "Oak desk", Description: "160 cm",
		Price: protocol.Money{Minor: 399900, Currency: "ZAR"}, Quantity: 2, Condition: protocol.NewCondition, Region: "ZA-GP", ReadyBy: testNow + 9*protocol.Day, Rank: 1}
}

func step(k protocol.Kind) *protocol.DealStep {
	return &protocol.DealStep{Header: header(k, protocol.Hash(itsDuty.Public()), "offer"), Grant: grant().Grant, Offer: hash("offer"), Price: offer().Price, Note: "Please call first"}
}

// A specimen is a valid message of one kind and the key that signs it.
type specimen struct {
	m protocol.Message
	signer
}

// A signer is one key behind two functions: sign keeps the rules, forge does not.
type signer struct {
	sign  func(protocol.Message, protocol.Extra) ([]byte, error)
	forge func(domain string, payload []byte) []byte
	self  protocol.Hash
}

func by[P key.Purpose](k key.Private[P]) signer {
	return signer{
		func(m protocol.Message, x protocol.Extra) ([]byte, error) { return SignExtra(k, m, x) },
		func(domain string, payload []byte) []byte { return seal.SignEnvelope(k, domain, payload) },
		protocol.Hash(k.Public()),
	}
}

// specimens gives a fresh valid message of each signed kind.
func specimens() []specimen {
	her, its, gid := protocol.Hash(herDuty.Public()), protocol.Hash(itsDuty.Public()), grant().Grant
	a := announcement()
	a.Kind, a.Context = protocol.KindAnnouncement, contextID
	fields := []protocol.FieldName{"location.area"}
	values := []protocol.FieldValue{{Name: "location.area", Value: "Woodstock", Version: 4}}
	passport := must(As[*protocol.Passport](must(Open(passports(2)[1]))))
	all := []specimen{
		{a, by(contextKey)}, {request(), by(operation)}, {grant(), by(contextKey)},
		{&protocol.Counter{Header: header(protocol.KindCounter, request().Vendor, "request"), Fields: grant().Fields, Until: testNow + protocol.Day, Retry: address("context")}, by(contextKey)},
		{&protocol.Refusal{Header: header(protocol.KindRefusal, request().Vendor, "request"), Rule: "asks more than is on offer", Law: "POPIA s10"}, by(contextKey)},
		{receipt(), by(operation)}, {voucher(), by(operation)}, {offer(), by(itsDuty)},
		{&protocol.Revocation{Header: header(protocol.KindRevocation, its, ""), Grant: gid, Deadline: testNow + 7*protocol.Day, Ledger: hash("head"), Reason: "done"}, by(herDuty)},
		{&protocol.Deletion{Header: header(protocol.KindDeletion, her, "revocation"), Grant: gid, Deleted: []string{"location.area"}, Where: []string{"held"},
			Kept: []protocol.Kept{{What: "invoice", Law: "Tax Administration Act s29", Until: testNow + 5*365*protocol.Day}}, Ledger: hash("head")}, by(itsDuty)},
		{&protocol.Right{Header: header(protocol.KindRight, its, ""), Grant: gid, Exercise: protocol.RightCorrection, Fields: fields, Values: values, Deadline: testNow + 30*protocol.Day}, by(herDuty)},
		{&protocol.Answer{Header: header(protocol.KindAnswer, her, "right"), Grant: gid, Status: protocol.RequestFulfilled, Values: values, Text: "corrected"}, by(itsDuty)},
		{&protocol.Breach{Header: header(protocol.KindBreach, her, ""), Grant: gid, What: "laptop stolen", Since: testNow - 1, Fields: fields, Advice: "change it"}, by(itsDuty)},
		{&protocol.Pause{Header: header(protocol.KindSuspend, its, ""), Grant: gid, Reason: "holiday"}, by(herDuty)},
		{&protocol.Pause{Header: header(protocol.KindResume, its, ""), Grant: gid}, by(herDuty)},
		{&protocol.Ack{Header: header(protocol.KindAck, its, ""), Grant: gid, Acked: []protocol.Hash{hash("x"), hash("y")}}, by(herDuty)},
		{passport, by(rootKey(1))},
		{&protocol.Device{Header: protocol.Header{Kind: protocol.KindDevice, ID: id("device"), Created: testNow}, Device: private[key.Device]("device").Public(), Name: "laptop"}, by(private[key.Account]("account"))},
	}
	for _, k := range []protocol.Kind{protocol.KindAccept, protocol.KindDecline, protocol.KindConfirm, protocol.KindFulfil, protocol.KindClose, protocol.KindCancel} {
		all = append(all, specimen{step(k), by(herDuty)})
	}
	return all
}

func genesis() *protocol.Genesis {
	return &protocol.Genesis{V: 1, Name: "test", Shards: 16, Categories: hash("categories"), Lanes: []protocol.LaneRule{{}, {Lane: 1, Effort: 18}},
		Terms: hash("roster"), Duties: protocol.DefaultDuties, Salt: id("salt")}
}

func letter() []byte {
	raw, _, err := SealLetter(opener[key.ContextSeal]("context").Public(), 1, testNet, private[key.Mailbox]("box context").Public(), testNow+protocol.Day, must(Sign(operation, request())))
	return must(raw, err)
}

func TestEverySpecimenOpens(t *testing.T) {
	for _, s := range specimens() {
		raw, err := s.sign(s.m, nil)
		if err != nil {
			t.Fatalf("%T: %v", s.m, err)
		}
		got, err := Open(raw)
		if err != nil {
			t.Fatalf("%T: %v", s.m, err)
		}
		if got.ID() != ID(raw) || got.Kind() != s.m.Head().Kind || got.Head().From != s.m.Head().From || string(got.Raw()) != string(raw) || len(got.Extra()) != 0 {
			t.Errorf("%T: came out as another", s.m)
		}
		if again := must(encodePayload(got.Message(), got.Extra())); string(again) != string(must(encodePayload(s.m, nil))) {
			t.Errorf("%T: another value came out", s.m)
		}
	}
}
