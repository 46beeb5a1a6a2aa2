package main

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/harkmarket/hark/protocol/fault"
)

// maxSecret bounds a secret that is read.
const maxSecret = 64 << 10

// secret reads a secret. Where says from where: "-" is standard input, "file:PATH" a
// file; empty asks the environment for NAME_FILE and then a person at the terminal.
// A secret is never an argument: others can see those. An end of line at its end
// does not count.
func (a *app) secret(where, env, what string) ([]byte, error) {
	path, isFile := strings.CutPrefix(where, "file:")
	switch {
	case where == "-":
		raw, err := io.ReadAll(io.LimitReader(a.stdin, maxSecret+1))
		return secretOf(raw, "standard input", err)
	case isFile:
		return readSecretFile(path)
	case where != "":
		return nil, usagef("%s: give - (standard input) or file:PATH; others can see what stands in a command line", what)
	}
	if path := os.Getenv(env + "_FILE"); path != "" {
		return readSecretFile(path)
	}
	return a.askSecret(what)
}

func readSecretFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	raw, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	return secretOf(raw, path, err)
}

func secretOf(raw []byte, from string, err error) ([]byte, error) {
	if err != nil {
		return nil, fmt.Errorf("secret from %s: %w", from, err)
	}
	if len(raw) > maxSecret {
		return nil, fmt.Errorf("secret from %s: longer than 64 KiB: %w", from, fault.Malformed)
	}
	return bytes.TrimSuffix(bytes.TrimSuffix(raw, []byte("\n")), []byte("\r")), nil
}

// askSecret asks the person at the terminal, without showing what is typed where
// the system has stty.
func (a *app) askSecret(what string) ([]byte, error) {
	if !isTerminal(a.stdin) {
		return nil, usagef("%s: give - (standard input) or file:PATH", what)
	}
	quiet := stty("-echo") == nil
	if quiet {
		defer func() { _ = stty("echo") }()
	}
	fmt.Fprintf(a.stderr, "%s%s: ", strings.ToUpper(what[:1]), what[1:])
	line, err := bufio.NewReader(io.LimitReader(a.stdin, maxSecret)).ReadBytes('\n')
	fmt.Fprintln(a.stderr)
	if err != nil {
		return nil, fmt.Errorf("%s: nothing was typed: %w", what, err)
	}
	return secretOf(line, "the terminal", nil)
}

func stty(mode string) error {
	c := exec.Command("stty", mode)
	c.Stdin = os.Stdin
	return c.Run()
}

// A wrongKey is a passphrase that does not open the home: who gave it is not
// authorised, which is not the same as refused by somebody's consent.
type wrongKey struct {
	error
	next string // in place of what helps against a home
}

func (e *wrongKey) Unwrap() error { return e.error }

// Next is what to do about it.
func (e *wrongKey) Next() string {
	return cmp.Or(e.next, "try again with the passphrase that was given to hark init")
}

// opening is for errors of opening a home.
func opening(err error) error {
	if errors.Is(err, fault.Denied) {
		return &wrongKey{error: err}
	}
	return err
}

func isWrongKey(err error) bool {
	_, ok := errors.AsType[*wrongKey](err)
	return ok
}

// agree asks the person at the terminal whether that is meant. Where there is none, as in
// a script, whoever wrote the command meant it.
func (a *app) agree(what string) bool {
	if !isTerminal(a.stdin) {
		return true
	}
	fmt.Fprintf(a.stderr, "%s Type yes to go on: ", what)
	line, err := bufio.NewReader(io.LimitReader(a.stdin, 64)).ReadString('\n')
	return err == nil && strings.TrimSpace(line) == "yes"
}
