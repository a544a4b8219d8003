package chain

import (
	"context"
	"errors"
	"fmt"

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

// TableAt returns the routing table as it was at a place of the source's history,
// for a stream that is rewound to it: what was published must go the way that it
// went. It is that of the last marker up to there, of the latest generation that
// has one, and the schema changes behind. Where all of them are purged or lost,
// as where the target was restored to before what the stream has, it is that of the
// first marker, which is told so (routing.Table.IsOf): what was renamed since is known
// there by its UUID, and what was dropped is remembered. Errors as of ReadTail.
func TableAt(ctx context.Context, stream *topology.Stream, at event.Position) (*routing.Table, error) {
	marker, err := markerUpTo(ctx, stream, at)
	if err != nil {
		return nil, err
	}

	payload, err := marker.Marker()
	if err != nil {
		return nil, err
	}

	table, err := routing.FromMarker(payload, stream.Partitions)
	if err != nil {
		return nil, fmt.Errorf("marker %d of stream %s: %w", marker.Sequence, stream.Name(), err)
	}

	if at.Before(marker.Position) {
		table.IsOf(marker.Position)

		return table, nil
	}

	barriers, err := stream.BarriersAfter(ctx, marker.Sequence)
	if err != nil {
		return nil, err
	}

	for i := range barriers {
		if b := &barriers[i]; b.Generation != marker.Generation || b.Position.Compare(at) > 0 {
			break
		}

		if err := follow(table, &barriers[i]); err != nil {
			return nil, err
		}
	}

	return table, nil
}

// markerUpTo returns the marker that TableAt begins with.
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
