//go:build !linux

package harness

import (
	"os/exec"
	"syscall"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/wallclock"
)

// detached gives a child a process group of its own, so that Ctrl-C reaches the demo before its services. Only Linux
// can also signal it when its parent is killed.
func detached(syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// startShifted can only be had on Linux.
func startShifted(*exec.Cmd, time.Duration) error { return wallclock.ErrUnsupported }
