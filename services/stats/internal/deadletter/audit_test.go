package deadletter_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/audit"
	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/deadletter"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/trouble"
)

// What cannot be recorded is not done.
func TestNoActionWithoutItsRecord(t *testing.T) {
	t.Parallel()

	target := mongotest.New(t, mongotest.Options{}).Client(t)
	never := bson.D{{Key: "never", Value: bson.D{{Key: "$exists", Value: true}}}}
	require.NoError(t, target.Database(checkpoint.Database).CreateCollection(t.Context(), audit.Collection, options.CreateCollection().SetValidator(never)))

	key, err := bson.Marshal(bson.D{{Key: "_id", Value: 1}})
	require.NoError(t, err)

	_, err = parked.Records(target).InsertOne(t.Context(), parked.Record{ID: "f/1", Flow: "f", State: parked.Dead, DocumentKey: key, Event: key})
	require.NoError(t, err)

	letters := deadletter.New("f", target)

	for _, verb := range []deadletter.Verb{deadletter.Replay, deadletter.Discard} {
		_, err := letters.Do(t.Context(), &deadletter.Request{Verb: verb, Names: []string{"f/1"}, Who: "ann"})
		require.ErrorAs(t, err, new(*trouble.TargetError))
		require.ErrorContains(t, err, "record the action")
	}

	dead, err := letters.Count(t.Context(), parked.Dead)
	require.NoError(t, err)
	require.Equal(t, uint64(1), dead)
}
