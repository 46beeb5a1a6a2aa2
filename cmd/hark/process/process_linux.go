package process

import "syscall"

// attributes put a node into a process group of its own, so that an interrupt at the
// terminal reaches the parent alone, which then closes the nodes in order. A node
// that need not outlive its parent ends with it, however that ends.
func attributes(outlive bool) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true}
	if !outlive {
		a.Pdeathsig = syscall.SIGTERM
	}
	return a
}
