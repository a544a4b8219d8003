package e2e_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// TestHoleThatTheSourceCannotHealIsAccepted: the stream has a hole, and the source has what follows the stream's tail, but
// no longer what follows the lowest checkpoint. An operator goes on with what the listener says, and the owners pass over
// the hole, from wherever each of them was.
func TestHoleThatTheSourceCannotHealIsAccepted(t *testing.T) {
	s := openOn(t, nil, harness.WorldOptions{OplogMaxEntries: 100})
	require.NoError(t, s.source().CreateCollection(t.Context(), "noise"))
	s.replicateLarge()
	s.insertLarge(0, 10)
	s.applied(10)

	require.NoError(t, s.relay.Scale(t.Context(), 0))

	published := 10
	for ; published < 110; published += 10 {
		s.insertLarge(published, published+10)
		s.await("everything published", harness.Captured(uint64(published+10)))
	}

	for ; published < 3110; published += 100 { // the listener keeps up, so the tail is recent
		s.insertNoise(published, published+100)
		s.await("everything published", harness.Captured(uint64(published+100)))
	}

	s.whileStopped(removeMiddle(t))
	require.NoError(t, s.relay.Scale(t.Context(), 1))
	s.awaitReason(relayv1.Status_STATUS_DOWN, "HISTORY_LOST", "relayctl flow accept-gap --reason")

	s.ctl("flow", "accept-gap", "--reason", "a test", "--yes")
	s.awaitReason(relayv1.Status_STATUS_DIVERGED) // not DOWN: listener and owners have gone on by themselves

	before := s.await("owners behind the gap", harness.Applied(10))
	require.True(t, before.GetAddsUp())
	require.Less(t, before.GetProcessedChanges(), uint64(published))
	s.requireDocuments(before)

	s.insertLarge(110, 120)
	after := s.await("later changes applied", harness.Applied(before.GetProcessedChanges()+10))
	require.Equal(t, before.GetTotalChanges()+10, after.GetTotalChanges())
	require.True(t, after.GetAddsUp())
	s.requireDocuments(after)

	found := new(relayv1.ListGapsResponse)
	require.NoError(t, protojson.Unmarshal([]byte(s.ctl("flow", "gaps", "-o", "json")), found))
	require.Len(t, found.GetGaps(), 1)
	require.Equal(t, relayv1.GapState_GAP_STATE_CLOSED, found.GetGaps()[0].GetState())
	require.Equal(t, uint64(published)-before.GetProcessedChanges(), found.GetGaps()[0].GetLostEvents())
	require.Equal(t, "a test", found.GetGaps()[0].GetRequested().GetReason())
	s.becomes("DIVERGED", 1, "relayctl flow accept-divergence")

	s.ctl("flow", "accept-divergence", "--reason", "mended", "--yes")
	s.await("a divergence that is accepted", isFine)

	// A listener that knows nothing of it finds nothing to rewind.
	require.NoError(t, s.relay.Listener.Stop(t.Context()))
	s.insertLarge(120, 125)
	require.NoError(t, s.relay.Listener.Start())
	s.await("changes behind a restart applied", harness.Applied(after.GetProcessedChanges()+5))
	s.await("a flow that goes on", isFine)
}

// isFine holds for a flow whose status is no worse than a short oplog makes it.
func isFine(sample *relayv1.Stats) bool {
	return sample.GetStatus() == relayv1.Status_STATUS_OK || sample.GetStatus() == relayv1.Status_STATUS_DEGRADED
}

// insertNoise inserts small documents, whose changes push others out of a short oplog.
func (s *scenario) insertNoise(from, to int) {
	s.t.Helper()

	documents := make([]any, 0, to-from)
	for i := from; i < to; i++ {
		documents = append(documents, bson.D{{Key: "_id", Value: i}})
	}

	_, err := s.source().Collection("noise").InsertMany(s.t.Context(), documents)
	require.NoError(s.t, err)
}

// requireDocuments makes sure that the target has a document for each change that counts as applied, all of which insert one.
func (s *scenario) requireDocuments(sample *relayv1.Stats) {
	s.t.Helper()

	documents := int64(0)

	for _, name := range []string{"large", "noise"} {
		n, err := s.target().Collection(name).CountDocuments(s.t.Context(), bson.D{})
		require.NoError(s.t, err)

		documents += n
	}

	require.Equal(s.t, int64(sample.GetProcessedChanges()), documents)
}
