package node

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/harkmarket/hark/protocol/fault"
)

func TestDefaultPathsBelowAHome(t *testing.T) {
	t.Chdir(t.TempDir())
	p, err := DefaultPaths("my home")
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(here, "my home")
	if want := (Paths{home, filepath.Join(home, "data"), filepath.Join(home, "state")}); p != want {
		t.Errorf("got %+v, want %+v", p, want)
	}
	for name, got := range map[string]string{
		"config.toml": p.settings(), "keys.json": p.keys(), "home.key": p.keyFile(), "network.json": p.network(), "data/store": p.store(),
		"data/keeper.key": p.keeperKey(), "state/api.json": p.API(), "state/token": p.Token(), "state/peers.json": p.peers(),
	} {
		if want := filepath.Join(home, filepath.FromSlash(name)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestDefaultPathsOfAUser(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the XDG base directories are Linux's")
	}
	user := t.TempDir()
	for _, c := range []struct {
		name, config, data, state string
		want                      Paths
	}{
		{"nothing set", "", "", "", Paths{user + "/.config/hark", user + "/.local/share/hark", user + "/.local/state/hark"}},
		{"all set", "/c", "/d", "/s", Paths{"/c/hark", "/d/hark", "/s/hark"}},
		{"relative ones are ignored", "", "d", "../s", Paths{user + "/.config/hark", user + "/.local/share/hark", user + "/.local/state/hark"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("HOME", user)
			t.Setenv("XDG_CONFIG_HOME", c.config)
			t.Setenv("XDG_DATA_HOME", c.data)
			t.Setenv("XDG_STATE_HOME", c.state)
			if got, err := DefaultPaths(""); err != nil || got != c.want {
				t.Errorf("got %+v, %v, want %+v", got, err, c.want)
			}
		})
	}
	t.Run("no home at all", func(t *testing.T) {
		for _, name := range []string{"HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"} {
			t.Setenv(name, "")
		}
		if p, err := DefaultPaths(""); !errors.Is(err, fault.NotFound) {
			t.Errorf("got %+v, %v", p, err)
		}
	})
}

// names lists a folder.
func names(t *testing.T, dir string) (out []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		out = append(out, e.Name())
	}
	return out
}

func TestFilesAreWrittenWholeOrNotAtAll(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	path := filepath.Join(dir, "file")
	for _, text := range []string{"first", "second, and longer", ""} {
		if err := writeFile(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("read back %q, %v", got, err)
		}
	}
	if runtime.GOOS != "windows" {
		for path, want := range map[string]os.FileMode{path: 0o600, dir: 0o700 | os.ModeDir} {
			if info, err := os.Stat(path); err != nil || info.Mode() != want {
				t.Errorf("%s has mode %v, %v, want %v", path, info.Mode(), err, want)
			}
		}
	}
	// A folder can't be replaced: the write fails, and leaves nothing half-written behind.
	taken := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(taken, "inside"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(taken, []byte("x")); err == nil {
		t.Error("a file took a folder's place")
	}
	if err := writeFile(filepath.Join(path, "below a file"), []byte("x")); err == nil {
		t.Error("a file lies below a file")
	}
	if got := names(t, dir); !slices.Equal(got, []string{"file", "taken"}) {
		t.Errorf("the folder has %v", got)
	}
}
