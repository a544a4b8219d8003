package harness

import "syscall"

// detached gives a child a process group of its own, so that Ctrl-C reaches the demo before its services, and has the
// kernel send it a signal when its parent ends in whatever way.
func detached(orphaned syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: orphaned}
}
