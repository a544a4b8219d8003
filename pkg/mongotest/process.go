package mongotest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// process is one run of a server program.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer     // never written to; its end tells a container that we are gone
	done  chan struct{} // closed by the goroutine that waits for the process
}

// spawn starts a program with its output in the file log.
func spawn(log, program string, args []string) (*process, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the server's log: %w", err)
	}
	defer file.Close()

	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = file, file, detached()

	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("make the server's standard input: %w", err)
	}

	p := &process{cmd: cmd, stdin: stdin, done: make(chan struct{})}
	started := make(chan error, 1)

	go p.own(started)

	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}

	return p, nil
}

// own starts the process and waits for it on one system thread: the death signal of Linux fires when the thread that
// started the child ends, not the process (https://github.com/golang/go/issues/27505).
func (p *process) own(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	err := p.cmd.Start()
	started <- err

	if err == nil {
		_ = p.cmd.Wait() // how it ended stands in its log
		close(p.done)
	}
}

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

func (p *process) signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %s to process %d: %w", s, p.cmd.Process.Pid, err)
	}

	return nil
}

// kill ends the process at once and waits for it.
func (p *process) kill() error {
	err := p.signal(syscall.SIGKILL)
	if err == nil {
		<-p.done
	}

	return err
}

// orderly is how long a server may take to end on SIGTERM before it is killed.
const orderly = 10 * time.Second

// terminate asks the process to end and waits for it.
func (p *process) terminate() error {
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}

	timer := time.NewTimer(orderly)
	defer timer.Stop()

	select {
	case <-p.done:
		return nil
	case <-timer.C:
		return p.kill()
	}
}
