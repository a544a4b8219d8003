package topology_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// barrierOf returns a message of a schema change.
func barrierOf(streamID string, partition int, number uint64, payload string) *event.Message {
	m := eventOf(streamID, partition, number)
	m.Kind, m.Namespace, m.Payload, m.Size = event.KindBarrier, event.Namespace{}, []byte(payload), len(payload)

	return m
}

func TestBarriersAreFoundBehindAMarker(t *testing.T) {
	t.Parallel()

	js, stream := create(t)

	part := func(number uint64, part, attempt int, payload string) *event.Message {
		m := barrierOf(stream.StreamID, 0, number, payload)
		m.Part, m.Parts, m.Size, m.Attempt = part, 2, 6, attempt

		return m
	}

	require.NoError(t, stream.PublishFirst(t.Context(), js, marker(stream.StreamID)))

	last, err := stream.Tail(t.Context())
	require.NoError(t, err)

	found, err := stream.BarriersAfter(t.Context(), last.Sequence)
	require.NoError(t, err)
	require.Empty(t, found)

	behind := marker(stream.StreamID)
	behind.Event = 1

	for _, m := range []*event.Message{
		barrierOf(stream.StreamID, 0, 1, "before"),
		behind,
		eventOf(stream.StreamID, 0, 2),
		barrierOf(stream.StreamID, 1, 3, "copy"), barrierOf(stream.StreamID, 0, 3, "whole"),
		part(4, 2, 1, "end"), // its first part was lost
		part(5, 1, 1, "un"), part(5, 1, 2, "abc"), part(5, 2, 2, "def"),
		part(6, 1, 1, "un"),
	} {
		last.Sequence, err = stream.PublishAfter(t.Context(), js, last, m)
		require.NoError(t, err)

		last.ID = m.ID()
	}

	begin, err := stream.LastMarker(t.Context())
	require.NoError(t, err)

	found, err = stream.BarriersAfter(t.Context(), begin.Sequence)
	require.NoError(t, err)
	require.Equal(t, []uint64{3, 5}, numbersOf(found))
	require.Equal(t, "whole", string(found[0].Payload))
	require.Equal(t, "abcdef", string(found[1].Payload))
}

func numbersOf(barriers []topology.Stored) []uint64 {
	numbers := make([]uint64, len(barriers))
	for i := range barriers {
		numbers[i] = barriers[i].Event
	}

	return numbers
}

func TestACopyLeavesTheHeadOfItsPartition(t *testing.T) {
	t.Parallel()

	js, stream := create(t)
	require.NoError(t, stream.PublishFirst(t.Context(), js, marker(stream.StreamID)))

	first, err := stream.Tail(t.Context())
	require.NoError(t, err)

	last := first
	duplicate := barrierOf(stream.StreamID, 1, 8, "copy") // number is the count, too
	duplicate.Count = 7

	for _, m := range []*event.Message{eventOf(stream.StreamID, 1, 7), duplicate, barrierOf(stream.StreamID, 0, 8, "change")} {
		last.Sequence, err = stream.PublishAfter(t.Context(), js, last, m)
		require.NoError(t, err)

		last.ID = m.ID()
	}

	heads, err := stream.Heads(t.Context(), &first, []uint64{0, 0, 3, 4})
	require.NoError(t, err)
	require.Equal(t, []uint64{8, 7, 3, 4}, heads)
}
