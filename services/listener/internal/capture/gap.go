package capture

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/retry"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// awaitOperator stays in a terminal state until ctx ends, or until an operator
// has accepted a gap: that of a stream that was made anew, or, where history was
// lost, one in the stream. The source is not asked meanwhile: what it has
// forgotten does not come back.
func (c *Capture) awaitOperator(ctx context.Context, state State) {
	for retry.Pause(ctx, c.options.GapPoll) {
		if c.seen == nil {
			continue
		}

		if c.awaitReplacement(ctx) {
			return
		}

		if state != HistoryLost || c.lastTail == nil {
			continue
		}

		id, err := c.acceptedGap(ctx)

		switch {
		case err != nil:
			c.log.DebugContext(ctx, "cannot look for an accepted gap", slog.Any(telemetry.KeyError, err))
		case id != "":
			c.log.WarnContext(ctx, "an operator has accepted the gap, going on behind it", slog.String("gap", id))
			c.lastTail = nil // its marker is nobody's who publishes

			return
		}
	}
}

// acceptedGap returns the name of the gap that a marker behind the last tail
// tells of; empty when there is none.
func (c *Capture) acceptedGap(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	last, err := c.seen.LastMarker(ctx)
	if err != nil {
		return "", err
	}

	if last.Sequence <= c.lastTail.Last.Sequence || last.StreamID != c.seen.StreamID {
		return "", nil
	}

	marker, err := last.Marker()

	return marker.GetAcceptedGap(), err
}

// nameRange adds to the loss of history what is missing. What a rewind needed says
// rangeLost.
func (c *Capture) nameRange(ctx context.Context, tail *topology.Stored, err error) error {
	var trouble *interruption
	if !errors.As(err, &trouble) || trouble.state != HistoryLost || c.rewindTo != nil {
		return err
	}

	since := "the beginning of the flow"
	if !tail.Position.IsZero() {
		since = fmt.Sprintf("position %s (%s)", tail.Position, tail.Position.Time().UTC().Format(time.RFC3339))
	}

	until := "where the source can be read again"

	if oldest, readErr := c.oldestOperation(ctx); readErr == nil {
		until = oldest.UTC().Format(time.RFC3339) + " at the earliest, the oldest operation that the source still has"
	}

	return &interruption{
		state: trouble.state, remedy: trouble.remedy,
		err: fmt.Errorf("%w: changes after %s (message %d of the stream, event %d) are missing until %s",
			trouble.err, since, tail.Sequence, tail.Event, until),
	}
}

// oldestOperation reads the source's oplog, which not every user may and a
// mongos does not have.
func (c *Capture) oldestOperation(ctx context.Context) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	first, err := mongodb.OldestOperation(ctx, c.source)

	return mongodb.TimeOf(first), err
}
