package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/harkmarket/hark/protocol/fault"
)

// Paths are the folders of one node.
type Paths struct {
	Config string `json:"config"` // config.toml, network.json, keys.json
	Data   string `json:"data"`   // the store
	State  string `json:"state"`  // api.json, token, lock, log
}

// DefaultPaths gives the folders below home, or, where home is empty, the user's:
// the XDG base directories on Linux, the native ones on macOS and Windows.
func DefaultPaths(home string) (Paths, error) {
	if home != "" {
		abs, err := filepath.Abs(home)
		if err != nil {
			return Paths{}, fmt.Errorf("home folder %s: %w", home, err)
		}
		return Paths{Config: abs, Data: filepath.Join(abs, "data"), State: filepath.Join(abs, "state")}, nil
	}
	config, err := os.UserConfigDir()
	if err != nil {
		return Paths{}, fmt.Errorf("no configuration folder (%w); name one with --home: %w", err, fault.NotFound)
	}
	if runtime.GOOS == "darwin" || runtime.GOOS == "windows" {
		base := filepath.Join(config, "hark")
		return Paths{Config: base, Data: filepath.Join(base, "data"), State: filepath.Join(base, "state")}, nil
	}
	user, err := os.UserHomeDir()
	if err != nil {
		return Paths{}, fmt.Errorf("no home folder (%w); name one with --home: %w", err, fault.NotFound)
	}
	xdg := func(name, fallback string) string {
		if dir := os.Getenv(name); filepath.IsAbs(dir) { // the XDG specification: relative paths are ignored
			return filepath.Join(dir, "hark")
		}
		return filepath.Join(user, fallback, "hark")
	}
	return Paths{
		Config: filepath.Join(config, "hark"),
		Data:   xdg("XDG_DATA_HOME", ".local/share"),
		State:  xdg("XDG_STATE_HOME", ".local/state"),
	}, nil
}

func (p Paths) store() string     { return filepath.Join(p.Data, "store") }
func (p Paths) keys() string      { return filepath.Join(p.Config, "keys.json") }
func (p Paths) keyFile() string   { return filepath.Join(p.Config, "home.key") }
func (p Paths) settings() string  { return filepath.Join(p.Config, "config.toml") }
func (p Paths) network() string   { return filepath.Join(p.Config, "network.json") }
func (p Paths) keeperKey() string { return filepath.Join(p.Data, "keeper.key") }
func (p Paths) peers() string     { return filepath.Join(p.State, "peers.json") }
func (p Paths) dht() string       { return filepath.Join(p.State, "dht.json") }

// API is where a running node says how to reach it.
func (p Paths) API() string { return filepath.Join(p.State, "api.json") }

// Token is the file of the API's bearer token.
func (p Paths) Token() string { return filepath.Join(p.State, "token") }

// reached is told each step of changing files and keys before it is done. A test stops
// there, as a kill or a power cut would.
var reached = func(step, path string) {}

// writeFile writes a file as its owner's alone, whole or not at all: to a new file
// that is synced and then takes the old one's place. It is so after a power cut too.
func writeFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("folder of %s: %w", path, err)
	}
	reached("create", path)
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	reached("write", path)
	_, err = f.Write(data)
	if err == nil {
		reached("sync", path)
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		reached("rename", path)
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error says what went wrong
		return fmt.Errorf("write %s: %w", path, err)
	}
	return syncFolder(path)
}

// removeFile removes a file for good.
func removeFile(path string) error {
	reached("remove", path)
	if err := os.Remove(path); err != nil {
		return err
	}
	return syncFolder(path)
}

// syncFolder makes it durable that a file stands in its folder, or stands there no more.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil // a folder can't be synced there
	}
	reached("sync folder", path)
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("folder of %s: %w", path, err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("folder of %s: %w", path, err)
	}
	return nil
}
