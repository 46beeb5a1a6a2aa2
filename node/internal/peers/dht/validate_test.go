package dht

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/check"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/protocol/wire/alloc"
)

func judge(lanes []protocol.LaneRule, ahead time.Duration) announcements {
	door := check.Door{Net: testNet, Shards: testShards, Lanes: lanes, Memory: stranger{}}
	return announcements{door, func() time.Time { return time.Now().Add(ahead) }}
}

var work = []protocol.LaneRule{{Lane: protocol.LaneWork, Effort: 4}}

func TestAnnouncementsThatAreRefused(t *testing.T) {
	s := sample{name: "desk", effort: 4}
	good := s.sign()
	v := judge(work, 0)
	if err := v.Validate(s.key(), good); err != nil {
		t.Fatal(err)
	}
	broken := bytes.Clone(good)
	broken[len(broken)-1] ^= 1
	bare := sample{name: "desk"}
	for name, row := range map[string]struct {
		v     announcements
		key   string
		value []byte
	}{
		"too long":           {v, s.key(), append(good, make([]byte, protocol.MaxAnnouncement)...)},
		"nothing":            {v, s.key(), nil},
		"another context":    {v, sample{name: "chair"}.key(), good},
		"another namespace":  {v, "/" + spacePassport + s.key()[1+len(spaceAnn):], good},
		"capitals":           {v, "/" + spaceAnn + "/" + string(bytes.ToUpper([]byte(s.key()[2+len(spaceAnn):]))), good},
		"key cut short":      {v, s.key()[:len(s.key())-1], good},
		"signature":          {v, s.key(), broken},
		"stamp too cheap":    {v, s.key(), sample{name: "desk", effort: 3}.sign()},
		"no stamp on first":  {v, s.key(), bare.sign()},
		"expired":            {judge(work, 25*time.Hour), s.key(), good},
		"from the future":    {judge(work, -time.Hour), s.key(), good},
		"another network":    {v, s.key(), sample{name: "desk", effort: 4, change: func(a *protocol.Announcement) { a.Net = hash("x") }}.sign()},
		"a passport instead": {v, s.key(), chain("shop", 1, nil).Raws()[0]},
	} {
		if err := row.v.Validate(row.key, row.value); err == nil {
			t.Errorf("%s: let through", name)
		}
	}
	for name, free := range map[string]sample{"renewal": {name: "desk", seq: 2}, "withdrawal": {name: "desk", seq: 2, withdrawn: true}} {
		if err := v.Validate(s.key(), free.sign()); err != nil {
			t.Errorf("%s, which may be free of a stamp: %v", name, err)
		}
	}
	if err := judge(openLanes, 0).Validate(s.key(), bare.sign()); err != nil {
		t.Errorf("in an open network: %v", err)
	}
}

func TestAnnouncementsAreChosenByPrecedence(t *testing.T) {
	one, two := sample{name: "desk"}.sign(), sample{name: "desk", seq: 2}.sign()
	three, gone := sample{name: "desk", seq: 3}.sign(), sample{name: "desk", seq: 2, withdrawn: true}.sign()
	junk := []byte("junk")
	for _, row := range []struct {
		values [][]byte
		want   int
	}{
		{[][]byte{one}, 0}, {[][]byte{one, one}, 0}, {[][]byte{one, two}, 1}, {[][]byte{two, one}, 0}, {[][]byte{three, gone, two}, 1},
		{[][]byte{junk, one, junk}, 1}, {[][]byte{junk, gone, three, gone}, 1},
	} {
		if got, err := judge(work, 0).Select("", row.values); err != nil || got != row.want {
			t.Errorf("%d values: %d, %v; want %d", len(row.values), got, err, row.want)
		}
	}
	if _, err := judge(work, 0).Select("", [][]byte{junk}); err == nil {
		t.Error("junk was chosen")
	}
}

func TestPassportsThatAreRefused(t *testing.T) {
	v := passports{testNet, time.Now}
	shop := chain("shop", 3, nil)
	key, good := PassportKey(shop.Vendor()), joined(shop)
	if err := v.Validate(key, good); err != nil {
		t.Fatal(err)
	}
	brief := chain("brief", 1, func(p *protocol.Passport) { p.Expires = p.Created + 60 })
	for name, row := range map[string]struct {
		v     passports
		key   string
		value []byte
	}{
		"nothing":         {v, key, nil},
		"junk":            {v, key, []byte("junk")},
		"another vendor":  {v, PassportKey(chain("other", 1, nil).Vendor()), good},
		"another network": {passports{hash("x"), time.Now}, key, good},
		"without first":   {v, key, good[4+len(shop.Raws()[0]):]},
		"something after": {v, key, append(slices.Clone(good), 0)},
		"too long":        {v, key, make([]byte, protocol.MaxChainValue+1)},
		"expired":         {passports{testNet, func() time.Time { return time.Now().Add(2 * time.Minute) }}, PassportKey(brief.Vendor()), joined(brief)},
	} {
		if err := row.v.Validate(row.key, row.value); err == nil {
			t.Errorf("%s: let through", name)
		}
	}
	one := joined(chain("shop", 1, nil))
	for _, row := range []struct {
		values [][]byte
		want   int
	}{{[][]byte{one, good}, 1}, {[][]byte{good, one}, 0}, {[][]byte{good, good}, 0}, {[][]byte{{1}, one}, 1}} {
		if got, err := v.Select("", row.values); err != nil || got != row.want {
			t.Errorf("%d, %v; want %d", got, err, row.want)
		}
	}
	if _, err := v.Select("", [][]byte{{1}}); err == nil {
		t.Error("junk was chosen")
	}
}

// FuzzValues: whatever is put, the judges neither panic nor let through what is of
// another key, and choosing among valid values gives one of them.
func FuzzValues(f *testing.F) {
	s := sample{name: "desk"}
	shop := chain("shop", 2, nil)
	for _, v := range [][]byte{s.sign(), sample{name: "desk", seq: 2, withdrawn: true}.sign(), joined(shop), nil, {0, 0, 0, 1, 7}} {
		f.Add(v)
	}
	ann, pass := judge(openLanes, 0), passports{testNet, time.Now}
	f.Fuzz(func(t *testing.T, value []byte) {
		if ann.Validate(sample{name: "another"}.key(), value) == nil || pass.Validate(PassportKey(hash("another")), value) == nil {
			t.Fatal("let through under another key")
		}
		judged := func() {
			_, _ = ann.Validate(s.key(), value), pass.Validate(PassportKey(shop.Vendor()), value)
		}
		if got, over := alloc.Over(alloc.Most(len(value)), judged); over {
			t.Fatalf("%d bytes allocated for %d", got, len(value))
		}
		if ann.Validate(s.key(), value) == nil {
			if i, err := ann.Select("", [][]byte{{}, value}); err != nil || i != 1 {
				t.Fatal(i, err)
			}
		}
		if pass.Validate(PassportKey(shop.Vendor()), value) == nil {
			raws, err := wire.SplitChain(value)
			if err != nil || !bytes.Equal(seal.LP(raws...), value) {
				t.Fatalf("%x is let through, and is another spelling of its chain: %v", value, err)
			}
			if i, err := pass.Select("", [][]byte{{}, value}); err != nil || i != 1 {
				t.Fatal(i, err)
			}
		}
	})
}
