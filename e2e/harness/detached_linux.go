package harness

import (
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/wallclock"
)

// detached gives a child a process group of its own, so that Ctrl-C reaches the demo before its services, and has the
// kernel send it a signal when its parent ends in whatever way.
func detached(orphaned syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: orphaned}
}

// startShifted starts a program whose wall clock is off. It is traced, which stops it behind execve, before it has run
// anything; only the thread that has started it may let it go.
func startShifted(cmd *exec.Cmd, clock time.Duration) error {
	cmd.SysProcAttr.Ptrace = true

	if err := cmd.Start(); err != nil {
		return err
	}

	err := shiftTraced(cmd.Process.Pid, clock)
	if err != nil {
		err = errors.Join(fmt.Errorf("start with another time: %w", err), cmd.Process.Kill())
		_ = cmd.Wait() // it was killed
	}

	return err
}

func shiftTraced(pid int, clock time.Duration) error {
	var status syscall.WaitStatus

	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil || !status.Stopped() {
		return fmt.Errorf("it did not stop (status %#x): %w", status, err)
	}

	if err := wallclock.ShiftStopped(pid, clock); err != nil {
		return err
	}

	return syscall.PtraceDetach(pid)
}
