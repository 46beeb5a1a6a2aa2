package board_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/store/board"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/storetest"
)

const (
	now   = protocol.Second(1_800_000_000)
	nowMS = int64(now) * 1000
)

func hash(s string) protocol.Hash { return sha256.Sum256([]byte(s)) }

func private[P key.Purpose](s string) key.Private[P] {
	h := hash(s)
	k, err := key.SecretFrom(h[:])
	if err != nil {
		panic(err)
	}
	return key.FromSeed[P](k)
}

func contextID(name string) protocol.ContextID { return private[key.Context](name).Public() }

var (
	sealKey    = key.GenerateSeal[key.ContextSeal]().Public()
	inboxKey   = key.GenerateSeal[key.InboxSeal]().Public()
	keepers    = []protocol.Keeper{{Key: private[key.Keeper]("k").Public(), Addrs: [][]byte{[]byte("\x04\x7f\x00\x00\x01\x91\x02\x0f\xa0\xcd\x03")}}}
	bodyKey    = key.NewSecret()
	body, mark = sealedBody()
)

func sealedBody() ([]byte, protocol.Hash) {
	b, m, err := wire.SealBody(protocol.Demand{Name: "desk"}, bodyKey, contextID("any"), 1)
	if err != nil {
		panic(err)
	}
	return b, m
}

// spec is what the tests vary.
type spec struct {
	name     string // of the context
	seq      uint64
	category protocol.Category
	region   protocol.Region
	life     protocol.Second
	gone     bool // withdrawn
	salt     string
}

func heard(s spec) wire.Heard {
	a := &protocol.Announcement{Status: protocol.Open, Reason: protocol.ContextNeed, Category: s.category, Region: s.region}
	if a.Category == "" {
		a.Category, a.Region = "home.furniture", "ZA-GP"
	}
	a.Net, a.Seq, a.Created, a.Expires = hash("net"), max(s.seq, 1), now-1, now+max(s.life, 1)
	h := hash(fmt.Sprint(s))
	copy(a.ID[:], h[:])
	if s.gone {
		a.Status = protocol.Withdrawn
	} else {
		a.Seal, a.Keepers, a.Mailbox, a.Terms = sealKey, keepers, private[key.Mailbox](s.name).Public(), hash("terms")
		a.Body, a.Commitment = body, mark
	}
	raw, err := wire.SignAnnouncement(private[key.Context](s.name), a, 0, 0)
	if err != nil {
		panic(err)
	}
	got, err := wire.OpenAnnouncement(raw)
	if err != nil {
		panic(err)
	}
	return got
}

type boards struct {
	testing.TB
	*board.Board
}

func open(t testing.TB, s kv.Store, lim board.Limits) boards {
	t.Helper()
	b, err := board.Open(s, 16, lim)
	if err != nil {
		t.Fatal(err)
	}
	return boards{t, b}
}

func (b boards) put(s spec) bool {
	b.Helper()
	fresh, err := b.Put(context.Background(), heard(s), nowMS)
	if err != nil {
		b.Fatal(err)
	}
	return fresh
}

func (b boards) find(f board.Filter) (names []string) {
	b.Helper()
	var after protocol.ContextID
	for more := true; more; {
		var page []board.Entry
		var err error
		page, more, err = b.Find(context.Background(), f, after, 2)
		if err != nil {
			b.Fatal(err)
		}
		for _, e := range page {
			after = protocol.ContextID(e.Heard.A().Context)
			names = append(names, fmt.Sprintf("%x", after[:8]))
		}
	}
	if !slices.IsSorted(names) {
		b.Errorf("found out of order: %v", names)
	}
	return names
}

func (b boards) ids(shard uint16) (all []protocol.Hash) {
	b.Helper()
	var after protocol.Hash
	for more := true; more; {
		var page []protocol.Hash
		var err error
		page, more, err = b.IDs(context.Background(), shard, after, 2)
		if err != nil {
			b.Fatal(err)
		}
		if len(page) > 0 {
			after = page[len(page)-1]
		}
		all = append(all, page...)
	}
	return all
}

func (b boards) fill(i int) kv.Fill { return b.Stats()[i] }

func names(all ...string) (ids []string) {
	for _, n := range all {
		c := contextID(n)
		ids = append(ids, fmt.Sprintf("%x", c[:8]))
	}
	slices.Sort(ids)
	return ids
}

func TestPrecedence(t *testing.T) {
	s := kv.Memory()
	b := open(t, s, board.Limits{})
	x, y := spec{name: "a", seq: 2, life: 50, salt: "x"}, spec{name: "a", seq: 2, life: 50, salt: "y"}
	hx, hy := heard(x).ID(), heard(y).ID()
	if bytes.Compare(hx[:], hy[:]) < 0 {
		x, y = y, x // y has the lower hash
	}
	for i, c := range []struct {
		spec
		fresh bool
	}{
		{x, true},
		{x, false},
		{spec{name: "a", seq: 1, life: 90}, false},
		{y, true},
		{x, false},
		{spec{name: "a", seq: 3, life: 60}, true},
		{y, false},
		{spec{name: "a", seq: 1, life: 90, gone: true}, true}, // withdrawn comes before any seq
		{spec{name: "a", seq: 9, life: 90}, false},
		{spec{name: "a", seq: 2, life: 95, gone: true}, true},
		{spec{name: "a", seq: 1, life: 99, gone: true}, false},
	} {
		if fresh := b.put(c.spec); fresh != c.fresh {
			t.Fatalf("case %d: fresh %v, want %v", i, fresh, c.fresh)
		}
		h := heard(c.spec)
		if c.fresh {
			seq, status, id, ok := b.Precedence(contextID("a"))
			if !ok || seq != h.A().Seq || status != h.A().Status || id != h.ID() {
				t.Fatalf("case %d: precedence says seq %d, %d, %s", i, seq, status, id.Short())
			}
		}
		if _, _, id, _ := b.Precedence(contextID("a")); b.Seen(h.ID()) != (id == h.ID()) {
			t.Fatalf("case %d: seen %v", i, b.Seen(h.ID()))
		}
		if i%3 == 0 {
			b = open(t, s, board.Limits{})
		}
	}
	if n := b.fill(0).Used; n != 1 {
		t.Fatalf("%d records of one context", n)
	}
	_, _, _, ok := b.Precedence(contextID("b"))
	if ok {
		t.Fatal("an unknown context has a precedence")
	}
}

func TestGetAndByID(t *testing.T) {
	s := kv.Memory()
	b := open(t, s, board.Limits{})
	h := heard(spec{name: "a", life: 10})
	for ms := range int64(3) { // heard three times: the first counts
		if _, err := b.Put(t.Context(), h, nowMS+ms); err != nil {
			t.Fatal(err)
		}
	}
	b = open(t, s, board.Limits{})
	e, err := b.Get(t.Context(), contextID("a"))
	if err != nil || e.Heard.ID() != h.ID() || e.HeardMS != nowMS || e.Shard != wire.Shard("home.furniture", "ZA-GP", 16) {
		t.Fatalf("%+v, %v", e, err)
	}
	if e, err = b.ByID(t.Context(), h.ID()); err != nil || !bytes.Equal(e.Heard.Raw(), h.Raw()) {
		t.Fatalf("by id: %v", err)
	}
	b.put(spec{name: "a", seq: 2, life: 10})
	if _, err = b.ByID(t.Context(), h.ID()); !errors.Is(err, fault.NotFound) {
		t.Fatalf("an older version by id: %v", err)
	}
	if _, err = b.Get(t.Context(), contextID("b")); !errors.Is(err, fault.NotFound) {
		t.Fatalf("unknown: %v", err)
	}
	if _, err := b.Put(t.Context(), h, nowMS+10_000); !errors.Is(err, fault.Expired) {
		t.Fatalf("past its date: %v", err)
	}
	if _, err := b.Put(t.Context(), wire.Heard{}, nowMS); !errors.Is(err, fault.Malformed) {
		t.Fatalf("nothing: %v", err)
	}
	if _, err := board.Open(s, 0, board.Limits{}); !errors.Is(err, fault.Malformed) {
		t.Fatalf("no shards: %v", err)
	}
}

func TestFindAndIDs(t *testing.T) {
	b := open(t, kv.Memory(), board.Limits{})
	for _, s := range []spec{
		{name: "sofa", category: "home.furniture", region: "ZA-GP"}, {name: "bed", category: "home.furniture", region: "ZA"},
		{name: "car", category: "insurance.motor", region: "ZA-WC"}, {name: "phone", category: "telecom.mobile-contract", region: "KE"},
		{name: "lamp", category: "home.furniture", region: "ZA-GP", gone: true},
	} {
		s.life = 1000
		b.put(s)
	}
	title, _ := protocol.Categories().Info("insurance.motor")
	for _, c := range []struct {
		board.Filter
		want []string
	}{
		{board.Filter{}, names("sofa", "bed", "car", "phone", "lamp")},
		{board.Filter{Status: protocol.Open}, names("sofa", "bed", "car", "phone")},
		{board.Filter{Status: protocol.Withdrawn}, names("lamp")},
		{board.Filter{Sectors: []string{"home", "telecom"}, Status: protocol.Open}, names("sofa", "bed", "phone")},
		{board.Filter{Region: "ZA"}, names("sofa", "bed", "car", "lamp")},
		{board.Filter{Region: "ZA-GP"}, names("sofa", "bed", "lamp")},
		{board.Filter{Region: "ZA-WC"}, names("bed", "car")},
		{board.Filter{Text: "MOBILE"}, names("phone")},
		{board.Filter{Text: strings.ToUpper(title.Title)}, names("car")},
		{board.Filter{Sectors: []string{"pets"}}, nil},
	} {
		if got := b.find(c.Filter); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.Filter, got, c.want)
		}
	}
	shard := wire.Shard("home.furniture", "ZA-GP", 16)
	ids, sum := b.ids(shard), 0
	if !slices.Contains(ids, heard(spec{name: "lamp", category: "home.furniture", region: "ZA-GP", gone: true, life: 1000}).ID()) {
		t.Error("a withdrawal is not listed")
	}
	for i := range uint16(16) {
		sum += len(b.ids(i))
	}
	if sum != 5 {
		t.Errorf("%d ids over all shards", sum)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := b.IDs(ctx, 0, protocol.Hash{}, 1); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestExpireAndShadows(t *testing.T) {
	s := kv.Memory()
	b := open(t, s, board.Limits{})
	long, short := spec{name: "a", seq: 1, life: 100}, spec{name: "a", seq: 2, life: 10}
	b.put(long)
	b.put(short)
	b.put(spec{name: "w", seq: 1, life: 100})
	b.put(spec{name: "w", seq: 2, life: 10, gone: true})
	b.put(spec{name: "x", life: 10})
	expire := func(at protocol.Second, want int) {
		t.Helper()
		n, err := b.Expire(t.Context(), now+at)
		if err != nil || n != want {
			t.Fatalf("at +%d s: %d expired, %v; want %d", at, n, err, want)
		}
		b = open(t, s, board.Limits{})
	}
	expire(9, 0)
	expire(10, 2) // x, and a leaves its shadow
	if got := b.find(board.Filter{}); !slices.Equal(got, names("w")) {
		t.Fatalf("found %v, want the tombstone of w", got)
	}
	if _, err := b.Get(t.Context(), contextID("a")); !errors.Is(err, fault.NotFound) {
		t.Fatalf("a shadow can be read: %v", err)
	}
	if _, err := b.ByID(t.Context(), heard(short).ID()); !errors.Is(err, fault.NotFound) {
		t.Fatalf("a shadow can be read by id: %v", err)
	}
	if b.put(long) || b.put(spec{name: "w", seq: 1, life: 100}) {
		t.Fatal("an earlier version came back")
	}
	if len(b.ids(wire.Shard("home.furniture", "ZA-GP", 16))) != 1 || b.fill(0).Used != 2 {
		t.Fatal("a shadow is listed, or is not counted")
	}
	if !b.put(spec{name: "a", seq: 3, life: 50}) {
		t.Fatal("a later version was refused because of a shadow")
	}
	expire(50, 1)
	expire(100, 2)
	if b.fill(0).Used != 0 || b.fill(1).Used != 0 {
		t.Fatalf("fills of an empty board: %v", b.Stats())
	}
}

func TestAFullBoard(t *testing.T) {
	one := int64(len(heard(spec{name: "a"}).Raw()))
	for name, lim := range map[string]board.Limits{"entries": {Entries: 4}, "bytes": {Bytes: 4*one + one/2}} {
		t.Run(name, func(t *testing.T) {
			s := kv.Memory()
			b := open(t, s, lim)
			for i := range 4 {
				b.put(spec{name: fmt.Sprint(i), life: protocol.Second(10 + i)})
			}
			if _, err := b.Put(t.Context(), heard(spec{name: "late", life: 10}), nowMS); !errors.Is(err, fault.Full) {
				t.Fatalf("one that expires with the soonest: %v", err)
			}
			if !b.put(spec{name: "0", seq: 2, life: 10, gone: true}) { // known contexts are not new
				t.Fatal("a withdrawal was refused")
			}
			if !b.put(spec{name: "new", life: 30}) {
				t.Fatal("one that expires later was refused")
			}
			want := names("1", "2", "3", "new")
			if lim.Bytes > 0 {
				want = names("1", "2", "3", "0", "new")
				if b.fill(1).Used+one <= lim.Bytes { // the withdrawal is small enough to stay
					t.Fatal("the bytes are not full")
				}
			}
			got := b.find(board.Filter{})
			if len(got) > 5 || lim.Entries > 0 && !slices.Equal(got, want) {
				t.Fatalf("found %d, want %d", len(got), len(want))
			}
			for i := range 50 { // a flood of long-lived ones keeps within the bound
				b.put(spec{name: fmt.Sprint("flood", i), life: protocol.Second(100 + i)})
				if f := b.fill(0); f.Used > f.Cap {
					t.Fatalf("fill %v", f)
				}
				if f := b.fill(1); f.Used > f.Cap {
					t.Fatalf("fill %v", f)
				}
			}
			if a, b := fmt.Sprint(b.Stats()), fmt.Sprint(open(t, s, lim).Stats()); a != b {
				t.Fatalf("memory says %v, disk %v", a, b)
			}
		})
	}
}

func TestFailuresKeepNothing(t *testing.T) {
	lim := board.Limits{Entries: 2, Passports: 1}
	steps := map[string]func(b boards) error{
		"put": func(b boards) error {
			_, err := b.Put(context.Background(), heard(spec{name: "c", life: 99}), nowMS)
			return err
		},
		"replace": func(b boards) error {
			_, err := b.Put(context.Background(), heard(spec{name: "a", seq: 7, life: 99}), nowMS)
			return err
		},
		"expire": func(b boards) error { _, err := b.Expire(context.Background(), now+20); return err },
		"vendor": func(b boards) error { _, err := b.PutPassports(context.Background(), passports("w", 1)); return err },
	}
	for name, step := range steps {
		for n := 1; ; n++ {
			s := kv.Memory()
			b := open(t, s, lim)
			b.put(spec{name: "a", life: 60})
			b.put(spec{name: "a", seq: 2, life: 10})
			b.put(spec{name: "b", life: 20})
			if _, err := b.PutPassports(t.Context(), passports("v", 1)); err != nil {
				t.Fatal(err)
			}
			b = open(t, storetest.Failing(s, n), lim)
			before := state(b)
			err := step(b)
			if err == nil {
				break
			}
			if !errors.Is(err, storetest.ErrInjected) || state(b) != before || state(open(t, s, lim)) != before {
				t.Fatalf("%s, step %d: %v, or something was kept", name, n, err)
			}
			if err := step(b); err != nil || state(b) != state(open(t, s, lim)) {
				t.Fatalf("%s, step %d: and again: %v", name, n, err)
			}
		}
	}
}

// state is all that a board shows.
func state(b boards) string {
	var all []any
	for i := range uint16(16) {
		all = append(all, b.ids(i))
	}
	vendors, _, _ := b.PassportIDs(context.Background(), protocol.VendorID{}, 99)
	return fmt.Sprint(append(all, b.find(board.Filter{}), b.Stats(), vendors)...)
}

// A run of random steps against a map, with reopening now and then.
func TestBoardIsItsModel(t *testing.T) {
	cache := map[spec]wire.Heard{}
	of := func(s spec) wire.Heard {
		if _, ok := cache[s]; !ok {
			cache[s] = heard(s)
		}
		return cache[s]
	}
	type known struct {
		spec
		until protocol.Second
		gone  bool // a shadow
	}
	before := func(a, b spec) bool { // a comes before b
		switch {
		case a.gone != b.gone:
			return a.gone
		case a.seq != b.seq:
			return a.seq > b.seq
		}
		x, y := of(a).ID(), of(b).ID()
		return bytes.Compare(x[:], y[:]) < 0
	}
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		s := storetest.Twice(kv.Memory())
		b := open(t, s, board.Limits{})
		model := map[string]known{}
		at := protocol.Second(0)
		for step := range 120 {
			switch rnd.IntN(8) {
			case 0:
				b = open(t, s, board.Limits{})
			case 1:
				at += protocol.Second(rnd.IntN(4))
				if _, err := b.Expire(t.Context(), now+at); err != nil {
					t.Fatal(err)
				}
				for n, k := range model {
					end := k.life
					if k.spec.gone {
						end = k.until
					}
					k.gone = end <= at
					model[n] = k
				}
				maps.DeleteFunc(model, func(_ string, k known) bool { return k.until <= at })
			default:
				x := spec{name: fmt.Sprint(rnd.IntN(5)), seq: 1 + rnd.Uint64N(3), life: 1 + protocol.Second(rnd.IntN(12)*2), gone: rnd.IntN(6) == 0}
				old, ok := model[x.name]
				want := x.life > at && (!ok || before(x, old.spec))
				fresh, err := b.Put(t.Context(), of(x), nowMS+int64(at)*1000)
				if fresh != want || (err != nil) != (x.life <= at) {
					t.Fatalf("seed %d step %d: put %+v over %+v: %v, %v", seed, step, x, old, fresh, err)
				}
				if want {
					model[x.name] = known{spec: x, until: max(x.life, old.until)}
				}
			}
			var want []string
			for n, k := range model {
				if !k.gone {
					want = append(want, n)
				}
				if seq, _, id, ok := b.Precedence(contextID(n)); !ok || seq != k.seq || id != of(k.spec).ID() {
					t.Fatalf("seed %d step %d: precedence of %s", seed, step, n)
				}
			}
			if got := b.find(board.Filter{}); !slices.Equal(got, names(want...)) || b.fill(0).Used != int64(len(model)) {
				t.Fatalf("seed %d step %d: found %d, want %d; %v", seed, step, len(got), len(want), b.Stats())
			}
		}
	}
}

func TestManyCallers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "kv")
	s, err := kv.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	lim := board.Limits{Entries: 6}
	b := open(t, s, lim)
	var wg sync.WaitGroup
	for c := range 8 {
		wg.Go(func() {
			for i := range 30 {
				x := spec{name: fmt.Sprint((c*7 + i) % 12), seq: uint64(1 + i%4), life: protocol.Second(1 + (c+i*5)%40), gone: i%9 == 0}
				_, err := b.Put(context.Background(), heard(x), nowMS)
				if err == nil && i%10 == 0 {
					_, err = b.Expire(context.Background(), now+protocol.Second(i/10))
				}
				if err != nil && !errors.Is(err, fault.Full) && !errors.Is(err, fault.Expired) {
					t.Error(err)
				}
				if f := b.fill(0); f.Used > f.Cap {
					t.Errorf("fill %v", f)
				}
				if _, _, err := b.Find(context.Background(), board.Filter{Region: "ZA"}, protocol.ContextID{}, 5); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	before := state(b)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = kv.Open(dir); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if after := state(open(t, s, lim)); after != before {
		t.Fatalf("reopened as\n%s\nwas\n%s", after, before)
	}
}

func passports(vendor string, n int) wire.Chain {
	var raws [][]byte
	root := func(i int) key.Private[key.Root] { return private[key.Root](fmt.Sprint(vendor, i)) }
	for i := range n {
		p := &protocol.Passport{
			Header: protocol.Header{Net: hash("net"), Kind: protocol.KindPassport, Seq: uint64(i + 1), Created: now},
			Root:   root(i).Public(), Next: wire.NextRoot(root(i + 1).Public()), Name: vendor, Country: "ZA",
			Inbox: protocol.Inbox{Box: private[key.Mailbox](vendor).Public(), Seal: inboxKey, Keepers: keepers},
		}
		h := hash(fmt.Sprint(vendor, i))
		copy(p.ID[:], h[:])
		if vendor == "brief" {
			p.Expires = now + 10
		}
		if i > 0 {
			p.Vendor, p.Re = wire.ID(raws[0]), wire.ID(raws[i-1])
		}
		raw, err := wire.Sign(root(i), p)
		if err != nil {
			panic(err)
		}
		raws = append(raws, raw)
	}
	c, err := wire.OpenChain(raws, hash("net"))
	if err != nil {
		panic(err)
	}
	return c
}

func TestPassports(t *testing.T) {
	s := kv.Memory()
	lim := board.Limits{Passports: 3}
	b := open(t, s, lim)
	put := func(c wire.Chain) bool {
		t.Helper()
		fresh, err := b.PutPassports(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		return fresh
	}
	two := passports("a", 2)
	if !put(passports("a", 1)) || put(passports("a", 1)) || !put(two) || put(passports("a", 1)) {
		t.Fatal("the longer chain does not hold")
	}
	b = open(t, s, lim)
	got, err := b.Passports(t.Context(), two.Vendor())
	if err != nil || got.LatestHash() != two.LatestHash() || got.Len() != 2 {
		t.Fatalf("%v, %v", got, err)
	}
	if _, err := b.Passports(t.Context(), hash("x")); !errors.Is(err, fault.NotFound) {
		t.Fatalf("an unknown vendor: %v", err)
	}
	if _, err := b.PutPassports(t.Context(), wire.Chain{}); !errors.Is(err, fault.Malformed) {
		t.Fatalf("no chain: %v", err)
	}
	if _, err := b.PutPassports(t.Context(), passports("long", 64/4)); err != nil {
		t.Fatalf("a chain of 16: %v", err)
	}
	put(passports("brief", 1))
	if n, err := b.Expire(t.Context(), now+10); n != 1 || err != nil {
		t.Fatalf("expired %d, %v", n, err)
	}
	// A flood drives out those that nobody asks for; a vendor at work stays.
	for i := range 20 {
		put(passports(fmt.Sprint("flood", i), 1))
		if _, err := b.Passports(t.Context(), two.Vendor()); err != nil {
			t.Fatalf("after %d others: %v", i, err)
		}
		if f := b.fill(2); f.Used > f.Cap {
			t.Fatalf("fill %v", f)
		}
	}
	first, more, err := b.PassportIDs(t.Context(), protocol.VendorID{}, 2)
	if err != nil || !more || len(first) != 2 {
		t.Fatalf("ids: %v, %v, %v", first, more, err)
	}
	rest, more, err := b.PassportIDs(t.Context(), first[1], 2)
	if err != nil || more || len(rest) != 1 || rest[0] == first[1] {
		t.Fatalf("more ids: %v, %v, %v", rest, more, err)
	}
	small := open(t, kv.Memory(), board.Limits{PassportBytes: 100})
	if _, err := small.PutPassports(t.Context(), two); !errors.Is(err, fault.Full) {
		t.Fatalf("more than all bytes: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := b.PassportIDs(ctx, protocol.VendorID{}, 1); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestOpenRefusesBrokenRecords(t *testing.T) {
	for _, k := range []string{"b/a/", "p/"} {
		for _, rest := range []string{"short", string(make([]byte, 32))} {
			s := kv.Memory()
			if err := s.Update(t.Context(), func(tx kv.Tx) error { return tx.Put([]byte(k+rest), []byte{0xff}) }); err != nil {
				t.Fatal(err)
			}
			if _, err := board.Open(s, 16, board.Limits{}); !errors.Is(err, fault.Malformed) {
				t.Errorf("%s with %d bytes: %v, want malformed", k, len(rest), err)
			}
		}
	}
}
