package ownership

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/pause"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// TestPauseIsKnownBeforeAnythingIsOwned: a processor that starts while the flow is paused must not write until it looks for a
// pause for the first time.
func TestPauseIsKnownBeforeAnythingIsOwned(t *testing.T) {
	t.Parallel()

	flow := "paused-" + strconv.FormatInt(time.Now().UnixNano(), 36) // a given server keeps what earlier runs left
	target, js := mongotest.Shared(t).Client(t), natstest.New(t).JetStream(t)

	stream, err := topology.Create(t.Context(), js, flow, topology.Settings{StreamID: topology.NewStreamID(), Partitions: 1}, 1<<20)
	require.NoError(t, err)

	payload, err := proto.Marshal(&relayv1.Marker{Heads: make([]uint64, stream.Partitions)})
	require.NoError(t, err)
	require.NoError(t, stream.PublishFirst(t.Context(), js, &event.Message{
		Kind: event.KindMarker, StreamID: stream.StreamID, ResumeToken: bson.Raw{5, 0, 0, 0, 0},
		Part: 1, Parts: 1, Attempt: 1, Size: len(payload), Payload: payload,
	}))

	_, err = pause.Begin(t.Context(), target, flow, pause.Pause{By: "ann", Since: time.Now()})
	require.NoError(t, err)

	m := NewMember(js, StoreOf(target), Options{Flow: flow})
	require.NoError(t, m.Open(t.Context()))
	require.True(t, m.pausing.isHeld(), "it may own partitions from here on")
}

// TestPausedNamespaceWaitsAside: its changes are parked in order, without a try; those of others pass.
func TestPausedNamespaceWaitsAside(t *testing.T) {
	t.Parallel()
	inEveryMode(t, 1, func(t *testing.T, w *world) {
		t.Helper()
		w.validate(t)

		s := w.partitions[0]

		w.put(t, 0, "a", v(0))
		w.put(t, 0, "bad", bad(1))
		s.deliver(t, 2)

		w.want(pause.Namespace{DB: w.ns.DB})
		w.set(t, 0, "a", "v", 1)
		w.set(t, 0, "a", "v", 2)
		w.put(t, 0, "b", v(1))
		w.set(t, 0, "bad", "v", 1)
		s.deliver(t, 10)

		waiting := []string{"2 waiting failed 1", "3 waiting paused 0", "4 waiting follows 0", "5 waiting paused 0", "6 waiting follows 0"}
		require.Equal(t, waiting, w.parkedStates(t))

		_, due := s.parked.Due()
		require.False(t, due)
		s.retry(t)
		s.acquire(t, 0) // a new owner holds them, too
		s.retry(t)
		require.Equal(t, waiting, w.parkedStates(t), "no try is made")
		require.Equal(t, bson.D{v32(0)}, w.document(t, "a"))
		require.Nil(t, w.document(t, "b"))
		w.requireCounted(t)

		elsewhere := w.ns
		w.ns.DB += "2" // in the same partition
		w.put(t, 0, "c", v(7))
		s.deliver(t, 10)
		require.Equal(t, bson.D{v32(7)}, w.document(t, "c"), "nobody waits for it")
		require.NoError(t, w.client.Database(w.ns.DB).Drop(t.Context()))

		w.ns = elsewhere
		w.want()

		at, due := s.parked.Due()
		require.True(t, due)
		require.False(t, at.After(time.Now()), "at once")
		s.retry(t)
		require.Equal(t, bson.D{v32(2)}, w.document(t, "a"))
		require.Equal(t, bson.D{v32(1)}, w.document(t, "b"))
		require.Equal(t, []string{"2 waiting failed 2", "6 waiting follows 0"}, w.parkedStates(t))
	})
}

// TestPauseStopsWhatHasNotBegun: a batch at hand waits as it is, and tries are put off.
func TestPauseStopsWhatHasNotBegun(t *testing.T) {
	t.Parallel()
	inEveryMode(t, 1, func(t *testing.T, w *world) {
		t.Helper()
		w.validate(t)

		s := w.partitions[0]

		w.put(t, 0, "bad", bad(1))
		s.deliver(t, 1)
		w.put(t, 0, "a", v(0))

		batch := s.gather(t, 10)
		before := w.sum(t)

		require.True(t, w.owner.pausing.set(&pause.Document{Pause: &pause.Pause{By: "ann"}}))
		require.ErrorIs(t, s.settleBatch(s.ctx, s.ctx, batch), errHeld)
		require.ErrorIs(t, s.tryParked(s.ctx, s.ctx, later()), errHeld)
		require.Equal(t, before, w.sum(t))
		require.Equal(t, []string{"1 waiting failed 1"}, w.parkedStates(t))

		goOn := new(pause.Document)
		require.True(t, w.owner.pausing.set(goOn))
		s.follow(goOn)
		require.NoError(t, s.settleBatch(s.ctx, s.ctx, batch))
		require.Equal(t, bson.D{v32(0)}, w.document(t, "a"))
		s.retry(t)
		require.Equal(t, []string{"1 waiting failed 2"}, w.parkedStates(t), "it is tried again")
	})
}
