package node

import (
	"cmp"
	"errors"
	"fmt"
	"os"

	toml "github.com/pelletier/go-toml/v2"

	"github.com/harkmarket/hark/node/internal/peers/address"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

// The profiles of a node.
const (
	Personal = "personal" // a customer's: outbound only, in no mesh
	Public   = "public"   // a vendor's or keeper's: listens, gossips, holds mail
)

// SettingsVersion is the version of config.toml that this program reads and writes.
const SettingsVersion = 1

// Settings are <config>/config.toml.
type Settings struct {
	Version int      `toml:"version"`
	Profile string   `toml:"profile" comment:"personal: outbound only; public: listens, gossips and holds mail for others"`
	Listen  []string `toml:"listen" comment:"multiaddresses that a public node listens on"`
	// What is announced is taken as reachable: nobody is asked.
	Announce []string `toml:"announce,omitempty" comment:"multiaddresses at which others reach a public node, where it can't find that out itself"`
	Ways     []string `toml:"ways,omitempty" comment:"ways in that this node uses, of bootstrap, cache, exchange and dht; all four where this line is missing"`
	API      string   `toml:"api" comment:"loopback address of the REST API; port 0 takes a free one"`
	// A pointer tells what is not written from what is written as zero.
	PostHops  *int    `toml:"post_hops,omitempty" comment:"2: a need goes to each of its keepers sealed, by way of another of them; 1: straight"`
	PostDelay *string `toml:"post_delay,omitempty" comment:"each need waits a random part of this at its keepers before it is published: 0s to 10s"`
}

// InitOptions say what home to make.
type InitOptions struct {
	Paths      Paths
	Profile    string            // Personal where empty
	Network    *protocol.Genesis // DefaultGenesis where nil
	Bootstrap  []string          // addresses with /p2p/ of public nodes
	Listen     []string          // public nodes; any free UDP and TCP port where empty
	Announce   []string          // public nodes; found out where empty
	Ways       []string          // ways in that it uses; all four where nil
	API        string            // 127.0.0.1:0 where empty
	PostHops   int               // personal nodes; DefaultPostHops where 0
	PostDelay  string            // likewise; DefaultPostDelay where empty
	KeyStore   string            // KeyPassphrase where a passphrase is given, else KeyFile
	Passphrase []byte
	Cheap      bool // a passphrase key that is quick to compute: for tests alone
}

// Init makes the home of a node: its folders, keys, settings and network. It
// refuses one that is there already.
func Init(o InitOptions) error {
	if o.Profile == "" {
		o.Profile = Personal
	}
	if o.Profile != Personal && o.Profile != Public {
		return fmt.Errorf("profile %q is neither %s nor %s: %w", o.Profile, Personal, Public, fault.Malformed)
	}
	if o.KeyStore == "" {
		o.KeyStore = KeyFile
		if len(o.Passphrase) > 0 {
			o.KeyStore = KeyPassphrase
		}
	}
	if err := knownStore(o.KeyStore); err != nil {
		return err
	}
	if (o.KeyStore == KeyPassphrase) != (len(o.Passphrase) > 0) {
		return fmt.Errorf("a passphrase goes with --key-store passphrase, and with no other: %w", fault.Malformed)
	}
	if _, err := os.Stat(o.Paths.keys()); err == nil {
		return fmt.Errorf("a node lives in %s already; name another folder with --home: %w", o.Paths.Config, fault.Conflict)
	} else if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("home: %w", err)
	}
	if o.Network == nil {
		o.Network = DefaultGenesis()
	}
	for _, text := range o.Bootstrap {
		if _, err := address.Parse(text); err != nil {
			return fmt.Errorf("bootstrap %q: %w", text, err)
		}
	}
	if o.Profile == Public && (o.PostHops != 0 || o.PostDelay != "") {
		return fmt.Errorf("how needs are posted is a setting of personal nodes; a public one gossips its own: %w", fault.Malformed)
	}
	if err := o.settings().check(); err != nil {
		return err
	}
	network, err := ShowNetwork(o.Network, o.Bootstrap)
	if err != nil {
		return err
	}
	return writeHome(o, network)
}

// settings are those that go with the options.
func (o InitOptions) settings() Settings {
	s := Settings{Version: SettingsVersion, Profile: o.Profile, Listen: o.Listen, Announce: o.Announce, Ways: o.Ways, API: cmp.Or(o.API, freeLoopback)}
	if hops, delay := cmp.Or(o.PostHops, DefaultPostHops), cmp.Or(o.PostDelay, DefaultPostDelay); o.Profile == Personal {
		s.PostHops, s.PostDelay = &hops, &delay
	}
	return s
}

// writeHome writes the files; keys.json comes last, so that a home cut off half-way
// counts as none.
func writeHome(o InitOptions, network NetworkFile) error {
	s := o.settings()
	if s.Profile == Public && len(s.Listen) == 0 {
		s.Listen = []string{"/ip4/0.0.0.0/udp/0/quic-v1", "/ip4/0.0.0.0/tcp/0"}
	}
	raw, err := toml.Marshal(s)
	if err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	if err := writeFile(o.Paths.settings(), raw); err != nil {
		return err
	}
	if err := network.Write(o.Paths.network()); err != nil {
		return err
	}
	if err := newKeeperKey(o.Paths); err != nil {
		return err
	}
	_, err = newKeys(o.Paths, o.KeyStore, o.Passphrase, o.Cheap)
	return err
}

// ReadSettings reads config.toml. A newer version is refused, not half read.
func ReadSettings(p Paths) (Settings, error) {
	var s Settings
	raw, err := os.ReadFile(p.settings())
	if errors.Is(err, os.ErrNotExist) {
		return s, fmt.Errorf("no node lives in %s; make one with hark init: %w", p.Config, fault.NotFound)
	}
	if err != nil {
		return s, fmt.Errorf("settings: %w", err)
	}
	if err := readTOML(raw, &s); err != nil {
		return s, fmt.Errorf("%s, %w", p.settings(), err)
	}
	if s.Version != SettingsVersion {
		return s, fmt.Errorf("%s has version %d, this program reads %d: %w", p.settings(), s.Version, SettingsVersion, fault.Unsupported)
	}
	if err := s.check(); err != nil {
		return s, fmt.Errorf("%s: %w", p.settings(), err)
	}
	return s, nil
}
