package mongodb_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

// These errors are provoked on a server: what it really answers, not what we believe it does.

func TestDuplicateKeyOfEveryKindOfWrite(t *testing.T) {
	t.Parallel()

	coll := mongotest.DB(t).Collection("c")
	doc := bson.D{{Key: "_id", Value: 1}}
	_, err := coll.InsertOne(t.Context(), doc)
	require.NoError(t, err)

	_, one := coll.InsertOne(t.Context(), doc)
	_, many := coll.InsertMany(t.Context(), []bson.D{doc})
	_, bulk := coll.BulkWrite(t.Context(), []mongo.WriteModel{mongo.NewInsertOneModel().SetDocument(doc)})
	_, clientBulk := coll.Database().Client().BulkWrite(t.Context(), []mongo.ClientBulkWrite{{
		Database: coll.Database().Name(), Collection: "c", Model: mongo.NewClientInsertOneModel().SetDocument(doc),
	}})

	for _, err := range []error{one, many, bulk, clientBulk} {
		require.True(t, mongodb.IsDuplicateKey(err), "%v", err)
		require.True(t, mongodb.IsDocumentError(err), "%v", err)
		require.False(t, mongodb.IsTransient(err), "%v", err)
	}
}

func TestConflictingTransactionsAreTransient(t *testing.T) {
	t.Parallel()

	coll := mongotest.DB(t).Collection("c")
	_, err := coll.InsertOne(t.Context(), bson.D{{Key: "_id", Value: 1}})
	require.NoError(t, err)

	write := func(session *mongo.Session, value int) error {
		_, err := coll.UpdateByID(mongo.NewSessionContext(t.Context(), session), 1, bson.D{{Key: "$set", Value: bson.D{{Key: "v", Value: value}}}})

		return err
	}

	begin := func() *mongo.Session {
		session, err := coll.Database().Client().StartSession()
		require.NoError(t, err)
		t.Cleanup(func() { session.EndSession(t.Context()) })
		require.NoError(t, session.StartTransaction())

		return session
	}

	first, second := begin(), begin()
	require.NoError(t, write(first, 1))

	err = write(second, 2)
	require.True(t, mongodb.IsTransient(err), "%v", err)
	require.False(t, mongodb.IsDocumentError(err), "%v", err)
	require.NoError(t, first.AbortTransaction(t.Context()))
}

func TestKilledServerIsTransientForOperationsAndChangeStreams(t *testing.T) {
	t.Parallel()

	server := mongotest.New(t, mongotest.Options{SyncOnCommit: true})
	client, err := mongodb.Connect(settings.NewURI(server.URI().Reveal()+"&retryReads=false&retryWrites=false"), mongodb.Options{ServerSelectionTimeout: 200 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(func() { _ = mongodb.Disconnect(t.Context(), client) })

	coll := client.Database("d").Collection("c")
	_, err = coll.InsertOne(t.Context(), bson.D{})
	require.NoError(t, err)
	stream, err := client.Watch(t.Context(), mongo.Pipeline{}, options.ChangeStream().SetMaxAwaitTime(50*time.Millisecond))
	require.NoError(t, err)
	t.Cleanup(func() { _ = stream.Close(t.Context()) })

	require.NoError(t, server.Kill())

	for range 5 { // broken connection, cleared pool, no server
		_, err = coll.InsertOne(t.Context(), bson.D{})
		require.True(t, mongodb.IsTransient(err), "%v", err)
		require.False(t, mongodb.IsDocumentError(err), "%v", err)
	}

	require.Eventually(t, func() bool {
		stream.TryNext(t.Context())

		return stream.Err() != nil
	}, 10*time.Second, time.Millisecond)
	require.True(t, mongodb.IsResumableChangeStreamError(stream.Err()), "%v", stream.Err())
}

func TestForeignResumeTokenIsInvalid(t *testing.T) {
	t.Parallel()

	client := mongotest.DB(t).Client()
	token := bson.D{{Key: "_data", Value: "not hexadecimal"}}

	stream, err := client.Watch(t.Context(), mongo.Pipeline{}, options.ChangeStream().SetResumeAfter(token))
	if err == nil {
		stream.TryNext(t.Context())
		err = stream.Err()
		require.NoError(t, stream.Close(t.Context()))
	}

	require.Error(t, err)
	require.False(t, mongodb.IsResumableChangeStreamError(err), "%v", err)
	require.True(t, mongodb.IsInvalidResumeToken(err), "%v (codes %v)", err, mongo.ErrorCodes(err))
}

func TestStandaloneAndWrongCredentialsHaveARemedy(t *testing.T) {
	t.Parallel()

	standalone := mongotest.New(t, mongotest.Options{Standalone: true}).Client(t)
	_, err := standalone.Watch(t.Context(), mongo.Pipeline{})
	require.Error(t, err)
	require.Contains(t, mongodb.Explain(err), "--replSet", "%v (codes %v)", err, mongo.ErrorCodes(err))

	server := mongotest.New(t, mongotest.Options{Username: "relay", Password: "secret"})
	for _, user := range []string{"relay:wrong@", ""} {
		client, err := mongodb.Connect(settings.NewURI("mongodb://"+user+server.Addr()+"/?directConnection=true"), mongodb.Options{})
		require.NoError(t, err)
		_, err = client.ListDatabaseNames(t.Context(), bson.D{})
		require.True(t, mongodb.IsUnauthorized(err), "%v", err)
		require.False(t, mongodb.IsTransient(err), "%v", err)
		require.NotEmpty(t, mongodb.Explain(err))
		require.NoError(t, mongodb.Disconnect(t.Context(), client))
	}
}

func TestValidationAndExistingNamespace(t *testing.T) {
	t.Parallel()

	db := mongotest.DB(t)
	validator := bson.D{{Key: "$jsonSchema", Value: bson.D{{Key: "required", Value: bson.A{"name"}}}}}
	require.NoError(t, db.CreateCollection(t.Context(), "c", options.CreateCollection().SetValidator(validator)))

	require.True(t, mongodb.IsNamespaceExists(db.CreateCollection(t.Context(), "c")))

	_, err := db.Collection("c").InsertOne(t.Context(), bson.D{{Key: "_id", Value: 1}})
	require.True(t, mongodb.IsDocumentError(err), "%v", err)
}
