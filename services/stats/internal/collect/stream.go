package collect

import (
	"context"
	"errors"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/tally"
)

// readStream fills in.Stream, or says in.Problem or in.Unknown. still tells
// whether tail and heads are of the same moment.
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

// figures reads the stream as it is at one sequence, see ends. Opening it each
// time costs one request and finds one that was made anew.
func (f *Flow) figures(ctx context.Context, checkpoints map[int]checkpoint.Document) (s *tally.Stream, still bool, err error) {
	stream, err := topology.Open(ctx, f.js, f.name)
	if err != nil {
		return nil, false, err
	}

	state, config, err := stream.State(ctx)
	if err != nil {
		return nil, false, err
	}

	e := f.ends
	if e == nil || !e.areOf(stream.StreamID, &state) {
		if e, err = readEnds(ctx, stream, &state); err != nil {
			return nil, false, err
		}

		f.ends = e
	}

	heads, err := e.heads(ctx, stream, state.FirstSeq, checkpoints)
	if err != nil {
		return nil, false, err
	}

	total := e.tail.Event
	if e.tail.IsCopy() {
		total-- // no partition has the schema change itself yet
	}

	return &tally.Stream{
		Name:          stream.Name(),
		ID:            stream.StreamID,
		FirstSequence: state.FirstSeq,
		LastSequence:  e.tail.Sequence,
		Messages:      state.Msgs,
		Bytes:         state.Bytes,
		MaxBytes:      uint64(max(config.MaxBytes, 0)),
		Generation:    e.tail.Generation,
		Position:      e.tail.Position,
		Total:         total,
		Skipped:       e.tail.Skipped,
		Heads:         heads,
	}, e.exact, nil
}
