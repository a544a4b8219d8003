package main

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

const (
	failed        = relayv1.PartitionState_PARTITION_STATE_FAILED
	waitingRewind = relayv1.PartitionState_PARTITION_STATE_WAITING_REWIND
)

// ids returns _ids of documents of that partition.
func (w *world) ids(t *testing.T, partition, n int) []string {
	t.Helper()

	var list []string

	for i := 0; len(list) < n; i++ {
		id := fmt.Sprintf("id-%d", i)

		key, err := event.NewKey(w.ns, bson.RawValue{Type: bson.TypeString, Value: marshal(t, bson.D{{Key: "", Value: id}}).Lookup("").Value})
		require.NoError(t, err)

		if key.Partition(partitions) == partition {
			list = append(list, id)
		}
	}

	return list
}

func TestPartitionThatCannotGoOnStopsAlone(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		spoil func(t *testing.T, w *world, id string)
		says  []string
	}{
		"a stranger's message": {
			spoil: func(t *testing.T, w *world, _ string) {
				t.Helper()

				_, err := w.js.Publish(t.Context(), event.EventSubject(w.flow, 1, w.ns), []byte("hello"))
				require.NoError(t, err)

				w.lastID = "" // the chain goes on behind the stranger
			},
			says: []string{"malformed"},
		},
		"another stream's message": {
			spoil: func(t *testing.T, w *world, id string) {
				t.Helper()

				own := w.last.StreamID
				w.last.StreamID = "another"
				w.insert(t, id)
				w.last.StreamID = own
			},
			says: []string{"another"},
		},
	}

	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)
			w.init(t)

			one, other := w.ids(t, 1, 3), w.ids(t, 2, 1)
			w.insert(t, one[0])

			p := w.start(t, nil)
			w.awaitSettled(t, checkpoint.Counters{Processed: 1})

			test.spoil(t, w, one[1])
			reason := w.awaitState(t, 1, failed)

			w.insert(t, one[2])
			w.insert(t, other[0])
			w.awaitSettled(t, checkpoint.Counters{Processed: 2})
			require.NotNil(t, w.document(t, other[0]))
			require.Nil(t, w.document(t, one[2]), "nothing behind it is applied")

			for _, s := range append(test.says, "; ") { // a remedy follows
				require.Contains(t, reason, s)
			}

			require.NotContains(t, reason, "secret")
			p.awaitReason(t, "partition 1 is FAILED")
			require.NoError(t, p.end())
		})
	}
}

func TestServersThatGoAndComeBack(t *testing.T) {
	t.Parallel()

	server := mongotest.New(t, mongotest.Options{SyncOnCommit: true})
	w := newWorldOn(t, server.URI().Reveal(), server.DB(t))
	w.init(t)
	w.insert(t, 1, bson.E{Key: "v", Value: 0})

	p := w.start(t, nil)
	w.awaitSettled(t, checkpoint.Counters{Processed: 1})

	applied := int64(1)
	version := 0
	write := func() {
		for id := range 40 {
			w.insert(t, 1000*(version+1)+id)
		}

		version++
		applied += 41
		w.set(t, 1, bson.E{Key: "v", Value: version})
	}

	for range 2 {
		write()
		require.NoError(t, server.Kill())
		write()
		require.Eventually(t, func() bool { return p.reason(t) != "ready" }, patience, glance)
		require.NoError(t, server.Restart(t.Context()))
		p.awaitReady(t)
		w.awaitSettled(t, checkpoint.Counters{Processed: applied})

		write()
		w.nats.Restart(t)
		write()
		p.awaitReady(t)
		w.awaitSettled(t, checkpoint.Counters{Processed: applied})
	}

	require.Equal(t, marshal(t, bson.D{{Key: "_id", Value: 1}, {Key: "v", Value: version}}), w.document(t, 1))
	require.NoError(t, p.end())
}

// TestStoppedAnywhere stops the processor at any moment of its work; what the
// next one finds is always whole.
func TestStoppedAnywhere(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)

	for id := range 1000 {
		w.insert(t, id, bson.E{Key: "v", Value: 1})
	}

	for n := range 20 {
		p := w.start(t, map[string]string{"BATCH_SIZE": "10"})
		want := min(int64(n)*40, 1000)

		require.Eventually(t, func() bool { return w.settled(t).Processed >= want }, patience, glance)
		require.NoError(t, p.end())
	}

	w.start(t, nil)
	w.awaitSettled(t, checkpoint.Counters{Processed: 1000})

	n, err := w.target.Database(w.ns.DB).Collection(w.ns.Coll).CountDocuments(t.Context(), bson.D{})
	require.NoError(t, err)
	require.Equal(t, int64(1000), n)
}
