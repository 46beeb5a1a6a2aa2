package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/harkmarket/hark/node"
	"github.com/harkmarket/hark/node/client"
	"github.com/harkmarket/hark/node/desk"
	"github.com/harkmarket/hark/protocol/fault"
)

// An app is one run of the program: its flags and where it reads and writes.
type app struct {
	cli
	stdin          io.Reader
	stdout, stderr io.Writer
	interest       bool // the command is about an interest, not a need
}

// paths are the folders of the node that is meant.
func (a *app) paths() (node.Paths, error) { return node.DefaultPaths(a.Home) }

// apiFile is where the running node leaves its api.json; empty when it was named by
// a URL.
func (a *app) apiFile() (string, error) {
	if strings.HasPrefix(a.API, "http://") || strings.HasPrefix(a.API, "https://") {
		return "", nil
	}
	if a.API == "" {
		p, err := a.paths()
		return p.API(), err
	}
	if info, err := os.Stat(a.API); err == nil && info.IsDir() {
		return filepath.Join(a.API, "api.json"), nil
	}
	return a.API, nil
}

// client finds the running node.
func (a *app) client(ctx context.Context) (*client.Client, error) {
	file, err := a.apiFile()
	if err != nil {
		return nil, err
	}
	if file == "" {
		return urlClient(ctx, a.API)
	}
	return client.Open(ctx, file)
}

func urlClient(ctx context.Context, url string) (*client.Client, error) {
	file := os.Getenv("HARK_TOKEN_FILE")
	if file == "" {
		return nil, &usageError{errors.New("--api with a URL needs HARK_TOKEN_FILE, the file with the node's token")}
	}
	token, err := readSecretFile(file)
	if err != nil {
		return nil, err
	}
	c, err := client.New(url, string(token))
	if err != nil {
		return nil, err
	}
	_, err = c.Health(ctx)
	return c, err
}

// patience is how long the node may take where nothing is said.
const patience = 2 * time.Minute

// AfterApply refuses a wait that is none.
func (c *cli) AfterApply() error {
	if c.Timeout != nil && *c.Timeout <= 0 {
		return fmt.Errorf("--timeout %v: want a span such as 30s or 5m", *c.Timeout)
	}
	return nil
}

// within gives the time that the node may take.
func (c *cli) within(ctx context.Context) (context.Context, context.CancelFunc) {
	wait := patience
	if c.Timeout != nil {
		wait = *c.Timeout
	}
	return context.WithTimeout(ctx, wait)
}

// ask calls fn with the running node, within the timeout.
func (a *app) ask(ctx context.Context, fn func(context.Context, desk.House) error) error {
	ctx, cancel := a.within(ctx)
	defer cancel()
	return a.follow(ctx, fn)
}

// follow is ask without a timeout.
func (a *app) follow(ctx context.Context, fn func(context.Context, desk.House) error) error {
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return fn(ctx, c)
}

// A usageError is a command that makes no sense.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// Exit codes.
const (
	exitOK = iota
	exitError
	exitUsage
	exitNotRunning
	exitLocked
	exitNotFound
	exitDenied
	exitTimeout
)

// exitCode is the exit code for an error.
func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	if e, ok := errors.AsType[*client.Error](err); ok && e.Code == "timeout" || errors.Is(err, context.DeadlineExceeded) {
		return exitTimeout
	}
	switch {
	case errors.Is(err, client.ErrNotRunning):
		return exitNotRunning
	case client.Unauthorised(err) || errors.Is(err, fault.Locked) || isWrongKey(err):
		return exitLocked
	case errors.Is(err, fault.NotFound):
		return exitNotFound
	case errors.Is(err, fault.Denied):
		return exitDenied
	}
	if l := localOf(err); l != nil {
		return l.exit
	}
	return exitError
}

// A complaint is an error as it is printed.
type complaint struct {
	What string `json:"what"`
	Next string `json:"next,omitempty"`
	Code string `json:"code"`
	Exit int    `json:"exit"`
}

// complain finds the words for an error.
func complain(err error) complaint {
	c := complaint{What: err.Error(), Code: codeOf(err), Exit: exitCode(err)}
	if l := localOf(err); l != nil {
		c.Next = l.next
	}
	if e, ok := errors.AsType[*client.Error](err); ok {
		c.Code, c.Next = e.Code, e.Next
	}
	if n, ok := errors.AsType[interface {
		error
		Next() string
	}](err); ok {
		c.Next = n.Next()
	}
	if n, ok := errors.AsType[codedError](err); ok {
		c.Code = n.code
	}
	switch c.Exit {
	case exitUsage:
		c.Code, c.Next = "usage", "hark --help, or hark COMMAND --help"
	case exitNotRunning:
		c.Code, c.Next = "not-running", "start it with: hark run"
	case exitTimeout:
		c.Code, c.Next = "timeout", "it may still be under way: look at hark status, or give --timeout more"
	}
	return c
}

// fail prints an error, if there is one, and gives the exit code.
func (a *app) fail(err error) int {
	if err == nil {
		return exitOK
	}
	c := complain(err)
	if c.Exit == exitNotRunning {
		c.Next = "start it with: " + a.self() + " run"
	}
	if a.JSON {
		_ = a.writeJSON(a.stderr, "hark.error/1", c, false) // nowhere left to say that this failed
		return c.Exit
	}
	fmt.Fprintf(a.stderr, "hark: %s\n", c.What)
	if c.Next != "" {
		fmt.Fprintf(a.stderr, "  next: %s\n", c.Next)
	}
	fmt.Fprintf(a.stderr, "  code: %s\n", c.Code)
	return c.Exit
}

// self is this program as the user has to call it for the same home.
func (c *cli) self() string {
	if c.Home == "" || c.Home == os.Getenv("HARK_HOME") {
		return "hark"
	}
	if strings.ContainsAny(c.Home, " \t'\"\\$") {
		return "hark --home '" + strings.ReplaceAll(c.Home, "'", `'\''`) + "'"
	}
	return "hark --home " + c.Home
}

// progress says what is being waited for; only on a terminal.
func (a *app) progress(format string, args ...any) {
	if isTerminal(a.stderr) {
		fmt.Fprintf(a.stderr, format+"\n", args...)
	}
}

func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && info.Mode()&os.ModeDevice != 0 && file.Name() != os.DevNull
}
