package phrase

import (
	"encoding/hex"
	"errors"
	"math"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
)

var salt = [16]byte{0: 's', 1: 'a', 2: 'l', 3: 't'}

func derive(t *testing.T, pass string, salt [16]byte, p Params) key.Secret {
	t.Helper()
	s, err := Key([]byte(pass), salt, p)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The wanted keys were computed with OpenSSL's Argon2id, an independent
// implementation. They hold the format: a change here locks people out.
func TestKeyIsFrozen(t *testing.T) {
	for _, c := range []struct {
		p    Params
		want string
	}{
		{Cheap(), "34525f5366170518d0f674b4a55d84d5325fa8d146faac2ab1e9bf30637401d4"},
		{Default(), "9664575de4df23e2561cb134b2511a1b924580833112dd5d0bbd238b2b8a166b"},
	} {
		got := hex.EncodeToString(derive(t, "correct horse", salt, c.p).Reveal())
		if got != c.want {
			t.Errorf("%+v: %s", c.p, got)
		}
	}
}

func TestEverythingMatters(t *testing.T) {
	base := derive(t, "pass", salt, Cheap())
	if !base.Equal(derive(t, "pass", salt, Cheap())) {
		t.Fatal("the same passphrase made two keys")
	}
	p := Cheap()
	for name, other := range map[string]key.Secret{
		"space":  derive(t, "pass ", salt, p),
		"case":   derive(t, "Pass", salt, p),
		"NUL":    derive(t, "pass\x00", salt, p),
		"salt":   derive(t, "pass", [16]byte{1}, p),
		"time":   derive(t, "pass", salt, Params{2, p.MemoryKiB, p.Threads}),
		"memory": derive(t, "pass", salt, Params{p.Time, 128, p.Threads}),
		"lanes":  derive(t, "pass", salt, Params{p.Time, p.MemoryKiB, 2}),
	} {
		if base.Equal(other) {
			t.Errorf("%s makes no difference", name)
		}
	}
	if derive(t, "\u00e9", salt, p).Equal(derive(t, "e\u0301", salt, p)) {
		t.Error("the passphrase was normalised")
	}
}

func TestRefusals(t *testing.T) {
	if s, err := Key(nil, salt, Cheap()); !errors.Is(err, ErrEmpty) || !s.IsZero() {
		t.Error("empty passphrase:", err)
	}
	for _, p := range []Params{
		{}, {0, 64, 1}, {MaxTime + 1, 64, 1}, {1, 7, 1}, {1, 15, 2}, {1, 0, 1}, {1, MaxMemoryKiB + 1, 1}, {1, 1 << 30, 1},
		{1, 64, 0}, {1, 8 * (MaxThreads + 1), MaxThreads + 1}, {math.MaxUint32, math.MaxUint32, math.MaxUint8},
	} {
		if err := p.Check(); !errors.Is(err, ErrParams) {
			t.Errorf("%+v: Check: %v", p, err)
		}
		if s, err := Key([]byte("pass"), salt, p); !errors.Is(err, ErrParams) || !s.IsZero() {
			t.Errorf("%+v: Key: %v", p, err)
		}
	}
	for _, p := range []Params{Default(), Cheap(), {1, 8, 1}, {MaxTime, MaxMemoryKiB, MaxThreads}} {
		if err := p.Check(); err != nil {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

func FuzzParams(f *testing.F) {
	f.Add(uint32(3), uint32(64<<10), uint8(4))
	f.Add(uint32(1), uint32(8), uint8(1))
	f.Add(uint32(1), uint32(math.MaxUint32), uint8(255))
	f.Fuzz(func(t *testing.T, time, memory uint32, threads uint8) {
		p := Params{time, memory, threads}
		if p.Check() == nil && (uint64(time)*uint64(memory) > MaxTime*MaxMemoryKiB || threads == 0 || time == 0 || memory < 8*uint32(threads)) {
			t.Errorf("%+v accepted", p)
		}
	})
}
