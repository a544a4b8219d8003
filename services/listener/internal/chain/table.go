package chain

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/routing"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// readSchema reads what happened to the schema up to the tail.
func (t *Tail) readSchema(ctx context.Context, stream *topology.Stream) error {
	t.LastBarrier = t.Marker.GetLastBarrier()

	table, err := routing.FromMarker(t.Marker, stream.Partitions)
	if err != nil {
		return fmt.Errorf("marker %d of stream %s: %w", t.Marked, stream.Name(), err)
	}

	barriers, err := stream.BarriersAfter(ctx, t.Marked)
	if err != nil {
		return err
	}

	for i := range barriers {
		t.LastBarrier = barriers[i].Event
		if err := follow(table, &barriers[i]); err != nil {
			return err
		}
	}

	t.Table = table

	return nil
}

// Place is where a generation begins.
type Place struct {
	Token    bson.Raw // the source is read on behind it
	Position event.Position
	Event    uint64         // number of the event at this place
	Skipped  uint64         // events up to there that were not published
	Table    *routing.Table // of this place; nil where the stream has none
}

// PlaceUpTo returns where a stream with schema changes begins that has to be rewound
// to a place: at the last marker up to there, of the latest generation that has one,
// for what was published must go the way that it went, and a marker is the only one to
// know the table for certain. The schema changes behind it come again; those that the
// stream has prove nothing, for what it lost may have been one.
//
// Where no marker is left of before, as where the target was restored to before what the
// stream has, it is the place itself, with the table of the first marker, which is told so
// (routing.Table.IsOf): what was renamed since is known there by its UUID, and what was
// dropped is remembered. Errors as of ReadTail.
func PlaceUpTo(ctx context.Context, stream *topology.Stream, to Place) (Place, error) {
	marker, err := markerUpTo(ctx, stream, to.Position)
	if err != nil {
		return Place{}, err
	}

	payload, err := marker.Marker()
	if err != nil {
		return Place{}, err
	}

	to.Table, err = routing.FromMarker(payload, stream.Partitions)
	if err != nil {
		return Place{}, fmt.Errorf("marker %d of stream %s: %w", marker.Sequence, stream.Name(), err)
	}

	if to.Position.Before(marker.Position) {
		to.Table.IsOf(marker.Position)

		return to, nil
	}

	return Place{marker.ResumeToken, marker.Position, marker.Event, marker.Skipped, to.Table}, nil
}

// markerUpTo returns the marker whose table PlaceUpTo takes.
func markerUpTo(ctx context.Context, stream *topology.Stream, at event.Position) (best topology.Stored, err error) {
	for sequence := uint64(1); ; {
		m, err := stream.NextMarker(ctx, sequence)
		if errors.Is(err, topology.ErrNoMessage) && best.Sequence > 0 {
			return best, nil
		}

		if err != nil {
			return topology.Stored{}, err
		}

		if best.Sequence == 0 || m.Position.Compare(at) <= 0 {
			best = m
		}

		sequence = m.Sequence + 1
	}
}

// follow makes the table follow a schema change of the stream.
func follow(table *routing.Table, barrier *topology.Stored) error {
	e, err := event.Parse(barrier.Payload)
	if err != nil {
		return fmt.Errorf("message %d: %w", barrier.Sequence, err)
	}

	table.Reach(barrier.Position)
	table.Apply(&e)

	return nil
}
