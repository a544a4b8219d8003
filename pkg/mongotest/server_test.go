package mongotest_test

import (
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.uber.org/goleak"

	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(mongotest.Main(m))
}

func TestServerIsAReplicaSetThatTakesWrites(t *testing.T) {
	t.Parallel()

	begin := time.Now()
	server := mongotest.New(t, mongotest.Options{})
	t.Logf("%s: ready after %s", server.Choice(), time.Since(begin))

	hello, err := mongodb.SayHello(t.Context(), server.Client(t))
	require.NoError(t, err)
	require.Equal(t, mongodb.ReplicaSet, hello.Topology)
	require.True(t, hello.WritablePrimary)

	_, err = server.DB(t).Collection("c").InsertOne(t.Context(), bson.D{{Key: "_id", Value: 1}})
	require.NoError(t, err)
}

func TestAcknowledgedWritesSurviveKill(t *testing.T) {
	t.Parallel()

	server := mongotest.New(t, mongotest.Options{SyncOnCommit: true})
	coll := server.DB(t).Collection("c")
	pid := server.PID()

	_, err := coll.InsertOne(t.Context(), bson.D{{Key: "_id", Value: "kept"}})
	require.NoError(t, err)

	require.NoError(t, server.Kill())
	require.NoError(t, server.Kill(), "killing twice is allowed")
	require.Zero(t, server.PID())
	require.False(t, processExists(pid))

	require.NoError(t, server.Restart(t.Context()))
	require.NotEqual(t, pid, server.PID())
	require.NoError(t, coll.FindOne(t.Context(), bson.D{{Key: "_id", Value: "kept"}}).Err())
}

func TestRestartKeepsDataAndAddress(t *testing.T) {
	t.Parallel()

	server := mongotest.New(t, mongotest.Options{})
	coll, uri := server.DB(t).Collection("c"), server.URI()

	_, err := coll.InsertOne(t.Context(), bson.D{{Key: "_id", Value: "kept"}})
	require.NoError(t, err)
	require.NoError(t, server.Restart(t.Context()))
	require.Equal(t, uri, server.URI())
	require.NoError(t, coll.FindOne(t.Context(), bson.D{{Key: "_id", Value: "kept"}}).Err())
}

func TestFrozenServerAnswersAfterThaw(t *testing.T) {
	t.Parallel()

	server := mongotest.New(t, mongotest.Options{})
	client := server.Client(t)
	require.NoError(t, client.Ping(t.Context(), nil))

	require.NoError(t, server.Freeze(t.Context()))

	answered := make(chan error, 1)
	go func() { answered <- client.Ping(t.Context(), nil) }()

	select {
	case err := <-answered:
		require.Fail(t, "a frozen server answered", "%v", err)
	case <-time.After(100 * time.Millisecond):
	}

	require.NoError(t, server.Thaw())

	if err := <-answered; err != nil {
		require.True(t, mongodb.IsTransient(err), "%v", err)
	}

	require.NoError(t, client.Ping(t.Context(), nil))
}

func TestHistoryIsLostBeyondTheOplogsBound(t *testing.T) {
	t.Parallel()

	server := mongotest.New(t, mongotest.Options{OplogMaxEntries: 50})
	coll := server.DB(t).Collection("c")

	stream, err := coll.Database().Client().Watch(t.Context(), mongo.Pipeline{})
	require.NoError(t, err)
	_, err = coll.InsertOne(t.Context(), bson.D{{Key: "_id", Value: "first"}})
	require.NoError(t, err)
	require.True(t, stream.Next(t.Context()))
	token := stream.ResumeToken()
	require.NoError(t, stream.Close(t.Context()))

	if server.Choice().Flavor == mongotest.Mongod {
		t.Log("mongod bounds its oplog in MiB and truncates it in its own time; writing 4 MiB")
	}

	filler := make([]byte, 16<<10)
	require.Eventually(t, func() bool {
		for range 300 {
			_, err := coll.InsertOne(t.Context(), bson.D{{Key: "filler", Value: filler}})
			require.NoError(t, err)
		}

		resumed, err := coll.Database().Client().Watch(t.Context(), mongo.Pipeline{}, options.ChangeStream().SetResumeAfter(token))
		if err == nil {
			resumed.TryNext(t.Context())
			err = resumed.Err()
			require.NoError(t, resumed.Close(t.Context()))
		}

		return mongodb.IsHistoryLost(err)
	}, 30*time.Second, 10*time.Millisecond)
}

func TestStandalone(t *testing.T) {
	t.Parallel()

	hello, err := mongodb.SayHello(t.Context(), mongotest.New(t, mongotest.Options{Standalone: true}).Client(t))
	require.NoError(t, err)
	require.ErrorIs(t, hello.RequireReplicaSet(), mongodb.ErrStandalone)
}

func TestUserIsRequiredAlsoAfterRestart(t *testing.T) {
	t.Parallel()

	server := mongotest.New(t, mongotest.Options{Username: "relay", Password: "secret"})

	for range 2 {
		require.NoError(t, server.Client(t).Ping(t.Context(), nil))
		_, err := server.Client(t).ListDatabaseNames(t.Context(), bson.D{})
		require.NoError(t, err)

		wrong, err := mongodb.Connect(settings.NewURI("mongodb://relay:wrong@"+server.Addr()), mongodb.Options{})
		require.NoError(t, err)
		_, err = mongodb.SayHello(t.Context(), wrong)
		require.True(t, mongodb.IsUnauthorized(err), "%v", err)
		require.NoError(t, mongodb.Disconnect(t.Context(), wrong))

		require.NoError(t, server.Restart(t.Context()))
	}
}

func TestDatabasesOfTheSharedServerAreApart(t *testing.T) {
	t.Parallel()

	first, second := mongotest.DB(t), mongotest.DB(t)
	require.NotEqual(t, first.Name(), second.Name())
	require.LessOrEqual(t, len(first.Name()), 63)
}

func TestStopRemovesFilesAndFreesThePort(t *testing.T) {
	t.Parallel()

	choice, err := mongotest.Find(t.Context(), mongotest.FindOptions{Progress: os.Stderr})
	require.NoError(t, err)
	server, err := mongotest.Start(t.Context(), choice, mongotest.Options{})
	require.NoError(t, err)

	pid, addr := server.PID(), server.Addr()
	require.NoError(t, server.Stop())
	require.NoError(t, server.Stop(), "stopping twice is allowed")
	require.False(t, processExists(pid))

	_, err = (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	require.Error(t, err)
}

func TestAGivenServerIsLeftAlone(t *testing.T) {
	t.Parallel()

	uri := mongotest.Shared(t).URI()
	given, err := mongotest.Start(t.Context(), mongotest.Choice{Flavor: mongotest.Given, URI: uri}, mongotest.Options{})
	require.NoError(t, err)

	require.Equal(t, uri, given.URI())
	require.ErrorIs(t, given.Kill(), mongotest.ErrNotOurs)
	require.ErrorIs(t, given.Freeze(t.Context()), mongotest.ErrNotOurs)
	require.NoError(t, given.Stop())
	require.NoError(t, given.Client(t).Ping(t.Context(), nil))
}

func processExists(pid int) bool {
	_, err := os.Stat("/proc/" + strconv.Itoa(pid))

	return err == nil
}
