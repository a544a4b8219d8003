package harness

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/wallclock"
)

// Service is a program that can be ended and started again with the same settings, address and log.
type Service struct {
	Name string

	path   string
	args   []string
	env    map[string]string
	log    string
	mounts string // mount namespace that it runs in; empty: ours

	mu      sync.Mutex
	proc    *Process      // nil while not started
	stopped bool          // the present run was asked to end: nobody starts it again
	killed  bool          // it was ended by Kill: its end says nothing about it
	clock   time.Duration // how much its wall clock is off
	seen    map[int]Usage // last look at each run, by pid
}

func newService(name, path string, args []string, env map[string]string, dir string) *Service {
	return &Service{Name: name, path: path, args: args, env: maps.Clone(env), log: filepath.Join(dir, name+".log"), seen: map[int]Usage{}}
}

// Configure changes settings, beside those that the service has, from its next start on. An empty value takes one away.
func (s *Service) Configure(settings map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()

	env := map[string]string{}
	maps.Copy(env, s.env)
	maps.Copy(env, settings)
	maps.DeleteFunc(env, func(_, value string) bool { return value == "" })
	s.env = env
}

// Start runs the service; one that runs already is an error.
func (s *Service) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.proc != nil && s.proc.running() {
		return fmt.Errorf("%s runs already as process %d", s.Name, s.proc.PID())
	}

	proc, err := spawn(s.path, s.args, s.env, s.log, manner{orphaned: syscall.SIGKILL, clock: s.clock, mounts: s.mounts})
	if err != nil {
		return err
	}

	s.proc, s.stopped, s.killed = proc, false, false

	return nil
}

// SetClock makes the wall clock of the service differ from the right time by this much, at once and from the first moment of
// each later start; 0 sets it right. Errors as of wallclock.Shift, but for a service that does not run.
func (s *Service) SetClock(off time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.clock = off

	if s.proc == nil || !s.proc.running() {
		return nil
	}

	if err := wallclock.Shift(s.proc.PID(), off); !errors.Is(err, os.ErrProcessDone) {
		return err
	}

	return nil
}

// Process is the present or last run; nil before the first Start.
func (s *Service) Process() *Process {
	s.mu.Lock()
	defer s.mu.Unlock()

	return s.proc
}

// Kill ends the service as kill -9 does.
func (s *Service) Kill() error {
	s.mu.Lock()
	s.killed = true
	s.mu.Unlock()

	return s.end((*Process).Kill)
}

// Stop ends the service in order, for good: Supervise leaves it alone.
func (s *Service) Stop(ctx context.Context) error {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()

	return s.end(func(p *Process) error { return p.Stop(ctx) })
}

func (s *Service) end(how func(*Process) error) error {
	s.observe()

	proc := s.Process()
	if proc == nil {
		return nil
	}

	return how(proc)
}

// Restart starts the service again, after ending it in order if it runs.
func (s *Service) Restart(ctx context.Context) error {
	if err := s.Stop(ctx); err != nil {
		return err
	}

	return s.Start()
}

// Freeze stops the service's process without ending it; Thaw lets it go on.
func (s *Service) Freeze() error { return s.signal(syscall.SIGSTOP) }

// Thaw lets a frozen service go on.
func (s *Service) Thaw() error { return s.signal(syscall.SIGCONT) }

func (s *Service) signal(signal syscall.Signal) error {
	proc := s.Process()
	if proc == nil {
		return errors.New(s.Name + " was never started")
	}

	return proc.Signal(signal)
}

// Runs tells whether the service has a process that has not ended.
func (s *Service) Runs() bool {
	proc := s.Process()

	return proc != nil && proc.running()
}

// LogFile is where the service's output goes.
func (s *Service) LogFile() string { return s.log }

// LastWords is the end of the log, to stand in an error.
func (s *Service) LastWords() string {
	const most = 1500

	log, err := os.ReadFile(s.log)
	if err != nil {
		return ""
	}

	return string(log[max(0, len(log)-most):])
}

func (p *Process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}
