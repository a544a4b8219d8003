package flow_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/gap"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/flow"
)

// newHoleWorld is a flow of 4 partitions whose stream has a hole. Its source has forgotten what follows message 1, the lowest
// checkpoint, and has what follows the tail. Of 30 events 5 were left out by the listener, 20 are settled or parked.
func newHoleWorld(t *testing.T, more ...string) *world {
	t.Helper()

	w := newForgetfulWorld(t, more...)
	first, err := w.open(t).Tail(t.Context())
	require.NoError(t, err)

	for number, counters := range []checkpoint.Counters{{Processed: 7, Batches: 3}, {Processed: 5, Failed: 1}, {Processed: 4, Skipped: 2}, {}} {
		place := checkpoint.PlaceOf(&first.Message, first.Sequence)
		place.Event, place.Skipped, place.Position = int64(number), new(int64(1)), event.Position{T: uint32(100 + number)}
		d := checkpoint.Document{
			ID: checkpoint.ID(w.flow(), number), Flow: w.flow(), Partition: number, Epoch: 3, Owner: 4, Commits: 9, Place: place, Counters: counters,
		}

		if number == 1 {
			d.Parked = 1
		}

		_, err := checkpoint.Checkpoints(w.target).InsertOne(t.Context(), d)
		require.NoError(t, err)
	}

	t.Cleanup(func() {
		_, _ = checkpoint.Checkpoints(w.target).DeleteMany(context.WithoutCancel(t.Context()), bson.D{{Key: "flow", Value: w.flow()}})
	})

	w.forget(t)
	w.mark(t, 30, 5)
	w.reportHole(t)

	return w
}

// mark publishes a marker with the source's present token, as a listener does that has counted so many events.
func (w *world) mark(t *testing.T, number, skipped uint64) topology.Stored {
	t.Helper()

	stream := w.open(t)
	last, err := stream.Tail(t.Context())
	require.NoError(t, err)

	payload, err := proto.Marshal(&relayv1.Marker{Heads: []uint64{8, 7, 5, 5}, Filter: &relayv1.Filter{Include: []string{"shop.*"}}})
	require.NoError(t, err)

	token, err := bson.Marshal(bson.D{{Key: "_data", Value: w.tokenOf(t)}})
	require.NoError(t, err)

	m := last.Message
	m.Kind, m.Writer, m.Event, m.Skipped, m.ResumeToken, m.Position = event.KindMarker, 1, number, skipped, token, event.Position{T: 1000 + uint32(last.Sequence)}
	m.Size, m.Payload = len(payload), payload

	_, err = stream.PublishAfter(t.Context(), w.nats.JetStream(t), last, &m)
	require.NoError(t, err)

	tail, err := stream.Tail(t.Context())
	require.NoError(t, err)

	return tail
}

// reportHole puts what a processor says whose partition 2 met a hole.
func (w *world) reportHole(t *testing.T) {
	t.Helper()

	bucket, err := w.nats.JetStream(t).KeyValue(t.Context(), topology.StatsBucket)
	require.NoError(t, err)

	value, err := proto.Marshal(&relayv1.ProcessorReport{Flow: w.flow(), Partitions: []*relayv1.PartitionReport{
		{Partition: 2, Epoch: 3, StreamId: w.open(t).StreamID, HoleGeneration: new(uint64(0)), Reason: "hole met"},
	}})
	require.NoError(t, err)

	_, err = bucket.Put(t.Context(), topology.ProcessorReportKey(w.flow(), "p"), value)
	require.NoError(t, err)
}

// checkpoints are those of the flow, by partition.
func (w *world) checkpoints(t *testing.T) map[int]checkpoint.Document {
	t.Helper()

	held, err := checkpoint.Load(t.Context(), w.target, w.flow())
	require.NoError(t, err)

	return held
}

// recorded are the records of the flow's gaps.
func (w *world) recorded(t *testing.T) []gap.Document {
	t.Helper()

	documents, err := gap.Load(t.Context(), w.target, w.flow())
	require.NoError(t, err)

	return documents
}

// TestHoleThatTheSourceCannotHealIsPassed: the source has what follows the tail, so nothing behind it is missing; what the
// hole has swallowed it has not. The gap ends at the tail, and a new generation begins there.
func TestHoleThatTheSourceCannotHealIsPassed(t *testing.T) {
	t.Parallel()

	w := newHoleWorld(t)
	stream := w.open(t)
	tail, err := stream.Tail(t.Context())
	require.NoError(t, err)

	before := w.checkpoints(t)

	shown, err := w.acceptGapAs(t, flow.GapRequest{By: operator, DryRun: true})
	require.NoError(t, err)
	require.Equal(t, int64(5), shown.Gap.Lost)
	require.Empty(t, w.gaps(t), "a dry run records nothing")
	require.Equal(t, before, w.checkpoints(t), "and fences nobody")

	accepted, err := w.acceptGap(t, "")
	require.NoError(t, err)
	require.Equal(t, "closed", accepted.Gap.State)
	require.Equal(t, int64(5), accepted.Gap.Lost)
	require.Equal(t, before[0].Position.String(), accepted.Gap.From)

	m, err := stream.Tail(t.Context())
	require.NoError(t, err)
	require.Equal(t, tail.Sequence+1, m.Sequence)
	require.Equal(t, tail.ResumeToken, m.ResumeToken)
	require.GreaterOrEqual(t, m.Position.Compare(tail.Position), 0)
	require.Equal(t, []uint64{25, 5, 1}, []uint64{m.Event, m.Skipped, m.Generation}, "what is settled, and what the listener left out")

	marker, err := m.Marker()
	require.NoError(t, err)
	require.Equal(t, accepted.Gap.ID, marker.GetAcceptedGap())
	require.Equal(t, make([]uint64, 4), marker.GetHeads(), "a generation counts from one")
	require.Equal(t, []string{"shop.*"}, marker.GetFilter().GetInclude())

	for number, d := range w.checkpoints(t) {
		require.Equal(t, &checkpoint.GapAhead{ID: accepted.Gap.ID, After: int64(tail.Sequence)}, d.Gap)
		require.Greater(t, d.Epoch, before[number].Epoch, "whoever had it commits nothing any more")
		require.NotEqual(t, before[number].Owner, d.Owner)
		require.Equal(t, before[number].Place, d.Place)
		require.Equal(t, before[number].Counters, d.Counters)
	}

	_, err = w.acceptGap(t, "")
	requireRefused(t, err, "there is no gap")
	require.Len(t, w.gaps(t), 1)
}

// marker is the stream's last one.
func (w *world) marker(t *testing.T) (*relayv1.Marker, error) {
	t.Helper()

	last, err := w.open(t).LastMarker(t.Context())
	require.NoError(t, err)

	return last.Marker()
}

// TestHoleThatIsPassedWhereTheSourceLacksMore: it has not what follows the tail either, so the gap ends where it can be read.
func TestHoleThatIsPassedWhereTheSourceLacksMore(t *testing.T) {
	t.Parallel()

	w := newHoleWorld(t)
	tail, err := w.open(t).Tail(t.Context())
	require.NoError(t, err)

	_, err = w.acceptGap(t, "now")
	requireRefused(t, err, "would leave out more than is lost", "leave --at out")
	require.Empty(t, w.gaps(t))
	w.requireFenced(t, "")

	w.forget(t)

	accepted, err := w.acceptGap(t, "now")
	require.NoError(t, err)
	require.Equal(t, w.checkpoints(t)[0].Position.String(), accepted.Gap.From)

	insert(t, w, "behind the gap")

	m, err := w.open(t).Tail(t.Context())
	require.NoError(t, err)
	require.Equal(t, []uint64{tail.Sequence + 1, 25, 1}, []uint64{m.Sequence, m.Event, m.Generation})
	require.Contains(t, w.idsAfter(t, m.ResumeToken), "behind the gap")
}

// TestHoleThatTheListenerHeals is no gap: it only takes the listener, which may have given up when more was lost.
func TestHoleThatTheListenerHeals(t *testing.T) {
	t.Parallel()

	w := newHoleWorld(t, "DDL", "off")
	tail, err := w.open(t).Tail(t.Context())
	require.NoError(t, err)

	_, err = checkpoint.Checkpoints(w.target).UpdateMany(t.Context(), bson.D{{Key: "flow", Value: w.flow()}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "place.resume_token", Value: tail.ResumeToken}}}})
	require.NoError(t, err)

	_, err = w.acceptGap(t, "")
	requireRefused(t, err, "hole met", "the lowest checkpoint, that of partition 0", "restart the listener")
	require.Empty(t, w.gaps(t))
	w.requireFenced(t, "")
}

// TestHoleInAFlowWithSchemaChanges: its rewind begins at a marker, whose token may be lost although the checkpoint's is not.
func TestHoleInAFlowWithSchemaChanges(t *testing.T) {
	t.Parallel()

	w := newHoleWorld(t, "DDL", "on")
	tail, err := w.open(t).Tail(t.Context())
	require.NoError(t, err)

	_, err = checkpoint.Checkpoints(w.target).UpdateMany(t.Context(), bson.D{{Key: "flow", Value: w.flow()}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "place.resume_token", Value: tail.ResumeToken}}}})
	require.NoError(t, err)
	require.NoError(t, w.db.CreateCollection(t.Context(), "log", options.CreateCollection().SetCapped(true).SetSizeInBytes(4096)))

	_, err = w.acceptGap(t, "")
	require.NoError(t, err)

	marker, err := w.marker(t)
	require.NoError(t, err)
	require.Len(t, marker.GetPinned(), 1, "the routing table is that of the catalog")
	require.Equal(t, "log", marker.GetPinned()[0].GetNamespace().GetCollection())
	require.Zero(t, marker.GetLastBarrier())
}

// TestHoleWithoutACheckpointIsNotPassed: what is applied of the partition is not known.
func TestHoleWithoutACheckpointIsNotPassed(t *testing.T) {
	t.Parallel()

	w := newHoleWorld(t)
	_, err := checkpoint.Checkpoints(w.target).DeleteOne(t.Context(), bson.D{{Key: "_id", Value: checkpoint.ID(w.flow(), 2)}})
	require.NoError(t, err)

	_, err = w.acceptGap(t, "")
	requireRefused(t, err, "partition 2 has no checkpoint", "start a processor")
	require.Empty(t, w.gaps(t))
}
