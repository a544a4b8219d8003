package capture

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/chain"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/changestream"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/origin"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/rewind"
)

const (
	maxAwait = time.Second // how long the source holds a request while it has nothing
	tick     = 100 * time.Millisecond
	// proveAfter is how long messages without a requested reply may be the last
	// ones: it happens when filtered events follow them.
	proveAfter = 200 * time.Millisecond
	// closeTimeout bounds giving the cursor back to the source.
	closeTimeout = time.Second
)

// session is one pass from a tail to the next error. Used by one goroutine.
type session struct {
	*Capture

	ledger       *chain.Ledger
	publisher    *chain.Publisher
	disconnected <-chan nats.Status // nats.go sends when the connection is lost
	maxPayload   int64

	ddl     bool                          // schema changes are replicated
	known   atomic.Pointer[rewind.Damage] // that the last rewind has healed and that is there still; every marker says so
	origins *origin.Tracker

	lastPublish time.Time
	room        room
	traces      traces
}

// session returns whether it got as far as streaming, and an *interruption.
func (c *Capture) session(ctx context.Context) (streamed bool, err error) {
	stream, tail, room, err := c.rightfulTail(ctx)
	if err != nil {
		return errors.Is(err, errBeaten), err
	}

	if err := c.checkSource(ctx, stream); err != nil {
		return false, err
	}

	defer func() { err = c.nameRange(ctx, &tail.Last, c.doubtLoss(err)) }()

	s, err := c.continueFrom(ctx, stream, tail)
	if err != nil {
		return false, err
	}

	s.room = room

	return s.stream(ctx, stream, tail)
}

// rightfulTail reads the stream's end, which must be ours to go on from.
func (c *Capture) rightfulTail(ctx context.Context) (*topology.Stream, *chain.Tail, room, error) {
	stream, tail, err := c.openTail(ctx, chain.ReadTail)
	if err != nil {
		return nil, nil, room{}, err
	}

	lost := c.lost(tail)
	c.lastTail = tail

	if lost {
		return nil, nil, room{}, errBeaten
	}

	r, err := c.findRoom(ctx, stream, tail)

	return stream, tail, r, err
}

// continueFrom returns the session that goes on behind the tail, or, where the
// stream has to be rewound, from further back.
func (c *Capture) continueFrom(ctx context.Context, stream *topology.Stream, tail *chain.Tail) (*session, error) {
	s := &session{Capture: c, ledger: chain.NewLedger(tail, c.writer), lastPublish: c.options.Clock.Time(), maxPayload: c.nc.MaxPayload()}
	s.traces = traces{tracer: c.options.Tracer, flow: c.options.Flow}
	s.known.Store(&rewind.Damage{Deleted: tail.Marker.GetNumDeleted(), Lost: tail.Marker.GetNumLost()})

	s.ddl = stream.DDL

	if err := s.mend(ctx, stream, tail); err != nil {
		return nil, err
	}

	if err := s.rewound(ctx, stream, tail); err != nil {
		return nil, err
	}

	var err error
	if s.origins, err = c.trackOrigins(ctx, stream, tail); err != nil {
		return nil, err
	}

	if !c.sameFilter(tail) {
		s.ledger.RequestMarker()
	}

	return s, nil
}

// stream reads the source and publishes until something ends it; streamed is
// false if that happened before the first event.
func (s *session) stream(ctx context.Context, stream *topology.Stream, tail *chain.Tail) (streamed bool, err error) {
	source, giveBack, err := s.historySource(ctx)
	if err != nil {
		return false, err
	}
	defer giveBack()

	changes, err := changestream.Open(ctx, source, s.ledger.Token(), changestream.Options{
		FullDocument: s.options.FullDocument,
		BeforeChange: s.options.BeforeChange,
		MaxAwait:     maxAwait,
		ReplyTimeout: s.options.ReplyTimeout,
	})
	if err != nil {
		return false, s.rangeLost(err, tail)
	}

	defer s.closeStream(ctx, changes)

	if err := failpoint.Error(failpoint.SourceOpened); err != nil {
		return false, sourceTrouble(err)
	}

	disconnected := s.nc.StatusChanged(nats.RECONNECTING, nats.CLOSED)
	defer s.nc.RemoveStatusListener(disconnected)

	s.disconnected = disconnected

	if err := s.begin(ctx, stream, tail); err != nil {
		return false, err
	}

	defer s.publisher.Close()
	defer s.traces.abandon()

	s.log.InfoContext(ctx, "streaming",
		slog.Uint64(telemetry.KeyStreamSeq, tail.Last.Sequence), slog.String(telemetry.KeyPosition, tail.Last.Position.String()))

	return true, s.run(ctx, changes, func(ctx context.Context) error { return s.scrub(ctx, stream, tail) })
}

// begin makes the session publish behind the tail. The caller closes the publisher.
func (s *session) begin(ctx context.Context, stream *topology.Stream, tail *chain.Tail) (err error) {
	s.publisher, err = chain.NewPublisher(s.nc, s.options.Flow, stream.Name(), tail)
	if err != nil {
		return streamTrouble(err, s.options.Flow, true)
	}

	s.publisher.Now = s.options.Clock.Time

	total, skipped := s.ledger.Totals()
	s.board.update(func(status *Status) {
		status.Total, status.Skipped, status.Position = total, skipped, s.ledger.Position()
	})

	if err := s.beginGeneration(ctx, stream); err != nil {
		s.publisher.Close()

		return err
	}

	s.setState(Streaming, "")

	return nil
}

func (c *Capture) closeStream(ctx context.Context, changes *changestream.Stream) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()

	if err := changes.Close(ctx); err != nil {
		// The server drops an unused cursor by itself after a while.
		c.log.DebugContext(ctx, "cursor not closed", slog.Any(telemetry.KeyError, err))
	}
}

// run reads, publishes and looks after the stream side by side until one fails or ctx ends.
func (s *session) run(ctx context.Context, changes *changestream.Stream, scrub func(context.Context) error) error {
	batches := make(chan []changestream.Change, readBatches)
	group, groupCtx := errgroup.WithContext(ctx)

	group.Go(func() error { return read(groupCtx, changes, batches) })
	group.Go(func() error { return s.publish(groupCtx, batches) })
	group.Go(func() error { return scrub(groupCtx) })

	err := group.Wait()

	if ctx.Err() != nil {
		// What was published is on its way; the next tail will show it.
		flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()

		_ = s.nc.FlushWithContext(flush) // a lost connection is the next listener's recovery
	}

	return err
}

// publish publishes what the reader finds until something breaks the chain.
func (s *session) publish(ctx context.Context, batches <-chan []changestream.Change) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()

	for {
		select {
		case batch := <-batches:
			for i := range batch {
				if err := s.take(ctx, &batch[i]); err != nil {
					return err
				}

				batch[i].Event = nil // an event may be 16 MiB; the batch lives on until the last one
			}

			s.show(&batch[len(batch)-1])
		case reply := <-s.publisher.Replies():
			if err := s.handle(reply); err != nil {
				return err
			}
		case now := <-ticker.C:
			if err := s.onTick(ctx, now); err != nil {
				return err
			}
		case <-s.disconnected:
			return streamTrouble(nats.ErrDisconnected, s.options.Flow, true)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// onTick looks after what no event triggers.
func (s *session) onTick(ctx context.Context, now time.Time) error {
	if deadline, ok := s.publisher.Deadline(); ok && now.After(deadline) {
		return s.timedOut()
	}

	if s.marked.Swap(false) {
		s.ledger.RequestMarker()
	}

	if s.markerDue(s.idle(now)) {
		if err := s.sendMarker(ctx, true); err != nil {
			return err
		}
	}

	messages, size := s.publisher.Outstanding()
	s.board.update(func(status *Status) { status.WindowMessages, status.WindowBytes = messages, size })

	return nil
}

// show puts the state after a batch on the board.
func (s *session) show(last *changestream.Change) {
	total, skipped := s.ledger.Totals()
	position := s.ledger.Position()
	messages, size := s.publisher.Outstanding()
	now := s.options.Clock.Time()

	s.board.update(func(status *Status) {
		status.Total, status.Skipped, status.Position = total, skipped, position
		status.WindowMessages, status.WindowBytes = messages, size
		status.CaughtUp = last.Dry

		if last.Dry {
			status.CaughtUpAt = now
		} else if !position.IsZero() {
			status.CaughtUpAt = position.Time()
		}
	})
}
