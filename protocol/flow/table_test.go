package flow

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// A path is a history that leads to a state, and what each side was told to do.
type path struct {
	name     string
	events   []Event
	want     string
	customer string
	vendor   string
}

func walk[S any](t *testing.T, m machine[S], state func(S) string, paths []path) {
	for _, p := range paths {
		for side, want := range map[protocol.Side]string{protocol.Customer: p.customer, protocol.Vendor: p.vendor, 0: ""} {
			s := m.start(side)
			var told []string
			for _, e := range p.events {
				n, acts, err := m.next(s, e)
				if err != nil {
					t.Fatalf("%s: %v", p.name, err)
				}
				for _, a := range acts {
					told = append(told, a.String())
				}
				s = n
			}
			if state(s) != p.want {
				t.Errorf("%s: %s is %s, want %s", p.name, side, state(s), p.want)
			}
			if got := strings.Join(told, ", "); got != want {
				t.Errorf("%s: the %s was told %q, want %q", p.name, side, got, want)
			}
		}
	}
}

func TestAgreementPaths(t *testing.T) {
	offered := []Event{request, grant}
	live := []Event{request, grant, receipt, disclosure}
	const c4, v4 = "decide, send disclosure", "send receipt, destroy request key, hold disclosure"
	const vEnd = v4 + ", stop offers, delete held, send deletion"
	longer := revocation
	longer.Until = ends + 100
	after := func(list []Event, more ...Event) []Event { return append(slices.Clip(list), more...) }
	walk(t, agreements, func(a Agreement) string { return a.State.String() }, []path{
		{"nothing", nil, "none", "", ""},
		{"request", []Event{request}, "requested", "decide", ""},
		{"counter", []Event{request, counter}, "countered", "decide", "destroy request key"},
		{"refusal", []Event{request, refusal}, "refused", "decide", "destroy request key"},
		{"no answer in time", []Event{request, tick(ends)}, "expired", "decide", "destroy request key"},
		{"no answer yet", []Event{request, tick(ends - 1)}, "requested", "decide", ""},
		{"an answer after its time", []Event{request, tick(ends), refusal}, "refused", "decide", "destroy request key"},
		{"refusal, then grant", []Event{request, refusal, grant}, "granted", "decide", "destroy request key, send receipt"},
		{"counter, then refusal", []Event{request, counter, refusal}, "countered", "decide", "destroy request key"},
		{"grant", offered, "granted", "decide", "send receipt"},
		{"she starts", []Event{started}, "granted", "", "send receipt"},
		{"grant before its request", []Event{grant}, "none", "", ""},
		{"refusal after the grant", after(offered, refusal), "granted", "decide", "send receipt"},
		{"never countersigned", after(offered, tick(ends)), "expired", "decide, destroy offer keys, record expiry", "send receipt, stop offers, destroy request key, record expiry"},
		{"revoked before the receipt", after(offered, revocation), "revoked", "decide, destroy offer keys", "send receipt, stop offers, destroy request key"},
		{"receipt that crosses the revocation", after(offered, revocation, receipt), "revoked", "decide, destroy offer keys", "send receipt, stop offers, destroy request key, delete held, send deletion"},
		{"receipt", after(offered, receipt), "receipted", "decide, send disclosure", "send receipt, destroy request key"},
		{"receipt before its grant", []Event{request, receipt, grant}, "receipted", "decide, send disclosure", "destroy request key"},
		{"receipt for another grant", after(offered, receipt2), "granted", "decide", "send receipt"},
		{"disclosure", live, "disclosed", c4, v4},
		{"disclosure before the receipt", after(offered, disclosure, receipt), "disclosed", "decide", "send receipt, hold disclosure, destroy request key"},
		{"another disclosure", after(live, at(disclosure, "update", t0)), "disclosed", c4, v4 + ", hold disclosure"},
		{"end of lease", after(live, tick(lease), tick(lease+1)), "disclosed", c4 + ", send disclosure", v4 + ", end lease"},
		{"suspended", after(live, suspend), "suspended", c4, v4 + ", stop offers"},
		{"suspended before disclosure", after(offered, receipt, suspend), "suspended", "decide, send disclosure", "send receipt, destroy request key, stop offers"},
		{"suspended before the receipt", after(offered, suspend, receipt), "suspended", "decide", "send receipt, stop offers, destroy request key"},
		{"resumed", after(live, suspend, resume), "disclosed", c4 + ", send disclosure", v4 + ", stop offers, resume offers"},
		{"resumed before the suspension came", after(live, resume, suspend), "disclosed", c4, v4},
		{"suspended till the end", after(live, suspend, tick(ends)), "expired", c4 + ", destroy offer keys, record expiry", v4 + ", stop offers, delete held, send deletion, record expiry"},
		{"revoked", after(live, revocation), "revoked", c4 + ", destroy offer keys", vEnd},
		{"revoked while suspended", after(live, suspend, revocation, resume), "revoked", c4 + ", destroy offer keys", vEnd},
		{"a disclosure after revocation", after(live, revocation, at(disclosure, "late", t0)), "revoked", c4 + ", destroy offer keys", vEnd},
		{"revoked, deleted", after(live, revocation, deletion), "deleted", c4 + ", destroy offer keys", vEnd},
		{"deletion before its revocation", after(live, deletion, revocation), "deleted", c4 + ", destroy offer keys", v4 + ", stop offers, delete held"},
		{"no deletion by the deadline", after(live, revocation, tick(revoked), tick(forever)), "lapsed", c4 + ", destroy offer keys, record lapse", vEnd + ", record lapse"},
		{"deletion just in time", after(live, revocation, tick(revoked-1), deletion, tick(forever)), "deleted", c4 + ", destroy offer keys", vEnd},
		{"deletion after the lapse", after(live, revocation, tick(revoked), deletion), "deleted", c4 + ", destroy offer keys, record lapse", vEnd + ", record lapse"},
		{"end", after(live, tick(ends)), "expired", c4 + ", destroy offer keys, record expiry", v4 + ", stop offers, delete held, send deletion, record expiry"},
		{"heard of the revocation too late", after(live, tick(revoked), revocation, deletion), "deleted", c4 + ", send disclosure, record lapse, destroy offer keys", v4 + ", end lease, record lapse, stop offers, delete held, send deletion"},
		{"end, revoked too", after(live, tick(ends), longer), "revoked", c4 + ", destroy offer keys, record expiry", v4 + ", stop offers, delete held, send deletion, record expiry"},
		{"end, deleted", after(live, tick(ends), deletion, tick(forever)), "deleted", c4 + ", destroy offer keys, record expiry", v4 + ", stop offers, delete held, send deletion, record expiry"},
		{"end, never deleted", after(live, tick(ends), tick(ends+duties.Deletion)), "lapsed", c4 + ", destroy offer keys, record expiry, record lapse", v4 + ", stop offers, delete held, send deletion, record expiry, record lapse"},
		{"away for years", after(live, tick(forever)), "lapsed", c4 + ", record lapse, destroy offer keys", v4 + ", record lapse, stop offers, delete held, send deletion"},
		{"the vendor ends it", after(live, deletion), "deleted", c4 + ", destroy offer keys", v4 + ", stop offers, delete held"},
		{"the vendor declines the grant", after(offered, deletion), "deleted", "decide, destroy offer keys", "send receipt, stop offers, destroy request key"},
		{"breach and ack", after(live, breach, ack), "disclosed", c4, v4},
		{"a right", after(live, right), "disclosed", c4, v4 + ", answer right"},
		{"a right, answered", after(live, right, answer, tick(lease-1)), "disclosed", c4, v4 + ", answer right"},
		{"an answer before its right", after(live, answer, right), "disclosed", c4, v4},
		{"a right after the end", after(live, revocation, deletion, right, tick(revoked), tick(forever)), "deleted", c4 + ", destroy offer keys, record lapse", vEnd + ", answer right, record lapse"},
	})
}

func TestDealPaths(t *testing.T) {
	confirmed := []Event{offer, accept, confirm}
	const v3 = "confirm order, deliver order"
	after := func(list []Event, more ...Event) []Event { return append(slices.Clip(list), more...) }
	lateAccept := at(accept, "late accept", ends+protocol.MaxSkew+1)
	walk(t, deals, func(d Deal) string { return d.State.String() }, []path{
		{"nothing", nil, "none", "", ""},
		{"offer", []Event{offer}, "offered", "", ""},
		{"declined", []Event{offer, decline}, "declined", "", ""},
		{"out of date", []Event{offer, tick(ends)}, "declined", "", ""},
		{"not yet", []Event{offer, tick(ends - 1)}, "offered", "", ""},
		{"withdrawn by the vendor", []Event{offer, cancelV}, "cancelled", "", ""},
		{"accepted", []Event{offer, accept}, "accepted", "", "confirm order"},
		{"accepted before the offer came", []Event{accept, offer}, "accepted", "", "confirm order"},
		{"accept beats decline", []Event{offer, decline, accept}, "accepted", "", "confirm order"},
		{"decline after accept", []Event{offer, accept, decline}, "accepted", "", "confirm order"},
		{"in time, but under way when the offer ended", []Event{offer, tick(ends), accept}, "accepted", "", "confirm order"},
		{"accepted too late", []Event{offer, tick(ends), lateAccept}, "accepted", "", "send cancel"},
		{"never confirmed", []Event{offer, accept, tick(t0 + ConfirmWithin)}, "cancelled", "send cancel", "confirm order, send cancel"},
		{"confirmed after all", []Event{offer, accept, tick(t0 + ConfirmWithin), confirm}, "confirmed", "send cancel", v3[:13] + ", send cancel, deliver order"},
		{"cancelled by her", []Event{offer, accept, cancelC, confirm}, "cancelled", "", "confirm order"},
		{"confirmed", confirmed, "confirmed", "", v3},
		{"cancelled by the vendor", after(confirmed, cancelV), "cancelled", "", v3},
		{"cancelled by her in the end", after(confirmed, cancelC), "cancelled", "", v3},
		{"never fulfilled", after(confirmed, tick(t0+FulfilWithin)), "cancelled", "send cancel", v3 + ", send cancel"},
		{"fulfilled", after(confirmed, fulfil), "fulfilled", "ask close", v3},
		{"fulfilled, confirm lost", []Event{offer, accept, fulfil}, "fulfilled", "ask close", "confirm order"},
		{"fulfilled before the accept came", []Event{offer, fulfil}, "offered", "", ""},
		{"her cancel crossed it", after(confirmed, fulfil, cancelC), "cancelled", "ask close", v3},
		{"her cancel came too late", after(confirmed, fulfil, tooLate), "fulfilled", "ask close", v3},
		{"the vendor cannot take it back", after(confirmed, fulfil, cancelV), "fulfilled", "ask close", v3},
		{"closed", after(confirmed, fulfil, closing, cancelC), "closed", "ask close", v3},
		{"closed before it was fulfilled", after(confirmed, closing), "confirmed", "", v3},
		{"closed by time", after(confirmed, fulfil, tick(t0+CloseWithin)), "closed", "ask close", v3},
	})
}

func TestContextPaths(t *testing.T) {
	one, two, gone := announce(1, protocol.Open), announce(2, protocol.Open), announce(1, protocol.Withdrawn)
	for _, p := range []struct {
		name, want, told string
		events           []Event
	}{
		{"draft", "draft", "", nil},
		{"announced", "announced", "", []Event{one}},
		{"renewed", "announced", "", []Event{one, two, tick(ends + 1)}},
		{"expired", "expired", "stop requests, record expiry", []Event{one, tick(ends + 1), tick(forever)}},
		{"expired by the newest date", "expired", "stop requests, record expiry", []Event{two, one, tick(ends + 2)}},
		{"renewed after it expired", "announced", "stop requests, record expiry", []Event{one, tick(ends + 1), two}},
		{"paused", "paused", "stop requests", []Event{one, suspendC}},
		{"paused early", "paused", "", []Event{suspendC, one}},
		{"goes on", "announced", "stop requests, resume requests", []Event{one, suspendC, resumeC}},
		{"paused till the end", "expired", "stop requests, record expiry", []Event{one, suspendC, tick(ends + 1)}},
		{"withdrawn, whatever the seq", "withdrawn", "stop requests", []Event{two, gone}},
		{"withdrawn stays", "withdrawn", "", []Event{gone, two, tick(forever)}},
		{"closed", "closed", "stop requests, send withdrawal", []Event{one, closeC, suspendC}},
		{"closed before it was announced", "closed", "send withdrawal", []Event{closeC, one}},
		{"closed after it expired", "closed", "stop requests, record expiry", []Event{one, tick(ends + 1), closeC}},
		{"closed after it was withdrawn", "closed", "stop requests", []Event{one, gone, closeC}},
		{"closed as a draft", "closed", "", []Event{closeC}},
	} {
		c := Context{Kind: protocol.ContextNeed}
		var told []string
		for _, e := range p.events {
			n, acts, err := NextContext(c, e)
			if err != nil {
				t.Fatalf("%s: %v", p.name, err)
			}
			for _, a := range acts {
				told = append(told, a.String())
			}
			c = n
		}
		if got := strings.Join(told, ", "); c.State.String() != p.want || got != p.told {
			t.Errorf("%s: %s, told %q; want %s, %q", p.name, c.State, got, p.want, p.told)
		}
	}
}

// What no state could make right is refused and changes nothing.
func TestRefusals(t *testing.T) {
	spoil := func(e Event, f func(*Event)) Event { f(&e); return e }
	other := func(e Event) Event { return spoil(e, func(e *Event) { e.By = e.By.Other() }) }
	type refused struct {
		e    Event
		want fault.Kind
	}
	nobody := func(e *Event) { e.By = 0 }
	third := func(e *Event) { e.By = 3 }
	nameless := func(e *Event) { e.ID = protocol.Hash{} }
	endless := func(e *Event) { e.Until = 0 }
	loose := func(e *Event) { e.Re = protocol.Hash{} }
	var list []refused
	own := []Event{request, grant, counter, refusal, receipt, disclosure, suspend, resume, revocation, deletion, right, answer, breach}
	for _, e := range own {
		list = append(list, refused{other(e), fault.Denied}, refused{spoil(e, nobody), fault.Malformed},
			refused{spoil(e, third), fault.Malformed}, refused{spoil(e, nameless), fault.Malformed})
	}
	list = append(list, refused{spoil(grant, endless), fault.Malformed}, refused{spoil(resume, loose), fault.Malformed},
		refused{spoil(answer, loose), fault.Malformed}, refused{spoil(ack, nobody), fault.Malformed})
	for k := range protocol.Kind(60) {
		if k != 0 && k != protocol.KindAck && !slices.ContainsFunc(own, func(e Event) bool { return e.Kind == k }) {
			list = append(list, refused{msg(k, protocol.Vendor, "stray", ""), fault.Malformed})
		}
	}
	live := NewAgreement(protocol.Customer, duties)
	for _, e := range []Event{request, grant, receipt, disclosure} {
		live, _, _ = NextAgreement(live, e)
	}
	for _, r := range list {
		n, acts, err := NextAgreement(live, r.e)
		if !errors.Is(err, r.want) || acts != nil || !cmp.Equal(n, live) {
			t.Errorf("agreement, %s of %s: %v %v, want %v", r.e.Kind, r.e.By, acts, err, r.want)
		}
	}
	if _, _, err := NextAgreement(Agreement{Me: protocol.Vendor}, request); !errors.Is(err, fault.Internal) {
		t.Errorf("an agreement without duties: %v", err)
	}
	for _, r := range []refused{
		{other(offer), fault.Denied}, {other(accept), fault.Denied}, {other(decline), fault.Denied}, {other(confirm), fault.Denied},
		{other(fulfil), fault.Denied}, {other(closing), fault.Denied}, {spoil(cancelC, nobody), fault.Malformed},
		{spoil(offer, endless), fault.Malformed}, {spoil(accept, nameless), fault.Malformed}, {revocation, fault.Malformed},
		{msg(protocol.KindDispute, protocol.Customer, "dispute", "offer"), fault.Malformed},
	} {
		if n, acts, err := NextDeal(Deal{}, r.e); !errors.Is(err, r.want) || acts != nil || !cmp.Equal(n, Deal{}) {
			t.Errorf("deal, %s of %s: %v, want %v", r.e.Kind, r.e.By, err, r.want)
		}
	}
	for _, r := range []refused{
		{other(announce(1, 1)), fault.Denied}, {other(suspendC), fault.Denied}, {other(closeC), fault.Denied},
		{announce(0, 1), fault.Malformed}, {announce(1, 0), fault.Malformed}, {announce(1, 3), fault.Malformed},
		{spoil(announce(1, 1), endless), fault.Malformed}, {spoil(resumeC, loose), fault.Malformed}, {grant, fault.Malformed},
	} {
		c := Context{Kind: protocol.ContextNeed}
		if n, acts, err := NextContext(c, r.e); !errors.Is(err, r.want) || acts != nil || !cmp.Equal(n, c) {
			t.Errorf("context, %s of %s: %v, want %v", r.e.Kind, r.e.By, err, r.want)
		}
	}
	relation := Context{Kind: protocol.ContextRelation}
	if _, _, err := NextContext(relation, announce(1, 1)); !errors.Is(err, fault.Denied) {
		t.Errorf("a relation was announced: %v", err)
	}
	if err := relation.May(protocol.Customer, protocol.KindAnnouncement); !errors.Is(err, fault.Denied) {
		t.Errorf("a relation may be announced: %v", err)
	}
}

// May, state by state: the kinds that each side may send, and no others.
func TestMay(t *testing.T) {
	kinds := func(may func(protocol.Side, protocol.Kind) error) string {
		var list []string
		for _, side := range []protocol.Side{protocol.Customer, protocol.Vendor} {
			for k := range protocol.Kind(60) {
				switch err := may(side, k); {
				case err == nil && k != protocol.KindAck:
					list = append(list, side.String()[:1]+":"+k.String())
				case err != nil && fault.Of(err) == fault.Internal:
					t.Errorf("%s of %s: %v has no kind", k, side, err)
				}
			}
		}
		return strings.Join(list, " ")
	}
	const since = "v:deletion v:answer v:breach"
	for _, c := range []struct {
		events []Event
		want   string
	}{
		{nil, "c:grant v:request"},
		{[]Event{request}, "c:grant c:counter c:refusal"},
		{[]Event{request, refusal}, ""},
		{[]Event{request, counter}, ""},
		{[]Event{request, tick(ends)}, ""},
		{[]Event{request, grant}, "c:revocation v:receipt"},
		{[]Event{request, grant, revocation}, ""},
		{[]Event{request, grant, receipt}, "c:disclosure c:revocation c:right c:suspend " + since},
		{[]Event{request, grant, receipt, disclosure}, "c:disclosure c:revocation c:right c:suspend v:offer " + since},
		{[]Event{request, grant, receipt, disclosure, suspend}, "c:revocation c:right c:resume " + since},
		{[]Event{request, grant, receipt, disclosure, revocation}, "c:right " + since},
		{[]Event{request, grant, receipt, tick(ends)}, "c:right " + since},
		{[]Event{request, grant, receipt, revocation, deletion}, "c:right " + since},
		{[]Event{request, grant, receipt, tick(forever)}, "c:right " + since},
	} {
		a := feed(t, agreements, protocol.Customer, c.events)
		if got := kinds(a.May); got != c.want {
			t.Errorf("%s: %q, want %q", a.State, got, c.want)
		}
	}
	for _, c := range []struct {
		events []Event
		want   string
	}{
		{nil, "v:offer"},
		{[]Event{offer}, "c:accept c:decline c:cancel v:cancel"},
		{[]Event{offer, tick(ends)}, ""},
		{[]Event{offer, accept}, "c:cancel v:confirm v:cancel"},
		{[]Event{offer, accept, confirm}, "c:cancel v:fulfil v:cancel"},
		{[]Event{offer, accept, confirm, fulfil}, "c:close"},
		{[]Event{offer, accept, confirm, fulfil, closing}, ""},
		{[]Event{offer, cancelC}, ""},
	} {
		d := feed(t, deals, protocol.Customer, c.events)
		if got := kinds(d.May); got != c.want {
			t.Errorf("%s: %q, want %q", d.State, got, c.want)
		}
	}
	for _, c := range []struct {
		events []Event
		want   string
	}{
		{nil, "c:announcement c:close"},
		{[]Event{announce(1, 1)}, "c:announcement c:close c:suspend"},
		{[]Event{announce(1, 1), suspendC}, "c:announcement c:close c:resume"},
		{[]Event{announce(1, 1), tick(forever)}, "c:announcement c:close"},
		{[]Event{announce(1, 2)}, "c:close"},
		{[]Event{closeC}, ""},
	} {
		x := feed(t, contexts, protocol.Customer, c.events)
		if got := kinds(x.May); got != c.want {
			t.Errorf("%s: %q, want %q", x.State, got, c.want)
		}
	}
}

func feed[S any](t *testing.T, m machine[S], side protocol.Side, events []Event) S {
	t.Helper()
	s, err := m.start(side), error(nil)
	for _, e := range events {
		if s, _, err = m.next(s, e); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestDue(t *testing.T) {
	live := []Event{request, grant, receipt, disclosure}
	more := func(e ...Event) []Event { return append(slices.Clip(live), e...) }
	for _, c := range []struct {
		events []Event
		at     protocol.Second
		by     protocol.Side
		says   string
	}{
		{nil, 0, 0, ""},
		{live[:1], ends, protocol.Customer, "request expires"},
		{[]Event{at(Event{Kind: request.Kind, By: protocol.Vendor}, "dateless", t0)}, t0 + duties.Letters, protocol.Customer, "request expires"},
		{live[:2], ends, protocol.Vendor, "unused"},
		{live[:3], ends, protocol.Customer, "owes a deletion"},
		{live, lease, protocol.Customer, "lease"},
		{more(tick(lease)), ends, protocol.Customer, "owes a deletion"},
		{more(suspend), lease, protocol.Customer, "lease"},
		{more(suspend, tick(lease)), ends, protocol.Customer, "owes a deletion"},
		{more(revocation), revoked, protocol.Vendor, "lapse"},
		{more(tick(ends)), ends + duties.Deletion, protocol.Vendor, "lapse"},
		{[]Event{request, grant, revocation}, 0, 0, ""},
		{[]Event{request, grant, at(revocation, "r", 6000), at(receipt, "crossing", 7000)}, 9000, protocol.Vendor, "lapse"},
		{more(revocation, deletion), 0, 0, ""},
		{more(right), lease, protocol.Customer, "lease"},
		{more(right, tick(lease)), revoked, protocol.Vendor, "unanswered"},
		{more(revocation, deletion, right), revoked, protocol.Vendor, "unanswered"},
		{more(revocation, deletion, right, answer), 0, 0, ""},
	} {
		a := feed(t, agreements, protocol.Customer, c.events)
		d := a.Due(duties)
		if d.At != c.at || d.By != c.by || !strings.Contains(d.Otherwise, c.says) {
			t.Errorf("%s after %s: %+v, want %d %s %q", a.State, show(c.events, -1), d, c.at, c.by, c.says)
		}
		if a.Final() != (c.at == 0 && c.events != nil || slices.Contains(c.events, deletion)) {
			t.Errorf("%s after %s: final is %t", a.State, show(c.events, -1), a.Final())
		}
	}
	steps := []Event{offer, accept, confirm, fulfil, closing}
	for i, want := range []Due{
		{}, {ends, protocol.Customer, "the offer counts as declined"}, {t0 + ConfirmWithin, protocol.Vendor, "the deal is cancelled"},
		{t0 + FulfilWithin, protocol.Vendor, "the deal is cancelled"},
		{t0 + CloseWithin, protocol.Customer, "the goods count as received and the deal is closed"}, {},
	} {
		if got := feed(t, deals, protocol.Vendor, steps[:i]).Due(duties); got != want {
			t.Errorf("deal after %d steps: %+v, want %+v", i, got, want)
		}
	}
	if d := (Context{}).Due(duties); d.At != 0 || d.By != protocol.Customer {
		t.Errorf("a draft: %+v", d)
	}
	if d := feed(t, contexts, protocol.Customer, []Event{announce(1, 1)}).Due(duties); d.At != ends+1 {
		t.Errorf("announced: %+v", d)
	}
}

// A lapse says what was owed, in answer to what, and by when; and it stays.
func TestLapsesStayOnRecord(t *testing.T) {
	a := feed(t, agreements, protocol.Customer, []Event{request, grant, receipt, disclosure, right, revocation, tick(forever), deletion, answer})
	want := []Lapse{{protocol.KindDeletion, revocation.ID, revoked}, {protocol.KindAnswer, right.ID, revoked}}
	if a.State != Deleted || !cmp.Equal(a.Lapses, want) {
		t.Errorf("%s with %+v, want deleted with %+v", a.State, a.Lapses, want)
	}
	a = feed(t, agreements, protocol.Customer, []Event{request, grant, receipt, tick(forever)})
	if want := []Lapse{{protocol.KindDeletion, grant.ID, ends + duties.Deletion}}; !cmp.Equal(a.Lapses, want) {
		t.Errorf("after expiry: %+v, want %+v", a.Lapses, want)
	}
}

// A flood is refused where it would push out what must stay, and else makes room.
func TestBounds(t *testing.T) {
	a := feed(t, agreements, protocol.Vendor, []Event{request, grant, receipt, disclosure})
	flood := func(e Event, n int, change func(*Event, int)) (full int) {
		for i := range n {
			x := at(e, fmt.Sprint(e.Kind, i), t0)
			if change != nil {
				change(&x, i)
			}
			n, _, err := NextAgreement(a, x)
			if errors.Is(err, fault.Full) {
				full++
			} else if err != nil {
				t.Fatal(err)
			}
			a = n
		}
		return full
	}
	var got []int
	for _, e := range []Event{request, grant, receipt, deletion, suspend, right} {
		got = append(got, flood(e, 100, nil))
	}
	if want := []int{97, 97, 97, 0, 92, 68}; !slices.Equal(got, want) {
		t.Errorf("refused %v of 100 requests, grants, receipts, deletions, suspends, rights; want %v", got, want)
	}
	if got := flood(answer, 100, func(e *Event, i int) { e.Re = id(fmt.Sprint(right.Kind, i)) }); got != 0 || len(a.Rights) != maxRights {
		t.Errorf("%d answers refused, %d rights kept", got, len(a.Rights))
	}
	flood(disclosure, 100, nil)
	if a.State != Deleted || len(a.Handed) != maxHanded || !a.Seen(receipt.ID) || a.Seen(id("nothing")) {
		t.Errorf("after the floods: %s, %d disclosures", a.State, len(a.Handed))
	}
	d := feed(t, deals, protocol.Vendor, []Event{offer, accept})
	for i := range 10 {
		_, _, err := NextDeal(d, at(cancelC, fmt.Sprint(i), t0))
		if (err != nil) != (i >= rivals) {
			t.Errorf("cancel %d: %v", i, err)
		}
		d, _, _ = NextDeal(d, at(cancelC, fmt.Sprint(i), t0))
	}
}

func TestStoredAndReadBack(t *testing.T) {
	a := feed(t, agreements, protocol.Vendor, []Event{request, grant, receipt, disclosure, suspend, right, revocation, tick(forever)})
	d := feed(t, deals, protocol.Customer, []Event{offer, accept, cancelV, tick(ends)})
	c := feed(t, contexts, protocol.Customer, []Event{announce(1, 1), suspendC, tick(5), closeC})
	var a2 Agreement
	var d2 Deal
	var c2 Context
	for _, p := range []struct{ in, out any }{{a, &a2}, {d, &d2}, {c, &c2}} {
		raw, err := cbor.Marshal(p.in)
		if err != nil {
			t.Fatal(err)
		}
		if err := cbor.Unmarshal(raw, p.out); err != nil {
			t.Fatal(err)
		}
		if len(raw) > 2048 {
			t.Errorf("%T takes %d bytes", p.in, len(raw))
		}
	}
	if !cmp.Equal(a, a2) || !cmp.Equal(d, d2) || !cmp.Equal(c, c2) {
		t.Errorf("read back differently:\n%s%s%s", cmp.Diff(a, a2), cmp.Diff(d, d2), cmp.Diff(c, c2))
	}
}

func TestNames(t *testing.T) {
	var all []string
	for s := range ContextState(contextStateEnd + 1) {
		all = append(all, fmt.Sprint(s, s.Final()))
	}
	for s := range AgreementState(agreementStateEnd + 1) {
		all = append(all, fmt.Sprint(s, s.Final(), s.Live(), s.Over()))
	}
	for s := range DealState(dealStateEnd + 1) {
		all = append(all, fmt.Sprint(s, s.Final()))
	}
	want := []string{
		"draft false", "announced false", "paused false", "withdrawn true", "expired true", "closed true", "state-6 true",
		"none false false false", "requested false false false", "countered true false false", "refused true false false",
		"granted false true false", "receipted false true false", "disclosed false true false", "suspended false true false",
		"revoked false false true", "expired false false true", "deleted true false true", "lapsed true false true", "state-12 false false false",
		"none false", "offered false", "declined true", "accepted false", "confirmed false", "fulfilled false", "closed true",
		"cancelled true", "disputed false", "resolved true", "state-10 false",
	}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Error(diff)
	}
	if len(actNames) != int(AskClose)+1 || AskClose.String() != "ask close" || Act(0).String() != "act-0" || Act(99).String() != "act-99" {
		t.Errorf("%d names for %d acts", len(actNames)-1, AskClose)
	}
	if AskClose > 31 {
		t.Error("the set of acts does not fit in 32 bits")
	}
}
