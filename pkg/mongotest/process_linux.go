package mongotest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// detached gives a child a process group of its own, so that Ctrl-C reaches the demo before its servers, and has the
// kernel kill it when its parent ends in whatever way.
func detached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// awaitStopped waits until every thread of a process stands still: SIGSTOP takes effect when one of them sees it, and
// on a busy machine the others go on answering until then.
func awaitStopped(ctx context.Context, pid int) error {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()

	for !stopped(pid) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for process %d to stop: %w", pid, context.Cause(ctx))
		case <-ticker.C:
		}
	}

	return nil
}

// stopped reads the state of each thread, the letter after the closing bracket of the name (proc(5)).
func stopped(pid int) bool {
	threads, _ := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "stat"))

	for _, thread := range threads {
		stat, err := os.ReadFile(thread)
		if err == nil && !bytes.HasPrefix(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" T")) {
			return false
		}
	}

	return true
}
