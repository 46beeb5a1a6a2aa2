package node

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/harkmarket/hark/protocol/check"
)

// scrape asks a running node for its metrics with the token that is given.
func scrape(t *testing.T, n *Node, token string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.URL()+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestMetricsShowWhatTheNodeCounts(t *testing.T) {
	p, err := DefaultPaths(filepath.Join(t.TempDir(), "home"))
	if err != nil {
		t.Fatal(err)
	}
	if err := Init(InitOptions{Paths: p, Profile: Public, Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"}}); err != nil {
		t.Fatal(err)
	}
	n := opened(t, Config{Paths: p, Version: "1.2.3"})
	token, err := os.ReadFile(p.Token())
	if err != nil {
		t.Fatal(err)
	}
	if code, _ := scrape(t, n, "wrong"); code != http.StatusUnauthorized {
		t.Errorf("without the token: %d", code)
	}
	for range 3 {
		if v, _, err := n.keeper.Admit(context.Background(), []byte("junk"), -1, "192.0.2.0/24"); v != check.Blame || err != nil {
			t.Fatal(v, err)
		}
	}
	code, text := scrape(t, n, string(token))
	if code != http.StatusOK {
		t.Fatalf("%d\n%s", code, text)
	}
	for _, want := range []string{
		`hark_build_info{network="` + n.net.String() + `",profile="public",version="1.2.3"} 1`, "hark_start_time_seconds ", "hark_ready_seconds ",
		"hark_locked 0", "hark_public_nodes 0", "hark_store_bytes ", `hark_bound_used{bound="mailbox.letters"} 0`,
		`hark_bound_limit{bound="mailbox.letters"} `, `hark_problems{code="no-peers"} 1`, `hark_keeper_faults{what="altered"} 0`, `hark_keeper_faults{what="replayed"} 0`,
		`hark_announcements_judged_total{reason="encoding",verdict="blame"} 3`, `hark_gossip_messages_total{outcome="kept"} 0`,
		`hark_gossip_message_bytes_total{direction="sent"} 0`, `hark_post_bytes_total{direction="passed"} 0`,
		`hark_letters{state="queued"} 0`, `hark_letters{state="acked"} 0`, `hark_letters{state="expired"} 0`, `hark_gossip_mesh_peers{shard="`, "process_cpu_seconds_total ", "go_goroutines ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing from\n%s", want, text)
		}
	}
	if strings.Contains(text, n.port.Self().Key.String()) {
		t.Error("metrics name a key")
	}
}
