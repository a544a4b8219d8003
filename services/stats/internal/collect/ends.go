package collect

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/tally"
)

// requests to JetStream that are under way at a time.
const requests = 16

// ends are the ends of all partitions when the stream's last message was tail.
// They take a request for each partition, so they are kept for as long as nothing
// is published: what is purged in front leaves them as they are.
type ends struct {
	streamID string
	stored   time.Time // when the server stored the tail
	tail     topology.Stored

	counts []uint64          // of each partition's last event, by partition
	last   []topology.Stored // its last message; the zero one when there is none, or when it came after the tail
	first  []behind          // its first message that is pending, as last asked for

	// exact is false when counts may be of later than the tail: a marker came
	// meanwhile, or a rewind.
	exact bool
}

// behind is the first message behind a checkpoint. It may be of 1 MiB, and of a
// partition that waits it is the same one at each sample.
type behind struct {
	checkpoint int64 // the sequence of the checkpoint
	message    topology.Stored
}

// areOf tells whether the stream still ends with this tail.
func (e *ends) areOf(streamID string, state *jetstream.StreamState) bool {
	return e.exact && e.streamID == streamID && e.tail.Sequence == state.LastSeq && e.stored.Equal(state.LastTime)
}

// readEnds reads them as of state. What is published while it reads does not
// disturb it: the first message behind the tail says how many were before it.
func readEnds(ctx context.Context, stream *topology.Stream, state *jetstream.StreamState) (*ends, error) {
	if state.Msgs == 0 {
		return nil, fmt.Errorf("read the tail of stream %s: %w", stream.Name(), topology.ErrNoMessage)
	}

	tail, err := stream.At(ctx, state.LastSeq)
	if err != nil {
		return nil, err
	}

	marker, err := stream.LastMarker(ctx)
	if err != nil {
		return nil, err
	}

	marked, err := stream.ParseMarker(&marker)
	if err != nil {
		return nil, err
	}

	e := &ends{
		streamID: stream.StreamID, stored: state.LastTime, tail: withoutContent(tail),
		counts: make([]uint64, stream.Partitions), last: make([]topology.Stored, stream.Partitions),
		first: make([]behind, stream.Partitions),
		exact: marker.Sequence <= tail.Sequence,
	}

	exact := make([]bool, stream.Partitions)

	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(requests)

	for partition := range e.counts {
		group.Go(func() (err error) {
			exact[partition], err = e.read(ctx, stream, partition, &marker, marked.GetHeads()[partition])

			return err
		})
	}

	if err := group.Wait(); err != nil {
		return nil, err
	}

	for _, is := range exact {
		e.exact = e.exact && is
	}

	return e, nil
}

// read asks for the end of a partition: of its last message and the last marker,
// the one with the higher sequence decides.
func (e *ends) read(ctx context.Context, stream *topology.Stream, partition int, marker *topology.Stored, marked uint64) (exact bool, err error) {
	last, err := stream.LastOf(ctx, partition)

	switch {
	case errors.Is(err, topology.ErrNoMessage):
		e.counts[partition] = marked

		return true, nil
	case err != nil:
		return false, err
	case last.Sequence < marker.Sequence:
		e.counts[partition], e.last[partition] = marked, withoutContent(last)

		return true, nil
	case last.Sequence <= e.tail.Sequence:
		e.counts[partition], e.last[partition] = last.Count, withoutContent(last)

		return true, nil
	case e.tail.Kind != event.KindMarker && e.tail.Partition == partition:
		e.counts[partition], e.last[partition] = e.tail.Count, e.tail

		return true, nil
	}

	next, err := stream.NextOf(ctx, partition, e.tail.Sequence+1)
	if errors.Is(err, topology.ErrNoMessage) { // the stream has lost its tail meanwhile
		e.counts[partition] = last.Count

		return false, nil
	}

	if err != nil {
		return false, err
	}

	e.counts[partition], exact = countBefore(&next.Message, e.tail.Generation)

	return exact, nil
}

// countBefore is the count of the event before a message in its partition. Only
// the event of the tail can be unfinished, and it is of another partition: so the
// message begins an event, or is the copy of a schema change, which has the count
// of the event before it. exact is false for what is neither.
func countBefore(m *event.Message, generation uint64) (count uint64, exact bool) {
	switch {
	case m.Generation != generation:
		return m.Count, false // counted anew
	case m.IsCopy():
		return m.Count, true
	case m.Part == 1 && m.Count > 0:
		return m.Count - 1, true
	default:
		return m.Count, false
	}
}

// withoutContent is what is kept of a message: it may be of 1 MiB.
func withoutContent(m topology.Stored) topology.Stored {
	m.Payload, m.ResumeToken = nil, nil

	return m
}

// heads joins them with the checkpoints, which say what is pending; the age of
// the oldest pending event is the lag. Messages before the sequence from are gone.
func (e *ends) heads(ctx context.Context, stream *topology.Stream, from uint64, checkpoints map[int]checkpoint.Document) ([]tally.Head, error) {
	heads := make([]tally.Head, len(e.counts))

	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(requests)

	for partition := range heads {
		heads[partition].Count = e.counts[partition]

		d := checkpoints[partition]
		if checkpoints == nil || tally.Pending(heads[partition].Count, d) == 0 {
			continue
		}

		group.Go(func() (err error) {
			heads[partition].Oldest, err = e.oldest(ctx, stream, partition, from, d)

			return err
		})
	}

	if err := group.Wait(); err != nil {
		return nil, err
	}

	return heads, nil
}

// oldest finds the first message behind the checkpoint of a partition of which
// something is pending; nil for one that is no longer there.
func (e *ends) oldest(ctx context.Context, stream *topology.Stream, partition int, from uint64, d checkpoint.Document) (*tally.Waiting, error) {
	// The usual case in a flow that keeps up needs no request of its own. A
	// partition without a message has zero parts.
	if last := &e.last[partition]; tally.Pending(e.counts[partition], d) <= 1 && last.Parts == 1 && !last.IsCopy() {
		return waiting(last), nil
	}

	known := &e.first[partition]
	if known.checkpoint == d.Sequence && known.message.Sequence >= from {
		return waiting(&known.message), nil
	}

	m, err := stream.NextOf(ctx, partition, uint64(max(d.Sequence, 0))+1)
	if errors.Is(err, topology.ErrNoMessage) {
		return nil, nil //nolint:nilnil // there is none, which is no error
	}

	if err != nil {
		return nil, err
	}

	*known = behind{checkpoint: d.Sequence, message: withoutContent(m)}

	return waiting(&m), nil
}

func waiting(m *topology.Stored) *tally.Waiting {
	return &tally.Waiting{Position: m.Position, Stored: m.Time}
}
