package topology_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/routing"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// FuzzMarker reads markers as anybody may publish them, with their routing table and filter.
func FuzzMarker(f *testing.F) {
	for _, m := range []*relayv1.Marker{
		{},
		{Heads: []uint64{1, 2}, Pinned: []*relayv1.PinnedNamespace{{Namespace: &relayv1.Namespace{Database: "a", Collection: "b"}, Partition: 1, Pin: relayv1.Pin_PIN_CAPPED}}},
		{Heads: []uint64{1}, Pinned: []*relayv1.PinnedNamespace{{Partition: 9, CollectionUuid: []byte{1}}}, Filter: &relayv1.Filter{Include: []string{"*.*", ""}}},
	} {
		payload, err := proto.Marshal(m)
		require.NoError(f, err)
		f.Add(payload)
	}

	f.Fuzz(func(t *testing.T, payload []byte) {
		stored := topology.Stored{Message: event.Message{Kind: event.KindMarker, Payload: payload}}

		marker, err := stored.Marker()
		if err != nil {
			require.ErrorIs(t, err, event.ErrMalformed)

			return
		}

		table, err := routing.FromMarker(marker, 2)
		if err != nil {
			require.ErrorIs(t, err, event.ErrMalformed)
		} else {
			encoded := &relayv1.Marker{}
			table.Encode(encoded)

			again, err := routing.FromMarker(encoded, 2)
			require.NoError(t, err)
			require.Equal(t, table.Entries(), again.Entries())
		}

		_, _ = event.ParseFilter(marker.GetFilter().GetInclude(), marker.GetFilter().GetExclude())
	})
}
