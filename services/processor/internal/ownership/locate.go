package ownership

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/consume"
)

// history is what of a stream locate asks for: *topology.Stream.
type history interface {
	State(ctx context.Context) (jetstream.StreamState, jetstream.StreamConfig, error)
	At(ctx context.Context, sequence uint64) (topology.Stored, error)
	NextOf(ctx context.Context, partition int, sequence uint64) (topology.Stored, error)
	NextMarker(ctx context.Context, sequence uint64) (topology.Stored, error)
	LastMarker(ctx context.Context) (topology.Stored, error)
}

// start is where in the stream an ownership begins to read.
type start struct {
	after uint64           // the consumer begins behind this sequence
	from  checkpoint.Place // what the verifier goes on from; its position is always the checkpoint's
	// moved tells that the checkpoint's message is not where the checkpoint says:
	// the stream was rewound, or lost its tail and wrote on. The checkpoint's
	// sequence and count mean nothing until the next one.
	moved bool
}

// locate finds where the partition goes on behind its checkpoint. A sequence
// decides nothing: a stream that lost its tail uses sequences again, and whoever
// asks for "the one behind it" then misses events, in silence. seen is the
// highest generation that is known to exist beside the stream's last marker.
//
//	the checkpoint's message is there         behind it
//	it was purged, what follows is there      behind it
//	another one is there, or none             at the last marker at or below its position
//	the stream was rewound since              the same, in the new generation
//
// What was applied is recognised by its position. Errors: *consume.HoleError when
// events are missing, which only a rewind brings back; else those of the stream.
func locate(ctx context.Context, h history, held *checkpoint.Document, seen uint64) (start, error) {
	present, err := generation(ctx, h, held, seen)
	if err != nil {
		return start{}, err
	}

	switch {
	case present > held.StreamGeneration():
		return behindMarker(ctx, h, held, present)
	case present < held.StreamGeneration():
		return start{}, &consume.HoleError{
			Generation: present,
			What:       fmt.Sprintf("checkpoint %s is of generation %d, the stream was set back behind its last rewind", held.ID, held.Generation),
		}
	}

	there := start{after: held.StreamSequence(), from: held.Place}

	m, err := h.At(ctx, held.StreamSequence())

	switch {
	case errors.Is(err, topology.ErrNoMessage):
		state, _, err := h.State(ctx)
		if err != nil {
			return start{}, err
		}

		if held.StreamSequence() < state.FirstSeq {
			return there, reachable(ctx, h, held, state.FirstSeq)
		}

		return behindMarker(ctx, h, held, present)
	case errors.Is(err, event.ErrMalformed):
		return behindMarker(ctx, h, held, present) // a stranger's, who may have come after the tail was lost
	case err != nil:
		return start{}, err
	case !held.Names(&m.Message):
		return behindMarker(ctx, h, held, present)
	default:
		return there, nil
	}
}

// generation returns the stream's present one: each begins with a marker.
func generation(ctx context.Context, h history, held *checkpoint.Document, seen uint64) (uint64, error) {
	last, err := h.LastMarker(ctx)

	switch {
	case errors.Is(err, topology.ErrNoMessage):
		return max(held.StreamGeneration(), seen), nil // it tells nothing
	case err != nil:
		return 0, err
	case last.StreamID != held.StreamID:
		return 0, fmt.Errorf("%w: marker %d names stream id %q, expected %q", consume.ErrForeign, last.Sequence, last.StreamID, held.StreamID)
	default:
		return max(last.Generation, seen), nil
	}
}

// behindMarker starts behind the last marker of the generation that is at or
// below the checkpoint's position: it knows the count to go on from, and nothing
// that is not applied lies before it.
func behindMarker(ctx context.Context, h history, held *checkpoint.Document, generation uint64) (start, error) {
	m, ok, err := topology.LastMarkerUpTo(ctx, h, generation, held.Position)
	if err != nil {
		return start{}, err
	}

	if !ok {
		return start{}, &consume.HoleError{
			Generation: generation,
			What:       fmt.Sprintf("nothing of it is left at or below checkpoint %s, event %d at %s", held.ID, held.Event, held.Position),
		}
	}

	heads, err := headsOf(&m, held.Partition)
	if err != nil {
		return start{}, err
	}

	from := held.Place
	from.Generation, from.Count = int64(generation), int64(heads) //nolint:gosec // the stream's numbers stay far below 2^63

	return start{after: m.Sequence, from: from, moved: true}, nil
}

func headsOf(m *topology.Stored, partition int) (uint64, error) {
	marker, err := m.Marker()
	if err != nil {
		return 0, err
	}

	if partition >= len(marker.GetHeads()) {
		return 0, fmt.Errorf("%w: marker %d knows no partition %d", event.ErrMalformed, m.Sequence, partition)
	}

	return marker.GetHeads()[partition], nil
}

// reachable makes sure that the stream has the partition's next event at or
// behind this sequence, if there is one. Only counts can tell: the messages that
// are missing may be of other partitions. The marker is read first: what it
// counts must be there afterwards.
func reachable(ctx context.Context, h history, held *checkpoint.Document, from uint64) error {
	marker, markerErr := h.LastMarker(ctx)
	if markerErr != nil && !errors.Is(markerErr, topology.ErrNoMessage) {
		return markerErr
	}

	next, err := h.NextOf(ctx, held.Partition, from)

	switch {
	case err == nil && next.Generation == held.StreamGeneration() && countBefore(&next.Message) > held.LastCount():
		return hole(held, countBefore(&next.Message), from, next.Position)
	case err == nil:
		return nil // of another generation: whoever reads it finds out
	case !errors.Is(err, topology.ErrNoMessage):
		return err
	case markerErr != nil:
		return fmt.Errorf("%w: checkpoint %s is at sequence %d, the stream begins at %d and has no marker that says what was between",
			ErrPurged, held.ID, held.Sequence, from)
	case marker.Generation != held.StreamGeneration():
		return nil
	}

	head, err := headsOf(&marker, held.Partition)
	if err != nil {
		return err
	}

	if head > held.LastCount() {
		return hole(held, head, from, marker.Position)
	}

	return nil
}

// countBefore is the count of the partition's event before the message.
func countBefore(m *event.Message) uint64 {
	if m.IsCopy() {
		return m.Count
	}

	return m.Count - 1
}

func hole(held *checkpoint.Document, to, from uint64, before event.Position) error {
	return &consume.HoleError{Generation: held.StreamGeneration(), What: missing(held, to, from, before).Error()}
}
