package integration

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	wireproto "github.com/libp2p/go-libp2p/core/protocol"
	quictransport "github.com/libp2p/go-libp2p/p2p/transport/quic"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/quic-go/quic-go"

	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/desk"
)

// The ways in which a node could turn out to be reachable, or part of the mesh.
const (
	hasAddress     = "it tells an address"
	hasListener    = "it has a listening TCP socket besides the API"
	answersQUIC    = "it answers a QUIC handshake"
	takesDial      = "it takes an inbound libp2p connection"
	joinsTopics    = "it is on a topic"
	inMesh         = "it is in the mesh of a public node"
	isKnown        = "a public node names it to others"
	tellsAddress   = "it tells an address to those whom it dials"
	speaksGossip   = "it speaks gossip"
	servesStreams  = "it serves streams"
	waitForSilence = 3 * time.Second // for an answer that must not come
)

var waysIn = []string{hasAddress, hasListener, answersQUIC, takesDial, joinsTopics, inMesh, isKnown, tellsAddress, speaksGossip, servesStreams}

// TestMust_outbound_only looks at the sockets of a running personal node, dials them,
// looks at the meshes of its peers, and at what it tells a peer that it dialled. The
// same on a public node finds every one of these ways in.
func TestMust_outbound_only(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("sockets are read from /proc, which only Linux has")
	}
	g := youngNetwork()
	public, addrs := publicNodes(t, g, 2)
	// A public node of everyone's, and a personal one, both of which dial the witness.
	met := newWitness(t)
	open := newProcess(t, "open", node.InitOptions{
		Profile: node.Public, Network: g, Bootstrap: append(addrs, met.addr), Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"},
	})
	personal := newProcess(t, "personal", node.InitOptions{Network: g, Bootstrap: append(addrs, met.addr)})
	startAll(t, open, personal)
	acquainted(t, []*process{open, personal}, 2)
	for _, p := range append(public, open) { // all topics: two drawn from their keys need not be the same
		err := p.ask(t.Context(), func(ctx context.Context, h desk.House) error {
			_, err := h.Vendor().Rules().Set(ctx, desk.Follow{Sectors: []string{}, Regions: []string{}, Ask: true})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	busy(t, personal, append(public, open))

	planted := reach{t: t, p: open, public: public, met: met, settle: true}.ways()
	for _, way := range waysIn {
		if !slices.Contains(planted, way) {
			t.Errorf("of a public node, this was not found: %s", way)
		}
	}
	for _, way := range (reach{t: t, p: personal, public: append(public, open), met: met}).ways() {
		t.Errorf("of a personal node: %s", way)
	}
}

// busy has a personal node announce a need and hold its streams open.
func busy(t *testing.T, p *process, public []*process) {
	t.Helper()
	var need desk.Need
	err := p.ask(t.Context(), func(ctx context.Context, h desk.House) (err error) {
		need, err = h.Customer().Needs().Create(ctx, desk.NeedSpec{Auto: true, Name: "a desk lamp"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range public {
		err := q.until(t.Context(), "should hear the need", func(ctx context.Context, h desk.House) (bool, error) {
			list, err := all(ctx, h.Vendor().Board().List, desk.Query{})
			return slices.ContainsFunc(list, func(n desk.Notice) bool { return n.Context == need.ID }), err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A witness is a libp2p host that nodes take for a public node. They dial it, and it
// keeps what they tell of themselves.
type witness struct {
	host host.Host
	addr string
}

func newWitness(t *testing.T) *witness {
	t.Helper()
	h, err := libp2p.New(libp2p.Transport(quictransport.NewTransport), libp2p.ListenAddrStrings("/ip4/127.0.0.1/udp/0/quic-v1"), libp2p.DisableRelay())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return &witness{h, fmt.Sprintf("%s/p2p/%s", h.Addrs()[0], h.ID())}
}

// meet waits until a node has dialled and told what it is.
func (w *witness) meet(ctx context.Context, id peer.ID) error {
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	for {
		if agent, err := w.host.Peerstore().Get(id, "AgentVersion"); err == nil && agent == "hark" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not dial the witness: %w", id, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// A reach looks for the ways in to one node.
type reach struct {
	t      *testing.T
	p      *process
	public []*process // other nodes
	met    *witness
	settle bool // wait for the mesh to take it in
}

// ways names all that were found.
func (r reach) ways() (found []string) {
	r.t.Helper()
	id := identity(r.t, r.p)
	peerID, err := peer.Decode(id.PeerID)
	if err != nil {
		r.t.Fatal(err)
	}
	add := func(way string, is bool) {
		if is {
			found = append(found, way)
		}
	}
	tcp, udp := r.sockets()
	if len(udp) == 0 {
		r.t.Fatalf("%s has no UDP socket: nothing to look at", r.p.name)
	}
	r.t.Logf("%s: TCP %v, UDP %v", r.p.name, tcp, udp)
	add(hasAddress, len(id.Addrs) > 0)
	add(hasListener, len(tcp) > 0)
	add(answersQUIC, r.any(udp, answers))
	add(takesDial, r.any(udp, func(ctx context.Context, at netip.AddrPort) (bool, error) { return takes(ctx, at, peerID) }))
	add(joinsTopics, len(id.Joined) > 0)
	mesh, known := r.named(id)
	add(inMesh, mesh)
	add(isKnown, known)
	r.told(peerID, add)
	return found
}

// sockets reads the node's listening TCP sockets, without the API's, which must be on
// loopback, and its UDP sockets.
func (r reach) sockets() (tcp, udp []netip.AddrPort) {
	r.t.Helper()
	cmd, _, _ := r.p.running()
	own := map[string]bool{}
	fds := fmt.Sprintf("/proc/%d/fd", cmd.Process.Pid)
	list, err := os.ReadDir(fds)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range list {
		if at, err := os.Readlink(fds + "/" + f.Name()); err == nil && strings.HasPrefix(at, "socket:[") {
			own[strings.Trim(at, "socket:[]")] = true
		}
	}
	c, _, err := r.p.house(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	u, err := url.Parse(c.URL())
	if err != nil {
		r.t.Fatal(err)
	}
	api := false
	for _, s := range r.table(cmd.Process.Pid, own, "tcp", "tcp6") {
		switch {
		case s.state != "0A": // LISTEN
		case s.at.String() == u.Host && s.at.Addr().IsLoopback():
			api = true
		default:
			tcp = append(tcp, s.at)
		}
	}
	if !api {
		r.t.Errorf("%s: the API's own socket %s was not found: this look at sockets sees nothing", r.p.name, u.Host)
	}
	for _, s := range r.table(cmd.Process.Pid, own, "udp", "udp6") {
		udp = append(udp, s.at)
	}
	return tcp, udp
}

type socket struct {
	at    netip.AddrPort
	state string
}

// table reads /proc/PID/net/{tcp,udp}, see proc(5).
func (r reach) table(pid int, own map[string]bool, names ...string) (out []socket) {
	r.t.Helper()
	for _, name := range names {
		f, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", pid, name))
		if err != nil {
			r.t.Fatal(err)
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			// sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode
			w := strings.Fields(lines.Text())
			if len(w) < 10 || !own[w[9]] {
				continue
			}
			at, err := procAddr(w[1])
			if err != nil {
				r.t.Fatal(err)
			}
			out = append(out, socket{at, w[3]})
		}
		_ = f.Close() // it was only read
	}
	return out
}

// procAddr reads an address as /proc writes it: words of 32 bits in the machine's own
// order, which is little-endian wherever this runs, then the port.
func procAddr(text string) (at netip.AddrPort, err error) {
	host, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(host)
	if err != nil {
		return at, fmt.Errorf("address %q: %w", text, err)
	}
	for i := 0; i+4 <= len(raw); i += 4 {
		slices.Reverse(raw[i : i+4])
	}
	ip, ok := netip.AddrFromSlice(raw)
	var n uint16
	if _, err := fmt.Sscanf(port, "%X", &n); err != nil || !ok {
		return at, fmt.Errorf("address %q: %w", text, errors.Join(err, errors.ErrUnsupported))
	}
	return netip.AddrPortFrom(ip.Unmap(), n), nil
}

// any tries all sockets at once.
func (r reach) any(list []netip.AddrPort, try func(context.Context, netip.AddrPort) (bool, error)) bool {
	r.t.Helper()
	hits := make([]bool, len(list))
	var wg sync.WaitGroup
	for i, at := range list {
		if at.Addr().IsUnspecified() && at.Addr().Is4() {
			at = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), at.Port())
		} else if at.Addr().IsUnspecified() {
			at = netip.AddrPortFrom(netip.IPv6Loopback(), at.Port())
		}
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(r.t.Context(), waitForSilence)
			defer cancel()
			hit, err := try(ctx, at)
			if err != nil {
				r.t.Errorf("dial %s: %v", at, err)
			}
			hits[i] = hit
		})
	}
	wg.Wait()
	return slices.Contains(hits, true)
}

// answers tells whether anything at all comes back to a QUIC handshake, a refusal too.
func answers(ctx context.Context, at netip.AddrPort) (bool, error) {
	conn, err := quic.DialAddr(ctx, at.String(), &tls.Config{
		InsecureSkipVerify: true, NextProtos: []string{"libp2p"}, MinVersion: tls.VersionTLS13,
	}, &quic.Config{HandshakeIdleTimeout: 2 * waitForSilence})
	if err == nil {
		return true, conn.CloseWithError(0, "")
	}
	var idle *quic.IdleTimeoutError
	var handshake *quic.HandshakeTimeoutError
	silent := errors.Is(err, context.DeadlineExceeded) || errors.As(err, &idle) || errors.As(err, &handshake)
	return !silent, nil
}

// takes tells whether a node that is dialled by its peer id opens a connection.
func takes(ctx context.Context, at netip.AddrPort, id peer.ID) (bool, error) {
	family := "ip4"
	if at.Addr().Is6() {
		family = "ip6"
	}
	addr, err := ma.NewMultiaddr(fmt.Sprintf("/%s/%s/udp/%d/quic-v1", family, at.Addr(), at.Port()))
	if err != nil {
		return false, err
	}
	h, err := libp2p.New(libp2p.NoListenAddrs, libp2p.Transport(quictransport.NewTransport), libp2p.DisableRelay())
	if err != nil {
		return false, err
	}
	defer func() { _ = h.Close() }()
	err = h.Connect(network.WithForceDirectDial(ctx, "test"), peer.AddrInfo{ID: id, Addrs: []ma.Multiaddr{addr}})
	return err == nil, nil
}

// named tells whether a public node has the node in its mesh, or names it as one that
// others can reach.
func (r reach) named(id desk.Identity) (mesh, known bool) {
	r.t.Helper()
	for _, q := range r.public {
		look := func(ctx context.Context, h desk.House) (bool, error) {
			self, err := h.Network().Self(ctx)
			if err != nil {
				return false, err
			}
			peers, err := h.Network().Peers(ctx)
			m := slices.Contains(self.Mesh, id.PeerID)
			k := slices.ContainsFunc(peers, func(p desk.Peer) bool { return p.Key == id.Key })
			mesh, known = mesh || m, known || k
			return m && k || !r.settle, err
		}
		if err := q.until(r.t.Context(), "should have "+r.p.name+" in its mesh", look); err != nil {
			r.t.Error(err)
		}
	}
	return mesh, known
}

// told looks at what the node said to a peer that it dialled, and asks it for streams
// over its own connection.
func (r reach) told(id peer.ID, add func(string, bool)) {
	r.t.Helper()
	w := r.met.host
	if err := r.met.meet(r.t.Context(), id); err != nil {
		r.t.Fatal(err)
	}
	protos, err := w.Peerstore().GetProtocols(id)
	if err != nil {
		r.t.Fatal(err)
	}
	var from []ma.Multiaddr // what the connection itself shows
	for _, c := range w.Network().ConnsToPeer(id) {
		from = append(from, c.RemoteMultiaddr())
	}
	if len(from) == 0 {
		r.t.Errorf("%s is not connected to the witness any more", r.p.name)
	}
	var addrs []ma.Multiaddr
	for _, a := range w.Peerstore().Addrs(id) {
		if !slices.ContainsFunc(from, a.Equal) {
			addrs = append(addrs, a)
		}
	}
	r.t.Logf("%s told a peer: protocols %v, addresses %v", r.p.name, protos, addrs)
	add(tellsAddress, len(addrs) > 0)
	has := func(part string) bool {
		return slices.ContainsFunc(protos, func(p wireproto.ID) bool { return strings.Contains(string(p), part) })
	}
	add(speaksGossip, has("meshsub") || has("floodsub"))
	served := has("/hark/")
	for _, proto := range []wireproto.ID{"/hark/mail/1", "/hark/post/1", "/hark/sync/1", "/meshsub/1.2.0"} {
		ctx, cancel := context.WithTimeout(r.t.Context(), waitForSilence)
		s, err := w.NewStream(network.WithNoDial(ctx, "its own connection"), id, proto)
		if err == nil {
			served = true
			_ = s.Reset() // seen
		}
		cancel()
	}
	add(servesStreams, served)
}
