package lab

import (
	"fmt"
	"slices"
)

// Records stand in the DHT beside the load, and are looked up at the end.
type Records struct {
	Passports     int `toml:"passports" comment:"Vendors' passports that their keepers put into the DHT before the load; looked up at the end by the DHT alone, and as nodes do. Needs network.dht."`
	Announcements int `toml:"announcements" comment:"Needs of others, likewise."`
	Each          int `toml:"each" comment:"Nodes that look each of them up: customers passports, public nodes needs."`
}

// DHTSybils are nodes that sit nearer to keys of the DHT than honest ones.
type DHTSybils struct {
	PerKey int     `toml:"per_key" comment:"Sybils nearer to the keys of all [records] than any honest node; the keys are made to suit. They keep no record and name only each other. Needs network.dht."`
	Nets   int     `toml:"nets" comment:"Networks (/16) that they are in; 0: each is in one of its own, as honest nodes are."`
	Lies   float64 `toml:"lies" comment:"Share of them that answers with junk, where the others say that they have nothing."`
}

// DHTFlood are nodes that fill everybody's DHT with records of their own.
type DHTFlood struct {
	Peers   int `toml:"peers" comment:"Nodes that put announcements, passports and provider records of their own at every public node, before records are looked up. Needs network.dht."`
	Nets    int `toml:"nets" comment:"Networks (/16) that they are in; 0: each is in one of its own."`
	Records int `toml:"records" comment:"Announcements, and as many passports, that each of them puts, with four provider records beside."`
	Bytes   int `toml:"bytes" comment:"What a public node's DHT holds of each of the three kinds, at most; 0: the program's own bounds."`
}

// Bounds of what happens to the DHT.
const (
	maxStanding    = 2000
	maxSybilsAtKey = 64
	maxDHTFloods   = 256
	maxFlood       = 5000
)

// dhtRules are those of the DHT; the processes engine plays none of it.
func (s *Scenario) dhtRules(within func(key string, v, least, most int) rule) []rule {
	r, y, f := s.Records, s.DHTSybils, s.DHTFlood
	needs := func(key string, used bool) rule {
		return rule{!used || s.Network.DHT, key, "there is no DHT", "set network.dht = true"}
	}
	return []rule{
		{!s.Network.DHT || s.Engine == Simulated, "network.dht", "real processes take part in the DHT anyway", "leave it out; network.ways without dht turns it off"},
		{!s.Network.DHT || len(s.Network.Ways) == 0 || slices.Contains(s.Network.Ways, "dht"), "network.dht", "network.ways leaves it out", "add dht there"},
		{!s.Network.DHT || s.Network.Public > 1, "network.dht", "one public node has nobody to ask", "set network.public to 2 or more"},
		within("records.passports", r.Passports, 0, maxStanding), within("records.announcements", r.Announcements, 0, maxStanding), within("records.each", r.Each, 1, 100),
		needs("records", r.Passports+r.Announcements > 0),
		within("dht_sybils.per_key", y.PerKey, 0, maxSybilsAtKey), within("dht_sybils.nets", y.Nets, 0, maxSybilsAtKey), needs("dht_sybils.per_key", y.PerKey > 0),
		{y.Lies >= 0 && y.Lies <= 1, "dht_sybils.lies", fmt.Sprintf("%v is no share", y.Lies), "a share is 0 to 1"},
		{y.PerKey == 0 || r.Passports+r.Announcements > 0, "dht_sybils.per_key", "there are no keys to sit at", "set records.passports or records.announcements"},
		within("dht_flood.peers", f.Peers, 0, maxDHTFloods), within("dht_flood.nets", f.Nets, 0, maxFlooders), needs("dht_flood.peers", f.Peers > 0),
		within("dht_flood.records", f.Records, 1, maxFlood), within("dht_flood.bytes", f.Bytes, 0, 1<<30),
	}
}
