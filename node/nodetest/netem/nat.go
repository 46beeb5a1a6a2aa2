package netem

import (
	"net"
	"net/netip"
	"slices"
)

// A Kind is how a NAT gives out ports.
type Kind int

// The kinds of NAT. Both let a packet in from where one went out to, address and port,
// and from nowhere else.
const (
	// Cone gives a socket one port, whoever it sends to: what one sees of it, all see.
	Cone Kind = iota
	// Symmetric gives a socket another port for each destination.
	Symmetric
)

// A nat stands before one host. Its bindings last as long as it does: libp2p's
// connections say something more often than NATs forget.
type nat struct {
	kind    Kind
	inside  netip.Addr
	outside netip.Addr
	next    uint16
	ports   map[binding]uint16
	sockets map[uint16]uint16 // by port outside
	asked   map[uint16]map[netip.AddrPort]bool
}

// A binding is what has a port outside.
type binding struct {
	socket uint16
	to     netip.AddrPort // of a symmetric NAT
}

// AddBehind gives the next host a place behind a NAT: 10.x.y.1 inside, a.b.0.1 outside.
func (n *Net) AddBehind(kind Kind) *Host {
	h := n.Add()
	n.mu.Lock()
	defer n.mu.Unlock()
	outside := h.IP()
	delete(n.hosts, outside)
	h.nat = &nat{
		kind: kind, outside: outside, next: 40000, ports: map[binding]uint16{}, sockets: map[uint16]uint16{}, asked: map[uint16]map[netip.AddrPort]bool{},
	}
	h.nat.inside = h.IP()
	n.hosts[h.nat.inside], n.nats[outside] = h, h.nat
	return h
}

// out is the address from which a packet of a socket leaves. Called with the net's mu
// held, as all that follows.
func (t *nat) out(socket uint16, to netip.AddrPort) netip.AddrPort {
	b := binding{socket: socket}
	if t.kind == Symmetric {
		b.to = to
	}
	port, ok := t.ports[b]
	if !ok {
		t.next++
		port = t.next
		t.ports[b], t.sockets[port], t.asked[port] = port, socket, map[netip.AddrPort]bool{}
	}
	t.asked[port][to] = true
	return netip.AddrPortFrom(t.outside, port)
}

// in is the socket that a packet from outside gets to, if it gets in.
func (t *nat) in(port uint16, from netip.AddrPort) (netip.AddrPort, bool) {
	return netip.AddrPortFrom(t.inside, t.sockets[port]), t.asked[port][from]
}

// seenFrom is where a packet seems to come from, to the one who gets it.
func (n *Net) seenFrom(from net.Addr, by *Host, port uint16) net.Addr {
	u, ok := from.(*net.UDPAddr)
	if !ok {
		return from
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	at := unmapped(u.AddrPort())
	h := n.hosts[at.Addr()]
	if h == nil || h.nat == nil {
		return from
	}
	for _, to := range by.outsides(port) {
		if seen, ok := h.nat.ports[h.nat.bindingTo(at.Port(), to)]; ok {
			return udp(netip.AddrPortFrom(h.nat.outside, seen))
		}
	}
	return from
}

func (t *nat) bindingTo(socket uint16, to netip.AddrPort) binding {
	if t.kind == Cone {
		to = netip.AddrPort{}
	}
	return binding{socket, to}
}

// outsides are the addresses under which others send to a socket of a host.
func (h *Host) outsides(port uint16) (out []netip.AddrPort) {
	if h.nat == nil {
		return []netip.AddrPort{netip.AddrPortFrom(h.IP(), port)}
	}
	for outside, socket := range h.nat.sockets {
		if socket == port {
			out = append(out, netip.AddrPortFrom(h.nat.outside, outside))
		}
	}
	slices.SortFunc(out, netip.AddrPort.Compare)
	return out
}

func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// udp is an address in the 16-byte form by which simnet and package net know it.
func udp(a netip.AddrPort) *net.UDPAddr {
	b := a.Addr().As16()
	return &net.UDPAddr{IP: b[:], Port: int(a.Port())}
}

func portOf(a net.Addr) uint16 {
	if u, ok := a.(*net.UDPAddr); ok {
		return u.AddrPort().Port()
	}
	return 0
}
