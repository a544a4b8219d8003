package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Process is one run of a program, its output in a file.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed by the goroutine that waits for the process
	err  error         // how it ended; read after done
}

// StartProgram starts a program that ends in order what it has started, when it is told to or its parent ends. Its output
// goes to a file.
func StartProgram(path string, env map[string]string, log string) (*Process, error) {
	return spawn(path, nil, env, log, manner{orphaned: syscall.SIGTERM})
}

// manner is how a program is started.
type manner struct {
	orphaned syscall.Signal // that it gets, on Linux, when its parent ends in whatever way
	clock    time.Duration  // how much its wall clock is off, from its first moment on
	mounts   string         // file that names the mount namespace which it is in; empty: ours
}

// spawn starts a program with the given environment and nothing of ours.
func spawn(path string, args []string, env map[string]string, log string, m manner) (*Process, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	defer file.Close()

	cmd := exec.Command(path, args...) //nolint:noctx // it ends by Kill and Stop, which say how
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = file, file, detached(m.orphaned)

	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}

	p := &Process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)

	go p.own(started, m)

	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}

	return p, nil
}

// own starts the process and waits for it on one system thread: the death signal of Linux fires when the thread that
// started the child ends, not the process (https://github.com/golang/go/issues/27505).
func (p *Process) own(started chan<- error, m manner) {
	runtime.LockOSThread()

	if m.mounts == "" {
		defer runtime.UnlockOSThread() // else the thread ends with this goroutine: nobody else may be in that namespace
	}

	err := p.start(m)
	started <- err

	if err == nil {
		p.err = p.cmd.Wait()
		close(p.done)
	}
}

func (p *Process) start(m manner) error {
	if m.mounts != "" {
		if err := enter(m.mounts); err != nil {
			return err
		}
	}

	if m.clock != 0 {
		return startShifted(p.cmd, m.clock)
	}

	return p.cmd.Start()
}

// PID is the number of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// ExitCode waits for the end of the process; -1 means that a signal ended it.
func (p *Process) ExitCode() int {
	<-p.done

	return p.cmd.ProcessState.ExitCode()
}

// How waits for the end of the process and says how it ended.
func (p *Process) How() string {
	<-p.done

	if p.err == nil {
		return "exit status 0"
	}

	return p.err.Error()
}

// Signal sends a signal; a process that has ended gets none.
func (p *Process) Signal(signal syscall.Signal) error {
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %s to process %d: %w", signal, p.PID(), err)
	}

	return nil
}

// Kill ends the process as kill -9 does and waits for it.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}

	<-p.done

	return nil
}

// orderly is how long a process may take to end on SIGTERM. The longest SHUTDOWN_GRACE is shorter.
const orderly = 40 * time.Second

// Stop asks the process to end and waits for it; one that takes too long is killed, which is an error.
func (p *Process) Stop(ctx context.Context) error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}

	ctx, cancel := context.WithTimeout(ctx, orderly)
	defer cancel()

	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("process %d did not end on SIGTERM: %w", p.PID(), context.Cause(ctx)), p.Kill())
	}
}
