//go:build !linux

package process

import "syscall"

// attributes has nothing to ask for here: nodes get the terminal's interrupt too.
func attributes(bool) *syscall.SysProcAttr { return nil }
