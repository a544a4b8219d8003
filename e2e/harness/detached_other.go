//go:build !linux

package harness

import "syscall"

// detached gives a child a process group of its own, so that Ctrl-C reaches the demo before its services. Only Linux
// can also signal it when its parent is killed.
func detached(syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
