package capture_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/capture"
)

// skipping makes the stream of a flow that skips others.
func (w *world) skipping(t *testing.T, flows ...string) *topology.Stream {
	t.Helper()

	require.NoError(t, w.source.Database("shop").CreateCollection(t.Context(), "orders"))

	return w.initWith(t, gib, topology.Settings{SkipOrigins: flows})
}

// apply writes documents as a flow's processor does.
func apply(t *testing.T, c *mongo.Client, name string, from, to int32) {
	t.Helper()

	session, err := c.StartSession()
	require.NoError(t, err)

	defer session.EndSession(t.Context())

	applyIn(t, session, name, from, to)
}

func applyIn(t *testing.T, session *mongo.Session, name string, from, to int32) {
	t.Helper()

	c := session.Client()

	_, err := session.WithTransaction(t.Context(), func(ctx context.Context) (any, error) {
		_, err := c.Database(checkpoint.Database).Collection(checkpoint.Collection).UpdateOne(ctx,
			bson.D{{Key: "_id", Value: checkpoint.ID(name, 3)}}, bson.D{{Key: "$inc", Value: bson.D{{Key: "commits", Value: 1}}}},
			options.UpdateOne().SetUpsert(true))
		if err != nil {
			return nil, err
		}

		documents := make([]any, 0, to-from)
		for id := from; id < to; id++ {
			documents = append(documents, bson.D{{Key: "_id", Value: id}})
		}

		return c.Database(orders.DB).Collection(orders.Coll).InsertMany(ctx, documents)
	})
	require.NoError(t, err)
}

// TestSkipsWhatTheFlowsWrote lets nobody, a skipped flow and another one write.
func TestSkipsWhatTheFlowsWrote(t *testing.T) {
	t.Parallel()

	w := newWorld(t, mongotest.Options{})
	stream := w.skipping(t, "back")
	l := w.listen(t, func(o *capture.Options) { o.MarkerIdle = time.Second })

	for round := range int32(5) {
		base := round * 100
		insert(t, w.source, orders, base, base+5)
		apply(t, w.source, "back", base+10, base+20)
		apply(t, w.source, "back", base+20, base+30) // the same session, perhaps: another number
		apply(t, w.source, "onward", base+30, base+35)
	}

	awaitTotal(t, stream, 5*30)
	l.stop()

	var want []int32

	for round := range int32(5) {
		want = append(want, sequence(round*100, round*100+5)...)
		want = append(want, sequence(round*100+30, round*100+35)...)
	}

	require.Equal(t, want, read(t, stream).ids(t, orders))

	tail, err := stream.Tail(t.Context())
	require.NoError(t, err)
	require.GreaterOrEqual(t, tail.Skipped, uint64(4*20), "the last ones may be after the tail")
}

// TestStopsWithinASkippedTransaction lets listeners with eager markers come and go all the time, while a skipped flow
// writes large transactions: none of their changes gets through, all of them are counted.
func TestStopsWithinASkippedTransaction(t *testing.T) {
	t.Parallel()

	const rounds, size = 15, 950 // a reply of the source ends within some of them

	w := newWorld(t, mongotest.Options{})
	stream := w.skipping(t, "back")
	eager := func(o *capture.Options) { o.MarkerIdle = time.Millisecond }

	for round := range int32(rounds) {
		apply(t, w.source, "back", round*size, round*size+size-1)
		insert(t, w.source, orders, round*size+size-1, round*size+size)

		// Somewhere in the middle of what was written.
		l := w.listen(t, eager)
		within := uint64(round*size + round*97%size)
		require.Eventually(t, func() bool { return l.Status().Total > within }, patience, time.Millisecond)
		l.stop()
	}

	w.listen(t, eager)
	awaitTotal(t, stream, rounds*size)

	var want []int32
	for round := range int32(rounds) {
		want = append(want, round*size+size-1)
	}

	c := read(t, stream)
	require.Equal(t, want, c.ids(t, orders))

	tail, err := stream.Tail(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(rounds*(size-1)), tail.Skipped)
	t.Logf("%d markers", len(c.markers))
}

// TestNoMarkerWithinASkippedTransaction holds every marker against the source: its token leads to no data of a
// transaction whose checkpoint lies before it.
func TestNoMarkerWithinASkippedTransaction(t *testing.T) {
	t.Parallel()

	w := newWorld(t, mongotest.Options{})
	stream := w.skipping(t, "back")
	w.listen(t, func(o *capture.Options) { o.MarkerIdle = time.Millisecond })

	const rounds, size = 20, 500

	for round := range int32(rounds) {
		apply(t, w.source, "back", round*size, round*size+size)
	}

	awaitTotal(t, stream, rounds*size)

	markers := read(t, stream).markers
	require.Greater(t, len(markers), 1)

	for i := range markers {
		require.Zero(t, markers[i].Event%size, "marker %d stands within a transaction", i)
	}
}

// TestGoesOnWithinATransaction begins at a marker that stands within a transaction, as it would after a source that
// answers a token without events there: the marker knows.
func TestGoesOnWithinATransaction(t *testing.T) {
	t.Parallel()

	for name, open := range map[string]bool{"known": true, "unknown": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t, mongotest.Options{})
			stream := w.skipping(t, "back")
			apply(t, w.source, "back", 0, 10)
			w.markWithin(t, stream, 4, open)
			w.listen(t, func(o *capture.Options) { o.MarkerIdle = 100 * time.Millisecond })
			awaitTotal(t, stream, 10)

			passed := read(t, stream).ids(t, orders)
			if open {
				require.Empty(t, passed)
			} else {
				require.Equal(t, sequence(4, 10), passed, "the test proves nothing")
			}
		})
	}
}

// markWithin publishes a marker behind the first n documents of the first transaction.
func (w *world) markWithin(t *testing.T, stream *topology.Stream, n int, open bool) {
	t.Helper()

	first, err := stream.Tail(t.Context())
	require.NoError(t, err)

	cursor, err := w.source.Watch(t.Context(), mongo.Pipeline{{{Key: "$changeStreamSplitLargeEvent", Value: bson.D{}}}},
		options.ChangeStream().SetShowExpandedEvents(true).SetResumeAfter(first.ResumeToken).SetBatchSize(1))
	require.NoError(t, err)

	defer cursor.Close(t.Context())

	var (
		last event.Event
		seen int
	)

	for seen < n && cursor.Next(t.Context()) {
		last, err = event.Parse(append(bson.Raw(nil), cursor.Current...))
		require.NoError(t, err)

		if last.Namespace == orders && last.Operation.IsDocument() {
			require.NotNil(t, last.Transaction.LSID)

			seen++
		}
	}

	require.Equal(t, n, seen)

	marker := &relayv1.Marker{Heads: make([]uint64, partitions), Filter: &relayv1.Filter{SkipOrigins: []string{"back"}}}
	if open {
		marker.OpenTransaction = &relayv1.OpenTransaction{Lsid: last.Transaction.LSID, TxnNumber: last.Transaction.Number, OriginFlow: "back"}
	}

	payload, err := proto.Marshal(marker)
	require.NoError(t, err)

	m := event.Message{
		Kind: event.KindMarker, StreamID: stream.StreamID, Writer: 7, ResumeToken: append(bson.Raw(nil), cursor.ResumeToken()...),
		Position: event.Position{T: last.ClusterTime.T, I: last.ClusterTime.I, Ordinal: 100},
		Event:    uint64(n), Skipped: uint64(n),
		Part: 1, Parts: 1, Attempt: 1, Size: len(payload), Payload: payload,
	}

	_, err = w.js.PublishMsg(t.Context(), event.Encode(flow, &m, first.ID))
	require.NoError(t, err)
}

// TestKnowsATransactionByItsSession begins where nothing tells of the open transaction but the session that its processor
// has left at the source: between events of others, as a mongos and the stand-ins mix them.
func TestKnowsATransactionByItsSession(t *testing.T) {
	t.Parallel()

	w := newWorld(t, mongotest.Options{})
	stream := w.skipping(t, "back")

	session, err := w.source.StartSession()
	require.NoError(t, err)

	defer session.EndSession(t.Context())

	subtype, id := session.ID().Lookup("id").Binary()
	require.NoError(t, checkpoint.RememberSession(t.Context(), w.source, "back", 3, bson.Binary{Subtype: subtype, Data: id}))
	applyIn(t, session, "back", 0, 10)
	w.markWithin(t, stream, 4, false)
	w.listen(t, func(o *capture.Options) { o.MarkerIdle = 100 * time.Millisecond })
	awaitTotal(t, stream, 10)
	require.Empty(t, read(t, stream).ids(t, orders))
}

// TestOriginsMustAgree starts a listener with another list than the stream's.
func TestOriginsMustAgree(t *testing.T) {
	t.Parallel()

	w := newWorld(t, mongotest.Options{})
	w.skipping(t, "a", "b")

	l := w.listen(t, func(o *capture.Options) { o.SkipOrigins = []string{"a"} })
	require.Contains(t, l.await(t, capture.Failed).Reason, "SKIP_ORIGINS")
	l.stop()

	w.listen(t, func(o *capture.Options) { o.SkipOrigins = []string{"b", "a"} }).await(t, capture.Streaming)
}
