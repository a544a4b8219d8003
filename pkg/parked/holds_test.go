package parked_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

func TestHoldsSeesRecordsOfTheCollectionAndEveryRefetchedDocument(t *testing.T) {
	t.Parallel()

	client, flow := newFlow(t)
	_, other := newFlow(t)
	ns := event.Namespace{DB: "shop", Coll: "orders"}

	holds := func() bool {
		held, err := parked.Holds(t.Context(), client, flow, ns)
		require.NoError(t, err)

		return held
	}

	record := func(flow, coll string) parked.Record {
		return parked.Record{
			ID: flow + "/" + coll, Flow: flow, DB: ns.DB, Coll: coll, State: parked.Dead,
			Event: bson.Raw{5, 0, 0, 0, 0}, DocumentKey: bson.Raw{5, 0, 0, 0, 0},
		}
	}

	_, err := parked.Records(client).InsertMany(t.Context(), []parked.Record{record(other, ns.Coll), record(flow, "items")})
	require.NoError(t, err)
	require.False(t, holds(), "another flow's, and another collection's")

	_, err = parked.Records(client).InsertOne(t.Context(), record(flow, ns.Coll))
	require.NoError(t, err)
	require.True(t, holds())

	_, err = parked.Records(client).DeleteOne(t.Context(), bson.D{{Key: "_id", Value: flow + "/" + ns.Coll}})
	require.NoError(t, err)

	_, err = client.Database(checkpoint.Database).Collection(parked.Refetched).InsertOne(t.Context(), parked.Covered{ID: flow + "/c", Flow: flow})
	require.NoError(t, err)
	require.True(t, holds(), "whatever collection it is of")
}
