package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
)

type networkCmd struct {
	New  networkNewCmd  `cmd:"" help:"Make a network of your own: writes a file that hark init --network takes."`
	Show networkShowCmd `cmd:"" help:"Show a network file, or the running node's network."`
}

type networkNewCmd struct {
	File      string   `arg:"" help:"Where to write it; - is standard output."`
	Name      string   `help:"What people call it." required:""`
	Shards    uint16   `help:"Gossip topics: a power of two, 1 to 1024." default:"16"`
	Lane      []string `help:"How announcements get in: 0 is open to all, 1:BITS asks for work. Repeat it." default:"1:14" placeholder:"LANE"`
	Bootstrap []string `help:"Where nodes of it may be found: an address with /p2p/. Repeat it." placeholder:"ADDR"`
}

// Run drafts a genesis document with a fresh salt: two networks never share an id.
func (c *networkNewCmd) Run(a *app) error {
	if c.Shards < 1 || c.Shards > 1024 || c.Shards&(c.Shards-1) != 0 {
		return usagef("--shards %d: want a power of two, 1 to 1024", c.Shards)
	}
	lanes, err := readLanes(c.Lane)
	if err != nil {
		return err
	}
	f, err := node.ShowNetwork(node.NewGenesis(c.Name, c.Shards, lanes, wire.NewID()), c.Bootstrap)
	if err != nil {
		return &usageError{err}
	}
	if c.File == "-" {
		return a.networkJSON(f)
	}
	if _, err := os.Stat(c.File); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s is there already: %w", c.File, fault.Conflict)
	}
	if err := f.Write(c.File); err != nil {
		return err
	}
	if a.JSON {
		return a.networkJSON(f)
	}
	_, err = fmt.Fprintf(a.stdout, "wrote %s: network %s (%s)\njoin it with: hark init --network %s\n", c.File, c.Name, short(f.ID), c.File)
	return err
}

// networkJSON prints a network file as it is read back.
func (a *app) networkJSON(f node.NetworkFile) error {
	type bare struct {
		ID        string           `json:"id"`
		Genesis   node.GenesisFile `json:"genesis"`
		Bootstrap []string         `json:"bootstrap,omitempty"`
	}
	return a.writeJSON(a.stdout, f.Schema, bare{f.ID, f.Genesis, f.Bootstrap}, true)
}

// readLanes reads 0 and 1:BITS, each at most once.
func readLanes(texts []string) (out []protocol.LaneRule, err error) {
	for _, text := range texts {
		lane, effort, _ := strings.Cut(text, ":")
		n, err := strconv.ParseUint(lane, 10, 8)
		if err != nil || n > protocol.LaneWork {
			return nil, usagef("--lane %q: want 0 or 1:BITS", text)
		}
		bits := uint64(0)
		if n == protocol.LaneWork {
			if bits, err = strconv.ParseUint(effort, 10, 8); err != nil || bits == 0 {
				return nil, usagef("--lane %q: want 1:BITS, as 1:14", text)
			}
		} else if effort != "" {
			return nil, usagef("--lane %q: lane 0 asks for no work", text)
		}
		out = append(out, protocol.LaneRule{Lane: uint8(n), Effort: uint8(bits)})
	}
	slices.SortFunc(out, func(a, b protocol.LaneRule) int { return int(a.Lane) - int(b.Lane) })
	return out, nil
}

type networkShowCmd struct {
	File string `arg:"" optional:"" help:"A network file; without it, the running node is asked."`
}

func (c *networkShowCmd) Run(ctx context.Context, a *app) error {
	if c.File == "" {
		return a.ask(ctx, func(ctx context.Context, h desk.House) error {
			n, err := h.Network().Info(ctx)
			if err != nil {
				return err
			}
			return a.show("hark.network-info/1", n, func(p *page) {
				p.facts("Id", n.ID, "Name", n.Name, "Shards", fmt.Sprint(n.Shards), "Lanes", lanes(n.Lanes), "Categories", n.Categories, "Terms", n.Terms)
				writeDuties(p, n.Duties)
			})
		})
	}
	f, err := node.ReadNetwork(c.File)
	if err != nil {
		return err
	}
	g, _, err := f.Open() // a wrong id is refused here
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	if a.JSON {
		return a.networkJSON(f)
	}
	p := &page{}
	var all []map[string]int
	for _, l := range g.Lanes {
		all = append(all, map[string]int{"lane": int(l.Lane), "effort": int(l.Effort)})
	}
	p.facts("Id", f.ID, "Name", g.Name, "Shards", fmt.Sprint(g.Shards), "Lanes", lanes(all), "Categories", g.Categories.String(),
		"Terms", g.Terms.String(), "Bootstrap", strings.Join(f.Bootstrap, " "))
	writeDuties(p, map[string]int64{"deletion": int64(g.Duties.Deletion), "right": int64(g.Duties.Right), "letters": int64(g.Duties.Letters),
		"boxes": int64(g.Duties.Boxes), "lease": int64(g.Duties.Lease)})
	_, err = p.WriteTo(a.stdout)
	return err
}

// writeDuties shows deadlines as people say them.
func writeDuties(p *page, seconds map[string]int64) {
	var rows [][]string
	for _, d := range [][2]string{{"deletion", "A revoked vendor deletes within"}, {"right", "A right is answered within"}, {"letters", "Letters are kept for"},
		{"boxes", "Duty mailboxes are read for"}, {"lease", "A disclosure holds for"}} {
		if s, ok := seconds[d[0]]; ok {
			rows = append(rows, []string{d[1], spanWords(s)})
		}
	}
	p.table(nil, rows)
}
