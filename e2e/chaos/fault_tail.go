package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// tail takes the end of the stream away, as a power cut or a backup of yesterday does: NATS is ended, its files are those
// of a while ago, NATS starts.
type tail struct {
	changes uint64 // between then and now
	applied bool   // the processors have read what is lost
}

func tailClass() Class {
	return Class{
		Name: "tail", Says: "the stream loses its end, or goes back to a backup, before or after that was applied", Short: true,
		Fits: alone,
		Draw: func(r *rand.Rand, _ *Plan) Fault {
			return &tail{changes: 1 + uint64(r.ExpFloat64()*150), applied: r.IntN(2) == 0}
		},
	}
}

// String implements Fault.
func (f *tail) String() string {
	lost := "before they were applied"

	switch {
	case f.renumbered():
		lost = "applied; they come again with other numbers"
	case f.applied:
		lost = "applied"
	}

	return fmt.Sprintf("the stream loses the messages of %d changes, %s", f.changes, lost)
}

// renumbered says that the listener is interrupted while it publishes what will be lost. A session begins with a marker, so
// that what comes again stands at other places than before. Else it often stands at the same, and every partition just goes on
// behind its checkpoint's message.
func (f *tail) renumbered() bool { return f.applied && f.changes%2 == 0 }

// Strike implements Fault.
func (f *tail) Strike(ctx context.Context, s *Stage) (hit Hit, err error) {
	if !f.applied {
		frozen := s.Relay.Processors()
		for _, p := range frozen {
			if err := p.Freeze(); err != nil {
				return hit, err
			}
		}

		defer func() {
			for _, p := range frozen {
				err = errors.Join(err, p.Thaw())
			}
		}()
	}

	saved := filepath.Join(s.World.Dir, "stream-of-before")
	defer func() { err = errors.Join(err, os.RemoveAll(saved)) }()

	kept, err := s.State(ctx)
	if err != nil {
		return hit, err
	}

	if err := s.whileNATSIsDown(ctx, func(dir string) error { return os.CopyFS(saved, os.DirFS(dir)) }); err != nil {
		return hit, err
	}

	if err := f.fill(ctx, s, kept.LastSeq); err != nil {
		return hit, err
	}

	if f.applied {
		s.awaitApplied(ctx)
	}

	before, err := s.State(ctx)
	if err != nil {
		return hit, err
	}

	err = s.whileNATSIsDown(ctx, func(dir string) error {
		return errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(saved)))
	})
	if err != nil {
		return hit, err
	}

	lost := int(before.LastSeq - kept.LastSeq) // or fewer: the listener published until NATS was ended

	return Hit{Times: lost, Victim: string(natsServer), LosesTail: true, Detail: fmt.Sprintf("%d messages lost, %s", lost, f)}, nil
}

// fill waits until the stream has what it will lose, behind a sequence.
func (f *tail) fill(ctx context.Context, s *Stage, behind uint64) error {
	if !f.renumbered() {
		s.passStored(ctx, f.changes, behind)

		return nil
	}

	s.passStored(ctx, f.changes/2, behind)

	if err := s.whileNATSIsDown(ctx, func(string) error { return nil }); err != nil {
		return err
	}

	state, err := s.State(ctx)
	if err != nil {
		return err
	}

	s.passStored(ctx, f.changes/2, state.LastSeq)

	return nil
}

// passStored waits for changes, and until the stream has some of them behind a sequence.
func (s *Stage) passStored(ctx context.Context, changes, behind uint64) {
	s.Pass(ctx, changes, 2*networkMost)
	s.awaitStored(ctx, behind+1+changes/2)
}

// whileNATSIsDown kills NATS, does something with the directory of the flow's stream, and starts NATS.
// What is recorded late, and lost by then, nobody can judge: so the record is given time to have what the stream has.
func (s *Stage) whileNATSIsDown(ctx context.Context, do func(dir string) error) error {
	_ = s.recording.catchUp(ctx) // a server that remembers what it has lost never gets there

	if err := s.World.NATS.Kill(); err != nil {
		return err
	}

	dir, err := s.streamDir()
	if err == nil {
		err = do(dir)
	}

	return errors.Join(err, s.World.NATS.Start())
}

// streamDir is where NATS keeps the flow's stream.
func (s *Stage) streamDir() (string, error) {
	dirs, err := filepath.Glob(filepath.Join(s.World.NATS.Store(), "jetstream", "*", "streams", topology.StreamName(flow)))
	if err == nil && len(dirs) != 1 {
		err = fmt.Errorf("NATS keeps %d streams of the flow", len(dirs))
	}

	if err != nil {
		return "", err
	}

	return dirs[0], nil
}

// awaitStored waits until the stream has a message, but not for ever: the listener may have to find NATS first.
func (s *Stage) awaitStored(ctx context.Context, sequence uint64) {
	ctx, cancel := context.WithTimeout(ctx, networkMost)
	defer cancel()

	for ctx.Err() == nil {
		if state, err := s.State(ctx); err == nil && state.LastSeq >= sequence {
			return
		}

		linger(ctx, natsRetry)
	}
}

// awaitApplied waits until little is pending; not for ever, because the load goes on.
func (s *Stage) awaitApplied(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()

	for ctx.Err() == nil {
		sample, err := s.Relay.Sample(ctx)
		if err == nil && sample.PendingChanges != nil && sample.GetPendingChanges() < 10 {
			return
		}

		linger(ctx, natsRetry)
	}
}
