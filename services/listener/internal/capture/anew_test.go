package capture_test

import (
	"slices"
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

// TestStreamMadeAnew deletes the stream under a listener: it goes on by itself
// with one that replaces it, and with no other.
func TestStreamMadeAnew(t *testing.T) {
	t.Parallel()

	w := newWorld(t, mongotest.Options{})
	stream := w.init(t, gib)
	l := w.listen(t, func(o *capture.Options) { o.GapPoll = 20 * time.Millisecond })

	captured := func(stream *topology.Stream, ids ...int32) {
		t.Helper()
		require.Eventually(t, func() bool { return slices.Equal(ids, read(t, stream).ids(t, orders)) }, patience, 50*time.Millisecond)
	}

	l.await(t, capture.Streaming)
	insert(t, w.source, orders, 1, 3)
	captured(stream, 1, 2)

	js := w.nats.JetStream(t)
	remake := func(of *topology.Stream, replaces string) *topology.Stream {
		t.Helper()
		require.NoError(t, js.DeleteStream(t.Context(), of.Name()))
		l.await(t, capture.Failed)

		s := of.Settings
		s.StreamID = topology.NewStreamID()
		anew, err := topology.Create(t.Context(), js, flow, s, gib)
		require.NoError(t, err)

		payload, err := proto.Marshal(&relayv1.Marker{Heads: make([]uint64, s.Partitions), ReplacesStreamId: replaces, AcceptedGap: "gap"})
		require.NoError(t, err)
		require.NoError(t, anew.PublishFirst(t.Context(), js, &event.Message{
			Kind: event.KindMarker, StreamID: s.StreamID, ResumeToken: tokenOf(t, w), Event: 2, Position: event.Position{T: 1},
			Part: 1, Parts: 1, Attempt: 1, Size: len(payload), Payload: payload,
		}))

		return anew
	}

	other := remake(stream, "another one")
	awaitRequests(t, js, other)
	require.Equal(t, capture.Failed, l.Status().State)

	require.Contains(t, l.Status().Reason, "relayctl flow accept-gap")
	anew := remake(other, stream.StreamID)
	l.await(t, capture.Streaming)
	insert(t, w.source, orders, 3, 5)
	captured(anew, 3, 4)
}
