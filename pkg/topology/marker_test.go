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
