package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/client"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol"
)

type statusCmd struct{}

func (c *statusCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		s, err := h.Admin().Status(ctx)
		if err != nil {
			return err
		}
		return a.show("hark.status/1", s, func(p *page) { writeStatus(p, s) })
	})
}

func writeStatus(p *page, s desk.Status) {
	for _, problem := range s.Problems {
		p.line("PROBLEM  %s", clean(problem.What))
		if problem.Fix != "" {
			p.line("         mend it with: %s", problem.Fix)
		}
	}
	if len(s.Problems) == 0 {
		p.line("No problems.")
	}
	p.line("")
	vault := "open"
	if s.Locked {
		vault = "locked"
	}
	p.facts("Node", fmt.Sprintf("%s, version %s, process %d, since %s", s.Profile, s.Version, s.PID, when(s.Started)),
		"Vault", vault+" (key from "+s.KeyStore+")", "Network", fmt.Sprintf("%s, %d peers", short(s.Network), s.Peers),
		"Disk", fmt.Sprintf("%.1f MB; evidence, kept for ever: %d signed messages of %.1f MB, %d ledger entries", float64(s.DiskBytes)/1e6, s.Evidence.Envelopes, float64(s.Evidence.Bytes)/1e6, s.Evidence.Entries),
		"Market", tally(s.Counts), "Letters", tally(s.Delivery))
	writeWays(p, s.Ways)
	var rows [][]string
	for _, b := range s.Bounds {
		rows = append(rows, []string{b.Name, fmt.Sprint(b.Used), "of", fmt.Sprint(b.Cap)})
	}
	if len(rows) > 0 {
		p.line("\nBounds:")
		p.table(nil, rows)
	}
	for _, d := range s.Owed {
		who := map[string]string{"customer": clean(d.Name) + " owes you", "vendor": "You owe"}[d.Side]
		p.line("%s %s, and has promised %s, for %d grants: owed, not earned.", who, money(&d.Owed), money(&d.Promised), d.Grants)
	}
	for _, k := range s.Keepers {
		if line := keeperWords(k); line != "" {
			p.line("%s", line)
		}
	}
}

// keeperWords says what was noticed of a keeper, "" where that is nothing.
func keeperWords(k desk.KeeperReport) (line string) {
	if k.Lacked.Letters > 0 {
		line += fmt.Sprintf(" It lacked %d that others had, the last at %s: without its receipt it may never have had them.", k.Lacked.Letters, whenMS(k.Lacked.LastMS))
		if len(k.Proofs) > 0 {
			line = fmt.Sprintf(" It lacked %d that others had, the last at %s.", k.Lacked.Letters, whenMS(k.Lacked.LastMS))
		}
	}
	if n := len(k.Altered); n > 0 {
		line += fmt.Sprintf(" It handed out %d altered letters.", n)
	}
	if line == "" {
		return ""
	}
	return fmt.Sprintf("Note: keeper %s gave receipts for %d letters of yours.%s", short(k.Key), k.Receipts, line)
}

func writeWays(p *page, ways []desk.WayIn) {
	var rows [][]string
	for _, w := range ways {
		if w.Works == desk.Off {
			rows = append(rows, []string{w.Way, w.Works})
			continue
		}
		row := []string{w.Way, w.Works, fmt.Sprintf("%d named", w.Known), fmt.Sprintf("%d reached", w.Reached)}
		if w.Last != nil {
			row = append(row, "last "+when(*w.Last))
		}
		rows = append(rows, row)
	}
	if len(rows) > 0 {
		p.line("\nWays in:")
		p.table(nil, rows)
	}
}

// tally writes counts by name, in order.
func tally(counts map[string]int) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		if counts[name] > 0 {
			all = append(all, fmt.Sprintf("%d %s", counts[name], name))
		}
	}
	return cmp.Or(strings.Join(all, ", "), "nothing")
}

type stopCmd struct{}

// Run asks the node to stop and waits until its process has closed everything.
func (c *stopCmd) Run(ctx context.Context, a *app) error {
	ctx, cancel := a.within(ctx)
	defer cancel()
	n, err := a.client(ctx)
	if err != nil {
		return err
	}
	defer n.Close()
	pid, err := n.Health(ctx)
	if err != nil {
		return err
	}
	if err := n.Admin().Stop(ctx); err != nil {
		return err
	}
	a.progress("waiting for process %d to end", pid)
	for !a.ended(ctx, n, pid) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("process %d is still there: %w", pid, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
	return a.done("hark.stop/1", map[string]int{"pid": pid}, "stopped (process %d)", pid)
}

// ended tells whether a node is down: its API no longer answers, and its api.json,
// which it removes last, is gone or its process is.
func (a *app) ended(ctx context.Context, n *client.Client, pid int) bool {
	if now, err := n.Health(ctx); err == nil && now == pid || ctx.Err() != nil {
		return false
	}
	path, err := a.apiFile()
	if err != nil || path == "" {
		return err == nil
	}
	f, err := client.ReadFile(path)
	return err != nil || f.PID != pid || !alive(pid)
}

// alive tells whether there is such a process; false where the system can't say.
func alive(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	err = p.Signal(syscall.Signal(0))
	return err == nil || errors.Is(err, os.ErrPermission)
}

type pathsCmd struct{}

func (c *pathsCmd) Run(a *app) error {
	p, err := a.paths()
	if err != nil {
		return err
	}
	v := struct {
		Config string `json:"config"`
		Data   string `json:"data"`
		State  string `json:"state"`
		API    string `json:"api"`
	}{p.Config, p.Data, p.State, p.API()}
	return a.show("hark.paths/1", v, func(out *page) {
		out.facts("Config", v.Config, "Data", v.Data, "State", v.State, "API", v.API)
	})
}

type unlockCmd struct {
	Passphrase string `help:"Where the passphrase comes from: - or file:PATH (or HARK_PASSPHRASE_FILE)." placeholder:"FROM"`
}

func (c *unlockCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		s, err := h.Admin().Status(ctx)
		if err != nil {
			return err
		}
		var secret []byte
		switch {
		case s.KeyStore == node.KeyPassphrase:
			if secret, err = a.secret(c.Passphrase, "HARK_PASSPHRASE", "passphrase"); err != nil {
				return err
			}
		case c.Passphrase != "":
			return usagef("this home has no passphrase: its key comes from the %s store; leave --passphrase out", s.KeyStore)
		}
		defer clear(secret)
		if err := h.Admin().Unlock(ctx, secret); err != nil {
			return opening(err)
		}
		return a.done("hark.unlock/1", map[string]bool{"locked": false}, "the vault is open")
	})
}

type lockCmd struct{}

func (c *lockCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		if err := h.Admin().Lock(ctx); err != nil {
			return err
		}
		return a.done("hark.lock/1", map[string]bool{"locked": true}, "the vault is locked")
	})
}

type eventsCmd struct {
	After uint64   `help:"Start after this event." placeholder:"ID"`
	Kind  []string `help:"Only these kinds; what stands before a dot means all of them, as grant: ${event_kinds}." placeholder:"KIND"`
	Count int      `help:"End after so many events." placeholder:"N"`
}

// errEnough ends the following of events.
var errEnough = errors.New("enough")

// Run prints events until it is interrupted, there are enough, or the time that was given is
// over: NDJSON with --json. A gap is shown, whatever kinds were asked for and not among the
// Count: it means that events are missing.
func (c *eventsCmd) Run(ctx context.Context, a *app) error {
	if err := c.check(); err != nil {
		return err
	}
	asked := ctx
	if a.Timeout != nil {
		var cancel context.CancelFunc
		ctx, cancel = a.within(ctx)
		defer cancel()
	}
	n := 0
	err := a.follow(ctx, func(ctx context.Context, h desk.House) error {
		return h.Admin().Events(ctx, c.After, func(e desk.Event) error {
			if e.Kind == desk.EventGap {
				fmt.Fprintln(a.stderr, "hark:", gapText(e))
				return a.event(e)
			}
			if !c.wants(e.Kind) {
				return nil
			}
			if err := a.event(e); err != nil {
				return err
			}
			if n++; n == c.Count {
				return errEnough
			}
			return nil
		})
	})
	switch {
	case errors.Is(err, errEnough) || asked.Err() != nil:
		return nil
	case ctx.Err() != nil && c.Count > 0:
		return fmt.Errorf("%d of %d events came: %w", n, c.Count, ctx.Err())
	case ctx.Err() != nil:
		return nil
	}
	return err
}

// gapText says what is missing.
func gapText(e desk.Event) string {
	if e.Data["why"] == desk.GapDropped {
		return fmt.Sprintf("%s events after %s are gone: the node keeps no more of them", e.Data["missed"], e.Data["after"])
	}
	return fmt.Sprintf("event %s is none of this node since it started: what came between is gone", e.Data["after"])
}

func (c *eventsCmd) wants(kind string) bool {
	return len(c.Kind) == 0 || slices.ContainsFunc(c.Kind, func(k string) bool { return desk.Within([]string{kind}, k) })
}

// check refuses what would be waited for without an end.
func (c *eventsCmd) check() error {
	if c.Count < 0 {
		return usagef("--count %d: want 1 or more", c.Count)
	}
	for _, k := range c.Kind {
		if !desk.Within(desk.EventKinds(), k) {
			return usagef("--kind %s: %s", clean(k), protocol.NoSuch("kind of event", k, desk.EventKinds()))
		}
	}
	return nil
}

func (a *app) event(e desk.Event) error {
	if a.JSON {
		return a.writeJSON(a.stdout, "hark.event/1", e, false)
	}
	var data []string
	for _, name := range slices.Sorted(maps.Keys(e.Data)) {
		value := e.Data[name]
		if len(value) == 64 {
			value = short(value)
		}
		data = append(data, name+"="+value)
	}
	_, err := fmt.Fprintf(a.stdout, "%s  %-20s %s %s\n", time.UnixMilli(e.AtMS).UTC().Format("15:04:05.000"),
		clean(e.Kind), short(e.Ref), clean(strings.Join(data, " ")))
	return err
}

type lettersCmd struct {
	paging
	Sent  bool   `help:"Letters that this node sent; otherwise those it received."`
	State string `help:"With --sent: only in this delivery state: ${letter_states}."`
}

func (c *lettersCmd) Run(ctx context.Context, a *app) error {
	return a.ask(ctx, func(ctx context.Context, h desk.House) error {
		q, err := c.query()
		if err != nil {
			return err
		}
		q.State = c.State
		p, err := h.Admin().Letters(ctx, c.Sent, q)
		if err != nil {
			return err
		}
		return list(a, "hark.letters/1", p.Items, p.Next, "LETTER KIND STATE RECEIPTS MISSING ALTERED AT", func(l desk.LetterReport) []string {
			return []string{short(l.ID), l.Kind, l.State, fmt.Sprint(len(l.Receipts)), count(len(l.Missing)), count(len(l.Altered)), whenMS(l.AtMS)}
		})
	})
}

// version is set when a release is built; otherwise the build knows its commit.
var version = ""

func programVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

type versionCmd struct{}

func (c *versionCmd) Run(a *app) error {
	v := map[string]string{"version": programVersion(), "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH}
	return a.done("hark.version/1", v, "hark %s (%s, %s/%s)", v["version"], v["go"], v["os"], v["arch"])
}
