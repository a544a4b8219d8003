//go:build compose

package compose_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// TestUpReplicates: when docker compose up --wait comes back, everything is healthy, and a change reaches the target.
func TestUpReplicates(t *testing.T) {
	s := up(t)

	all, err := s.compose.Containers(t.Context())
	require.NoError(t, err)

	found := map[string]bool{}

	for _, c := range all {
		found[c.Service()] = true

		if c.Service() == "init" {
			require.Equal(t, "exited", c.State.Status)
			require.Zero(t, c.State.ExitCode)

			continue
		}

		require.True(t, c.Healthy(), c.Says())
		require.Zero(t, c.RestartCount, c.Says())
	}

	for _, service := range []string{"source", "target", "nats", "init", "listener", "processor", "stats"} {
		require.True(t, found[service], service)
	}

	s.arrives(t, s.source)

	out, err := s.compose.Run(t.Context(), "run", "--rm", "init", "status", "--server", "stats:50051")
	require.NoError(t, err)
	require.Contains(t, out, "OK")
}

// TestNotGreenWithoutSource: docker compose up --wait fails while the source is away, for a listener that has just been
// made as for one that was healthy before, and comes back green when it replicates again.
func TestNotGreenWithoutSource(t *testing.T) {
	s := up(t)

	source, err := s.compose.One(t.Context(), "source")
	require.NoError(t, err)

	_, err = s.docker.Run(t.Context(), "stop", source.ID)
	require.NoError(t, err)

	s.awaitContainers(t, "listener", "is no longer healthy", (*harness.Container).Unhealthy)

	// Without --no-deps compose would start the source again. There is no --wait-timeout: when it is over compose 2.40 comes
	// back green now and then, whatever it waits for (waitDependencies in pkg/compose/convergence.go).
	wait := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()

		_, err := s.compose.Run(ctx, "up", "--wait", "--no-deps", "listener")

		return err
	}

	require.ErrorContains(t, wait(), "is unhealthy", "green while the listener has no source")

	_, err = s.compose.Run(t.Context(), "rm", "--stop", "--force", "listener")
	require.NoError(t, err)
	require.ErrorContains(t, wait(), "is unhealthy", "green while a new listener has no source") // when start_period is over

	listener, err := s.compose.One(t.Context(), "listener")
	require.NoError(t, err)
	require.False(t, listener.Healthy(), listener.Says())
	require.Equal(t, "running", listener.State.Status, "an outage is not a failure")
	require.Zero(t, listener.RestartCount)

	s.up(t)
	s.arrives(t, s.source)
}

// TestUpFailsWithoutSource: a source that is not there is said, not waited for in silence.
func TestUpFailsWithoutSource(t *testing.T) {
	s := up(t)
	require.NoError(t, s.reset(t.Context()))

	s.compose.Env = map[string]string{"SOURCE_URI": "mongodb://nobody.invalid:27017/?serverSelectionTimeoutMS=1000"}

	ctx, cancel := s.building(t)
	defer cancel()

	_, err := s.compose.Run(ctx, "up", "--build", "--wait")
	require.Error(t, err)

	init, err := s.compose.One(t.Context(), "init")
	require.NoError(t, err)
	require.Equal(t, 3, init.State.ExitCode, "a server cannot be reached")

	logs, err := s.compose.Run(t.Context(), "logs", "init")
	require.NoError(t, err)
	require.Contains(t, logs, "nobody.invalid:27017")

	require.NoError(t, s.reset(t.Context()))
}

// TestScale changes the number of processors while traffic runs.
func TestScale(t *testing.T) {
	s := up(t)
	l := s.load(t)

	for _, n := range []string{"5", "1"} {
		l.progress()

		_, err := s.compose.Run(t.Context(), "up", "--wait", "--no-recreate", "--scale", "processor="+n)
		require.NoError(t, err)

		processors, err := s.compose.Containers(t.Context(), "processor")
		require.NoError(t, err)
		require.Len(t, processors, int(n[0]-'0'))

		s.await(t, "a share for each of "+n, func(sample *relayv1.Stats) bool {
			return harness.Replicating(sample) && shared(sample, len(processors))
		})
	}

	l.progress()
	l.finish()
}

// shared holds when this many processors report and each has partitions.
func shared(sample *relayv1.Stats, processors int) bool {
	if len(sample.GetProcessors()) != processors {
		return false
	}

	for _, p := range sample.GetProcessors() {
		if p.GetPartitions() == 0 {
			return false
		}
	}

	return true
}

// TestDownKeepsEverything: docker compose down ends the containers, and up goes on where they were.
func TestDownKeepsEverything(t *testing.T) {
	s := up(t)
	before := s.load(t)

	before.progress()
	old := before.finish()

	_, err := s.compose.Run(t.Context(), "down")
	require.NoError(t, err)

	all, err := s.compose.Containers(t.Context())
	require.NoError(t, err)
	require.Empty(t, all)

	s.up(t)

	kept := s.await(t, "the same counters", harness.Applied(s.changes))
	require.Equal(t, old.GetTotalChanges(), kept.GetTotalChanges())
	require.Equal(t, old.GetProcessedChanges(), kept.GetProcessedChanges())
	require.Equal(t, old.GetSkippedChanges(), kept.GetSkippedChanges())
	require.Equal(t, old.GetStream().GetStreamId(), kept.GetStream().GetStreamId())
	before.equal()

	after := s.load(t)
	after.progress()
	after.finish()
}
