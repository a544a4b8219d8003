package topology_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

func TestMarkersAreRead(t *testing.T) {
	t.Parallel()

	payload, err := proto.Marshal(&relayv1.Marker{Heads: []uint64{3, 4}})
	require.NoError(t, err)

	m := topology.Stored{Message: event.Message{Kind: event.KindMarker, Payload: payload}, Sequence: 9}

	marker, err := m.Marker()
	require.NoError(t, err)
	require.Equal(t, []uint64{3, 4}, marker.GetHeads())

	_, err = (&topology.Stream{Settings: topology.Settings{Partitions: 2}}).ParseMarker(&m)
	require.NoError(t, err)

	_, err = (&topology.Stream{Settings: topology.Settings{Partitions: 3}}).ParseMarker(&m)
	require.ErrorIs(t, err, event.ErrMalformed)
	require.ErrorContains(t, err, "marker 9")
	require.ErrorContains(t, err, "2 partitions, the stream has 3")

	for name, other := range map[string]event.Message{
		"an event":  {Kind: event.KindEvent, Payload: payload},
		"a foreign": {Kind: event.KindMarker, Payload: []byte("no protobuf")},
	} {
		_, err := (&topology.Stored{Message: other, Sequence: 9}).Marker()
		require.ErrorIs(t, err, event.ErrMalformed, name)
	}
}

func TestPositionsAreToldWhole(t *testing.T) {
	t.Parallel()

	p := event.Position{T: 1<<32 - 1, I: 2, Ordinal: 3}
	require.Equal(t, p, topology.DecodePosition(topology.EncodePosition(p)))
	require.Equal(t, event.Position{}, topology.DecodePosition(nil))
}

// TestHeadsAreOfWholeEvents: the count of an event whose last part is missing is free, because the event has not happened yet.
func TestHeadsAreOfWholeEvents(t *testing.T) {
	t.Parallel()

	js, stream := create(t)
	require.NoError(t, stream.PublishFirst(t.Context(), js, marker(stream.StreamID)))

	begun := eventOf(stream.StreamID, 2, 8)
	begun.Parts, begun.Size = 2, 2*len(begun.Payload)

	for _, m := range []*event.Message{eventOf(stream.StreamID, 1, 7), begun} {
		last, err := stream.Tail(t.Context())
		require.NoError(t, err)

		_, err = stream.PublishAfter(t.Context(), js, last, m)
		require.NoError(t, err)
	}

	at, err := stream.At(t.Context(), 1)
	require.NoError(t, err)

	heads, err := stream.Heads(t.Context(), &at, []uint64{3, 4, 5, 6})
	require.NoError(t, err)
	require.Equal(t, []uint64{3, 7, 7, 6}, heads, "of a partition without a later message the marker says it")
}
