package ownership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// errUnfinished says that a stream was made and has no message 1 yet.
var errUnfinished = errors.New("the stream was made anew and has no message yet; relayctl flow accept-gap has not finished")

// rebase moves a checkpoint of a stream that is gone to message 1 of the one that
// was made in its place: an operator has accepted the gap between the two.
// Counters and what is parked stay, and the numbers of message 1 were made from
// them; the count of the partition begins anew. The caller writes it, guarded as
// every acquisition. A checkpoint of any other stream is left as it is: check
// refuses it. One of this stream passes over a hole, if an operator wants it so.
func rebase(ctx context.Context, stream *topology.Stream, held *checkpoint.Document) (moved bool, err error) {
	if held.StreamID == stream.StreamID {
		return passGap(ctx, stream, held)
	}

	first, marker, err := stream.First(ctx)
	if errors.Is(err, topology.ErrNoMessage) {
		return false, unfinished(ctx, stream)
	}

	if err != nil {
		return false, err
	}

	if !slices.Contains(strings.Fields(marker.GetReplacesStreamId()), held.StreamID) {
		return false, nil
	}

	// What was applied would come again.
	if first.Position.Compare(held.Position) < 0 {
		return false, fmt.Errorf("%w: checkpoint %s is at position %s, message 1 of stream id %s at %s",
			ErrStreamWentBack, held.ID, held.Position, stream.StreamID, first.Position)
	}

	held.Place, held.Gap = checkpoint.PlaceOf(&first.Message, first.Sequence), nil

	return true, nil
}

// errGapUnfinished says that the partitions are fenced for a gap whose marker is not
// in the stream.
var errGapUnfinished = errors.New("an operator has begun to accept a gap, and its marker is not in the stream yet")

// passGap moves a checkpoint behind the accepted gap that it is fenced for: what the
// hole has swallowed is part of it. Counters and what is parked stay, and the numbers
// of the marker were made from them. As of rebase.
func passGap(ctx context.Context, stream *topology.Stream, held *checkpoint.Document) (moved bool, err error) {
	if held.Gap == nil {
		return false, nil
	}

	m, err := stream.NextMarker(ctx, uint64(held.Gap.After)+1) //nolint:gosec // never negative
	if errors.Is(err, topology.ErrNoMessage) {
		return false, fmt.Errorf("%w: gap %s", errGapUnfinished, held.Gap.ID)
	}

	if err != nil {
		return false, err
	}

	marker, err := m.Marker()
	if err != nil {
		return false, err
	}

	if m.StreamID != stream.StreamID || marker.GetAcceptedGap() != held.Gap.ID {
		return false, fmt.Errorf("%w: gap %s, message %d is another marker", errGapUnfinished, held.Gap.ID, m.Sequence)
	}

	// What was applied would come again.
	if m.Position.Before(held.Position) {
		return false, fmt.Errorf("%w: checkpoint %s is at position %s, the marker of gap %s at %s",
			ErrStreamWentBack, held.ID, held.Position, held.Gap.ID, m.Position)
	}

	held.Place, held.Gap = checkpoint.PlaceOf(&m.Message, m.Sequence), nil

	return true, nil
}

// unfinished tells a stream that had no message yet, but may have it by now, from
// one that has lost it.
func unfinished(ctx context.Context, stream *topology.Stream) error {
	state, _, err := stream.State(ctx)
	if err == nil && state.FirstSeq <= 1 {
		return errUnfinished
	}

	return err
}

// awaitReplacement ends when another stream was made in the place of the one that
// the partitions are of; then all of them have to be acquired anew.
func (o *Owner) awaitReplacement(stop context.Context) (replaced bool) {
	ticker := time.NewTicker(inspectEvery)
	defer ticker.Stop()

	for {
		select {
		case <-ticker.C:
		case <-stop.Done():
			return false
		}

		id, err := o.replacement(stop)
		if err != nil {
			o.log.DebugContext(stop, "cannot look whether the stream was replaced", slog.Any(telemetry.KeyError, err))
		}

		if id != "" {
			o.log.WarnContext(stop, "an operator has accepted that the stream is gone; going on with the one made in its place",
				slog.String("stream_id", id), slog.String("replaces", o.stream.StreamID))

			return true
		}
	}
}

// replacement returns the id of the stream that replaces the present one; empty
// when there is none.
func (o *Owner) replacement(ctx context.Context) (id string, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	live, err := topology.Open(ctx, o.js, o.options.Flow)
	if err != nil || live.StreamID == o.stream.StreamID {
		return "", err
	}

	replaces, err := live.Replaces(ctx, o.stream.StreamID)
	if err != nil || !replaces {
		return "", err
	}

	return live.StreamID, nil
}
