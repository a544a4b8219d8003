package topology_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

func TestKeysOfOwners(t *testing.T) {
	t.Parallel()

	require.Equal(t, "m.shop.9f3c", topology.MemberKey("shop", "9f3c"))
	require.Equal(t, "p.shop.03", topology.PartitionKey("shop", 3))
	require.Equal(t, "p.shop.103", topology.PartitionKey("shop", 103))

	instance, ok := topology.ParseMemberKey("shop", "m.shop.9f3c")
	require.True(t, ok)
	require.Equal(t, "9f3c", instance)

	partition, ok := topology.ParsePartitionKey("shop", "p.shop.103")
	require.True(t, ok)
	require.Equal(t, 103, partition)

	for _, key := range []string{"", "l.shop", "m.shop.", "m.shop2.9f3c", "p.shop.3", "p.shop.-1", "p.shop.x", "p.shop2.03"} {
		_, ok = topology.ParseMemberKey("shop", key)
		require.False(t, ok, key)

		_, ok = topology.ParsePartitionKey("shop", key)
		require.False(t, ok, key)
	}
}

func TestOpenOwners(t *testing.T) {
	t.Parallel()

	js := natstest.New(t).JetStream(t)

	_, err := topology.OpenOwners(t.Context(), js)
	require.ErrorIs(t, err, topology.ErrNoBucket)

	_, err = js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: topology.OwnersBucket})
	require.NoError(t, err)

	_, err = topology.OpenOwners(t.Context(), js)
	require.ErrorIs(t, err, topology.ErrConfigDiffers)

	require.NoError(t, js.DeleteKeyValue(t.Context(), topology.OwnersBucket))
	// The server may still be removing the files of the deleted one.
	require.Eventually(t, func() bool { return topology.CreateBuckets(t.Context(), js, 1) == nil }, 30*time.Second, 50*time.Millisecond)

	bucket, err := topology.OpenOwners(t.Context(), js)
	require.NoError(t, err)
	require.Equal(t, topology.OwnersBucket, bucket.Bucket())
}
