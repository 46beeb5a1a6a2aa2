package node_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/market"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/ledger"
	records "github.com/harkmarket/hark/store/market"
)

// A leftLetter is a letter that has left, opened, and how long her ledger was then.
type leftLetter struct {
	at       int64
	plain    []byte
	toVendor bool
}

// A keptReceipt is an entry of her ledger that says that a Receipt is here.
type keptReceipt struct {
	at       int64
	grant    protocol.GrantID
	envelope protocol.Hash
}

// leaks holds a history to the rule that no value, body key or offer secret leaves
// before a valid Receipt for that very grant is in the ledger. It tells how many
// disclosures there were.
func leaks(letters []leftLetter, kept []keptReceipt, valid func(keptReceipt) error, private [][]byte) (disclosures int, wrong []string) {
	for n, l := range letters {
		if !l.toVendor {
			continue
		}
		grant, is := disclosureOf(l.plain)
		if !is {
			for _, p := range private {
				if bytes.Contains(l.plain, p) {
					wrong = append(wrong, fmt.Sprintf("letter %d, no disclosure, holds %q", n, p))
				}
			}
			continue
		}
		disclosures++
		why := "there is none"
		for _, r := range kept {
			switch {
			case r.grant != grant:
			case r.at > l.at:
				why = fmt.Sprintf("it is entry %d, the letter left at %d", r.at, l.at)
			case valid(r) != nil:
				why = valid(r).Error()
			default:
				why = ""
			}
			if why == "" {
				break
			}
		}
		if why != "" {
			wrong = append(wrong, fmt.Sprintf("letter %d discloses under grant %s without a receipt: %s", n, grant.Short(), why))
		}
	}
	return disclosures, wrong
}

// disclosureOf reads the grant of a disclosure off its bytes, whoever authenticated it.
func disclosureOf(plain []byte) (protocol.GrantID, bool) {
	outer, err := parseCBOR(plain)
	if err != nil {
		return protocol.GrantID{}, false
	}
	payload, _ := outer.field(1)
	d, err := parseCBOR(payload.body)
	if err != nil {
		return protocol.GrantID{}, false
	}
	kind, _ := d.field(3)
	grant, _ := d.field(16)
	if kind.n != uint64(protocol.KindDisclosure) || len(grant.body) != 32 {
		return protocol.GrantID{}, false
	}
	return protocol.GrantID(grant.body), true
}

// A witness watches one customer: what is in her ledger at the moment when a letter
// leaves.
type witness struct {
	her    *tape
	sealed kv.Store // her disk, whether her process lives or not
	led    *ledger.Ledger

	mu   sync.Mutex
	size int64
	kept []keptReceipt
	left []struct {
		at  int64
		raw []byte
	}
	seen map[protocol.Hash]bool
}

func newWitness(t *testing.T, her *tape, master key.Secret) *witness {
	wt := &witness{her: her, sealed: kv.Sealed(her.Store, her.secret), seen: map[protocol.Hash]bool{}}
	var err error
	wt.led, err = ledger.Open(context.Background(), wt.sealed, key.FromSeed[key.Device](seal.Derive(master, seal.LabelDevice, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return wt
}

// saw notes that a letter has left.
func (wt *witness) saw(raw []byte) {
	wt.mu.Lock()
	defer wt.mu.Unlock()
	if id := wire.ID(raw); wt.seen[id] {
		return
	} else {
		wt.seen[id] = true
	}
	err := wt.sealed.View(context.Background(), func(r kv.Reader) error {
		for {
			list, err := wt.led.List(r, wt.size, 0, "")
			if err != nil || len(list) == 0 {
				return err
			}
			for _, e := range list {
				wt.size = e.Seq
				if e.Kind != "receipt.kept" {
					continue
				}
				var body struct{ Grant, Envelope protocol.Hash }
				if err := json.Unmarshal(e.Body, &body); err != nil {
					return fmt.Errorf("ledger entry %d: %w", e.Seq, err)
				}
				wt.kept = append(wt.kept, keptReceipt{e.Seq, body.Grant, body.Envelope})
			}
		}
	})
	if err != nil {
		panic(err)
	}
	wt.left = append(wt.left, struct {
		at  int64
		raw []byte
	}{wt.size, raw})
}

// receipts gives what her ledger says of Receipts.
func (wt *witness) receipts() []keptReceipt {
	wt.mu.Lock()
	defer wt.mu.Unlock()
	return slices.Clone(wt.kept)
}

// history opens everything that left. A letter that nobody's key opens may hide anything.
func (wt *witness) history(net protocol.Hash, s *secrets) (out []leftLetter, wrong []string) {
	wt.mu.Lock()
	defer wt.mu.Unlock()
	for n, l := range wt.left {
		plain, d, err := s.read(net, l.raw)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("letter %d: %v", n, err))
			continue
		}
		out = append(out, leftLetter{l.at, plain, !d.hers})
	}
	return out, wrong
}

// valid checks a Receipt with nothing but the passports: for this grant, signed by a
// key that its vendor lists for receipts, over the ledger head that the Grant showed.
func (wt *witness) valid(k keptReceipt, net protocol.Hash, chains map[protocol.VendorID]wire.Chain) error {
	var receipt, grant []byte
	err := wt.sealed.View(context.Background(), func(r kv.Reader) (err error) {
		if receipt, err = records.GetEnvelope(r, k.envelope); err != nil {
			return err
		}
		s, err := wire.Open(receipt)
		if err != nil {
			return err
		}
		grant, err = records.GetEnvelope(r, s.Head().Re)
		return err
	})
	if err != nil {
		return err
	}
	s, err := wire.Open(receipt)
	if err != nil {
		return err
	}
	r, err := wire.As[*protocol.Receipt](s)
	if err != nil {
		return err
	}
	if s, err = wire.Open(grant); err != nil {
		return err
	}
	g, err := wire.As[*protocol.Grant](s)
	if err != nil {
		return err
	}
	chain, known := chains[g.To]
	switch {
	case r.Net != net || r.Grant != k.grant || g.Grant != k.grant || r.Context != g.Context:
		return fmt.Errorf("it is for another grant")
	case r.To != protocol.Hash(g.DutyKey):
		return fmt.Errorf("it is to another key")
	case r.Ledger != g.Ledger:
		return fmt.Errorf("it is over another ledger")
	case r.Payment.Rail != protocol.RailNone || r.Payment.Amount.Minor != 0:
		return fmt.Errorf("it pays on another rail")
	case !known || !chain.Operational(key.OperationalKey(r.From), protocol.RoleRequests, r.Created):
		return fmt.Errorf("its signer is not the vendor's")
	}
	return nil
}

// chainOf reads a vendor's passports off its own disk.
func chainOf(t *testing.T, tp *tape, net protocol.Hash) (protocol.VendorID, wire.Chain) {
	t.Helper()
	all := tp.all("k/n/vendor")
	if len(all) == 0 {
		t.Fatal("no passport")
	}
	v := decode[market.Vendor](t, all[len(all)-1])
	c, err := wire.OpenChain(v.Chain, net)
	if err != nil {
		t.Fatal(err)
	}
	return v.ID, c
}

func TestMust_no_receipt_no_data(t *testing.T) {
	t.Run("planted", leaksAreFound)
	t.Run("crash anywhere", func(t *testing.T) { synctest.Test(t, crashAnywhere) })
	t.Run("any order", func(t *testing.T) { synctest.Test(t, anyOrder) })
	t.Run("forged", func(t *testing.T) { synctest.Test(t, forgedReceipts) })
}

// leaksAreFound feeds the checker histories of a market that discloses too early.
func leaksAreFound(t *testing.T) {
	one, two := protocol.GrantID{1}, protocol.GrantID{2}
	value := []byte("Melville, near the koppies")
	disclose := func(g protocol.GrantID) []byte {
		d := &protocol.Disclosure{
			Header: protocol.Header{Net: protocol.Hash{9}, ID: wire.NewID(), From: protocol.Hash(key.Generate[key.Duty]().Public()),
				To: protocol.Hash(key.Generate[key.Duty]().Public()), Context: protocol.Hash(key.Generate[key.Context]().Public()), Seq: 1, Created: 1_800_000_000, Expires: 1_800_600_000, Re: protocol.Hash{1}},
			Grant: g, Values: []protocol.FieldValue{{Name: "location.area", Value: string(value), Version: 1}}, Lease: 1, Until: 1_800_080_000, OfferSecret: protocol.Share(key.NewSecret()),
		}
		raw, err := wire.SealDisclosure(d, key.NewSecret())
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	early := disclose(one)
	good := func(keptReceipt) error { return nil }
	forged := func(keptReceipt) error { return fmt.Errorf("forged") }
	receipt := []keptReceipt{{at: 5, grant: one}}
	for name, c := range map[string]struct {
		letters []leftLetter
		kept    []keptReceipt
		valid   func(keptReceipt) error
		want    string
	}{
		"nothing":                         {[]leftLetter{{5, early, true}, {1, []byte("a grant"), true}}, receipt, good, ""},
		"no receipt":                      {[]leftLetter{{5, early, true}}, nil, good, "there is none"},
		"a receipt that came later":       {[]leftLetter{{4, early, true}}, receipt, good, "it is entry 5"},
		"another grant's":                 {[]leftLetter{{5, disclose(two), true}}, receipt, good, "there is none"},
		"a forged one":                    {[]leftLetter{{5, early, true}}, receipt, forged, "forged"},
		"a value in a grant":              {[]leftLetter{{9, append([]byte("grant "), value...), true}}, receipt, good, "no disclosure, holds"},
		"the vendor's answer with values": {[]leftLetter{{9, append([]byte("answer "), value...), false}}, receipt, good, ""},
	} {
		_, wrong := leaks(c.letters, c.kept, c.valid, [][]byte{value})
		if found := strings.Join(wrong, "\n"); c.want == "" && found != "" || !strings.Contains(found, c.want) {
			t.Errorf("planted %s, found %q", name, found)
		}
	}
}

// A crashWorld has one customer and one vendor whose processes can be killed at any
// commit.
type crashWorld struct {
	*nodetest.World
	her, vendor *nodetest.Member
	tapes       map[*nodetest.Member]*tape
	wt          *witness
}

// crashAnywhere kills the customer, and then the vendor, at the n-th commit of a
// whole agreement, from announcement to offer, for every n: once with that commit on
// the disk and once without. The flow goes on after the restart, and nothing leaves
// too early.
func crashAnywhere(t *testing.T) {
	w := nodetest.NewWorld(t)
	defer w.Close()
	c := &crashWorld{World: w, vendor: w.Public("couches"), her: w.Personal("thandi"), tapes: map[*nodetest.Member]*tape{}}
	keeper := w.Public("keeper")
	for _, m := range []*nodetest.Member{c.vendor, c.her, keeper} {
		c.tapes[m] = onTape(m)
	}
	c.wt = newWitness(t, c.tapes[c.her], c.her.Master)
	for m, tp := range c.tapes {
		tp.watch(func(list []written) {
			for _, x := range list { // on her own disk there is none
				if strings.HasPrefix(string(x.key), letterPrefix) {
					c.wt.saw(x.value)
				}
			}
		}, func() { w.Net.SetOnline(m.Port, false) })
	}
	time.Sleep(5 * time.Second)
	c.vendor.Sell(shop)
	values := map[string]string{"location.area": "Melville, near the koppies", "contact.hours": "evenings after eight"}
	c.her.Fill(values)
	points := map[string]int{}
	for who, m := range map[string]*nodetest.Member{"customer": c.her, "vendor": c.vendor} {
		for _, kept := range []bool{false, true} {
			n := 1
			for c.killed(t, m, n, kept) {
				n++
			}
			points[fmt.Sprintf("%s, commit kept: %v", who, kept)] = n - 1
			if n < 8 {
				t.Errorf("only %d commits of the %s", n-1, who)
			}
		}
	}

	var s secrets
	net := netOf(t, w.Genesis)
	s.learn(t, c.tapes[c.her], true)
	s.learn(t, c.tapes[c.vendor], false)
	for _, v := range values {
		s.private = append(s.private, []byte(v))
	}
	id, chain := chainOf(t, c.tapes[c.vendor], net)
	letters, wrong := c.wt.history(net, &s)
	kept := c.wt.receipts()
	disclosures, early := leaks(letters, kept, func(k keptReceipt) error {
		return c.wt.valid(k, net, map[protocol.VendorID]wire.Chain{id: chain})
	}, s.private)
	for _, bad := range append(wrong, early...) {
		t.Error(bad)
	}
	if needs := len(kept); disclosures < needs || needs == 0 {
		t.Errorf("%d disclosures for %d receipts", disclosures, needs)
	}
	t.Logf("%v; %d letters, %d disclosures, %d receipts", points, len(letters), disclosures, len(kept))
}

// killed runs one agreement in which m dies at its n-th commit. It reports false
// where the agreement is complete before that.
func (c *crashWorld) killed(t *testing.T, m *nodetest.Member, n int, kept bool) (died bool) {
	ctx := context.Background()
	tp := c.tapes[m]
	spec := desk.NeedSpec{Auto: true, Name: fmt.Sprintf("a couch for %s at %d %v", m.Name, n, kept), Category: "home.furniture"}
	tp.arm(n, kept)
	if _, err := c.her.Customer().Needs().Create(ctx, spec); err != nil && !tp.isDead() {
		t.Fatal(err)
	}
	need := func() string {
		p, err := c.her.Customer().Needs().List(ctx, desk.Query{Text: spec.Name})
		if err != nil || len(p.Items) == 0 {
			return ""
		}
		return p.Items[0].ID
	}
	answered := func() bool {
		id := need()
		if id == "" {
			return false
		}
		p, err := c.her.Customer().Offers().List(ctx, desk.Query{Context: id})
		return err == nil && len(p.Items) > 0
	}
	for range 600 {
		if tp.isDead() || answered() {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	time.Sleep(time.Second) // acknowledgements, deletions
	if died = tp.isDead(); died {
		m.Stop()
	}
	tp.revive()
	if died {
		m.Start()
		if need() == "" {
			if _, err := c.her.Customer().Needs().Create(ctx, spec); err != nil {
				t.Fatal(err)
			}
		}
		c.Until(5*time.Minute, spec.Name+": an offer after the restart", func() (bool, error) { return answered(), nil })
	}
	return died
}
