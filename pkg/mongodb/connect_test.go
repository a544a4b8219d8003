package mongodb_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"

	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

func TestConnectReadsAndWritesWithMajority(t *testing.T) {
	t.Parallel()

	commands := make(chan bson.Raw, 100)
	monitor := &event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) { commands <- e.Command }}

	client, err := mongodb.Connect(settings.NewURI(mongotest.Shared(t).URI().Reveal()+"&w=1&timeoutMS=1&compressors=zlib"), mongodb.Options{AppName: "test", Monitor: monitor})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, mongodb.Disconnect(t.Context(), client)) })

	coll := client.Database(mongotest.DB(t).Name()).Collection("c")
	_, err = coll.InsertOne(t.Context(), bson.D{})
	require.NoError(t, err, "the URI's timeout of 1 ms does not hold")
	require.Equal(t, "majority", (<-commands).Lookup("writeConcern", "w").StringValue())

	require.NoError(t, coll.FindOne(t.Context(), bson.D{}).Err())
	require.Equal(t, "majority", (<-commands).Lookup("readConcern", "level").StringValue())
}

func TestSayHello(t *testing.T) {
	t.Parallel()

	hello, err := mongodb.SayHello(t.Context(), mongotest.DB(t).Client())
	require.NoError(t, err)
	require.NotEqual(t, mongodb.Standalone, hello.Topology)
	require.NotEmpty(t, hello.Version)
	require.NotZero(t, hello.OperationTime)
	require.NotZero(t, hello.MaxMessageBytes)
	require.NoError(t, hello.RequireReplicaSet())
	require.Equal(t, hello.MaxWireVersion >= 25, hello.HasClientBulkWrite())

	require.ErrorIs(t, mongodb.Hello{Topology: mongodb.Standalone}.RequireReplicaSet(), mongodb.ErrStandalone)
}

func TestCheckURIShowsNoSecret(t *testing.T) {
	t.Parallel()

	for _, uri := range []string{
		"mongodb://host:27017/?replicaSet=rs0", "mongodb://user:p%40ss@a,b/", "mongodb+srv://user:pass@cluster.example.net",
	} {
		require.NoError(t, mongodb.CheckURI(settings.NewURI(uri)), uri)
	}

	for uri, said := range map[string]string{
		"":                                   "scheme",
		"postgres://user:hunter2@host":       "scheme",
		"mongodb://user:hunter2@":            "host",
		"mongodb://user:hunter2":             "password",
		"mongodb://user:hunter2%40host/":     "password",
		"user:hunter2":                       "scheme",
		"mongodb://user:hunter2%zz@host":     "percent-encoded",
		"mongodb://user:hun@ter2@host":       "percent-encoded",
		"mongodb://user:hun/ter2@host":       "percent-encoded",
		"mongodb+srv://user:hunter2%zz@host": "percent-encoded",
		"mongodb://user:hunter2@host/?directConnection=perhaps": "directConnection",
	} {
		err := mongodb.CheckURI(settings.NewURI(uri))
		require.ErrorIs(t, err, mongodb.ErrInvalidURI)
		require.ErrorContains(t, err, said)
		require.NotContains(t, err.Error(), "hunter2")
		require.NotContains(t, err.Error(), "ter2")
		require.NotEmpty(t, mongodb.Explain(err))

		_, err = mongodb.Connect(settings.NewURI(uri), mongodb.Options{})
		require.ErrorIs(t, err, mongodb.ErrInvalidURI)
	}
}

func TestReadsPrimary(t *testing.T) {
	t.Parallel()

	for uri, primary := range map[string]bool{
		"mongodb://host": true,
		"mongodb+srv://user:secret@no.such.name.example":                true,
		"mongodb://host/?readPreference=primary":                        true,
		"mongodb://host/?readPreference=secondaryPreferred":             false,
		"mongodb+srv://no.such.name.example/?readPreference=nearest":    false,
		"mongodb://a,b/?replicaSet=rs0&readPreference=primaryPreferred": false,
	} {
		require.Equal(t, primary, mongodb.ReadsPrimary(settings.NewURI(uri)), uri)
	}
}

func TestUnreachableServerIsTransientWithinTheSelectionTimeout(t *testing.T) {
	t.Parallel()

	client, err := mongodb.Connect(settings.NewURI("mongodb://127.0.0.1:1/?directConnection=true"), mongodb.Options{ServerSelectionTimeout: 50 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, mongodb.Disconnect(t.Context(), client)) })

	begin := time.Now()
	_, err = mongodb.SayHello(t.Context(), client)
	require.Less(t, time.Since(begin), 5*time.Second)
	require.True(t, mongodb.IsTransient(err), "%v", err)
	require.Contains(t, mongodb.Explain(err), "check that the server runs")
}
