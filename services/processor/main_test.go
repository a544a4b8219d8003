package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/lifecycle"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

func TestConfigurationMistakesAreListedAtOnce(t *testing.T) {
	t.Parallel()

	err := realMain(t.Context(), nil, map[string]string{
		"FLOW": "Not A Flow", "BATCH_SIZE": "0", "BATCH_IDLE_TIMEOUT": "5s", "BATCH_MAX_AGE": "1s",
		"MAX_RETRIES": "-1", "RETRY_DELAYS": "1s,0s", "PARK_MAX_BYTES": "1KiB",
		"BATCH_MAX_BYTES": "lots", "APPLY_CONCURRENCY": "-1", "MEMORY_BUDGET": "1KiB",
		"NATS_URL": "nats://user:hunter2@127.0.0.1:4222",
	})
	require.Equal(t, 2, lifecycle.ExitCode(err))

	for _, name := range []string{
		"FLOW", "BATCH_SIZE", "BATCH_MAX_AGE", "BATCH_MAX_BYTES", "APPLY_CONCURRENCY", "MEMORY_BUDGET", "TARGET_URI",
		"MAX_RETRIES", "RETRY_DELAYS", "PARK_MAX_BYTES",
	} {
		require.ErrorContains(t, err, name)
	}

	require.NotContains(t, err.Error(), "hunter2")
}

func TestTargetThatRefusesTheCredentialsIsRefused(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		options mongotest.Options
		uri     func(*mongotest.Server) string
		says    string
	}{
		"wrong password": {
			options: mongotest.Options{Username: "relay", Password: "right"},
			uri: func(s *mongotest.Server) string {
				return "mongodb://relay:wrong@" + s.Addr() + "/?authSource=admin&directConnection=true"
			},
			says: "password",
		},
	}

	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			server := mongotest.New(t, test.options)
			w := newWorld(t)
			w.uri = test.uri(server)

			err := w.start(t, nil).ended()
			require.Equal(t, 2, lifecycle.ExitCode(err), "%v", err)
			require.ErrorContains(t, err, test.says)
			require.NotContains(t, err.Error(), "wrong@")
		})
	}
}

// TestChangesReachTheTarget is the whole path: documents as bytes, exact
// counters, readiness, report, clean stop, and a second run that goes on.
func TestChangesReachTheTarget(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)

	for id := range 50 {
		w.insert(t, id, bson.E{Key: "v", Value: 1}, bson.E{Key: "gone", Value: true})
	}

	w.publish(t, event.Create, nil)
	w.publish(t, "createIndexes", nil)

	p := w.start(t, nil)
	p.awaitReady(t)
	w.awaitSettled(t, checkpoint.Counters{Processed: 51, Skipped: 1})

	for id := range 50 {
		w.publish(t, event.Update, id, bson.E{Key: "updateDescription", Value: bson.D{
			{Key: "updatedFields", Value: bson.D{{Key: "v", Value: 2}}}, {Key: "removedFields", Value: bson.A{"gone"}},
		}})
	}

	w.publish(t, event.Delete, 0)
	w.awaitSettled(t, checkpoint.Counters{Processed: 102, Skipped: 1})
	require.Nil(t, w.document(t, 0))

	for id := 1; id < 50; id++ {
		require.Equal(t, marshal(t, bson.D{{Key: "_id", Value: id}, {Key: "v", Value: 2}}), w.document(t, id))
	}

	require.Eventually(t, func() bool {
		var counted uint64
		for _, r := range w.report(t).GetPartitions() {
			counted += r.GetCount()
		}

		return counted == 103
	}, patience, glance)
	require.NoError(t, realMain(t.Context(), []string{"healthcheck"}, map[string]string{"OPS_ADDR": p.addr, "TARGET_URI": w.uri}))
	require.NoError(t, p.end())
	require.Empty(t, w.report(t).GetPartitions(), "the report is gone with its instance")

	w.set(t, 7, bson.E{Key: "v", Value: 3})
	w.start(t, nil)
	w.awaitSettled(t, checkpoint.Counters{Processed: 103, Skipped: 1})
	require.Equal(t, marshal(t, bson.D{{Key: "_id", Value: 7}, {Key: "v", Value: 3}}), w.document(t, 7))
}

func TestLargestDocumentPasses(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)

	body := bson.E{Key: "b", Value: bson.Binary{Data: bytes.Repeat([]byte{7}, 16<<20-100)}}
	for id := range 6 {
		w.insert(t, id, body)
	}

	w.start(t, map[string]string{"MEMORY_BUDGET": "64MiB"})
	w.awaitSettled(t, checkpoint.Counters{Processed: 6})
	require.Equal(t, marshal(t, bson.D{{Key: "_id", Value: 5}, body}), w.document(t, 5))
}

// TestBatchWaitsForItsIdleBound has a batch whose last event makes the document
// that the earlier ones update: apart, they would find none. Nothing but time
// closes it.
func TestBatchWaitsForItsIdleBound(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)

	for range 20 {
		w.set(t, 1, bson.E{Key: "v", Value: 1})
	}

	last := w.insert(t, 1)

	w.start(t, map[string]string{"BATCH_EAGER": "false"})
	w.awaitSettled(t, checkpoint.Counters{Processed: 21})

	all, err := checkpoint.Load(t.Context(), w.target, w.flow)
	require.NoError(t, err)
	require.Equal(t, int64(1), all[last.Partition].Counters.Batches)
}

func TestProcessorBeforeInitWaits(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	p := w.start(t, nil)

	p.awaitReason(t, "relayctl flow init")

	w.init(t)
	w.insert(t, 1)
	p.awaitReady(t)
	w.awaitSettled(t, checkpoint.Counters{Processed: 1})
}

func TestStreamThatIsGoneIsNotWaitedFor(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)
	w.insert(t, 1)

	p := w.start(t, nil)
	p.awaitReady(t) // every partition has its checkpoint
	w.awaitSettled(t, checkpoint.Counters{Processed: 1})
	require.NoError(t, p.end())

	require.NoError(t, w.js.DeleteStream(t.Context(), w.stream.Name()))

	p = w.start(t, nil)
	p.awaitReason(t, "checkpoints")
	require.NoError(t, p.end())

	// A new stream of the name is not the one the checkpoints speak of.
	w.init(t)
	w.insert(t, 2)
	w.start(t, nil)

	for partition := range partitions {
		reason := w.awaitState(t, partition, relayv1.PartitionState_PARTITION_STATE_FAILED)
		require.Contains(t, reason, w.stream.StreamID)
		require.Contains(t, reason, "relayctl flow delete")
	}

	require.Nil(t, w.document(t, 2))
	require.Equal(t, checkpoint.Counters{Processed: 1}, w.settled(t))
}
