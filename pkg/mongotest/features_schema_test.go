package mongotest_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
)

// TestFeaturesOfSchemaChangesAreTrue looks at what the events of schema changes say.
func TestFeaturesOfSchemaChangesAreTrue(t *testing.T) {
	t.Parallel()

	server := mongotest.Shared(t)
	says := server.Features(t)
	db := server.DB(t)
	stream, err := db.Watch(t.Context(), mongo.Pipeline{}, options.ChangeStream().SetShowExpandedEvents(true))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, stream.Close(context.WithoutCancel(t.Context()))) })

	run := func(command bson.D) error { return db.RunCommand(t.Context(), command).Err() }
	field := func(name string, value any) bson.D { return bson.D{{Key: name, Value: value}} }
	index := func(kind any) bson.D {
		return bson.D{{Key: "createIndexes", Value: "c"}, {Key: "indexes", Value: bson.A{bson.D{{Key: "key", Value: field("a", kind)}, {Key: "name", Value: "i"}}}}}
	}

	require.NoError(t, run(field("create", "c")))
	require.NoError(t, run(bson.D{{Key: "create", Value: "view"}, {Key: "viewOn", Value: "c"}, {Key: "pipeline", Value: bson.A{field("$match", field("a", 1))}}}))
	require.NoError(t, run(index(1)))
	require.NoError(t, run(bson.D{{Key: "collMod", Value: "c"}, {Key: "index", Value: bson.D{{Key: "name", Value: "i"}, {Key: "hidden", Value: true}}}}))
	require.NoError(t, run(bson.D{{Key: "dropIndexes", Value: "c"}, {Key: "index", Value: "i"}}))

	told := map[string]bson.Raw{}

	for told["dropIndexes"] == nil {
		require.True(t, stream.Next(t.Context()), "%v", stream.Err())

		event := append(bson.Raw(nil), stream.Current...)
		told[event.Lookup("operationType").StringValue()+" "+event.Lookup("ns", "coll").StringValue()] = event
		told[event.Lookup("operationType").StringValue()] = event
	}

	_, describesPipeline := told["create view"].Lookup("operationDescription", "pipeline").ArrayOK()
	require.Equal(t, says.ViewsInEvents, describesPipeline)

	_, describesIndex := told["modify"].Lookup("operationDescription", "index").DocumentOK()
	require.Equal(t, says.ModifyEventsTellAll, describesIndex)

	err = run(index("text"))
	require.Equal(t, says.TextAndHashedIndexes, err == nil, "%v", err)

	foreign := bson.Binary{Subtype: bson.TypeBinaryUUID, Data: make([]byte, 16)}
	err = run(bson.D{{Key: "drop", Value: "c"}, {Key: "collectionUUID", Value: foreign}})
	require.Equal(t, says.ChecksCollectionUUID, err != nil, "%v", err)
}
