package live_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/e2e/verify/live"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
)

func TestDefinitionsDiffer(t *testing.T) {
	t.Parallel()

	source, target := mongotest.DB(t), mongotest.DB(t)
	index := func(db *mongo.Database, coll string, o *options.IndexOptionsBuilder) {
		_, err := db.Collection(coll).Indexes().CreateOne(t.Context(), mongo.IndexModel{Keys: bson.D{{Key: "a", Value: 1}}, Options: o})
		require.NoError(t, err)
	}

	for i, db := range []*mongo.Database{source, target} {
		require.NoError(t, db.CreateCollection(t.Context(), "equal", options.CreateCollection().SetValidator(bson.D{{Key: "a", Value: 1}})))
		index(db, "equal", options.Index().SetExpireAfterSeconds(int32(60*(i+1)))) // which value is no difference
	}

	none, err := live.Definitions(t.Context(), source, target)
	require.NoError(t, err)
	require.Empty(t, none)

	require.NoError(t, source.CreateCollection(t.Context(), "missing"))
	require.NoError(t, target.CreateView(t.Context(), "extra", "equal", bson.A{}))
	require.NoError(t, source.CreateCollection(t.Context(), "other", options.CreateCollection().SetValidator(bson.D{{Key: "a", Value: 1}})))
	require.NoError(t, target.CreateCollection(t.Context(), "other", options.CreateCollection().SetValidator(bson.D{{Key: "a", Value: 2}})))
	index(source, "other", options.Index().SetUnique(true))
	index(target, "other", options.Index())

	found, err := live.Definitions(t.Context(), source, target)
	require.NoError(t, err)
	require.Len(t, found, 5)

	for i, begin := range []string{"collection extra\n", "collection missing\n", "collection other\n", "index _id_ of missing\n", "index a_1 of other\n"} {
		require.Contains(t, found[i], begin)
	}
}
