package e2e_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/verify/live"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// TestStandaloneTarget kills processors while traffic flows into a target without transactions: every event is counted
// once all the same, and the documents end as they are at the source.
func TestStandaloneTarget(t *testing.T) {
	const kills = 5

	s := openOn(t, nil, harness.WorldOptions{StandaloneTarget: true})
	running, end := s.writeUnwatched()

	s.progress(steady)

	sample := s.await("a word about the target", func(sample *relayv1.Stats) bool {
		return sample.GetAtLeastOnce() && sample.GetStatus() == relayv1.Status_STATUS_OK
	})
	require.Empty(t, sample.GetReasons())

	out, _, err := s.relay.Ctl(t.Context(), "status")
	require.NoError(t, err)
	require.Contains(t, out, "at least once")

	stopSupervising := s.supervise(s.relay.Processors)

	for range kills {
		require.NoError(t, s.relay.Processors()[0].Kill())
		s.progress(steady)
	}

	stopSupervising()
	close(end)
	require.NoError(t, <-running)

	changes := s.traffic.Journal().Changes()
	sample = s.await("everything applied", harness.Applied(changes))
	require.NoError(t, live.Counters(sample, changes, 0))
	s.equal()
}

// writeUnwatched starts traffic without a recording of the target: that has no change streams.
func (s *scenario) writeUnwatched() (running <-chan error, end chan<- struct{}) {
	s.t.Helper()

	s.sow()
	s.replicate()

	ended, stop := make(chan error, 1), make(chan struct{})

	go func() { ended <- s.traffic.RunUntil(s.t.Context(), stop) }()

	return ended, stop
}
