package harness

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Death is an end of a service that nobody asked for.
type Death struct {
	Service *Service
	PID     int
	How     string
	NewPID  int // of the process that took its place
}

// A service that three times in a row does not live this long has something that a restart does not heal.
const (
	shortLife  = 3 * time.Second
	shortLives = 3
)

// Supervise starts every service that ends again, and tells, until ctx ends. It returns an error for one that does not
// stay alive.
func Supervise(ctx context.Context, services []*Service, told func(Death)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	var watching sync.WaitGroup

	for _, s := range services {
		watching.Go(func() {
			if err := s.supervise(ctx, told); err != nil {
				cancel(err)
			}
		})
	}

	watching.Wait()

	if cause := context.Cause(ctx); cause != ctx.Err() { //nolint:errorlint // the very value: the context ended without a cause of ours
		return cause
	}

	return nil
}

func (s *Service) supervise(ctx context.Context, told func(Death)) error {
	short := 0

	for {
		proc, begin := s.Process(), time.Now()

		watch := time.NewTicker(time.Second) // a process that died can no longer be asked for its usage

		for alive := true; alive; {
			select {
			case <-ctx.Done():
				watch.Stop()

				return nil
			case <-watch.C:
				s.observe()
			case <-proc.Done():
				alive = false
			}
		}

		watch.Stop()

		if short++; time.Since(begin) > shortLife {
			short = 1
		}

		if short > shortLives {
			return fmt.Errorf("%s ended %d times in a row soon after its start (%s); its log ends:\n%s", s.Name, shortLives, proc.How(), s.LastWords())
		}

		if err := s.Start(); err != nil {
			return err
		}

		told(Death{Service: s, PID: proc.PID(), How: proc.How(), NewPID: s.Process().PID()})
	}
}
