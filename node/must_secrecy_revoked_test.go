package node_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/crypto/seal"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
)

// A hoard is what somebody has who forgets nothing: every key that ever was on its
// disk, the whole gossip, and what lies and lay on all keepers' disks.
type hoard struct {
	net    protocol.Hash
	keys   locks
	gossip [][]byte
	mail   [][]byte
	as     []seal.Class // that keys are tried as
}

// grab takes all that a node ever wrote down, and all that keepers ever had.
func grab(net protocol.Hash, own *tape, keepers []*tape) *hoard {
	h := &hoard{net: net, gossip: announcements(keepers...), mail: letters(keepers...), as: []seal.Class{seal.First, seal.Offer, seal.Duty, seal.Vendor}}
	h.keys.add(own.all(""))
	return h
}

// bodies tells which announcements' bodies open, and the words inside.
func (h *hoard) bodies(t *testing.T) map[string]bool {
	open := map[string]bool{}
	for _, raw := range h.gossip {
		a, err := wire.OpenAnnouncement(raw)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range h.keys.list {
			if d, err := wire.OpenBody(a.A(), k); err == nil {
				open[fmt.Sprintf("seq %d: %s", a.A().Seq, d.Name)] = true
			}
		}
	}
	return open
}

// A readLetter is a letter that a hoard opens.
type readLetter struct {
	number     int // in the order in which keepers got it
	kind       string
	disclosure bool
	plain      []byte
}

// letters tries every key, as a key of every class, on every letter from the given
// one on. The keys inside of what opens are tried too.
func (h *hoard) letters(from int) (out []readLetter) {
	for i := 0; i < len(h.keys.list); i++ {
		k := key.SealFromSeed[key.DutySeal](h.keys.list[i])
		for n := from; n < len(h.mail); n++ {
			for _, class := range h.as {
				plain, _, err := wire.OpenLetter(k, class, h.net, h.mail[n])
				if err != nil {
					continue
				}
				h.keys.add([]written{{value: plain}})
				l := readLetter{number: n, kind: "sealed offer", plain: plain}
				if s, err := wire.Open(plain); err == nil {
					l.kind = s.Kind().String()
				}
				if l.disclosure = wire.IsDisclosure(plain); l.disclosure {
					l.kind = "disclosure"
				}
				out = append(out, l)
			}
		}
	}
	return out
}

// news tells what of a hoard is later than a moment: bodies of a seq above it, and
// letters after the first ones. Only what a revoked vendor is still told may be
// among the letters: that it is revoked, and that its answers came.
func (h *hoard) news(t *testing.T, seq, from int, private [][]byte) (later []string) {
	for _, l := range h.letters(from) {
		if l.kind != "revocation" && l.kind != "ack" {
			later = append(later, fmt.Sprintf("letter %d, a %s", l.number, l.kind))
		}
		for _, p := range private {
			if bytes.Contains(l.plain, p) {
				later = append(later, fmt.Sprintf("%q or a key in letter %d", p, l.number))
			}
		}
	}
	for b := range h.bodies(t) {
		var n int
		if _, err := fmt.Sscanf(b, "seq %d:", &n); err != nil {
			t.Fatal(err)
		}
		if n > seq {
			later = append(later, "the body of "+b)
		}
	}
	slices.Sort(later)
	return slices.Compact(later)
}

// revokedWorld is a customer and two vendors who have all they are granted.
type revokedWorld struct {
	*nodetest.World
	her, revoked, living *nodetest.Member
	hers, gone, stays    *tape
	keepers              []*tape
	need                 desk.Need
}

func newRevokedWorld(t *testing.T, w *nodetest.World) *revokedWorld {
	r := &revokedWorld{World: w, revoked: w.Public("couches"), living: w.Public("sofas"), her: w.Personal("thandi")}
	r.gone, r.stays, r.hers = onTape(r.revoked), onTape(r.living), onTape(r.her)
	r.keepers = []*tape{r.gone, r.stays, onTape(w.Public("keeper"))}
	time.Sleep(5 * time.Second)
	r.revoked.Sell(shop)
	r.living.Sell(shop)
	r.her.Fill(map[string]string{"location.area": "Melville, near the koppies", "contact.hours": "evenings after eight"})
	var err error
	if r.need, err = r.her.Customer().Needs().Create(context.Background(), desk.NeedSpec{Auto: true, Name: "a couch for two", Category: "home.furniture"}); err != nil {
		t.Fatal(err)
	}
	r.offers(t, 2)
	return r
}

// offers waits until as many vendors' grants are disclosed and answered, and nothing moves any more.
func (r *revokedWorld) offers(t *testing.T, vendors int) {
	t.Helper()
	r.Until(time.Minute, "offers", func() (bool, error) {
		who := map[string]bool{}
		for _, o := range r.her.Offers(desk.Query{Context: r.need.ID}) {
			who[o.Vendor] = true
		}
		return len(who) == vendors, nil
	})
	time.Sleep(10 * time.Second)
}

// after lets everything go on without the revoked vendor: another wish, another
// value, the next lease, a new vendor.
func (r *revokedWorld) after(t *testing.T) {
	ctx := context.Background()
	time.Sleep(10 * time.Second) // the new body key gets round
	if _, err := r.her.Customer().Needs().Update(ctx, r.need.ID, desk.NeedSpec{Auto: true, Name: "rather a leather couch", Category: "home.furniture"}); err != nil {
		t.Fatal(err)
	}
	r.her.Fill(map[string]string{"location.area": "Sophiatown, behind the church"})
	time.Sleep(time.Minute)
	if _, err := r.her.Customer().Needs().End(ctx, r.need.ID, desk.Renew); err != nil {
		t.Fatal(err)
	}
	fresh := r.Public("newcomer")
	tp := onTape(fresh)
	r.keepers = append(r.keepers, tp)
	time.Sleep(5 * time.Second)
	fresh.Sell(shop)
	r.offers(t, 3)
	time.Sleep(25 * time.Hour) // the lease is renewed
}

// revoke ends the first vendor's grant.
func (r *revokedWorld) revoke(t *testing.T) {
	t.Helper()
	ctx := context.Background()
	self, err := r.revoked.Vendor().Passports().Own(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.her.Customer().Grants().Revoke(ctx, nil, desk.Query{Vendor: self.Vendor}, "enough"); err != nil {
		t.Fatal(err)
	}
}

func TestMust_revoked_reads_nothing(t *testing.T) {
	t.Run("later", func(t *testing.T) { synctest.Test(t, readsNothingLater) })
	t.Run("under way", func(t *testing.T) { synctest.Test(t, readsNothingUnderWay) })
}

// readsNothingLater lets a revoked vendor try all it has on all that comes after.
func readsNothingLater(t *testing.T) {
	w := nodetest.NewWorld(t)
	defer w.Close()
	r := newRevokedWorld(t, w)
	net := netOf(t, w.Genesis)

	before := grab(net, r.gone, r.keepers)
	var then secrets
	then.learn(t, r.hers, true)
	if open := before.bodies(t); !open["seq 1: a couch for two"] {
		t.Fatalf("planted: with its grant alive the vendor opens only %v", open)
	}
	read := before.letters(0)
	if !slices.ContainsFunc(read, func(l readLetter) bool {
		return l.disclosure && bytes.Contains(l.plain, []byte("near the koppies"))
	}) {
		t.Fatalf("planted: with its grant alive the vendor reads no disclosure: %d letters", len(read))
	}
	r.revoke(t)
	r.after(t)

	// What is new since: values, body keys, the secrets of others.
	var all secrets
	all.learn(t, r.hers, true)
	private := append(fresh(all.private, then.private), []byte("Sophiatown"), []byte("leather couch"))
	total := len(letters(r.keepers...)) - len(before.mail)
	vendor, other := grab(net, r.gone, r.keepers), grab(net, r.stays, r.keepers)
	if total < 10 || len(vendor.gossip) < 4 || len(private) < 5 {
		t.Errorf("only %d letters, %d announcements, %d secrets since: nothing to be read", total, len(vendor.gossip), len(private))
	}
	other.as = []seal.Class{seal.Duty} // enough to see what the living are told
	first := order(before, vendor, other)
	if later := vendor.news(t, 1, first, private); len(later) > 0 {
		t.Errorf("the revoked vendor reads on: %q", later)
	}
	later := strings.Join(other.news(t, 1, first, private), "\n")
	for _, want := range []string{"the body of seq 2", "the body of seq 3: rather a leather couch", "a disclosure", "Sophiatown"} {
		if !strings.Contains(later, want) {
			t.Errorf("planted: the living vendor does not read %q, only:\n%s", want, later)
		}
	}
	t.Logf("%d keys, %d announcements, %d letters (%d since)", len(vendor.keys.list), len(vendor.gossip), len(vendor.mail), total)
}

// readsNothingUnderWay revokes while a disclosure still waits to be sent: she was
// offline when she changed the need, and when she changed her mind.
func readsNothingUnderWay(t *testing.T) {
	w := nodetest.NewWorld(t)
	defer w.Close()
	r := newRevokedWorld(t, w)
	ctx := context.Background()
	w.Net.SetOnline(r.her.Port, false)
	if _, err := r.her.Customer().Needs().Update(ctx, r.need.ID, desk.NeedSpec{Auto: true, Name: "rather a leather couch", Category: "home.furniture"}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	before := grab(netOf(t, w.Genesis), r.gone, r.keepers)
	r.revoke(t)
	w.Net.SetOnline(r.her.Port, true)
	r.Until(time.Minute, "the deletion", func() (bool, error) {
		return strings.Contains(r.her.States(), "deleted:1"), nil
	})
	time.Sleep(10 * time.Second)

	net := netOf(t, w.Genesis)
	vendor, other := grab(net, r.gone, r.keepers), grab(net, r.stays, r.keepers)
	vendor.as, other.as = []seal.Class{seal.Duty}, []seal.Class{seal.Duty}
	first := order(before, vendor, other)
	if later := vendor.news(t, 1, first, [][]byte{[]byte("leather couch")}); len(later) > 0 {
		t.Errorf("the revoked vendor reads what was under way: %q", later)
	}
	later := strings.Join(other.news(t, 1, first, nil), "\n")
	if !strings.Contains(later, "rather a leather couch") || !strings.Contains(later, "a disclosure") {
		t.Errorf("planted: the living vendor does not read the new words, only:\n%s", later)
	}
}

// fresh gives what is in all and not in old.
func fresh(all, old [][]byte) (out [][]byte) {
	for _, x := range all {
		if !slices.ContainsFunc(old, func(y []byte) bool { return bytes.Equal(x, y) }) {
			out = append(out, x)
		}
	}
	return out
}

// order puts the letters that were there before in front, in both hoards alike, and
// tells how many they are.
func order(before *hoard, hoards ...*hoard) int {
	for _, h := range hoards {
		h.mail = append(slices.Clone(before.mail), fresh(h.mail, before.mail)...)
	}
	return len(before.mail)
}
