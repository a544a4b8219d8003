package history

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// TestWatcher asks a real source and a real stream, through what can be missing: unknown always says why.
func TestWatcher(t *testing.T) {
	t.Parallel()

	server, nats := mongotest.New(t, mongotest.Options{}), natstest.New(t)
	js, source := nats.JetStream(t), server.Client(t)

	w := New(source, js, slog.New(slog.DiscardHandler), Options{
		Flow: "test", Poll: 20 * time.Millisecond, Limits: Limits{Warn: 24 * time.Hour, Critical: 4 * time.Hour},
	})
	require.Equal(t, "not asked yet", w.Estimate().Unknown)

	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)

	go func() { done <- w.Run(ctx) }()

	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})

	await := func(what string, holds func(Estimate) bool) Estimate {
		t.Helper()
		require.Eventually(t, func() bool { return holds(w.Estimate()) }, patience, 10*time.Millisecond, what)

		return w.Estimate()
	}
	unknown := func(why string) func(Estimate) bool {
		return func(e Estimate) bool { return strings.Contains(e.Unknown, why) && e.Level == NoLevel }
	}

	await("before flow init", unknown("no stream"))

	stream, err := topology.Create(t.Context(), js, "test", topology.Settings{StreamID: topology.NewStreamID(), Partitions: 1, Source: "x"}, 1<<30)
	require.NoError(t, err)

	publish := func(number uint64, position event.Position) {
		t.Helper()

		payload, err := proto.Marshal(&relayv1.Marker{Heads: []uint64{0}})
		require.NoError(t, err)

		token, err := bson.Marshal(bson.D{{Key: "_data", Value: "of another server"}})
		require.NoError(t, err)

		_, err = js.PublishMsg(t.Context(), event.Encode("test", &event.Message{
			Kind: event.KindMarker, StreamID: stream.StreamID, ResumeToken: token, Event: number, Position: position,
			Part: 1, Parts: 1, Attempt: 1, Size: len(payload), Payload: payload,
		}, ""))
		require.NoError(t, err)
	}

	publish(0, event.Position{})
	await("before the first change", unknown("no change of the source yet"))

	now := time.Now().Add(time.Hour)
	publish(1, event.Position{T: uint32(now.Unix())})

	e := await("a window", func(e Estimate) bool { return e.Trend == Still })
	require.Empty(t, e.Unknown)
	require.Equal(t, OK, e.Level, "a source that forgets nothing is no trouble")
	require.InDelta(t, time.Hour.Seconds(), e.Window.Seconds(), 300)
	require.Equal(t, e.Window, e.Remaining)

	require.NoError(t, server.Kill())
	await("the source is away", unknown("oplog cannot be read"))
}

// TestTimeOfTheTail: an idle source's token goes on, its last event does not; a token that is older than its event is
// not understood.
func TestTimeOfTheTail(t *testing.T) {
	t.Parallel()

	token, err := bson.Marshal(bson.D{{Key: "_data", Value: "8265A5B2C300000001"}})
	require.NoError(t, err)

	for name, test := range map[string]struct {
		position event.Position
		at       int64
	}{
		"idle":         {event.Position{T: 0x65A5B000}, 0x65A5B2C3},
		"no event":     {event.Position{}, 0x65A5B2C3},
		"an odd token": {event.Position{T: 0x65A5B999}, 0x65A5B999},
	} {
		at, ok := timeOf(&topology.Stored{Message: event.Message{ResumeToken: token, Position: test.position}})
		require.True(t, ok, name)
		require.Equal(t, test.at, at.Unix(), name)
	}
}
