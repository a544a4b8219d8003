package parked_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

func TestIndexesAreMadeOnce(t *testing.T) {
	t.Parallel()

	client := mongotest.Shared(t).Client(t)

	for range 2 {
		require.NoError(t, parked.EnsureIndexes(t.Context(), client))
	}

	specifications, err := parked.Records(client).Indexes().ListSpecifications(t.Context())
	require.NoError(t, err)
	require.Len(t, specifications, 4, "that of _id and ours")
}
