package node_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/internal/consent"
	"github.com/harkmarket/hark/node/internal/market"
	"github.com/harkmarket/hark/node/internal/pay"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/flow"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/held"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/ledger"
	records "github.com/harkmarket/hark/store/market"
	"github.com/harkmarket/hark/store/outbox"
	"github.com/harkmarket/hark/store/vault"
)

// A street is a market of a few people without a network: the test itself carries
// their letters, in the order that it likes.
type street struct {
	genesis *protocol.Genesis
	net     protocol.Hash
	keepers []protocol.Keeper
	heard   map[protocol.ContextID]wire.Heard
	chains  map[protocol.VendorID]wire.Chain
}

// Replace implements market.Places.
func (s *street) Replace(list []protocol.Keeper) ([]protocol.Keeper, bool) { return list, false }

// Keepers implements market.Places.
func (s *street) Keepers(int) []protocol.Keeper { return s.keepers }

// Announcement implements market.Registry.
func (s *street) Announcement(_ context.Context, c protocol.ContextID) (wire.Heard, error) {
	if h, ok := s.heard[c]; ok {
		return h, nil
	}
	return wire.Heard{}, fault.NotFound
}

// Passport implements market.Registry.
func (s *street) Passport(_ context.Context, v protocol.VendorID) (wire.Chain, error) {
	if c, ok := s.chains[v]; ok {
		return c, nil
	}
	return wire.Chain{}, fault.NotFound
}

// EachOpen implements market.Registry.
func (s *street) EachOpen(context.Context, func(wire.Heard) error) error { return nil }

// silent is mail that nobody carries, answers that nobody makes, events that nobody hears.
type silent struct{}

func (silent) Kick()                                                           {}
func (silent) Watch(records.Box)                                               {}
func (silent) Unwatch(key.MailboxKey)                                          {}
func (silent) Collect(key.MailboxKey)                                          {}
func (silent) Match(protocol.GrantID, protocol.Demand, protocol.Category, int) {}
func (silent) Emit(string, string, map[string]string)                          {}

// A stall is one node's market, without the node.
type stall struct {
	on     *street
	master key.Secret
	tape   *tape
	stores market.Stores
	m      *market.Market
	end    func()
}

// open starts the market on what is kept.
func (s *stall) open(t *testing.T) *stall {
	t.Helper()
	sealed := kv.Sealed(s.tape, s.tape.secret)
	s.stores = market.Stores{KV: sealed, Vault: vault.New(seal.Derive(s.master, seal.LabelVaultName, nil)), Held: held.New()}
	var err error
	if s.stores.Ledger, err = ledger.Open(t.Context(), sealed, key.FromSeed[key.Device](seal.Derive(s.master, seal.LabelDevice, nil))); err != nil {
		t.Fatal(err)
	}
	if s.stores.Outbox, err = outbox.Open(sealed, outbox.Limits{}); err != nil {
		t.Fatal(err)
	}
	s.m = market.New(market.Config{
		Stores: s.stores, Net: s.on.net, Genesis: s.on.genesis, Mail: silent{}, Places: s.on, Registry: s.on, Answers: silent{},
		Events: silent{}, Log: slog.New(slog.DiscardHandler), Now: time.Now, Rules: consent.Engine{}, Rails: pay.Rails{Life: s.on.genesis.Duties.Boxes}, Gather: -1,
	})
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan struct{})
	go func() { defer close(gone); s.m.Run(ctx) }()
	moved := make(chan struct{})
	go func() { defer close(moved); s.m.Moves(ctx) }()
	s.end = func() { cancel(); <-gone; <-moved }
	return s
}

// restart is a crash, or a stop, and the next start.
func (s *stall) restart(t *testing.T) {
	s.end()
	s.tape.revive()
	s.open(t)
}

// out lists what waits to be sent.
func (s *stall) out(t *testing.T) (items []outbox.Item) {
	t.Helper()
	err := kv.Sealed(s.tape.Store, s.tape.secret).View(t.Context(), func(r kv.Reader) (err error) {
		items, _, err = s.stores.Outbox.Due(r, time.Now().Add(24*time.Hour).UnixMilli(), 64)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return items
}

// letter finds the one letter of a kind that waits to be sent.
func (s *stall) letter(t *testing.T, k protocol.Kind) outbox.Item {
	t.Helper()
	var found []outbox.Item
	for _, it := range s.out(t) {
		if it.Kind == k {
			found = append(found, it)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d letters of kind %s wait to be sent", len(found), k)
	}
	return found[0]
}

// copy is the same stall on a copy of its disk, with a witness of what it sends.
func (s *stall) copy(t *testing.T) (*stall, *witness) {
	t.Helper()
	fresh := kv.Memory()
	if err := fresh.Update(t.Context(), func(tx kv.Tx) error {
		return s.tape.Store.View(t.Context(), func(r kv.Reader) error {
			return r.Scan(nil, nil, func(k, v []byte) (bool, error) { return true, tx.Put(k, v) })
		})
	}); err != nil {
		t.Fatal(err)
	}
	c := &stall{on: s.on, master: s.master, tape: newTape(fresh, s.master)}
	c.open(t)
	wt := newWitness(t, c.tape, c.master)
	for _, it := range s.out(t) {
		if it.What == outbox.Letter {
			wt.saw(it.Data) // was there before
		}
	}
	c.tape.watch(func([]written) { // at every commit: what may leave from now on
		for _, it := range c.out(t) {
			if it.What == outbox.Letter {
				wt.saw(it.Data)
			}
		}
	}, func() {})
	return c, wt
}

// granted is a street with one customer and two vendors. Both have asked, she has
// granted, and both have countersigned; only their Receipts are still under way.
type granted struct {
	*street
	her      *stall
	vendors  [2]*stall
	grants   [2]protocol.GrantID
	requests [2]outbox.Item
	receipts [2]outbox.Item
	known    secrets
	value    string
}

func newStreet(t *testing.T) *granted {
	ctx := t.Context()
	g := &granted{value: "Melville, near the koppies", street: &street{
		genesis: node.NewGenesis("street", 4, []protocol.LaneRule{{Lane: protocol.LaneNone}}, protocol.ID{2}),
		heard:   map[protocol.ContextID]wire.Heard{}, chains: map[protocol.VendorID]wire.Chain{},
		keepers: []protocol.Keeper{{Key: key.Generate[key.Keeper]().Public(), Addrs: [][]byte{{4, 127, 0, 0, 1}}}},
	}}
	g.net = netOf(t, g.genesis)
	start := func() *stall {
		master := key.NewSecret()
		return (&stall{on: g.street, master: master, tape: newTape(kv.Memory(), master)}).open(t)
	}
	g.her = start()
	if err := g.her.stores.KV.Update(ctx, func(tx kv.Tx) error {
		_, err := g.her.stores.Vault.Set(tx, "location.area", g.value, 1)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	id, err := g.her.m.Announce(ctx, market.Need{
		Reason: protocol.ContextNeed, Category: "home.furniture", Region: "ZA", Life: protocol.MaxNeedLife, Auto: true,
		Fields: []protocol.FieldOnOffer{{Name: "location.area"}}, Demand: protocol.Demand{Name: "a couch for two", Currency: "ZAR"},
	})
	if err != nil {
		t.Fatal(err)
	}
	h, err := wire.OpenAnnouncement(g.her.letter(t, protocol.KindAnnouncement).Data)
	if err != nil {
		t.Fatal(err)
	}
	g.heard[id] = h
	for i := range g.vendors {
		v := start()
		g.vendors[i] = v
		if err := v.m.IssuePassport(ctx, market.Profile{Name: fmt.Sprint("vendor ", i), Country: "ZA", Contact: "shop@example.org"}); err != nil {
			t.Fatal(err)
		}
		vid, chain := chainOf(t, v.tape, g.net)
		g.chains[vid] = chain
		if err := v.m.SetRules(ctx, market.Follow{Ask: true}); err != nil {
			t.Fatal(err)
		}
		if err := v.m.Heard(ctx, h); err != nil {
			t.Fatal(err)
		}
		g.requests[i] = v.letter(t, protocol.KindRequest)
		hand(t, g.her, g.requests[i].Box, g.requests[i].Data)
		for _, it := range g.her.out(t) {
			if it.Kind == protocol.KindGrant && it.Grant == g.requests[i].Grant {
				g.grants[i] = it.Grant
				hand(t, v, it.Box, it.Data)
			}
		}
		g.receipts[i] = v.letter(t, protocol.KindReceipt)
	}
	g.known.learn(t, g.her.tape, true)
	for _, v := range g.vendors {
		g.known.learn(t, v.tape, false)
	}
	g.known.private = append(g.known.private, []byte(g.value))
	return g
}

func (g *granted) close() {
	g.her.end()
	g.vendors[0].end()
	g.vendors[1].end()
}

// hand gives a letter to its reader, who must take it.
func hand(t *testing.T, to *stall, box key.MailboxKey, raw []byte) {
	t.Helper()
	if opened, err := to.m.Letter(t.Context(), box, raw); err != nil || !opened {
		t.Fatalf("a letter is refused: %v, %v", opened, err)
	}
}

// check holds what has left to the rule, and counts the disclosures under each grant.
func (g *granted) check(t *testing.T, wt *witness, what string) (n [2]int) {
	t.Helper()
	defer func(n int) { g.known.private = g.known.private[:n] }(len(g.known.private))
	g.known.learn(t, wt.her, true) // new body keys
	letters, wrong := wt.history(g.net, &g.known)
	_, early := leaks(letters, wt.receipts(), func(k keptReceipt) error { return wt.valid(k, g.net, g.chains) }, g.known.private)
	for _, bad := range append(wrong, early...) {
		t.Errorf("%s: %s", what, bad)
	}
	for _, l := range letters {
		if id, ok := disclosureOf(l.plain); ok {
			n[slices.Index(g.grants[:], id)]++
		}
	}
	return n
}

// moved waits until living grants are told the new body key.
func (s *stall) moved(t *testing.T) {
	t.Helper()
	waits := func() (n int) {
		_ = kv.Sealed(s.tape.Store, s.tape.secret).View(t.Context(), func(r kv.Reader) error {
			return records.EachMove(r, func(protocol.ContextID, int64) (bool, error) { n++; return true, nil })
		})
		return n
	}
	for end := time.Now().Add(20 * time.Second); waits() > 0 && !s.tape.isDead(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the living grants do not go to a new body key")
		}
	}
}

// anyOrder delivers Receipts in every order with repetitions, a second copy of the
// request, a revocation and a restart, and then with her disk failing at each commit.
func anyOrder(t *testing.T) {
	g := newStreet(t)
	defer g.close()
	steps := map[string]func(*stall){
		"receipt 0": func(s *stall) { _, _ = s.m.Letter(t.Context(), g.receipts[0].Box, g.receipts[0].Data) },
		"receipt 1": func(s *stall) { _, _ = s.m.Letter(t.Context(), g.receipts[1].Box, g.receipts[1].Data) },
		"request 0": func(s *stall) { _, _ = s.m.Letter(t.Context(), g.requests[0].Box, g.requests[0].Data) },
		"revoke 0":  func(s *stall) { _ = s.m.Revoke(t.Context(), g.grants[:1], "enough"); s.moved(t) },
		"restart":   func(s *stall) { s.restart(t) },
	}
	steps["receipt 0 again"] = steps["receipt 0"]
	orders := permutations([]string{"receipt 0", "receipt 0 again", "receipt 1", "request 0", "restart", "revoke 0"})
	for _, order := range orders {
		if slices.Index(order, "receipt 0") > slices.Index(order, "receipt 0 again") {
			continue // the same
		}
		s, wt := g.her.copy(t)
		for _, step := range order {
			steps[step](s)
		}
		s.end()
		want, revoked := [2]int{1, 1}, slices.Index(order, "revoke 0")
		if revoked < slices.Index(order, "receipt 0") {
			want[0] = 0
		}
		if revoked > slices.Index(order, "receipt 1") {
			want[1] = 2 // and the new body key
		}
		if n := g.check(t, wt, fmt.Sprint(order)); n != want {
			t.Fatalf("%q: %d disclosures, want %d", order, n, want)
		}
	}
	for _, kept := range []bool{false, true} {
		for n := 1; n <= 2; n++ { // a letter is one commit
			what := fmt.Sprintf("commit %d fails, kept %v", n, kept)
			s, wt := g.her.copy(t)
			s.tape.arm(n, kept)
			steps["receipt 0"](s)
			steps["receipt 1"](s)
			if !s.tape.isDead() {
				t.Errorf("%s: nothing failed", what)
			}
			s.restart(t)
			for range 2 {
				steps["receipt 0"](s)
				steps["receipt 1"](s)
			}
			s.end()
			if got := g.check(t, wt, what); got != [2]int{1, 1} {
				t.Errorf("%s: %d disclosures", what, got)
			}
		}
	}
}

func permutations(list []string) (out [][]string) {
	if len(list) < 2 {
		return [][]string{slices.Clone(list)}
	}
	for i, first := range list {
		for _, rest := range permutations(slices.Concat(list[:i], list[i+1:])) {
			out = append(out, append([]string{first}, rest...))
		}
	}
	return out
}

// A forgery makes a letter that looks like the first vendor's Receipt.
type forgery struct {
	change func(r *protocol.Receipt) // of what it says
	signer key.Secret                // zero: the vendor's own
	kind   protocol.Kind             // zero: receipt
	class  seal.Class                // zero: duty
	raw    []byte                    // not zero: these bytes, sealed
}

// forge signs and seals a Receipt by hand, past all rules of package wire.
func (g *granted) forge(t *testing.T, f forgery) []byte {
	t.Helper()
	plain, _, err := g.known.read(g.net, g.receipts[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	s, err := wire.Open(plain)
	if err != nil {
		t.Fatal(err)
	}
	genuine, err := wire.As[*protocol.Receipt](s)
	if err != nil {
		t.Fatal(err)
	}
	r := *genuine
	r.ID = wire.NewID()
	if f.change != nil {
		f.change(&r)
	}
	signer, kind, class := f.signer, f.kind, f.class
	if signer.IsZero() {
		signer = operational(t, g.vendors[0])
	}
	if kind == 0 {
		kind = protocol.KindReceipt
	}
	if class == 0 {
		class = seal.Duty
	}
	k := key.FromSeed[key.Operational](signer)
	r.From = protocol.Hash(k.Public())
	payload, err := wire.Marshal(&r)
	if err != nil {
		t.Fatal(err)
	}
	signed := seal.SignEnvelope(k, kind.Domain(), payload)
	if f.raw != nil {
		signed = f.raw
	}
	var a records.Agreement
	for _, w := range g.vendors[0].tape.all("k/a/") {
		a = decode[records.Agreement](t, w)
	}
	raw, _, err := wire.SealLetter(a.Theirs.Seal, class, g.net, a.Theirs.Box.Capability.Box, r.Created+protocol.Day, signed)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// operational is the key that a vendor signs with.
func operational(t *testing.T, v *stall) key.Secret {
	t.Helper()
	vendor, err := v.m.Vendor(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return vendor.Keys[0].Sign.Secret()
}

// forgeries are Receipts that must bring nothing.
func (g *granted) forgeries(t *testing.T) map[string]forgery {
	other, _, err := g.known.read(g.net, g.receipts[1].Data)
	if err != nil {
		t.Fatal(err)
	}
	s, err := wire.Open(other)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := wire.As[*protocol.Receipt](s)
	if err != nil {
		t.Fatal(err)
	}
	change := func(fn func(r *protocol.Receipt)) forgery { return forgery{change: fn} }
	var mine records.Agreement
	for _, w := range g.vendors[0].tape.all("k/a/") {
		mine = decode[records.Agreement](t, w)
	}
	return map[string]forgery{
		"of another grant":              change(func(r *protocol.Receipt) { r.Grant = theirs.Grant }),
		"answering another grant":       change(func(r *protocol.Receipt) { r.Re = theirs.Re }),
		"answering nothing":             change(func(r *protocol.Receipt) { r.Re = protocol.Hash{} }),
		"another vendor's whole":        {raw: other},
		"another vendor's words":        change(func(r *protocol.Receipt) { id := r.ID; *r = *theirs; r.ID = id }),
		"over another ledger":           change(func(r *protocol.Receipt) { r.Ledger = theirs.Ledger }),
		"over a made-up ledger":         change(func(r *protocol.Receipt) { r.Ledger[0] ^= 1 }),
		"over no ledger":                change(func(r *protocol.Receipt) { r.Ledger = protocol.Hash{} }),
		"paying on another rail":        change(func(r *protocol.Receipt) { r.Payment.Rail = protocol.RailVoucher }),
		"paying on no rail":             change(func(r *protocol.Receipt) { r.Payment.Rail = 0 }),
		"paying a sum":                  change(func(r *protocol.Receipt) { r.Payment.Amount = protocol.Money{Minor: 1, Currency: "ZAR"} }),
		"with a made-up proof":          change(func(r *protocol.Receipt) { r.Payment.Proof = []byte{1} }),
		"to another key":                change(func(r *protocol.Receipt) { r.To = theirs.To }),
		"to nobody":                     change(func(r *protocol.Receipt) { r.To = protocol.Hash{} }),
		"in another context":            change(func(r *protocol.Receipt) { r.Context = protocol.Hash(key.Generate[key.Context]().Public()) }),
		"on another network":            change(func(r *protocol.Receipt) { r.Net[0] ^= 1 }),
		"whose date has passed":         change(func(r *protocol.Receipt) { r.Created, r.Expires = r.Created-2*protocol.Day, r.Created-protocol.Day }),
		"from the future":               change(func(r *protocol.Receipt) { r.Created += 3 * protocol.Hour }),
		"without a duty key":            change(func(r *protocol.Receipt) { r.DutyKey = key.DutyKey{} }),
		"without a lock":                change(func(r *protocol.Receipt) { r.DutySeal = key.Encapsulation[key.DutySeal]{} }),
		"signed by another vendor":      {signer: operational(t, g.vendors[1])},
		"signed by nobody known":        {signer: key.NewSecret()},
		"signed by the vendor's duty":   {signer: mine.Mine.Sign.Secret()},
		"signed in another domain":      {kind: protocol.KindAck},
		"sealed as a first letter":      {class: seal.First},
		"sealed as an offer":            {class: seal.Offer},
		"sealed as a vendor's":          {class: seal.Vendor},
		"that is the grant sent back":   {raw: envelopeOf(t, g.her, mine.Letters.Grant)},
		"that is the request sent back": {raw: envelopeOf(t, g.her, mine.Letters.Request)},
		"that is no message":            {raw: []byte("give me the data")},
	}
}

func envelopeOf(t *testing.T, s *stall, id protocol.Hash) (raw []byte) {
	t.Helper()
	if err := s.stores.KV.View(t.Context(), func(r kv.Reader) (err error) {
		raw, err = records.GetEnvelope(r, id)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return raw
}

// forgedReceipts delivers wrong Receipts before the right one, and after it: none
// brings a disclosure, and none stands in the right one's way.
func forgedReceipts(t *testing.T) {
	g := newStreet(t)
	defer g.close()
	genuine := g.receipts[0]
	try := func(name string, raw []byte) {
		for _, first := range []bool{true, false} {
			s, wt := g.her.copy(t)
			if !first {
				hand(t, s, genuine.Box, genuine.Data)
			}
			opened, err := s.m.Letter(t.Context(), genuine.Box, raw)
			if n := g.check(t, wt, name); opened || first && (n != [2]int{} || len(wt.receipts()) > 0) {
				t.Errorf("a receipt %s is taken: opened %v (%v), %d disclosures, %d in the ledger", name, opened, err, n[0], len(wt.receipts()))
			}
			if state := stateOf(t, s, g.grants[0]); first && state != flow.Granted {
				t.Errorf("a receipt %s makes the grant %s", name, state)
			}
			s.restart(t) // what waits for another try does not come through after a start either
			_, _ = s.m.Letter(t.Context(), genuine.Box, raw)
			if first {
				hand(t, s, genuine.Box, genuine.Data)
			}
			if n := g.check(t, wt, name); n != [2]int{1, 0} {
				t.Errorf("a receipt %s, the right one after it or before: %d disclosures", name, n)
			}
			s.end()
		}
	}
	for name, f := range g.forgeries(t) {
		try(name, g.forge(t, f))
	}
	for _, at := range []int{0, 3, 40, 60, 100, 1200, len(genuine.Data) - 1} {
		raw := slices.Clone(genuine.Data)
		raw[at] ^= 1
		try(fmt.Sprint("with a flipped bit at ", at), raw)
	}
	// The forger's hand is steady: what it leaves as it was is taken.
	s, wt := g.her.copy(t)
	defer s.end()
	hand(t, s, genuine.Box, g.forge(t, forgery{}))
	if n := g.check(t, wt, "planted"); n != [2]int{1, 0} {
		t.Errorf("planted: a forged receipt with nothing wrong brings %d disclosures", n)
	}
}

func stateOf(t *testing.T, s *stall, id protocol.GrantID) flow.AgreementState {
	t.Helper()
	var a records.Agreement
	if err := s.stores.KV.View(t.Context(), func(r kv.Reader) (err error) {
		a, err = records.GetAgreement(r, id)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return a.Flow.State
}
