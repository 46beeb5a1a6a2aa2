package node_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/market"
	"github.com/harkmarket/hark/node/nodetest"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/terms"
	"github.com/harkmarket/hark/store/kv"
)

// consentFloods fill what decides on requests.
var consentFloods = map[string]func(t *testing.T){
	"consent.rules":   alone(rulesFlood),
	"consent.blocked": alone(blockedFlood),
	"consent.credit":  alone(creditFlood),
	"consent.prompts": func(t *testing.T) { synctest.Test(t, promptsFlood) },
}

// alone plays with one customer's node and a keeper.
func alone(play func(t *testing.T, her *nodetest.Member)) func(t *testing.T) {
	return func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := nodetest.NewWorld(t)
			defer w.Close()
			w.Limits = node.Limits{Market: market.Limits{Blocked: 3}}
			w.Public("keeper")
			play(t, w.Personal("thandi"))
		})
	}
}

// shown is one bound of a node's status.
func shown(t *testing.T, m *nodetest.Member, name string) kv.Fill {
	t.Helper()
	v, err := m.Admin().Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range v.Bounds {
		if f.Name == name {
			return kv.Fill{Name: f.Name, Used: f.Used, Cap: f.Cap}
		}
	}
	return kv.Fill{Name: name}
}

func rulesFlood(t *testing.T, her *nodetest.Member) {
	for i := range terms.MaxRules + 1 {
		_, err := her.Consent().Add(context.Background(), desk.ConsentRule{Name: fmt.Sprintf("rule-%d", i), Action: "ask", When: "true"})
		if errors.Is(err, fault.Full) != (i == terms.MaxRules) || i < terms.MaxRules && err != nil {
			t.Fatalf("rule %d: %v", i, err)
		}
	}
	full(t, []kv.Fill{shown(t, her, "consent.rules")}, "consent.rules")
	if err := her.Consent().Remove(context.Background(), "rule-0"); err != nil {
		t.Error(err)
	}
}

func creditFlood(t *testing.T, her *nodetest.Member) {
	ctx := context.Background()
	codes := strings.Fields("ZAR USD EUR GBP JPY KWD NAD BWP ZMW MZN SZL LSL KES NGN GHS UGX TZS")
	for i, c := range codes {
		_, err := her.Consent().Credit(ctx, desk.Money{Minor: 1, Currency: c})
		if last := i == len(codes)-1; errors.Is(err, fault.Full) != last || !last && err != nil {
			t.Fatalf("currency %d: %v", i, err)
		}
	}
	full(t, []kv.Fill{shown(t, her, "consent.credit")}, "consent.credit")
	if _, err := her.Consent().Credit(ctx, desk.Money{Minor: 2, Currency: "ZAR"}); err != nil {
		t.Errorf("another amount in a currency that is there: %v", err)
	}
}

func blockedFlood(t *testing.T, her *nodetest.Member) {
	var last string
	for i := range 4 {
		last = protocol.Hash(key.NewSecret().Reveal()).String()
		_, err := her.Consent().Block(context.Background(), last, true)
		if errors.Is(err, fault.Full) != (i == 3) || i < 3 && err != nil {
			t.Fatalf("vendor %d: %v", i, err)
		}
	}
	full(t, []kv.Fill{shown(t, her, "consent.blocked")}, "consent.blocked")
	v, err := her.Consent().Get(context.Background())
	if err != nil || len(v.Blocked) != 3 {
		t.Fatalf("%d are blocked, %v", len(v.Blocked), err)
	}
	if _, err := her.Consent().Block(context.Background(), v.Blocked[0].Vendor, false); err != nil {
		t.Error(err)
	}
	if _, err := her.Consent().Block(context.Background(), last, true); err != nil {
		t.Errorf("there is room again: %v", err)
	}
}

// promptsFlood has more vendors ask than she is told of in a day. What she is not told of
// waits, and she can grant it all the same.
func promptsFlood(t *testing.T) {
	w := nodetest.NewWorld(t)
	defer w.Close()
	w.Public("keeper")
	her := w.Personal("thandi")
	her.Fill(map[string]string{"location.area": "Melville"})
	for i := range 3 {
		w.Public(fmt.Sprintf("shop %d", i)).Sell("")
	}
	ctx := context.Background()
	if _, err := her.Consent().Budget(ctx, desk.PromptBudget{Day: 1, Vendor: 1}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Second)
	if _, err := her.Customer().Needs().Create(ctx, desk.NeedSpec{Name: "a couch", Category: "home.furniture"}); err != nil {
		t.Fatal(err)
	}
	var silent string
	w.Until(time.Minute, "three requests wait", func() (bool, error) {
		p, err := her.Customer().Requests().List(ctx, desk.Query{State: "waiting"})
		for _, r := range p.Items {
			if r.Prompted.IsZero() {
				silent = r.ID
			}
		}
		return len(p.Items) == 3, err
	})
	full(t, []kv.Fill{shown(t, her, "consent.prompts")}, "consent.prompts")
	if v, err := her.Customer().Requests().Grant(ctx, silent, desk.LessSpec{}); err != nil || v.By != "person" {
		t.Errorf("what waits silently: %+v, %v", v, err)
	}
}
