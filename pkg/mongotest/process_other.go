//go:build !linux

package mongotest

import (
	"context"
	"syscall"
)

// detached gives a child a process group of its own, so that Ctrl-C reaches the demo before its servers. Only Linux can
// also kill it when its parent is killed.
func detached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// awaitStopped has no portable way to look.
func awaitStopped(context.Context, int) error { return nil }
