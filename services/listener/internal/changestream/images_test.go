package changestream_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/changestream"
)

// changeDocuments updates a document that goes on to be updated again, one that is deleted and one that is replaced.
func changeDocuments(t *testing.T, c *mongo.Collection) {
	t.Helper()

	for id := range int32(3) {
		_, err := c.InsertOne(t.Context(), bson.D{{Key: "_id", Value: id}, {Key: "v", Value: int32(1)}})
		require.NoError(t, err)
		_, err = c.UpdateByID(t.Context(), id, bson.D{{Key: "$set", Value: bson.D{{Key: "v", Value: int32(2)}}}})
		require.NoError(t, err)
	}

	_, err := c.UpdateByID(t.Context(), int32(0), bson.D{{Key: "$set", Value: bson.D{{Key: "v", Value: int32(3)}}}})
	require.NoError(t, err)
	_, err = c.DeleteOne(t.Context(), bson.D{{Key: "_id", Value: int32(1)}})
	require.NoError(t, err)
	_, err = c.ReplaceOne(t.Context(), bson.D{{Key: "_id", Value: int32(2)}}, bson.D{{Key: "v", Value: int32(9)}})
	require.NoError(t, err)
}

// documentEvents are the next n events of documents.
func documentEvents(t *testing.T, source *mongo.Client, after bson.Raw, o changestream.Options, n int) []*event.Event {
	t.Helper()

	o.MaxAwait = quick.MaxAwait
	s, err := changestream.Open(t.Context(), source, after, o)
	require.NoError(t, err)

	defer s.Close(t.Context())

	var events []*event.Event
	for len(events) < n {
		change, err := s.Next(t.Context())
		require.NoError(t, err)

		if change.Event != nil && change.Event.Operation.IsDocument() {
			events = append(events, change.Event)
		}
	}

	return events
}

// TestUpdatesCarryTheImageThatIsAskedFor reads the same changes in every mode, when what they changed has changed again or
// is gone. The delta is always there; the image is absent, null, or a document of that _id.
func TestUpdatesCarryTheImageThatIsAskedFor(t *testing.T) {
	t.Parallel()

	source := newSource(t, mongotest.Options{})
	db := source.Database("shop")
	require.NoError(t, db.CreateCollection(t.Context(), "plain"))
	require.NoError(t, db.CreateCollection(t.Context(), "images", withImages()))

	for _, name := range []string{"plain", "images"} {
		token := present(t, source)
		changeDocuments(t, db.Collection(name))

		for _, mode := range []changestream.FullDocument{changestream.Delta, changestream.UpdateLookup, changestream.WhenAvailable} {
			for _, e := range documentEvents(t, source, token, changestream.Options{FullDocument: mode}, 9) {
				require.Zero(t, e.Raw.Lookup("fullDocumentBeforeChange"), "nobody asked")

				if e.Operation != event.Update {
					continue
				}

				v, ok := e.Raw.Lookup("updateDescription", "updatedFields", "v").Int32OK()
				require.True(t, ok)

				image := e.Raw.Lookup("fullDocument")

				switch {
				case mode == changestream.Delta:
					require.Zero(t, image)
				case mode == changestream.WhenAvailable && name == "plain":
					require.Equal(t, bson.TypeNull, image.Type)
				case mode == changestream.UpdateLookup && e.ID().Int32() == 1:
					require.Equal(t, bson.TypeNull, image.Type, "deleted since")
				case image.Type != bson.TypeNull: // an image kept for this collection may have expired
					require.Equal(t, e.ID(), image.Document().Lookup("_id"))
					require.GreaterOrEqual(t, image.Document().Lookup("v").Int32(), v, "an image older than its event")
				}
			}
		}
	}
}

func withImages() *options.CreateCollectionOptionsBuilder {
	return options.CreateCollection().SetChangeStreamPreAndPostImages(bson.D{{Key: "enabled", Value: true}})
}

// TestImagesFromBeforeAChange come of collections that keep them, when asked for, and are null of others.
func TestImagesFromBeforeAChange(t *testing.T) {
	t.Parallel()

	source := newSource(t, mongotest.Options{})
	db := source.Database("shop")
	require.NoError(t, db.CreateCollection(t.Context(), "plain"))
	require.NoError(t, db.CreateCollection(t.Context(), "images", withImages()))

	asked := changestream.Options{BeforeChange: changestream.BeforeWhenAvailable}

	for _, name := range []string{"plain", "images"} {
		token := present(t, source)
		changeDocuments(t, db.Collection(name))

		versions := map[int32]int32{} // of each document, as the events tell it

		for _, e := range documentEvents(t, source, token, asked, 9) {
			before := e.Raw.Lookup("fullDocumentBeforeChange")
			id := e.ID().Int32()

			if known, ok := versions[id]; ok && name == "images" {
				require.Equal(t, known, before.Document().Lookup("v").Int32(), "%s of %d", e.Operation, id)
			} else {
				require.Contains(t, []bson.Type{0, bson.TypeNull}, before.Type)
			}

			switch e.Operation {
			case event.Update:
				versions[id] = e.Raw.Lookup("updateDescription", "updatedFields", "v").Int32()
			case event.Delete:
				delete(versions, id)
			default:
				versions[id] = e.Raw.Lookup("fullDocument", "v").Int32()
			}
		}
	}
}
