package stage

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/harkmarket/hark/node/lab"
	"github.com/harkmarket/hark/node/lab/hostile"
	"github.com/harkmarket/hark/protocol/fault"
)

// TestOnlyWhatWasArmedAttacks: without a program of attackers, and with a step that
// processes can't take, nothing happens, and it is said.
func TestOnlyWhatWasArmedAttacks(t *testing.T) {
	s := lab.Default()
	st, err := New(s, s.Plan(1), "hark", t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Attack(context.Background(), lab.Step{Do: lab.Flood}); !errors.Is(err, fault.Unsupported) {
		t.Error(err)
	}
	st.Arm("hark-lab", s)
	if err := st.Attack(context.Background(), lab.Step{Do: lab.Watch}); !errors.Is(err, fault.Unsupported) {
		t.Error(err)
	}
	if err := st.Attack(context.Background(), lab.Step{Do: lab.Flood}); err == nil || !strings.Contains(err.Error(), "nobody is there to be attacked") {
		t.Error(err)
	}
}

// TestLatecomersAreNotWaitedFor: they neither start with the others nor are among those
// that these must know.
func TestLatecomersAreNotWaitedFor(t *testing.T) {
	s := lab.Default()
	s.Late.Count = 2
	st, err := New(s, s.Plan(1), "hark", t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(st.public()) != 5 || len(st.early()) != 3 || len(st.begun()) != 5 {
		t.Errorf("%d public, %d early, %d begin", len(st.public()), len(st.early()), len(st.begun()))
	}
}

// TestWhatCameOfAnOrderIsTold: a flood by what was looked at and when, a siege by what the
// node had at most.
func TestWhatCameOfAnOrderIsTold(t *testing.T) {
	w := &lookout{targets: make([]*actor, 2), last: 300 * time.Millisecond, before: counted{blamed: 5, cpu: time.Second}, most: counted{rss: 70, conns: 8, streams: 9}}
	after := counted{blamed: 12, cpu: 3 * time.Second}
	got := w.record(hostile.Order{}, hostile.Done{Sent: 100, CPUMS: 40}, after)
	if got.What != hostile.Calm || got.Attempts != 100 || got.Looked != 7 || got.LastMS != 300 || got.TheirCPU != 40 || got.CPUMS != 1000 || got.RSS != 0 {
		t.Errorf("%+v", got)
	}
	got = w.record(hostile.Order{Protocols: []string{"/x"}}, hostile.Done{Sent: 100, Most: 60, LetIn: 3}, after)
	if got.What != hostile.Relieved || got.Attempts != 100 || got.Looked != 60 || got.Judged != 3 || got.RSS != 70 || got.Links != [2]int{8, 9} {
		t.Errorf("%+v", got)
	}
}

func TestAComplaintKeepsItsEnd(t *testing.T) {
	var c complaint
	for range 100 {
		if n, err := c.Write(bytes.Repeat([]byte("x"), 1000)); n != 1000 || err != nil {
			t.Fatal(n, err)
		}
	}
	_, _ = c.Write([]byte("the end")) // it never fails
	if len(c) != maxComplaint || !bytes.HasSuffix(c, []byte("the end")) {
		t.Errorf("%d bytes", len(c))
	}
}
