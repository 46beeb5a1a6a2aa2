package node_test

import (
	"errors"
	"slices"
	"time"

	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/courier"
	"github.com/harkmarket/hark/node/internal/market"
	"github.com/harkmarket/hark/protocol/fault"
)

// letterFloods are done to what is remembered of letters. Who floods one mailbox takes
// half of the room, and nobody else's: what comes to another need of hers is served.
var letterFloods = []flood{
	{bound: "market.letters", limits: node.Limits{Market: market.Limits{Letters: 64}}, slack: 32, attack: crowded(40), at: hers, after: servesHer},
	{bound: "market.letters-per-box", limits: node.Limits{Market: market.Limits{BoxLetters: 12}}, attack: crowded(20), at: hers, after: servesHer},
	{bound: "courier.sightings", limits: node.Limits{Courier: courier.Limits{Sightings: 8}}, slack: 4, attack: crowded(12), at: hers, after: servesHer},
	{bound: "courier.sightings-per-box", limits: node.Limits{Courier: courier.Limits{BoxFinds: 3}}, attack: crowded(12), at: hers, after: servesHer},
	{bound: "market.offers-per-grant", limits: node.Limits{Market: market.Limits{Offers: 6}}, attack: offering(24), at: hers, after: func(f *field) {
		if n := len(f.her.Offers(desk.Query{Context: f.need})); n != 6 {
			f.Errorf("%d offers are kept", n)
		}
		servesHer(f)
	}},
}

// crowded lets strangers ask about one need of hers: what they send is acted on as long as
// there is room, and waits at its keeper where there is none.
func crowded(n int) func(*field) error {
	return func(f *field) error {
		if err := askers(n, false)(f); err != nil && !errors.Is(err, fault.Full) {
			return err
		}
		return nil
	}
}

// offering sends her more offers under one grant than are kept.
func offering(n int) func(*field) error {
	return func(f *field) error {
		f.need = announce(f.T, f.her, 7)
		f.w.Until(5*time.Minute, "an offer", func() (bool, error) { return offered(f.her, f.need), nil })
		all := f.vendor.Grants(desk.Query{})
		at := slices.IndexFunc(all, func(g desk.Grant) bool { return g.Context == f.need })
		for range n {
			if _, err := f.vendor.Customer().Offers().Make(f.Context(), desk.OfferSpec{Grant: all[at].ID, Product: "1", Price: 100}); err != nil {
				return err
			}
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		return nil
	}
}

// servesHer wants an offer to a need that she announces now.
func servesHer(f *field) {
	need := announce(f.T, f.her, 7)
	f.w.Until(15*time.Minute, "an offer to another need of hers", func() (bool, error) { return offered(f.her, need), nil })
}
