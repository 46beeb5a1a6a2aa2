package play

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/node/internal/keeper"
	"github.com/harkmarket/hark/node/lab"
)

// A board is a stage on which public nodes hear of everything a moment later.
type board struct {
	plan   lab.Plan
	saw    Saw
	mu     sync.Mutex
	gone   map[int]bool
	apart  bool
	deaf   map[int]bool // never hear
	number int
	broken error // of Open

	attacks []lab.Step
	shown   *[]Progress
}

func (b *board) Open(_ context.Context, saw Saw) error {
	b.saw = saw
	time.Sleep(time.Minute) // long before the load
	return b.broken
}

func (b *board) House(i int) desk.House {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gone[i] {
		return nil
	}
	return house{b, i}
}

func (b *board) Move(_ context.Context, i int, up bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gone[i] = !up
	return nil
}

func (b *board) Cut(_ context.Context, apart bool) error { b.apart = apart; return nil }

func (b *board) Usage(_ context.Context, i int) (Usage, bool, error) {
	return Usage{Sent: uint64(i + 10), CPU: time.Second}, i != 0, nil
}

func (b *board) Flush() {}

func (b *board) Attack(_ context.Context, st lab.Step) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.attacks = append(b.attacks, st)
	return nil
}

// tell has all public nodes hear it.
func (b *board) tell(n desk.Need) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, p := range b.plan.Players {
		if p.Public && !b.gone[i] && !b.deaf[i] {
			at := time.Now().Add(20 * time.Millisecond)
			b.saw(at, lab.Record{Kind: lab.KindHeard, Node: p.Name, Context: brief(n.ID), Seq: n.Seq, Way: lab.ByGossip})
		}
	}
}

// A house has the few desks that an experiment comes to; the rest is not there.
type house struct {
	b *board
	i int
}

func (h house) Customer() desk.Customer { return customer{house: h} }
func (h house) Vendor() desk.Vendor     { return vendor{} }
func (h house) Ledger() desk.Ledger     { return nil }
func (h house) Consent() desk.Consent   { return nil }
func (h house) Records() desk.Records   { return nil }
func (h house) Network() desk.Network   { return network{} }
func (h house) Admin() desk.Admin       { return nil }

type customer struct {
	desk.Customer
	house
}

func (c customer) Needs() desk.Needs { return needs{house: c.house} }

type needs struct {
	desk.Needs
	house
}

func (n needs) Create(_ context.Context, s desk.NeedSpec) (desk.Need, error) {
	n.b.mu.Lock()
	n.b.number++
	v := desk.Need{ID: fmt.Sprintf("%016d", n.b.number), Seq: 1}
	n.b.mu.Unlock()
	if s.Name == "need 3" {
		return desk.Need{}, errors.New("no keeper is there")
	}
	n.b.tell(v)
	return v, nil
}

func (n needs) End(_ context.Context, id string, how desk.NeedEnd) (desk.Need, error) {
	v := desk.Need{ID: id, Seq: 2}
	if how == desk.Withdraw {
		n.b.tell(v)
	}
	return v, nil
}

type vendor struct{ desk.Vendor }

func (vendor) Rules() desk.Rules { return rules{} }

type rules struct{ desk.Rules }

func (rules) Set(_ context.Context, f desk.Follow) (desk.Follow, error) { return f, nil }

type network struct{ desk.Network }

func (network) Self(context.Context) (desk.Identity, error) {
	return desk.Identity{Joined: []int{0, 1, 2, 3}}, nil
}

// play plays a scenario on a board and gives what it saw.
func play(t *testing.T, text string, change func(*board)) (s lab.Scenario, all []lab.Record, shown []Progress, err error) {
	t.Helper()
	s, all, _, err = played(t, text, func(b *board) {
		b.shown = &shown
		if change != nil {
			change(b)
		}
	})
	return s, all, shown, err
}

// played gives the attacks besides.
func played(t *testing.T, text string, change func(*board)) (s lab.Scenario, all []lab.Record, attacks []lab.Step, err error) {
	t.Helper()
	s, err = lab.Parse("t", []byte(text))
	if err == nil {
		err = s.Check()
	}
	if err != nil {
		t.Fatal(err)
	}
	b := &board{plan: s.Plan(s.Seed), gone: map[int]bool{}, deaf: map[int]bool{}}
	for i, p := range b.plan.Players {
		b.gone[i] = p.Late
	}
	if change != nil {
		change(b)
	}
	var mu sync.Mutex
	sink := func(r lab.Record) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, r)
	}
	err = Run(t.Context(), s, b.plan, b, sink, func(p Progress) {
		if b.shown != nil {
			*b.shown = append(*b.shown, p)
		}
	})
	return s, all, b.attacks, err
}

// TestAttacksArePlayed: who comes late is there from when it was started, and hears what is
// announced from then on; attackers are told of each step.
func TestAttacksArePlayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, all, attacks, err := played(t, "duration = \"30s\"\nsettle = \"0s\"\nengine = \"simulated\"\n[network]\npublic = 4\n[load]\nneeds = 30\n[late]\ncount = 1\nfrom = \"10s\"\n"+
			"[censors]\ncount = 1\nvictims = 2\n[floods]\ncount = 1\nfor = \"2s\"\nevery = \"10s\"\n[silent]\ncount = 1\n", nil)
		if err != nil {
			t.Fatal(err)
		}
		do := map[string]int{}
		for _, st := range attacks {
			do[st.Do]++
		}
		if do[lab.Flood] != 3 || do[lab.Watch] != 8 {
			t.Errorf("%v", do)
		}
		heard := 0
		for _, r := range all {
			switch {
			case r.Kind == lab.KindNode && (r.Late != (r.Node == "public-4") || r.Victim != (r.Node == "public-3" || r.Node == "public-4")):
				t.Errorf("%+v", r)
			case r.Node == "public-4" && r.Kind == lab.KindLife && (r.MS < 10_000 || r.MS > 10_100 || r.Life != 1):
				t.Errorf("%+v", r)
			case r.Node == "public-4" && r.Kind == lab.KindHeard:
				heard++
			}
		}
		if heard < 19 || heard > 20 {
			t.Errorf("the late one heard %d of 30, of which 20 came after it", heard)
		}
	})
}

const story = "duration = \"30s\"\nsettle = \"60s\"\nengine = \"simulated\"\n[network]\npublic = 4\npersonal = 2\n[load]\nneeds = 10\nwithdrawn = 0.3\n" +
	"[churn]\nper_minute = 4\ndowntime = \"5s\"\n[partition]\nat = \"10s\"\nfor = \"5s\"\n"

func TestAPlanIsPlayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		s, all, shown, err := play(t, story, nil)
		if err != nil {
			t.Fatal(err)
		}
		count := map[string]int{}
		for _, r := range all {
			count[r.Kind+" "+r.What]++
			if r.Kind == lab.KindSaid && (r.MS < 0 || r.MS > 30_000) {
				t.Errorf("%+v", r)
			}
		}
		plan := s.Plan(s.Seed)
		withdrawn, downs := 0, 0
		for _, st := range plan.Steps {
			if st.Do == lab.Withdraw && st.Need != 3 {
				withdrawn++
			}
			if st.Do == lab.GoDown {
				downs++
			}
		}
		if count["announcement announced"] != 9 || count["announcement failed"] != 1 || count["announcement withdrawn"] != withdrawn || count["life down"] != downs ||
			count["life up"] != 4+downs || count["mark split"] != 1 || count["mark join"] != 1 || count["mark end"] != 1 || count["node "] != 6 || downs == 0 || withdrawn == 0 {
			t.Errorf("%v, %d withdrawn, %d downs", count, withdrawn, downs)
		}
		f := lab.Compute(s, s.Seed, all)
		if f.Announced != 9+withdrawn || f.Failed != 1 || f.Latency.P50 != 20 || f.BytesPerNode == nil {
			t.Errorf("%+v", f)
		}
		if last := shown[len(shown)-1]; last.Announced != 9 || last.PublicUp != 4 || last.Heard == 0 {
			t.Errorf("%+v", last)
		}
		if took := time.Since(began); took > 3*time.Minute {
			t.Errorf("it took %v of the bubble's time", took)
		}
	})
}

// TestStragglersAreWaitedFor: no longer than the scenario says, and not at all where
// nobody is.
func TestStragglersAreWaitedFor(t *testing.T) {
	const quiet = "duration = \"10s\"\nsettle = \"60s\"\nengine = \"simulated\"\n[load]\nneeds = 2\n"
	took := func(change func(*board)) (d time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			_, all, _, err := play(t, quiet, change)
			if err != nil {
				t.Error(err)
			}
			i := slices.IndexFunc(all, func(r lab.Record) bool { return r.What == "end" })
			d = time.Duration(all[i].MS) * time.Millisecond
		})
		return d
	}
	if d := took(nil); d > 11*time.Second {
		t.Errorf("ended at %v with everything heard", d)
	}
	if d := took(func(b *board) { b.deaf[1] = true }); d < 69*time.Second || d > 72*time.Second {
		t.Errorf("ended at %v with one deaf node", d)
	}
}

func TestAStageThatDoesNotOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("no room")
		if _, _, _, err := play(t, story, func(b *board) { b.broken = broken }); !errors.Is(err, broken) {
			t.Error(err)
		}
	})
}

// TestLogsSayWhatWasHeard: a line as slog writes it, a record as it hands it on, and
// what is no such thing.
func TestLogsSayWhatWasHeard(t *testing.T) {
	var b bytes.Buffer
	attrs := []any{"context", strings.Repeat("0123456789abcdef", 4), "seq", uint64(3), "shard", uint16(2), "way", "pull", "bytes", 2800}
	text := slog.New(slog.NewTextHandler(&b, nil))
	text.Info(keeper.HeardLine, attrs...)
	want := lab.Record{Kind: lab.KindHeard, Node: "n", Context: "0123456789abcdef", Seq: 3, Shard: 2, Way: "pull", Bytes: 2800}
	at, got, ok := ReadLine("n", strings.TrimSuffix(b.String(), "\n"))
	if !ok || time.Since(at) > time.Hour || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v %v %+v from %s", ok, at, got, b.String())
	}
	var seen []lab.Record
	log := Listen("n", func(_ time.Time, r lab.Record) { seen = append(seen, r) })
	log.Info(keeper.HeardLine, attrs...)
	log.Info("something else")
	log.Info(keeper.HeardLine, "seq", "many")
	log.With("a", "b").WithGroup("g").Debug(keeper.HeardLine, attrs...)
	if len(seen) != 1 || fmt.Sprint(seen[0]) != fmt.Sprint(want) {
		t.Errorf("%+v", seen)
	}
	for _, line := range []string{"", keeper.HeardLine, `time=x level=INFO msg="an announcement was heard" context=c seq=1 shard=1 bytes=1`, `time=2026-01-01T00:00:00Z level=INFO msg="an announcement was heard" seq=1`} {
		if _, r, ok := ReadLine("n", line); ok {
			t.Errorf("%q is read as %+v", line, r)
		}
	}
}
