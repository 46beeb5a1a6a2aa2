package node_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
)

// A stranger judges announcements by their bytes.
type stranger struct {
	net, terms protocol.Hash
	keepers    map[string]string // keeper key -> its address
	issuers    []string
	private    [][]byte // must not be seen, not even 8 bytes of it
	words      []string // of the needs
	runs       map[[8]byte][]byte
}

// parts are the pieces of an announcement that belong to its context alone.
type parts struct {
	seq    uint64
	ctx    string
	public string // category, region, fields, issuers, keepers: what its size may tell
	size   int
	once   map[string][]byte // name -> bytes that no other context may share
}

// strangerKeys are the keys that an announcement may have.
var strangerKeys = []uint64{1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 127}

// see takes one announcement apart and tells what it shows too much of.
func (s *stranger) see(raw []byte) (p parts, wrong []string) {
	bad := func(format string, a ...any) { wrong = append(wrong, fmt.Sprintf(format, a...)) }
	e, err := parseEnvelope(raw)
	if err != nil {
		return p, []string{err.Error()}
	}
	a, err := parseCBOR(e.payload)
	if err != nil {
		return p, []string{err.Error()}
	}
	if string(e.kind) != "hark/1/announcement" {
		bad("payload type %q", e.kind)
	}
	if err := a.uints(strangerKeys...); err != nil {
		bad("announcement: %v", err)
		return p, append(wrong, s.private8(raw)...)
	}
	p = parts{size: len(raw), once: map[string][]byte{"signature": e.sig}}
	for k, want := range map[uint64]int{5: 16, 6: 32, 8: 32, 20: 1216, 25: 32, 26: 1024 + 16, 27: 32} {
		f, _ := a.field(k)
		if f.major != 2 || len(f.body) != want {
			bad("key %d: %d bytes, not %d", k, len(f.body), want)
		}
		p.once[fmt.Sprint("key ", k)] = f.body
	}
	for k, want := range map[uint64]protocol.Hash{2: s.net, 22: s.terms} {
		if f, _ := a.field(k); !bytes.Equal(f.body, want[:]) {
			bad("key %d: %x is not the network's", k, f.body)
		}
	}
	if !bytes.Equal(p.once["key 6"], e.key) || !bytes.Equal(p.once["key 8"], e.key) {
		bad("sender, context and signer differ")
	}
	p.ctx = string(e.key)
	for k, most := range map[uint64]uint64{1: 1, 3: 1, 4: 1, 9: 1 << 20, 10: 1 << 34, 11: 1 << 34, 16: 1, 17: 2} {
		if f, _ := a.field(k); f.major != 0 || f.n == 0 || f.n > most {
			bad("key %d is %d", k, f.n)
		}
	}
	seq, _ := a.field(9)
	p.seq = seq.n
	p.public = s.labels(a, bad)
	return p, append(wrong, s.private8(raw)...)
}

// labels checks what an announcement says in words, and whom it names.
func (s *stranger) labels(a cborItem, bad func(string, ...any)) (public string) {
	category, _ := a.field(18)
	region, _ := a.field(19)
	if !protocol.Categories().Has(protocol.Category(category.body)) || !protocol.Region(region.body).Valid() {
		bad("category %q, region %q", category.body, region.body)
	}
	fields, _ := a.field(21)
	for _, f := range fields.list {
		name, _ := f.field(1)
		if _, ok := protocol.FieldName(name.body).Info(); !ok || f.uints(1, 2) != nil {
			bad("field on offer %q", name.body)
		}
		if floor, ok := f.field(2); ok {
			minor, _ := floor.field(1)
			currency, _ := floor.field(2)
			if floor.uints(1, 2) != nil || protocol.Ladder(int64(minor.n)) != int64(minor.n) || !protocol.Currency(currency.body).Valid() {
				bad("floor %d %q", minor.n, currency.body)
			}
		}
	}
	issuers, _ := a.field(23)
	for _, i := range issuers.list {
		if !slices.Contains(s.issuers, string(i.body)) {
			bad("issuer %x is none that was named", i.body)
		}
	}
	keepers, _ := a.field(24)
	for _, k := range keepers.list {
		name, _ := k.field(1)
		addrs, _ := k.field(2)
		if want, ok := s.keepers[string(name.body)]; !ok || k.uints(1, 2) != nil || len(addrs.list) != 1 || string(addrs.list[0].body) != want {
			bad("keeper %x is no public node as it names itself", name.body)
		}
	}
	if len(keepers.list) == 0 {
		bad("no keepers")
	}
	if admission, ok := a.field(127); ok && admission.uints(1, 2, 3) != nil {
		bad("admission")
	}
	return fmt.Sprintf("%s %s %v %v %d", category.body, region.body, fields, issuers, len(keepers.list))
}

// private8 finds eight bytes of anything private, and words of a need.
func (s *stranger) private8(raw []byte) (wrong []string) {
	if s.runs == nil {
		s.runs = map[[8]byte][]byte{}
		for _, p := range s.private {
			for i := 0; i+8 <= len(p); i++ {
				s.runs[[8]byte(p[i:i+8])] = p
			}
		}
	}
	for i := 0; i+8 <= len(raw); i++ {
		if p, ok := s.runs[[8]byte(raw[i:i+8])]; ok {
			wrong = append(wrong, fmt.Sprintf("shows %q of %q", raw[i:i+8], p))
		}
	}
	lower := bytes.ToLower(raw)
	for _, w := range s.words {
		if bytes.Contains(lower, []byte(w)) {
			wrong = append(wrong, fmt.Sprintf("shows the word %q", w))
		}
	}
	return wrong
}

// judge looks at many announcements together: no two contexts may share a key,
// mailbox, id or any other run of 16 bytes, and the size tells nothing that the
// public parts don't.
func (s *stranger) judge(raws [][]byte) (contexts int, wrong []string) {
	sizes := map[string]int{}
	seen := map[string]bool{}
	runs := map[[16]byte]origin{}
	for i, raw := range raws {
		p, bad := s.see(raw)
		for _, b := range bad {
			wrong = append(wrong, fmt.Sprintf("announcement %d: %s", i, b))
		}
		if was, ok := sizes[p.public]; ok && was != p.size {
			wrong = append(wrong, fmt.Sprintf("announcement %d has %d bytes, another that says the same has %d", i, p.size, was))
		}
		sizes[p.public] = p.size
		seen[p.ctx] = true
		wrong = append(wrong, p.linked(i, runs)...)
	}
	return len(seen), wrong
}

// An origin is where a run of 16 bytes was seen first.
type origin struct {
	announcement int
	ctx, part    string
}

// linked finds what an announcement has in common with those before it and should
// not. Two versions of one context share its keys; bodies, ids and signatures are
// new each time.
func (p parts) linked(i int, runs map[[16]byte]origin) (wrong []string) {
	for part, x := range p.once {
		fresh := slices.Contains([]string{"key 5", "key 26", "key 27", "signature"}, part)
		for j := 0; j+16 <= len(x); j++ {
			run := [16]byte(x[j : j+16])
			was, ok := runs[run]
			switch {
			case !ok:
				runs[run] = origin{i, p.ctx, part}
			case was.announcement != i && (was.ctx != p.ctx || fresh):
				wrong = append(wrong, fmt.Sprintf("%s and %s share %x", part, was.part, run))
			}
		}
	}
	return wrong
}

// strangerWorld announces needs of two customers and gives what a keeper has heard,
// and a stranger who knows what must not be in it.
func strangerWorld(t *testing.T, w *nodetest.World) (*stranger, [][]byte) {
	ctx := context.Background()
	s := &stranger{net: netOf(t, w.Genesis), terms: w.Genesis.Terms, keepers: map[string]string{}}
	var tapes []*tape
	for _, name := range []string{"couches", "keeper one", "keeper two", "keeper three"} {
		m := w.Public(name)
		tapes = append(tapes, onTape(m))
		k := m.Port.Self()
		s.keepers[string(k.Key[:])] = string(k.Addrs[0])
	}
	issuer := key.Generate[key.Issuer]().Public()
	s.issuers = []string{string(issuer[:])}
	values := map[string]string{
		"location.area": "Melville, near the koppies", "contact.hours": "after eight in the evening",
		"preference.delivery": "leave it with Mrs Dlamini", "contact.email": "thandi.nkosi@example.org", "vehicle.model": "Cressida 2.8 GLE",
	}
	short := desk.NeedSpec{Auto: true, Name: "lamp", Category: "home.furniture", MaxPrice: 123456700}
	long := desk.NeedSpec{
		Auto: true, Name: "a two-seater couch with linen cover, forest green", Category: "home.furniture", Quantity: 3,
		Description: strings.Repeat("It should fit beneath the window of grandmother's verandah. ", 6), MaxPrice: 987654300, Condition: "used", NeededBy: time.Now().Add(99 * time.Hour),
	}
	specs := []desk.NeedSpec{
		short, long,
		{Auto: true, Name: "cover for my Cressida", Category: "insurance.motor", Region: "ZA-GP", Issuers: []string{issuer.String()}},
		{Auto: true, Name: "wedding photographer", Interest: true, Fields: map[string]int64{"contact.email": 4321, "location.area": 0}},
	}
	for _, name := range []string{"thandi", "sipho"} {
		her := w.Personal(name)
		tp := onTape(her)
		time.Sleep(5 * time.Second)
		her.Fill(values)
		for _, spec := range specs {
			n, err := her.Customer().Needs().Create(ctx, spec)
			if err != nil {
				t.Fatal(err)
			}
			if spec.Name == "lamp" {
				time.Sleep(5 * time.Second)
				if _, err := her.Customer().Needs().Update(ctx, n.ID, desk.NeedSpec{Auto: true, Name: "a very different chandelier", Category: spec.Category}); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Second)
		}
		s.learn(t, her, tp)
	}
	for _, v := range values {
		s.private = append(s.private, []byte(v))
	}
	for _, spec := range append(specs, desk.NeedSpec{Auto: true, Name: "very different chandelier"}) {
		for _, word := range strings.FieldsFunc(strings.ToLower(spec.Name+" "+spec.Description), func(r rune) bool { return r < 'a' || r > 'z' }) {
			if len(word) >= 5 {
				s.words = append(s.words, word)
			}
		}
	}
	time.Sleep(10 * time.Second)
	return s, announcements(tapes...)
}

// learn takes everything that identifies a customer as private: who her node is, and
// every key and value that she keeps, save what she announced herself.
func (s *stranger) learn(t *testing.T, her *nodetest.Member, tp *tape) {
	self, err := her.Network().Self(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	peer := her.Key.Public()
	s.private = append(s.private, peer[:], []byte(self.PeerID), []byte(peer.String()), her.Master.Reveal(), her.Key.Seed().Reveal())
	s.words = append(s.words, her.Name)
	if device, err := hex.DecodeString(self.Device); err == nil && len(device) == 32 {
		s.private = append(s.private, device)
	}
	announced := map[string]bool{}
	for k := range s.keepers {
		announced[k] = true
	}
	for _, h := range [][]byte{s.net[:], s.terms[:], []byte(s.issuers[0])} {
		announced[string(h)] = true
	}
	for _, raw := range announcements(tp) {
		each32(raw, func(b []byte) { announced[string(b)] = true })
	}
	for _, w := range tp.all("k/c/") {
		c, err := parseCBOR(w.value)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range c.list {
			if bytes.HasPrefix(x.body, envelopeHead) { // the announcement itself
				each32(x.body, func(b []byte) { announced[string(b)] = true })
			}
		}
	}
	var have locks
	have.add(tp.all(""))
	for _, k := range have.list {
		if !announced[string(k.Reveal())] {
			s.private = append(s.private, k.Reveal())
		}
	}
}

func TestMust_stranger_sees(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.NewWorld(t)
		defer w.Close()
		s, raws := strangerWorld(t, w)
		strangerFinds(t, s, raws)
		contexts, wrong := s.judge(raws)
		for _, bad := range wrong {
			t.Error(bad)
		}
		if contexts != 8 || len(raws) != 10 {
			t.Fatalf("%d announcements of %d contexts reached the keepers, not 10 of 8", len(raws), contexts)
		}
		t.Logf("%d announcements of %d contexts, %d private strings, %d words", len(raws), contexts, len(s.private), len(s.words))
	})
}

// strangerFinds plants what an announcement must not show, one thing after another.
func strangerFinds(t *testing.T, s *stranger, raws [][]byte) {
	h, err := wire.OpenAnnouncement(raws[0])
	if err != nil {
		t.Fatal(err)
	}
	other, err := wire.OpenAnnouncement(raws[len(raws)-1])
	if err != nil {
		t.Fatal(err)
	}
	mailbox := other.A().Mailbox
	id := other.A().Header.ID
	seal := other.A().Seal
	for name, plant := range map[string]struct {
		change func(a *protocol.Announcement)
		extra  protocol.Extra
		want   string
	}{
		"nothing":          {func(*protocol.Announcement) {}, nil, ""},
		"an ignorable key": {func(*protocol.Announcement) {}, protocol.Extra("\x18\xc8\x63abc"), "key 200"},
		"her value in a keeper": {func(a *protocol.Announcement) {
			a.Keepers = []protocol.Keeper{{Key: a.Keepers[0].Key, Addrs: [][]byte{[]byte("via Mrs Dlamini's")}}}
		}, nil, "Mrs Dlam"},
		"her peer as a keeper": {func(a *protocol.Announcement) {
			a.Keepers = []protocol.Keeper{{Key: key.KeeperKey(s.private[0]), Addrs: [][]byte{{1}}}}
		}, nil, "is no public node"},
		"an issuer that nobody named": {func(a *protocol.Announcement) { a.Issuers = []key.IssuerKey{key.Generate[key.Issuer]().Public()} }, nil, "is none that was named"},
		"a field of her own naming":   {func(a *protocol.Announcement) { a.Fields = []protocol.FieldOnOffer{{Name: "friend.of-sipho"}} }, nil, "field on offer"},
		"other terms":                 {func(a *protocol.Announcement) { a.Terms = protocol.Hash{1, 2, 3} }, nil, "is not the network's"},
		"a mailbox of another need":   {func(a *protocol.Announcement) { a.Mailbox = mailbox }, nil, "key 25 and key 25 share"},
		"an id of another need":       {func(a *protocol.Announcement) { a.Header.ID = id }, nil, "key 5 and key 5 share"},
		"a lock of another need":      {func(a *protocol.Announcement) { a.Seal = seal }, nil, "key 20 and key 20 share"},
		"a body key for commitment":   {func(a *protocol.Announcement) { copy(a.Commitment[:], s.private[3][:16]) }, nil, "shows"},
	} {
		a := *h.A()
		a.Header.ID, a.Mailbox = wire.NewID(), key.Generate[key.Mailbox]().Public()
		a.Seal, a.Commitment = key.GenerateSeal[key.ContextSeal]().Public(), protocol.Hash(key.NewSecret().Reveal())
		k := key.Generate[key.Context]()
		a.From, a.Context = protocol.Hash(k.Public()), protocol.Hash(k.Public())
		a.Body, _, err = wire.SealBody(protocol.Demand{Name: "planted"}, key.NewSecret(), k.Public(), a.Seq)
		if err != nil {
			t.Fatal(err)
		}
		plant.change(&a)
		raw, err := wire.SignExtra(k, &a, plant.extra)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_, wrong := s.judge(append(slices.Clone(raws), raw))
		if found := strings.Join(wrong, "\n"); plant.want == "" && found != "" || !strings.Contains(found, plant.want) {
			t.Errorf("planted %s, found %q", name, found)
		}
	}
	// A body that is not padded, made by hand: the words of the need still don't show, but its length does.
	e, err := parseEnvelope(raws[0])
	if err != nil {
		t.Fatal(err)
	}
	body := h.A().Body
	at := bytes.Index(e.payload, body)
	bare := slices.Concat(e.payload[:at-3], []byte{0x58, 40}, body[:40], e.payload[at+len(body):])
	raw := slices.Concat(envelopeHead, e.key, []byte("\x12\x13hark/1/announcement\x1a"), uvarint(len(bare)), bare, []byte("\x2a\x40"), e.sig)
	if _, wrong := s.see(raw); !strings.Contains(strings.Join(wrong, "\n"), "key 26: 40 bytes") {
		t.Errorf("planted a short body, found %q", wrong)
	}
	if _, wrong := s.see(bytes.Replace(raws[0], h.A().Body[100:120], []byte("forest green couches"), 1)); len(wrong) == 0 {
		t.Error("planted a word of a need, found nothing")
	}
}

func uvarint(n int) (out []byte) {
	for ; n > 127; n >>= 7 {
		out = append(out, byte(n)|128)
	}
	return append(out, byte(n))
}
