package flow

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/gap"
	"github.com/atlas-relay/atlas-relay/pkg/routing"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// finish has the stream go on behind a recorded gap and says so in the record.
// It returns gap.Withdrawn if the stream went on by itself, without the gap.
func (a *acceptance) finish(ctx context.Context, g *gap.Document) (gap.State, error) {
	if g.ReplacedBy != "" {
		return a.finishRenewal(ctx, g)
	}

	stateOf := a.stateOf
	if g.Generation > 0 {
		stateOf = a.stateOfHole
	}

	state, err := stateOf(ctx, g)
	if err == nil && state == gap.Open {
		if err = a.publishMarker(ctx, g); err == nil || errors.Is(err, topology.ErrNotLast) {
			// Whoever was faster has published it, or something else.
			state, err = stateOf(ctx, g)
		}
	}

	if err != nil {
		return "", fmt.Errorf("NATS at %s: gap %s is recorded, its marker is not in the stream; run this again: %w", a.NATS.URL, g.ID, err)
	}

	if err := gap.Finish(ctx, a.target, g.ID, state); err != nil {
		return "", mongoTrouble("TARGET_URI", a.TargetURI, err)
	}

	return state, nil
}

// stateOf tells by the message behind the gap's tail how far it has come. The server
// may have lost messages in between, and remember their sequences.
func (a *acceptance) stateOf(ctx context.Context, g *gap.Document) (gap.State, error) {
	behind := uint64(g.Sequence) + 1 //nolint:gosec // never negative

	state, _, err := a.stream.State(ctx)
	if err != nil {
		return "", err
	}

	if state.FirstSeq > behind {
		return gap.Closed, nil // purged, whatever it was: rather a gap too many than one too few
	}

	m, err := a.stream.Next(ctx, behind)

	switch {
	case errors.Is(err, topology.ErrNoMessage):
		return gap.Open, nil
	case err != nil:
		return "", err
	}

	if marker, err := m.Marker(); err == nil && marker.GetAcceptedGap() == g.ID {
		return gap.Closed, nil
	}

	return gap.Withdrawn, nil
}

// publishMarker publishes the message that the listener reads on from. It has
// the token and position behind the gap, and everything else as the tail: no
// event happened in between that anybody could count. Behind a hole it begins a
// generation, with the numbers of the record.
func (a *acceptance) publishMarker(ctx context.Context, g *gap.Document) error {
	tail, err := a.stream.Tail(ctx)
	if err != nil {
		return err
	}

	generation := tail.Generation
	number, skipped := afterTail(&tail)

	if g.Generation > 0 {
		generation, number, skipped = uint64(g.Generation), uint64(g.Event), uint64(g.Skipped) //nolint:gosec // never negative
	}

	payload, err := a.markerPayload(ctx, g, &tail)
	if err != nil {
		return err
	}

	tail.Sequence = uint64(g.Sequence) //nolint:gosec // never negative; another tail by now is refused

	_, err = a.stream.PublishAfter(ctx, a.js, tail, &event.Message{
		Kind:        event.KindMarker,
		StreamID:    tail.StreamID,
		Generation:  generation,
		Position:    g.To.Position,
		ResumeToken: g.To.ResumeToken,
		Event:       number,
		Skipped:     skipped,
		Part:        1,
		Parts:       1,
		Size:        len(payload),
		Attempt:     1,
		Payload:     payload,
	})

	return err
}

// afterTail returns what is counted before a marker behind the tail: an event
// whose last message is missing has not happened, and nobody can finish it any more.
func afterTail(tail *topology.Stored) (number, skipped uint64) {
	if !tail.EndsEvent() {
		return tail.Event - 1, tail.Skipped
	}

	return tail.Event, tail.Skipped
}

// markerPayload is that of the last marker, with the heads of now.
func (a *acceptance) markerPayload(ctx context.Context, g *gap.Document, tail *topology.Stored) ([]byte, error) {
	last, err := a.stream.LastMarker(ctx)
	if err != nil {
		return nil, err
	}

	marker, err := a.stream.ParseMarker(&last)
	if err != nil {
		return nil, err
	}

	if err := a.renewSchema(ctx, &last, marker); err != nil {
		return nil, err
	}

	if g.Generation > 0 {
		err = a.beginGeneration(ctx, g, tail, marker)
	} else {
		marker.OpenTransaction = nil // its rest lies in the gap
		marker.Heads, err = a.stream.Heads(ctx, &last, marker.GetHeads())
	}

	if err != nil {
		return nil, err
	}

	marker.ReplacesStreamId = ""
	marker.AcceptedGap = g.ID
	marker.GapFrom = topology.EncodePosition(g.From.Position)

	payload, err := proto.Marshal(marker)
	if err != nil {
		return nil, fmt.Errorf("encode marker: %w", err)
	}

	return payload, nil
}

// beginGeneration makes the marker one that a generation begins with. What the stream
// lacks by now is known from here on.
func (a *acceptance) beginGeneration(ctx context.Context, g *gap.Document, tail *topology.Stored, marker *relayv1.Marker) error {
	damage, err := topology.LookForDamage(ctx, a.nc, a.stream.Name())
	if err != nil {
		return err
	}

	marker.NumDeleted, marker.NumLost = damage.Deleted, damage.Lost
	marker.Heads = make([]uint64, a.stream.Partitions)
	marker.LastBarrier = 0 // whoever goes on from here has passed all before

	if tail.Kind != event.KindMarker || !bytes.Equal(tail.ResumeToken, g.To.ResumeToken) {
		marker.OpenTransaction = nil // its rest lies in the gap, or none is open where the source is read on
	}

	return nil
}

// renewSchema has the routing table be that of the source's catalog: what happened to
// the schema in the gap nobody has seen. Collections that were known stay in their
// partitions, those of them that were dropped since, too: behind a hole their events may
// come still.
func (a *acceptance) renewSchema(ctx context.Context, last *topology.Stored, marker *relayv1.Marker) error {
	if !a.stream.DDL {
		return nil
	}

	barriers, err := a.stream.BarriersAfter(ctx, last.Sequence)
	if err != nil {
		return err
	}

	for i := range barriers {
		marker.LastBarrier = barriers[i].Event
	}

	known, err := routing.FromMarker(marker, a.stream.Partitions)
	if err != nil {
		return fmt.Errorf("marker %d of stream %s: %w", last.Sequence, a.stream.Name(), err)
	}

	table, err := readTable(ctx, a.source, a.stream.Partitions)
	if err != nil {
		return mongoTrouble("SOURCE_URI", a.SourceURI, err)
	}

	table.KeepPartitions(known)
	table.RememberDropped(known)

	marker.TablePlace = nil
	table.Encode(marker)

	return nil
}
