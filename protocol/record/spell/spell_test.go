package spell

import (
	"errors"
	"testing"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

func TestSpellings(t *testing.T) {
	var r Reader
	h := protocol.Hash{1, 2}
	for want, got := range map[any]any{
		h: r.URN("urn:x:", URN("urn:x:", h)), protocol.Hash{}: r.URN("urn:x:", ""), protocol.Second(1_800_000_000): r.Moment(Moment(1_800_000_000)),
		uint64(30): r.Duration("P", Days(30), "D"), uint64(86400): r.Duration("PT", Seconds(86400), "S"),
		protocol.Money{Minor: 5, Currency: "ZAR"}: r.Amount("0.05", "ZAR"), protocol.Money{Minor: 12, Currency: "JPY"}: r.Amount("12", "JPY"),
		protocol.Money{Minor: 1234, Currency: "KWD"}: r.Amount("1.234", "KWD"), protocol.Money{}: r.Amount(Amount(protocol.Money{}), ""),
		protocol.Money{Minor: 7, Currency: "QQQ"}: r.Amount("7", "QQQ"),
		protocol.Region("ZA"):                     r.Place("loc:ZA"), protocol.Region("ZA-GP"): r.Place(Place("ZA-GP")), protocol.Rail(2): Find[protocol.Rail](&r, []string{"", "a", "b"}, "b"),
	} {
		if want != got {
			t.Errorf("%v, want %v", got, want)
		}
	}
	if r.Err != nil || Place("ZA") != "loc:ZA" || Term([]string{"", "a"}, protocol.Rail(9)) != "" {
		t.Errorf("%v, %s", r.Err, Place("ZA"))
	}
}

func TestReaderRefuses(t *testing.T) {
	for what, read := range map[string]func(*Reader){
		"name of another kind": func(r *Reader) { r.URN("urn:x:", "urn:y:00") },
		"capitals":             func(r *Reader) { r.URN("", "AB") },
		"a time with a zone":   func(r *Reader) { r.Moment("2026-01-01T00:00:00+02:00") },
		"a time before time":   func(r *Reader) { r.Moment("1969-01-01T00:00:00Z") },
		"parts of a second":    func(r *Reader) { r.Moment("2026-01-01T00:00:00.5Z") },
		"a leading zero":       func(r *Reader) { r.Duration("P", "P030D", "D") },
		"months":               func(r *Reader) { r.Duration("P", "P1M", "D") },
		"too many decimals":    func(r *Reader) { r.Amount("1.001", "ZAR") },
		"a negative amount":    func(r *Reader) { r.Amount("-1.00", "ZAR") },
		"a currency of nobody": func(r *Reader) { r.Amount("1.00", "xxx") },
		"no country":           func(r *Reader) { r.Place("loc:Za") },
		"a part as a country":  func(r *Reader) { r.Place("loc:ZA-GP") },
		"a term of another":    func(r *Reader) { Find[protocol.Rail](r, []string{"", "a"}, "b") },
		"no term":              func(r *Reader) { Find[protocol.Rail](r, []string{"", "a"}, "") },
	} {
		var r Reader
		if read(&r); !errors.Is(r.Err, fault.Malformed) {
			t.Errorf("%s: %v", what, r.Err)
		}
	}
}
