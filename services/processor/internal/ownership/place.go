package ownership

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// first is the checkpoint before any event: message 1.
func first(ctx context.Context, stream *topology.Stream, c *claim) (checkpoint.Document, error) {
	m, err := stream.At(ctx, 1)
	if errors.Is(err, topology.ErrNoMessage) {
		err = fmt.Errorf("%w: partition %d", ErrNoFirstMessage, c.partition)
		if c.last != nil {
			err = fmt.Errorf("%w; its checkpoint is gone, which was at sequence %d, event %d, position %s", err, c.last.Sequence, c.last.Event, c.last.Position)
		}
	}

	if err != nil {
		return checkpoint.Document{}, err
	}

	return checkpoint.Document{
		ID:        checkpoint.ID(stream.Flow(), c.partition),
		Flow:      stream.Flow(),
		Partition: c.partition,
		Place:     checkpoint.PlaceOf(&m.Message, m.Sequence),
	}, nil
}

// check makes sure that the checkpoint speaks of this partition of this stream,
// and that the stream has everything that follows it.
func check(ctx context.Context, stream *topology.Stream, held *checkpoint.Document, partition int) error {
	if held.Flow != stream.Flow() || held.Partition != partition {
		return fmt.Errorf("%w: %s says partition %d of flow %s", ErrMisfiled, held.ID, held.Partition, held.Flow)
	}

	if held.StreamID != stream.StreamID {
		return fmt.Errorf("%w: checkpoint %s names %s, stream %s is %s",
			ErrOtherStream, held.ID, held.StreamID, stream.Name(), stream.StreamID)
	}

	return compare(ctx, stream, held)
}

// compare makes sure that the stream still holds the message of the checkpoint
// at its sequence, or has purged it, but nothing of the partition behind it.
func compare(ctx context.Context, stream *topology.Stream, held *checkpoint.Document) error {
	m, err := stream.At(ctx, held.StreamSequence())

	switch {
	case errors.Is(err, topology.ErrNoMessage):
		state, _, stateErr := stream.State(ctx)
		if stateErr != nil {
			return stateErr
		}

		if held.StreamSequence() < state.FirstSeq {
			return reachable(ctx, stream, held, state.FirstSeq)
		}

		return fmt.Errorf("%w: it has no message %d, its messages are %d to %d", ErrStreamWentBack, held.Sequence, state.FirstSeq, state.LastSeq)
	case err != nil:
		return err
	case !held.Names(&m.Message):
		return fmt.Errorf("%w: message %d is event %d at %s, the checkpoint says event %d at %s",
			ErrStreamWentBack, held.Sequence, m.Event, m.Position, held.Event, held.Position)
	default:
		return nil
	}
}

// reachable makes sure that a stream that begins behind the checkpoint has the
// partition's next event, if there is one. Only counts can tell: the messages
// that are missing may be of other partitions.
func reachable(ctx context.Context, stream *topology.Stream, held *checkpoint.Document, from uint64) error {
	next, err := stream.NextOf(ctx, held.Partition, from)

	switch {
	case errors.Is(err, topology.ErrNoMessage):
		return reachableByMarker(ctx, stream, held, from)
	case err != nil:
		return err
	case next.Count > held.LastCount()+1:
		return fmt.Errorf("%w: %w", ErrPurged, missing(held, next.Count-1, from, next.Position))
	default:
		return nil
	}
}

// reachableByMarker is for a partition that has no message left: the last marker
// says how many events it has had.
func reachableByMarker(ctx context.Context, stream *topology.Stream, held *checkpoint.Document, from uint64) error {
	stored, err := stream.LastMarker(ctx)
	if errors.Is(err, topology.ErrNoMessage) {
		return fmt.Errorf("%w: checkpoint %s is at sequence %d, the stream begins at %d and has no marker that says what was between",
			ErrPurged, held.ID, held.Sequence, from)
	}

	if err != nil {
		return err
	}

	marker := new(relayv1.Marker)
	if err := proto.Unmarshal(stored.Payload, marker); err != nil || held.Partition >= len(marker.GetHeads()) {
		return fmt.Errorf("%w: message %d is no marker of this stream", event.ErrMalformed, stored.Sequence)
	}

	if head := marker.GetHeads()[held.Partition]; head > held.LastCount() {
		return fmt.Errorf("%w: %w", ErrPurged, missing(held, head, from, stored.Position))
	}

	return nil
}

// missingError is the range that the stream has lost.
type missingError struct {
	held     *checkpoint.Document
	to, from uint64         // last count missing; first sequence of the stream
	before   event.Position // of the first event that is there
}

func missing(held *checkpoint.Document, to, from uint64, before event.Position) error {
	return &missingError{held: held, to: to, from: from, before: before}
}

// Error implements error.
func (e *missingError) Error() string {
	return fmt.Sprintf("events %d to %d of partition %d are missing, within sequences %d to %d, after position %s and before %s",
		e.held.Count+1, e.to, e.held.Partition, e.held.Sequence+1, e.from-1, e.held.Position, e.before)
}
