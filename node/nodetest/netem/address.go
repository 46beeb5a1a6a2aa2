package netem

import (
	"net"
	"net/netip"
)

// firsts are the first bytes of addresses out in the open: none of which a part is
// private or set aside, and none that libp2p's DHT takes for one network as a whole.
var firsts = func() (out []byte) {
	not := map[byte]bool{
		10: true, 100: true, 127: true, 169: true, 172: true, 192: true, 198: true, 203: true, // private or set aside
		12: true, 17: true, 19: true, 38: true, 48: true, 53: true, 56: true, 73: true, // one network each
	}
	for b := byte(1); b < 224; b++ {
		if !not[b] {
			out = append(out, b)
		}
	}
	return out
}()

// order is where a first byte stands among them.
var order = func() (out [256]int) {
	for i, b := range firsts {
		out[b] = i
	}
	return out
}()

// maxNets is how many /16 there are, maxBeside how many hosts find room in one beside the
// first, each in a /24 of its own.
var maxNets = len(firsts) << 8

const maxBeside = 255

// Add gives the next host a place: a.b.0.1, alone in its /16.
func (n *Net) Add() *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.nets >= maxNets {
		panic("netem: no address is left")
	}
	h := &Host{net: n, number: n.nets, next: 20000}
	n.nets++
	n.hosts[h.IP()] = h
	return h
}

// AddBeside gives the next host a place in the /16 of another that Add placed.
func (n *Net) AddBeside(other *Host) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	if other.nat != nil || other.third > 0 || other.beside >= maxBeside {
		panic("netem: no address is left beside this one")
	}
	other.beside++
	h := &Host{net: n, number: other.number, third: byte(other.beside), next: 20000}
	n.hosts[h.IP()] = h
	return h
}

// IP is the host's own address: behind a NAT a private one.
func (h *Host) IP() netip.Addr {
	if h.nat != nil {
		return netip.AddrFrom4([4]byte{10, byte(h.number >> 8), byte(h.number), 1})
	}
	return netip.AddrFrom4([4]byte{firsts[h.number>>8], byte(h.number), h.third, 1})
}

// ip is the address in the 16-byte form by which simnet and package net know it.
func (h *Host) ip() net.IP {
	b := h.IP().As16()
	return b[:]
}

// number gets a number of the host's own back from its address.
func number(a net.Addr) int {
	u, ok := a.(*net.UDPAddr)
	if !ok {
		return 0
	}
	ip := u.IP.To4()
	if ip == nil {
		return 0
	}
	if ip[0] == 10 {
		return int(ip[1])<<8 | int(ip[2])
	}
	return int(ip[2])<<16 | order[ip[0]]<<8 | int(ip[1])
}
