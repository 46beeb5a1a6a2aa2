package stage

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/harkmarket/hark/node/lab/play"
)

// lookEvery is how often logs are read; what they say carries its own time.
const lookEvery = 200 * time.Millisecond

// maxRead bounds what is read of one log at a time.
const maxRead = 4 << 20

// A tail reads a log as it grows.
type tail struct {
	file, node string
	mu         sync.Mutex
	at         int64
	saw        play.Saw
}

// next reads the whole lines that have come since. A log that can't be read now is
// read the next time.
func (t *tail) next() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.saw == nil {
		return
	}
	f, err := os.Open(t.file)
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }() // it was only read
	if _, err := f.Seek(t.at, io.SeekStart); err != nil {
		return
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxRead))
	if err != nil {
		return
	}
	raw = raw[:bytes.LastIndexByte(raw, '\n')+1]
	t.at += int64(len(raw))
	for line := range strings.Lines(string(raw)) {
		if at, rec, ok := play.ReadLine(t.node, strings.TrimSuffix(line, "\n")); ok {
			t.saw(at, rec)
		}
	}
}

// listen reads all logs until the stage closes.
func (st *Stage) listen(saw play.Saw) {
	for _, a := range st.nodes {
		a.read.mu.Lock()
		a.read.saw = saw
		a.read.mu.Unlock()
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-st.closing:
			return
		case <-tick.C:
			st.Flush()
		}
	}
}

// Flush implements play.Stage.
func (st *Stage) Flush() {
	for _, a := range st.nodes {
		a.read.next()
	}
}

// Usage implements play.Stage: bytes are those of announcements in gossip and in
// posts, sent and received; what the operating system counts for the process is its own.
func (st *Stage) Usage(ctx context.Context, i int) (u play.Usage, known bool, err error) {
	if i < 0 {
		return u, false, nil // each process tells for itself
	}
	a := st.nodes[i]
	a.mu.Lock()
	api, up := a.p.API, a.up
	a.mu.Unlock()
	if !up {
		return u, false, nil
	}
	raw, err := api.Metrics(ctx)
	if err != nil {
		return u, false, err
	}
	m := samples(raw)
	return play.Usage{
		Sent:     uint64(m[`hark_gossip_message_bytes_total{direction="sent"}`] + m[`hark_post_bytes_total{direction="passed"}`]),
		Received: uint64(m[`hark_gossip_message_bytes_total{direction="received"}`] + m[`hark_post_bytes_total{direction="received"}`]),
		RPCs:     int64(m[`hark_gossip_rpcs_total{direction="sent"}`] + m[`hark_gossip_rpcs_total{direction="received"}`]),
		Judged:   int64(m[`hark_gossip_messages_total{outcome="kept"}`] + m[`hark_gossip_messages_total{outcome="ignored"}`]),
		CPU:      time.Duration(m["process_cpu_seconds_total"] * float64(time.Second)),
		RSS:      int64(m["process_resident_memory_bytes"]),
	}, true, nil
}

// samples reads Prometheus's text format.
func samples(raw []byte) map[string]float64 {
	out := map[string]float64{}
	s := bufio.NewScanner(bytes.NewReader(raw))
	for s.Scan() {
		name, value, ok := strings.Cut(s.Text(), "} ")
		if ok {
			name += "}"
		} else {
			name, value, ok = strings.Cut(s.Text(), " ")
		}
		if v, err := strconv.ParseFloat(value, 64); ok && err == nil {
			out[name] = v
		}
	}
	return out
}
