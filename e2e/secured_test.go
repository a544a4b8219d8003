package e2e_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/verify/live"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// openSecured is openWith where NATS lets in the roles of deploy/nats/secured.conf and nobody else.
func openSecured(t *testing.T, env map[string]string) *scenario {
	t.Helper()

	return openOn(t, env, harness.WorldOptions{SecuredFlow: "test"})
}

// nothingWasRefused looks for what NATS refuses a role in every log.
func (s *scenario) nothingWasRefused() {
	s.t.Helper()

	logs, err := filepath.Glob(s.world.LogFiles())
	require.NoError(s.t, err)
	require.NotEmpty(s.t, logs)

	for _, path := range logs {
		content, err := os.ReadFile(path)
		require.NoError(s.t, err)

		for line := range strings.Lines(string(content)) {
			require.NotContains(s.t, strings.ToLower(line), "permissions violation", path)
		}
	}
}

// TestRolesSufficeForTheWork: with the permissions of deploy/nats the flow is made, replicates, is taken over, purged,
// shared out, refetched from, paused, looked at and deleted, and NATS refuses nothing on the way.
func TestRolesSufficeForTheWork(t *testing.T) {
	s := openSecured(t, map[string]string{"PARTITIONS": "4", "REPLAY_MARGIN": "0", "LEASE_TTL": shortLease})
	s.made = func() { shrink(s) }
	require.NoError(t, s.world.Source.Client.Database(s.beside()).CreateCollection(t.Context(), "refetched")) // which is no change of the flow
	s.write()

	second := s.relay.AddListener(s.t.Context(), nil)
	require.NoError(t, second.Start())
	s.await("a standby", second.StandsBy)
	require.NoError(t, s.relay.Listener.Kill())
	s.await("it takes over", second.Streams)
	require.NoError(t, s.relay.Listener.Start())

	s.await("a purge", func(sample *relayv1.Stats) bool { return sample.GetStream().GetFirstSequence() > 1 })

	require.NoError(t, s.relay.Scale(t.Context(), 3))
	s.progress(steady)
	require.NoError(t, s.relay.Processors()[0].Kill())
	s.progress(steady)
	require.NoError(t, s.world.NATS.Kill())
	require.NoError(t, s.world.NATS.Start())
	s.progress(steady)

	s.refetched()

	s.ctl("flow", "pause", "--reason", "a test")
	s.await("partitions that stand", stands)
	s.ctl("flow", "resume")
	s.progress(steady)
	s.ctl("flow", "show")
	s.ctl("instances")
	s.becomes("OK", 0)

	out, code, err := s.relay.Ctl(t.Context(), "doctor")
	require.NoError(t, err)
	require.NotEqual(t, 2, code, out)
	require.NotEqual(t, 3, code, out)
	require.NotContains(t, strings.ToLower(out), "permissions violation")

	s.finish()

	for _, service := range s.relay.Services() {
		require.NoError(t, service.Stop(t.Context()))
	}

	require.Contains(t, s.ctl("flow", "delete", "--yes", "--reason", "a test"), "stream CDC_test")
	s.nothingWasRefused()
}

// refetched has the target miss a document, so that a delta makes the processor ask the listener for it.
func (s *scenario) refetched() {
	s.t.Helper()

	source, target := s.world.Source.Client.Database(s.beside()), s.world.Target.Client.Database(s.beside())
	id := bson.D{{Key: "_id", Value: "missing"}}

	_, err := source.Collection("refetched").InsertOne(s.t.Context(), append(slices.Clone(id), bson.E{Key: "a", Value: 1}))
	require.NoError(s.t, err)

	s.others++
	require.Eventually(s.t, func() bool {
		removed, err := target.Collection("refetched").DeleteOne(s.t.Context(), id)

		return err == nil && removed.DeletedCount == 1
	}, patience, 50*time.Millisecond)

	_, err = source.Collection("refetched").UpdateOne(s.t.Context(), id, bson.D{{Key: "$set", Value: bson.D{{Key: "b", Value: 2}}}})
	require.NoError(s.t, err)

	s.others++
	require.Eventually(s.t, func() bool {
		result, err := live.Compare(s.t.Context(), source, target)

		return err == nil && result.Equal()
	}, patience, 50*time.Millisecond)
}

// TestRolesSufficeForRewindsAndGaps: so are a rewind and an accepted gap.
func TestRolesSufficeForRewindsAndGaps(t *testing.T) {
	s := openSecured(t, nil)
	s.replicateLarge()
	s.insertLarge(0, 10)
	s.applied(10)

	require.NoError(t, s.relay.Scale(t.Context(), 0))
	s.insertLarge(10, 110)
	s.await("everything published", harness.Captured(110))
	s.whileStopped(removeMiddle(t))
	require.NoError(t, s.relay.Scale(t.Context(), 1))
	s.applied(110)
	require.Contains(t, readLog(t, s.relay.Listener), "rewinding the stream")

	// The stream is lost with everything that was not applied.
	require.NoError(t, s.relay.Listener.Stop(t.Context()))

	nc, js, err := s.world.NATS.JetStream()
	require.NoError(t, err)

	defer nc.Close()

	require.NoError(t, js.DeleteStream(t.Context(), "CDC_test"))
	s.ctl("flow", "accept-gap", "--at", "now", "--reason", "a test", "--yes")
	require.NoError(t, s.relay.Listener.Start())
	s.insertLarge(110, 120)
	s.await("what came since", func(sample *relayv1.Stats) bool { return sample.GetProcessedChanges() == 120 })
	s.equal()
	s.nothingWasRefused()
}
