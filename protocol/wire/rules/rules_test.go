package rules

import (
	"errors"
	"strings"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// The rules of whole messages are tested in package wire, on both of its ends; here
// stand the shapes that they are made of.

func verdict(check func(*rules)) error {
	r := &rules{of: "test"}
	check(r)
	return r.err
}

func TestFirstFindingStays(t *testing.T) {
	err := verdict(func(r *rules) { r.known(false, "newer"); r.must(false, "worse") })
	if !errors.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), "test: newer") {
		t.Error(err)
	}
}

func TestTexts(t *testing.T) {
	for s, want := range map[string][2]bool{ // as text, as line
		"": {true, true}, "12345": {true, true}, "123456": {false, false}, "a\nb": {true, false}, "a\tb": {false, false}, "a\rb": {false, false},
		"\x00": {false, false}, "\x7f": {false, false}, "\u0085": {false, false}, "ü€": {true, true}, "€€": {false, false},
	} {
		text := verdict(func(r *rules) { r.text(s, "x", 5) }) == nil
		line := verdict(func(r *rules) { r.line(s, "x", 5) }) == nil
		if text != want[0] || line != want[1] {
			t.Errorf("%q: %v %v", s, text, line)
		}
	}
}

func TestRegions(t *testing.T) {
	for s, want := range map[protocol.Region]bool{
		"ZA": true, "ZA-GP": true, "ZA-KZN": true, "FR-2A": true, "GB-1": true, "XX-999": true,
		"": false, "Z": false, "za": false, "ZAF": false, "ZA-": false, "ZA-KZNX": false, "ZA-gp": false, "Z1": false, "ZA_GP": false, "ZA-G-": false,
	} {
		if got := verdict(func(r *rules) { r.region(s, "x") }) == nil; got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func TestMoney(t *testing.T) {
	for m, want := range map[protocol.Money]bool{
		{}: true, {Currency: "ZAR"}: true, {Minor: protocol.MaxMinor, Currency: "QQQ"}: true,
		{Minor: 1}: false, {Minor: -1, Currency: "ZAR"}: false, {Minor: protocol.MaxMinor + 1, Currency: "ZAR"}: false, {Minor: 1, Currency: "zar"}: false, {Minor: 1, Currency: "ZARR"}: false,
	} {
		if got := verdict(func(r *rules) { r.money(m, "x") }) == nil; got != want {
			t.Errorf("%+v: %v", m, got)
		}
	}
}

func TestPublicKeys(t *testing.T) {
	twice := key.DutyKey([]byte("\xee" + strings.Repeat("\xff", 30) + "\x7f")) // y = 1, spelled y + p
	sound := key.Generate[key.Duty]().Public()
	for k, want := range map[key.DutyKey]bool{sound: true, {}: false, {1}: false, twice: false} {
		if got := verdict(func(r *rules) { publicKey(r, k, "x") }) == nil; got != want {
			t.Errorf("%x: %v", k[:2], got)
		}
	}
}

func TestSigners(t *testing.T) {
	box, depositor := key.Generate[key.Mailbox]().Public(), key.Generate[key.Depositor]().Public()
	for k := protocol.OpDeposit; k <= protocol.OpPublish; k++ {
		o := &protocol.Op{Kind: k, Box: box}
		signer, ok := Signer(o)
		if byBox := k >= protocol.OpCollect && k <= protocol.OpRevoke; ok != byBox || ok && signer != box {
			t.Errorf("operation %d: %v", k, ok)
		}
	}
	if _, ok := Signer(&protocol.Op{Kind: protocol.OpPostKey, Box: box}); ok {
		t.Error("somebody signs for a post key")
	}
	o := &protocol.Op{Kind: protocol.OpDeposit, Box: box, Cap: protocol.Capability{Depositor: depositor}}
	if signer, ok := Signer(o); !ok || signer != depositor {
		t.Error("a deposit under a capability")
	}
}

func TestMessageOfNoKind(t *testing.T) {
	h := &protocol.Header{}
	if err := Message(h); err == nil {
		t.Error("a bare header is a message")
	}
	if err := Noun(struct{}{}); err != nil {
		t.Errorf("a struct without rules: %v", err)
	}
}
