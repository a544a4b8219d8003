package main

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/gap"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// TestStatsRoleIsEnough asks everything that the service answers, acts on dead letters, and pauses the flow, with a user
// who has the role of deploy/mongodb and nothing else.
func TestStatsRoleIsEnough(t *testing.T) {
	t.Parallel()

	const file = "../../deploy/mongodb/stats-role.js"

	server := mongotest.New(t, mongotest.Options{Username: "root", Password: "root"})
	root, wire, grpcAddr := server.Client(t), server.NewWire(t), freeAddr(t)
	letters := seedLetters(t, server)
	own := root.Database(checkpoint.Database)

	edge := gap.Edge{ResumeToken: bson.Raw{5, 0, 0, 0, 0}}

	_, err := gap.Gaps(root).InsertOne(t.Context(), gap.Document{ID: "g", Flow: "f", State: gap.Closed, From: edge, To: edge})
	require.NoError(t, err)
	_, err = own.Collection(checkpoint.Unsupported).InsertOne(t.Context(), checkpoint.UnsupportedDocument{ID: "f/drop", Flow: "f", Operation: "drop", Events: 1, Diverges: true})
	require.NoError(t, err)

	environ := map[string]string{
		"FLOW": "f", "NATS_URL": natstest.New(t).URL(), "TARGET_URI": wire.Through(server.UserWith(t, root, file)).Reveal(),
		"GRPC_ADDR": grpcAddr, "HTTP_ADDR": "127.0.0.1:0", "OPS_ADDR": freeAddr(t), "LOG_LEVEL": "error",
	}

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)

	go func() { done <- realMain(ctx, nil, environ) }()

	conn, err := grpc.NewClient(grpcAddr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)

	defer conn.Close()

	require.Eventually(t, func() bool {
		response, err := relayv1.NewStatsServiceClient(conn).GetStats(t.Context(), &relayv1.GetStatsRequest{}, grpc.WaitForReady(true))

		return err == nil && response.GetStats().GetDeadLetters() == 3 && response.GetStats().ProcessedChanges != nil
	}, time.Minute, 100*time.Millisecond)

	client := relayv1.NewDeadLetterServiceClient(conn)
	actOnLetters(t, client, letters)

	for _, namespaces := range [][]*relayv1.Namespace{nil, {{Database: "shop", Collection: "orders"}}} {
		_, err = relayv1.NewFlowServiceClient(conn).PauseFlow(t.Context(), &relayv1.PauseFlowRequest{RequestedBy: "ann", Namespaces: namespaces})
		require.NoError(t, err)
		_, err = relayv1.NewFlowServiceClient(conn).ResumeFlow(t.Context(), &relayv1.ResumeFlowRequest{RequestedBy: "ann", Namespaces: namespaces})
		require.NoError(t, err)
	}

	// Users' documents are another right, and one more role.
	ofUsers := func(c mongotest.Command) bool { return c.DB == "shop" }
	require.True(t, slices.ContainsFunc(wire.Commands(), ofUsers))
	mongotest.RequireExact(t, mongotest.Role(t, file), slices.DeleteFunc(wire.Commands(), ofUsers))

	const more = "../../deploy/mongodb/stats-documents-role.js"

	admin := root.Database("admin")
	require.NoError(t, admin.RunCommand(t.Context(), mongotest.Role(t, more)).Err())
	require.NoError(t, admin.RunCommand(t.Context(), bson.D{
		{Key: "grantRolesToUser", Value: "relayStats"}, {Key: "roles", Value: bson.A{"relayStatsDocuments"}},
	}).Err())

	before := len(wire.Commands())
	got, err := client.GetDeadLetter(t.Context(), &relayv1.GetDeadLetterRequest{Name: letters[0]})
	require.NoError(t, err)
	require.Equal(t, "the target has no such document", got.GetTargetJsonMissingBecause())
	mongotest.RequireExact(t, mongotest.Role(t, more), slices.DeleteFunc(wire.Commands()[before:], func(c mongotest.Command) bool { return !ofUsers(c) }))

	cancel()
	require.NoError(t, <-done)
}

// seedLetters makes three dead letters.
func seedLetters(t *testing.T, server *mongotest.Server) (names []string) {
	t.Helper()

	root := server.Client(t)
	require.NoError(t, root.Database("shop").CreateCollection(t.Context(), "orders"))

	raw, err := bson.Marshal(bson.D{{Key: "operationType", Value: "insert"}, {Key: "fullDocument", Value: bson.D{{Key: "_id", Value: 1}}}})
	require.NoError(t, err)
	key, err := bson.Marshal(bson.D{{Key: "_id", Value: 1}})
	require.NoError(t, err)

	for n := range int64(3) {
		r := parked.Record{
			ID: parked.ID("f", "s", 0, 0, n), Flow: "f", StreamID: "s", Count: n, Number: n, Position: event.Position{T: uint32(n + 1)},
			DB: "shop", Coll: "orders", Operation: event.Insert, Key: bson.Binary{Data: []byte{byte(n)}}, DocumentKey: key, Event: raw,
			Size: int64(len(raw)), State: parked.Dead, Reason: parked.Failed, Attempts: 6, Counted: true, Code: 121, Error: "refused",
		}

		_, err := parked.Records(root).InsertOne(t.Context(), r)
		require.NoError(t, err)

		names = append(names, r.ID)
	}

	return names
}

func actOnLetters(t *testing.T, client relayv1.DeadLetterServiceClient, names []string) {
	t.Helper()

	list, err := client.ListDeadLetters(t.Context(), &relayv1.ListDeadLettersRequest{})
	require.NoError(t, err)
	require.Len(t, list.GetDeadLetters(), 3)

	got, err := client.GetDeadLetter(t.Context(), &relayv1.GetDeadLetterRequest{Name: names[0]})
	require.NoError(t, err)
	require.Contains(t, got.GetTargetJsonMissingBecause(), "unknown: the stats service may not read shop.orders on the target")
	require.Empty(t, got.GetTargetJson())

	only := func(name string) *relayv1.DeadLetterSelection {
		return &relayv1.DeadLetterSelection{Selection: &relayv1.DeadLetterSelection_Names{Names: &relayv1.DeadLetterNames{Names: []string{name}}}}
	}

	replayed, err := client.ReplayDeadLetters(t.Context(), &relayv1.ReplayDeadLettersRequest{Selection: only(names[0]), RequestedBy: "ann"})
	require.NoError(t, err)
	require.Zero(t, replayed.GetOutcome().GetRefused())

	discarded, err := client.DiscardDeadLetters(t.Context(), &relayv1.DiscardDeadLettersRequest{Selection: only(names[1]), RequestedBy: "ann"})
	require.NoError(t, err)
	require.Zero(t, discarded.GetOutcome().GetRefused())

	refetched, err := client.RefetchDeadLetters(t.Context(), &relayv1.RefetchDeadLettersRequest{
		Selection: &relayv1.DeadLetterSelection{Selection: &relayv1.DeadLetterSelection_Filter{}}, RequestedBy: "ann",
	})
	require.NoError(t, err)
	require.Equal(t, uint64(1), refetched.GetOutcome().GetChanged())

	operation, err := client.GetDeadLetterOperation(t.Context(), &relayv1.GetDeadLetterOperationRequest{Name: refetched.GetOperation()})
	require.NoError(t, err)
	require.Equal(t, uint64(1), operation.GetOperation().GetWaiting())
}
