package demo

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/harkmarket/hark/cmd/hark/demo/figures"
	"github.com/harkmarket/hark/cmd/hark/demo/input"
	"github.com/harkmarket/hark/cmd/hark/demo/network"
	"github.com/harkmarket/hark/cmd/hark/process"
	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol/fault"
)

func TestOptions(t *testing.T) {
	o := Options{Customers: 2, Limit: 40}
	if err := o.Check(); err != nil || o.Vendors != 3 {
		t.Errorf("default: %d vendors, %v", o.Vendors, err)
	}
	o = Options{Customers: 1, Limit: 1, Catalogs: []string{"a.csv", "b.csv"}}
	if err := o.Check(); err != nil || o.Vendors != 2 {
		t.Errorf("catalogues: %d vendors, %v", o.Vendors, err)
	}
	if err := o.Check(); err != nil { // it may be asked twice
		t.Error(err)
	}
	for _, bad := range []Options{
		{Customers: 0, Limit: 1}, {Customers: 33, Limit: 1}, {Customers: 1, Limit: 0}, {Customers: 1, Limit: 10_001},
		{Customers: 1, Limit: 1, Vendors: -1}, {Customers: 1, Limit: 1, Vendors: 33}, {Customers: 1, Limit: 1, Sabotage: "tickle"},
		{Customers: 1, Limit: 1, Vendors: 3, Catalogs: []string{"a.csv"}}, {Customers: 1, Limit: 1, Vendors: 1, Catalogs: []string{"a.csv"}},
	} {
		if err := bad.Check(); !errors.Is(err, fault.Malformed) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if _, err := Run(t.Context(), Options{Customers: 1, Limit: 1, Needs: "/nowhere/at/all"}, &Story{Out: &bytes.Buffer{}}); !errors.Is(err, fault.NotFound) {
		t.Errorf("missing file: %v", err)
	}
}

func cast(vendors, customers int) *network.Network {
	return network.New(network.Cast{Shops: make([]input.Shop, vendors), Customers: customers}, func(error) {})
}

func TestEverySabotageHasOneCulprit(t *testing.T) {
	known := node.Misbehaviours()
	roles := map[string]process.Role{
		withholdMail: process.Vendor, flipBits: process.Vendor, keepDeleted: process.Vendor, forkLedger: process.Customer, reopenRevoked: process.Customer,
		rewriteLedger: process.Customer,
		leakField:     process.Customer,
	}
	for _, how := range Sabotages() {
		if !slices.Contains(known, how) {
			t.Errorf("no node knows how to %s", how)
		}
		for _, size := range [][2]int{{3, 2}, {1, 1}, {1, 2}, {5, 1}} {
			n := cast(size[0], size[1])
			o := Options{Vendors: size[0], Customers: size[1], Sabotage: how}
			o.sabotage(n)
			var culprits []*process.Process
			for _, p := range n.Nodes {
				if p.Misbehave != "" {
					culprits = append(culprits, p)
				}
			}
			if len(culprits) != 1 || culprits[0].Misbehave != how {
				t.Fatalf("%s, %v: %v", how, size, culprits)
			}
			if r := culprits[0].Role; r != roles[how] && (size[0] >= 3 || r != process.Keeper) {
				t.Errorf("%s, %v: a %s", how, size, r)
			}
		}
	}
	if len(known) != len(Sabotages()) {
		t.Errorf("nodes can misbehave in ways that are not shown: %v", known)
	}
}

// TestLateOffers: each vendor gets one grant, dealt round to the customers, and of as
// few needs as there can be.
func TestLateOffers(t *testing.T) {
	n := cast(3, 2)
	sh := &show{Network: n}
	customers := n.Of(process.Customer)
	for i, v := range n.Of(process.Vendor) {
		v.Self.Vendor = string(rune('A' + i))
	}
	var grants []owned
	for _, need := range []string{"n1", "n2", "n3", "n4"} {
		for i, v := range []string{"A", "B", "C"} {
			owner := customers[0]
			if need > "n2" {
				owner = customers[1]
			}
			g := desk.Grant{ID: need + v, Context: need, ContextKind: "need", Vendor: v, State: "disclosed"}
			if need == "n1" && i == 2 {
				g.State = "granted"
			}
			grants = append(grants, owned{g, owner})
		}
	}
	interest := desk.Grant{ID: "i1A", Context: "i1", ContextKind: "interest", Vendor: "A", State: "disclosed"}
	grants = append([]owned{{interest, customers[0]}}, grants...) // what stands under no need is left alone
	late := sh.chooseLate(grants)
	var got []string
	for _, l := range late {
		got = append(got, l.grant.ID+" "+l.owner.Name)
	}
	if want := []string{"n1A Thandi", "n3B Pieter", "n2C Thandi"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if len(sh.problems) != 0 {
		t.Error(sh.problems)
	}
	if got := sh.chooseLate(grants[1:3]); len(got) != 2 || len(sh.problems) != 1 {
		t.Errorf("%v, %q", got, sh.problems)
	}
}

func TestDumpShowsEveryByteAndNamesParts(t *testing.T) {
	raw := append(bytes.Repeat([]byte{7}, 40), "home.furniture"...)
	raw = append(raw, bytes.Repeat([]byte{9}, 50)...)
	var out bytes.Buffer
	s := &Story{Out: &out}
	s.dump(desk.Stranger{Hex: hex.EncodeToString(raw), Parts: []desk.StrangerPart{
		{Name: "category", Value: "home.furniture"}, {Name: "kind", Value: "need"}, {Name: "network", Value: strings.Repeat("09", 32)},
	}})
	var all strings.Builder
	for line := range strings.Lines(out.String()) {
		bytesOf, _, _ := strings.Cut(strings.TrimSpace(line), "<-")
		for _, part := range strings.Fields(bytesOf)[1:] {
			all.WriteString(part)
		}
	}
	if all.String() != hex.EncodeToString(raw) {
		t.Errorf("not all bytes: %s", all.String())
	}
	if lines := strings.Split(out.String(), "\n"); !strings.HasSuffix(lines[1], "<- category, network") || strings.Contains(lines[0], "<-") {
		t.Errorf("parts:\n%s", out.String())
	}
}

func TestStoryNamesProblems(t *testing.T) {
	var out, notes bytes.Buffer
	s := &Story{Out: &out, Notes: &notes}
	s.begin(Options{Customers: 2, Vendors: 3, Sabotage: flipBits}, input.Input{Needs: make([]input.Need, 4), Cut: 2, Skipped: 1})
	s.end(figures.Report{Problems: []string{"the cat did it"}})
	for _, want := range []string{"2 customers want 4 things; 3 vendors sell", "flip-bits", "2 names were too long", "1 problems", "- the cat did it"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not told:\n%s", want, out.String())
		}
	}
	if !strings.Contains(notes.String(), "1 rows have no name") || strings.Contains(out.String(), "\x1b") {
		t.Errorf("notes %q", notes.String())
	}
	s = &Story{Out: &out, Bold: true}
	s.end(figures.Report{})
	if !strings.Contains(out.String(), "\x1b[1mEverything held.\x1b[0m") {
		t.Error("no bold heading")
	}
}
