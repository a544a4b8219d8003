package e2e_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/e2e/verify/live"
)

// TestEveryFullDocumentMode replicates traffic, and documents whose updates have more than one reading or whose images
// are of the future, in each mode: the replica is the same. Images from before a change ride along.
func TestEveryFullDocumentMode(t *testing.T) {
	for _, mode := range []string{"delta", "updateLookup", "whenAvailable"} {
		t.Run(mode, func(t *testing.T) {
			s := openWith(t, map[string]string{"FULL_DOCUMENT": mode, "FULL_DOCUMENT_BEFORE_CHANGE": "whenAvailable", "PARTITIONS": "4"})
			beside := s.world.Source.Client.Database(s.beside())
			keeps := options.CreateCollection().SetChangeStreamPreAndPostImages(bson.D{{Key: "enabled", Value: true}})

			require.NoError(t, beside.CreateCollection(t.Context(), "plain"))
			require.NoError(t, beside.CreateCollection(t.Context(), "images", keeps))
			s.write()
			s.progress(steady)

			// The events are read when all of them have happened, so that an image that is looked up is the last one.
			require.NoError(t, s.relay.Listener.Kill())

			for _, name := range []string{"plain", "images"} {
				s.others += writeAmbiguous(t, beside.Collection(name))
			}

			require.NoError(t, s.relay.Listener.Start())
			s.progress(steady)
			s.finish()

			result, err := live.Compare(t.Context(), beside, s.world.Target.Client.Database(s.beside()))
			require.NoError(t, err)
			require.True(t, result.Equal(), "%d documents differ: %v", result.Different, result.Differences)
			require.EqualValues(t, 4, result.Documents)
		})
	}
}

// writeAmbiguous leaves two documents, and nothing of one that it deletes. It returns how many changes it made.
func writeAmbiguous(t *testing.T, c *mongo.Collection) (changes uint64) {
	t.Helper()

	id := func(id int32) bson.D { return bson.D{{Key: "_id", Value: id}} }
	did := func(err error) {
		require.NoError(t, err)

		changes++
	}

	for n := range int32(3) {
		_, err := c.InsertOne(t.Context(), append(id(n), bson.E{Key: "a", Value: 1}, bson.E{Key: "m", Value: bson.D{
			{Key: "0", Value: 1}, {Key: "$x", Value: 1}, {Key: "list", Value: bson.A{1, 2, 3}},
		}}))
		did(err)

		for _, update := range []any{
			bson.D{{Key: "$set", Value: bson.D{{Key: "m.0", Value: 2}, {Key: "m.list.1", Value: 7}}}},
			setDollar(2),
			// What comes upon an image of the future puts a behind n.
			bson.D{{Key: "$unset", Value: bson.D{{Key: "a", Value: ""}}}},
			bson.D{{Key: "$set", Value: bson.D{{Key: "a", Value: 2}}}},
			bson.D{{Key: "$set", Value: bson.D{{Key: "n", Value: 1}}}},
			bson.D{{Key: "$push", Value: bson.D{{Key: "m.list", Value: bson.D{{Key: "$each", Value: bson.A{}}, {Key: "$slice", Value: 1}}}}}},
		} {
			result, err := c.UpdateByID(t.Context(), n, update)
			did(err)
			require.EqualValues(t, 1, result.ModifiedCount, "%v", update)
		}
	}

	_, err := c.DeleteOne(t.Context(), id(1))
	did(err)
	_, err = c.ReplaceOne(t.Context(), id(2), bson.D{{Key: "n", Value: "replaced"}, {Key: "m", Value: "no longer a document"}})
	did(err)

	return changes
}

// setDollar sets a field whose name no update operator can write.
func setDollar(value int) mongo.Pipeline {
	field := bson.D{{Key: "$setField", Value: bson.D{
		{Key: "field", Value: bson.D{{Key: "$literal", Value: "$x"}}}, {Key: "input", Value: "$m"}, {Key: "value", Value: value},
	}}}

	return mongo.Pipeline{{{Key: "$replaceWith", Value: bson.D{{Key: "$mergeObjects", Value: bson.A{"$$ROOT", bson.D{{Key: "m", Value: field}}}}}}}}
}
