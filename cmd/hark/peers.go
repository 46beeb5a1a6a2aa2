package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol/fault"
)

type idCmd struct{}

func (c *idCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		id, err := h.Network().Self(ctx)
		if err != nil {
			return err
		}
		return a.show("hark.id/1", id, func(p *page) {
			p.facts("Profile", id.Profile, "Key", id.Key, "Peer id", id.PeerID, "Vendor", id.Vendor, "Device", id.Device)
			for _, addr := range id.Addrs {
				p.line("%s/p2p/%s", strings.TrimSuffix(addr, "/p2p/"+id.PeerID), id.PeerID)
			}
		})
	})
}

type peersCmd struct {
	List peersListCmd `cmd:"" default:"withargs" help:"List them."`
	Add  peersAddCmd  `cmd:"" help:"Name public nodes through which this one finds the network, from its next start on."`
}

type peersAddCmd struct {
	Addr []string `arg:"" help:"Where one may be found: an address with /p2p/, as hark id of that node prints it."`
}

// Run writes into the home, so the node need not be there.
func (c *peersAddCmd) Run(ctx context.Context, a *app) error {
	p, err := a.paths()
	if err != nil {
		return err
	}
	all, err := node.AddBootstrap(p, c.Addr)
	if err != nil {
		return err
	}
	return a.show("hark.bootstrap/1", map[string][]string{"bootstrap": all}, func(out *page) {
		out.line("the network of this home is found by way of %d public nodes", len(all))
		if n, err := a.client(ctx); err == nil {
			n.Close()
			out.line("the running node begins with them when it is started again: %[1]s stop, then %[1]s run", a.self())
		}
	})
}

type peersListCmd struct{}

func (c *peersListCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		peers, err := h.Network().Peers(ctx)
		if err != nil {
			return err
		}
		return list(a, "hark.peers/1", peers, "", "KEY STATE FROM ADDRESS", func(p desk.Peer) []string {
			state := map[bool]string{true: "connected", false: "known"}[p.Connected]
			return []string{short(p.Key), state, p.From, strings.Join(p.Addrs, " ")}
		})
	})
}

type netcheckCmd struct{}

// What a netcheck ends with that found nobody: what it found was shown.
var (
	errUnusable = fmt.Errorf("the network can't be used from here: no public node is connected: %w", fault.Offline)
	errTooEarly = fmt.Errorf("whether the network can be used from here is not known yet: ask again in half a minute: %w", fault.Offline)
)

// verdict is nil where the network can be used.
func verdict(v desk.Netcheck) error {
	early := slices.ContainsFunc(v.Checks, func(c desk.Check) bool { return c.Name == "public-node" && c.Answer == desk.NotKnown })
	switch {
	case v.Usable:
		return nil
	case early:
		return errTooEarly
	}
	return errUnusable
}

func (c *netcheckCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		v, err := h.Network().Check(ctx)
		if err != nil {
			return err
		}
		err = a.show("hark.netcheck/1", v, func(p *page) {
			var rows [][]string
			for _, k := range v.Checks {
				rows = append(rows, []string{k.Name, k.Answer, k.Detail})
			}
			p.table([]string{"QUESTION", "ANSWER", "BECAUSE"}, rows)
		})
		if err == nil {
			err = verdict(v)
		}
		return err
	})
}

func lanes(all []map[string]int) string {
	var out []string
	for _, l := range all {
		switch l["lane"] {
		case 0:
			out = append(out, "open to all")
		case 1:
			out = append(out, fmt.Sprintf("work of %d bits", l["effort"]))
		default:
			out = append(out, fmt.Sprintf("lane %d", l["lane"]))
		}
	}
	return strings.Join(out, ", ")
}
