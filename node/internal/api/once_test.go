package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/api"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/answers"
	"github.com/harkmarket/hark/store/kv"
)

// free are the operations that change nothing, or for which the same again changes
// nothing.
var free = []string{"check-records", "import-passport", "lock", "preview-need", "stop", "test-consent", "unlock"}

func TestWhatChangesSomethingHappensOnce(t *testing.T) {
	_, url := serve(t)
	var without []string
	for _, verbs := range readSpec(t, url).Paths {
		for verb, o := range verbs {
			keyed := slices.ContainsFunc(o.Parameters, func(p map[string]any) bool { return p["name"] == "Idempotency-Key" })
			if verb == "get" && keyed {
				t.Errorf("%s is a GET with a key", o.ID)
			}
			if verb != "get" && !keyed {
				without = append(without, o.ID)
			}
		}
	}
	slices.Sort(without)
	if !slices.Equal(without, free) {
		t.Errorf("no key is honoured by %v, want %v", without, free)
	}
}

// TestARepetitionAfterARestartHappensOnce serves the same store by a second server: each
// operation gives the answer of the first, byte for byte, and another body is refused.
func TestARepetitionAfterARestartHappensOnce(t *testing.T) {
	need, csv := `{"name":"desk"}`, func(r *http.Request) { r.Header.Set("Content-Type", "text/csv") }
	for what, c := range map[string]struct {
		ask
		other string
	}{
		"create":  {ask{"POST", "/api/v1/needs", need, nil}, `{"name":"chair"}`},
		"update":  {ask{"PUT", "/api/v1/needs/ab", need, nil}, `{"name":"chair"}`},
		"set":     {ask{"PUT", "/api/v1/vault/phone", `{"value":"1"}`, nil}, `{"value":"2"}`},
		"remove":  {ask{"DELETE", "/api/v1/vault/phone", "", nil}, ""},
		"rules":   {ask{"PUT", "/api/v1/rules", `{"sectors":[],"regions":[],"ask":true,"answer":true,"offers":1,"confirm":true,"fulfil":true}`, nil}, `{"sectors":[],"regions":[],"ask":false,"answer":true,"offers":1,"confirm":true,"fulfil":true}`},
		"revoke":  {ask{"POST", "/api/v1/grants/revoke", `{"all":true}`, nil}, `{"vendor":"v"}`},
		"import":  {ask{"POST", "/api/v1/catalog/import", "id,title\n1,desk\n", csv}, "id,title\n1,chair\n"},
		"a large": {ask{"POST", "/api/v1/catalog/import", "id,title\n1," + strings.Repeat("x", 3<<20) + "\n", csv}, "id,title\n1," + strings.Repeat("x", 3<<20) + "y\n"},
		"upload":  {ask{"PUT", "/api/v1/vault/photo.me/file?media=image/png", "bytes", nil}, "other bytes"},
	} {
		t.Run(what, func(t *testing.T) {
			store := kv.Memory()
			f := &fake{}
			a, change := c.ask, c.change
			a.change = func(r *http.Request) {
				r.Header.Set("Idempotency-Key", "one")
				if change != nil {
					change(r)
				}
			}
			first, body := a.do(t, serveKept(t, f, answers.Open(store, answers.Limits{})))
			url := serveKept(t, f, answers.Open(store, answers.Limits{}))
			second, again := a.do(t, url)
			if first.StatusCode > 299 || second.StatusCode != first.StatusCode || again != body || second.Header.Get("Content-Type") != first.Header.Get("Content-Type") {
				t.Errorf("first %s %.200s, then %s %.200s", first.Status, body, second.Status, again)
			}
			if first.Header.Get("Idempotency-Replayed") != "" || second.Header.Get("Idempotency-Replayed") != "true" || len(f.asked()) != 1 {
				t.Errorf("headers %v, then %v; asked %.300q", first.Header, second.Header, f.asked())
			}
			if a.body = c.other; a.body == "" {
				a.path += "x"
			}
			if resp, text := a.do(t, url); resp.StatusCode != 409 || !strings.Contains(text, "key-used") || len(f.asked()) != 1 {
				t.Errorf("another request: %s %s", resp.Status, text)
			}
		})
	}
}

// dying keeps marks and no answer, as if the node had been killed between the two.
type dying struct{ api.Answers }

func (dying) Keep(context.Context, string, answers.Answer, int64) error {
	return errors.New("the node was killed here")
}

// marking is a house whose effects are marked as the market does it.
type marking struct {
	*fake
	store kv.Store
	fails error // of what comes after the effect
}

func (m *marking) Customer() desk.Customer { return markingCustomer{m.fake.Customer(), m} }

type markingCustomer struct {
	desk.Customer
	m *marking
}

func (c markingCustomer) Needs() desk.Needs { return markingNeeds{c.Customer.Needs(), c.m} }

type markingNeeds struct {
	desk.Needs
	m *marking
}

func (n markingNeeds) Create(ctx context.Context, s desk.NeedSpec) (v desk.Need, err error) {
	if v, err = n.Needs.Create(ctx, s); err == nil {
		err = n.m.mark(ctx, "need-7")
	}
	return v, errors.Join(err, n.m.fails)
}

func (n markingNeeds) Update(ctx context.Context, id string, s desk.NeedSpec) (v desk.Need, err error) {
	if v, err = n.Needs.Update(ctx, id, s); err == nil {
		err = n.m.mark(ctx, "")
	}
	return v, errors.Join(err, n.m.fails)
}

func (m *marking) mark(ctx context.Context, made string) error {
	q, ok := api.Asking(ctx)
	if !ok {
		return errors.New("nobody asks")
	}
	return m.store.Update(ctx, func(tx kv.Tx) error {
		return answers.Open(m.store, answers.Limits{}).Mark(tx, q, made, time.Now().UnixMilli())
	})
}

// TestAKillBetweenEffectAndAnswer: the effect was kept, the answer was not. Nothing was
// answered; asked again after the restart, what was made is shown, and from then on the
// same answer.
func TestAKillBetweenEffectAndAnswer(t *testing.T) {
	for _, c := range []struct{ verb, path, effect, shows string }{
		{"POST", "/api/v1/needs", "needs.Create", "needs.Get[need-7]"},
		{"PUT", "/api/v1/needs/ab", "needs.Update", "needs.Get[ab]"},
	} {
		store := kv.Memory()
		kept := answersAt(store)
		m := &marking{fake: &fake{}, store: store}
		need := ask{c.verb, c.path, `{"name":"desk"}`, header("Idempotency-Key", "one")}
		if resp, body := need.do(t, serveKept(t, m, dying{kept})); resp.StatusCode != 500 || !strings.Contains(body, "send the same request again") {
			t.Errorf("%s: an answer that is not kept was given: %s %s", c.effect, resp.Status, body)
		}
		url := serveKept(t, m, kept)
		other := need
		other.body = `{"name":"chair"}`
		if resp, _ := other.do(t, url); resp.StatusCode != 409 {
			t.Errorf("%s: another request with the key: %s", c.effect, resp.Status)
		}
		want := map[string]int{"POST": 201, "PUT": 200}[c.verb]
		for range 2 {
			resp, body := need.do(t, url)
			var v desk.Need
			if err := json.Unmarshal([]byte(body), &v); err != nil || resp.StatusCode != want || resp.Header.Get("Idempotency-Replayed") != "true" || v.ID == "" {
				t.Errorf("%s: after the restart: %s %s", c.effect, resp.Status, body)
			}
		}
		calls := m.asked()
		if len(calls) != 2 || !strings.HasPrefix(calls[0], c.effect) || calls[1] != c.shows {
			t.Errorf("asked %q, want %s once and then %s", calls, c.effect, c.shows)
		}
	}
}

func answersAt(store kv.Store) *answers.Answers { return answers.Open(store, answers.Limits{}) }

// TestAnEffectWithoutAViewIsShown: what came after the effect failed, so that there is no
// answer; that it was done is found at once.
func TestAnEffectWithoutAViewIsShown(t *testing.T) {
	store := kv.Memory()
	m := &marking{fake: &fake{}, store: store, fails: fmt.Errorf("the caller left: %w", context.Canceled)}
	need := ask{"POST", "/api/v1/needs", `{"name":"desk"}`, header("Idempotency-Key", "one")}
	if resp, body := need.do(t, serveKept(t, m, answersAt(store))); resp.StatusCode != 201 || len(m.asked()) != 2 {
		t.Errorf("%s %s, asked %q", resp.Status, body, m.asked())
	}
}

// shut is where answers are kept while the node is locked.
type shut struct{ api.Answers }

func (shut) Find(context.Context, string, int64) (answers.Answer, error) {
	return answers.Answer{}, fault.Locked
}

func TestNothingIsDoneWhereItCannotBeKept(t *testing.T) {
	f := &fake{}
	need := ask{"POST", "/api/v1/needs", `{"name":"desk"}`, header("Idempotency-Key", "one")}
	if resp, _ := need.do(t, serveKept(t, f, shut{})); resp.StatusCode != http.StatusLocked || len(f.asked()) != 0 {
		t.Errorf("%s, asked %q", resp.Status, f.asked())
	}
}

// TestAnAnswerTooLargeToKeep is told when it is asked for again, and nothing is done.
func TestAnAnswerTooLargeToKeep(t *testing.T) {
	f := &fake{}
	url := serveKept(t, f, answers.Open(kv.Memory(), answers.Limits{Bytes: 10}))
	need := ask{"POST", "/api/v1/needs", `{"name":"desk"}`, header("Idempotency-Key", "one")}
	need.do(t, url)
	if resp, body := need.do(t, url); resp.StatusCode != 409 || !strings.Contains(body, "answer-gone") || len(f.asked()) != 1 {
		t.Errorf("%s %s, asked %q", resp.Status, body, f.asked())
	}
}
