package integration

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/desk"
)

// idleTime is how long a node is left alone before its memory is looked at.
const idleTime = 60 * time.Second

// BenchmarkIdlePublicNode starts a public node whose key needs a passphrase, opens it,
// leaves it alone for a minute, and reports the memory that it then keeps, VmRSS in
// MB-rss, and the time from the start of its process to its first answer in ms-ready:
// the median of some starts, with the node's own word for it in ms-ready-own. It knows
// two other public nodes.
func BenchmarkIdlePublicNode(b *testing.B) {
	if testing.Short() {
		b.Skip("it takes more than a minute")
	}
	if runtime.GOOS != "linux" {
		b.Skip("memory is read from /proc, which only Linux has")
	}
	g := youngNetwork()
	_, addrs := publicNodes(b, g, 2)
	passphrase := []byte("idle as a lizard in the sun")
	p := newProcess(b, "idle", node.InitOptions{Profile: node.Public, Network: g, Bootstrap: addrs, Passphrase: passphrase})
	var ready, own []float64
	for range 5 {
		if code, err := p.stop(); err != nil || code != 0 {
			b.Fatalf("exit code %d: %v", code, err)
		}
		began := time.Now()
		startAll(b, p)
		ready = append(ready, float64(time.Since(began).Milliseconds()))
		err := p.ask(b.Context(), func(ctx context.Context, h desk.House) error {
			s, err := h.Admin().Status(ctx)
			own = append(own, float64(s.ReadyMS))
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	err := p.ask(b.Context(), func(ctx context.Context, h desk.House) error { return h.Admin().Unlock(ctx, passphrase) })
	if err != nil {
		b.Fatal(err)
	}
	acquainted(b, []*process{p}, 2)
	rss := 0.0
	for b.Loop() {
		time.Sleep(idleTime)
		if rss, err = memory(p); err != nil {
			b.Fatal(err)
		}
	}
	slices.Sort(ready)
	slices.Sort(own)
	b.ReportMetric(rss, "MB-rss")
	b.ReportMetric(ready[len(ready)/2], "ms-ready")
	b.ReportMetric(own[len(own)/2], "ms-ready-own")
	b.ReportMetric(0, "ns/op") // it would be the minute
}

// memory reads VmRSS of a process, in MB of 1,000,000 bytes; see proc(5).
func memory(p *process) (float64, error) {
	cmd, _, _ := p.running()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		var kib int
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kib); err == nil {
			return float64(kib) * 1024 / 1e6, nil
		}
	}
	return 0, fmt.Errorf("no VmRSS of process %d", cmd.Process.Pid)
}
