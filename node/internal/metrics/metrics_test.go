package metrics_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/harkmarket/hark/node/internal/metrics"
)

// scrape asks a handler over read once.
func scrape(t *testing.T, read func(context.Context) ([]metrics.Sample, error)) (int, string) {
	t.Helper()
	h, err := metrics.Handler(read, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	return w.Code, w.Body.String()
}

func TestSamplesAreSpelledForPrometheus(t *testing.T) {
	code, text := scrape(t, func(context.Context) ([]metrics.Sample, error) {
		return []metrics.Sample{
			metrics.Gauge("store_bytes", "Bytes on disk.", 5),
			metrics.Counter("gossip_messages_total", "Messages heard.", 7, metrics.Label{Name: "outcome", Value: `odd "one"`}),
			metrics.Counter("gossip_messages_total", "Messages heard.", 8, metrics.Label{Name: "outcome", Value: "kept"}),
		}, nil
	})
	if code != 200 {
		t.Fatalf("%d\n%s", code, text)
	}
	for _, line := range []string{
		"# TYPE hark_store_bytes gauge", "hark_store_bytes 5", "# TYPE hark_gossip_messages_total counter",
		`hark_gossip_messages_total{outcome="odd \"one\""} 7`, `hark_gossip_messages_total{outcome="kept"} 8`, "go_goroutines ",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("%q is missing from\n%s", line, text)
		}
	}
}

func TestWhatCannotBeReadIsNoHalfAnswer(t *testing.T) {
	for name, read := range map[string]func(context.Context) ([]metrics.Sample, error){
		"an error": func(context.Context) ([]metrics.Sample, error) { return nil, errors.New("the store is gone") },
		"the same twice": func(context.Context) ([]metrics.Sample, error) {
			return []metrics.Sample{metrics.Gauge("a", "h", 1), metrics.Gauge("a", "h", 2)}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			if code, text := scrape(t, read); code != 500 {
				t.Errorf("%d\n%s", code, text)
			}
		})
	}
}

func TestCountsOfSeveralGoroutines(t *testing.T) {
	var c metrics.Counts[string]
	if len(c.All()) != 0 {
		t.Error("something was counted before anything happened")
	}
	done := make(chan struct{})
	for range 8 {
		go func() {
			for range 100 {
				c.Add("a")
			}
			done <- struct{}{}
		}()
	}
	for range 8 {
		<-done
	}
	seen := c.All()
	c.Add("a")
	if seen["a"] != 800 || c.All()["a"] != 801 {
		t.Errorf("%v, then %v", seen, c.All())
	}
}
