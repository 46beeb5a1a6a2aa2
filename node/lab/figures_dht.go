package lab

// DHTUse is what a node's part in the DHT is like now.
type DHTUse struct {
	Nodes int `json:"nodes"`       // in its routing table
	Conns int `json:"connections"` // of the node, with anybody
	Held  int `json:"held_bytes"`  // for others
	Most  int `json:"most_bytes"`  // that it may hold
}

// What is looked up, and how.
const (
	Passport     = "passport"
	Announcement = "announcement"
	ByDHT        = "dht"  // by the DHT alone
	ByAll        = "node" // as nodes do: on the board, with public nodes of every way in, and in the DHT
)

// A Lookup is one of a record that was put before the load.
type Lookup struct {
	Of     string `json:"of"`     // passport, announcement
	Number int    `json:"number"` // of the record, from 1
	By     string `json:"by"`     // dht, node
	Found  bool   `json:"found"`
	TookMS int64  `json:"took_ms"`
}

// DHTFlooded is what came of a flood of everybody's DHT.
type DHTFlooded struct {
	Taken   int `json:"taken"` // records
	Refused int `json:"refused"`
	Said    int `json:"said"`          // provider records, which get no answer
	Held    int `json:"held_bytes"`    // the most that one node held at any time, of all three kinds
	Most    int `json:"most_bytes"`    // and its bound
	Before  int `json:"copies_before"` // of the records that stood in the DHT, at all nodes
	After   int `json:"copies_after"`
}

// DHTFigures are those of the DHT. A figure of which nothing is known is absent.
type DHTFigures struct {
	TableNodes *float64 `json:"dht_nodes,omitempty"`   // in the routing table of a public node at the end, mean
	Conns      *float64 `json:"connections,omitempty"` // of a public node then
	HeldBytes  *float64 `json:"dht_bytes,omitempty"`   // that its DHT held for others then

	PassportsAlone *float64 `json:"dht_passports_alone,omitempty"` // share of lookups that find it by the DHT alone
	PassportsFound *float64 `json:"dht_passports_found,omitempty"` // and as nodes look
	NeedsAlone     *float64 `json:"dht_needs_alone,omitempty"`
	NeedsFound     *float64 `json:"dht_needs_found,omitempty"`
	LookupMS       *float64 `json:"dht_lookup_ms,omitempty"` // of those that the DHT alone finds, mean

	FloodTaken *float64 `json:"dht_flood_taken,omitempty"` // records of the flood that nodes took
	FloodLeft  *float64 `json:"dht_flood_left,omitempty"`  // share of the copies of honest records that stand after it
	FloodFill  *float64 `json:"dht_flood_fill,omitempty"`  // the most that a node's DHT held during the flood, as a share of its bound
}

// dht works them out.
func (f *Figures) dht(t *tables) {
	var nodes, conns, held []float64
	for _, n := range t.public {
		var last Record
		for _, u := range t.usage[n.Node] {
			if u.MS >= last.MS {
				last = u
			}
		}
		if n.Role == Honest && last.DHT != nil {
			nodes, conns, held = append(nodes, float64(last.DHT.Nodes)), append(conns, float64(last.DHT.Conns)), append(held, float64(last.DHT.Held))
		}
	}
	f.TableNodes, f.Conns, f.HeldBytes = mean(nodes), mean(conns), mean(held)
	count := map[[2]string][2]int{}
	var took []float64
	for _, r := range t.lookups {
		l := r.Lookup
		if l == nil {
			continue
		}
		c := count[[2]string{l.Of, l.By}]
		if c[1]++; l.Found {
			c[0]++
			if l.By == ByDHT {
				took = append(took, float64(l.TookMS))
			}
		}
		count[[2]string{l.Of, l.By}] = c
	}
	of := func(what, by string) *float64 { c := count[[2]string{what, by}]; return share(c[0], c[1]) }
	f.PassportsAlone, f.PassportsFound = of(Passport, ByDHT), of(Passport, ByAll)
	f.NeedsAlone, f.NeedsFound = of(Announcement, ByDHT), of(Announcement, ByAll)
	f.LookupMS = mean(took)
	for _, r := range t.dhtFloods {
		taken := float64(r.Flood.Taken)
		f.FloodTaken, f.FloodFill, f.FloodLeft = &taken, share(r.Flood.Held, r.Flood.Most), share(r.Flood.After, r.Flood.Before)
	}
}

// dhtMeasures are those of the DHT, in the order in which they are shown.
func dhtMeasures() []Measure {
	return []Measure{
		{"connections", "Connections of a public node", "count", false, func(f *Figures) *float64 { return f.Conns }},
		{"dht_nodes", "Nodes in the DHT table of a public node", "count", false, func(f *Figures) *float64 { return f.TableNodes }},
		{"dht_bytes", "Bytes that the DHT of a public node holds for others", "bytes", false, func(f *Figures) *float64 { return f.HeldBytes }},
		{"dht_passports_alone", "Passport lookups that find it by the DHT alone", "share", false, func(f *Figures) *float64 { return f.PassportsAlone }},
		{"dht_passports_found", "Passport lookups that find it by all ways", "share", false, func(f *Figures) *float64 { return f.PassportsFound }},
		{"dht_needs_alone", "Need lookups that find it by the DHT alone", "share", false, func(f *Figures) *float64 { return f.NeedsAlone }},
		{"dht_needs_found", "Need lookups that find it by all ways", "share", false, func(f *Figures) *float64 { return f.NeedsFound }},
		{"dht_lookup_ms", "DHT lookup that finds something", "ms", false, func(f *Figures) *float64 { return f.LookupMS }},
		{"dht_flood_taken", "Records of the flood that nodes took", "count", false, func(f *Figures) *float64 { return f.FloodTaken }},
		{"dht_flood_left", "Copies of honest records that stand after the flood", "share", false, func(f *Figures) *float64 { return f.FloodLeft }},
		{"dht_flood_fill", "Fullest DHT of a node during the flood, of its bound", "share", false, func(f *Figures) *float64 { return f.FloodFill }},
	}
}
