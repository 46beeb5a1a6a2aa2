package integration

import "syscall"

// attributes make a process end with the test that started it, however that ends.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
