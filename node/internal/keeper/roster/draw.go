package roster

import (
	"net/netip"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/harkmarket/hark/protocol"
)

// A Candidate is a keeper that may be drawn, with the vendor who says to run it;
// zero: nobody, and it stands as its own.
type Candidate struct {
	Keeper   protocol.Keeper
	Operator protocol.VendorID
}

// A kin is what a candidate is held apart by.
type kin struct {
	operator protocol.VendorID
	nets     []netip.Prefix
}

// like counts what two candidates have in common: operator, address prefix.
func (a kin) like(b kin) (n int) {
	if !a.operator.IsZero() && a.operator == b.operator {
		n++
	}
	for _, p := range a.nets {
		for _, q := range b.nets {
			if p == q {
				return n + 1
			}
		}
	}
	return n
}

// kins are worked out when they are asked for: mostly the first few do.
type kins struct {
	of   []Candidate
	have []*kin
}

func (k *kins) at(i int) kin {
	if k.have[i] == nil {
		worked := kinOf(k.of[i])
		k.have[i] = &worked
	}
	return *k.have[i]
}

func kinOf(c Candidate) kin { return kin{c.Operator, networks(c.Keeper)} }

// networks are the address prefixes of a keeper: /24 of IPv4, /56 of IPv6. Names and
// loopback addresses have none: there each node counts as its own.
func networks(k protocol.Keeper) (out []netip.Prefix) {
	for _, raw := range k.Addrs[:min(len(k.Addrs), protocol.MaxAddrs)] {
		a, err := ma.NewMultiaddrBytes(raw)
		if err != nil {
			continue
		}
		ip, err := manet.ToIP(a)
		if err != nil {
			continue
		}
		addr, _ := netip.AddrFromSlice(ip)
		addr = addr.Unmap()
		if !addr.IsValid() || addr.IsLoopback() || addr.IsUnspecified() {
			continue
		}
		bits := 24
		if addr.Is6() {
			bits = 56
		}
		if p, err := addr.WithZone("").Prefix(bits); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// Diverse picks up to n of known, who stand in order of preference (a random one),
// to serve beside those named: no two of one operator or address prefix, as long as
// there are enough such; then those that have least in common. It tries each
// candidate as the first, so that one that is like many others does not stand in the
// way of a better choice.
func Diverse(known []Candidate, n int, beside []Candidate) []protocol.Keeper {
	n = min(max(n, 0), len(known))
	taken := make([]kin, len(beside))
	for i, c := range beside {
		taken[i] = kinOf(c)
	}
	all := &kins{of: known, have: make([]*kin, len(known))}
	var best []int
	least := 0
	for first := range known {
		if n == 0 {
			break
		}
		picked, alike := pick(all, taken, first, n)
		if best == nil || alike < least {
			best, least = picked, alike
		}
		if least == 0 {
			break
		}
	}
	out := make([]protocol.Keeper, len(best))
	for i, at := range best {
		out[i] = known[at].Keeper
	}
	return out
}

// pick starts with one candidate and adds, n in all, the first of those that have
// least in common with what is there. alike is what all of them have in common.
func pick(all *kins, beside []kin, first, n int) (picked []int, alike int) {
	in := make([]bool, len(all.of))
	there := append(make([]kin, 0, len(beside)+n), beside...)
	common := func(i int) (sum int) {
		for _, other := range there {
			sum += all.at(i).like(other)
		}
		return sum
	}
	add := func(i int) {
		alike += common(i)
		in[i] = true
		picked, there = append(picked, i), append(there, all.at(i))
	}
	for add(first); len(picked) < n; {
		next, least := -1, 0
		for i := range all.of {
			if in[i] {
				continue
			}
			if sum := common(i); next < 0 || sum < least {
				next, least = i, sum
			}
			if least == 0 {
				break
			}
		}
		add(next)
	}
	return picked, alike
}
