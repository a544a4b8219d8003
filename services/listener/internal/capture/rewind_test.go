package capture_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/capture"
)

// reportHole puts what a processor says that owns all partitions, whose
// checkpoints are at this message, and that met a hole.
func (w *world) reportHole(t *testing.T, at *topology.Stored, token []byte) {
	t.Helper()

	bucket, err := w.js.KeyValue(t.Context(), topology.StatsBucket)
	require.NoError(t, err)

	r := &relayv1.ProcessorReport{Flow: flow}
	for number := range uint32(partitions) {
		r.Partitions = append(r.Partitions, &relayv1.PartitionReport{
			Partition: number, Epoch: 1, Sequence: at.Sequence, Generation: at.Generation, ResumeToken: token,
			Event: at.Event, Skipped: new(at.Skipped),
			Position: &relayv1.Position{Seconds: at.Position.T, Increment: at.Position.I, Ordinal: at.Position.Ordinal},
		})
	}

	r.Partitions[1].HoleGeneration = new(uint64(0))
	r.Partitions[1].Reason = "hole met"

	value, err := proto.Marshal(r)
	require.NoError(t, err)

	_, err = bucket.Put(t.Context(), topology.ProcessorReportKey(flow, "p"), value)
	require.NoError(t, err)
}

// TestHoleIsHealedByPublishingAgain: a new generation begins at the lowest
// checkpoint, counts from one, and has every event behind it.
func TestHoleIsHealedByPublishingAgain(t *testing.T) {
	t.Parallel()

	w := newWorld(t, mongotest.Options{})
	stream := w.init(t, gib)
	l := w.listen(t, nil)
	l.await(t, capture.Streaming)

	require.NoError(t, w.source.Database(orders.DB).CreateCollection(t.Context(), orders.Coll))
	insert(t, w.source, orders, 0, 10)
	awaitTotal(t, stream, 11)

	at, err := stream.At(t.Context(), 5) // message 1, the creation, three inserts
	require.NoError(t, err)
	require.Equal(t, uint64(4), at.Event)

	state, _, err := stream.State(t.Context())
	require.NoError(t, err)

	var again []topology.Stored

	require.Eventually(t, func() bool {
		w.reportHole(t, &at, at.ResumeToken) // as a processor does, every few seconds

		again = nil

		for sequence := state.LastSeq + 1; ; sequence++ {
			m, err := stream.At(t.Context(), sequence)
			if err != nil {
				break
			}

			if m.Generation == 1 {
				again = append(again, m)
			}
		}

		return len(again) >= 8
	}, patience, 200*time.Millisecond)

	require.Equal(t, event.KindMarker, again[0].Kind)
	require.Equal(t, at.Position, again[0].Position)
	require.Equal(t, at.Event, again[0].Event)

	marker := new(relayv1.Marker)
	require.NoError(t, proto.Unmarshal(again[0].Payload, marker))
	require.Equal(t, make([]uint64, partitions), marker.GetHeads())

	var counts [partitions]uint64

	for i, m := range again[1:8] {
		counts[m.Partition]++
		require.Equal(t, at.Event+uint64(i)+1, m.Event)
		require.Equal(t, counts[m.Partition], m.Count)

		e, err := event.Parse(m.Payload)
		require.NoError(t, err)
		require.Equal(t, int32(i+3), e.ID().Int32())
	}

	// It is over: the old report asks for nothing, and the next events follow.
	insert(t, w.source, orders, 10, 20)
	awaitTotal(t, stream, 21)
	l.stop()

	tail, err := stream.Tail(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(1), tail.Generation)
}

// TestHoleThatTheSourceCannotHeal is a terminal state that names what is missing. The listener leaves it behind an accepted gap,
// and one that is started later, which hears of the hole still, has nothing to rewind either.
func TestHoleThatTheSourceCannotHeal(t *testing.T) {
	t.Parallel()

	w := newWorld(t, mongotest.Options{OplogMaxEntries: 100})
	stream := w.init(t, gib)

	first, err := stream.At(t.Context(), 1)
	require.NoError(t, err)

	l := w.listen(t, func(o *capture.Options) { o.GapPoll = 20 * time.Millisecond })
	l.await(t, capture.Streaming)

	for i := range int32(30) {
		insert(t, w.source, orders, i*100, i*100+100)
		require.Eventually(t, func() bool { return l.Status().Total >= uint64(i+1)*100 }, patience, 10*time.Millisecond)
	}

	require.Eventually(t, func() bool {
		w.reportHole(t, &first, first.ResumeToken)

		return l.Status().State == capture.HistoryLost
	}, patience, 200*time.Millisecond)

	reason := l.Status().Reason
	require.Contains(t, reason, "hole met")
	require.Contains(t, reason, "behind event 0")
	require.Contains(t, reason, "up to event 3")
	require.Contains(t, reason, "relayctl flow accept-gap")
	require.NotContains(t, reason, "are missing until", "what follows the tail is there")

	tail, err := stream.Tail(t.Context())
	require.NoError(t, err)
	publishMarkerOf(t, w, stream, 1, tail.ResumeToken, &relayv1.Marker{AcceptedGap: "gap"})
	l.await(t, capture.Streaming)

	insert(t, w.source, orders, 5000, 5010)
	require.Eventually(t, func() bool { return len(eventsOf(t, stream, 1)) == 10 }, patience, 50*time.Millisecond)

	l.stop()
	insert(t, w.source, orders, 5010, 5020)

	l = w.listen(t, nil)
	l.await(t, capture.Streaming)
	w.reportHole(t, &first, first.ResumeToken)
	require.Eventually(t, func() bool { return len(eventsOf(t, stream, 1)) == 20 }, patience, 50*time.Millisecond)
	require.Equal(t, capture.Streaming, l.Status().State)
	require.Equal(t, tail.Event+20, l.Status().Total)
	require.Empty(t, eventsOf(t, stream, 2))
}

// eventsOf are the events of the stream's last generation, if it is this one or a later one.
func eventsOf(t *testing.T, stream *topology.Stream, generation uint64) (found []topology.Stored) {
	t.Helper()

	state, _, err := stream.State(t.Context())
	require.NoError(t, err)

	for sequence := state.LastSeq; sequence >= state.FirstSeq; sequence-- {
		m, err := stream.At(t.Context(), sequence)
		require.NoError(t, err)

		if m.Generation < generation {
			break
		}

		if m.Kind == event.KindEvent {
			found = append(found, m)
		}
	}

	return found
}

// TestNothingFollowsATailThatLacksEvents: the tail counts an event that is in no partition, and the server says nothing of
// a loss. Whoever went on would give its count to the next one, and no reader would miss it.
func TestNothingFollowsATailThatLacksEvents(t *testing.T) {
	t.Parallel()

	w := newWorld(t, mongotest.Options{})
	stream := w.init(t, gib)

	tail, err := stream.Tail(t.Context())
	require.NoError(t, err)

	m := tail.Message
	m.Kind, m.Partition, m.Count, m.Payload, m.Size = event.KindEvent, 1, 1, []byte{5, 0, 0, 0, 0}, 5
	m.Event = 2 // the first one was in another partition
	m.Position = event.Position{T: uint32(time.Now().Unix()), I: 1}
	m.Namespace = orders

	_, err = w.js.PublishMsg(t.Context(), event.Encode(flow, &m, tail.ID))
	require.NoError(t, err)

	l := w.listen(t, nil)
	insert(t, w.source, orders, 0, 1)

	var status capture.Status

	require.Eventually(t, func() bool {
		status = l.Status()

		return status.State == capture.Streaming || status.State == capture.Waiting
	}, patience, 10*time.Millisecond)
	require.Equal(t, capture.Waiting, status.State)
	require.Contains(t, status.Reason, "the stream lacks messages: 1 events")

	state, _, err := stream.State(t.Context())
	require.NoError(t, err)
	require.Equal(t, tail.Sequence+1, state.LastSeq)
}

// TestStreamDeletedWhileIdle: nothing is published that would tell.
func TestStreamDeletedWhileIdle(t *testing.T) {
	t.Parallel()

	w := newWorld(t, mongotest.Options{})
	w.init(t, gib)
	l := w.listen(t, func(o *capture.Options) { o.MarkerIdle = time.Hour })
	l.await(t, capture.Streaming)

	require.NoError(t, w.js.DeleteStream(t.Context(), topology.StreamName(flow)))
	require.Contains(t, l.await(t, capture.Failed).Reason, "restore it from a backup")
}
