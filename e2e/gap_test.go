package e2e_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// TestHistoryLostAndAccepted stops the listener until the source has forgotten what comes next, and goes on as an
// operator does.
func TestHistoryLostAndAccepted(t *testing.T) {
	s := openOn(t, nil, harness.WorldOptions{OplogMaxEntries: 100})
	orders := s.source().Collection("orders")
	require.NoError(t, s.source().CreateCollection(t.Context(), "orders"))
	s.replicate()

	insert := inserter(t, orders)

	insert("before")
	s.await("one change applied", harness.Applied(1))

	require.NoError(t, s.relay.Listener.Stop(t.Context()))
	insert("lost")
	s.forget()
	require.NoError(t, s.relay.Listener.Start())

	s.becomes("DOWN", 1, "HISTORY_LOST", "relayctl flow accept-gap")

	s.ctl("flow", "accept-gap", "--at", "now", "--reason", "a test", "--yes")
	s.becomes("DIVERGED", 1) // not DOWN: the listener has gone on by itself
	insert("behind")

	// The change in the gap is counted nowhere, and the sum holds.
	sample := s.await("two changes applied", harness.Applied(2))
	require.Equal(t, uint64(2), sample.GetTotalChanges())
	require.Equal(t, uint64(1), sample.GetGaps())

	// It is listed, and the target may differ until somebody accepts that.
	s.becomes("DIVERGED", 1, "not captured", "relayctl flow accept-divergence")

	found := new(relayv1.ListGapsResponse)
	require.NoError(t, protojson.Unmarshal([]byte(s.ctl("flow", "gaps", "-o", "json")), found))
	require.Len(t, found.GetGaps(), 1)
	require.Equal(t, relayv1.GapState_GAP_STATE_CLOSED, found.GetGaps()[0].GetState())
	require.Equal(t, "a test", found.GetGaps()[0].GetRequested().GetReason())

	s.ctl("flow", "accept-divergence", "--reason", "mended", "--yes")
	s.becomes("OK", 0)
	require.Contains(t, s.ctl("flow", "gaps"), "accepted by")
}

// forget writes so much beside the flow that the oplog begins behind what was there before.
func (s *scenario) forget() {
	s.t.Helper()

	for range 30 {
		documents := make([]any, 1000)
		for i := range documents {
			documents[i] = bson.D{{Key: "_id", Value: bson.NewObjectID()}}
		}

		_, err := s.world.Source.Client.Database(s.db+"_noise").Collection("noise").InsertMany(s.t.Context(), documents)
		require.NoError(s.t, err)
	}
}

// ctl runs relayctl, which has to succeed, and returns what it says.
func (s *scenario) ctl(args ...string) string {
	s.t.Helper()

	out, code, err := s.relay.Ctl(s.t.Context(), args...)
	require.NoError(s.t, err)
	require.Zero(s.t, code, out)

	return out
}

// TestStreamGoneAndAccepted deletes the stream, under running services and between two runs of them, and goes on as an
// operator does.
func TestStreamGoneAndAccepted(t *testing.T) {
	for name, running := range map[string]bool{"running": true, "stopped": false} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			orders := s.source().Collection("orders")
			require.NoError(t, s.source().CreateCollection(t.Context(), "orders"))
			s.replicate()

			insert := inserter(t, orders)

			insert("first")
			insert("second")
			s.await("two changes applied", harness.Applied(2))

			if !running {
				for _, service := range append(s.relay.Listeners(), s.relay.Processors()...) {
					require.NoError(t, service.Stop(t.Context()))
				}
			}

			nc, js, err := s.world.NATS.JetStream()
			require.NoError(t, err)
			t.Cleanup(nc.Close)
			require.NoError(t, js.DeleteStream(t.Context(), topology.StreamName("test")))

			s.becomes("DOWN", 1, "relayctl flow accept-gap")
			insert("lost")

			out, code, err := s.relay.Ctl(t.Context(), "flow", "init")
			require.NoError(t, err)
			require.Equal(t, 2, code, out)

			s.ctl("flow", "accept-gap", "--at", "now", "--reason", "a test", "--yes")

			if !running {
				for _, service := range append(s.relay.Listeners(), s.relay.Processors()...) {
					require.NoError(t, service.Start())
				}
			}

			s.becomes("DIVERGED", 1, "stream is gone")
			insert("behind")

			// What was lost is counted nowhere, and the sum holds.
			sample := s.await("three changes applied", harness.Applied(3))
			require.Equal(t, uint64(3), sample.GetTotalChanges())
			require.True(t, sample.GetAddsUp())
			s.becomes("DIVERGED", 1, "stream is gone", "relayctl flow accept-divergence")

			found := new(relayv1.ListGapsResponse)
			require.NoError(t, protojson.Unmarshal([]byte(s.ctl("flow", "gaps", "-o", "json")), found))
			require.Len(t, found.GetGaps(), 1)
			require.Equal(t, relayv1.GapState_GAP_STATE_CLOSED, found.GetGaps()[0].GetState())
			require.Equal(t, sample.GetStream().GetStreamId(), found.GetGaps()[0].GetReplacedBy())

			s.ctl("flow", "accept-divergence", "--reason", "mended", "--yes")
			s.becomes("OK", 0)

			n, err := s.target().Collection("orders").CountDocuments(t.Context(), bson.D{})
			require.NoError(t, err)
			require.Equal(t, int64(3), n)
		})
	}
}

// inserter returns what inserts a document with this _id.
func inserter(t *testing.T, coll *mongo.Collection) func(id string) {
	t.Helper()

	return func(id string) {
		t.Helper()

		_, err := coll.InsertOne(t.Context(), bson.D{{Key: "_id", Value: id}})
		require.NoError(t, err)
	}
}
