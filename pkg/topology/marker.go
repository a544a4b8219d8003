package topology

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// Marker returns what a message on the subject of markers says. Errors:
// event.ErrMalformed for any other message.
func (m *Stored) Marker() (*relayv1.Marker, error) {
	marker := new(relayv1.Marker)
	if m.Kind != event.KindMarker || proto.Unmarshal(m.Payload, marker) != nil {
		return nil, fmt.Errorf("%w: message %d is no marker of this stream", event.ErrMalformed, m.Sequence)
	}

	return marker, nil
}

// ParseMarker is Marker for one that must know the heads of all partitions of
// this stream. Errors as of Marker.
func (s *Stream) ParseMarker(m *Stored) (*relayv1.Marker, error) {
	marker, err := m.Marker()
	if err != nil {
		return nil, err
	}

	if len(marker.GetHeads()) != s.Partitions {
		return nil, fmt.Errorf("marker %d of stream %s has %d partitions, the stream has %d: %w",
			m.Sequence, s.Name(), len(marker.GetHeads()), s.Partitions, event.ErrMalformed)
	}

	return marker, nil
}

// markers is what LastMarkerUpTo asks of a stream: *Stream.
type markers interface {
	State(ctx context.Context) (jetstream.StreamState, jetstream.StreamConfig, error)
	NextMarker(ctx context.Context, sequence uint64) (Stored, error)
}

// MarkerUpTo finds the last marker whose position is not beyond this one, of the latest
// generation that has such. ok is false where none has. Errors as of Tail.
func MarkerUpTo(ctx context.Context, s *Stream, position event.Position) (found Stored, ok bool, err error) {
	last, err := s.LastMarker(ctx)
	if err != nil {
		return Stored{}, false, err
	}

	for generation := last.Generation; ; generation = found.Generation {
		found, ok, err = LastMarkerUpTo(ctx, s, generation, position)
		if err != nil || ok || found.Sequence == 0 {
			return found, ok, err
		}
	}
}

// LastMarkerUpTo finds the last marker of a generation whose position is not beyond
// this one. Generations and, within one, positions only grow along the stream, so it
// takes a few dozen requests however long that is. Where the generation has none, the
// marker found is the last one of an earlier generation, whatever its position, and has
// Sequence 0 where there is no such either. Errors as of Tail, but no ErrNoMessage.
func LastMarkerUpTo(ctx context.Context, s markers, generation uint64, position event.Position) (found Stored, ok bool, err error) {
	state, _, err := s.State(ctx)
	if err != nil {
		return Stored{}, false, err
	}

	for low, high := state.FirstSeq, state.LastSeq+1; low < high; {
		middle := low + (high-low)/2

		m, err := s.NextMarker(ctx, middle)

		switch {
		case errors.Is(err, ErrNoMessage):
			high = middle
		case err != nil:
			return Stored{}, false, err
		case m.Generation > generation, m.Generation == generation && m.Position.Compare(position) > 0:
			high = middle
		default:
			found, ok, low = m, m.Generation == generation, m.Sequence+1
		}
	}

	return found, ok, nil
}

// headRequests bounds the requests that read the partitions' last messages.
const headRequests = 8

// inTurn is a stream that is asked one thing after the other: that of a model, whose
// requests have an order.
type inTurn interface{ InTurn() }

// Heads returns the count of the last complete event of each partition. It takes
// whichever is later in the stream, the partition's last message or the last
// marker with the heads that it has. Errors as of Tail.
func (s *Stream) Heads(ctx context.Context, marker *Stored, marked []uint64) ([]uint64, error) {
	heads := make([]uint64, s.Partitions)
	_, inTurn := s.js.(inTurn)

	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(headRequests)

	for partition := range heads {
		ask := func() (err error) {
			heads[partition], err = s.head(ctx, partition, marker, marked[partition])

			return err
		}

		if !inTurn {
			group.Go(ask)
		} else if err := ask(); err != nil {
			return nil, err
		}
	}

	if err := group.Wait(); err != nil {
		return nil, err
	}

	return heads, nil
}

// head is Heads for one partition.
func (s *Stream) head(ctx context.Context, partition int, marker *Stored, marked uint64) (uint64, error) {
	m, err := s.LastOf(ctx, partition)

	switch {
	case errors.Is(err, ErrNoMessage):
		return marked, nil
	case err != nil:
		return 0, err
	case m.Sequence < marker.Sequence:
		return marked, nil
	default:
		return completeCount(&m.Message), nil
	}
}

// completeCount returns the count of the last complete event when m is the last
// message of its partition. An event without its last part has not happened
// yet: its next attempt, or whatever is published instead, has its count. The
// copy of a schema change repeats the count of the event before it.
func completeCount(m *event.Message) uint64 {
	if !m.IsLastPart() {
		return m.Count - 1
	}

	return m.Count
}

// EncodePosition is a position as it is told to others.
func EncodePosition(p event.Position) *relayv1.Position {
	return &relayv1.Position{Seconds: p.T, Increment: p.I, Ordinal: p.Ordinal}
}

// DecodePosition is the inverse of EncodePosition.
func DecodePosition(p *relayv1.Position) event.Position {
	return event.Position{T: p.GetSeconds(), I: p.GetIncrement(), Ordinal: p.GetOrdinal()}
}
