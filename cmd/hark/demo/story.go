package demo

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/harkmarket/hark/cmd/hark/demo/figures"
	"github.com/harkmarket/hark/cmd/hark/demo/input"
	"github.com/harkmarket/hark/cmd/hark/demo/network"
	"github.com/harkmarket/hark/cmd/hark/process"
	"github.com/harkmarket/hark/node/desk"
)

// A Story tells a show to people as it happens. What it reads for that it reads from
// the nodes, after what it tells of has happened.
type Story struct {
	Out     io.Writer
	Bold    bool                             // headings stand out
	Waiting func(format string, args ...any) // what is being waited for; nil says nothing
	Notes   io.Writer                        // how to talk to a network that stays; Out where nil

	mu    sync.Mutex
	lines int // needs told of, one line each
}

func (s *Story) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.Out, format+"\n", args...)
}

func (s *Story) head(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if s.Bold {
		text = "\x1b[1m" + text + "\x1b[0m"
	}
	s.say("\n%s", text)
}

// Progress says what is being waited for.
func (s *Story) Progress(format string, args ...any) {
	if s.Waiting != nil {
		s.Waiting(format, args...)
	}
}

// note tells what happened to the input.
func (s *Story) note(format string, args ...any) {
	s.say("  Note: "+format, args...)
	if s.Notes != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		fmt.Fprintf(s.Notes, "hark: "+format+"\n", args...)
	}
}

// table writes aligned columns, indented.
func (s *Story) table(rows [][]string) {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i := range row {
			row[i] = input.Clean(row[i])
		}
		fmt.Fprintln(w, "  "+strings.Join(row, "\t"))
	}
	_ = w.Flush() // into memory
	for line := range strings.Lines(b.String()) {
		s.say("%s", strings.TrimRight(line, " \n"))
	}
}

func (s *Story) begin(o Options, in input.Input) {
	s.head("A market without an owner, on this machine alone")
	s.say("  %d customers want %d things; %d vendors sell. Each of them is a process of its own,", o.Customers, len(in.Needs), o.Vendors)
	s.say("  with its own keys and its own store. Nobody runs a server for the others.")
	if in.Cut > 0 {
		s.note("%d names were too long for a sealed need and were cut between words.", in.Cut)
	}
	if in.Skipped > 0 {
		s.note("%d rows have no name and were passed over.", in.Skipped)
	}
	if o.Sabotage != "" {
		s.say("  One node will break a promise on purpose: %s.", o.Sabotage)
	}
}

// Imported notes what of a catalogue could not be read.
func (s *Story) Imported(p *process.Process, sh input.Shop, r desk.ImportReport) {
	if len(r.Errors) == 0 {
		return
	}
	name := sh.File
	if name == "" {
		name = "the sample catalogue"
	}
	s.note("vendor %s could not read %d of %d rows of %s; the first is row %d: %s",
		p.Name, len(r.Errors), r.Rows, name, r.Errors[0].Row, input.Clean(r.Errors[0].What))
}

var doings = map[process.Role]string{
	process.Vendor:   "hears every need and answers from its catalogue; holds sealed mail for others",
	process.Keeper:   "sells nothing; holds sealed mail for others",
	process.Practice: "a vendor that customers choose themselves; its node, too, listens on no port",
	process.Customer: "has a vault with made-up data; no port is open, nobody can connect to her",
}

func (s *Story) players(n *network.Network) {
	s.head("Who is there")
	var rows [][]string
	for _, p := range n.Nodes {
		rows = append(rows, []string{string(p.Role), p.Name, fmt.Sprintf("process %d", p.PID()), doings[p.Role]})
	}
	s.table(rows)
}

// first tells all about one need, from the announcement to the offers.
func (s *Story) first(ctx context.Context, sh *show, a *announced) {
	c := a.customer.API.Customer()
	need, err := c.Needs().Get(ctx, a.id)
	if err != nil {
		return // the figures will tell
	}
	s.head("2. A need is announced")
	limit := "no limit named"
	if need.MaxPrice != nil {
		limit = "at most " + money(need.MaxPrice)
	}
	s.say("  %s wants: %s", a.customer.Name, input.Clean(need.Name))
	s.say("  (%d of it, %s, %s, %s)", need.Quantity, need.Category, need.Region, limit)
	s.say("  Her node locks the words away, signs the rest with a key that it uses for this need alone,")
	s.say("  and leaves it with %d keepers. The network spreads it in no time.", len(need.Keepers))
	s.stranger(ctx, sh, a)
	s.requests(ctx, a)
	s.offers(ctx, sh, a)
	s.head("6. The other needs go the same way, %d at a time", inFlight)
}

// stranger shows the very bytes, as a vendor has heard them.
func (s *Story) stranger(ctx context.Context, sh *show, a *announced) {
	heard, err := a.customer.API.Customer().Needs().Stranger(ctx, a.id)
	who := a.customer.Name + "'s node sent"
	for _, v := range sh.Of(process.Vendor) {
		if _, st, err := v.API.Vendor().Board().Get(ctx, a.id); err == nil {
			heard, who = st, "vendor "+v.Name+" heard"
			break
		}
	}
	if err != nil && heard.Hex == "" {
		return
	}
	s.head("3. What a stranger sees: %d bytes", heard.Bytes)
	s.say("  Anyone on the network can read this much, and no more, from what %s:", who)
	var rows [][]string
	for _, p := range heard.Parts {
		rows = append(rows, []string{p.Name, input.Cut(p.Value, 72), fmt.Sprintf("%d bytes", p.Bytes)})
	}
	s.table(rows)
	s.say("  The bytes themselves, all of them:")
	s.dump(heard)
	s.say("  No name, no address, no word of what she wants; the keys in it are used nowhere else.")
}

// dump writes bytes in rows of 32, and names the parts that begin in each row.
func (s *Story) dump(st desk.Stranger) {
	raw, err := hex.DecodeString(st.Hex)
	if err != nil {
		return
	}
	begins := map[int][]string{}
	for _, p := range st.Parts {
		what := []byte(p.Value)
		if b, err := hex.DecodeString(p.Value); err == nil && len(b) == 32 {
			what = b
		} else if name, _, ok := strings.Cut(p.Value, ", "); ok {
			what = []byte(name)
		}
		if i := strings.Index(string(raw), string(what)); i >= 0 && len(what) > 1 {
			begins[i/32] = append(begins[i/32], p.Name)
		}
	}
	var b strings.Builder
	for at := 0; at < len(raw); at += 32 {
		row := raw[at:min(at+32, len(raw))]
		fmt.Fprintf(&b, "    %04x ", at)
		for i := 0; i < len(row); i += 4 {
			fmt.Fprintf(&b, " %x", row[i:min(i+4, len(row))])
		}
		if names := slices.Compact(begins[at/32]); len(names) > 0 {
			fmt.Fprintf(&b, "   <- %s", strings.Join(names, ", "))
		}
		b.WriteByte('\n')
	}
	s.say("%s", strings.TrimRight(b.String(), "\n"))
}

// requests tells who asked for what, and what her rule said.
func (s *Story) requests(ctx context.Context, a *announced) {
	c := a.customer.API.Customer()
	asked, err := figures.Pages(ctx, c.Requests().List, desk.Query{Context: a.id})
	if err != nil {
		return
	}
	given, err := figures.Pages(ctx, c.Grants().List, desk.Query{Context: a.id})
	if err != nil {
		return
	}
	s.head("4. Vendors ask, her rule decides")
	for _, q := range asked {
		var fields []string
		for _, f := range q.Fields {
			fields = append(fields, f.Field)
		}
		s.say("  %s asks for %s, in order to make an offer.", q.VendorName, strings.Join(fields, ", "))
		i := slices.IndexFunc(given, func(g desk.Grant) bool { return g.ID == q.Grant })
		if i < 0 {
			s.say("    Refused: %s (%s).", q.Why, q.Law)
			continue
		}
		g := given[i]
		s.say("    Granted, as this is what she offers. %s countersigned after %d ms; only then did the values leave,",
			q.VendorName, max(g.Times.Receipted-g.Times.Granted, 0))
		s.say("    sealed for this vendor alone, together with the words of the need.")
	}
	var rows [][]string
	for _, f := range asked[:min(1, len(asked))] {
		for _, ask := range f.Fields {
			if v, err := c.Vault().Get(ctx, ask.Field); err == nil {
				rows = append(rows, []string{"  what they now know:", ask.Field, v.Value})
			}
		}
	}
	s.table(rows)
}

// offers shows what she alone could open.
func (s *Story) offers(ctx context.Context, sh *show, a *announced) {
	list, err := sh.best(ctx, a)
	if err != nil {
		return
	}
	s.head("5. The offers, which she alone can open")
	var rows [][]string
	for i, o := range list[:min(8, len(list))] {
		rows = append(rows, []string{fmt.Sprint(i + 1), input.Cut(o.Title, 56), money(o.Price), o.VendorName})
	}
	if len(rows) == 0 {
		s.say("  None fits what she wants.")
	}
	s.table(rows)
	if n := len(list) - len(rows); n > 0 {
		s.say("  and %d more", n)
	}
	all, err := figures.Pages(ctx, a.customer.API.Customer().Offers().List, desk.Query{Context: a.id, All: true})
	if n := len(all) - len(list); err == nil && n > 0 {
		s.say("  %d more miss what she said (such as her budget); her node keeps them out of her way.", n)
	}
}

// money writes the price of an offer.
func money(m *desk.Money) string {
	switch {
	case m == nil:
		return "price on request"
	case m.Text != "":
		return m.Text
	}
	return fmt.Sprintf("%s %d minor units", m.Currency, m.Minor)
}

// answered tells of one need in one line.
func (s *Story) answered(ctx context.Context, sh *show, a *announced) {
	if a.number == 1 {
		return // told in full
	}
	list, err := sh.best(ctx, a)
	if err != nil {
		return
	}
	best := "nothing fits"
	if len(list) > 0 {
		best = fmt.Sprintf("%d fit; best: %s, %s, from %s", len(list), input.Cut(input.Clean(list[0].Title), 44), money(list[0].Price), input.Clean(list[0].VendorName))
	}
	s.say("  %3d  %-8s %-40s  %s", a.number, a.customer.Name, input.Cut(input.Clean(a.Spec.Name), 40), best)
}

func (s *Story) deals() {
	s.head("7. The best offer of each need is accepted, confirmed, fulfilled and closed")
}

// dealsTold is how many deals are told of one by one.
const dealsTold = 4

func (s *Story) dealt(a *announced, o desk.Offer) {
	s.mu.Lock()
	s.lines++
	n := s.lines
	s.mu.Unlock()
	switch {
	case n <= dealsTold:
		s.say("  %s takes %s from %s for %s: done.", a.customer.Name, input.Cut(input.Clean(o.Title), 50), input.Clean(o.VendorName), money(o.Price))
	case n == dealsTold+1:
		s.say("  and so on …")
	}
}

func (s *Story) revoking(late []lateOffer, held time.Duration) {
	s.head("9. Every grant is revoked")
	for _, l := range late {
		s.say("  %s sends %s one more offer; keepers hold it back for %v.", l.vendor.Name, l.owner.Name, held)
	}
	s.say("  Now the customers revoke everything. Their nodes destroy the keys to further offers, and")
	s.say("  each vendor's node has to delete what it was given, and sign that it did.")
}

// end tells what was found.
func (s *Story) end(r figures.Report) {
	s.head("11. What is left of the other grants")
	s.say("  %d grants revoked, %d deletions signed, half of them within %d ms.", r.Revoked, r.Deletions, r.Latency.Deletion.P50)
	s.say("  %d offers came after that; %d of them could be opened.", r.Late, r.LateOpened)
	s.head("12. The ledgers are checked")
	s.say("  %d entries in %d ledgers were recomputed one by one, and held against every head that", r.LedgerEntries, r.Processes)
	s.say("  somebody else has countersigned: %d are sound.", r.LedgersChecked)
	s.say("  Every node exported its ledger; a judge without a node, a key or a network held the exports")
	s.say("  against what others have signed, and against each other: %d hold.", r.AuditsOK)
	s.head("What was counted, from the nodes themselves")
	s.figures(r)
	if len(r.Problems) == 0 {
		s.head("Everything held.")
		return
	}
	s.head("%d problems", len(r.Problems))
	for _, p := range r.Problems {
		s.say("  - %s", p)
	}
}

// figures writes the table.
func (s *Story) figures(r figures.Report) {
	n := func(v int) string { return fmt.Sprint(v) }
	took := func(what string, q figures.Quantiles) []string {
		return []string{what, fmt.Sprintf("%d ms", q.P50), fmt.Sprintf("99 of 100 within %d ms", q.P99)}
	}
	s.table([][]string{
		{"processes", n(r.Processes), ""},
		{"needs announced", n(r.Announced), fmt.Sprintf("of %d", r.Needs)},
		{"heard by vendors", n(r.Heard), fmt.Sprintf("of %d pairs", r.ExpectedHeard)},
		{"requests", n(r.Requests), fmt.Sprintf("%d granted, %d refused", r.Grants, r.Refusals)},
		{"receipts", n(r.Receipts), fmt.Sprintf("followed by %d disclosures", r.Disclosures)},
		{"offers", n(r.Offers), fmt.Sprintf("%d fit, %d missed what was wanted, %d came too late", r.Opened, r.Missed, r.Late)},
		{"accepted", n(r.Accepted), fmt.Sprintf("%d closed", r.Closed)},
		{"granted by rule", n(r.GrantedByRule), fmt.Sprintf("%d granted less than was asked", r.GrantedLess)},
		{"updates", n(r.Updates), "disclosures because a field had changed"},
		{"lapses", n(r.Lapses), "promises that were broken, and are on record"},
		{"revoked", n(r.Revoked), fmt.Sprintf("%d deletions signed", r.Deletions)},
		{"announcement", fmt.Sprintf("%d bytes", r.Bytes.Announcement.P50), fmt.Sprintf("at most %d", r.Bytes.Announcement.Max)},
		took("announced to heard", r.Latency.Heard), took("announced to first offer", r.Latency.Offer),
		took("revoked to deletion", r.Latency.Deletion),
	})
}

// kept says how to talk to a network that stays.
func (s *Story) kept(n *network.Network, program string) {
	out := s.Notes
	if out == nil {
		out = s.Out
	}
	fmt.Fprintln(out, "\nThe network stays. Talk to a node like this:")
	for _, p := range n.Nodes {
		fmt.Fprintf(out, "  %s --home %s status    # %s, process %d\n", program, p.Home, p, p.PID())
	}
	fmt.Fprintln(out, "End a node with the word stop in place of status.")
}
