package check

import (
	"crypto/sha256"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
)

const (
	testNow    protocol.Second = 1_800_000_000
	testEffort uint8           = 8
)

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

func private[P key.Purpose](s string) key.Private[P] { return key.FromSeed[P](secret(s)) }

var contextKey = private[key.Context]("context")

// announcement is a usual one: 3 keepers with two addresses each, 3 fields, 2 issuers.
func announcement(tb testing.TB) *protocol.Announcement {
	body, commitment, err := wire.SealBody(protocol.Demand{Name: "Desk"}, secret("body"), contextKey.Public(), 1)
	if err != nil {
		tb.Fatal(err)
	}
	a := &protocol.Announcement{
		Header: protocol.Header{Net: testNet, Seq: 1, Created: testNow, Expires: testNow + 14*protocol.Day},
		Status: protocol.Open, Reason: protocol.ContextNeed, Category: "home.furniture", Region: "ZA-GP",
		Seal: key.SealFromSeed[key.ContextSeal](secret("context")).Public(),
		Fields: []protocol.FieldOnOffer{{Name: "location.area"}, {Name: "preference.delivery", Floor: protocol.Money{Minor: 200, Currency: "ZAR"}},
			{Name: "contact.hours", Floor: protocol.Money{Minor: 5000, Currency: "ZAR"}}},
		Terms:   hash("terms"),
		Issuers: []key.IssuerKey{private[key.Issuer]("bank").Public(), private[key.Issuer]("school").Public()},
		Mailbox: private[key.Mailbox]("box").Public(), Body: body, Commitment: commitment,
	}
	id := hash("id")
	copy(a.ID[:], id[:])
	for _, name := range []string{"a", "b", "c"} {
		quic4 := []byte("\x04\xc6\x33\x64\x07\x91\x02\x0f\xa1\xcd\x03")
		quic6 := []byte("\x29\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x91\x02\x0f\xa1\xcd\x03")
		a.Keepers = append(a.Keepers, protocol.Keeper{Key: private[key.Keeper](name).Public(), Addrs: [][]byte{quic4, quic6}})
	}
	return a
}

func signed(tb testing.TB, a *protocol.Announcement, effort uint8) []byte {
	lane := uint8(protocol.LaneWork)
	if effort == 0 {
		lane = protocol.LaneNone
	}
	raw, err := wire.SignAnnouncement(contextKey, a, lane, effort)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// memory is a Memory that counts what it is asked, and is never written to by a door.
type memory struct {
	seen   map[protocol.Hash]bool
	stands map[protocol.ContextID]*protocol.Announcement
	ids    map[protocol.ContextID]protocol.Hash
	asked  int
}

func (m *memory) Seen(h protocol.Hash) bool { m.asked++; return m.seen[h] }

func (m *memory) Precedence(c protocol.ContextID) (uint64, protocol.Status, protocol.Hash, bool) {
	m.asked++
	a, ok := m.stands[c]
	if !ok {
		return 0, 0, protocol.Hash{}, false
	}
	return a.Seq, a.Status, m.ids[c], true
}

func (m *memory) Created(c protocol.ContextID) protocol.Second {
	if a, ok := m.stands[c]; ok {
		return a.Created
	}
	return 0
}

func door() (*Door, *memory) {
	m := &memory{seen: map[protocol.Hash]bool{}, stands: map[protocol.ContextID]*protocol.Announcement{}, ids: map[protocol.ContextID]protocol.Hash{}}
	return &Door{Net: testNet, Shards: 16, Lanes: []protocol.LaneRule{{Lane: protocol.LaneWork, Effort: testEffort}}, Memory: m}, m
}
