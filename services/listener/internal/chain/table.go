package chain

import (
	"context"
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
