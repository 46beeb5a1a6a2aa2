package wire

import (
	"bytes"
	"errors"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire/rules"
)

func postKey() protocol.PostKey {
	k := private[key.Keeper]("keeper a")
	p := protocol.PostKey{Keeper: k.Public(), Seal: opener[key.PostSeal]("post").Public(), Expires: testNow + protocol.Day}
	if err := SignPostKey(k, &p); err != nil {
		panic(err)
	}
	return p
}

func post() protocol.Post { return protocol.Post{Data: []byte("an announcement"), Hold: 1500} }

// postSeeds are padded posts: what stands inside the lock.
func postSeeds() (raws [][]byte) {
	for _, p := range []protocol.Post{post(), {Data: []byte{1}}, {Data: bytes.Repeat([]byte{7}, protocol.MaxAnnouncement), Hold: protocol.MaxPostHold}} {
		raws = append(raws, must(seal.PadFull(must(Marshal(p)), rules.PostBucket)))
	}
	return raws
}

func postAgain(raw []byte) ([]byte, error) {
	p, err := readPost(raw)
	if err != nil {
		return nil, err
	}
	plain, err := Marshal(p)
	if err != nil {
		return nil, err
	}
	return seal.PadFull(plain, rules.PostBucket)
}

func TestPostKey(t *testing.T) {
	p := postKey()
	for now, want := range map[protocol.Second]error{
		testNow: nil, p.Expires - 1: nil, p.Expires: fault.Expired,
		p.Expires - protocol.MaxPostKey - protocol.MaxSkew:     nil,
		p.Expires - protocol.MaxPostKey - protocol.MaxSkew - 1: fault.Expired,
	} {
		if err := CheckPostKey(p, now); !errors.Is(err, want) {
			t.Errorf("at %d: %v, want %v", int64(now)-int64(testNow), err, want)
		}
	}
	for name, row := range map[string]struct {
		do   func(*protocol.PostKey)
		want fault.Kind
	}{
		"another keeper": {func(p *protocol.PostKey) { p.Keeper = keepers(2)[1].Key }, fault.Denied},
		"another key":    {func(p *protocol.PostKey) { p.Seal = opener[key.PostSeal]("x").Public() }, fault.Denied},
		"longer":         {func(p *protocol.PostKey) { p.Expires++ }, fault.Denied},
		"small order":    {func(p *protocol.PostKey) { p.Keeper = smallOrder }, bad},
		"no key":         {func(p *protocol.PostKey) { p.Seal = key.Encapsulation[key.PostSeal]{} }, bad},
		"no end":         {func(p *protocol.PostKey) { p.Expires = 0 }, bad},
		"no signature":   {func(p *protocol.PostKey) { p.Sig = nil }, bad},
	} {
		p := postKey()
		row.do(&p)
		if err := CheckPostKey(p, testNow); !errors.Is(err, row.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := SignPostKey(private[key.Keeper]("x"), &p); !errors.Is(err, fault.Denied) {
		t.Errorf("signed by another keeper: %v", err)
	}
}

func TestSealedPost(t *testing.T) {
	k, to := opener[key.PostSeal]("post"), postKey()
	large := protocol.Post{Data: make([]byte, protocol.MaxAnnouncement), Hold: protocol.MaxPostHold}
	large.Data[0] = 1
	for _, p := range []protocol.Post{post(), {Data: []byte{1}}, large} {
		raw := must(SealPost(to, testNet, p))
		if len(raw) != SealedPost {
			t.Errorf("%d bytes for %d, want %d", len(raw), len(p.Data), SealedPost)
		}
		if got, err := OpenPost(k, testNet, to.Keeper, raw); err != nil || !bytes.Equal(got.Data, p.Data) || got.Hold != p.Hold {
			t.Errorf("does not come back: %v", err)
		}
	}
	raw := must(SealPost(to, testNet, post()))
	_, otherKey := OpenPost(opener[key.PostSeal]("x"), testNet, to.Keeper, raw)
	_, otherNet := OpenPost(k, hash("x"), to.Keeper, raw)
	_, otherKeeper := OpenPost(k, testNet, keepers(2)[1].Key, raw)
	for i := range raw {
		if i%97 == 0 || i >= len(raw)-16 || i == seal.EncSize {
			bent := bytes.Clone(raw)
			bent[i] ^= 1
			if _, err := OpenPost(k, testNet, to.Keeper, bent); !errors.Is(err, fault.Denied) {
				t.Fatalf("byte %d changed: %v", i, err)
			}
		}
	}
	if !errors.Is(otherKey, fault.Denied) || !errors.Is(otherNet, fault.Denied) || !errors.Is(otherKeeper, fault.Denied) {
		t.Errorf("opened with another key %v, on another network %v, by another keeper %v", otherKey, otherNet, otherKeeper)
	}
	for _, bent := range [][]byte{nil, raw[1:], append(bytes.Clone(raw), 0)} {
		if _, err := OpenPost(k, testNet, to.Keeper, bent); !errors.Is(err, bad) {
			t.Errorf("%d bytes: %v", len(bent), err)
		}
	}
	for name, p := range map[string]protocol.Post{"nothing": {Hold: 1}, "too much": {Data: bytes.Repeat([]byte{1}, protocol.MaxAnnouncement+1)}, "too long": {Data: []byte{1}, Hold: protocol.MaxPostHold + 1}} {
		if _, err := SealPost(to, testNet, p); !errors.Is(err, bad) {
			t.Errorf("%s: %v", name, err)
		}
		padded := must(seal.PadFull(must(Marshal(p)), rules.PostBucket))
		s := must(seal.NewSealer(to.Seal, seal.Post, testNet))
		sealed := must(s.Seal(postAAD(to.Keeper), padded))
		if _, err := OpenPost(k, testNet, to.Keeper, append(bytes.Clone(s.Enc()), sealed...)); !errors.Is(err, bad) {
			t.Errorf("%s, sealed by somebody else: %v", name, err)
		}
	}
	letter, _, err := SealLetter(to.Seal, seal.Vendor, testNet, private[key.Mailbox]("x").Public(), testNow, make([]byte, 6000))
	l := must(ReadLetter(must(letter, err)))
	if _, err := OpenPost(k, testNet, to.Keeper, append(l.Enc, l.Sealed...)); !errors.Is(err, fault.Denied) {
		t.Errorf("a letter passes for a post: %v", err)
	}
}
