package hostile

// An Order is a flood, or a siege, that an engine has its attackers do: a JSON object, in
// a line on the standard input of the program that has these.
type Order struct {
	Targets []Target `json:"targets"`
	Count   int      `json:"count"` // peers, each of which floods one of the targets
	Rate    int      `json:"rate"`
	ForMS   int64    `json:"for_ms"`
	Round   int      `json:"round"` // no two alike
	Shared  bool     `json:"shared,omitempty"`

	Streams   int      `json:"streams,omitempty"` // a siege: of each peer in each protocol
	Crowd     int      `json:"crowd,omitempty"`   // a siege: connections of one address more
	Protocols []string `json:"protocols,omitempty"`
}

// A Target is a public node to be flooded: its address, and a topic that it is on.
type Target struct {
	Addr  string `json:"addr"`
	Topic string `json:"topic"`
}

// A Done is what came of an Order, in a line on the standard output. It comes twice: with
// Begun when all peers are connected, and when the flood is over.
type Done struct {
	Begun bool   `json:"begun,omitempty"`
	Sent  int64  `json:"sent"`             // announcements, or streams begun
	Most  int64  `json:"most,omitempty"`   // streams that were open at once
	LetIn int64  `json:"let_in,omitempty"` // of the crowd
	CPUMS int64  `json:"cpu_ms"`           // of all flooding peers, since they were connected
	Error string `json:"error,omitempty"`
}

// Bounds of an order.
const (
	MaxTargets   = 64
	maxForMS     = 60_000
	maxProtocols = 16
)

// Check refuses an order that is none.
func (o *Order) Check() bool {
	if len(o.Targets) == 0 || len(o.Targets) > MaxTargets || o.ForMS <= 0 || o.ForMS > maxForMS || o.Round < 0 {
		return false
	}
	if o.Siege() {
		return o.Count >= 0 && o.Count <= maxHosts && o.Streams > 0 && o.Streams <= maxStreams && o.Crowd >= 0 && o.Crowd <= maxCrowd && len(o.Protocols) <= maxProtocols
	}
	return o.Count > 0 && o.Count <= maxFlooding && o.Rate > 0 && o.Rate <= maxRate
}

// Siege tells a siege from a flood.
func (o *Order) Siege() bool { return len(o.Protocols) > 0 }
