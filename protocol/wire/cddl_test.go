package wire

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/harkmarket/hark/protocol"
)

// nouns names the rule of the grammar for each struct on the wire.
var nouns = map[string]any{
	"header": protocol.Header{}, "announcement": protocol.Announcement{}, "field-on-offer": protocol.FieldOnOffer{}, "keeper": protocol.Keeper{},
	"admission": protocol.Admission{}, "demand": protocol.Demand{}, "money": protocol.Money{}, "request": protocol.Request{}, "field-ask": protocol.FieldAsk{},
	"notice": protocol.Notice{}, "grant": protocol.Grant{}, "field-grant": protocol.FieldGrant{}, "counter": protocol.Counter{}, "refusal": protocol.Refusal{},
	"payment": protocol.Payment{}, "receipt": protocol.Receipt{}, "field-value": protocol.FieldValue{}, "disclosure": protocol.Disclosure{},
	"authenticated-disclosure": authenticated{}, "offer": protocol.Offer{}, "deal-step": protocol.DealStep{}, "revocation": protocol.Revocation{}, "kept": protocol.Kept{},
	"deletion": protocol.Deletion{}, "right": protocol.Right{}, "answer": protocol.Answer{}, "breach": protocol.Breach{}, "pause": protocol.Pause{}, "ack": protocol.Ack{},
	"operational": protocol.Operational{}, "inbox": protocol.Inbox{}, "intended-use": protocol.IntendedUse{}, "passport": protocol.Passport{}, "device": protocol.Device{}, "voucher": protocol.Voucher{},
	"genesis": protocol.Genesis{}, "lane-rule": protocol.LaneRule{}, "duties": protocol.Duties{}, "letter": protocol.Letter{}, "capability": protocol.Capability{},
	"address": protocol.Address{}, "vouch": protocol.Vouch{}, "first-contact": protocol.FirstContact{}, "op": protocol.Op{}, "reply": protocol.Reply{},
	"deposit-receipt": protocol.DepositReceipt{}, "hello": protocol.Hello{}, "told": told{}, "grant-limits": protocol.GrantLimits{}, "particulars": protocol.Particulars{}, "post-key": protocol.PostKey{}, "post": protocol.Post{},
	"blob-op": protocol.BlobOp{}, "blob-reply": protocol.BlobReply{}, "large-values": protocol.LargeValues{}, "large-value": protocol.LargeValue{},
}

var (
	ruleForm = regexp.MustCompile(`(?ms)^([a-z][a-z0-9-]*) = [{(] *\n(.*?)^[})]`)
	keyForm  = regexp.MustCompile(`(?m)^  (?:\? )?([0-9]+) => (\S+)`)
	nameForm = regexp.MustCompile(`[a-z][a-z0-9-]*`)
)

// grammarErrors compares a grammar with the structs: every key under its rule, and
// none besides; every name that is used is defined.
func grammarErrors(cddl string) (wrong []string) {
	comments := regexp.MustCompile(`;[^\n]*`)
	bare := comments.ReplaceAllString(cddl, "")
	rules := map[string]string{}
	for _, m := range ruleForm.FindAllStringSubmatch(bare, -1) {
		rules[m[1]] = m[2]
	}
	defined := map[string]bool{"uint": true, "bytes": true, "text": true, "any": true, "true": true}
	for _, m := range regexp.MustCompile(`(?m)^([a-z][a-z0-9-]*) +=`).FindAllStringSubmatch(bare, -1) {
		defined[m[1]] = true
	}
	for name, v := range nouns {
		text, ok := rules[name]
		if !ok {
			wrong = append(wrong, "no rule "+name)
			continue
		}
		var in []string
		for _, m := range keyForm.FindAllStringSubmatch(text, -1) {
			in = append(in, m[1])
		}
		keys, header := tagged(reflect.TypeOf(v))
		if header != strings.Contains(text, "  header\n") || (header || name == "hello") != strings.Contains(text, "  ignorable\n") {
			wrong = append(wrong, name+": header or ignorable keys")
		}
		if !slices.Equal(in, keys) {
			wrong = append(wrong, fmt.Sprintf("%s: the grammar has keys %v, the struct %v", name, in, keys))
		}
		delete(rules, name)
	}
	for name := range rules {
		if name != "ignorable" {
			wrong = append(wrong, "nobody uses rule "+name)
		}
	}
	unquoted := regexp.MustCompile(`"[^"]*"|\.[a-z]+`).ReplaceAllString(bare, "")
	for _, name := range nameForm.FindAllString(unquoted, -1) {
		if !defined[name] {
			wrong = append(wrong, name+" is not defined")
		}
	}
	return wrong
}

func tagged(t reflect.Type) (keys []string, header bool) {
	for i := range t.NumField() {
		if t.Field(i).Anonymous {
			header = true
			continue
		}
		key, _, _ := strings.Cut(t.Field(i).Tag.Get("cbor"), ",")
		keys = append(keys, key)
	}
	return keys, header
}

func TestGrammar(t *testing.T) {
	text, err := os.ReadFile("../hark.cddl")
	if err != nil {
		t.Fatal(err)
	}
	cddl := string(text)
	for _, planted := range [][2]string{{"  ? 25 => uint .size 1 ", "  ? 26 => uint .size 1 "}, {"  17 => hash                        ; the offer's envelope\n", ""},
		{"ack = {\n  header\n", "ack = {\n"}, {"=> line ", "=> lien "}, {"duties = {", "dutys = {"}} {
		if !strings.Contains(cddl, planted[0]) || len(grammarErrors(strings.Replace(cddl, planted[0], planted[1], 1))) == 0 {
			t.Errorf("%q for %q is not noticed", planted[1], planted[0])
		}
	}
	for _, e := range grammarErrors(cddl) {
		t.Error(e)
	}
}
