package e2e_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/fault"
	"github.com/atlas-relay/atlas-relay/e2e/harness"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// shared holds when this many processors report and share all partitions, nobody more than a fair part.
func shared(processors int) func(*relayv1.Stats) bool {
	return func(s *relayv1.Stats) bool {
		if !harness.Replicating(s) || len(s.GetProcessors()) != processors {
			return false
		}

		fair := (len(s.GetPartitions()) + processors - 1) / processors

		for _, p := range s.GetProcessors() {
			if int(p.GetPartitions()) > fair {
				return false
			}
		}

		return true
	}
}

// TestScaleProcessors changes their number in the middle of traffic, as docker compose up --scale does.
func TestScaleProcessors(t *testing.T) {
	s := open(t)
	s.write()

	for _, n := range []int{3, 2, 5, 1} {
		s.progress(steady)
		require.NoError(t, s.relay.Scale(t.Context(), n))
		s.await("a fair share for each of "+strconv.Itoa(n), shared(n))
	}

	s.progress(steady)
	s.finish()
}

// chaosVariable is how many seconds the next test breaks things; a longer run finds more.
const chaosVariable = "E2E_CHAOS_SECONDS"

const chaosSeconds = 20

// TestProcessorsComeAndGo kills, freezes, adds and removes processors at random, more often than a lease lasts.
func TestProcessorsComeAndGo(t *testing.T) {
	s := openWith(t, map[string]string{"LEASE_TTL": "2s"})
	s.write()
	s.comeAndGo(seconds(t, chaosVariable, chaosSeconds))
	s.finish()
}

// comeAndGo breaks things so long, with LEASE_TTL 2s, and waits until all go on.
func (s *scenario) comeAndGo(duration time.Duration) {
	s.t.Helper()

	require.NoError(s.t, s.relay.Scale(s.t.Context(), 3))
	s.progress(steady)

	ctx, cancel := context.WithTimeout(s.t.Context(), duration)
	defer cancel()

	stopSupervising := s.supervise(s.relay.Processors)
	chaos := fault.Processors{
		Relay: s.relay, Seed: s.seed, Every: 1500 * time.Millisecond, Freeze: 3 * time.Second, Most: 4, Told: func(what fault.Strike) { s.t.Log(what) },
	}

	hits, err := chaos.Run(ctx)
	require.NoError(s.t, err)
	s.t.Log(hits)
	require.Positive(s.t, hits.Kills+hits.Freezes, "nothing was broken")

	s.progress(steady)
	stopSupervising()
}

// TestTargetAwayForLong lets many changes pile up in the stream; no document is blamed for it.
func TestTargetAwayForLong(t *testing.T) {
	const away = 30 // seconds of traffic

	s := open(t)
	s.write()
	require.NoError(t, s.relay.Scale(t.Context(), 2))
	s.progress(steady)
	require.NoError(t, s.world.Target.Server.Kill())

	written := s.traffic.Journal().Changes()
	require.Eventually(t, func() bool { return s.traffic.Journal().Changes() > written+away*steady }, patience, 50*time.Millisecond)

	sample := s.await("an outage that is seen", func(sample *relayv1.Stats) bool {
		return sample.GetStatus() != relayv1.Status_STATUS_OK
	})
	t.Log(harness.Line(sample))

	require.NoError(t, s.world.Target.Server.Restart(t.Context()))

	back := time.Now()

	s.await("work again", func(sample *relayv1.Stats) bool {
		return sample.ProcessedChanges != nil && sample.GetPendingChanges() < away*steady
	})
	t.Logf("applying again %s after the target's return", time.Since(back).Round(time.Millisecond))
	s.finish()
}
