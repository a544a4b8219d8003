package chain

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/routing"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

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
func markerUpTo(ctx context.Context, stream *topology.Stream, at event.Position) (topology.Stored, error) {
	m, ok, err := topology.MarkerUpTo(ctx, stream, at)
	if err != nil || ok {
		return m, err
	}

	return stream.NextMarker(ctx, 1)
}

// Rewind makes the ledger go on from an earlier place of the source's history,
// in a new generation: everything behind it is published anew. An event that
// stands unfinished at the tail has no further attempt; it comes again as one of
// the new generation. The caller publishes a marker before anything else, so that
// readers find where the generation begins.
func (l *Ledger) Rewind(generation uint64, to Place) {
	l.generation = generation
	clear(l.heads)
	l.event, l.skipped = to.Event, to.Skipped
	l.token = to.Token
	l.clusterTime = bson.Timestamp{T: to.Position.T, I: to.Position.I}
	l.ordinal = to.Position.Ordinal + 1
	l.unfinished = nil
	l.table = to.Table
	l.lastBarrier = min(l.lastBarrier, to.Event) // who goes on from there has passed all before
}
