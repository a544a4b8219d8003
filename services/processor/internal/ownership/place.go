package ownership

import (
	"context"
	"errors"
	"fmt"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
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

// check makes sure that the checkpoint speaks of this partition.
func check(stream *topology.Stream, held *checkpoint.Document, partition int) error {
	if held.Flow != stream.Flow() || held.Partition != partition {
		return fmt.Errorf("%w: %s says partition %d of flow %s", ErrMisfiled, held.ID, held.Partition, held.Flow)
	}

	return nil
}

// checkStream makes sure that it speaks of this stream. Whether the stream has
// what follows it is found by locate.
func checkStream(stream *topology.Stream, held *checkpoint.Document) error {
	if held.StreamID != stream.StreamID {
		return fmt.Errorf("%w: checkpoint %s names %s, stream %s is %s",
			ErrOtherStream, held.ID, held.StreamID, stream.Name(), stream.StreamID)
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
