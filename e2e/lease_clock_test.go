package e2e_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/wallclock"
	"github.com/atlas-relay/atlas-relay/pkg/lease"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// TestLeaseOfAWrongClock: the clock of NATS was an hour ahead when a holder died, and is right again. By the server's count the
// lease lasts for that hour; nobody waits for it, since nobody renews it. One that is renewed is nobody else's.
func TestLeaseOfAWrongClock(t *testing.T) {
	if err := wallclock.Supported(); err != nil {
		t.Skipf("NOT TESTED: %v", err)
	}

	const ttl = 2 * time.Second

	server, err := harness.StartNATS(t.Context(), programs, t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Stop(context.WithoutCancel(t.Context()))) })

	nc, js, err := server.JetStream()
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	require.NoError(t, topology.CreateBuckets(t.Context(), js, 1))
	require.NoError(t, server.SetClock(time.Hour))

	bucket := lease.NewBucket(js, topology.OwnersBucket)
	dead, err := bucket.Acquire(t.Context(), topology.PartitionKey("f", 0), "dead", ttl)
	require.NoError(t, err)
	kept, err := bucket.Acquire(t.Context(), topology.PartitionKey("f", 1), "alive", ttl)
	require.NoError(t, err)

	keeping, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)

	go func() { ended <- kept.Keep(keeping, func(error) {}) }()

	require.NoError(t, server.SetClock(0))
	<-dead.Ended()

	heir := lease.NewBucket(js, topology.OwnersBucket)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	require.NoError(t, harness.Await(ctx, 100*time.Millisecond, func(ctx context.Context) (bool, error) {
		_, err := heir.Acquire(ctx, topology.PartitionKey("f", 1), "thief", ttl)
		require.Error(t, err, "its holder renews it")

		_, err = heir.Acquire(ctx, topology.PartitionKey("f", 0), "heir", ttl)

		return err == nil, nil
	}))

	require.NoError(t, kept.Err())
	stop()
	require.NoError(t, <-ended)
}
