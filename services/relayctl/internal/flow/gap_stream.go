package flow

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/gap"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// finishRenewal makes the stream of a recorded gap, as far as it is not made, and
// says so in the record. It returns gap.Withdrawn where a stream is there that
// knows nothing of the gap: the lost one was restored, or somebody made another.
func (a *acceptance) finishRenewal(ctx context.Context, g *gap.Document) (gap.State, error) {
	// The old stream is removed, the new one is made, message 1 is published; and
	// somebody else may do any of it at the same time.
	const steps = 8

	state := gap.Open

	for range steps {
		var err error
		if state, err = a.stepRenewal(ctx, g); err != nil {
			return "", fmt.Errorf("NATS at %s: gap %s is recorded, its stream is not made; run this again: %w", a.NATS.URL, g.ID, err)
		}

		if state != gap.Open {
			break
		}
	}

	if state == gap.Open {
		return "", fmt.Errorf("NATS at %s: gap %s is recorded, somebody else makes or removes its stream; run this again", a.NATS.URL, g.ID)
	}

	if err := gap.Finish(ctx, a.target, g.ID, state); err != nil {
		return "", mongoTrouble("TARGET_URI", a.TargetURI, err)
	}

	return state, nil
}

// stepRenewal looks how far the stream is and does the next step; gap.Open asks
// to be called again.
func (a *acceptance) stepRenewal(ctx context.Context, g *gap.Document) (gap.State, error) {
	stream, err := topology.Open(ctx, a.js, a.Flow)
	if errors.Is(err, topology.ErrNoStream) {
		return gap.Open, a.makeStream(ctx, g)
	}

	if err != nil {
		return "", openTrouble(a.NATS.URL, a.Flow, err)
	}

	state, _, err := stream.State(ctx)
	if err != nil {
		return "", err
	}

	switch {
	case stream.StreamID == g.ReplacedBy && state.LastSeq > 0:
		return gap.Closed, nil // message 1 is nobody else's
	case stream.StreamID == g.ReplacedBy:
		return gap.Open, a.publishRenewal(ctx, stream, g)
	case state.Msgs > 0:
		return gap.Withdrawn, nil
	}

	// Empty: what it had is gone, and its sequences would not begin anew.
	if err := a.js.DeleteStream(ctx, stream.Name()); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return "", fmt.Errorf("delete the empty stream %s: %w", stream.Name(), err)
	}

	return gap.Open, nil
}

func (a *acceptance) makeStream(ctx context.Context, g *gap.Document) error {
	if a.anew == nil { // it was there when this run began
		return fmt.Errorf("stream %s: %w", topology.StreamName(a.Flow), topology.ErrNoStream)
	}

	maxBytes := int64(a.MaxBytes)

	if maxBytes == 0 {
		var err error
		if maxBytes, err = topology.DefaultMaxBytes(ctx, a.js, a.Replicas); err != nil {
			return err
		}
	}

	_, err := topology.Create(ctx, a.js, a.Flow, a.settingsOf(g), maxBytes)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return nil // somebody else was faster
	}

	return createTrouble(err)
}

func (a *acceptance) publishRenewal(ctx context.Context, stream *topology.Stream, g *gap.Document) error {
	marker := &relayv1.Marker{
		Heads:            make([]uint64, g.Partitions),
		Filter:           &relayv1.Filter{Include: a.Include.Patterns(), Exclude: a.Exclude.Patterns(), SkipOrigins: stream.SkipOrigins},
		ReplacesStreamId: topology.JoinStreamIDs(g.Replaces),
		AcceptedGap:      g.ID,
		GapFrom:          topology.EncodePosition(g.From.Position),
	}

	if stream.DDL {
		table, err := readTable(ctx, a.source, g.Partitions)
		if err != nil {
			return mongoTrouble("SOURCE_URI", a.SourceURI, err)
		}

		table.Encode(marker)
	}

	payload, err := proto.Marshal(marker)
	if err != nil {
		return fmt.Errorf("encode message 1: %w", err)
	}

	err = stream.PublishFirst(ctx, a.js, firstOf(g, payload))
	if errors.Is(err, topology.ErrNotLast) {
		return nil // somebody else was faster
	}

	return err
}
