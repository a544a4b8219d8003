package capture_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	mongoevent "go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/capture"
)

// TestLostHistoryAsksTheSourceNoMore holds a listener in HISTORY_LOST, through
// many looks for an accepted gap, and then has it go on behind one.
func TestLostHistoryAsksTheSourceNoMore(t *testing.T) {
	t.Parallel()

	w := newWorld(t, mongotest.Options{OplogMaxEntries: 100})
	stream := w.init(t, gib)
	forget(t, w)

	var asked atomic.Int64

	w.source = watched(t, w.mongo, &asked)
	l := w.listen(t, func(o *capture.Options) { o.GapPoll = 5 * time.Millisecond })

	reason := l.await(t, capture.HistoryLost).Reason
	require.Contains(t, reason, "message 1 of the stream")
	require.Contains(t, reason, "the oldest operation that the source still has")
	require.Contains(t, reason, "relayctl flow accept-gap")

	// A marker of another kind is no accepted gap.
	publishMarker(t, w, stream, tokenOf(t, w), &relayv1.Marker{})

	before := asked.Load()
	looks := w.nats.JetStream(t)
	awaitRequests(t, looks, stream)
	require.Equal(t, capture.HistoryLost, l.Status().State)
	require.Equal(t, before, asked.Load(), "the source was asked again")

	token := tokenOf(t, w)
	publishMarker(t, w, stream, token, &relayv1.Marker{AcceptedGap: "gap"})
	l.await(t, capture.Streaming)
	insert(t, w.source, orders, 1, 11)
	require.Eventually(t, func() bool { return len(read(t, stream).ids(t, orders)) == 10 }, patience, 50*time.Millisecond)
}

// awaitRequests gives the listener the time of many of its looks: each of ours
// is answered by the same server.
func awaitRequests(t *testing.T, js jetstream.JetStream, stream *topology.Stream) {
	t.Helper()

	for range 200 {
		_, err := js.Stream(t.Context(), stream.Name())
		require.NoError(t, err)
		time.Sleep(2 * time.Millisecond)
	}
}

func forget(t *testing.T, w *world) {
	t.Helper()

	for i := range int32(30) {
		insert(t, w.source, audit, i*1000, i*1000+1000)
	}
}

// watched is a client that counts the change streams it opens.
func watched(t *testing.T, server *mongotest.Server, asked *atomic.Int64) *mongo.Client {
	t.Helper()

	client, err := mongo.Connect(options.Client().ApplyURI(server.URI().Reveal()).SetMonitor(&mongoevent.CommandMonitor{
		Started: func(_ context.Context, e *mongoevent.CommandStartedEvent) {
			if e.CommandName == "aggregate" || e.CommandName == "getMore" {
				asked.Add(1)
			}
		},
	}))
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Disconnect(context.WithoutCancel(t.Context())) })

	return client
}

// tokenOf asks with a client of its own: the source's is being counted.
func tokenOf(t *testing.T, w *world) bson.Raw {
	t.Helper()

	other := *w
	other.source = connect(t, w.mongo)

	return other.presentToken(t)
}

// publishMarker publishes a marker behind the tail, as relayctl flow accept-gap does.
func publishMarker(t *testing.T, w *world, stream *topology.Stream, token bson.Raw, marker *relayv1.Marker) {
	t.Helper()
	publishMarkerOf(t, w, stream, 0, token, marker)
}

// publishMarkerOf is publishMarker of a generation.
func publishMarkerOf(t *testing.T, w *world, stream *topology.Stream, generation uint64, token bson.Raw, marker *relayv1.Marker) {
	t.Helper()

	tail, err := stream.Tail(t.Context())
	require.NoError(t, err)

	marker.Heads = make([]uint64, partitions)
	payload, err := proto.Marshal(marker)
	require.NoError(t, err)

	_, err = w.js.PublishMsg(t.Context(), event.Encode(flow, &event.Message{
		Kind: event.KindMarker, StreamID: stream.StreamID, Generation: generation, ResumeToken: token, Position: tail.Position,
		Event: tail.Event, Skipped: tail.Skipped, Part: 1, Parts: 1, Attempt: 1, Size: len(payload), Payload: payload,
	}, tail.ID), jetstream.WithExpectLastSequence(tail.Sequence))
	require.NoError(t, err)
}
