// Package nodetest is a network in memory for tests: ports of personal and public
// nodes, joined by pipes, that can be taken off the net and cut from each other.
// It runs inside testing/synctest, where its time is the bubble's.
//
//	net := nodetest.NewNet(t.Context())
//	defer net.Close()
//	keeper, customer := net.Port(true), net.Port(false)
//	net.SetOnline(customer, false)
//
//house:allow package two networks, the world on either, and the stories that are played there
package nodetest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/multiformats/go-multiaddr"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/crew"
	"github.com/harkmarket/hark/node/internal/peers"
	"github.com/harkmarket/hark/node/internal/peers/pipe"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
)

// Bounds of a simulated network.
const (
	maxGoroutines = 1 << 16
	maxInbox      = 4096 // gossip that waits at one port; more is lost, as in the real one
)

// A Net is a simulated network. Make it with NewNet.
type Net struct {
	crew  *crew.Crew
	delay time.Duration
	mu    sync.Mutex
	ports []*Port
	cut   map[[2]*Port]bool
	count int
	shown []Change
	dead  bool
}

// A Change is one moment at which a node came onto the network, or left it.
type Change struct {
	Port   *Port
	Online bool
	At     time.Time
}

// maxChanges bounds what History remembers.
const maxChanges = 1 << 16

// History lists every coming and going, in order.
func (n *Net) History() []Change {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.shown)
}

// show notes a change. Called with mu held.
func (n *Net) show(p *Port, online bool) {
	if p.online != online && len(n.shown) < maxChanges {
		n.shown = append(n.shown, Change{p, online, time.Now()})
	}
	p.online = online
}

// NewNet makes an empty network; its goroutines end with ctx or with Close.
func NewNet(ctx context.Context) *Net {
	return &Net{crew: crew.New(ctx, maxGoroutines, nil), cut: map[[2]*Port]bool{}}
}

// SetDelay lets gossip and each new stream take so long from now on.
func (n *Net) SetDelay(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay = d
}

// Port adds a node, public or personal, with a random key.
func (n *Net) Port(public bool) *Port { return n.PortOf(public, key.Generate[key.Keeper]()) }

// PortOf adds a node with the given key: one that comes back takes the place of the
// one before.
func (n *Net) PortOf(public bool, k key.Private[key.Keeper]) *Port {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.count++ // a node that comes back has another address
	p := &Port{
		net: n, number: n.count, public: public, key: k,
		handlers: map[string]peers.Handler{}, shards: map[uint16]bool{}, conns: map[peers.Conn]*Port{}, heard: map[[32]byte]bool{},
		inbox: make(chan message, maxInbox), closed: make(chan struct{}),
	}
	n.ports = slices.DeleteFunc(n.ports, func(old *Port) bool { return old.key.Public() == k.Public() })
	n.ports = append(n.ports, p)
	n.show(p, true)
	if err := n.crew.Hire("gossip inbox", p.listen); err != nil {
		panic("nodetest: " + err.Error())
	}
	return p
}

// SetOnline takes a node off the network, or back. Its streams break.
func (n *Net) SetOnline(p *Port, online bool) {
	n.mu.Lock()
	n.show(p, online)
	n.mu.Unlock()
	if !online {
		p.breakStreams(func(*Port) bool { return true })
	}
}

// SetLink cuts the link between two nodes, or mends it.
func (n *Net) SetLink(a, b *Port, up bool) {
	n.mu.Lock()
	n.cut[[2]*Port{a, b}], n.cut[[2]*Port{b, a}] = !up, !up
	n.mu.Unlock()
	if !up {
		a.breakStreams(func(other *Port) bool { return other == b })
		b.breakStreams(func(other *Port) bool { return other == a })
	}
}

// Close ends everything and waits for it.
func (n *Net) Close() error {
	n.mu.Lock()
	n.dead = true
	ports := slices.Clone(n.ports)
	n.mu.Unlock()
	for _, p := range ports {
		p.breakStreams(func(*Port) bool { return true })
	}
	return n.crew.Dismiss(context.Background())
}

// linked tells whether bytes get from a to b. Called with mu held.
func (n *Net) linked(a, b *Port) bool {
	return !n.dead && a.online && b.online && !n.cut[[2]*Port{a, b}]
}

// reach finds the node with that key, if p can reach it.
func (n *Net) reach(p *Port, k key.KeeperKey) (*Port, time.Duration, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, other := range n.ports {
		if other.key.Public() == k {
			return other, n.delay, other == p && !n.dead || other.public && n.linked(p, other)
		}
	}
	return nil, 0, false
}

// others are the public nodes that p can reach, in random order.
func (n *Net) others(p *Port) []*Port {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []*Port
	for _, other := range n.ports {
		if other != p && other.public && !other.hidden && n.linked(p, other) {
			out = append(out, other)
		}
	}
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// Hide lets nobody be told of a node, or gossip with it: who knows its key reaches it.
func (n *Net) Hide(p *Port) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p.hidden = true
}

// Surround makes a node say that it is connected with these, and with nobody else. Any
// other reaches them all the same.
func (n *Net) Surround(p *Port, by ...*Port) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p.near = by
}

type message struct {
	raw   []byte
	shard uint16
	from  string
	delay time.Duration
}

// A Port is one simulated node's peers.Port.
type Port struct {
	net    *Net
	number int
	public bool
	key    key.Private[key.Keeper]
	online bool    // guarded by net.mu
	hidden bool    // likewise
	near   []*Port // likewise
	inbox  chan message
	closed chan struct{}

	mu       sync.Mutex
	handlers map[string]peers.Handler
	shards   map[uint16]bool
	hear     peers.Hear
	heard    map[[32]byte]bool
	conns    map[peers.Conn]*Port // and who is at the other end
	over     bool
	spy      func(Seen) // nil: none
}

var _ peers.Port = (*Port)(nil)

// Key is the node's keeper key.
func (p *Port) Key() key.Private[key.Keeper] { return p.key }

// addr is a loopback address with the node's number as its port.
func (p *Port) addr() []byte {
	a, err := multiaddr.NewMultiaddr(fmt.Sprintf("/ip4/127.0.0.1/udp/%d/quic-v1", p.number))
	if err != nil {
		panic("nodetest: " + err.Error())
	}
	return a.Bytes()
}

// prefix gives each node a network of its own.
func (p *Port) prefix() string {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], 0x0a000000+uint32(p.number)<<8)
	return fmt.Sprintf("%d.%d.%d.%d/24", b[0], b[1], b[2], b[3])
}

// Self implements peers.Port.
func (p *Port) Self() protocol.Keeper {
	k := protocol.Keeper{Key: p.key.Public()}
	if p.public {
		k.Addrs = [][]byte{p.addr()}
	}
	return k
}

// Connected tells whether a node is among those that surround this one, as a host does.
func (p *Port) Connected(k key.KeeperKey) bool {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	return slices.ContainsFunc(p.near, func(o *Port) bool { return o.online && o.key.Public() == k })
}

// Dial implements peers.Port.
func (p *Port) Dial(ctx context.Context, to protocol.Keeper, proto string) (peers.Conn, error) {
	other, delay, ok := p.net.reach(p, to.Key)
	if !ok || p.isOver() {
		return nil, fmt.Errorf("nodetest: %s can't be reached: %w", to.Key, fault.Offline)
	}
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return nil, fmt.Errorf("nodetest: %w", errors.Join(ctx.Err(), fault.Offline))
	}
	other.mu.Lock()
	serve := other.handlers[proto]
	over := other.over
	other.mu.Unlock()
	if serve == nil || over {
		return nil, fmt.Errorf("nodetest: %s does not serve %s: %w", to.Key, proto, fault.Offline)
	}
	mine, theirs := pipe.New()
	a, b := &tracked{mine, p}, &tracked{theirs, other}
	p.track(a, other)
	other.track(b, p)
	var in peers.Conn = b
	if spy := other.spied(); spy != nil {
		from := p.prefix()
		in = &overheard{Conn: b, hear: func(op *protocol.Op) { spy(Seen{At: time.Now(), From: from, Proto: proto, Op: op}) }}
	}
	err := p.net.crew.Hire("serve "+proto, func(ctx context.Context) {
		defer func() { _ = b.Close() }() // nobody left to tell
		serve(ctx, in, p.prefix())
	})
	return a, err
}

// tracked is a stream that a port remembers until it ends.
type tracked struct {
	peers.Conn
	p *Port
}

func (c *tracked) Close() error { c.p.untrack(c); return c.Conn.Close() }
func (c *tracked) Reset() error { c.p.untrack(c); return c.Conn.Reset() }

func (p *Port) track(c peers.Conn, other *Port) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = other
}

func (p *Port) untrack(c peers.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *Port) breakStreams(which func(other *Port) bool) {
	p.mu.Lock()
	var broken []peers.Conn
	for c, other := range p.conns {
		if which(other) {
			broken = append(broken, c)
		}
	}
	p.mu.Unlock()
	for _, c := range broken {
		_ = c.Reset() // it has no other end to tell
	}
}

func (p *Port) isOver() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.over
}

// Serve implements peers.Port.
func (p *Port) Serve(proto string, h peers.Handler) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.public {
		p.handlers[proto] = h
	}
}

// Handler is what serves a protocol now, so that a test can put itself before it.
func (p *Port) Handler(proto string) peers.Handler {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.handlers[proto]
}

// Join implements peers.Port.
func (p *Port) Join(shards []uint16, hear peers.Hear) error {
	if !p.public {
		return fmt.Errorf("nodetest: a personal node joins no topic: %w", fault.Unsupported)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hear = hear
	clear(p.shards)
	for _, s := range shards {
		p.shards[s] = true
	}
	return nil
}

// Publish implements peers.Port.
func (p *Port) Publish(_ context.Context, shard uint16, raw []byte) error {
	if !p.public {
		return fmt.Errorf("nodetest: a personal node publishes nothing: %w", fault.Unsupported)
	}
	p.once(raw)
	p.spread(shard, raw)
	return nil
}

// once tells whether these bytes have not been through here.
func (p *Port) once(raw []byte) bool {
	id := [32]byte(wire.ID(raw))
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.heard[id]
	p.heard[id] = true
	return !known
}

func (p *Port) spread(shard uint16, raw []byte) {
	p.net.mu.Lock()
	delay := p.net.delay
	p.net.mu.Unlock()
	for _, other := range p.net.others(p) {
		select {
		case other.inbox <- message{slices.Clone(raw), shard, p.prefix(), delay}:
		default: // lost
		}
	}
}

// listen is the port's gossip loop: what passes goes on to all others.
func (p *Port) listen(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.closed:
			return
		case m := <-p.inbox:
			if m.delay > 0 {
				time.Sleep(m.delay)
			}
			if spy := p.spied(); spy != nil {
				spy(Seen{At: time.Now(), From: m.from, Raw: m.raw})
			}
			p.mu.Lock()
			hear := p.hear
			if !p.shards[m.shard] {
				hear = nil
			}
			p.mu.Unlock()
			if hear != nil && p.once(m.raw) && hear(ctx, m.raw, m.shard, m.from) == 0 {
				p.spread(m.shard, m.raw)
			}
		}
	}
}

// Keepers implements peers.Port.
func (p *Port) Keepers(n int) []protocol.Keeper {
	var out []protocol.Keeper
	for _, other := range p.net.others(p) {
		if len(out) < n {
			out = append(out, other.Self())
		}
	}
	return out
}

// Close implements peers.Port. The node is gone; PortOf brings one with its key back.
func (p *Port) Close(context.Context) error {
	p.mu.Lock()
	over := p.over
	p.over = true
	p.mu.Unlock()
	if over {
		return nil
	}
	close(p.closed)
	p.net.mu.Lock()
	p.net.show(p, false)
	p.net.mu.Unlock()
	p.breakStreams(func(*Port) bool { return true })
	return nil
}
