package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// fence fences all partitions for this gap behind this message, as accept-gap does.
func (w *world) fence(t *testing.T, gap string, after uint64) {
	t.Helper()

	_, err := checkpoint.Checkpoints(w.target).UpdateMany(t.Context(), bson.D{{Key: "flow", Value: w.flow}}, bson.D{
		{Key: "$inc", Value: bson.D{{Key: "epoch", Value: 1}}},
		{Key: "$set", Value: bson.D{{Key: "owner", Value: int64(1)}, {Key: "gap", Value: checkpoint.GapAhead{ID: gap, After: int64(after)}}}},
	})
	require.NoError(t, err)
}

// passGap publishes the marker of the gap, with this number of events.
func (w *world) passGap(t *testing.T, number uint64, position event.Position) {
	t.Helper()

	payload, err := proto.Marshal(&relayv1.Marker{Heads: make([]uint64, w.partitions), AcceptedGap: "gap"})
	require.NoError(t, err)

	w.counts = [partitions]uint64{}
	m := w.last
	m.Kind, m.Partition, m.Namespace, m.Pin, m.Count, m.Size, m.Payload = event.KindMarker, 0, event.Namespace{}, event.PinNone, 0, len(payload), payload
	m.Generation, m.Event, m.Skipped, m.Position = m.Generation+1, number, 0, position

	_, err = w.js.PublishMsg(t.Context(), event.Encode(w.flow, &m, w.lastID))
	require.NoError(t, err)

	w.lastID, w.last = m.ID(), m
}

// TestOwnersPassOverAHole: one owner has met a hole, another one has something parked, most are idle. An operator has the
// flow go on behind an accepted gap. Nobody applies anything of before any more, counters and what is parked stay, and
// nobody takes what lies before the gap for a hole of the new generation.
func TestOwnersPassOverAHole(t *testing.T) {
	t.Parallel()

	for name, running := range map[string]bool{"running": true, "stopped": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)
			w.init(t)
			w.validate(t)

			env := impatient("MAX_RETRIES", "100", "RETRY_DELAYS", "1s")
			p := w.start(t, env)
			p.awaitReady(t)

			one, other := w.ids(t, 1, 4), w.ids(t, 2, 3)
			w.insert(t, one[0])
			w.insert(t, other[0], bson.E{Key: "bad", Value: 1})
			w.set(t, other[0], bson.E{Key: "v", Value: 1})
			w.awaitParked(t, 2)
			w.awaitSettled(t, checkpoint.Counters{Processed: 1})

			w.next(t, event.Insert, one[1], bson.E{Key: "fullDocument", Value: bson.D{{Key: "_id", Value: one[1]}}}) // never published
			w.insert(t, one[2])
			w.awaitState(t, 1, waitingRewind)

			if !running {
				require.NoError(t, p.end())
			}

			tail, err := w.stream.Tail(t.Context())
			require.NoError(t, err)
			w.fence(t, "gap", tail.Sequence+1)
			w.insert(t, other[1]) // an owner that the fence does not stop applies it

			if !running {
				p = w.start(t, env)
			}

			require.Contains(t, w.awaitState(t, 2, relayv1.PartitionState_PARTITION_STATE_PAUSED), "accept-gap again")

			highest := w.last.Position
			w.passGap(t, 3, event.Position{T: highest.T + 1})
			w.requireBehindGap(t, tail.Sequence+2, 3)
			w.awaitParked(t, 2)

			require.NoError(t, w.target.Database(w.ns.DB).RunCommand(t.Context(), bson.D{{Key: "collMod", Value: w.ns.Coll}, {Key: "validator", Value: bson.D{}}}).Err())
			w.awaitParked(t, 0)
			w.awaitSettled(t, checkpoint.Counters{Processed: 3})

			later := w.next(t, event.Insert, one[3], bson.E{Key: "fullDocument", Value: bson.D{{Key: "_id", Value: one[3]}}})
			w.publishAt(t, later, event.Position{T: highest.T + 2})
			w.awaitSettled(t, checkpoint.Counters{Processed: 4})
			require.Equal(t, uint64(4), w.last.Event)
			w.requireDocuments(t, 3) // one[0], other[0], one[3]
			p.awaitReady(t)
			require.Nil(t, w.reportOn(t, 1).HoleGeneration)
		})
	}
}

// requireBehindGap waits until every partition is at the marker of the gap.
func (w *world) requireBehindGap(t *testing.T, sequence, number uint64) {
	t.Helper()

	require.Eventually(t, func() bool {
		for _, d := range w.checkpoints(t) {
			if d.Gap != nil {
				return false
			}
		}

		return true
	}, patience, glance)

	for _, d := range w.checkpoints(t) {
		require.Equal(t, []int64{int64(sequence), int64(number), 0, 1}, []int64{d.Sequence, d.Event, d.Count, d.Generation})
	}
}

// TestFencedOwnerTellsOfNoHole: it applies nothing, and nobody takes its checkpoint from it but the fence. What it would
// take for a hole of the generation behind the gap, the listener would rewind to where the source has nothing.
func TestFencedOwnerTellsOfNoHole(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)

	bucket, err := w.js.KeyValue(t.Context(), topology.StatsBucket)
	require.NoError(t, err)

	told, err := bucket.WatchAll(t.Context())
	require.NoError(t, err)

	one := w.ids(t, 1, 2)
	w.start(t, nil)
	w.next(t, event.Insert, one[0], bson.E{Key: "fullDocument", Value: bson.D{{Key: "_id", Value: one[0]}}}) // never published
	w.insert(t, one[1])
	w.awaitState(t, 1, waitingRewind)

	tail, err := w.stream.Tail(t.Context())
	require.NoError(t, err)
	w.fence(t, "gap", tail.Sequence)
	w.passGap(t, 0, event.Position{T: w.last.Position.T + 1})
	require.Eventually(t, func() bool {
		d := w.checkpoints(t)[1]

		return d.Gap == nil && d.Generation == 1
	}, patience, glance)

	require.NoError(t, told.Stop())

	for entry := range told.Updates() {
		if entry == nil {
			continue
		}

		r := new(relayv1.ProcessorReport)
		require.NoError(t, proto.Unmarshal(entry.Value(), r))

		for _, p := range r.GetPartitions() {
			require.Zero(t, p.GetHoleGeneration())
		}
	}
}

// TestFencedForAnotherGap: the marker of a gap is no place to go on from for who is fenced for another one.
func TestFencedForAnotherGap(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)
	w.start(t, nil)
	w.insert(t, w.ids(t, 1, 1)[0])
	w.awaitSettled(t, checkpoint.Counters{Processed: 1})

	tail, err := w.stream.Tail(t.Context())
	require.NoError(t, err)
	w.fence(t, "another", tail.Sequence)
	w.passGap(t, 1, event.Position{T: w.last.Position.T + 1})

	require.Eventually(t, func() bool { return strings.Contains(w.reportOn(t, 2).GetReason(), "is another marker") }, patience, glance)

	for _, d := range w.checkpoints(t) {
		require.NotNil(t, d.Gap)
	}
}

// TestOwnersPassOverAHoleThatHasASchemaChange: most stand at a schema change whose own message is gone, and would for ever.
// They pass it by, and the next one is made.
func TestOwnersPassOverAHoleThatHasASchemaChange(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.partitions = 4
	w.init(t)

	p := w.start(t, nil)
	w.firstWave(t)

	lost := schemaEvent(t, event.CreateIndexes, w.ns, index("lost", false))
	w.last = w.announce(t, &lost)
	w.counts[0]++
	w.insert(t, w.ids(t, 0, 2)[1]) // lost, too: it may build on the schema change

	w.awaitState(t, 0, waitingRewind)

	for partition := 1; partition < w.partitions; partition++ {
		w.awaitState(t, partition, relayv1.PartitionState_PARTITION_STATE_PAUSED)
	}

	tail, err := w.stream.Tail(t.Context())
	require.NoError(t, err)
	w.fence(t, "gap", tail.Sequence)

	at, number := w.last.Position, w.last.Event
	at.Ordinal++

	w.passGap(t, number, at)
	w.requireBehindGap(t, tail.Sequence+1, number)

	ids := w.everywhere(t, 3)
	for n := range ids {
		w.insert(t, ids[n][2])
	}

	w.awaitSettled(t, checkpoint.Counters{Processed: 8})
	w.change(t, event.CreateIndexes, w.ns, index("made", false))
	w.awaitSettled(t, checkpoint.Counters{Processed: 9})
	require.Equal(t, []string{"_id_", "made"}, w.indexNames(t, w.ns.Coll))
	w.requireDocuments(t, 8)
	p.awaitReady(t)
}
