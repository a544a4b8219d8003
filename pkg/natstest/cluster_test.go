package natstest_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/natstest"
)

const patience = 2 * time.Minute

// TestClusterHoldsReplicas stops, wipes and resumes each server of a cluster in turn.
func TestClusterHoldsReplicas(t *testing.T) {
	t.Parallel()

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	c := natstest.StartCluster(t, 3, natstest.Options{})
	js := c.JetStream(t)

	stream, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: 3})
	require.NoError(t, err)
	require.NoError(t, natstest.AwaitCurrent(ctx, js, "S"))

	publish := func(n int) {
		require.Eventually(t, func() bool {
			// What was published while the leader went away is never answered.
			once, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()

			_, err := js.Publish(once, "s", []byte(strconv.Itoa(n)), jetstream.WithMsgID(strconv.Itoa(n)))

			return err == nil
		}, patience, 10*time.Millisecond)
	}

	for i, s := range c.Servers {
		require.NoError(t, s.Wipe())
		require.NoDirExists(t, s.StoreDir()+"/jetstream")
		publish(i + 1)
		require.NoError(t, s.Resume())
		require.NoError(t, natstest.AwaitCurrent(ctx, js, "S"))
	}

	for _, s := range c.Servers {
		require.NoError(t, natstest.AwaitLeader(ctx, js, "S", s.Name()))

		for n := range 3 {
			m, err := stream.GetMsg(ctx, uint64(n+1))
			require.NoError(t, err)
			require.Equal(t, strconv.Itoa(n+1), string(m.Data))
		}
	}
}
