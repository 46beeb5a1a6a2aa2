package lab

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"

	"github.com/harkmarket/hark/protocol/fault"
)

// Kinds of records. Each kind has a file of its own in a result folder.
const (
	KindNode   = "node"         // a player; before everything else
	KindLife   = "life"         // a node came up, or went down
	KindSaid   = "announcement" // a customer announced, or withdrew
	KindHeard  = "heard"        // a public node kept an announcement that was new to it
	KindUsage  = "usage"        // what a node has used since it came up
	KindAgain  = "again"        // gossip brought a public node an announcement that it had by pull
	KindSpied  = "spied"        // what a spy saw: an announcement that it heard, or an operation that somebody asked it for
	KindLookup = "lookup"       // a node looked a record up in the end
	KindMark   = "mark"         // something happened to all: start, split, join, end

	KindLetter  = "letter"  // a ledger's entry of a letter that was sent, or kept
	KindNamed   = "named"   // at the end, a node's status names a keeper
	KindHeld    = "held"    // at the end, the keepers of a need that lives
	KindFlood   = "flood"   // what became of a flood of requests to a need, at one of its keepers
	KindHostile = "hostile" // what attackers did, or came to
)

// Kinds are all kinds.
func Kinds() []string {
	return []string{KindNode, KindLife, KindSaid, KindHeard, KindAgain, KindUsage, KindSpied, KindLookup, KindMark, KindLetter, KindNamed, KindHeld, KindFlood, KindHostile}
}

// Ways by which a node hears of an announcement.
const (
	ByPost   = "post"   // its author, or somebody on her behalf, left it there
	ByGossip = "gossip" // a peer in a mesh passed it on
	ByPull   = "pull"   // it asked another node what it had
)

// RawSchema names the form of raw data: files of Records, one JSON object a line. It
// stands in the first line of each.
const RawSchema = "hark.lab-raw/1"

// A Record is one thing that an engine saw. Which keys there are depends on its kind.
//
//house:allow fields one flat object for each line is what tables are read from
type Record struct {
	Kind string `json:"kind"`
	MS   int64  `json:"ms"` // since the load began, on one clock for all
	Node string `json:"node,omitempty"`

	Public bool   `json:"public,omitempty"`  // node
	Role   string `json:"role,omitempty"`    // node: honest, sybil, spy, liar
	Side   int    `json:"side,omitempty"`    // node: of a partition
	SkewMS int64  `json:"skew_ms,omitempty"` // node: how wrong its clock is
	Late   bool   `json:"late,omitempty"`    // node: it comes when the market is under way
	Victim bool   `json:"victim,omitempty"`  // node: censors surround it

	What   string   `json:"what,omitempty"`   // life: up, down; announcement: announced, withdrawn, failed; mark: start, split, join, end; spied: empty by gossip, else the operation; letter: its kind; named: the code; flood: identities, vouched
	Shards []uint16 `json:"shards,omitempty"` // life: the topics that it follows
	Life   int      `json:"life,omitempty"`   // life, usage: which one, from 1

	Need     int    `json:"need,omitempty"`     // announcement: its number in the plan
	Category string `json:"category,omitempty"` // announcement
	Context  string `json:"context,omitempty"`  // announcement, heard, again, spied
	Seq      uint64 `json:"seq,omitempty"`      // announcement, heard, again
	Shard    uint16 `json:"shard,omitempty"`    // announcement, heard
	TookMS   int64  `json:"took_ms,omitempty"`  // announcement: until the author's node had it in hand
	Error    string `json:"error,omitempty"`    // announcement: why it failed

	Way   string `json:"way,omitempty"`   // heard
	Bytes int    `json:"bytes,omitempty"` // heard: of the announcement
	From  string `json:"from,omitempty"`  // spied: who told; named: which keeper

	Keepers []string `json:"keepers,omitempty"` // announcement, held: of the need
	Names   []string `json:"names,omitempty"`   // spied: what it names: bytes, mailboxes
	Next    string   `json:"next,omitempty"`    // spied: to whom it is to be handed on
	Grant   string   `json:"grant,omitempty"`   // letter: of which it is
	Came    [3]int   `json:"came,omitzero"`     // flood: requests that came, were refused at once, and are kept

	Sent     uint64 `json:"sent_bytes,omitempty"`     // usage; what "start" says is not counted
	Received uint64 `json:"received_bytes,omitempty"` // usage
	Packets  uint64 `json:"packets,omitempty"`        // usage: sent and received
	RPCs     int64  `json:"rpcs,omitempty"`           // usage: of gossip, sent and received
	Judged   int64  `json:"judged,omitempty"`         // usage: announcements that its router judged and let pass, or ignored
	Links    [2]int `json:"links,omitzero"`           // usage, where there are Sybils: connections now, with honest nodes and with them
	Mesh     [2]int `json:"mesh,omitzero"`            // likewise: places in its meshes
	CPUMS    int64  `json:"cpu_ms,omitempty"`         // usage
	RSS      int64  `json:"rss_bytes,omitempty"`      // usage

	DHT      *DHTUse     `json:"dht,omitempty"`          // usage, where simulated nodes have one
	Lookup   *Lookup     `json:"lookup,omitempty"`       // lookup
	Flood    *DHTFlooded `json:"flood,omitempty"`        // mark: dht flood
	Attempts int64       `json:"attempts,omitempty"`     // hostile: of calm, invalid announcements sent; of relieved, streams begun
	Looked   int64       `json:"looked_at,omitempty"`    // hostile: of calm, how many of them were; of relieved, streams open at once (Links: connections and streams of the node, Judged: of the crowd let in)
	LastMS   int64       `json:"last_ms,omitempty"`      // hostile: of calm, the last was looked at so long after the flood began; of places, the longest stay
	TheirCPU int64       `json:"their_cpu_ms,omitempty"` // hostile: of calm, that of the flooding peers
}

// MarshalJSON writes topic 0 where a topic is meant, and none elsewhere.
func (r Record) MarshalJSON() ([]byte, error) {
	type bare Record
	if r.Kind != KindSaid && r.Kind != KindHeard {
		return json.Marshal(bare(r))
	}
	return json.Marshal(struct {
		bare
		Shard uint16 `json:"shard"`
	}{bare(r), r.Shard})
}

// A Sink takes records. It may be called from several goroutines.
type Sink func(Record)

// A Head is the first line of a file of raw data.
type Head struct {
	Schema string `json:"schema"`
	Kind   string `json:"kind"`
	Seed   uint64 `json:"seed"`
}

// maxLine and maxRecords bound what is read back.
const (
	maxLine    = 64 << 10
	maxRecords = 50_000_000
)

// ReadRecords calls fn with each record of one file of raw data.
func ReadRecords(r io.Reader, fn func(Record)) (h Head, err error) {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 4096), maxLine)
	for n := 1; s.Scan(); n++ {
		if n == 1 {
			if err := json.Unmarshal(s.Bytes(), &h); err != nil || h.Schema != RawSchema {
				return h, fmt.Errorf("line 1: the raw data is not of schema %s: %w", RawSchema, fault.Unsupported)
			}
			continue
		}
		if n > maxRecords {
			return h, fmt.Errorf("more than %d records: %w", maxRecords, fault.Full)
		}
		var rec Record
		if err := json.Unmarshal(s.Bytes(), &rec); err != nil {
			return h, fmt.Errorf("line %d: %v: %w", n, err, fault.Malformed)
		}
		fn(rec)
	}
	if err := s.Err(); err != nil {
		return h, fmt.Errorf("raw data: %v: %w", err, fault.Malformed)
	}
	if h.Schema == "" {
		return h, fmt.Errorf("the file is empty, not even a first line of schema %s: %w", RawSchema, fault.Malformed)
	}
	return h, nil
}
