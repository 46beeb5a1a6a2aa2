package announce

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire/alloc"
	"github.com/harkmarket/hark/protocol/wire/canon"
)

// sample has something under every key.
func sample(tb testing.TB) []byte {
	tb.Helper()
	raw, err := canon.Encode(&protocol.Announcement{
		Header: protocol.Header{V: 1, Net: protocol.Hash{1}, Kind: protocol.KindAnnouncement, Alg: 1, ID: protocol.ID{2}, From: protocol.Hash{3}, To: protocol.Hash{4},
			Context: protocol.Hash{5}, Seq: 6, Created: 7, Expires: 8, Re: protocol.Hash{9}},
		Status: protocol.Open, Reason: protocol.ContextNeed, Category: "home.furniture", Region: "ZA-GP",
		Seal: key.SealFromSeed[key.ContextSeal](key.NewSecret()).Public(), Fields: []protocol.FieldOnOffer{{Name: "name", Floor: protocol.Money{Minor: 5, Currency: "ZAR"}}, {Name: "age"}},
		Terms: protocol.Hash{10}, Issuers: []key.IssuerKey{{11}, {12}}, Keepers: []protocol.Keeper{{Key: key.KeeperKey{13}, Addrs: [][]byte{{14}, {15, 16}}}},
		Mailbox: key.MailboxKey{17}, Body: []byte("body"), Commitment: protocol.Hash{18}, Admission: protocol.Admission{Lane: 1, Effort: 19, Nonce: 20},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// agree holds Decode against canon.Decode, for bytes that were walked.
func agree(t *testing.T, raw []byte) (decoded bool) {
	t.Helper()
	d, err := canon.Walk(raw)
	if err != nil {
		return false
	}
	var byHand, general protocol.Announcement
	errHand, errGeneral := Decode(d.Critical(), &byHand), canon.Decode(d.Critical(), &general)
	if (errHand == nil) != (errGeneral == nil) || errors.Is(errHand, canon.ErrUnknown) != errors.Is(errGeneral, canon.ErrUnknown) {
		t.Fatalf("%x: by hand %v, in general %v", raw, errHand, errGeneral)
	}
	if errHand == nil && !reflect.DeepEqual(byHand, general) {
		t.Fatalf("%x: by hand %+v, in general %+v", raw, byHand, general)
	}
	return errHand == nil
}

// Every byte of an announcement that holds something under each key is read, and read
// as in general, whatever stands in its place.
func TestDecode(t *testing.T) {
	raw := sample(t)
	if !agree(t, raw) {
		t.Fatal("a good one is refused")
	}
	read, refused := 0, 0
	for at := range raw {
		for _, flip := range []byte{1, 2, 0x20, 0x80} {
			bent := append([]byte(nil), raw...)
			bent[at] ^= flip
			if agree(t, bent) {
				read++
			} else {
				refused++
			}
		}
	}
	if read < 100 || refused < 100 {
		t.Errorf("%d read and %d refused show nothing", read, refused)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(sample(f))
	f.Add([]byte{0xa0})
	f.Add([]byte{0xa1, 0x18, 0x7f, 0xa1, 0x01, 0x01})
	f.Fuzz(func(t *testing.T, raw []byte) {
		read := agree(t, raw)
		d, err := canon.Walk(raw)
		if err != nil {
			return
		}
		if got, over := alloc.Over(alloc.Most(len(raw)), func() { _ = Decode(d.Critical(), new(protocol.Announcement)) }); over {
			t.Errorf("%d bytes allocated for %d", got, len(raw))
		}
		if again, err := written(&d); read && (err != nil || !bytes.Equal(again, d.Critical())) {
			t.Errorf("%x is read, and written as %x, %v", d.Critical(), again, err)
		}
	})
}

// written reads what is no ignorable pair, and writes it again.
func written(d *canon.Document) ([]byte, error) {
	var a protocol.Announcement
	if err := Decode(d.Critical(), &a); err != nil {
		return nil, err
	}
	return canon.Encode(&a)
}
