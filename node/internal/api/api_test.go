package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/harkmarket/hark/node/client"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/api"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/answers"
	"github.com/harkmarket/hark/store/kv"
)

const token = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs a server over a fake house.
func serve(t *testing.T) (*fake, string) {
	t.Helper()
	f := &fake{}
	return f, serveHouse(t, f)
}

func serveHouse(t *testing.T, h desk.House) string {
	t.Helper()
	return serveKept(t, h, answers.Open(kv.Memory(), answers.Limits{}))
}

// serveKept serves a house whose answers are kept.
func serveKept(t *testing.T, h desk.House, kept api.Answers) string {
	t.Helper()
	s, err := api.New(h, api.Options{Token: token, Version: "1.2.3", Answers: kept})
	if err != nil {
		t.Fatal(err)
	}
	url, err := s.Listen()
	if err != nil {
		t.Fatal(err)
	}
	c, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(c) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return url
}

// An ask is one request, and what to change about it.
type ask struct {
	verb, path, body string
	change           func(*http.Request)
}

func (a ask) do(t *testing.T, url string) (got, string) {
	t.Helper()
	r, err := http.NewRequest(a.verb, url+a.path, strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	if a.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if a.change != nil {
		a.change(r)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return got{resp.StatusCode, resp.Status, resp.Header}, string(body)
}

// got is what a test looks at of an answer, besides its body.
type got struct {
	StatusCode int
	Status     string
	Header     http.Header
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func TestTheDoorRefuses(t *testing.T) {
	f, url := serve(t)
	port := url[strings.LastIndex(url, ":"):]
	host := func(h string) func(*http.Request) { return func(r *http.Request) { r.Host = h } }
	need := `{"name":"desk"}`
	for name, c := range map[string]struct {
		ask
		status int
		code   string
	}{
		"another host":        {ask{"GET", "/api/v1/status", "", host("evil.example")}, 421, "wrong-host"},
		"another host, port":  {ask{"GET", "/api/v1/status", "", host("evil.example" + port)}, 421, "wrong-host"},
		"host without port":   {ask{"GET", "/api/v1/status", "", host("127.0.0.1")}, 421, "wrong-host"},
		"host with a dot":     {ask{"GET", "/api/v1/status", "", host("localhost." + port)}, 421, "wrong-host"},
		"health, wrong host":  {ask{"GET", "/healthz", "", host("evil.example")}, 421, "wrong-host"},
		"no token":            {ask{"GET", "/api/v1/status", "", func(r *http.Request) { r.Header.Del("Authorization") }}, 401, "unauthorised"},
		"wrong token":         {ask{"GET", "/api/v1/status", "", header("Authorization", "Bearer "+token[1:]+"H")}, 401, "unauthorised"},
		"half a token":        {ask{"GET", "/api/v1/status", "", header("Authorization", "Bearer "+token[:20])}, 401, "unauthorised"},
		"token in the query":  {ask{"GET", "/api/v1/status?token=" + token, "", func(r *http.Request) { r.Header.Del("Authorization") }}, 401, "unauthorised"},
		"basic":               {ask{"GET", "/api/v1/status", "", header("Authorization", "Basic "+token)}, 401, "unauthorised"},
		"openapi, no token":   {ask{"GET", "/api/v1/openapi.json", "", func(r *http.Request) { r.Header.Del("Authorization") }}, 401, "unauthorised"},
		"other site":          {ask{"POST", "/api/v1/needs", need, header("Sec-Fetch-Site", "cross-site")}, 403, "cross-origin"},
		"other origin":        {ask{"POST", "/api/v1/needs", need, header("Origin", "https://evil.example")}, 403, "cross-origin"},
		"other port":          {ask{"POST", "/api/v1/needs", need, header("Origin", "http://127.0.0.1:1")}, 403, "cross-origin"},
		"preflight":           {ask{"OPTIONS", "/api/v1/needs", "", header("Access-Control-Request-Method", "POST")}, 405, "no-cors"},
		"unknown path":        {ask{"GET", "/api/v1/nothing", "", nil}, 404, "no-such-path"},
		"unknown method":      {ask{"DELETE", "/api/v1/needs", "", nil}, 405, "method"},
		"unknown field":       {ask{"POST", "/api/v1/needs", `{"name":"desk","colour":"red"}`, nil}, 422, "malformed"},
		"missing field":       {ask{"POST", "/api/v1/needs", `{}`, nil}, 422, "malformed"},
		"wrong type":          {ask{"POST", "/api/v1/needs", `{"name":7}`, nil}, 422, "malformed"},
		"no JSON":             {ask{"POST", "/api/v1/needs", `{"name"`, nil}, 400, "malformed"},
		"form":                {ask{"POST", "/api/v1/needs", "name=desk", header("Content-Type", "application/x-www-form-urlencoded")}, 415, ""},
		"no body":             {ask{"POST", "/api/v1/needs", "", nil}, 400, "malformed"},
		"too large":           {ask{"POST", "/api/v1/needs", `{"name":"` + strings.Repeat("x", 2<<20) + `"}`, nil}, 413, ""},
		"too large, keyed":    {ask{"POST", "/api/v1/needs", `{"name":"` + strings.Repeat("x", 2<<20) + `"}`, header("Idempotency-Key", "k")}, 413, "too-large"},
		"key too long":        {ask{"POST", "/api/v1/needs", need, header("Idempotency-Key", strings.Repeat("k", 129))}, 400, "malformed"},
		"unknown parameter":   {ask{"GET", "/api/v1/needs?limt=3", "", nil}, 422, "malformed"},
		"limit too high":      {ask{"GET", "/api/v1/needs?limit=501", "", nil}, 422, "malformed"},
		"limit too low":       {ask{"GET", "/api/v1/needs?limit=0", "", nil}, 422, "malformed"},
		"unknown step":        {ask{"POST", "/api/v1/deals/ab/steal", "{}", nil}, 404, "no-such-path"},
		"revoke nothing":      {ask{"POST", "/api/v1/grants/revoke", `{}`, nil}, 422, "malformed"},
		"empty chain":         {ask{"POST", "/api/v1/passports", `{"chain":[]}`, nil}, 422, "malformed"},
		"search for nothing":  {ask{"GET", "/api/v1/catalog/search", "", nil}, 422, "malformed"},
		"last event id: text": {ask{"GET", "/api/v1/events", "", header("Last-Event-ID", "x")}, 422, "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			resp, body := c.do(t, url)
			var p api.Failure
			if err := json.Unmarshal([]byte(body), &p); err != nil || resp.StatusCode != c.status || p.Status != c.status {
				t.Fatalf("%s: %v\n%s", resp.Status, err, body)
			}
			if ct := resp.Header.Get("Content-Type"); ct != "application/problem+json" {
				t.Errorf("content type %q", ct)
			}
			if c.code != "" && p.Code != c.code || p.Code == "" || p.Kind == "" || p.Detail == "" {
				t.Errorf("problem %+v, want code %q", p, c.code)
			}
			for h := range resp.Header {
				if strings.HasPrefix(h, "Access-Control-") {
					t.Errorf("a CORS header: %s", h)
				}
			}
			if resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("headers %v", resp.Header)
			}
		})
	}
	if calls := f.asked(); len(calls) > 0 {
		t.Errorf("something reached the house: %v", calls)
	}
}

func TestTheDoorOpens(t *testing.T) {
	f, url := serve(t)
	port := url[strings.LastIndex(url, ":"):]
	for _, c := range []ask{
		{"GET", "/api/v1/status", "", nil},
		{"GET", "/api/v1/status", "", func(r *http.Request) { r.Host = "localhost" + port }},
		{"GET", "/api/v1/status", "", func(r *http.Request) { r.Host = "[::1]" + port }},
		{"POST", "/api/v1/needs/preview", `{"name":"desk"}`, header("Origin", url)},
		{"POST", "/api/v1/needs/preview", `{"name":"desk"}`, header("Sec-Fetch-Site", "same-origin")},
		{"POST", "/api/v1/offers/ab/accept", "", nil},
		{"POST", "/api/v1/offers/ab/accept", `{"note":"thanks"}`, nil},
		{"GET", "/healthz", "", func(r *http.Request) { r.Header.Del("Authorization") }},
	} {
		if resp, body := c.do(t, url); resp.StatusCode != 200 {
			t.Errorf("%s %s: %s %s", c.verb, c.path, resp.Status, body)
		}
	}
	want := []string{"admin.Status[]", "admin.Status[]", "admin.Status[]"}
	if got := f.asked(); len(got) != 7 || !slices.Equal(got[:3], want) || got[5] != "offers.Accept[ab ]" || got[6] != "offers.Accept[ab thanks]" {
		t.Errorf("calls %q", got)
	}
}

func TestOnlyLoopback(t *testing.T) {
	for addr, want := range map[string]error{
		"0.0.0.0:0": fault.Unsupported, ":8080": fault.Unsupported, "192.168.1.2:80": fault.Unsupported, "[::]:80": fault.Unsupported,
		"example.org:80": fault.Unsupported, "127.0.0.1": fault.Malformed,
		"127.0.0.1:0": nil, "localhost:0": nil, "[::1]:0": nil, "127.0.0.53:0": nil, "": nil,
	} {
		if _, err := api.New(&fake{}, api.Options{Addr: addr, Token: token, Answers: answers.Open(kv.Memory(), answers.Limits{})}); !errors.Is(err, want) {
			t.Errorf("New at %q = %v, want %v", addr, err, want)
		}
	}
	if _, err := api.New(&fake{}, api.Options{Token: "short"}); !errors.Is(err, fault.Malformed) {
		t.Errorf("New with a short token = %v", err)
	}
}

// spec is what is looked at of the OpenAPI document.
type spec struct {
	OpenAPI string                          `json:"openapi"`
	Paths   map[string]map[string]operation `json:"paths"`
}

type operation struct {
	ID         string              `json:"operationId"`
	Summary    string              `json:"summary"`
	Tags       []string            `json:"tags"`
	Parameters []map[string]any    `json:"parameters"`
	Responses  map[string]struct{} `json:"responses"`
}

func readSpec(t *testing.T, url string) spec {
	t.Helper()
	resp, body := ask{"GET", "/api/v1/openapi.json", "", nil}.do(t, url)
	var s spec
	if err := json.Unmarshal([]byte(body), &s); err != nil || resp.Header.Get("Content-Type") != "application/openapi+json" {
		t.Fatal(err, resp.Header)
	}
	return s
}

func TestOperationsAreGolden(t *testing.T) {
	_, url := serve(t)
	s := readSpec(t, url)
	var lines []string
	for path, verbs := range s.Paths {
		for verb, o := range verbs {
			key := ""
			if slices.ContainsFunc(o.Parameters, func(p map[string]any) bool { return p["name"] == "Idempotency-Key" }) {
				key = " once"
			}
			if o.Summary == "" || len(o.Tags) != 1 {
				t.Errorf("%s has no summary or tag", o.ID)
			}
			lines = append(lines, fmt.Sprintf("%-20s %-6s %s%s\n", o.ID, strings.ToUpper(verb), path, key))
		}
	}
	slices.Sort(lines)
	got := strings.Join(lines, "")
	if *update {
		if err := os.WriteFile("testdata/operations.txt", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/operations.txt")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" || s.OpenAPI != "3.1.0" {
		t.Errorf("OpenAPI %s; operations changed (-want +got); run with -update if that is meant:\n%s", s.OpenAPI, d)
	}
}

// reading are the methods of a house that change nothing.
var reading = []string{"List", "Get", "History", "Rights", "Download", "Stranger", "Preview", "Verify", "Export", "Prove", "Evidence", "Search", "Own", "Peers", "Info", "Self", "Check", "Status", "Letters", "Events"}

func TestAGETChangesNothing(t *testing.T) {
	f, url := serve(t)
	for path, verbs := range readSpec(t, url).Paths {
		if _, ok := verbs["get"]; !ok || path == "/api/v1/events" {
			continue
		}
		path = strings.NewReplacer("{id}", "ab", "{name}", "ab", "{seq}", "7").Replace(path)
		if path == "/api/v1/catalog/search" {
			path += "?text=desk"
		}
		if resp, body := (ask{"GET", path, "", nil}).do(t, url); resp.StatusCode != 200 {
			t.Errorf("GET %s: %s %s", path, resp.Status, body)
		}
	}
	calls := f.asked()
	for _, call := range calls {
		name, _, _ := strings.Cut(call[strings.Index(call, ".")+1:], "[")
		if !slices.Contains(reading, name) {
			t.Errorf("a GET did %s", call)
		}
	}
	if len(calls) < 24 {
		t.Errorf("only %d reading operations were found", len(calls))
	}
}

func TestFaultsHaveStatusAndNextStep(t *testing.T) {
	f, url := serve(t)
	c := open(t, url)
	for kind, want := range map[fault.Kind]int{
		fault.Internal: 500, fault.Malformed: 422, fault.Expired: 410, fault.Denied: 403, fault.NotFound: 404, fault.Offline: 503,
		fault.Full: 429, fault.Unsupported: 501, fault.Conflict: 409, fault.Locked: 423,
	} {
		f.fail(fmt.Errorf("need ab: what happened: %w", kind))
		_, err := c.Customer().Needs().Get(t.Context(), "ab")
		e, ok := errors.AsType[*client.Error](err)
		if !ok || !errors.Is(err, kind) || e.Status != want || e.Next == "" || !strings.HasPrefix(e.Detail, "need ab: what happened") {
			t.Errorf("%v: %#v", kind, err)
		}
	}
	f.fail(fmt.Errorf("waiting: %w", context.DeadlineExceeded))
	if _, err := c.Ledger().Verify(t.Context()); err == nil || !strings.Contains(err.Error(), "waiting") {
		t.Errorf("a deadline: %v", err)
	} else if e, _ := errors.AsType[*client.Error](err); e == nil || e.Status != 504 || e.Code != "timeout" {
		t.Errorf("a deadline: %+v", e)
	}
}

func TestSecretsAreNotEchoed(t *testing.T) {
	_, url := serve(t)
	_, body := ask{"POST", "/api/v1/unlock", `{"passphrase":"hunter2","extra":"hunter2"}`, nil}.do(t, url)
	if strings.Contains(body, "hunter2") {
		t.Errorf("the answer repeats the passphrase: %s", body)
	}
	_, body = ask{"PUT", "/api/v1/vault/phone", `{"value":["hunter2"]}`, nil}.do(t, url)
	if strings.Contains(body, "hunter2") {
		t.Errorf("the answer repeats the value: %s", body)
	}
}

func TestVaultRevealsByNameOnly(t *testing.T) {
	_, url := serve(t)
	v := open(t, url).Customer().Vault()
	secret := filled[desk.Field]().Value
	list, err := v.List(t.Context())
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	for _, f := range list {
		if !f.Masked || f.Value == secret {
			t.Errorf("List reveals %+v", f)
		}
	}
	if f, err := v.Set(t.Context(), "phone", desk.Value("123")); err != nil || !f.Masked || f.Value == secret {
		t.Errorf("Set reveals %+v, %v", f, err)
	}
	for _, reveal := range []bool{false, true} {
		past, err := v.History(t.Context(), "phone", reveal)
		if err != nil || len(past) != 2 || strings.HasPrefix(past[0].Value, "text") != reveal {
			t.Errorf("History with reveal %t = %+v, %v", reveal, past, err)
		}
	}
	if f, err := v.Get(t.Context(), "phone"); err != nil || f.Value != secret {
		t.Errorf("Get = %+v, %v", f, err)
	}
}

// A changing house gives other desks once it is unlocked.
type changing struct {
	*fake
	unlocked *fake
	open     atomic.Bool
}

func (c *changing) Customer() desk.Customer {
	if c.open.Load() {
		return c.unlocked.Customer()
	}
	return c.fake.Customer()
}

func TestDesksAreAskedForAnew(t *testing.T) {
	h := &changing{fake: &fake{}, unlocked: &fake{}}
	url := serveHouse(t, h)
	v := open(t, url).Customer().Vault()
	h.fail(fault.Locked)
	if _, err := v.List(t.Context()); !errors.Is(err, fault.Locked) {
		t.Fatal(err)
	}
	h.open.Store(true)
	if _, err := v.List(t.Context()); err != nil {
		t.Errorf("after unlocking: %v", err)
	}
}

func TestARepeatedRequestHappensOnce(t *testing.T) {
	f, url := serve(t)
	need := ask{"POST", "/api/v1/needs", `{"name":"desk"}`, header("Idempotency-Key", "one")}
	var mu sync.Mutex
	bodies := map[string]int{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			resp, body := need.do(t, url)
			mu.Lock()
			defer mu.Unlock()
			bodies[fmt.Sprint(resp.StatusCode, body)]++
		})
	}
	wg.Wait()
	if len(bodies) != 1 || len(f.asked()) != 1 {
		t.Errorf("%d calls, answers %v", len(f.asked()), bodies)
	}
	other := need
	other.body = `{"name":"chair"}`
	if resp, body := other.do(t, url); resp.StatusCode != 409 || !strings.Contains(body, "key-used") {
		t.Errorf("another request with the key: %s %s", resp.Status, body)
	}
	if resp, _ := need.do(t, url); resp.Header.Get("Idempotency-Replayed") != "true" || resp.StatusCode != 201 {
		t.Errorf("a repetition is not marked: %v", resp.Header)
	}
	plain := ask{"POST", "/api/v1/needs", `{"name":"desk"}`, nil}
	plain.do(t, url)
	plain.do(t, url)
	if n := len(f.asked()); n != 3 {
		t.Errorf("%d calls, want 3", n)
	}
}

func TestAFailedRequestMayBeRepeated(t *testing.T) {
	f, url := serve(t)
	need := ask{"POST", "/api/v1/needs", `{"name":"desk"}`, header("Idempotency-Key", "one")}
	f.fail(fault.Locked)
	if resp, _ := need.do(t, url); resp.StatusCode != http.StatusLocked {
		t.Fatal(resp.Status)
	}
	f.fail(nil)
	if resp, body := need.do(t, url); resp.StatusCode != 201 || len(f.asked()) != 1 {
		t.Errorf("after unlocking: %s %s", resp.Status, body)
	}
}

func TestSoManyAtOnce(t *testing.T) {
	f, url := serve(t)
	f.hold = make(chan struct{})
	var wg sync.WaitGroup
	for range 160 { // the probes below take places too, now and then
		wg.Go(func() { ask{"GET", "/api/v1/status", "", nil}.do(t, url) })
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		resp, _ := ask{"GET", "/api/v1/network", "", nil}.do(t, url)
		if resp.StatusCode == 429 && resp.Header.Get("Retry-After") != "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("never full")
		}
	}
	close(f.hold)
	wg.Wait()
	if resp, _ := (ask{"GET", "/api/v1/network", "", nil}).do(t, url); resp.StatusCode != 200 {
		t.Errorf("after the flood: %s", resp.Status)
	}
}

func TestSlowHeadersAreCutOff(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the deadline")
	}
	_, url := serve(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET /healthz HTTP/1.1\r\nHost:")); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the server still waits for the header")
	}
}

func TestExportNeverLooksWholeWhenItIsNot(t *testing.T) {
	f, url := serve(t)
	l := open(t, url).Ledger()
	var b bytes.Buffer
	if err := l.Export(t.Context(), desk.ExportSpec{}, &b); err != nil || b.Len() != 50000 {
		t.Errorf("export of %d bytes: %v", b.Len(), err)
	}
	f.fail(fault.Locked)
	if err := l.Export(t.Context(), desk.ExportSpec{}, io.Discard); !errors.Is(err, fault.Locked) {
		t.Errorf("locked: %v", err)
	}
	f.fail(errors.New("in the middle"))
	if err := l.Export(t.Context(), desk.ExportSpec{}, io.Discard); err == nil {
		t.Error("half an export passed for a whole one")
	}
}

func TestEventsResume(t *testing.T) {
	f, url := serve(t)
	for i := range uint64(5) {
		e := filled[desk.Event]()
		e.ID, e.Kind = i+3, "offer.opened"
		f.kept = append(f.kept, e)
	}
	enough := errors.New("enough")
	follow := func(after uint64) (ids []uint64) {
		err := open(t, url).Admin().Events(t.Context(), after, func(e desk.Event) error {
			if d := cmp.Diff(f.kept[e.ID-3], e); d != "" {
				t.Error(d)
			}
			if ids = append(ids, e.ID); e.ID == 7 {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) {
			t.Errorf("Events = %v", err)
		}
		return ids
	}
	if ids := follow(0); !slices.Equal(ids, []uint64{3, 4, 5, 6, 7}) {
		t.Errorf("from the start: %v", ids)
	}
	if ids := follow(5); !slices.Equal(ids, []uint64{6, 7}) {
		t.Errorf("after 5: %v", ids)
	}
}

func TestTheStreamIsSSE(t *testing.T) {
	f, url := serve(t)
	f.kept = []desk.Event{{ID: 9, Kind: "need.heard\nid: 77", Ref: "ab"}}
	r, _ := http.NewRequestWithContext(t.Context(), "GET", url+"/api/v1/events", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	want := "retry: 1000\n\nid: 9\nevent: need.heard\ndata: " + `{"id":9,"at_ms":0,"kind":"need.heard\nid: 77","ref":"ab"}` + "\n\n"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != want {
		t.Errorf("%v\n%s", err, got)
	}
	if ct := resp.Header.Get("Content-Type"); ct != "text/event-stream" {
		t.Error(ct)
	}
}

func TestEventStreamsAreBounded(t *testing.T) {
	_, url := serve(t)
	get := func() int {
		r, _ := http.NewRequestWithContext(t.Context(), "GET", url+"/api/v1/events", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp.StatusCode
	}
	for i := range 32 {
		if status := get(); status != 200 {
			t.Fatalf("stream %d: %d", i, status)
		}
	}
	if status := get(); status != 429 {
		t.Errorf("stream 33: %d", status)
	}
	// The end of the server, in the clean-up, ends all streams.
}

// open makes a client of the server.
func open(t *testing.T, url string) *client.Client {
	t.Helper()
	c, err := client.New(url, token)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
