package main

import (
	"errors"
	"io"
	"io/fs"
	"strings"
	"syscall"

	"github.com/harkmarket/hark/protocol/fault"
)

// A local is what the system said of a file or folder that the command names: it is the user's
// to mend, and no error of this program.
type local struct {
	err        error
	code, next string
	exit       int
}

// localOf finds one in an error that has no kind of its own; nil where there is none.
func localOf(err error) *local {
	for _, l := range []local{
		{fs.ErrNotExist, "not-found", "look at the name; nothing is there", exitNotFound},
		{fs.ErrExist, "conflict", "nothing is overwritten: name another file, or move that one away", exitError},
		{fs.ErrPermission, "not-permitted", "you may not read or write there: name another place, or change its mode", exitLocked},
		{syscall.EISDIR, "malformed", "name a file in it", exitError},
		{syscall.ENOTDIR, "malformed", "a part of the path is a file, and no folder", exitError},
		{syscall.ENOSPC, "full", "make room on the disk", exitError},
		{io.EOF, "malformed", "give what was asked for, or say from where with - or file:PATH", exitError},
	} {
		if fault.Of(err) == fault.Internal && errors.Is(err, l.err) {
			return &l
		}
	}
	return nil
}

// codeOf is the name of an error, to quote and to test for.
func codeOf(err error) string {
	if l := localOf(err); l != nil {
		return l.code
	}
	return strings.ReplaceAll(fault.Of(err).Error(), " ", "-")
}

// exitCodes are the last lines of the help.
const exitCodes = `Exit codes: 0 ok · 1 error, which its code names · 2 usage: the command makes no sense · 3 no node is running · 4 locked, or not authorised · 5 not found · 6 refused by consent or policy · 7 timed out.`
