package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/lease"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// TestKeysOfTheBucketEditedByHand disturb nobody for long.
func TestKeysOfTheBucketEditedByHand(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)

	bucket, err := topology.OpenOwners(t.Context(), w.js)
	require.NoError(t, err)

	ghost := "id=ghost host=h pid=1 ttl=1s"
	edit := func(key, value string) {
		_, err := bucket.Put(t.Context(), key, []byte(value))
		require.NoError(t, err)
	}

	edit(topology.PartitionKey(w.flow, 3), "nonsense")
	edit(topology.PartitionKey(w.flow, 4), ghost)
	edit(topology.PartitionKey(w.flow, 99), ghost)
	edit(topology.MemberKey(w.flow, "other"), ghost)
	edit(topology.MemberKey(w.flow, "nonsense"), "nonsense")
	edit(topology.MemberKey(w.flow, "ghost"), ghost) // as a member would write it, but never renewed

	p := w.start(t, map[string]string{"LEASE_TTL": "1s"})
	w.insertMany(t, 0)
	w.awaitSettled(t, checkpoint.Counters{Processed: many})
	p.awaitReady(t)

	keys, err := bucket.Keys(t.Context())
	require.NoError(t, err)

	for _, key := range keys {
		if strings.HasPrefix(key, "m.") && !strings.Contains(key, "nonsense") && !strings.HasSuffix(key, "other") && !strings.HasSuffix(key, "ghost") {
			edit(key, "nonsense")
		}
	}

	edit(topology.PartitionKey(w.flow, 5), "nonsense")
	require.NoError(t, bucket.Delete(t.Context(), topology.PartitionKey(w.flow, 6)))

	w.insertMany(t, 1000)
	w.awaitSettled(t, checkpoint.Counters{Processed: 2 * many})
	p.awaitReady(t)
	require.NoError(t, p.end())
}

// TestLeaseHeldBySomebody is said, with its key and holder.
func TestLeaseHeldBySomebody(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)

	held, err := lease.NewBucket(w.js, topology.OwnersBucket).Acquire(t.Context(), topology.PartitionKey(w.flow, 3), "id=other host=there pid=7 ttl=1h", time.Hour)
	require.NoError(t, err)

	p := w.start(t, nil)

	require.Eventually(t, func() bool {
		reason := p.reason(t)

		return strings.Contains(reason, "partition 3 is ACQUIRING") && strings.Contains(reason, "host=there") && strings.Contains(reason, held.Key()) &&
			!strings.Contains(reason, "more")
	}, patience, glance)

	require.Contains(t, w.awaitState(t, 3, relayv1.PartitionState_PARTITION_STATE_ACQUIRING), held.Key())
	require.NoError(t, held.Release(t.Context()))
	p.awaitReady(t)
}

// TestFencedOwnerGoesOn: one that another owner has fenced, although it holds the
// lease, writes nothing more in that epoch, and the process goes on.
func TestFencedOwnerGoesOn(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)
	w.insertMany(t, 0)

	p := w.start(t, nil)
	p.awaitReady(t)
	w.awaitSettled(t, checkpoint.Counters{Processed: many})

	const epoch = 1 << 40

	before := w.checkpoints(t)

	_, err := checkpoint.Checkpoints(w.target).UpdateMany(t.Context(), bson.D{{Key: "flow", Value: w.flow}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "epoch", Value: int64(epoch)}, {Key: "owner", Value: int64(7)}}}})
	require.NoError(t, err)

	w.insertMany(t, 1000)
	w.awaitSettled(t, checkpoint.Counters{Processed: 2 * many})
	w.requireDocuments(t, 2*many)

	for number, d := range w.checkpoints(t) {
		// The owner of a partition without new events has not met the fence yet.
		if d.Counters.Processed > before[number].Counters.Processed {
			require.Greater(t, d.Epoch, int64(epoch), "partition %d", number)
		}
	}

	p.awaitReady(t)
	require.NoError(t, p.end())
}

// TestBucketOfLeasesLost: said, waited for, and nothing depends on it.
func TestBucketOfLeasesLost(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)

	ttl := map[string]string{"LEASE_TTL": "1s"}
	first, second := w.start(t, ttl), w.start(t, ttl)

	w.awaitShared(t, 2)
	w.insertMany(t, 0)
	w.awaitSettled(t, checkpoint.Counters{Processed: many})

	require.NoError(t, w.js.DeleteKeyValue(t.Context(), topology.OwnersBucket))

	for _, p := range []*processor{first, second} {
		require.Eventually(t, func() bool {
			return strings.Contains(p.reason(t), "RELAY_OWNERS") && strings.Contains(p.reason(t), "relayctl flow init")
		}, patience, glance)
	}

	w.insertMany(t, 1000)
	require.NoError(t, topology.CreateBuckets(t.Context(), w.js, 1))
	w.awaitSettled(t, checkpoint.Counters{Processed: 2 * many})
	w.awaitShared(t, 2)
}

// TestNATSAwayForLongerThanALease: owners stop, and go on by themselves within
// two seconds of its return.
func TestNATSAwayForLongerThanALease(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)

	ttl := map[string]string{"LEASE_TTL": "1s"}
	all := []*processor{w.start(t, ttl), w.start(t, ttl)}

	w.awaitShared(t, 2)
	w.insertMany(t, 0)
	w.awaitSettled(t, checkpoint.Counters{Processed: many})
	w.nats.Stop()

	gone := time.NewTimer(2 * time.Second)
	<-gone.C

	for _, p := range all {
		require.NotEqual(t, "ready", p.reason(t))
	}

	require.NoError(t, w.nats.Resume())

	back := time.Now()

	require.Eventually(t, func() bool {
		for _, p := range all {
			if p.reason(t) != "ready" {
				return false
			}
		}

		return true
	}, patience, glance)
	t.Logf("working again %s after the return of NATS", time.Since(back))
	w.insertMany(t, 1000)
	w.awaitSettled(t, checkpoint.Counters{Processed: 2 * many})
}
