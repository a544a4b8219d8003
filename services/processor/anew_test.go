package main

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// loseStream deletes the stream and makes it anew, without a message.
func (w *world) loseStream(t *testing.T) (old string) {
	t.Helper()

	old = w.stream.StreamID
	require.NoError(t, w.js.DeleteStream(t.Context(), w.stream.Name()))

	settings := w.stream.Settings
	settings.StreamID = topology.NewStreamID()

	var err error
	w.stream, err = topology.Create(t.Context(), w.js, w.flow, settings, 4<<30)
	require.NoError(t, err)

	return old
}

// replaceStream publishes message 1 of a stream made anew, as accept-gap does.
func (w *world) replaceStream(t *testing.T, replaces string, number, skipped uint64, position event.Position) {
	t.Helper()

	payload, err := proto.Marshal(&relayv1.Marker{Heads: make([]uint64, w.partitions), ReplacesStreamId: replaces, AcceptedGap: "gap"})
	require.NoError(t, err)

	w.counts = [partitions]uint64{}
	w.last = event.Message{
		Kind: event.KindMarker, StreamID: w.stream.StreamID, Writer: 1, ResumeToken: marshal(t, bson.D{{Key: "_data", Value: "ff"}}),
		Event: number, Skipped: skipped, Position: position,
		Part: 1, Parts: 1, Attempt: 1, Size: len(payload), Payload: payload,
	}
	require.NoError(t, w.stream.PublishFirst(t.Context(), w.js, &w.last))
	w.lastID = w.last.ID()
}

// requireRebased waits until every partition, idle ones too, is on the new stream.
func (w *world) requireRebased(t *testing.T) {
	t.Helper()

	require.Eventually(t, func() bool {
		held := w.checkpoints(t)
		for _, d := range held {
			if d.StreamID != w.stream.StreamID {
				return false
			}
		}

		return len(held) == w.partitions
	}, patience, glance)
}

// TestOwnersGoOnWithAStreamMadeAnew deletes the stream under running processors,
// with an event parked, and makes it anew: everybody re-bases, idle partitions
// too; counters and what is parked stay.
func TestOwnersGoOnWithAStreamMadeAnew(t *testing.T) {
	t.Parallel()

	for name, running := range map[string]bool{"running": true, "stopped": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)
			w.init(t)

			db := w.target.Database(w.ns.DB)
			w.validate(t)

			env := impatient("MAX_RETRIES", "100", "RETRY_DELAYS", "1s")
			p := w.start(t, env)
			p.awaitReady(t)

			ids := w.ids(t, 1, 4)
			w.insert(t, ids[0])
			w.insert(t, ids[1], bson.E{Key: "bad", Value: 1})
			w.set(t, ids[1], bson.E{Key: "v", Value: 1})
			w.awaitParked(t, 2)
			w.awaitSettled(t, checkpoint.Counters{Processed: 1})

			if !running {
				require.NoError(t, p.end())
			}

			highest := w.last.Position
			old := w.loseStream(t)

			if running {
				w.awaitState(t, 1, relayv1.PartitionState_PARTITION_STATE_FAILED)
			} else {
				p = w.start(t, env)
				require.Contains(t, w.awaitState(t, 1, relayv1.PartitionState_PARTITION_STATE_PAUSED), "accept-gap has not finished")
			}

			// 3 events are settled or parked.
			w.replaceStream(t, old, 3, 0, event.Position{T: highest.T + 1})
			w.requireRebased(t)
			w.awaitParked(t, 2)

			for _, d := range w.checkpoints(t) {
				require.Equal(t, []int64{1, 3, 0, 0}, []int64{d.Sequence, d.Event, d.Count, d.Generation})
			}

			require.NoError(t, db.RunCommand(t.Context(), bson.D{{Key: "collMod", Value: w.ns.Coll}, {Key: "validator", Value: bson.D{}}}).Err())
			w.awaitParked(t, 0)
			w.awaitSettled(t, checkpoint.Counters{Processed: 3})

			later := w.next(t, event.Insert, ids[2], bson.E{Key: "fullDocument", Value: bson.D{{Key: "_id", Value: ids[2]}}})
			w.publishAt(t, later, event.Position{T: highest.T + 2})
			w.awaitSettled(t, checkpoint.Counters{Processed: 4})
			require.Equal(t, uint64(4), w.last.Event)
			require.NotNil(t, w.document(t, ids[2]))
			p.awaitReady(t)
		})
	}
}

func (w *world) awaitParked(t *testing.T, want int64) {
	t.Helper()
	require.Eventually(t, func() bool {
		n := int64(0)
		for _, d := range w.checkpoints(t) {
			n += d.Parked
		}

		return n == want
	}, patience, glance)
}

// publishAt publishes an event that next has made, with another position.
func (w *world) publishAt(t *testing.T, m event.Message, position event.Position) {
	t.Helper()

	m.Position = position

	_, err := w.js.PublishMsg(t.Context(), event.Encode(w.flow, &m, w.lastID))
	require.NoError(t, err)

	w.lastID, w.last = m.ID(), m
}

// TestOwnersDoNotTrustAnyOtherStream: one that replaces a stranger, or begins
// below what is applied.
func TestOwnersDoNotTrustAnyOtherStream(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		replaces func(old string) string
		below    bool // a checkpoint
		reason   string
	}{
		"of another stream":  {func(string) string { return "other" }, false, "belongs to another stream"},
		"below a checkpoint": {func(old string) string { return old }, true, "message 1 of stream id"},
		"one of several":     {func(old string) string { return "other " + old }, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)
			w.init(t)

			p := w.start(t, nil)
			p.awaitReady(t)

			id := w.ids(t, 1, 1)[0]
			w.insert(t, id)
			w.awaitSettled(t, checkpoint.Counters{Processed: 1})
			require.NoError(t, p.end())

			old := w.loseStream(t)

			position := event.Position{T: w.last.Position.T + 1}
			if test.below {
				position.T -= 2
			}

			w.replaceStream(t, test.replaces(old), 1, 0, position)
			w.start(t, nil)

			if test.reason == "" {
				w.requireRebased(t)

				return
			}

			reason := w.awaitState(t, 1, relayv1.PartitionState_PARTITION_STATE_FAILED)
			require.Contains(t, reason, test.reason)
			require.Equal(t, old, w.checkpoints(t)[1].StreamID)
		})
	}
}

// TestPartitionAcquiredAcrossAGap: behind a marker with an accepted gap in the
// same stream an owner goes on as behind any other, whichever process it is.
func TestPartitionAcquiredAcrossAGap(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)

	ids := w.ids(t, 1, 3)
	p := w.start(t, nil)
	w.insert(t, ids[0])
	w.awaitSettled(t, checkpoint.Counters{Processed: 1})
	require.NoError(t, p.end())

	w.insert(t, ids[1]) // captured, not applied, before the gap
	w.last.Position.T += 100
	w.mark(t)

	behind := w.next(t, event.Insert, ids[2], bson.E{Key: "fullDocument", Value: bson.D{{Key: "_id", Value: ids[2]}}})
	w.publishAt(t, behind, event.Position{T: w.last.Position.T + 200})

	w.start(t, nil)
	w.awaitSettled(t, checkpoint.Counters{Processed: 3})

	for _, id := range ids {
		require.NotNil(t, w.document(t, id))
	}
}
