package verify

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// TestPurgedStreamIsCheckedFromItsFirstMessage: what is gone is no gap, what is missing behind it is one.
func TestPurgedStreamIsCheckedFromItsFirstMessage(t *testing.T) {
	t.Parallel()

	message := func(number, count uint64, partition int) *event.Message {
		return &event.Message{
			Kind: event.KindEvent, Partition: partition, Event: number, Count: count, Position: event.Position{T: uint32(number)},
			Part: 1, Parts: 1, Attempt: 1, Size: 1, Payload: []byte{0},
		}
	}
	marker := &event.Message{Kind: event.KindMarker, Event: 40}

	for name, first := range map[string]*event.Message{"event": message(40, 7, 1), "marker": marker} {
		purged := newReader(2)
		purged.purged = true
		require.NoError(t, purged.add(first), name)
		require.NoError(t, purged.add(message(41, 3, 0)), name)
		require.NoError(t, purged.add(message(42, 8, 1)), name)
		require.ErrorContains(t, purged.add(message(43, 5, 0)), "partition 0: count 5 after 3", name)
		require.ErrorContains(t, purged.add(message(45, 9, 1)), "event 45", name)

		require.ErrorContains(t, newReader(2).add(first), "event 40", "a stream that begins with message 1")
	}
}
