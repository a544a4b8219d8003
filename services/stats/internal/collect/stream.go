package collect

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/tally"
)

// requests to JetStream that are under way at a time.
const requests = 16

// readStream fills in.Stream, or says in.Problem or in.Unknown. still tells
// whether nothing was published meanwhile: only then tail and heads agree.
func (f *Flow) readStream(ctx context.Context, in *tally.Input, checkpoints map[int]checkpoint.Document) (still bool) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()

	s, still, err := f.figures(ctx, checkpoints)

	switch {
	case err == nil:
		in.Stream = s
	case errors.Is(err, topology.ErrNoStream):
		in.Problem = &tally.Problem{
			Reason:   "there is no stream " + topology.StreamName(f.name),
			NextStep: makeOrAccept(checkpoints),
		}
	case errors.Is(err, topology.ErrNoMessage):
		in.Problem = &tally.Problem{
			Reason:   "stream " + topology.StreamName(f.name) + " is empty: it was not made completely, or was purged",
			NextStep: makeOrAccept(checkpoints),
		}
	case errors.Is(err, topology.ErrForeignStream), errors.Is(err, topology.ErrConfigDiffers), errors.Is(err, event.ErrMalformed):
		in.Problem = &tally.Problem{
			Reason:   err.Error(),
			NextStep: "undo what was done to the stream by hand; relayctl flow show tells its settings",
		}
	default:
		in.Unknown = append(in.Unknown, "NATS: "+err.Error())
	}

	return still
}

// makeOrAccept is what to do without a stream: init refuses where events were
// applied before.
func makeOrAccept(checkpoints map[int]checkpoint.Document) string {
	if len(checkpoints) == 0 {
		return "relayctl flow init; if the stream was there before, restore it instead"
	}

	return "restore the stream from a backup; or go on without what was in it and not applied: relayctl flow accept-gap --at now --reason ..., " +
		"which records the gap"
}

// figures reads the state first and the tail last. Opening the stream each time
// costs one request and finds one that was made anew.
func (f *Flow) figures(ctx context.Context, checkpoints map[int]checkpoint.Document) (s *tally.Stream, still bool, err error) {
	stream, err := topology.Open(ctx, f.js, f.name)
	if err != nil {
		return nil, false, err
	}

	state, config, err := stream.State(ctx)
	if err != nil {
		return nil, false, err
	}

	heads, err := readHeads(ctx, stream, checkpoints)
	if err != nil {
		return nil, false, err
	}

	tail, err := stream.Tail(ctx)
	if err != nil {
		return nil, false, err
	}

	total := tail.Event
	if tail.IsCopy() {
		total-- // no partition has the schema change itself yet
	}

	return &tally.Stream{
		Name:          stream.Name(),
		ID:            stream.StreamID,
		FirstSequence: state.FirstSeq,
		LastSequence:  tail.Sequence,
		Messages:      state.Msgs,
		Bytes:         state.Bytes,
		MaxBytes:      uint64(max(config.MaxBytes, 0)),
		Generation:    tail.Generation,
		Position:      tail.Position,
		Total:         total,
		Skipped:       tail.Skipped,
		Heads:         heads,
	}, tail.Sequence == state.LastSeq, nil
}

// readHeads asks for the end of all partitions at once: of a partition's last
// message and the last marker, the one with the higher sequence decides.
func readHeads(ctx context.Context, stream *topology.Stream, checkpoints map[int]checkpoint.Document) ([]tally.Head, error) {
	marker, err := stream.LastMarker(ctx)
	if err != nil {
		return nil, err
	}

	marked, err := stream.ParseMarker(&marker)
	if err != nil {
		return nil, err
	}

	heads := make([]tally.Head, stream.Partitions)

	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(requests)

	for partition := range heads {
		group.Go(func() error {
			last, err := stream.LastOf(ctx, partition)
			if err != nil && !errors.Is(err, topology.ErrNoMessage) {
				return err
			}

			if err != nil || last.Sequence < marker.Sequence {
				heads[partition].Count = marked.GetHeads()[partition]
			} else {
				heads[partition].Count = last.Count
			}

			if checkpoints == nil {
				return nil
			}

			heads[partition].Oldest, err = oldest(ctx, stream, heads[partition].Count, checkpoints[partition], partition, last)

			return err
		})
	}

	if err := group.Wait(); err != nil {
		return nil, err
	}

	return heads, nil
}

// oldest finds the first message behind the checkpoint, whose age is the lag.
// Nil when nothing is pending, and for a message that is no longer there.
func oldest(ctx context.Context, stream *topology.Stream, head uint64, d checkpoint.Document, partition int, last topology.Stored,
) (*tally.Waiting, error) {
	pending := tally.Pending(head, d)
	if pending == 0 {
		return nil, nil //nolint:nilnil // there is none, which is no error
	}

	// The usual case in a flow that keeps up needs no request of its own. A
	// partition without a message has zero parts.
	if pending > 1 || last.Parts != 1 || last.IsCopy() {
		next, err := stream.NextOf(ctx, partition, uint64(max(d.Sequence, 0))+1)
		if errors.Is(err, topology.ErrNoMessage) {
			return nil, nil //nolint:nilnil // see above
		}

		if err != nil {
			return nil, err
		}

		last = next
	}

	return &tally.Waiting{Position: last.Position, Stored: last.Time}, nil
}
