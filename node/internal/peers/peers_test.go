package peers

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/quic-go/quic-go"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// tell is an Exchange and its server, as plain as can be: the server's nodes, one
// address each.
func tell(h **Host) (Exchange, Handler) {
	ask := func(_ context.Context, c Conn, _ key.KeeperKey) (ks []protocol.Keeper, err error) {
		raw, err := io.ReadAll(c)
		for ; err == nil && len(raw) > 33; raw = raw[33+int(raw[32]):] {
			ks = append(ks, protocol.Keeper{Key: key.KeeperKey(raw[:32]), Addrs: [][]byte{raw[33 : 33+int(raw[32])]}})
		}
		return ks, err
	}
	answer := func(_ context.Context, c Conn, from string) {
		for _, k := range (*h).Tell(from, maxShare) {
			raw := append(append(k.Key[:], byte(len(k.Addrs[0]))), k.Addrs[0]...)
			if _, err := c.Write(raw); err != nil {
				return
			}
		}
	}
	return ask, answer
}

type memoryBook struct {
	mu sync.Mutex
	ks []protocol.Keeper
}

func (b *memoryBook) Load() []protocol.Keeper {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.ks)
}

func (b *memoryBook) Save(ks []protocol.Keeper) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ks = slices.Clone(ks)
}

func open(t *testing.T, profile Profile, change func(*Config), bootstrap ...protocol.Keeper) *Host {
	t.Helper()
	h := new(Host)
	ask, answer := tell(&h)
	cfg := Config{
		Profile: profile, Key: key.Generate[key.Keeper](), Bootstrap: bootstrap, Exchange: ask,
		Log: slog.New(slog.DiscardHandler), Now: time.Now,
	}
	if profile == Public {
		cfg.Listen = []string{"/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"}
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if h, err = Open(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	h.Serve(ProtoSync, answer)
	t.Cleanup(func() { shut(t, h) })
	return h
}

func shut(t *testing.T, h *Host) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := h.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// until polls for at most ten seconds.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 2000 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("%s: not within ten seconds", what)
}

func echo(_ context.Context, c Conn, from string) {
	if _, err := io.WriteString(c, from+"\n"); err == nil {
		_, _ = io.Copy(c, c)
	}
}

func knows(h *Host, other *Host) bool {
	return slices.ContainsFunc(h.Keepers(maxTable), func(k protocol.Keeper) bool { return k.Key == other.self })
}

func TestNodesFindEachOtherOverOneThatTheyKnow(t *testing.T) {
	a := open(t, Public, nil)
	b, c := open(t, Public, nil, a.Self()), open(t, Public, nil, a.Self())
	p := open(t, Personal, nil, a.Self())
	until(t, "all connect", func() bool { return b.Connected(c.self) && p.Connected(b.self) && p.Connected(c.self) })
	for _, h := range []*Host{a, b, c} {
		until(t, "all known", func() bool { return len(h.Keepers(9)) == 2 })
		if knows(h, p) {
			t.Error("a personal node is known as a keeper")
		}
		if knows(h, h) {
			t.Error("a node lists itself")
		}
	}
	if got := len(b.Keepers(1)); got != 1 {
		t.Errorf("Keepers(1) gives %d", got)
	}
	if told := a.Tell("127.0.0.0/24", 9); len(told) != 2 {
		t.Errorf("a neighbour on this machine is told of %d nodes, want 2", len(told))
	}
	for _, far := range []string{"203.0.113.0/24", "10.0.0.0/24", "2001:db8::/56", "unknown"} {
		if told := a.Tell(far, 9); len(told) != 0 {
			t.Errorf("a caller from %s is told of addresses on this machine: %v", far, told)
		}
	}
	known, connected, conns, _ := a.Status()
	if known.At != 2 || known.Limit != maxTable || connected.At != 2 || conns.At < 3 {
		t.Errorf("Status: %+v %+v %+v", known, connected, conns)
	}
}

func TestAStreamCarriesBytesBothWays(t *testing.T) {
	a := open(t, Public, nil)
	a.Serve(ProtoMail, echo)
	for name, h := range map[string]*Host{"personal": open(t, Personal, nil), "public": open(t, Public, nil), "itself": a} {
		c, err := h.Dial(t.Context(), a.Self(), ProtoMail)
		if err != nil {
			t.Fatal(name, err)
		}
		if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, "hello"); err != nil {
			t.Fatal(err)
		}
		want := "127.0.0.0/24\nhello"
		got := make([]byte, len(want))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestDialRefusals(t *testing.T) {
	a, p := open(t, Public, nil), open(t, Personal, nil)
	gone := open(t, Public, nil)
	at := gone.Self()
	shut(t, gone)
	nowhere := protocol.Keeper{Key: key.Generate[key.Keeper]().Public()}
	imposed := protocol.Keeper{Key: nowhere.Key, Addrs: a.Self().Addrs}
	for name, to := range map[string]protocol.Keeper{
		"no address": nowhere, "nobody there": at, "another's address": imposed, "a protocol not served": a.Self(), "itself": p.Self(),
	} {
		if _, err := p.Dial(t.Context(), to, ProtoPost); !errors.Is(err, fault.Offline) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := p.Dial(t.Context(), protocol.Keeper{Key: key.KeeperKey{2}, Addrs: a.Self().Addrs}, ProtoPost); err == nil {
		t.Error("a key that is none")
	}
}

// knock sends a QUIC handshake to a UDP address and tells whether anybody answered.
func knock(t *testing.T, at net.Addr) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	c, err := quic.DialAddr(ctx, at.String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"libp2p"}}, nil)
	if err == nil {
		_ = c.CloseWithError(0, "")
		return true
	}
	return !errors.Is(err, context.DeadlineExceeded)
}

// A personal node listens nowhere, and the socket from which it dials answers no
// handshake; a public node, for comparison, does both.
func TestAPersonalNodeIsOutboundOnly(t *testing.T) {
	a := open(t, Public, func(c *Config) { c.Listen = c.Listen[:1] }) // QUIC alone: on a busy machine TCP may come first
	p := open(t, Personal, nil, a.Self())
	p.Serve(ProtoMail, echo)
	until(t, "connected", func() bool { return p.Connected(a.self) })
	if got := p.host.Network().ListenAddresses(); len(got) != 0 {
		t.Errorf("listens on %v", got)
	}
	if got := p.host.Addrs(); len(got) != 0 || len(p.Self().Addrs) != 0 {
		t.Errorf("announces %v", got)
	}
	until(t, "identified", func() bool {
		got, err := a.host.Peerstore().GetProtocols(p.host.ID())
		return err == nil && len(got) > 0
	})
	if got, err := a.host.Peerstore().GetProtocols(p.host.ID()); err != nil || slices.Contains(got, ProtoMail) || slices.Contains(got, ProtoSync) {
		t.Errorf("serves %v, %v", got, err)
	}
	until(t, "seen from the other side", func() bool { return len(a.host.Network().ConnsToPeer(p.host.ID())) > 0 })
	from := a.host.Network().ConnsToPeer(p.host.ID())[0].RemoteMultiaddr()
	if _, err := from.ValueForProtocol(ma.P_QUIC_V1); err != nil {
		t.Fatalf("connected over %s", from)
	}
	addr, err := manet.ToNetAddr(from.Decapsulate(ma.StringCast("/quic-v1")))
	if err != nil {
		t.Fatal(err)
	}
	if knock(t, addr) {
		t.Error("the dialling socket answers a handshake")
	}
	quicAddr, err := ma.NewMultiaddrBytes(a.Self().Addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	public, err := manet.ToNetAddr(quicAddr.Decapsulate(ma.StringCast("/quic-v1")))
	if err != nil {
		t.Fatal(err)
	}
	if !knock(t, public) {
		t.Error("not even a public node answers: the test shows nothing")
	}
	if _, err := a.Dial(t.Context(), p.Self(), ProtoMail); !errors.Is(err, fault.Offline) {
		t.Errorf("a stream to a personal node: %v", err)
	}
}

// Public nodes that come by themselves don't keep a node from going to others.
func TestWhoComesTakesNoPlaceOfThoseDialled(t *testing.T) {
	a := open(t, Public, func(c *Config) { c.Target = 2 })
	for range 4 {
		in := open(t, Public, func(c *Config) { c.Target = 1 }, a.Self())
		until(t, "came", func() bool { return a.Connected(in.self) })
	}
	b := open(t, Public, func(c *Config) { c.Exchange = nil })
	c := open(t, Public, func(c *Config) { c.Exchange = nil })
	a.Learn([]protocol.Keeper{b.Self(), c.Self()}, WayExchange)
	until(t, "went", func() bool { return dialled(a.host.Network(), []key.KeeperKey{b.self, c.self}) == 2 })
}

func TestWhatWasKnownOutlivesARestart(t *testing.T) {
	a := open(t, Public, nil)
	book := &memoryBook{}
	with := func(c *Config) { c.Book = book }
	first := open(t, Personal, with, a.Self())
	until(t, "reached", func() bool { return len(first.Tell("127.0.0.0/24", 9)) == 1 })
	shut(t, first)
	if ks := book.Load(); len(ks) != 1 || ks[0].Key != a.self || len(ks[0].Addrs) == 0 {
		t.Fatalf("saved %v", ks)
	}
	again := open(t, Personal, with)
	until(t, "connected from memory", func() bool { return again.Connected(a.self) })
}

// A keeper that comes back at its address is found again, by the loop and by Dial.
func TestAKeeperThatComesBack(t *testing.T) {
	k := key.Generate[key.Keeper]()
	same := func(c *Config) { c.Key = k }
	a := open(t, Public, same)
	at := a.Self()
	p := open(t, Personal, nil, at)
	until(t, "connected", func() bool { return p.Connected(at.Key) })
	listen := address.Texts(at)
	shut(t, a)
	until(t, "gone", func() bool { return !p.Connected(at.Key) })
	if _, err := p.Dial(t.Context(), at, ProtoMail); !errors.Is(err, fault.Offline) {
		t.Fatalf("Dial = %v", err)
	}
	b := open(t, Public, func(c *Config) {
		c.Key, c.Listen = k, nil
		for _, text := range listen {
			a := ma.StringCast(text)
			c.Listen = append(c.Listen, a.Decapsulate(ma.StringCast("/p2p/"+peerID(t, k.Public()))).String())
		}
	})
	b.Serve(ProtoMail, echo)
	c, err := p.Dial(t.Context(), protocol.Keeper{Key: at.Key}, ProtoMail)
	if err != nil {
		t.Fatalf("Dial at once = %v", err)
	}
	if err := c.Reset(); err != nil {
		t.Error(err)
	}
}

func peerID(t *testing.T, k key.KeeperKey) string {
	t.Helper()
	return address.ID(k).String()
}

func TestCloseEndsAndWaitsForHandlers(t *testing.T) {
	a := open(t, Public, nil)
	begun, ended := make(chan struct{}), make(chan error, 1)
	a.Serve(ProtoMail, func(ctx context.Context, c Conn, _ string) {
		close(begun)
		_, err := c.Read(make([]byte, 1)) // for ever, but for Close
		<-ctx.Done()
		ended <- err
	})
	p := open(t, Personal, nil)
	c, err := p.Dial(t.Context(), a.Self(), ProtoMail)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(nil); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, _ = c.Read(make([]byte, 1)) // opens the stream for good
	until(t, "handler at work", func() bool {
		select {
		case <-begun:
			return true
		default:
			if c, err := p.Dial(t.Context(), a.Self(), ProtoMail); err == nil {
				_, _ = c.Write([]byte{1})
			}
			return false
		}
	})
	shut(t, a)
	select {
	case err := <-ended:
		_ = err
	default:
		t.Error("Close did not wait for the handler")
	}
}

// A peer that opens more streams than it may is refused the rest; another is served.
func TestOnePeerCannotTakeAllStreams(t *testing.T) {
	a := open(t, Public, nil)
	a.Serve(ProtoPost, echo)
	flood := func(h *Host, n int) (served int) {
		for range n {
			c, err := h.Dial(t.Context(), a.Self(), ProtoPost)
			if err != nil {
				continue
			}
			if c.SetDeadline(time.Now().Add(5*time.Second)) != nil {
				continue
			}
			if _, err := io.ReadFull(c, make([]byte, 12)); err == nil {
				served++
			}
		}
		return served
	}
	if got, most := flood(open(t, Personal, nil), 40), protocolLimits[ProtoPost].Peer; got != most {
		t.Errorf("one peer has %d streams, want %d", got, most)
	}
	if got := flood(open(t, Personal, nil), 1); got != 1 {
		t.Error("another peer is shut out")
	}
}

func TestConfigRefusals(t *testing.T) {
	first, err := ma.NewMultiaddrBytes(open(t, Public, nil).Self().Addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	taken := first.String()
	for name, change := range map[string]func(*Config){
		"a public node that listens nowhere": func(c *Config) { c.Listen = nil },
		"no multiaddr":                       func(c *Config) { c.Listen = []string{"127.0.0.1:4001"} },
		"websocket":                          func(c *Config) { c.Listen = []string{"/ip4/127.0.0.1/tcp/0/ws"} },
		"an address that is taken":           func(c *Config) { c.Listen = []string{taken} },
		"announce nonsense":                  func(c *Config) { c.Announce = []string{"x"} },
	} {
		cfg := Config{Profile: Public, Key: key.Generate[key.Keeper](), Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"}, Log: slog.New(slog.DiscardHandler), Now: time.Now}
		change(&cfg)
		if _, err := Open(t.Context(), cfg); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

// A peer that died without a goodbye holds its connection open for half a minute;
// one that does not say a word in time is given up, so that the next dial is fresh.
func TestASilentPeerIsGivenUp(t *testing.T) {
	a := open(t, Public, nil)
	a.Serve(ProtoMail, func(ctx context.Context, _ Conn, _ string) { <-ctx.Done() })
	p := open(t, Personal, nil)
	s, err := p.Dial(t.Context(), a.Self(), ProtoMail)
	if err != nil {
		t.Fatal(err)
	}
	below := s.(*conn).Stream.Conn()
	if err := s.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(make([]byte, 1)); err == nil {
		t.Fatal("it spoke")
	}
	if !below.IsClosed() {
		t.Error("the connection stays")
	}
}

// Each of three ways in carries a node when the others are off; that of the DHT is
// tested in its own room.
func TestEachWayInCarriesANodeAlone(t *testing.T) {
	a, b := open(t, Public, nil), open(t, Public, nil)
	book := &memoryBook{ks: []protocol.Keeper{a.Self()}}
	for _, way := range []Way{WayBootstrap, WayCache, WayExchange} {
		alone := func(c *Config) { c.Off, c.Book = ^way, book }
		h := open(t, Public, alone, a.Self())
		if way == WayExchange { // it begins with whoever calls
			b.Learn([]protocol.Keeper{h.Self(), a.Self()}, WayBootstrap)
		}
		until(t, "it works", func() bool { return report(h, way).Works() == 1 && h.Connected(a.self) })
		for _, other := range AllWays {
			if r := report(h, other); other != way && (r.Works() != -1 || !r.Off || r.Known > 0) {
				t.Errorf("%v alone: %+v", way, r)
			}
		}
	}
}

func report(h *Host, way Way) WayReport {
	for _, r := range h.Ways() {
		if r.Way == way {
			return r
		}
	}
	return WayReport{}
}

// A way is yes, no, or not known yet.
func TestWaysHaveThreeAnswers(t *testing.T) {
	h := open(t, Public, func(c *Config) { c.Off = WayCache })
	if got := []int{report(h, WayBootstrap).Works(), report(h, WayCache).Works(), report(h, WayExchange).Works(), report(h, WayDHT).Works()}; !slices.Equal(got, []int{-1, -1, 0, 0}) {
		t.Errorf("at first: %v", got) // the bootstrap list is empty, and was looked at
	}
	h.Learn([]protocol.Keeper{keeperAt("/ip4/127.0.0.1/udp/1/quic-v1")}, WayDHT)
	if r := report(h, WayDHT); r.Works() != 0 && r.Failed == 0 {
		t.Errorf("named, not tried: %+v", r)
	}
	until(t, "tried in vain", func() bool { return report(h, WayDHT).Works() == -1 })
	a := open(t, Public, nil)
	h.Learn([]protocol.Keeper{a.Self()}, WayDHT)
	until(t, "reached", func() bool { return report(h, WayDHT).Works() == 1 })
}

// What strangers name is not dialled where it lies nearer than those we deal with.
func TestNobodyMakesANodeKnockAtItsOwnHouse(t *testing.T) {
	far, lan, here := "/ip4/203.0.113.7/udp/1/quic-v1", "/ip4/192.168.1.7/udp/1/quic-v1", "/ip4/127.0.0.1/udp/1/quic-v1"
	wide := open(t, Public, func(c *Config) { c.Announce = []string{"/ip4/198.51.100.1/udp/1/quic-v1"} })
	home := open(t, Public, nil)
	alone := open(t, Personal, nil)
	for h, want := range map[*Host]int{wide: 1, home: 3, alone: 1} {
		if got := Worth(h, addrs(here, lan, far)); len(got) != want {
			t.Errorf("%v: %v", h.Self().Addrs, got)
		}
	}
	if AtHome(wide) || !AtHome(home) || AtHome(alone) {
		t.Error("who is at home")
	}
}
