package ownership

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/barrier"
)

// TestMarkerBehindASchemaChangeThatWasNotPassed: it may come before the copy that the partition has to stop at.
func TestMarkerBehindASchemaChangeThatWasNotPassed(t *testing.T) {
	t.Parallel()

	place := func(sequence, number int64) checkpoint.Place {
		return checkpoint.Place{StreamID: "s", Sequence: sequence, Event: number, Count: 3, Position: event.Position{T: uint32(number)}}
	}

	p := &partition{held: checkpoint.Document{Place: place(10, 10)}}
	l := &lane{partition: p, start: start{from: p.held.Place}}
	m := &marker{place: place(20, 20), heads: []uint64{3}, lastBarrier: 15}

	_, ok := l.settledBy(m, 3)
	require.False(t, ok, "the change at event 15 was not passed")

	l.passage.Pass(barrier.Barrier{Event: 15, Position: event.Position{T: 15}})

	count, ok := l.settledBy(m, 3)
	require.True(t, ok)
	require.Equal(t, uint64(3), count)

	m.lastBarrier = 9 // before the checkpoint
	l.passage = barrier.Passage{}
	_, ok = l.settledBy(m, 3)
	require.True(t, ok)

	// The same for one whose stream has been rewound.
	l.start.moved, l.began, m.lastBarrier = true, p.held.Place, 15
	_, ok = l.settledBy(m, 3)
	require.False(t, ok)
}
