package e2e_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/e2e/verify/live"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// TestFloodBehindOneBadDocument changes a document that the target refuses more often than the processor keeps events of
// it, and kills processors meanwhile: everybody else goes on, each change is counted, and once the source has mended the
// document both sides are equal without a dead letter.
func TestFloodBehindOneBadDocument(t *testing.T) {
	const (
		kept  = 1000 // the processor's bound
		burst = 600  // changes between two kills
	)

	s := openWith(t, map[string]string{"BYPASS_VALIDATION": "false", "RETRY_DELAYS": "5s", "MAX_RETRIES": "100"})
	source, target := s.world.Source.Client.Database(s.beside()), s.world.Target.Client.Database(s.beside())

	require.NoError(t, source.CreateCollection(t.Context(), "flood"))

	s.made = func() { s.refuseBad(target, "flood") }
	s.write()

	change := func(update bson.D) {
		t.Helper()

		result, err := source.Collection("flood").UpdateByID(t.Context(), 1, update, options.UpdateOne().SetUpsert(true))
		require.NoError(t, err)
		require.Equal(t, int64(1), result.ModifiedCount+result.UpsertedCount)

		s.others++
	}

	change(bson.D{{Key: "$set", Value: bson.D{{Key: "n", Value: 0}}}})
	change(bson.D{{Key: "$set", Value: bson.D{{Key: "bad", Value: true}}}})

	for range rounds {
		for range burst {
			change(bson.D{{Key: "$inc", Value: bson.D{{Key: "n", Value: 1}}}})
		}

		s.progress(steady)

		for _, p := range s.relay.Processors() {
			require.NoError(t, p.Kill())
			require.NoError(t, p.Start())
		}
	}

	waiting := uint64(1 + rounds*burst)
	s.await("all of the flood parked", func(sample *relayv1.Stats) bool { return sample.GetParkedChanges() == waiting })

	records, err := s.relay.DeadLetters(t.Context(), relayv1.ParkedState_PARKED_STATE_WAITING)
	require.NoError(t, err)

	events, runs := uint64(0), 0

	for _, r := range records {
		events += max(r.GetRunEvents(), 1)

		if r.GetRunEvents() > 0 {
			runs++
		}
	}

	require.Equal(t, waiting, events)
	require.Equal(t, kept, len(records)-runs)
	require.LessOrEqual(t, runs, 2)

	change(bson.D{{Key: "$unset", Value: bson.D{{Key: "bad", Value: ""}}}})
	s.finish()

	result, err := live.Compare(t.Context(), source, target)
	require.NoError(t, err)
	require.True(t, result.Equal(), "%v", result.Differences)
	require.EqualValues(t, 1, result.Documents)
}
