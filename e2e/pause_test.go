package e2e_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/verify/live"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// stands holds when the owners of all partitions say that they apply nothing, because somebody wants it so.
func stands(s *relayv1.Stats) bool {
	for _, p := range s.GetPartitions() {
		if !p.GetIsHeld() {
			return false
		}
	}

	return len(s.GetPartitions()) > 0 && s.ProcessedChanges != nil && s.GetPause() != nil
}

// TestPauseAndResume: while the flow is paused the target stands still and capture goes on, whatever is killed or lost;
// then everything arrives, once.
func TestPauseAndResume(t *testing.T) {
	s := open(t)
	s.write()
	s.progress(steady)

	s.ctl("flow", "pause", "--as", "ann", "--reason", "upgrade of the target")

	sample := s.await("partitions that stand", stands)
	applied := sample.GetProcessedChanges()
	s.standsStill(sample)
	s.becomes("DEGRADED", 1, "paused by ann from ", ": upgrade of the target\n", "next:   relayctl flow resume")

	// Everybody is gone, and comes back.
	for _, service := range s.relay.Services() {
		require.NoError(t, service.Kill())
	}

	nc, js, err := s.world.NATS.JetStream()
	require.NoError(t, err)

	defer nc.Close()

	for _, bucket := range []string{topology.OwnersBucket, topology.StatsBucket} {
		require.NoError(t, js.DeleteKeyValue(t.Context(), bucket))
	}

	require.NoError(t, s.world.NATS.Kill())
	require.NoError(t, s.world.Target.Server.Kill())
	require.NoError(t, s.world.Target.Server.Restart(t.Context()))
	require.NoError(t, s.world.NATS.Start())
	require.NoError(t, s.relay.Init(t.Context()))
	require.NoError(t, s.relay.Start())

	sample = s.await("partitions that stand again", stands)
	require.Equal(t, applied, sample.GetProcessedChanges())
	require.Contains(t, sample.GetPause().GetBy(), "ann from ")

	s.standsStill(sample)
	s.becomes("DEGRADED", 1, "paused by ann from ")
	require.Contains(t, s.ctl("flow", "show"), "state          paused by ann from ")

	s.ctl("flow", "resume", "--as", "bob")
	s.await("a flow that replicates", harness.Replicating)
	s.progress(steady)
	s.finish()

	require.Contains(t, s.ctl("audit"), "flow resume")
}

// standsStill waits until the source has gone on, and makes sure that the target has not.
func (s *scenario) standsStill(since *relayv1.Stats) {
	s.t.Helper()

	later := s.await("a source that goes on", func(sample *relayv1.Stats) bool {
		return sample.ProcessedChanges != nil && sample.GetTotalChanges() > since.GetTotalChanges()+steady
	})
	require.Equal(s.t, since.GetProcessedChanges(), later.GetProcessedChanges())
	require.Equal(s.t, since.GetBatchesProcessed(), later.GetBatchesProcessed())
}

// TestPauseOfANamespace: what comes for it is set aside while all other changes are applied, through kill -9, and comes in
// order afterwards.
func TestPauseOfANamespace(t *testing.T) {
	s := open(t)
	source, target := s.world.Source.Client.Database(s.beside()), s.world.Target.Client.Database(s.beside())
	require.NoError(t, source.CreateCollection(t.Context(), "notes"))
	s.write()

	s.ctl("flow", "pause", "--namespace", s.beside()+".notes", "--reason", "report")

	write := func() {
		_, err := source.Collection("notes").InsertOne(t.Context(), bson.D{{Key: "_id", Value: s.others}})
		require.NoError(t, err)
		_, err = source.Collection("notes").UpdateOne(t.Context(), bson.D{{Key: "_id", Value: s.others}}, bson.D{{Key: "$set", Value: bson.D{{Key: "v", Value: 1}}}})
		require.NoError(t, err)

		s.others += 2
	}

	s.await("a namespace that is left alone", func(sample *relayv1.Stats) bool {
		write()

		return sample.GetParkedChanges() > 0
	})

	const notes = 100
	for range notes {
		write()
	}

	s.await("changes that are set aside", func(sample *relayv1.Stats) bool { return sample.GetParkedChanges() >= 2*notes })
	s.progress(steady)
	s.becomes("DEGRADED", 1, s.beside()+".notes is paused by ", ": report\n", "next:   relayctl flow resume --namespace "+s.beside()+".notes")

	require.NoError(t, s.relay.Processors()[0].Kill())
	require.NoError(t, s.relay.Processors()[0].Start())
	s.progress(steady)
	require.GreaterOrEqual(t, s.await("an answer", func(*relayv1.Stats) bool { return true }).GetParkedChanges(), uint64(2*notes))

	s.ctl("flow", "resume", "--namespace", s.beside()+".notes")
	s.finish()

	result, err := live.Compare(t.Context(), source, target)
	require.NoError(t, err)
	require.True(t, result.Equal(), "%d documents differ: %v", result.Different, result.Differences)
	require.EqualValues(t, s.others/2, result.Documents)
}
