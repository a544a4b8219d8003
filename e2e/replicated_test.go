package e2e_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// TestBatchModeOnOneServer publishes in atomic batches and ends listener and NATS without warning.
func TestBatchModeOnOneServer(t *testing.T) {
	s := openWith(t, map[string]string{"STREAM_PUBLISH": "batch"})
	s.write()

	for range rounds {
		s.progress(steady)
		require.NoError(t, s.relay.Listener.Kill())
		require.NoError(t, s.relay.Listener.Start())

		s.progress(steady)
		require.NoError(t, s.world.NATS.Kill())
		require.NoError(t, s.world.NATS.Start())
	}

	s.progress(steady)
	s.finish()
}

// TestReplicatedStream holds the stream on three servers: each is killed, two of them come back without their disk, and
// the leader moves. The relay goes on with the two that are left.
func TestReplicatedStream(t *testing.T) {
	cluster, err := harness.StartCluster(t.Context(), programs, t.TempDir(), 3)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Stop(context.WithoutCancel(t.Context()))) })

	s := openWith(t, map[string]string{"NATS_URL": cluster.URL(), "STREAM_REPLICAS": "3"})
	s.cluster = cluster
	s.write()
	s.progress(steady)

	nc, js, err := cluster.JetStream()
	require.NoError(t, err)
	t.Cleanup(nc.Close)

	current := func() {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()

		// A bucket with one replica would make its server one that nobody can do without.
		for _, stream := range []string{topology.StreamName("test"), "KV_" + topology.OwnersBucket, "KV_" + topology.StatsBucket} {
			require.NoError(t, natstest.AwaitCurrent(ctx, js, stream))
		}
	}

	ends := []func(*harness.NATS) error{(*harness.NATS).Wipe, func(n *harness.NATS) error { return n.Kill() }, (*harness.NATS).Wipe}
	for i, end := range ends {
		current() // else the last copy of what was acknowledged could go
		require.NoError(t, end(cluster[i]))
		s.progress(steady)
		require.NoError(t, cluster[i].Start())
		s.progress(steady)
	}

	current()
	require.NoError(t, natstest.MoveLeader(t.Context(), nc, topology.StreamName("test"), ""))
	s.progress(steady)
	s.finish()
	current()
}
