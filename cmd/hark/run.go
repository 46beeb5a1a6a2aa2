package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/protocol"
)

// closeWait bounds the shutdown of a node.
const closeWait = 20 * time.Second

type initCmd struct {
	Profile    string   `help:"personal: a customer's, outbound only. public: a vendor's or keeper's, always on." enum:"personal,public" default:"personal" env:"HARK_PROFILE"`
	Network    string   `help:"The network to join, from hark network new; the public one without it." placeholder:"FILE"`
	Bootstrap  []string `help:"Where public nodes may be found: an address with /p2p/. Repeat it." env:"HARK_BOOTSTRAP" placeholder:"ADDR"`
	Listen     []string `help:"Where a public node listens: a multiaddress. Repeat it." env:"HARK_LISTEN" placeholder:"ADDR"`
	Announce   []string `help:"Where others reach a public node, where it can't find that out itself: a multiaddress. Repeat it." env:"HARK_ANNOUNCE" placeholder:"ADDR"`
	Ways       []string `help:"Ways in that the node uses, of bootstrap, cache, exchange and dht; all four without it. Repeat it." env:"HARK_WAYS" placeholder:"WAY"`
	APIAddr    string   `name:"api-addr" help:"Loopback address of the REST API." default:"127.0.0.1:0" env:"HARK_API_ADDR" placeholder:"ADDR"`
	PostHops   int      `help:"How a personal node posts needs: 2, sealed by way of another keeper, or 1, straight (default 2)." placeholder:"N"`
	PostDelay  string   `help:"Each need waits a random part of this at its keepers, 0s to 10s (default 5s)." placeholder:"SPAN"`
	KeyStore   string   `help:"What opens the node's keys: passphrase, keyring (the system's) or file (beside them, with no protection but its mode)." enum:"passphrase,keyring,file," default:"" env:"HARK_KEY_STORE"`
	Passphrase string   `help:"Where the passphrase comes from: - or file:PATH (or HARK_PASSPHRASE_FILE)." placeholder:"FROM"`
	Cheap      bool     `help:"A passphrase key that is quick to compute, and to guess: for tests." hidden:""`
}

func (c *initCmd) Run(a *app) error {
	p, err := a.paths()
	if err != nil {
		return err
	}
	o := node.InitOptions{Paths: p, Profile: c.Profile, Bootstrap: c.Bootstrap, Listen: c.Listen, Announce: c.Announce, Ways: c.Ways, API: c.APIAddr, KeyStore: c.KeyStore, Cheap: c.Cheap, PostHops: c.PostHops, PostDelay: c.PostDelay}
	if c.Network != "" {
		f, err := node.ReadNetwork(c.Network)
		if err != nil {
			return err
		}
		if o.Network, _, err = f.Open(); err != nil {
			return fmt.Errorf("%s: %w", c.Network, err)
		}
		o.Bootstrap = append(o.Bootstrap, f.Bootstrap...)
	}
	if c.Passphrase != "" || c.KeyStore == node.KeyPassphrase || c.KeyStore == "" && os.Getenv("HARK_PASSPHRASE_FILE") != "" {
		if o.Passphrase, err = c.choose(a); err != nil {
			return err
		}
		defer clear(o.Passphrase)
	}
	if err := node.Init(o); err != nil {
		return err
	}
	return c.say(a, p, o)
}

// choose reads a new passphrase; who types it types it twice.
func (c *initCmd) choose(a *app) ([]byte, error) {
	first, err := a.secret(c.Passphrase, "HARK_PASSPHRASE", "passphrase")
	if err != nil {
		return nil, err
	}
	if len(first) == 0 {
		return nil, usagef("the passphrase is empty")
	}
	if c.Passphrase != "" || os.Getenv("HARK_PASSPHRASE_FILE") != "" {
		return first, nil
	}
	again, err := a.askSecret("passphrase again")
	defer clear(again)
	if err == nil && !bytes.Equal(first, again) {
		err = usagef("the two passphrases differ")
	}
	return first, err
}

type rekeyCmd struct {
	KeyStore   string `help:"What opens the node's keys from now on: passphrase or keyring (the system's)." enum:"passphrase,keyring" default:"passphrase"`
	Passphrase string `help:"Where the new passphrase comes from: - or file:PATH (or HARK_PASSPHRASE_FILE)." placeholder:"FROM"`
	Old        string `help:"Where the passphrase so far comes from, if there is one: - or file:PATH (or HARK_OLD_PASSPHRASE_FILE)." placeholder:"FROM"`
}

func (c *rekeyCmd) Run(a *app) error {
	p, err := a.paths()
	if err != nil {
		return err
	}
	store, err := node.KeyStoreOf(p)
	if err != nil {
		return err
	}
	var old, fresh []byte
	if store == node.KeyPassphrase {
		if old, err = a.secret(c.Old, "HARK_OLD_PASSPHRASE", "passphrase so far"); err != nil {
			return err
		}
		defer clear(old)
	}
	if c.KeyStore == node.KeyPassphrase {
		if fresh, err = (&initCmd{Passphrase: c.Passphrase}).choose(a); err != nil {
			return err
		}
		defer clear(fresh)
	}
	if err := node.Rekey(p, old, c.KeyStore, fresh); err != nil {
		return opening(err)
	}
	return a.done("hark.rekey/1", map[string]string{"key_store": c.KeyStore}, "what opens this home is the %s now; a node that runs stays open, and copies made before open as before", c.KeyStore)
}

// say tells what was made, and warns where keys lie open.
func (c *initCmd) say(a *app, p node.Paths, o node.InitOptions) error {
	store := o.KeyStore
	if store == "" && len(o.Passphrase) > 0 {
		store = node.KeyPassphrase
	} else if store == "" {
		store = node.KeyFile
	}
	g := o.Network
	if g == nil {
		g = node.DefaultGenesis()
	}
	if store == node.KeyFile {
		fmt.Fprintln(a.stderr, "hark: WARNING: the key lies in a file beside the data; whoever can read your files can read your vault. --key-store passphrase is better.")
	}
	v := struct {
		Config   string `json:"config"`
		Profile  string `json:"profile"`
		Network  string `json:"network"`
		KeyStore string `json:"key_store"`
	}{p.Config, c.Profile, networkID(g), store}
	return a.show("hark.init/1", v, func(out *page) {
		out.line("made a %s node in %s (network %s, %s)", c.Profile, p.Config, clean(g.Name), short(v.Network))
		out.line("start it with: %s run", a.self())
	})
}

func networkID(g *protocol.Genesis) string {
	f, err := node.ShowNetwork(g, nil)
	if err != nil {
		return ""
	}
	return f.ID
}

type runCmd struct {
	Passphrase string   `help:"Where the passphrase comes from: - or file:PATH (or HARK_PASSPHRASE_FILE). Without it the node starts locked." placeholder:"FROM"`
	Ways       []string `help:"Ways in that the node uses in this run, of bootstrap, cache, exchange and dht; what config.toml says without it. Repeat it." env:"HARK_WAYS" placeholder:"WAY"`
	LogLevel   string   `help:"How much to log on standard error." enum:"debug,info,warn,error" default:"warn" env:"HARK_LOG_LEVEL"`
	Misbehave  string   `help:"Break a promise on purpose, for demonstrations." hidden:"" placeholder:"HOW"`
}

// Run opens the node and closes it when it is asked to stop. A second start finds
// the first.
func (c *runCmd) Run(ctx context.Context, a *app) error {
	p, err := a.paths()
	if err != nil {
		return err
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return &usageError{err}
	}
	cfg := node.Config{
		Paths: p, Version: programVersion(), Misbehave: c.Misbehave, Ways: c.Ways,
		Log: slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: level})),
	}
	if c.Passphrase != "" || os.Getenv("HARK_PASSPHRASE_FILE") != "" {
		if cfg.Passphrase, err = a.secret(c.Passphrase, "HARK_PASSPHRASE", "passphrase"); err != nil {
			return err
		}
		defer clear(cfg.Passphrase)
	}
	n, err := node.Open(ctx, cfg)
	if first, ok := errors.AsType[*node.AlreadyRunning](err); ok {
		return c.found(a, p, first)
	}
	if err != nil {
		return opening(err)
	}
	if err := a.ready(p, n.URL(), os.Getpid()); err != nil {
		return errors.Join(err, closeNode(ctx, n))
	}
	select {
	case <-ctx.Done():
	case <-n.Done():
	}
	a.progress("stopping")
	return closeNode(ctx, n)
}

// closeNode closes a node whose context has ended.
func closeNode(ctx context.Context, n *node.Node) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWait)
	defer cancel()
	return n.Close(ctx)
}

// runView is what run prints with --json once the node answers.
type runView struct {
	URL     string `json:"url"`
	PID     int    `json:"pid"`
	API     string `json:"api"`
	Already bool   `json:"already_running,omitempty"`
}

// ready says where the node answers: one line of JSON, or two for people.
func (a *app) ready(p node.Paths, url string, pid int) error {
	if a.JSON {
		return a.writeJSON(a.stdout, "hark.run/1", runView{URL: url, PID: pid, API: p.API()}, false)
	}
	_, err := fmt.Fprintf(a.stdout, "running at %s (process %d)\nask how it is with: %[3]s status; stop it with: %[3]s stop\n", url, pid, a.self())
	return err
}

// found is the second start of a home: it points to the first and is content.
func (c *runCmd) found(a *app, p node.Paths, first *node.AlreadyRunning) error {
	if a.JSON {
		return a.writeJSON(a.stdout, "hark.run/1", runView{URL: first.URL, PID: first.PID, API: p.API(), Already: true}, false)
	}
	if first.URL == "" {
		_, err := fmt.Fprintln(a.stdout, "already running: it is just starting; see hark status")
		return err
	}
	_, err := fmt.Fprintf(a.stdout, "already running at %s (process %d)\n", first.URL, first.PID)
	return err
}
