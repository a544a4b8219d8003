package e2e_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// TestHistoryLostAndAccepted stops the listener until the source has forgotten what comes next, and goes on as an
// operator does.
func TestHistoryLostAndAccepted(t *testing.T) {
	s := openOn(t, nil, harness.WorldOptions{OplogMaxEntries: 100})
	orders := s.source().Collection("orders")
	require.NoError(t, s.source().CreateCollection(t.Context(), "orders"))
	s.replicate()

	insert := func(id string) {
		t.Helper()

		_, err := orders.InsertOne(t.Context(), bson.D{{Key: "_id", Value: id}})
		require.NoError(t, err)
	}

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

	var gaps []struct{ State, Reason string }

	require.NoError(t, json.Unmarshal([]byte(s.ctl("flow", "gaps", "-o", "json")), &gaps))
	require.Len(t, gaps, 1)
	require.Equal(t, "closed", gaps[0].State)
	require.Equal(t, "a test", gaps[0].Reason)

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
