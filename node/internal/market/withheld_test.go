package market

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/protocol/terms"
	records "github.com/harkmarket/hark/store/market"
)

// only narrows a guest's request to some fields; none: the need alone.
func only(fields ...protocol.FieldName) func(*protocol.Request) {
	return func(r *protocol.Request) {
		r.Fields = nil
		for _, f := range fields {
			r.Fields = append(r.Fields, askField(protocol.FieldOnOffer{Name: f}))
		}
	}
}

// bound reports whether she refuses the request that g makes as one that was refused
// before, and tells nobody but herself.
func (w *town) bound(g *guest, need protocol.ContextID, change func(*protocol.Request)) bool {
	w.Helper()
	sent, said := len(w.her.posted(protocol.KindRefusal)), len(w.her.entries())
	_, prompts := w.her.waitingOf()
	id, opened := g.asks(w, need, protocol.Particulars{}, change)
	a := w.her.agreement(id)
	if !opened || a.Terms.Consent.Rule != terms.AskedBefore.Rule() {
		return false
	}
	_, after := w.her.waitingOf()
	entries := w.her.entries()[said:]
	switch {
	case a.Flow.State != flow.Refused || a.Terms.Consent.By != "rule" || a.Terms.Law != terms.AskedBefore.Law() || a.Terms.Why == "":
		w.Errorf("it is %s by %s, %q under %q", a.Flow.State, a.Terms.Consent.By, a.Terms.Why, a.Terms.Law)
	case len(w.her.posted(protocol.KindRefusal)) != sent:
		w.Error("the vendor is told that two needs are one person's")
	case after != prompts:
		w.Error("she is prompted for it")
	case !slices.Equal(entries, []string{"request.received", "refusal.kept"}):
		w.Errorf("the ledger says %v", entries)
	}
	return true
}

// TestWhatSheWithheld: what she herself refused a vendor, it may not ask for again, under
// whatever passport, but where she has invited it since; and she can lift that.
func TestWhatSheWithheld(t *testing.T) {
	const area, hours, email = protocol.FieldName("location.area"), protocol.FieldName("contact.hours"), protocol.FieldName("contact.email")
	for _, c := range []struct {
		what  string
		want  bool
		first func(*protocol.Request) // what she refuses
		then  func(w *town, g *guest, older protocol.ContextID) bool
	}{
		{"a need from before", true, only(area), func(w *town, g *guest, older protocol.ContextID) bool { return w.bound(g, older, only(area)) }},
		{"one field of several", true, only(area, hours), func(w *town, g *guest, older protocol.ContextID) bool {
			return w.bound(g, older, only(hours))
		}},
		{"with one more that is new", true, only(area), func(w *town, g *guest, older protocol.ContextID) bool {
			return w.bound(g, older, only(area, hours))
		}},
		{"under another passport", true, only(area), func(w *town, g *guest, older protocol.ContextID) bool {
			g.rotate(w)
			return w.bound(g, older, only(area))
		}},
		{"after a restart", true, only(area), func(w *town, g *guest, older protocol.ContextID) bool {
			defer w.restarted()()
			return w.bound(g, older, only(area))
		}},
		{"the need alone, twice", true, only(), func(w *town, g *guest, older protocol.ContextID) bool { return w.bound(g, older, only()) }},
		{"a new need that does not offer it", true, only(area), func(w *town, g *guest, _ protocol.ContextID) bool {
			time.Sleep(time.Second)
			return w.bound(g, w.wish(hours), only(hours, area))
		}},
		{"a new need that offers it", false, only(area), func(w *town, g *guest, _ protocol.ContextID) bool {
			time.Sleep(time.Second)
			return w.bound(g, w.wish(area), only(area))
		}},
		{"a new need, and no field", false, only(), func(w *town, g *guest, _ protocol.ContextID) bool {
			time.Sleep(time.Second)
			return w.bound(g, w.wish(area), only())
		}},
		{"another field", false, only(area), func(w *town, g *guest, older protocol.ContextID) bool { return w.bound(g, older, only(hours)) }},
		{"the need alone, after a field", false, only(area), func(w *town, g *guest, older protocol.ContextID) bool {
			return w.bound(g, older, only())
		}},
		{"another vendor", false, only(area), func(w *town, _ *guest, older protocol.ContextID) bool {
			return w.bound(w.guest(nil), older, only(area))
		}},
		{"lifted", false, only(area), func(w *town, g *guest, older protocol.ContextID) bool {
			w.ok(w.her.Block(context.Background(), g.id, false))
			return w.bound(g, older, only(area))
		}},
		{"lifted, and refused again", true, only(area), func(w *town, g *guest, older protocol.ContextID) bool {
			w.ok(w.her.Block(context.Background(), g.id, false))
			id, _ := g.asks(w, older, protocol.Particulars{}, only(area))
			third := w.wish(area)
			w.ok(w.her.Refuse(context.Background(), id, ""))
			return w.bound(g, third, only(area))
		}},
	} {
		in(t, func(w *town) {
			need, older, g := w.wish(area, hours, email), w.wish(area, hours, email), w.guest(nil)
			id, _ := g.asks(w, need, protocol.Particulars{}, c.first)
			if a := w.her.agreement(id); !Waits(&a) {
				w.Fatalf("%s: the first request is %s: %s", c.what, a.Flow.State, a.Terms.Why)
			}
			time.Sleep(time.Second)
			w.ok(w.her.Refuse(context.Background(), id, "no"))
			if got := c.then(w, g, older); got != c.want {
				t.Errorf("%s: bound %v, want %v", c.what, got, c.want)
			}
		})
	}
}

// restarted gives her another loop over the same stores, until the function is called.
func (w *town) restarted() func() {
	again := New(w.her.cfg)
	ctx, stop := context.WithCancel(context.Background())
	go again.Run(ctx)
	old := w.her.Market
	w.her.Market = again
	return func() { w.her.Market = old; stop() }
}

// TestOnlySheWithholds: what a rule of hers refused, or the law, is judged anew elsewhere;
// what waited when she blocked a vendor she has refused, until she hears it again.
func TestOnlySheWithholds(t *testing.T) {
	in(t, func(w *town) {
		need, older, g := w.wish("location.area"), w.wish("location.area"), w.guest(nil)
		w.ok(w.her.AddRule(w.Context(), terms.Rule{Name: "no", Action: terms.DenyAll, When: "true"}))
		g.asks(w, need, protocol.Particulars{}, nil)
		w.ok(w.her.RemoveRule(w.Context(), "no"))
		if w.bound(g, older, nil) {
			t.Error("what a rule refused is withheld when the rule is gone")
		}
		unlawful, other := w.guest(nil), w.wish("location.area")
		unlawful.asks(w, need, protocol.Particulars{}, func(r *protocol.Request) { r.Notice.Rights = "" })
		if w.bound(unlawful, other, nil) {
			t.Error("what the law refused is withheld")
		}
	})
	in(t, func(w *town) {
		need, older, g := w.wish("location.area"), w.wish("location.area"), w.guest(nil)
		g.asks(w, need, protocol.Particulars{}, nil)
		w.ok(w.her.Block(w.Context(), g.id, true))
		k, err := records.GetAcquaintance(reader(w.her), g.id)
		if err != nil || k.WithheldMS("location.area", protocol.PurposeOffer) == 0 {
			t.Fatalf("she blocked it, and withheld nothing: %+v, %v", k, err)
		}
		w.dropped(g, older)
		w.ok(w.her.Block(w.Context(), g.id, false))
		if n := must(blockedCount(reader(w.her))); n != 0 {
			t.Errorf("%d vendors are blocked", n)
		}
		if w.bound(g, older, nil) {
			t.Error("it is heard again, and bound")
		}
		before := len(w.her.entries())
		w.ok(w.her.Block(w.Context(), g.id, false)) // nothing is left to lift
		if len(w.her.entries()) != before {
			t.Error("nothing was lifted, and the ledger says so")
		}
	})
}
