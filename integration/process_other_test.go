//go:build !linux

package integration

import "syscall"

// attributes has nothing to ask for here: a test that is cut off leaves processes behind.
func attributes() *syscall.SysProcAttr { return nil }
