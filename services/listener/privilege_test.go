package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/refetch"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// TestSourceRoleIsEnoughToReadAndForbidsWriting: with the role of deploy/mongodb the source can be watched and read,
// not written.
func TestSourceRoleIsEnoughToReadAndForbidsWriting(t *testing.T) {
	t.Parallel()

	server := mongotest.New(t, mongotest.Options{Username: "root", Password: "root"})
	root := server.Client(t)
	_, err := root.Database("shop").Collection("orders").InsertOne(t.Context(), bson.D{{Key: "_id", Value: 1}})
	require.NoError(t, err)

	client, err := mongodb.Connect(server.UserWith(t, root, "../../deploy/mongodb/source-role.js"), mongodb.Options{ServerSelectionTimeout: 30 * time.Second})
	require.NoError(t, err)

	defer func() { _ = mongodb.Disconnect(context.WithoutCancel(t.Context()), client) }()

	stream, err := client.Watch(t.Context(), bson.A{})
	require.NoError(t, err)
	require.NoError(t, stream.Close(t.Context()))

	catalog, err := mongodb.Catalog(t.Context(), client)
	require.NoError(t, err)
	require.NotEmpty(t, catalog)

	orders := client.Database("shop").Collection("orders")
	require.NoError(t, orders.FindOne(t.Context(), bson.D{}).Err())

	_, err = orders.InsertOne(t.Context(), bson.D{{Key: "_id", Value: 2}})
	require.True(t, mongodb.IsUnauthorized(err), "%v", err)
	require.True(t, mongodb.IsUnauthorized(orders.Drop(t.Context())))
}

// TestWholeSessionOfAListenerReadsOnly follows a listener as main starts it, its user has the source's role: what it
// sends is what that role is for, nothing that writes, and each right of the role is used.
func TestWholeSessionOfAListenerReadsOnly(t *testing.T) {
	t.Parallel()

	const file = "../../deploy/mongodb/source-role.js"

	server, natsd := mongotest.New(t, mongotest.Options{Username: "root", Password: "root"}), natstest.New(t)
	root, wire, client := server.Client(t), server.NewWire(t), refetch.New(natsd.Connect(t), "test")
	orders := root.Database("shop").Collection("orders")
	environ := map[string]string{
		"FLOW": "test", "SOURCE_URI": wire.Through(server.UserWith(t, root, file)).Reveal(), "NATS_URL": natsd.URL(),
		"OPS_ADDR": freeAddr(t), "LOG_LEVEL": "error",
	}

	initFlow(t, root, natsd)

	stop := start(t, environ)
	writeEverything(t, orders)
	awaitInserts(t, natsd, 2)

	key, err := bson.Marshal(bson.D{{Key: "_id", Value: 1}})
	require.NoError(t, err)

	var image refetch.Image

	require.Eventually(t, func() bool {
		image, err = client.Fetch(t.Context(), event.Namespace{DB: "shop", Coll: "orders"}, key, bson.Timestamp{})

		return err == nil
	}, patience, glance)
	require.Equal(t, int32(2), image.Document.Lookup("v").Int32())

	stop()

	_, err = orders.InsertOne(t.Context(), bson.D{{Key: "_id", Value: 3}})
	require.NoError(t, err)

	stop = start(t, environ) // resumes, finds a position, hence looks at the oplog
	awaitInserts(t, natsd, 3)
	require.Eventually(t, func() bool {
		return strings.Contains(scrape(t, environ["OPS_ADDR"]), "relay_history_window_remaining_seconds{")
	}, patience, glance)
	stop()

	reads := []string{
		"hello", "isMaster", "buildInfo", "saslStart", "saslContinue", "connectionStatus", "endSessions",
		"find", "aggregate", "getMore", "killCursors", "listDatabases", "listCollections", "ping",
	}
	for _, c := range wire.Commands() {
		require.Contains(t, reads, c.Name)
		require.NotContains(t, c.Body.String(), "$out")
		require.NotContains(t, c.Body.String(), "$merge")
	}

	mongotest.RequireExact(t, mongotest.Role(t, file), wire.Commands(),
		"local.oplog.rs collStats", // relayctl doctor
		"*.* listIndexes",          // relayctl flow init and doctor
		"config.version find")      // relayctl flow init and doctor, on mongos only
}

// start runs a listener until the function it returns is called.
func start(t *testing.T, environ map[string]string) func() {
	t.Helper()

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)

	go func() { done <- realMain(ctx, nil, environ) }()

	return func() {
		cancel()
		require.NoError(t, <-done)
	}
}

// writeEverything makes events of every kind, two inserts in shop.orders among them.
func writeEverything(t *testing.T, orders *mongo.Collection) {
	t.Helper()

	_, err := orders.InsertMany(t.Context(), []bson.D{{{Key: "_id", Value: 1}}, {{Key: "_id", Value: 2}}})
	require.NoError(t, err)
	_, err = orders.UpdateByID(t.Context(), 1, bson.D{{Key: "$set", Value: bson.D{{Key: "v", Value: 2}}}})
	require.NoError(t, err)
	_, err = orders.DeleteOne(t.Context(), bson.D{{Key: "_id", Value: 2}})
	require.NoError(t, err)
	_, err = orders.Indexes().CreateOne(t.Context(), mongo.IndexModel{Keys: bson.D{{Key: "v", Value: 1}}})
	require.NoError(t, err)
	require.NoError(t, orders.Database().CreateCollection(t.Context(), "made"))
	require.NoError(t, orders.Database().Collection("made").Drop(t.Context()))
}

// awaitInserts waits until the stream holds so many inserts.
func awaitInserts(t *testing.T, natsd *natstest.Server, n int) {
	t.Helper()

	stream, err := natsd.JetStream(t).Stream(t.Context(), topology.StreamName("test"))
	require.NoError(t, err)

	require.Eventually(t, func() bool {
		info, err := stream.Info(t.Context())
		require.NoError(t, err)

		found := 0

		for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
			m, err := stream.GetMsg(t.Context(), seq)
			if err == nil && bson.Raw(m.Data).Lookup("operationType").Validate() == nil && bson.Raw(m.Data).Lookup("operationType").StringValue() == "insert" {
				found++
			}
		}

		return found == n
	}, patience, glance)
}
