package harness

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// Death is an end of a service that nobody asked for.
type Death struct {
	Service *Service
	PID     int
	How     string
	NewPID  int // of the process that took its place
}

// A service that three times in a row does not live this long has something that a restart does not heal, unless it was
// ended by Kill.
const (
	shortLife  = 3 * time.Second
	shortLives = 3
)

// Of Supervise.
const (
	lookEvery    = 50 * time.Millisecond
	observeEvery = time.Second // a process that died can no longer be asked for its usage
)

// Supervise starts every service again that ended without being stopped, and tells, until ctx ends. The list is asked
// for each time: services may come and go. It returns an error for one that does not stay alive.
func Supervise(ctx context.Context, services func() []*Service, told func(Death)) error {
	look, observe := time.NewTicker(lookEvery), time.NewTicker(observeEvery)
	defer look.Stop()
	defer observe.Stop()

	lives := map[*Service]*life{}

	for {
		select {
		case <-ctx.Done():
			return nil
		case <-observe.C:
			for _, s := range services() {
				s.observe()
			}
		case <-look.C:
			for _, s := range services() {
				if lives[s] == nil {
					lives[s] = &life{}
				}

				if err := lives[s].look(s, told); err != nil {
					return err
				}
			}
		}
	}
}

// life is what a supervisor knows of a service.
type life struct {
	proc  *Process // the run that was seen last
	begin time.Time
	short int // runs in a row that ended soon
}

func (l *life) look(s *Service, told func(Death)) error {
	proc, stopped, killed := s.run()
	if proc == nil || stopped {
		return nil
	}

	if proc != l.proc {
		l.proc, l.begin = proc, time.Now()
	}

	if proc.running() {
		return nil
	}

	switch l.short++; {
	case killed, proc.signaled(syscall.SIGKILL): // nobody does that to himself
		l.short = 0
	case time.Since(l.begin) > shortLife:
		l.short = 1
	}

	if l.short > shortLives {
		return fmt.Errorf("%s ended %d times in a row soon after its start (%s); its log ends:\n%s", s.Name, shortLives, proc.How(), s.LastWords())
	}

	if err := s.Start(); err != nil {
		return err
	}

	told(Death{Service: s, PID: proc.PID(), How: proc.How(), NewPID: s.Process().PID()})

	return nil
}

// signaled tells whether a process that has ended was ended by this signal.
func (p *Process) signaled(by syscall.Signal) bool {
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)

	return ok && status.Signaled() && status.Signal() == by
}

// run is the present run, whether it was asked to end, and whether it was ended by Kill.
func (s *Service) run() (proc *Process, stopped, killed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()

	return s.proc, s.stopped, s.killed
}
