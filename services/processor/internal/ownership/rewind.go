package ownership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/consume"
)

const (
	// inspectEvery is how often the stream is compared with the checkpoint while
	// nothing seems to be wrong: one that changed behind our back is quiet.
	inspectEvery = 5 * time.Second
	// rewindPoll is how often an owner that met a hole looks for a rewind.
	rewindPoll = time.Second
)

// learn takes in why a lane ended, and tells whether the next ownership knows
// how to go on: in a higher generation that exists, or waiting for one.
func (p *partition) learn(err error) bool {
	if rewound, ok := errors.AsType[*consume.GenerationError](err); ok {
		p.seen = max(p.seen, rewound.Generation)

		return true
	}

	if met, ok := errors.AsType[*consume.HoleError](err); ok {
		p.hole = met

		return true
	}

	return false
}

// find returns where to read from. While events are missing it waits for the
// listener to rewind the stream, loudly, and nothing is applied: whatever comes
// behind the hole may build on what was in it.
func (p *partition) find(ctx context.Context) (start, error) {
	for {
		began, err := p.look(ctx)
		if err == nil && p.hole != nil && began.from.StreamGeneration() <= p.hole.Generation {
			err = p.hole
		}

		met, ok := errors.AsType[*consume.HoleError](err)
		if !ok {
			if err == nil {
				p.healed(ctx, &began)
			}

			return began, err
		}

		if err := p.stillOurs(ctx); err != nil {
			return start{}, err
		}

		p.hole = met
		p.awaitRewind(ctx, met)

		if !p.options.Clock.Pause(ctx, rewindPoll) {
			return start{}, context.Cause(ctx)
		}
	}
}

func (p *partition) look(ctx context.Context) (start, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	return locate(ctx, p.stream, &p.held, p.seen)
}

// stillOurs makes sure that nobody has taken the checkpoint: who applies nothing does not
// notice otherwise. A hole that lies before an accepted gap is none for who acquires the
// partition again, and must not be told to the listener.
func (p *partition) stillOurs(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	now, present, err := p.store.Checkpoint(ctx, p.held.Flow, p.number)
	if err != nil {
		return err
	}

	if !present || now.Epoch != p.held.Epoch || now.Owner != p.held.Owner {
		return fmt.Errorf("%w: checkpoint %s", apply.ErrStale, p.held.ID)
	}

	return nil
}

// awaitRewind tells the listener, by the next report, and everybody else.
func (p *partition) awaitRewind(ctx context.Context, met *consume.HoleError) {
	failpoint.Pass(failpoint.HoleMet)

	if before := p.board.read(); before.Hole == nil || *before.Hole != met.Generation {
		p.log.ErrorContext(ctx, "the stream has a hole; nothing is applied until the listener has rewound it",
			slog.Int(telemetry.KeyPartition, p.number), slog.String(telemetry.KeyReason, met.Error()))
	}

	p.setState(WaitingRewind, explain(met))
	p.board.update(func(s *Status) { s.Hole = new(met.Generation) })
}

// healed forgets a hole that a higher generation has filled.
func (p *partition) healed(ctx context.Context, began *start) {
	if began.moved {
		failpoint.Pass(failpoint.PlaceMoved)
		p.log.WarnContext(ctx, "the stream was rewound or lost its tail; what is applied is recognised by its position",
			slog.Int(telemetry.KeyPartition, p.number), slog.Int64("generation", began.from.Generation),
			slog.Uint64(telemetry.KeyStreamSeq, began.after), slog.String(telemetry.KeyPosition, p.held.Position.String()))
	}

	p.hole = nil
	p.board.update(func(s *Status) { s.Hole = nil })
}

// errStreamGone says that somebody deleted the stream under running owners, or
// that the NATS server could not read its files and started without it.
var errStreamGone = errors.New("the flow's stream was there before and is gone")

// sameStream makes sure that the stream was not made anew under its name.
func (o *Owner) sameStream(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	live, err := topology.Open(ctx, o.js, o.options.Flow)
	if errors.Is(err, topology.ErrNoStream) {
		return fmt.Errorf("%w: %w", errStreamGone, err)
	}

	if err != nil {
		return err
	}

	if live.StreamID != o.stream.StreamID {
		return fmt.Errorf("%w: stream %s has id %s, it had %s: it was deleted and made anew", ErrOtherStream, live.Name(), live.StreamID, o.stream.StreamID)
	}

	return nil
}

// inspect compares the stream with the checkpoint until something differs. Most
// is found by reading on; but where nothing comes, nothing is read.
func (l *lane) inspect(ctx context.Context) error {
	ticker := time.NewTicker(inspectEvery)
	defer ticker.Stop()

	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}

		if err := l.compare(ctx); err != nil && isFinding(err) {
			return err
		}
	}
}

// isFinding tells what the stream says of itself from trouble of asking, which
// ends the lane elsewhere if it lasts.
func isFinding(err error) bool {
	return errors.Is(err, consume.ErrReset) || errors.Is(err, consume.ErrHole) || errors.Is(err, consume.ErrGeneration) ||
		errors.Is(err, consume.ErrForeign) || errors.Is(err, event.ErrMalformed) || isTerminal(err) ||
		errors.Is(err, topology.ErrForeignStream) || errors.Is(err, topology.ErrConfigDiffers) || errors.Is(err, jetstream.ErrStreamNotFound)
}

func (l *lane) compare(ctx context.Context) error {
	if err := l.sameStream(ctx); err != nil {
		return err
	}

	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	held := l.board.read().Checkpoint

	found, err := locate(ctx, l.stream, &held, 0)

	switch {
	case err != nil:
		return err
	case found.from.StreamGeneration() > l.start.from.StreamGeneration():
		return &consume.GenerationError{Generation: found.from.StreamGeneration()}
	case found.moved && !l.settling(&held):
		return fmt.Errorf("%w: message %d of the stream is not that of checkpoint %s any more", consume.ErrReset, held.Sequence, held.ID)
	case found.moved:
		return nil
	}

	// Without a marker nothing is known; the listener writes one soon.
	if err := reachable(ctx, l.stream, &held, held.StreamSequence()+1); !errors.Is(err, ErrPurged) {
		return err
	}

	return nil
}
