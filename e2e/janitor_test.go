package e2e_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// shrink makes the stream one that the steady traffic fills within seconds, as an operator may: flow init takes 64 MiB and
// more.
func shrink(s *scenario) {
	s.t.Helper()

	const small = 3 << 20

	nc, js, err := s.world.NATS.JetStream()
	require.NoError(s.t, err)

	defer nc.Close()

	stream, err := js.Stream(s.t.Context(), topology.StreamName("test"))
	require.NoError(s.t, err)

	config := stream.CachedInfo().Config
	config.MaxBytes = small
	_, err = js.UpdateStream(s.t.Context(), config)
	require.NoError(s.t, err)
}

// TestFullStream lets a stream fill while nobody applies. The listener waits, and goes on by itself once the processors
// have caught up and the head is purged; everybody can start again on a stream without its first message.
func TestFullStream(t *testing.T) {
	s := openWith(t, map[string]string{"PARTITIONS": "4"})
	s.made = func() { shrink(s) }
	s.write()

	for _, p := range s.relay.Processors() {
		require.NoError(t, p.Kill())
	}

	full := s.await("a listener that waits for room", waitsForRoom)
	require.EqualValues(t, 1, full.GetStream().GetFirstSequence(), "nothing may be purged that is not applied")

	before := s.relay.Listener.Process().PID()

	for _, p := range s.relay.Processors() {
		require.NoError(t, p.Start())
	}

	s.await("a purged stream into which the listener publishes", func(sample *relayv1.Stats) bool {
		return sample.GetStream().GetFirstSequence() > 1 && harness.Replicating(sample) && sample.GetTotalChanges() > full.GetTotalChanges()
	})
	require.Equal(t, before, s.relay.Listener.Process().PID())
	s.progress(steady)

	require.NoError(t, s.relay.Init(t.Context()), "the flow is there, although its first message is gone")

	for _, service := range s.relay.Services() {
		require.NoError(t, service.Restart(t.Context()))
		s.progress(steady / 3)
	}

	s.finish()
}

// TestNATSIsKilledWhileItPurges kills the server again and again under a stream that is purged all the time.
func TestNATSIsKilledWhileItPurges(t *testing.T) {
	s := openWith(t, map[string]string{"PARTITIONS": "4", "REPLAY_MARGIN": "0"})
	s.made = func() { shrink(s) }
	s.write()

	for range rounds {
		first := s.await("an answer", func(sample *relayv1.Stats) bool { return sample.GetStream() != nil }).GetStream().GetFirstSequence()

		// The janitor looks every few seconds; with every message purged the next purge is never far.
		s.await("a purge", func(sample *relayv1.Stats) bool { return sample.GetStream().GetFirstSequence() > first })
		require.NoError(t, s.world.NATS.Kill())
		require.NoError(t, s.world.NATS.Start())
		s.progress(steady / 3)
	}

	s.finish()
}

func waitsForRoom(sample *relayv1.Stats) bool {
	for _, l := range sample.GetListeners() {
		if l.GetState() == relayv1.ListenerState_LISTENER_STATE_WAITING {
			return true
		}
	}

	return false
}
