// Package terms holds the rules about what may be asked and offered: which offers
// miss a customer's constraints, whether a request tells her all that the law
// wants told, what no request is granted without, and the words in which her own
// rules speak. It is pure.
//
// # What becomes of a request
//
//  1. Lawful, on both sides: the notice is complete (POPIA s18(1)(a) to (h), GDPR art.
//     13), the vendor's passport registers each field for its purpose and for as long,
//     and what is special or a child's is asked for expressly.
//  2. Decide, on hers: the announcement is open and the request accepts its terms. It
//     stands on her consent, or on a contract that she asked for. It asks only for fields
//     on offer, each once, as the value itself, in order to make an offer, and for no
//     longer than MaxRetention. Nobody but the vendor gets them, and they go to no
//     country but hers and the vendor's. It pays at least her floor price, on a rail that
//     is built: none where all of it is free of charge, else vouchers.
//  3. Special information and children's (POPIA ss 26 and 34) are left to her: no rule
//     grants them.
//  4. DecideField: her rule for a field may be never.
//  5. Her own rules (Rule, over a Question; package consent evaluates them), and where
//     none holds, she herself.
//
// Each refusal has a Reason, which names its rule and its law. What is granted is exactly
// what was asked for (GrantFields), unless she herself grants less: fewer fields, shorter,
// or a coarser value (Coarsen).
package terms

import (
	"cmp"
	"slices"

	"github.com/harkmarket/hark/protocol"
)

// MaxRetention is the longest, in days, that the rule lets a vendor keep a field.
const MaxRetention = 366

// A Decision is what the rule says of a request. The zero Decision refuses.
type Decision struct {
	Grant  bool          // nothing stands against it: her own rules, or she, may grant it
	Ask    bool          // lawful, and no rule may grant it: only she
	Reason Reason        // of all that is not granted
	Rule   string        // its short name, or that of her own rule
	Hash   protocol.Hash // names her own rule exactly
	Why    string        // one sentence without a full stop
	Law    string        // sections that it stands on
}

// Decide applies the consent rule to a request r for access to what a offers, from
// the vendor with passport p. All three must have been checked: well formed,
// signed, and about each other.
func Decide(a *protocol.Announcement, r *protocol.Request, p *protocol.Passport, m protocol.Particulars) Decision {
	if a == nil || r == nil || p == nil {
		return Undecidable.Refuse("there is nothing to decide on")
	}
	if d := Lawful(r, p, m, a.Region); d.Why != "" {
		return d
	}
	for _, rule := range []func(*protocol.Announcement, *protocol.Request, *protocol.Passport) Decision{
		standing, asked, sharing, transfer,
	} {
		if d := rule(a, r, p); d.Why != "" {
			return d
		}
	}
	return hers(r)
}

// Lawful judges a request by itself, as both sides do: the vendor's node before it sends
// one, hers when it comes. The zero Decision means that nothing is wrong. region is hers.
func Lawful(r *protocol.Request, p *protocol.Passport, m protocol.Particulars, region protocol.Region) Decision {
	if missing := gaps(r, p, m, region); len(missing) > 0 {
		return untold(missing[0])
	}
	if d := registered(r, p); d.Why != "" {
		return d
	}
	return marked(r, m)
}

// registered: each field for a purpose, and for no longer, than the passport says to
// everybody.
func registered(r *protocol.Request, p *protocol.Passport) Decision {
	for _, f := range r.Fields {
		fits := func(u protocol.IntendedUse) bool {
			return u.Purpose == f.Purpose && slices.Contains(u.Fields, f.Name)
		}
		i := slices.IndexFunc(p.Uses, fits)
		switch {
		case i < 0:
			return Unregistered.Refuse("the vendor's passport does not register that it asks for %s to %s", f.Name, f.Purpose)
		case !slices.ContainsFunc(p.Uses, func(u protocol.IntendedUse) bool {
			return fits(u) && (u.Retention == 0 || f.Retention <= u.Retention)
		}):
			return Unregistered.Refuse("%s would be kept for %d days, and the vendor's passport registers %d", f.Name, f.Retention, p.Uses[i].Retention)
		}
	}
	return Decision{}
}

// marked: what is special, or a child's, is asked for expressly.
func marked(r *protocol.Request, m protocol.Particulars) Decision {
	for _, f := range r.Fields {
		if info, known := f.Name.Info(); known && info.Class != protocol.Ordinary && !slices.Contains(m.Explicit, f.Name) {
			return Unmarked.Refuse("%s is of the class %s, and the request does not ask for it expressly", f.Name, info.Class)
		}
	}
	return Decision{}
}

// hers: whether there is something among the fields that no rule grants.
func hers(r *protocol.Request) Decision {
	for _, f := range r.Fields {
		info, _ := f.Name.Info()
		if d := FieldIsHers(f.Name, info.Class); d.Ask {
			return d
		}
	}
	return Decision{Grant: true}
}

// FieldIsHers leaves a field that is special, or a child's, to her.
func FieldIsHers(name protocol.FieldName, class protocol.Sensitivity) Decision {
	switch class {
	case protocol.Ordinary:
		return Decision{}
	case protocol.Special:
		return SpecialIsHers.leave("%s is special personal information: only she herself grants it", name)
	}
	return ChildIsHers.leave("%s is about a child: only a person grants it", name)
}

func untold(g gap) Decision {
	d := Untold.Refuse("the notice does not tell %s", g.what)
	d.Law = "POPIA s" + g.section + "; GDPR art. 13"
	return d
}

// standing: an open announcement, its terms, a ground in law, a rail and a time.
func standing(a *protocol.Announcement, r *protocol.Request, _ *protocol.Passport) Decision {
	switch {
	case a.Status != protocol.Open:
		return Withdrawn.Refuse("the announcement was withdrawn")
	case r.Terms != a.Terms:
		return OtherTerms.Refuse("the request does not accept the terms of the announcement")
	case r.Basis != protocol.BasisConsent && r.Basis != protocol.BasisContract:
		return OtherGround.Refuse("the request stands on something other than consent or a contract")
	case r.Rail != protocol.RailNone && r.Rail != protocol.RailVoucher:
		return UnbuiltRail.Refuse("the request pays on a rail that is not built")
	case r.Until == 0:
		return NoEnd.Refuse("the request does not say until when it wants access")
	}
	return Decision{}
}

// asked: nothing beyond the fields on offer, and each at its price.
func asked(a *protocol.Announcement, r *protocol.Request, _ *protocol.Passport) Decision {
	for i, f := range r.Fields {
		j := slices.IndexFunc(a.Fields, func(o protocol.FieldOnOffer) bool { return o.Name == f.Name })
		switch {
		case j < 0:
			return NotOnOffer.Refuse("%s is not on offer", f.Name)
		case slices.ContainsFunc(r.Fields[:i], func(g protocol.FieldAsk) bool { return g.Name == f.Name }):
			return TwiceNamed.Refuse("%s is asked for twice", f.Name)
		}
		if d := field(f, a.Fields[j].Floor, r.Rail); d.Why != "" {
			return d
		}
	}
	return Decision{}
}

// field judges one field that is on offer for at least floor.
func field(f protocol.FieldAsk, floor protocol.Money, rail protocol.Rail) Decision {
	_, known := f.Name.Info()
	switch {
	case !known:
		return UnknownClass.Refuse("%s is not a field whose class in law is known", f.Name)
	case f.Purpose != protocol.PurposeOffer:
		return OtherPurpose.Refuse("%s was put on offer for making offers, not to %s", f.Name, cmp.Or(f.Purpose, "an unnamed end"))
	case f.Form != protocol.FormValue:
		return OtherForm.Refuse("%s is on offer as a value only", f.Name)
	case f.Retention > MaxRetention:
		return TooLong.Refuse("%s would be kept for %d days, more than %d", f.Name, f.Retention, MaxRetention)
	case !Covers(f.Price, floor):
		return TooCheap.Refuse("%s costs at least %s", f.Name, floor)
	case f.Price.Minor < 0 || f.Price.Minor > 0 && rail == protocol.RailNone:
		return UnbuiltRail.Refuse("%s has a price, and the request names no rail that can pay it", f.Name)
	}
	return Decision{}
}

// Covers reports whether a price is at least a floor: in its currency, where that is not 0.
func Covers(price, floor protocol.Money) bool {
	return floor.Minor <= 0 || price.Currency == floor.Currency && price.Minor >= floor.Minor
}

// sharing: with nobody but the vendor.
func sharing(_ *protocol.Announcement, r *protocol.Request, p *protocol.Passport) Decision {
	for _, who := range r.Recipients {
		if who != p.Name {
			return PassedOn.Refuse("the vendor would pass the fields on to %q", who)
		}
	}
	return Decision{}
}

// transfer: to no country but hers and the vendor's own; and this one is named
// where it is not hers.
func transfer(a *protocol.Announcement, r *protocol.Request, p *protocol.Passport) Decision {
	home := p.Country.Country()
	named := func(c protocol.Region) bool { return c.Country() == home }
	if home != "" && home != a.Region.Country() && !slices.ContainsFunc(r.Countries, named) {
		return untold(gap{"18(1)(g)", "that the information leaves her country, for " + home})
	}
	for _, c := range r.Countries {
		if c.Country() != a.Region.Country() && c.Country() != home {
			return Abroad.Refuse("the fields would go to %q", string(c))
		}
	}
	return Decision{}
}

// GrantFields gives the fields of a request as they are granted when Decide grants
// it: exactly as asked for.
func GrantFields(r *protocol.Request) []protocol.FieldGrant {
	fields := make([]protocol.FieldGrant, len(r.Fields))
	for i, f := range r.Fields {
		fields[i] = protocol.FieldGrant{Name: f.Name, Purpose: f.Purpose, Form: f.Form, Retention: f.Retention, Price: f.Price}
	}
	return fields
}
