// Package rules says what each noun must hold beyond its form: what has to be there,
// what must not, the bounds of every list and text, and which numbers are known. Both
// ends keep them: nothing is signed that a reader would refuse.
//
// A rule needs no clock, no memory and no network; what does is asked in package check
// or by the reader. What a newer version may add (a status, a purpose, a rail) is
// fault.Unsupported, anything else fault.Malformed.
package rules

import (
	"fmt"
	"unicode"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// A rules collects what is wrong with one noun; the first finding stays.
//
//	must    what this version requires: else fault.Malformed
//	known   numbers and names to which a newer version may add: else fault.Unsupported
type rules struct {
	of  string
	err error
}

func (r *rules) must(ok bool, what string) { r.hold(ok, what, fault.Malformed) }

func (r *rules) known(ok bool, what string) { r.hold(ok, what, fault.Unsupported) }

func (r *rules) hold(ok bool, what string, kind fault.Kind) {
	if !ok && r.err == nil {
		r.err = fmt.Errorf("%s: %s: %w", r.of, what, kind)
	}
}

// text: at most limit bytes, no control characters but the line feed.
func (r *rules) text(s, what string, limit int) {
	r.must(len(s) <= limit && printable(s, '\n'), what)
}

// line: like text, without line feeds.
func (r *rules) line(s, what string, limit int) { r.must(len(s) <= limit && printable(s, -1), what) }

func printable(s string, except rune) bool {
	for _, c := range s {
		if c != except && unicode.IsControl(c) {
			return false
		}
	}
	return true
}

// lines: a list of texts that are not empty.
func (r *rules) lines(list []string, what string) {
	r.must(len(list) <= protocol.MaxList, what)
	for _, s := range list {
		r.must(s != "", what)
		r.line(s, what, protocol.MaxName)
	}
}

// publicKey: there, and no point that signs everything.
func publicKey[P key.Purpose](r *rules, k key.Public[P], what string) {
	r.must(!k.IsZero() && k.Check() == nil, what)
}

func (r *rules) category(c protocol.Category) { r.must(c.WellFormed(), "category") }

// region: two capitals, and for a subdivision a hyphen and 1 to 3 capitals or digits.
// A list may not know it.
func (r *rules) region(s protocol.Region, what string) {
	ok := len(s) == 2 || (len(s) >= 4 && len(s) <= 6 && s[2] == '-')
	for i := range len(s) {
		capital, digit := s[i] >= 'A' && s[i] <= 'Z', s[i] >= '0' && s[i] <= '9'
		ok = ok && (capital || i == 2 || (i > 2 && digit))
	}
	r.must(ok, what)
}

// currency: three capitals. A list may not know it.
func (r *rules) currency(c protocol.Currency, what string) {
	ok := len(c) == 3
	for i := range len(c) {
		ok = ok && c[i] >= 'A' && c[i] <= 'Z'
	}
	r.must(ok, what)
}

// money: none at all, or a currency and 0 to MaxMinor.
func (r *rules) money(m protocol.Money, what string) {
	if m == (protocol.Money{}) {
		return
	}
	r.currency(m.Currency, what)
	r.must(m.Minor >= 0 && m.Minor <= protocol.MaxMinor, what)
}

// paid: the rail follows from the prices, which are of one currency: none where all of
// them are 0, and something is paid on any other. It gives what they come to.
func (r *rules) paid(rail protocol.Rail, prices ...protocol.Money) protocol.Money {
	total, one := protocol.Sum(prices...)
	r.must(rail != 0, "no rail")
	r.known(rail <= protocol.RailVoucher, "rail")
	r.must(one, "prices of several currencies, or too high together")
	r.must(rail != protocol.RailNone || total.Minor == 0, "a price on the rail none")
	r.must(rail != protocol.RailVoucher || total.Minor > 0, "a voucher for nothing")
	return total
}

// keepers: at most n of them, each once, with up to MaxAddrs addresses.
func (r *rules) keepers(list []protocol.Keeper, least, most int) {
	r.must(len(list) >= least && len(list) <= most, "number of keepers")
	for i, k := range list {
		publicKey(r, k.Key, "keeper's key")
		r.must(len(k.Addrs) <= protocol.MaxAddrs, "number of a keeper's addresses")
		for _, a := range k.Addrs {
			r.must(len(a) > 0 && len(a) <= protocol.MaxAddr, "keeper's address")
		}
		for _, other := range list[:i] {
			r.must(other.Key != k.Key, "keeper named twice")
		}
	}
}

// address: how to reach one mailbox, with the capability for it.
func (r *rules) address(a protocol.Address, what string) {
	r.keepers(a.Keepers, 1, protocol.MaxKeepers)
	r.capability(a.Capability)
	r.must(!a.Seed.IsZero(), what+": seed")
}

// fieldNames: well-formed and each once. A list may not know them.
func fieldNames[T any](r *rules, list []T, name func(T) protocol.FieldName) {
	r.must(len(list) <= protocol.MaxFields, "number of fields")
	for i, f := range list[:min(len(list), protocol.MaxFields)] {
		r.must(name(f).WellFormed(), "field name")
		for _, other := range list[:i] {
			r.must(name(other) != name(f), "field named twice")
		}
	}
}

func (r *rules) values(list []protocol.FieldValue) {
	fieldNames(r, list, func(f protocol.FieldValue) protocol.FieldName { return f.Name })
	for _, f := range list {
		r.text(f.Value, "field value", protocol.MaxValue)
	}
}

func (r *rules) grants(list []protocol.FieldGrant) (prices []protocol.Money) {
	fieldNames(r, list, func(f protocol.FieldGrant) protocol.FieldName { return f.Name })
	for _, f := range list {
		r.known(f.Purpose.Known(), "purpose")
		r.form(f.Form)
		r.must(f.Level == "" || f.Form == protocol.FormCoarse, "a level without a coarser value")
		r.line(f.Level, "level", MaxLevel)
		r.money(f.Price, "price of a field")
		prices = append(prices, f.Price)
	}
	return prices
}

// MaxLevel bounds the name of a level of coarseness, in bytes.
const MaxLevel = 32

func (r *rules) form(f protocol.Form) {
	r.must(f != 0, "no form")
	r.known(f <= protocol.FormCredential, "form")
}

// Message applies the rules of the common header and of the message's kind.
func Message(m protocol.Message) error {
	if a, ok := m.(*protocol.Announcement); ok {
		if err := Announcement(a); err != nil {
			return err
		}
		return Life(a)
	}
	h := m.Head()
	r := &rules{of: h.Kind.String()}
	r.header(h)
	switch m := m.(type) {
	case *protocol.Request:
		checkRequest(r, m)
	case *protocol.Grant:
		checkGrant(r, m)
	case *protocol.Counter:
		checkCounter(r, m)
	case *protocol.Refusal:
		checkRefusal(r, m)
	case *protocol.Receipt:
		checkReceipt(r, m)
	case *protocol.Disclosure:
		checkDisclosure(r, m)
	case *protocol.Passport:
		checkPassport(r, m)
	case *protocol.Voucher:
		checkVoucher(r, m)
	case *protocol.Device:
		publicKey(r, m.Device, "device key")
		r.line(m.Name, "name", protocol.MaxName)
	default:
		checkDealing(r, m)
	}
	return r.err
}

// header: version, algorithm, sender, id and creation always; network everywhere but
// in a device certificate; reader and context everywhere but in passports and device
// certificates; an end everywhere but there, and never before the beginning.
func (r *rules) header(h *protocol.Header) {
	r.must(h.V == protocol.Version, "version")
	r.must(!h.ID.IsZero(), "no id")
	r.must(!h.From.IsZero() && key.Public[key.Context](h.From).Check() == nil, "sender")
	r.must(h.Created != 0, "no date")
	r.must(h.Expires == 0 || h.Expires > h.Created, "ends before it begins")
	public := h.Kind == protocol.KindPassport || h.Kind == protocol.KindDevice
	r.must(h.Net != protocol.Hash{} || h.Kind == protocol.KindDevice, "no network")
	r.must(h.To.IsZero() == public, "reader")
	r.must(h.Context.IsZero() == public, "context")
	r.must(h.Expires != 0 || public, "no end")
}
