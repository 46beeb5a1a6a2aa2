package hoard

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	"github.com/libp2p/go-libp2p/core/peer"
	"pgregory.net/rapid"

	"github.com/harkmarket/hark/protocol/fault"
)

func item1k(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 1000) }

// rank gives a record an order of its own: the lower i, the nearer.
func rank(i int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(i)) }

func TestWhoFloodsCrowdsOutHimself(t *testing.T) {
	p := newPool(100_000)
	for i := range 20 {
		if err := p.put(fmt.Sprint("honest ", i), item1k(i), rank(1000+i), fmt.Sprint("net ", i%4)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5000 {
		_ = p.put(fmt.Sprint("flood ", i), item1k(i), rank(5000-i), "attacker")
		if p.bytes > p.most {
			t.Fatalf("%d bytes of %d", p.bytes, p.most)
		}
	}
	for i := range 20 {
		if p.of[fmt.Sprint("honest ", i)] == nil {
			t.Errorf("record %d of a small share is gone", i)
		}
	}
	if p.of["flood 4999"] == nil || p.of["flood 0"] != nil {
		t.Error("of the flood the nearest should be there, and the farthest gone")
	}
	if err := p.put("far", item1k(0), rank(9999), "attacker"); !errors.Is(err, fault.Full) {
		t.Errorf("one that has to go at once: %v", err)
	}
}

// Whoever brings another's record again gets no power over it.
func TestARecordIsNotTakenOver(t *testing.T) {
	p := newPool(50_000)
	if err := p.put("hers", item1k(1), rank(1<<40), "her net"); err != nil {
		t.Fatal(err)
	}
	for n := range 6 { // more prefixes than stand beside the first
		if err := p.put("hers", item1k(1), rank(1<<40), fmt.Sprint("thief ", n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.put("his", item1k(2), rank(1<<40), "thief 0"); err != nil {
		t.Fatal(err)
	}
	if err := p.put("his", item1k(2), rank(1<<40), "his net"); err != nil { // the thief was first
		t.Fatal(err)
	}
	for i := range 1000 {
		_ = p.put(fmt.Sprint("flood ", i), item1k(i), rank(i), fmt.Sprint("thief ", i%6))
	}
	if p.of["hers"] == nil || p.of["his"] == nil {
		t.Errorf("hers: %v, his: %v", p.of["hers"] != nil, p.of["his"] != nil)
	}
}

// The pool's books agree with what it holds, whatever is done to it.
func TestPoolModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		gone := map[string]bool{}
		p := newPool(20_000)
		p.gone = func(key string) { gone[key] = true }
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			key := fmt.Sprint(rapid.IntRange(0, 40).Draw(t, "key"))
			if rapid.IntRange(0, 9).Draw(t, "what") == 0 {
				p.remove(key)
			} else {
				size := rapid.IntRange(0, 3000).Draw(t, "size")
				delete(gone, key)
				err := p.put(key, make([]byte, size), rank(rapid.IntRange(0, 1<<20).Draw(t, "rank")), fmt.Sprint(rapid.IntRange(0, 6).Draw(t, "from")))
				if (err != nil) != gone[key] {
					t.Fatalf("put says %v, gone %v", err, gone[key])
				}
			}
			items, held, bytes := 0, 0, 0
			for from, s := range p.shares {
				items += len(s.items)
				held += s.bytes
				for n, i := range s.items {
					if bytes += i.size(); i.slot != n || i.owner != from || p.of[i.key] != i {
						t.Fatal("a share is out of step")
					}
				}
			}
			if items != p.items || items != len(p.of) || bytes != p.bytes || held != bytes || bytes > p.most {
				t.Fatalf("%d items of %d, %d bytes of %d", items, p.items, bytes, p.bytes)
			}
		}
	})
}

func provKey(place, id string) ds.Key {
	return ds.NewKey("/providers/" + raw32.EncodeToString([]byte(place)) + "/" + raw32.EncodeToString([]byte(id)))
}

func stamp(i int) []byte { return binary.AppendVarint(nil, time.Unix(int64(i), 0).UnixNano()) }

func TestProvidersAreBounded(t *testing.T) {
	ctx := context.Background()
	lim := Limits{Bytes: 40_000, PerPlace: 16, PerPeer: 4}
	where := func(id peer.ID) string { return string(id[:1]) } // the prefix is the first letter
	p := NewProviders(lim, where)
	put := func(place, id string, at int) {
		if err := p.Put(ctx, provKey(place, id), stamp(at)); err != nil {
			t.Fatal(err)
		}
	}
	at := func(place string) (n int) {
		r, err := p.Query(ctx, query.Query{Prefix: "/providers/" + raw32.EncodeToString([]byte(place))})
		if err != nil {
			t.Fatal(err)
		}
		all, err := r.Rest()
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	for i := range 8 {
		put("keeper", fmt.Sprintf("%c honest", 'a'+i), i)
	}
	for i := range 1000 {
		put("keeper", fmt.Sprintf("z sybil %d", i), 1000+i)
	}
	if at("keeper") != 16 {
		t.Errorf("%d at one place", at("keeper"))
	}
	for i := range 1000 { // one peer at a thousand places, and a thousand at as many
		put(fmt.Sprint("place ", i), "y greedy", 3000+i)
		put(fmt.Sprint("place ", i), fmt.Sprintf("x sybil %d", i), 3000+i)
	}
	if got, most := p.Fill(); got > most {
		t.Errorf("%d bytes of %d", got, most)
	}
	if p.peers["y greedy"] > 4 {
		t.Errorf("one peer has %d", p.peers["y greedy"])
	}
	for i := range 8 {
		if ok, err := p.Has(ctx, provKey("keeper", fmt.Sprintf("%c honest", 'a'+i))); !ok || err != nil {
			t.Errorf("honest %d is gone", i)
		}
	}
	all, places := 0, 0
	for _, keys := range p.places {
		places++
		all += len(keys)
	}
	if all != p.pool.items || places > all {
		t.Errorf("%d records at %d places, %d in the pool", all, places, p.pool.items)
	}
	if err := p.Put(ctx, ds.NewKey("/providers/x"), nil); !errors.Is(err, fault.Malformed) {
		t.Error(err)
	}
	for range 3 * maxNotes {
		p.Note(peer.ID(fmt.Sprint(time.Now().UnixNano())), "net")
	}
	if len(p.notes) > maxNotes {
		t.Errorf("%d notes", len(p.notes))
	}
}

func TestValuesKeepTheirSpacesApart(t *testing.T) {
	ctx := context.Background()
	v := NewValues("self", map[string]int{spaceAnn: 10_000, spacePassport: 10_000})
	at := func(key string) ds.Key {
		return ds.NewKey("/" + spaceOf(key) + "/" + raw32.EncodeToString([]byte(key)))
	}
	if err := v.Put(ctx, at("/hark-passport/1"), item1k(1)); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		_ = v.Put(ctx, at(fmt.Sprint("/hark-ann/", i)), item1k(i))
	}
	if got, err := v.Get(ctx, at("/hark-passport/1")); err != nil || !bytes.Equal(got, item1k(1)) {
		t.Error("announcements crowd out passports")
	}
	if err := v.Put(ctx, ds.NewKey("/pk/abc"), nil); err == nil {
		t.Error("another namespace")
	}
	r, err := v.Query(ctx, query.Query{Prefix: "/" + spacePassport})
	if err != nil {
		t.Fatal(err)
	}
	if all, err := r.Rest(); err != nil || len(all) != 1 {
		t.Errorf("%d, %v", len(all), err)
	}
	if n, err := v.GetSize(ctx, at("/hark-passport/1")); n != 1000 || err != nil {
		t.Error(n, err)
	}
	if !v.Holds("/hark-passport/1") || v.Holds("/hark-passport/2") || v.Holds("x") {
		t.Error("it does not know what it holds")
	}
	if err := v.Delete(ctx, at("/hark-passport/1")); err != nil {
		t.Fatal(err)
	}
	if ok, err := v.Has(ctx, at("/hark-passport/1")); ok || err != nil {
		t.Error("it is still there")
	}
	// What a stream brings is charged to its prefix, as long as it brings it.
	stream := new(int)
	v.Note(stream, "net", "/hark-ann/y")
	v.Note(stream, "net", "/hark-ann/x")
	if v.Note(new(int), "other", "/hark-ann/y"); len(v.notes) != 2 {
		t.Errorf("%d notes", len(v.notes))
	}
	_ = v.Put(ctx, at("/hark-ann/x"), item1k(0))
	if v.spaces[spaceAnn].shares["net"] == nil {
		t.Error("it is charged to somebody else")
	}
	if v.Note(stream, "net", ""); len(v.notes) != 1 || len(v.brings) != 1 {
		t.Error("the note outlives the record")
	}
}

const spaceAnn, spacePassport = "hark-ann", "hark-passport"

func spaceOf(key string) string {
	if key[6] == 'a' {
		return spaceAnn
	}
	return spacePassport
}
