package capture_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/capture"
)

func TestCaptureWaitsOutNATS(t *testing.T) {
	t.Parallel()

	inEachMode(t, func(t *testing.T, mode topology.PublishMode) {
		t.Helper()

		w := newWorld(t, mongotest.Options{})
		stream := w.initAs(t, mode, gib)
		l := w.listen(t, nil)
		l.await(t, capture.Streaming)

		for round := range int32(3) {
			insert(t, w.source, orders, round*1000, round*1000+500)
			w.nats.Stop()
			insert(t, w.source, orders, round*1000+500, round*1000+1000)
			l.await(t, capture.Waiting)
			require.NoError(t, w.nats.Resume())
			l.await(t, capture.Streaming)
		}

		awaitTotal(t, stream, 3001)
		require.Equal(t, sequence(0, 3000), read(t, stream).ids(t, orders))
	})
}

func TestCaptureWaitsOutTheSource(t *testing.T) {
	t.Parallel()

	inEachMode(t, func(t *testing.T, mode topology.PublishMode) {
		t.Helper()

		w := newWorld(t, mongotest.Options{SyncOnCommit: true})
		stream := w.initAs(t, mode, gib)
		l := w.listen(t, nil)
		l.await(t, capture.Streaming)

		insert(t, w.source, orders, 0, 200)
		require.NoError(t, w.mongo.Kill())
		require.Contains(t, l.await(t, capture.Stalled).Reason, "change stream")
		require.NoError(t, w.mongo.Restart(t.Context()))
		l.await(t, capture.Streaming)
		insert(t, w.source, orders, 200, 400)

		awaitTotal(t, stream, 401)
		require.Equal(t, sequence(0, 400), read(t, stream).ids(t, orders))
	})
}

// TestCaptureNoticesASourceThatHangs freezes the source: nothing is closed and
// nothing answers.
func TestCaptureNoticesASourceThatHangs(t *testing.T) {
	t.Parallel()

	w := newWorld(t, mongotest.Options{})
	stream := w.init(t, gib)
	l := w.listen(t, func(o *capture.Options) { o.ReplyTimeout = time.Second })
	l.await(t, capture.Streaming)
	insert(t, w.source, orders, 0, 10)
	awaitTotal(t, stream, 11)

	require.NoError(t, w.mongo.Freeze(t.Context()))
	l.await(t, capture.Stalled)
	require.NoError(t, w.mongo.Thaw())
	l.await(t, capture.Streaming)

	require.Eventually(t, func() bool { // connections that the freeze broke are found one by one
		_, err := w.source.Database("shop").Collection("orders").InsertOne(t.Context(), bson.D{{Key: "_id", Value: int32(10)}})

		return err == nil || mongodb.IsDuplicateKey(err)
	}, patience, 50*time.Millisecond)
	awaitTotal(t, stream, 12)
	require.Equal(t, sequence(0, 11), read(t, stream).ids(t, orders))
}

func TestCaptureWaitsForRoomInTheStream(t *testing.T) {
	t.Parallel()

	inEachMode(t, func(t *testing.T, mode topology.PublishMode) {
		t.Helper()

		w := newWorld(t, mongotest.Options{})
		stream := w.initAs(t, mode, 64<<10)
		l := w.listen(t, nil)

		insert(t, w.source, orders, 0, 1000)
		// The refusal itself may be answered on a message that asked for no reply;
		// then the broken chain is seen first, and the reason at the next attempt.
		require.Eventually(t, func() bool {
			status := l.Status()

			return status.State == capture.Waiting && strings.Contains(status.Reason, "max_bytes")
		}, patience, 10*time.Millisecond)

		_, live, err := stream.State(t.Context())
		require.NoError(t, err)

		live.MaxBytes = gib
		_, err = w.js.UpdateStream(t.Context(), live)
		require.NoError(t, err)

		awaitTotal(t, stream, 1001)
		require.Equal(t, sequence(0, 1000), read(t, stream).ids(t, orders))
	})
}

func TestCaptureWaitsForFlowInit(t *testing.T) {
	t.Parallel()

	w := newWorld(t, mongotest.Options{})
	l := w.listen(t, nil)

	require.Eventually(t, func() bool {
		status := l.Status()

		return status.State == capture.Starting && strings.Contains(status.Reason, "relayctl flow init")
	}, patience, 10*time.Millisecond)

	w.init(t, gib)
	l.await(t, capture.Streaming)
}

// TestTerminalStates reaches each state that only an operator ends.
func TestTerminalStates(t *testing.T) {
	t.Parallel()

	t.Run("stream deleted", func(t *testing.T) {
		t.Parallel()

		w := newWorld(t, mongotest.Options{})
		w.init(t, gib)
		l := w.listen(t, nil)
		l.await(t, capture.Streaming)

		require.NoError(t, w.js.DeleteStream(t.Context(), topology.StreamName(flow)))
		insert(t, w.source, orders, 0, 1)
		require.Contains(t, l.await(t, capture.Failed).Reason, "restore it from a backup")
	})

	t.Run("stream made anew", func(t *testing.T) {
		t.Parallel()

		w := newWorld(t, mongotest.Options{})
		w.init(t, gib)
		l := w.listen(t, nil)
		l.await(t, capture.Streaming)

		require.NoError(t, w.js.DeleteStream(t.Context(), topology.StreamName(flow)))
		w.init(t, gib)
		insert(t, w.source, orders, 0, 1)
		require.Contains(t, l.await(t, capture.Failed).Reason, "made anew")
	})

	t.Run("a stranger's message", func(t *testing.T) {
		t.Parallel()

		w := newWorld(t, mongotest.Options{})
		w.init(t, gib)
		l := w.listen(t, nil)
		l.await(t, capture.Streaming)

		_, err := w.js.PublishMsg(t.Context(), &nats.Msg{Subject: event.MarkerSubject(flow), Data: []byte("hello")})
		require.NoError(t, err)
		insert(t, w.source, orders, 0, 1)
		require.Contains(t, l.await(t, capture.Failed).Reason, "somebody else writes")
	})

	t.Run("history lost", func(t *testing.T) {
		t.Parallel()

		w := newWorld(t, mongotest.Options{OplogMaxEntries: 100})
		w.init(t, gib)

		for i := range int32(30) {
			insert(t, w.source, orders, i*1000, i*1000+1000)
		}

		l := w.listen(t, nil)
		require.Contains(t, l.await(t, capture.HistoryLost).Reason, "oplog")
		l.stop()

		// It is left as the reason says.
		require.NoError(t, w.js.DeleteStream(t.Context(), topology.StreamName(flow)))
		w.init(t, gib)
		w.listen(t, nil).await(t, capture.Streaming)
	})

	t.Run("another source", func(t *testing.T) {
		t.Parallel()

		w := newWorld(t, mongotest.Options{})
		_, err := topology.Create(t.Context(), w.js, flow, topology.Settings{
			StreamID: topology.NewStreamID(), Partitions: partitions, Source: "replica set elsewhere",
		}, gib)
		require.NoError(t, err)
		require.NoError(t, publishFirst(t, w))

		l := w.listen(t, nil)
		require.Contains(t, l.await(t, capture.Failed).Reason, "replica set elsewhere")
	})

	t.Run("capped collection", func(t *testing.T) {
		t.Parallel()

		w := newWorld(t, mongotest.Options{})
		w.init(t, gib)

		l := w.listen(t, nil)
		l.await(t, capture.Streaming)

		capped := options.CreateCollection().SetCapped(true).SetSizeInBytes(1 << 20)
		require.NoError(t, w.source.Database("shop").CreateCollection(t.Context(), "log", capped))
		require.Contains(t, l.await(t, capture.Failed).Reason, "shop.log: it is capped")
		l.stop()

		// At start the catalog says so, before anything is read.
		l = w.listen(t, nil)
		require.Contains(t, l.await(t, capture.Failed).Reason, "shop.log: it is capped")
		l.stop()

		l = w.listen(t, func(o *capture.Options) { o.Exclude = []string{"shop.log"} })
		l.await(t, capture.Streaming)
	})
}

func publishFirst(t *testing.T, w *world) error {
	t.Helper()

	stream, err := topology.Open(t.Context(), w.js, flow)
	require.NoError(t, err)

	payload, err := proto.Marshal(&relayv1.Marker{Heads: make([]uint64, partitions)})
	require.NoError(t, err)

	return stream.PublishFirst(t.Context(), w.js, &event.Message{
		Kind: event.KindMarker, StreamID: stream.StreamID, ResumeToken: w.presentToken(t),
		Part: 1, Parts: 1, Attempt: 1, Size: len(payload), Payload: payload,
	})
}

func TestStatusLag(t *testing.T) {
	t.Parallel()

	now := time.Unix(1000, 0)

	tests := map[string]struct {
		status capture.Status
		lag    time.Duration
		known  bool
	}{
		"nothing read yet": {status: capture.Status{State: capture.Streaming}},
		"caught up": {
			status: capture.Status{State: capture.Streaming, CaughtUp: true, CaughtUpAt: now.Add(-time.Second)}, known: true,
		},
		"behind": {
			status: capture.Status{State: capture.Streaming, CaughtUpAt: now.Add(-time.Minute)}, lag: time.Minute, known: true,
		},
		"caught up before the source went away": {
			status: capture.Status{State: capture.Stalled, CaughtUp: true, CaughtUpAt: now.Add(-time.Hour)}, lag: time.Hour, known: true,
		},
		"standing by": {
			status: capture.Status{State: capture.Standby, CaughtUp: true, CaughtUpAt: now.Add(-time.Hour)},
		},
		"the source's clock is ahead": {
			status: capture.Status{State: capture.Streaming, CaughtUpAt: now.Add(time.Hour)}, known: true,
		},
	}

	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			lag, known := test.status.Lag(now)
			require.Equal(t, test.known, known)
			require.Equal(t, test.lag, lag, fmt.Sprint(test.status))
		})
	}
}
