package answers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/store/kv"
	"github.com/harkmarket/hark/store/storetest"
)

func sumOf(key, request string) [32]byte {
	h := NewSum(key)
	h.Write([]byte(request))
	return [32]byte(h.Sum(nil))
}

func answer(key string, size int) Answer {
	return Answer{Sum: sumOf(key, "r"), Status: 201, Kind: "application/json", Body: bytes.Repeat([]byte("x"), size)}
}

func (a *Answers) fills(t *testing.T) (items, size int64) {
	t.Helper()
	var f []kv.Fill
	err := a.store.View(t.Context(), func(r kv.Reader) (err error) { f, err = a.Fills(r); return err })
	if err != nil {
		t.Fatal(err)
	}
	return f[0].Used, f[1].Used
}

// count recounts what the state says.
func (a *Answers) count(t *testing.T) (rows, bodies, order int, size int64) {
	t.Helper()
	err := a.store.View(t.Context(), func(r kv.Reader) error {
		return r.Scan([]byte("answers/"), nil, func(k, v []byte) (bool, error) {
			switch {
			case bytes.HasPrefix(k, prefixRow):
				rows++
			case bytes.HasPrefix(k, prefixBody):
				bodies, size = bodies+1, size+int64(len(v))
			case bytes.HasPrefix(k, prefixOrder):
				order++
			}
			return true, nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows, bodies, order, size
}

// sound compares the two.
func (a *Answers) sound(t *testing.T) {
	t.Helper()
	items, size := a.fills(t)
	if rows, _, order, bytes := a.count(t); int64(rows) != items || int64(order) != items || bytes != size {
		t.Fatalf("%d rows, %d in order, %d bytes; the state says %d and %d", rows, order, bytes, items, size)
	}
}

func TestAMarkStandsUntilItsAnswerIsKept(t *testing.T) {
	store := storetest.Twice(kv.Memory())
	a, ctx := Open(store, Limits{}), t.Context()
	if _, err := a.Find(ctx, "k", 1); !errors.Is(err, fault.NotFound) {
		t.Fatalf("before anything: %v", err)
	}
	failed := errors.New("the effect failed")
	by := uint64(1)
	mark := func(key, request string, end error) error {
		return store.Update(ctx, func(tx kv.Tx) error {
			return errors.Join(a.Mark(tx, Request{Key: key, Sum: sumOf(key, request), By: by}, "id", 5), end)
		})
	}
	if err := mark("k", "r", failed); !errors.Is(err, failed) {
		t.Fatal(err)
	}
	if _, err := a.Find(ctx, "k", 5); !errors.Is(err, fault.NotFound) {
		t.Fatalf("the mark outlives its transaction: %v", err)
	}
	if err := mark("k", "r", nil); err != nil {
		t.Fatal(err)
	}
	a = Open(store, Limits{}) // and a restart
	want := Answer{Sum: sumOf("k", "r"), AtMS: 5, Made: "id"}
	if got, err := a.Find(ctx, "k", 6); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("%+v, %v", got, err)
	}
	if err := mark("k", "another", nil); !errors.Is(err, fault.Conflict) {
		t.Errorf("for another request: %v", err)
	}
	if err := mark("k", "r", nil); err != nil {
		t.Errorf("a second transaction of the same: %v", err)
	}
	by = 2
	if err := mark("k", "r", nil); !errors.Is(err, fault.Conflict) {
		t.Errorf("the same, asked while the first was not marked yet: %v", err)
	}
	if err := store.Update(ctx, func(tx kv.Tx) error {
		return a.Mark(tx, Request{Key: "k", Sum: sumOf("k", "r"), By: 3, Since: 5}, "", 6)
	}); err != nil {
		t.Errorf("the same, done to its end: %v", err)
	}
	if err := a.Keep(ctx, "k", answer("k", 10), 7); err != nil {
		t.Fatal(err)
	}
	want.Status, want.Kind, want.Body = 201, "application/json", []byte("xxxxxxxxxx")
	if got, err := a.Find(ctx, "k", 8); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("%+v, %v", got, err)
	}
	if err := mark("k", "r", nil); !errors.Is(err, fault.Conflict) {
		t.Errorf("once it was answered: %v", err)
	}
	a.sound(t)
}

func TestAnswersAreBounded(t *testing.T) {
	for what, lim := range map[string]Limits{"number": {Items: 300}, "bytes": {Bytes: 5000}, "both": {Items: 40, Bytes: 3000}} {
		a := Open(kv.Memory(), lim)
		for i := range 700 {
			k := fmt.Sprint(i)
			if i == 500 { // the oldest of all is answered late
				k = "late"
			}
			if i == 350 {
				if err := a.store.Update(t.Context(), func(tx kv.Tx) error { return a.Mark(tx, Request{Key: "late", Sum: sumOf("late", "r")}, "", int64(i)) }); err != nil {
					t.Fatal(err)
				}
			}
			if err := a.Keep(t.Context(), k, answer(k, i%97), int64(i)); err != nil {
				t.Fatalf("%s: %d: %v", what, i, err)
			}
			if items, size := a.fills(t); items > int64(a.lim.Items) || size > a.lim.Bytes {
				t.Fatalf("%s: %d answers of %d bytes", what, items, size)
			}
			if got, err := a.Find(t.Context(), k, int64(i)); err != nil || len(got.Body) != i%97 {
				t.Fatalf("%s: the latest is %+v, %v", what, got, err)
			}
		}
		a.sound(t)
		if _, err := a.Find(t.Context(), "0", 700); !errors.Is(err, fault.NotFound) {
			t.Errorf("%s: the oldest is there: %v", what, err)
		}
	}
}

// TestALargeAnswerMakesRoom: thousands of small ones give way to a large one, in more
// than one transaction.
func TestALargeAnswerMakesRoom(t *testing.T) {
	a := Open(kv.Memory(), Limits{Bytes: MaxBody + 10})
	for i := range 1000 {
		if err := a.Keep(t.Context(), fmt.Sprint(i), answer(fmt.Sprint(i), 200), 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Keep(t.Context(), "large", answer("large", MaxBody), 1); err != nil {
		t.Fatal(err)
	}
	if err := a.Keep(t.Context(), "too large", answer("too large", MaxBody+1), 1); err != nil {
		t.Fatal(err)
	}
	if got, err := a.Find(t.Context(), "large", 1); err != nil || len(got.Body) != MaxBody {
		t.Errorf("%d bytes, %v", len(got.Body), err)
	}
	if got, err := a.Find(t.Context(), "too large", 1); err != nil || got.Status != 201 || got.Body != nil || !got.Cut {
		t.Errorf("%+v, %v", got, err)
	}
	if items, _ := a.fills(t); items != 2 {
		t.Errorf("%d answers", items)
	}
	a.sound(t)
}

func TestAnswersAge(t *testing.T) {
	a, day := Open(kv.Memory(), Limits{}), (24 * time.Hour).Milliseconds()
	for i := range int64(400) {
		if err := a.Keep(t.Context(), fmt.Sprint(i), answer(fmt.Sprint(i), 3), i); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Find(t.Context(), "0", day-1); err != nil {
		t.Errorf("within a day: %v", err)
	}
	if _, err := a.Find(t.Context(), "0", day); !errors.Is(err, fault.NotFound) {
		t.Errorf("after a day: %v", err)
	}
	other := answer("0", 3)
	other.Sum = sumOf("0", "another")
	if err := a.Keep(t.Context(), "0", other, day); err != nil {
		t.Errorf("the key is not free again: %v", err)
	}
	if err := a.Sweep(t.Context(), day+398); err != nil {
		t.Fatal(err)
	}
	if items, _ := a.fills(t); items != 2 {
		t.Errorf("%d answers are left, want the last and the new one", items)
	}
	a.sound(t)
}

// TestAFailingDiskLosesNothingHalf fails each write in turn.
func TestAFailingDiskLosesNothingHalf(t *testing.T) {
	for n := 1; ; n++ {
		store := kv.Memory()
		a, good := Open(storetest.Failing(store, n), Limits{Items: 3}), Open(store, Limits{Items: 3})
		var err error
		for i := 0; i < 6 && err == nil; i++ {
			err = a.Keep(t.Context(), fmt.Sprint(i), answer(fmt.Sprint(i), 9), 1)
		}
		good.sound(t)
		if err == nil {
			if n < 20 {
				t.Errorf("only %d writes were failed", n)
			}
			return
		}
		if !errors.Is(err, storetest.ErrInjected) {
			t.Fatal(err)
		}
	}
}

// TestNothingIsReadableAtRest looks for key, id and body in the bytes of the store, and
// for the request's sum without its key.
func TestNothingIsReadableAtRest(t *testing.T) {
	raw := kv.Memory()
	a := Open(kv.Sealed(raw, key.NewSecret()), Limits{})
	ans := Answer{Sum: sumOf("my private key", "a secret request"), Status: 200, Kind: "text/secret", Made: "secret-id", Body: []byte("a secret answer")}
	if err := a.Keep(context.Background(), "my private key", ans, 1); err != nil {
		t.Fatal(err)
	}
	rows := 0
	err := raw.View(t.Context(), func(r kv.Reader) error {
		return r.Scan(nil, nil, func(k, v []byte) (bool, error) {
			rows++
			for _, text := range []string{"secret", "private", string(ans.Sum[:])} {
				if strings.Contains(string(k)+string(v), text) {
					t.Errorf("%q is in %q", text, k)
				}
			}
			return true, nil
		})
	})
	if err != nil || rows != 4 {
		t.Errorf("%d rows, %v", rows, err)
	}
	if sumOf("a", "r") == sumOf("b", "r") || sumOf("a", "r") == sumOf("a", "s") {
		t.Error("sums of different keys or requests are equal")
	}
}
