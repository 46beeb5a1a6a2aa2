package node_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	kad "github.com/libp2p/go-libp2p-kad-dht"
	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	record "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"
	tls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/multiformats/go-multihash"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/node/internal/peers/dht"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
)

// dhtFloods are done to real DHT servers on loopback.
var dhtFloods = map[string]func(t *testing.T){
	"dht.announcements-bytes": func(t *testing.T) {
		lim := dht.DefaultLimits
		lim.AnnBytes = 48 << 10
		valueFlood(t, "announcements-bytes", lim, func() (string, []byte) {
			raw := needOfNobody(t, dhtNet, protocol.Hash{8}, protocol.Keeper{Key: key.Generate[key.Keeper]().Public()})
			h, err := wire.OpenAnnouncement(raw)
			if err != nil {
				t.Fatal(err)
			}
			c := h.A().ContextID()
			return fmt.Sprintf("/hark-ann/%x", c[:]), raw
		})
	},
	"dht.passports-bytes": func(t *testing.T) {
		lim := dht.DefaultLimits
		lim.PassportBytes = 24 << 10
		valueFlood(t, "passports-bytes", lim, func() (string, []byte) {
			c := somePassport(t)
			value, err := wire.JoinChain(c)
			if err != nil {
				t.Fatal(err)
			}
			return "/hark-passport/" + c.Vendor().String(), value
		})
	},
	"dht.providers-bytes": providerFlood,
	"dht.puts":            putFlood,
}

// dhtNet is the network whose DHT is flooded.
var dhtNet = protocol.Hash{4, 5, 6}

// somePassport makes the first passport of a vendor that nobody knows.
func somePassport(t *testing.T) wire.Chain {
	t.Helper()
	root := key.Generate[key.Root]()
	raw, err := wire.Sign(root, &protocol.Passport{
		Header: protocol.Header{Net: dhtNet, Kind: protocol.KindPassport, ID: wire.NewID(), Seq: 1, Created: second()},
		Root:   root.Public(), Next: wire.NextRoot(key.Generate[key.Root]().Public()), Name: "Veld & Vine", Country: "ZA",
		Inbox: protocol.Inbox{Box: key.Generate[key.Mailbox]().Public(), Seal: key.GenerateSeal[key.InboxSeal]().Public(),
			Keepers: []protocol.Keeper{{Key: key.Generate[key.Keeper]().Public()}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := wire.OpenChain([][]byte{raw}, dhtNet)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A dhtNode is a public host with its DHT.
type dhtNode struct {
	*peers.Host
	*testing.T
	dht *dht.DHT
}

// openDHT opens one that ends with the test.
func openDHT(t *testing.T, lim dht.Limits, bootstrap ...protocol.Keeper) *dhtNode {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	h, err := peers.Open(context.WithoutCancel(t.Context()), peers.Config{
		Profile: peers.Public, Key: key.Generate[key.Keeper](), Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"},
		Bootstrap: bootstrap, DHT: dht.Protocol(dhtNet), Log: log, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	d, err := dht.Open(context.WithoutCancel(t.Context()), dht.Config{
		Host: h, Net: dhtNet, Shards: 4, Lanes: []protocol.LaneRule{{Lane: protocol.LaneNone}}, Limits: lim, Log: log, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	h.Serve(peers.ProtoSync, func(context.Context, peers.Conn, string) {})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := d.Stop(ctx); err != nil {
			t.Error(err)
		}
		closeHost(t, h)
		if err := d.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return &dhtNode{h, t, d}
}

// fill checks a bound and gives its fill.
func (n *dhtNode) fill(bound string) peers.Fill {
	n.Helper()
	f := n.dht.Fills()[bound]
	if f.Limit == 0 || f.At > f.Limit {
		n.Fatalf("%s is %d of %d", bound, f.At, f.Limit)
	}
	return f
}

// A bringer puts records at a node, and asks it for them.
type bringer struct {
	*testing.T
	self peer.AddrInfo
	to   peer.ID
	send *pb.ProtocolMessenger
}

// openBringer opens one at an IP address; each of 127.0.0.0/8 is this machine's.
func openBringer(t *testing.T, at string, target *dhtNode) bringer {
	t.Helper()
	h, err := libp2p.New(libp2p.Transport(tcp.NewTCPTransport), libp2p.Security(tls.ID, tls.New), libp2p.DisableRelay(), libp2p.DisableMetrics(),
		libp2p.ListenAddrStrings("/ip4/"+at+"/tcp/0"))
	if err != nil {
		t.Fatal(err)
	}
	table, err := kad.New(h, kad.ProtocolPrefix(libp2pproto.ID("/hark/"+dhtNet.String())), kad.Mode(kad.ModeClient), kad.DisableAutoRefresh(),
		kad.Validator(record.NamespacedValidator{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := table.Close(); err != nil {
			t.Error(err)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	send, err := pb.NewProtocolMessenger(table.MessageSender())
	if err != nil {
		t.Fatal(err)
	}
	to := address.Info(target.Self())
	if err := h.Connect(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	return bringer{t, peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()}, to.ID, send}
}

func (b bringer) put(key string, value []byte) error {
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
	defer cancel()
	return b.send.PutValue(ctx, b.to, record.MakePutRecord(key, value))
}

func (b bringer) finds(key string, value []byte) bool {
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
	defer cancel()
	r, _, err := b.send.GetValue(ctx, b.to, key)
	return err == nil && bytes.Equal(r.GetValue(), value)
}

func spot(name string) multihash.Multihash {
	h, err := multihash.Sum([]byte(name), multihash.SHA2_256, -1)
	if err != nil {
		panic(err) // only for unknown hashes
	}
	return h
}

func (b bringer) provide(name string) error {
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
	defer cancel()
	return b.send.PutProviderAddrs(ctx, b.to, spot(name), b.self)
}

func (b bringer) isFoundBy(who bringer, name string) bool {
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
	defer cancel()
	list, _, err := who.send.GetProviders(ctx, who.to, spot(name))
	return err == nil && slices.ContainsFunc(list, func(i *peer.AddrInfo) bool { return i.ID == b.self.ID })
}

// valueFlood puts more records than fit, from two address prefixes. Those give way to
// each other: what an honest keeper had put is there, and so is what another puts then.
func valueFlood(t *testing.T, bound string, lim dht.Limits, make1 func() (key string, value []byte)) {
	target := openDHT(t, lim)
	honest, flooders := openBringer(t, "127.1.0.1", target), []bringer{openBringer(t, "127.2.0.1", target), openBringer(t, "127.2.1.1", target)}
	kept := map[string][]byte{}
	put := func(by bringer) {
		key, value := make1()
		if err := by.put(key, value); err != nil {
			t.Fatal("an honest keeper's:", err)
		}
		kept[key] = value
	}
	put(honest)
	put(honest)
	most, sent := 0, 0
	for range 32 {
		for _, f := range flooders {
			key, value := make1()
			_ = f.put(key, value) // kept, or refused
			sent += len(value)
			most = max(most, target.fill(bound).At)
		}
	}
	limit := target.fill(bound).Limit
	if most <= limit-4096 || sent <= limit {
		t.Errorf("%d bytes were put, and it held %d of %d at most", sent, most, limit)
	}
	put(openBringer(t, "127.1.1.1", target))
	put(honest)
	target.fill(bound)
	for key, value := range kept {
		if !flooders[0].finds(key, value) {
			t.Errorf("%s of an honest keeper is gone", key)
		}
	}
}

// providerFlood is valueFlood for who says that he has something.
func providerFlood(t *testing.T) {
	lim := dht.DefaultLimits
	lim.ProviderBytes = 24 << 10
	target := openDHT(t, lim)
	honest, late := openBringer(t, "127.1.0.1", target), openBringer(t, "127.1.1.1", target)
	provide := func(by bringer, name string) {
		if err := by.provide(name); err != nil {
			t.Fatal("an honest keeper:", err)
		}
		within(t, name+" is found", func() bool { return by.isFoundBy(honest, name) })
	}
	provide(honest, "keeper")
	provide(honest, "shard")
	most := 0
	for f := range 12 { // the library hands them to the store by the hundred
		flooder := openBringer(t, fmt.Sprintf("127.2.%d.%d", f%2, f+1), target)
		for i := range 64 {
			_ = flooder.provide(fmt.Sprint("nothing ", i)) // kept, or dropped
			_ = flooder.provide("keeper")
			most = max(most, target.fill("providers-bytes").At)
		}
		flooder.isFoundBy(flooder, "nothing") // it is answered once all of that is read
		most = max(most, target.fill("providers-bytes").At)
	}
	if limit := target.fill("providers-bytes").Limit; most <= limit-1024 {
		t.Errorf("it held %d of %d bytes at most", most, limit)
	}
	provide(late, "keeper")
	for _, name := range []string{"keeper", "shard"} {
		if !honest.isFoundBy(late, name) {
			t.Errorf("an honest keeper is not found at %s any more", name)
		}
	}
}

// putFlood hands a node more announcements to put than may wait. It takes what others
// put meanwhile, and what comes later is put once there is room; what found none waits
// for its round.
func putFlood(t *testing.T) {
	lim := dht.DefaultLimits
	lim.Puts = 6
	target := openDHT(t, lim)
	other := openDHT(t, dht.DefaultLimits, target.Self())
	within(t, "they know each other", func() bool { return target.dht.Nodes() > 0 && other.dht.Nodes() > 0 })
	heard := func(n *dhtNode) protocol.ContextID {
		h, err := wire.OpenAnnouncement(needOfNobody(t, dhtNet, protocol.Hash{8}, n.Self()))
		if err != nil {
			t.Fatal(err)
		}
		n.dht.Heard(h)
		return h.A().ContextID()
	}
	most := 0
	for range 24 {
		heard(target)
		most = max(most, target.fill("puts").At)
	}
	if most != 6 {
		t.Errorf("%d waited at most, of 6", most)
	}
	found := func(at *dhtNode, c protocol.ContextID) func() bool {
		return func() bool { _, err := at.dht.Announcement(t.Context(), c); return err == nil }
	}
	within(t, "what somebody else puts is found at the one that is flooded", found(target, heard(other)))
	within(t, "there is room again", func() bool { return target.fill("puts").At == 0 })
	within(t, "what comes then is put", found(other, heard(target)))
}
