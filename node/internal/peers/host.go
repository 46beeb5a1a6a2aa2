package peers

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	wireproto "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/gologshim"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	tls "github.com/libp2p/go-libp2p/p2p/security/tls"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/crew"
	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/node/internal/peers/limits"
	"github.com/harkmarket/hark/node/internal/peers/pipe"
	"github.com/harkmarket/hark/node/internal/peers/relay"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// A Profile says what part a node plays.
type Profile uint8

// The two profiles.
const (
	Personal Profile = 1 // outbound only: no listen address, no streams served
	Public   Profile = 2
)

// A Book keeps the public nodes known from one run to the next.
type Book interface {
	Load() []protocol.Keeper
	Save([]protocol.Keeper)
}

// An Exchange asks the node at the other end of a /hark/sync/1 stream for public
// nodes that it knows.
type Exchange func(ctx context.Context, c Conn, at key.KeeperKey) ([]protocol.Keeper, error)

// Config is what a Host needs. Key, Profile, Log and Now are required; a public
// node needs Listen too.
type Config struct {
	Profile   Profile
	Listen    []string // multiaddrs, such as /ip4/0.0.0.0/udp/4001/quic-v1
	Announce  []string // what others are told instead of the addresses listened on: it is reached there
	Key       key.Private[key.Keeper]
	Bootstrap []protocol.Keeper
	Book      Book
	Exchange  Exchange
	Operator  func(key.KeeperKey) string // who says to run a node, "" where unknown; may be nil
	Off       Way                        // ways in that are not used
	DHT       string                     // the protocol of this network's DHT, where there is one: its limits
	Limits    Limits
	Relay     relay.Limits
	Target    int             // public nodes to be connected with; the profile's own number where zero
	Options   []libp2p.Option // said last: a simulated network takes the place of the wire
	Tap       Tap             // for measurements; may be nil
	Log       *slog.Logger
	Now       func() time.Time
}

// A Tap sees along what comes in on a stream of others that is served.
type Tap func(proto, from string, c Conn) Conn

// along is a stream as it is served.
func (t Tap) along(proto, from string, c Conn) Conn {
	if t == nil {
		return c
	}
	return t(proto, from, c)
}

// A Host is this node's place in the network. Make it with Open.
type Host struct {
	cfg      Config
	host     host.Host
	self     key.KeeperKey
	known    *table
	upkeep   *crew.Crew // keeps connections up
	streams  *crew.Crew // serves
	callers  *limits.Callers
	relay    *relay.Service
	kick     chan struct{}
	back     chan protocol.Keeper
	poor     atomic.Bool // Seek knew of nobody
	ended    event.Subscription
	mu       sync.Mutex
	handlers map[string]Handler
	saving   sync.Mutex
}

// Open starts the host. Its loops end with ctx or with Close.
func Open(ctx context.Context, cfg Config) (*Host, error) {
	cfg.Limits = cfg.Limits.orDefault(cfg.Profile)
	h := &Host{
		cfg: cfg, self: cfg.Key.Public(), known: newTable(cfg.Key.Public(), cfg.Limits.Known),
		upkeep: crew.New(ctx, maxWorkers, nil),
		streams: crew.New(ctx, cfg.Limits.Streams, func(name string, v any, stack []byte) {
			cfg.Log.Error("stream handler broke", "name", name, "why", v, "stack", string(stack))
		}),
		callers: limits.NewCallers(cfg.Limits.Streams, served()), kick: make(chan struct{}, 1), back: make(chan protocol.Keeper, maxBack), handlers: map[string]Handler{},
	}
	wire := hostWire(cfg)
	announce, err := multiaddrs(cfg.Announce)
	if err != nil {
		return nil, err
	}
	h.relay = relay.New(relay.Config{
		Public: cfg.Profile == Public, Announce: announce, Member: wireproto.ID(cmp.Or(cfg.DHT, ProtoSync)),
		Relays: func() []peer.AddrInfo { return straight(h.View()) }, Operator: operator(cfg.Operator),
		Wire: wire, Limits: cfg.Relay, Log: cfg.Log, Now: cfg.Now,
	})
	options, err := hostOptions(cfg, wire, h.relay)
	if err != nil {
		return nil, err
	}
	h.host, err = startBounded(cfg, h.relay, options)
	if err != nil {
		return nil, err
	}
	h.Learn(cfg.Bootstrap, WayBootstrap)
	if cfg.Book != nil {
		h.Learn(cfg.Book.Load(), WayCache)
	}
	err = h.start()
	if err != nil {
		return nil, errors.Join(err, h.Close(ctx))
	}
	return h, nil
}

func (h *Host) start() (err error) {
	h.ended, err = h.host.EventBus().Subscribe([]any{
		new(event.EvtPeerIdentificationCompleted), new(event.EvtPeerProtocolsUpdated), new(event.EvtPeerConnectednessChanged),
	})
	if err == nil {
		err = h.upkeep.Hire("peers events", h.watch)
	}
	if err == nil {
		err = h.upkeep.Hire("peers upkeep", h.keepUp)
	}
	if err == nil && h.cfg.Profile == Public {
		err = h.upkeep.Hire("peers relay", h.relay.Run)
	}
	return err
}

// startBounded starts libp2p under the limits of a profile, and listens once it
// runs: it would itself listen first, and a stream that comes before it answers
// streams is answered never. What has begun to run ends when it does not start.
func startBounded(cfg Config, by *relay.Service, options []libp2p.Option) (host.Host, error) {
	listen, err := multiaddrs(cfg.Listen)
	if err != nil {
		return nil, err
	}
	bounds, err := limits.Manager(cfg.Limits.Conns, streamLimits(cfg.DHT), relay.Streams)
	if err != nil {
		return nil, err
	}
	high := cfg.Limits.Conns / 2 // from here on those of least use are closed
	low := high * 3 / 4
	if cfg.Profile != Public {
		low = high / 2
	}
	conns, err := connmgr.NewConnManager(low, high)
	if err != nil {
		return nil, fmt.Errorf("peers: connections: %w", errors.Join(err, bounds.Close()))
	}
	book, err := pstoremem.NewPeerstore(pstoremem.WithMaxAddresses(maxAddrBook), pstoremem.WithMaxSignedPeerRecords(maxAddrBook/8))
	if err != nil {
		return nil, fmt.Errorf("peers: addresses: %w", errors.Join(err, conns.Close(), bounds.Close()))
	}
	gologshim.SetDefaultHandler(cfg.Log.Handler()) // one log; libp2p would write to stderr
	more, err := by.Options(bounds)
	if err != nil {
		return nil, errors.Join(err, conns.Close(), bounds.Close(), book.Close())
	}
	h, err := libp2p.New(append(append(options, more...), libp2p.ResourceManager(bounds), libp2p.ConnectionManager(conns), libp2p.Peerstore(book))...)
	if err != nil {
		by.Abandon()
		_, _, _ = conns.Close(), bounds.Close(), book.Close() // libp2p may have closed them, and said why it did not start
		return nil, fmt.Errorf("peers: start: %w", err)
	}
	err = by.Attach(h)
	if err == nil && cfg.Profile == Public {
		err = listenAt(h.Network(), listen)
	}
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// listenAt takes the addresses that are to be had. Where there is none it says why of each:
// libp2p's own words name no address.
func listenAt(n network.Network, all []ma.Multiaddr) error {
	var why []string
	for _, a := range all {
		if err := n.Listen(a); err != nil {
			said := strings.TrimRight(err.Error(), "]")
			why = append(why, fmt.Sprintf("%s (%s)", a, strings.TrimSpace(said[strings.LastIndex(said, ": ")+1:])))
		}
	}
	if len(why) < len(all) {
		return nil // libp2p has warned of the others
	}
	return fmt.Errorf("this node can't listen at %s: %w", strings.Join(why, " or at "), fault.Conflict)
}

// hostWire are the transports of a host, and of those made up to try things.
func hostWire(cfg Config) []libp2p.Option {
	return append([]libp2p.Option{
		libp2p.Transport(quic.NewTransport), libp2p.Transport(tcp.NewTCPTransport), libp2p.Security(tls.ID, tls.New), libp2p.WithDialTimeout(dialTimeout),
		// Whoever was cut off for an hour would dial nobody by QUIC for a hundred tries.
		libp2p.UDPBlackHoleSuccessCounter(nil), libp2p.IPv6BlackHoleSuccessCounter(nil),
	}, cfg.Options...)
}

func hostOptions(cfg Config, wire []libp2p.Option, by *relay.Service) ([]libp2p.Option, error) {
	sk, err := privateKey(cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("peers: keeper key: %w", err)
	}
	// AutoNAT v1 is told an answer and stays silent: room relay asks by v2.
	options := append(slices.Clone(wire), libp2p.Identity(sk), libp2p.DisableMetrics(), libp2p.Ping(false), libp2p.ForceReachabilityPrivate(),
		libp2p.NoListenAddrs, libp2p.UserAgent("hark"), libp2p.ProtocolVersion("hark/1"))
	if cfg.Profile != Public {
		silent := func([]ma.Multiaddr) []ma.Multiaddr { return nil }
		return append(options, libp2p.AddrsFactory(silent)), nil
	}
	if len(cfg.Listen) == 0 {
		return nil, fmt.Errorf("peers: a public node needs an address to listen on: %w", fault.Malformed)
	}
	return append(options, libp2p.AddrsFactory(by.Say)), nil
}

func multiaddrs(texts []string) ([]ma.Multiaddr, error) {
	var out []ma.Multiaddr
	for _, text := range texts {
		a, err := address.Bare(text)
		if err != nil {
			return nil, fmt.Errorf("peers: %w", err)
		}
		out = append(out, a)
	}
	return out, nil
}

// Self is this node as others may name it; a personal node has no addresses.
func (h *Host) Self() protocol.Keeper {
	nobody := protocol.Keeper{Key: h.self}
	if h.cfg.Profile != Public {
		return nobody
	}
	at, err := h.host.Network().InterfaceListenAddresses()
	if err != nil {
		return nobody
	}
	k, err := address.Keeper(peer.AddrInfo{ID: h.host.ID(), Addrs: h.relay.Say(at)})
	if err != nil {
		return nobody
	}
	return k
}

// Profile is the part that this node plays.
func (h *Host) Profile() Profile { return h.cfg.Profile }

// Libp2p is the host below, on which gossip stands.
func (h *Host) Libp2p() host.Host { return h.host }

// Prefix is the address prefix of a connected peer, as handed to a Handler.
func (h *Host) Prefix(id peer.ID) string {
	for _, c := range h.host.Network().ConnsToPeer(id) {
		return address.Prefix(c.RemoteMultiaddr())
	}
	return "unknown"
}

// Keepers are at most n public nodes thought alive, own one excluded, in random order.
func (h *Host) Keepers(n int) []protocol.Keeper {
	return h.known.alive(n, h.cfg.Now(), h.Connected)
}

// Tell are at most n public nodes for a caller whose address prefix is from: those
// that we reached ourselves, with public addresses only, or nearer ones where the
// caller is as near.
func (h *Host) Tell(from string, n int) []protocol.Keeper {
	return h.known.share(n, address.PrefixScope(from), h.cfg.Now())
}

// Learn takes in public nodes that came by a way, unless it is off; they are tried
// before they are told on.
func (h *Host) Learn(ks []protocol.Keeper, by Way) {
	if h.cfg.Off&by != 0 {
		return
	}
	most := maxShare // of what strangers say
	if by == WayBootstrap || by == WayCache {
		most = maxTable
	}
	if h.known.learn(ks[:min(len(ks), most)], by) > 0 {
		h.nudge()
	}
}

// Connected tells whether a connection with a node stands.
func (h *Host) Connected(k key.KeeperKey) bool {
	return h.host.Network().Connectedness(address.ID(k)) == network.Connected
}

// Dial opens a stream to a keeper: at the addresses given and at those known.
// fault.Offline where it can't be reached or does not speak proto. A node's way to
// itself stays in memory.
func (h *Host) Dial(ctx context.Context, to protocol.Keeper, proto string) (Conn, error) {
	if to.Key == h.self {
		return h.dialSelf(proto)
	}
	id, err := h.connect(ctx, to)
	if err != nil {
		return nil, err
	}
	if relay.Carries(proto) {
		ctx = network.WithAllowLimitedConn(ctx, proto)
	} else if h.host.Network().Connectedness(id) == network.Limited {
		wait, cancel := context.WithTimeout(ctx, punchWait) // for a way straight through
		defer cancel()
		ctx = wait
	}
	s, err := h.host.NewStream(ctx, id, wireproto.ID(proto))
	if err == nil && refused(s, proto) {
		_ = s.Reset() // it was not begun
		err = errors.New("it is reached over a relay alone, which does not carry this")
	}
	if err != nil {
		return nil, fmt.Errorf("peers: stream %s to %s: %v: %w", proto, to.Key, err, fault.Offline)
	}
	return &conn{Stream: limits.Frames(s)}, nil
}

// refused tells whether a stream came, or would go, over a relay and must not. A relay
// may say that it sets no limit; the address of the connection tells.
func refused(s network.Stream, proto string) bool {
	return !relay.Carries(proto) && address.Relayed(s.Conn().RemoteMultiaddr())
}

// connect makes sure that there is a connection.
func (h *Host) connect(ctx context.Context, to protocol.Keeper) (peer.ID, error) {
	info := address.Info(to)
	if at := h.host.Network().Connectedness(info.ID); at == network.Connected || at == network.Limited {
		return info.ID, nil
	}
	if known, ok := h.known.get(to.Key); ok {
		info.Addrs = append(info.Addrs, address.Info(known).Addrs...)
	}
	if len(info.Addrs) == 0 {
		return "", fmt.Errorf("peers: no address of %s is known: %w", to.Key, fault.Offline)
	}
	h.host.Peerstore().AddAddrs(info.ID, info.Addrs, peerstore.TempAddrTTL)
	if s, ok := h.host.Network().(*swarm.Swarm); ok {
		s.Backoff().Clear(info.ID) // the pauses are ours: a keeper that was restarted is back at once
	}
	wait := dialTimeout
	if slices.ContainsFunc(info.Addrs, address.Relayed) {
		wait = punchWait // to the relay first
	}
	ctx, cancel := context.WithTimeout(network.WithAllowLimitedConn(ctx, "hark"), wait)
	defer cancel()
	if err := h.host.Connect(ctx, info); err != nil {
		h.known.failed(to.Key, h.cfg.Now())
		return "", fmt.Errorf("peers: dial %s: %v: %w", to.Key, err, fault.Offline)
	}
	return info.ID, nil
}

func (h *Host) dialSelf(proto string) (Conn, error) {
	h.mu.Lock()
	serve := h.handlers[proto]
	h.mu.Unlock()
	if serve == nil {
		return nil, fmt.Errorf("peers: this node does not serve %s: %w", proto, fault.Offline)
	}
	mine, theirs := pipe.New()
	err := h.streams.Hire("self "+proto, func(ctx context.Context) { run(ctx, serve, theirs, "127.0.0.0/24") })
	if err != nil {
		return nil, err
	}
	return mine, nil
}

// Serve answers streams of a protocol from now on. A personal node serves nobody:
// the call has no effect there.
func (h *Host) Serve(proto string, serve Handler) {
	if h.cfg.Profile != Public {
		return
	}
	h.mu.Lock()
	h.handlers[proto] = serve
	h.mu.Unlock()
	h.host.SetStreamHandler(wireproto.ID(proto), func(s network.Stream) {
		if refused(s, proto) {
			_ = s.ResetWithError(network.StreamProtocolViolation) // likewise
			return
		}
		from := address.Prefix(s.Conn().RemoteMultiaddr())
		err := h.callers.Come(proto, from)
		if err == nil {
			err = h.streams.Hire("serve "+proto, func(ctx context.Context) {
				defer h.callers.Leave(proto, from)
				run(ctx, serve, h.cfg.Tap.along(proto, from, &conn{Stream: limits.Frames(s), met: true}), from)
			})
			if err != nil {
				h.callers.Leave(proto, from)
			}
		}
		if err != nil {
			_ = s.ResetWithError(network.StreamResourceLimitExceeded) // it is told, or gone
		}
	})
}

// run serves one stream and ends it: in good order after the handler returned, at
// once when the node closes.
func run(ctx context.Context, serve Handler, c Conn, from string) {
	stop := context.AfterFunc(ctx, func() { _ = c.Reset() })
	defer func() {
		if stop() {
			_ = c.Close() // nobody left to tell
		}
	}()
	serve(ctx, c, from)
}

// Close leaves the network: loops and handlers end, streams are reset, what is
// known of others is saved.
func (h *Host) Close(ctx context.Context) error {
	err := errors.Join(h.upkeep.Dismiss(ctx), h.streams.Dismiss(ctx))
	h.save()
	if h.ended != nil {
		err = errors.Join(err, h.ended.Close())
	}
	return errors.Join(err, h.host.Close())
}

// A Fill is how full a bounded thing is.
type Fill struct{ At, Limit int }

// Status is what can be told of the host: public nodes known and connected, all
// connections, streams being served.
func (h *Host) Status() (known, connected, connections, streams Fill) {
	keys := h.known.keys()
	known, connected = Fill{len(keys), h.cfg.Limits.Known}, Fill{0, h.cfg.Limits.Known}
	for _, k := range keys {
		if h.Connected(k) {
			connected.At++
		}
	}
	connections = Fill{len(h.host.Network().Conns()), h.cfg.Limits.Conns}
	at, limit := h.streams.Size()
	return known, connected, connections, Fill{at, limit}
}

// Streams are the incoming streams of each protocol that a host is serving, by the
// protocol's short name.
func Streams(h *Host) map[string]Fill {
	out := map[string]Fill{}
	for name, proto := range map[string]string{"mail": ProtoMail, "post": ProtoPost, "sync": ProtoSync, "blob": ProtoBlob} {
		at, limit := h.callers.Of(proto)
		out[name] = Fill{at, limit}
	}
	return out
}

// conn is a libp2p stream.
type conn struct {
	network.Stream
	met bool // something was read already
}

// Read closes the whole connection where the other side never said a word in
// time: it died without a goodbye, and only a new connection will find out where
// it is now.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Stream.Read(b)
	var late interface{ Timeout() bool }
	if !c.met && n == 0 && errors.As(err, &late) && late.Timeout() {
		_ = c.Stream.Conn().Close() // it is dead either way
	}
	c.met = c.met || n > 0
	return n, err
}

func privateKey(k key.Private[key.Keeper]) (crypto.PrivKey, error) {
	return crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(k.Seed().Reveal()))
}
