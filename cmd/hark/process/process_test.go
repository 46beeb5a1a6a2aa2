package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestMain lets the test binary stand in for a node that goes on until it is ended.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "run" {
		fmt.Println(strings.Join(os.Args[1:], " "))
		time.Sleep(time.Minute)
		os.Exit(3)
	}
	os.Exit(m.Run())
}

// TestKilledAndStartedAgain: an end that was asked for is no death, and the home's
// log goes on.
func TestKilledAndStartedAgain(t *testing.T) {
	var wg sync.WaitGroup
	p := &Process{Name: "x", Role: Keeper, Home: t.TempDir(), LogLevel: "info", Misbehave: "not"}
	said := func(n int) bool {
		return strings.Count(p.Tail(), "run --home "+p.Home+" --misbehave not --log-level info") == n
	}
	for n := 1; n <= 2; n++ {
		if err := p.Start(os.Args[0], false, &wg, func(*Process) { t.Error("it is told to have ended by itself") }); err != nil {
			t.Fatal(err)
		}
		if !p.Alive() || p.PID() == 0 {
			t.Error("it is not alive")
		}
		if err := Poll(t.Context(), time.Minute, "it should speak", func(context.Context) (bool, error) { return said(n), nil }); err != nil {
			t.Error(err)
		}
		p.Kill()
		p.Kill()
		if p.Alive() || p.Err() == nil {
			t.Error("it is alive")
		}
		wg.Wait()
	}
	if err := (&Process{Name: "x", Role: Keeper, Home: t.TempDir()}).Start("/no/such/program", false, &wg, nil); err == nil {
		t.Error("a program that is not there was started")
	}
}

func TestEnvironmentDropsOwnSettings(t *testing.T) {
	got := environment([]string{"PATH=/bin", "HARK_HOME=/h", "HARK_PASSPHRASE_FILE=x", "SHARK_X=1"})
	if !slices.Equal(got, []string{"PATH=/bin", "SHARK_X=1"}) {
		t.Error(got)
	}
}

func TestPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		if err := Poll(t.Context(), time.Second, "it", func(context.Context) (bool, error) { n++; return n == 3, nil }); err != nil || n != 3 {
			t.Errorf("%d times, %v", n, err)
		}
		err := Poll(t.Context(), time.Second, "the sky should fall", func(context.Context) (bool, error) { return false, nil })
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "the sky should fall: not within 1s") {
			t.Error(err)
		}
		broken := errors.New("broken")
		if err := Poll(t.Context(), time.Second, "it", func(context.Context) (bool, error) { return true, broken }); !errors.Is(err, broken) {
			t.Error(err)
		}
	})
}
