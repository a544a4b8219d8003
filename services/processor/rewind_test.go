package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// rewindTo begins a new generation behind an event, as a listener does.
func (w *world) rewindTo(t *testing.T, at *event.Message) {
	t.Helper()

	w.last.Generation++
	w.last.Event, w.last.Skipped, w.last.Position, w.last.ResumeToken = at.Event, at.Skipped, at.Position, at.ResumeToken
	w.counts = [partitions]uint64{}
	w.mark(t)
}

// again publishes an event of an earlier generation in the present one.
func (w *world) again(t *testing.T, m event.Message) {
	t.Helper()

	w.counts[m.Partition]++
	m.Generation, m.Count = w.last.Generation, w.counts[m.Partition]

	_, err := w.js.PublishMsg(t.Context(), event.Encode(w.flow, &m, w.lastID))
	require.NoError(t, err)

	w.lastID, w.last = m.ID(), m
}

// reportOn is what the processor says of a partition.
func (w *world) reportOn(t *testing.T, partition int) *relayv1.PartitionReport {
	t.Helper()

	for _, p := range w.report(t).GetPartitions() {
		if int(p.GetPartition()) == partition {
			return p
		}
	}

	return nil
}

// saved is the stream at one moment, on disk and in its writer.
type saved struct {
	dir    string
	last   event.Message
	lastID string
	counts [partitions]uint64
}

// streamDir is where the server keeps the stream.
func (w *world) streamDir(t *testing.T) string {
	t.Helper()

	found, err := filepath.Glob(filepath.Join(w.nats.StoreDir(), "jetstream", "*", "streams", topology.StreamName(w.flow)))
	require.NoError(t, err)
	require.Len(t, found, 1)

	return found[0]
}

// snapshot copies the stream's files, with the server stopped.
func (w *world) snapshot(t *testing.T) saved {
	t.Helper()

	w.nats.Stop()

	dir := filepath.Join(t.TempDir(), "stream")
	require.NoError(t, os.CopyFS(dir, os.DirFS(w.streamDir(t))))
	w.resume(t)

	return saved{dir: dir, last: w.last, lastID: w.lastID, counts: w.counts}
}

// resume starts the server and waits until the stream can be written to.
func (w *world) resume(t *testing.T) {
	t.Helper()
	require.NoError(t, w.nats.Resume())
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()

		_, _, err := w.stream.State(ctx)

		return err == nil
	}, patience, glance)
}

// setBack puts the files of earlier in place: whatever was published since is
// lost, as after a power cut.
func (w *world) setBack(t *testing.T, to saved) {
	t.Helper()

	w.nats.Stop()

	dir := w.streamDir(t)
	require.NoError(t, os.RemoveAll(dir))
	require.NoError(t, os.CopyFS(dir, os.DirFS(to.dir)))
	w.resume(t)

	w.last, w.lastID, w.counts = to.last, to.lastID, to.counts
}

// TestHoleHealsByARewind: the owner that met it applies nothing, the others go
// on; all follow into the new generation, where nothing is applied twice.
func TestHoleHealsByARewind(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)

	lowest := w.last // most partitions have nothing but message 1
	one, other := w.ids(t, 1, 3), w.ids(t, 2, 3)
	first := w.insert(t, one[0])
	second := w.insert(t, other[0])

	p := w.start(t, nil)
	w.awaitSettled(t, checkpoint.Counters{Processed: 2})

	lost := w.next(t, event.Insert, one[1], bson.E{Key: "fullDocument", Value: bson.D{{Key: "_id", Value: one[1]}}}) // never published
	behind := w.insert(t, one[2])
	beside := w.insert(t, other[1])

	reason := w.awaitState(t, 1, waitingRewind)
	require.Contains(t, reason, "hole")
	require.Contains(t, reason, "; ", "a remedy follows")
	w.awaitSettled(t, checkpoint.Counters{Processed: 3})
	require.Nil(t, w.document(t, one[2]), "nothing behind it is applied")
	p.awaitReason(t, "partition 1 is WAITING_REWIND")

	met := w.reportOn(t, 1)
	require.NotNil(t, met.HoleGeneration)
	require.Zero(t, met.GetHoleGeneration())
	require.NotNil(t, met.Skipped)
	require.Equal(t, first.Event, met.GetEvent())
	require.Equal(t, []byte(first.ResumeToken), met.GetResumeToken())

	w.rewindTo(t, &lowest)

	for _, m := range []event.Message{first, second, lost, behind, beside} {
		w.again(t, m)
	}

	w.insert(t, other[2])

	w.awaitSettled(t, checkpoint.Counters{Processed: 6})
	p.awaitReady(t)
	w.requireDocuments(t, 6)

	// Those that had nothing behind the rewind follow by a marker.
	w.mark(t)
	require.Eventually(t, func() bool {
		for number, d := range w.checkpoints(t) {
			if d.Generation != 1 || d.LastCount() != w.counts[number] {
				return false
			}
		}

		return true
	}, patience, glance, "every checkpoint is of the new generation")

	require.NoError(t, p.end())
	require.Equal(t, checkpoint.Counters{Processed: 6}, w.settled(t))
}

// TestRewindThatBeginsTooLate is found: nobody goes on where events are missing.
func TestRewindThatBeginsTooLate(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)

	one := w.ids(t, 1, 3)
	w.insert(t, one[0])
	w.start(t, nil)
	w.awaitSettled(t, checkpoint.Counters{Processed: 1})

	w.counts[1]++ // one is lost
	late := w.insert(t, one[1])
	w.awaitState(t, 1, waitingRewind)

	w.rewindTo(t, &late)
	w.insert(t, one[2])

	require.Eventually(t, func() bool {
		r := w.reportOn(t, 1)

		return r.HoleGeneration != nil && r.GetHoleGeneration() == 1
	}, patience, glance)
	require.Nil(t, w.document(t, one[2]))
}

// TestTailThatWasLostAfterItWasApplied: the stream writes on with other events
// at the same sequences. Who trusts a sequence misses them.
func TestTailThatWasLostAfterItWasApplied(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct{ markers int }{
		"same events":                     {},
		"an idle marker in between":       {markers: 1},
		"markers at all of its sequences": {markers: 6},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)
			w.partitions = 1
			w.init(t)
			w.insert(t, "kept")
			w.mark(t)

			p := w.start(t, nil)
			w.awaitSettled(t, checkpoint.Counters{Processed: 1})

			kept := w.snapshot(t)
			tail := []event.Message{w.insert(t, "a"), w.insert(t, "b"), w.insert(t, "c")}
			w.awaitSettled(t, checkpoint.Counters{Processed: 4})

			w.setBack(t, kept)

			for range test.markers {
				w.last.ResumeToken = marshal(t, bson.D{{Key: "_data", Value: bson.NewObjectID()}}) // the token moves, no event
				w.mark(t)
			}

			for _, m := range tail {
				w.again(t, m)
			}

			for _, id := range []string{"d", "e", "f"} {
				w.insert(t, id)
			}

			w.awaitSettled(t, checkpoint.Counters{Processed: 7})
			p.awaitReady(t)
			w.requireDocuments(t, 7)
			require.NoError(t, p.end())
		})
	}
}

// TestStreamMadeAnewIsFoundWhileIdle: nothing is delivered that would tell.
func TestStreamMadeAnewIsFoundWhileIdle(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		again bool
		says  string
	}{
		"deleted":            {says: "was there before and is gone"},
		"deleted, made anew": {again: true, says: "made anew|is gone"}, // whichever was seen first; both stay
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)
			w.init(t)
			w.insertMany(t, 0)

			w.start(t, nil).awaitReady(t)
			w.awaitSettled(t, checkpoint.Counters{Processed: many})
			require.NoError(t, w.js.DeleteStream(t.Context(), topology.StreamName(w.flow)))

			if test.again {
				w.init(t)
				w.insertMany(t, 1000)
			}

			for number := range partitions {
				reason := w.awaitState(t, number, failed)
				require.Regexp(t, test.says, reason)
				require.Contains(t, reason, "restore the stream")
			}

			w.requireDocuments(t, many)
		})
	}
}

// TestHoleIsFoundWhileIdle: the next event is gone before it was read, and
// a marker counts it.
func TestHoleIsFoundWhileIdle(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.partitions = 1
	w.init(t)
	w.insert(t, "a")
	p := w.start(t, nil)
	w.awaitSettled(t, checkpoint.Counters{Processed: 1})

	w.counts[0]++ // one is lost
	w.mark(t)

	require.Contains(t, w.awaitState(t, 0, waitingRewind), "events 2 to 2 of partition 0 are missing")
	require.NoError(t, p.end())
}

// TestParkedEventsComeAgain in a later generation: they are not parked twice.
func TestParkedEventsComeAgain(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)
	w.validate(t)

	lowest := w.last
	one := w.ids(t, 1, 2)
	bad := w.insert(t, one[0], bson.E{Key: "bad", Value: 1})
	behind := w.insert(t, one[1])

	p := w.start(t, impatient("RETRY_DELAYS", "1h"))
	w.awaitSettled(t, checkpoint.Counters{Processed: 1})
	require.Len(t, w.parkedRecords(t), 1)

	w.rewindTo(t, &lowest)
	w.again(t, bad)
	w.again(t, behind)
	w.set(t, one[0], bson.E{Key: "v", Value: 2}) // a follower, of the new generation
	require.Eventually(t, func() bool { return len(w.parkedRecords(t)) == 2 }, patience, glance)

	records := w.parkedRecords(t)
	require.Equal(t, int64(bad.Event), records[0].Number)
	require.Equal(t, int64(bad.Event)+2, records[1].Number)
	require.Equal(t, int64(2), w.checkpoints(t)[1].Parked)
	require.Equal(t, int64(1), w.checkpoints(t)[1].Generation)
	require.NoError(t, p.end())
}
