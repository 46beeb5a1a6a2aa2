package hostile

// An Order is a flood that an engine has its flooding peers do: a JSON object, in a line
// on the standard input of the program that has these.
type Order struct {
	Targets []Target `json:"targets"`
	Count   int      `json:"count"` // peers, each of which floods one of the targets
	Rate    int      `json:"rate"`
	ForMS   int64    `json:"for_ms"`
	Round   int      `json:"round"` // no two alike
	Shared  bool     `json:"shared,omitempty"`
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
	Sent  int64  `json:"sent"`
	CPUMS int64  `json:"cpu_ms"` // of all flooding peers, since they were connected
	Error string `json:"error,omitempty"`
}

// Bounds of an order.
const (
	MaxTargets = 64
	maxForMS   = 60_000
)

// Check refuses an order that is none.
func (o *Order) Check() bool {
	return len(o.Targets) > 0 && len(o.Targets) <= MaxTargets && o.Count > 0 && o.Count <= maxFlooding && o.Rate > 0 && o.Rate <= maxRate &&
		o.ForMS > 0 && o.ForMS <= maxForMS && o.Round >= 0
}
