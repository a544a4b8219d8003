package mongotest_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
)

// What Features says is compared with what the server does, so that a newer stand-in cannot drift away from it.

func TestFeaturesAreTrue(t *testing.T) {
	t.Parallel()

	server := mongotest.Shared(t)
	says := server.Features(t)
	db := server.DB(t)
	stream, err := db.Watch(t.Context(), mongo.Pipeline{}, options.ChangeStream().SetShowExpandedEvents(true).SetMaxAwaitTime(20*time.Millisecond))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, stream.Close(context.WithoutCancel(t.Context()))) })

	doc := bson.D{{Key: "_id", Value: 1}, {Key: "old", Value: bson.Symbol("s")}, {Key: "late", Value: bson.DateTime(400_000_000_000_000)}}
	_, err = db.Collection("c").InsertOne(t.Context(), doc)
	require.Equal(t, says.DatesBeyondYear9999, err == nil, "%v", err)

	if !says.DatesBeyondYear9999 {
		doc = doc[:2]
		_, err = db.Collection("c").InsertOne(t.Context(), doc)
		require.NoError(t, err)
	}

	_, err = db.Collection("c").ReplaceOne(t.Context(), bson.D{{Key: "_id", Value: 1}}, doc[1:]) // with _id the Rust one sees that nothing changes
	require.NoError(t, err)
	_, err = db.Collection("c").DeleteOne(t.Context(), bson.D{{Key: "_id", Value: 1}})
	require.NoError(t, err)

	seen := operationsUntilDelete(t, stream)
	require.Equal(t, says.CreateEvents, seen["create"].raw != nil)
	require.Equal(t, says.IdenticalReplaceNoop, seen["replace"].raw == nil)

	kept := seen["insert"].raw.Lookup("fullDocument", "old")
	require.Equal(t, says.KeepsDeprecatedTypes, kept.Type == bson.TypeSymbol, "%v", kept)

	err = db.RunCommand(t.Context(), bson.D{{Key: "dbHash", Value: 1}}).Err()
	require.Equal(t, says.HashesDatabases, err == nil, "%v", err)

	nested := func(data ...byte) bson.D {
		return bson.D{{Key: "_id", Value: bson.D{{Key: "b", Value: bson.Binary{Data: data}}}}}
	}
	_, err = db.Collection("b").InsertMany(t.Context(), []any{nested(1, 1), nested(2)})
	require.NoError(t, err)

	first, err := db.Collection("b").FindOne(t.Context(), bson.D{}, options.FindOne().SetSort(bson.D{{Key: "_id", Value: 1}})).Raw()
	require.NoError(t, err)

	_, data := first.Lookup("_id", "b").Binary()
	require.Equal(t, says.OrdersBinary, len(data) == 1)

	order := bson.D{{Key: "_id", Value: 1}}
	_, err = db.Collection("s").InsertMany(t.Context(), []any{bson.D{{Key: "_id", Value: 2}}, bson.D{{Key: "_id", Value: 1}}})
	require.NoError(t, err)

	bounded, err := db.Collection("s").Find(t.Context(), bson.D{}, options.Find().SetSort(order).SetHint(order).SetMin(bson.D{{Key: "_id", Value: 0}}))
	require.NoError(t, err)
	require.True(t, bounded.Next(t.Context()))
	require.Equal(t, says.SortsBounded, bounded.Current.Lookup("_id").AsInt64() == 1)
	require.NoError(t, bounded.Close(t.Context()))

	note := bson.D{{Key: "appendOplogNote", Value: 1}, {Key: "data", Value: bson.D{}}}
	err = db.Client().Database("admin").RunCommand(t.Context(), note).Err()
	require.Equal(t, says.AppendsOplogNotes, err == nil, "%v", err)
}

type seenEvent struct{ raw bson.Raw }

func operationsUntilDelete(t *testing.T, stream *mongo.ChangeStream) map[string]seenEvent {
	t.Helper()

	seen := map[string]seenEvent{}

	for seen["delete"].raw == nil {
		require.True(t, stream.Next(t.Context()), "%v", stream.Err())

		event := append(bson.Raw(nil), stream.Current...) // the driver reuses its buffer
		seen[event.Lookup("operationType").StringValue()] = seenEvent{event}
	}

	return seen
}

// TestFeatureBoundsReplies has a server of its own: one that does not bound its replies computes them again and again.
func TestFeatureBoundsReplies(t *testing.T) {
	t.Parallel()

	server := mongotest.New(t, mongotest.Options{})
	coll := server.DB(t).Collection("large")
	stream, err := coll.Watch(t.Context(), mongo.Pipeline{}, options.ChangeStream().SetBatchSize(0).SetMaxAwaitTime(time.Second))
	require.NoError(t, err)
	t.Cleanup(func() { _ = stream.Close(context.WithoutCancel(t.Context())) })

	const size, documents = 15 << 20, 4 // together above the 48 MB of a message

	for range documents {
		_, err := coll.InsertOne(t.Context(), bson.D{{Key: "padding", Value: make([]byte, size)}})
		require.NoError(t, err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()

	stream.SetBatchSize(documents)

	require.Equal(t, server.Features(t).BoundsReplies, stream.Next(ctx), "%v", stream.Err())
}
