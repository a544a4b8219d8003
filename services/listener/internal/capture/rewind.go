package capture

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/chain"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/rewind"
)

// How often the stream is looked at: while nothing is wrong, and while a rewind
// waits for reports.
const (
	scrubEvery = 5 * time.Second
	scrubSoon  = time.Second
)

// tableTimeout bounds finding the marker that a rewind begins at, a few dozen requests for each generation.
const tableTimeout = time.Minute

var (
	// errTailGone says that the stream's end is not the one that was there: a
	// server that lost it says nothing, and an idle listener publishes nothing
	// that would break the chain.
	errTailGone = errors.New("the stream's last message is gone")
	// errMoved says that somebody else wrote to a stream that was to be rewound.
	errMoved = errors.New("the stream's last message is another one than a moment ago; looking again")
	// errRewind ends a session whose stream has to be rewound; the next one does.
	errRewind = errors.New("the stream has to be rewound")
)

// scrub looks at the stream until it is not as it must be. It returns an
// *interruption; trouble of asking ends the session elsewhere.
func (s *session) scrub(ctx context.Context, stream *topology.Stream, tail *chain.Tail) error {
	var watch rewind.Watch

	last := tail.Last
	ticker := time.NewTimer(scrubEvery) // mend has just looked

	defer ticker.Stop()

	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}

		if err := s.look(ctx, &watch, stream, &last); err != nil {
			return err
		}

		if watch.Reason(nil) != "" {
			ticker.Reset(scrubSoon)
		} else {
			ticker.Reset(scrubEvery)
		}
	}
}

// look is one look.
func (s *session) look(ctx context.Context, watch *rewind.Watch, stream *topology.Stream, last *topology.Stored) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	if err := s.sameEnd(ctx, stream, last); err != nil {
		return err
	}

	damage, err := topology.LookForDamage(ctx, s.nc, stream.Name())
	if err != nil {
		return s.finding(err)
	}

	known := s.stillKnown(damage)

	reports, err := rewind.Reports(ctx, s.js, s.options.Flow, stream.StreamID)
	if err != nil { // without them nobody knows where to rewind to
		s.log.DebugContext(ctx, "reports cannot be read", slog.Any(telemetry.KeyError, err))

		return nil
	}

	found := watch.Reason(nil) != ""
	point, missing := watch.Take(s.ledger.Generation(), stream.Partitions, damage, known, reports)

	if !found && watch.Reason(nil) != "" {
		s.log.ErrorContext(ctx, "hole in the stream", slog.String(telemetry.KeyReason, watch.Reason(missing)))
	}

	s.setState(Streaming, watch.Reason(missing))

	if point != nil {
		if err := failpoint.Error(failpoint.RewindFound); err != nil {
			return streamTrouble(err, s.options.Flow, true)
		}

		s.rewindTo = point

		return &interruption{state: Waiting, err: fmt.Errorf("%w: %s", errRewind, point.Why)}
	}

	return nil
}

// sameEnd makes sure that the stream is still the same one, and that the end
// that was seen last is still in it.
func (s *session) sameEnd(ctx context.Context, stream *topology.Stream, last *topology.Stored) error {
	live, err := topology.Open(ctx, s.js, s.options.Flow)
	if err != nil {
		return s.finding(err)
	}

	if live.StreamID != stream.StreamID {
		return streamTrouble(fmt.Errorf("%w: stream %s has id %s, it had %s", errTailGone, live.Name(), live.StreamID, stream.StreamID), s.options.Flow, true)
	}

	there, err := stream.At(ctx, last.Sequence)

	switch {
	case errors.Is(err, topology.ErrNoMessage):
		state, _, err := stream.State(ctx)
		if err != nil {
			return s.finding(err)
		}

		if last.Sequence >= state.FirstSeq {
			return &interruption{state: Waiting, err: fmt.Errorf("%w: message %d, event %d; going on from the new one", errTailGone, last.Sequence, last.Event)}
		}
	case err != nil:
		return s.finding(err)
	case there.ID != last.ID:
		return &interruption{state: Waiting, err: fmt.Errorf("%w: message %d is another one; going on from the new one", errTailGone, last.Sequence)}
	}

	end, err := stream.Tail(ctx)
	if err != nil {
		return s.finding(err)
	}

	*last = end

	return nil
}

// finding tells what the stream says of itself from trouble of asking, which is
// nil: publishing finds it too.
func (s *session) finding(err error) error {
	for _, known := range []error{
		topology.ErrNoStream, topology.ErrNoMessage, topology.ErrForeignStream, topology.ErrConfigDiffers, event.ErrMalformed, jetstream.ErrStreamNotFound,
	} {
		if errors.Is(err, known) {
			return streamTrouble(err, s.options.Flow, true)
		}
	}

	return nil
}

// mend waits, before anything is published, until it is known where to rewind a
// stream to whose tail cannot be trusted: messages are gone from amid it, and
// with them perhaps the last ones of a partition. Going on would give their
// counts to others, and nobody would find them missing.
func (s *session) mend(ctx context.Context, stream *topology.Stream, tail *chain.Tail) error {
	var watch rewind.Watch

	for s.rewindTo == nil {
		missing, found, err := s.examine(ctx, &watch, stream, tail)
		if err != nil {
			return streamTrouble(err, s.options.Flow, true)
		}

		if !found || s.rewindTo != nil {
			return nil
		}

		s.setState(Waiting, watch.Reason(missing))

		if !s.options.Clock.Pause(ctx, scrubSoon) {
			return ctx.Err()
		}
	}

	return nil
}

// examine is one look at a stream that nothing was published to yet.
func (s *session) examine(ctx context.Context, watch *rewind.Watch, stream *topology.Stream, tail *chain.Tail) (missing []int, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	damage, err := topology.LookForDamage(ctx, s.nc, stream.Name())
	if err != nil {
		return nil, false, err
	}

	known := s.stillKnown(damage)
	if !damage.Exceeds(known) && tail.Missing() <= 0 {
		return nil, false, nil
	}

	end, err := stream.Tail(ctx)
	if err != nil {
		return nil, true, err
	}

	if end.Sequence != tail.Last.Sequence || end.ID != tail.Last.ID {
		return nil, true, errMoved
	}

	reports, err := rewind.Reports(ctx, s.js, s.options.Flow, stream.StreamID)
	if err != nil {
		return nil, true, err
	}

	if n := tail.Missing(); n > 0 {
		watch.Find(fmt.Sprintf("the stream lacks messages: %d events that its tail has counted since the last marker are in no partition", n), reports)
	}

	s.rewindTo, missing = watch.Take(tail.Last.Generation, stream.Partitions, damage, known, reports)

	return missing, true, nil
}

// stillKnown lowers the damage that was healed to what there is of it: the rest left
// the stream with what was purged, and a hole as large as that would not be noticed.
func (s *session) stillKnown(damage rewind.Damage) rewind.Damage {
	before := *s.known.Load()

	known := before.AtMost(damage)
	if known != before {
		s.known.Store(&known)
		s.Mark() // the next session has it from there
	}

	return known
}

// rewound makes the ledger begin the new generation, if the stream has to be
// rewound still.
func (s *session) rewound(ctx context.Context, stream *topology.Stream, tail *chain.Tail) error {
	point := s.rewindTo
	if point == nil {
		return nil
	}

	if tail.Last.Generation > point.From {
		s.rewindTo = nil // somebody has

		return nil
	}

	place := chain.Place{Token: point.Token, Position: point.Position, Event: point.Event, Skipped: point.Skipped}

	if stream.DDL {
		ctx, cancel := context.WithTimeout(ctx, tableTimeout)
		defer cancel()

		var err error
		if place, err = chain.PlaceUpTo(ctx, stream, place); err != nil {
			return streamTrouble(err, s.options.Flow, true)
		}
	}

	s.ledger.Rewind(point.Generation, place)

	return nil
}

// beginGeneration publishes the marker with which a generation begins.
func (s *session) beginGeneration(ctx context.Context, stream *topology.Stream) error {
	point := s.rewindTo
	if point == nil {
		return nil
	}

	ask, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	damage, err := topology.LookForDamage(ask, s.nc, stream.Name())
	if err != nil {
		return streamTrouble(err, s.options.Flow, true)
	}

	s.known.Store(&damage)

	s.log.WarnContext(ctx, "rewinding the stream: everything behind the lowest checkpoint is published again",
		slog.Uint64("generation", point.Generation), slog.Int(telemetry.KeyPartition, point.Partition),
		slog.String(telemetry.KeyPosition, point.Position.String()), slog.String(telemetry.KeyReason, point.Why))

	if err := s.sendMarker(ctx, true); err != nil {
		return err
	}

	if err := failpoint.Error(failpoint.GenerationBegun); err != nil {
		return streamTrouble(err, s.options.Flow, true)
	}

	// Once it is stored it is the tail, and the next session goes on from it. If
	// it is not, the hole is found again.
	s.rewindTo = nil

	return nil
}

// rangeLost says what is missing for good, where the source has no longer what a
// rewind needs.
func (s *session) rangeLost(err error, tail *chain.Tail) error {
	point := s.rewindTo
	if point == nil || !mongodb.IsHistoryLost(err) && !mongodb.IsInvalidResumeToken(err) {
		return sourceTrouble(err)
	}

	return &interruption{
		state: HistoryLost,
		err: fmt.Errorf("%s; it has to be published again behind event %d at %s, the checkpoint of partition %d, up to event %d at %s, and the source no longer has that: %w",
			point.Why, point.Event, point.Position, point.Partition, tail.Last.Event, tail.Last.Position, err),
		remedy: "restore the stream from a backup; or, to have all partitions pass over what is missing, which is recorded for ever: " +
			"relayctl flow accept-gap --reason …, then copy the data again; or start over with relayctl flow delete and relayctl flow init; " +
			"and give the source a longer oplog",
	}
}
