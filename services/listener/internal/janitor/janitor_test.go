package janitor_test

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/janitor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	flow     = "test"
	patience = 30 * time.Second
)

// world is a stream of two partitions, and their processors' reports.
type world struct {
	nats   *natstest.Server
	js     jetstream.JetStream
	stream *topology.Stream
	bucket jetstream.KeyValue
	active atomic.Bool
	marks  atomic.Int64
}

func newWorld(t *testing.T, maxBytes int64) *world {
	t.Helper()

	n := natstest.New(t)
	w := &world{nats: n, js: n.JetStream(t)}
	w.active.Store(true)

	var err error

	w.bucket, err = w.js.CreateKeyValue(t.Context(), topology.StatsConfig())
	require.NoError(t, err)

	w.stream, err = topology.Create(t.Context(), w.js, flow, topology.Settings{StreamID: topology.NewStreamID(), Partitions: 2, Source: "x"}, maxBytes)
	require.NoError(t, err)
	w.mark(t)

	return w
}

// publish stores so many messages of a partition; all of them are of one event number, which nobody looks at here.
func (w *world) publish(t *testing.T, n int) {
	t.Helper()

	for range n {
		_, err := w.js.PublishMsg(t.Context(), event.Encode(flow, w.message(event.KindEvent, make([]byte, 1000)), ""))
		require.NoError(t, err)
	}
}

func (w *world) mark(t *testing.T) {
	t.Helper()

	payload, err := proto.Marshal(&relayv1.Marker{Heads: make([]uint64, 2)})
	require.NoError(t, err)

	_, err = w.js.PublishMsg(t.Context(), event.Encode(flow, w.message(event.KindMarker, payload), ""))
	require.NoError(t, err)
}

var number atomic.Uint64 // makes message ids differ

func (w *world) message(kind event.Kind, payload []byte) *event.Message {
	m := &event.Message{
		Kind: kind, StreamID: w.stream.StreamID, ResumeToken: bson.Raw{5, 0, 0, 0, 0}, Event: number.Add(1),
		Part: 1, Parts: 1, Attempt: 1, Size: len(payload), Payload: payload,
	}
	if kind == event.KindEvent {
		m.Namespace, m.Count = event.Namespace{DB: "db", Coll: "c"}, m.Event
	}

	return m
}

func (w *world) report(t *testing.T, sequences ...uint64) {
	t.Helper()

	r := &relayv1.ProcessorReport{Flow: flow}
	for partition, sequence := range sequences {
		r.Partitions = append(r.Partitions, &relayv1.PartitionReport{
			Partition: uint32(partition), Epoch: 1, Sequence: sequence, StreamId: w.stream.StreamID,
		})
	}

	value, err := proto.Marshal(r)
	require.NoError(t, err)
	_, err = w.bucket.Put(t.Context(), topology.ProcessorReportKey(flow, "p1"), value)
	require.NoError(t, err)
}

func (w *world) start(t *testing.T, margin uint64) *janitor.Janitor {
	t.Helper()

	return w.startBy(t, w.js, margin)
}

func (w *world) startBy(t *testing.T, js jetstream.JetStream, margin uint64) *janitor.Janitor {
	t.Helper()

	j := janitor.New(js, slog.New(slog.DiscardHandler), janitor.Options{
		Flow: flow, Margin: margin, Active: w.active.Load, Mark: func() { w.marks.Add(1) }, Poll: 20 * time.Millisecond,
	})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)

	go func() { done <- j.Run(ctx) }()

	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})

	return j
}

func (w *world) state(t *testing.T) jetstream.StreamState {
	t.Helper()

	state, _, err := w.stream.State(t.Context())
	require.NoError(t, err)

	return state
}

func (w *world) awaitFirst(t *testing.T, first uint64) {
	t.Helper()

	require.Eventually(t, func() bool {
		state, _, err := w.stream.State(t.Context())

		return err == nil && state.FirstSeq == first
	}, patience, 10*time.Millisecond, "the stream does not begin at %d", first)
}

func awaitForbidden(t *testing.T, j *janitor.Janitor, why string) {
	t.Helper()

	require.Eventually(t, func() bool { return j.Status().Forbidden == why }, patience, 10*time.Millisecond, "%q was not said", why)
}

// TestFullStreamGetsRoom: the server refuses, the janitor purges without publishing, the server takes messages again. A
// purge makes no hole, and deny_delete does not forbid it.
func TestFullStreamGetsRoom(t *testing.T) {
	t.Parallel()

	w := newWorld(t, 100<<10)
	w.publish(t, 50)
	w.mark(t) // 52

	var err error
	for err == nil {
		_, err = w.js.PublishMsg(t.Context(), event.Encode(flow, w.message(event.KindEvent, make([]byte, 1000)), ""))
	}

	full := w.state(t)
	j := w.start(t, 10)
	awaitForbidden(t, j, "partition 0: no processor reports its checkpoint")
	require.Equal(t, full, w.state(t), "nothing is purged, and nothing published")

	w.report(t, 40, 30)
	w.awaitFirst(t, 21)
	w.report(t, 60, 61)
	w.awaitFirst(t, 51)
	w.report(t, 65, 66)
	w.awaitFirst(t, 52) // the newest marker
	w.publish(t, 20)

	after := w.state(t)
	require.Equal(t, full.LastSeq+20, after.LastSeq)
	require.Zero(t, after.NumDeleted)
	require.Contains(t, j.Status().HeldBy, "marker")

	w.nats.Restart(t)

	require.Eventually(t, func() bool {
		state, _, err := w.stream.State(t.Context())

		return err == nil && state.FirstSeq == 52 && state.LastSeq == after.LastSeq && state.NumDeleted == 0
	}, patience, 10*time.Millisecond)
}

// TestStandbyPurgesNothing: only the active listener does.
func TestStandbyPurgesNothing(t *testing.T) {
	t.Parallel()

	w := newWorld(t, 1<<20)
	w.active.Store(false)
	w.publish(t, 50)
	w.mark(t)
	w.report(t, 52, 52)

	j := w.start(t, 0)
	awaitForbidden(t, j, "another listener is the active one, or this one cannot work")
	require.EqualValues(t, 1, w.state(t).FirstSeq)

	w.active.Store(true)
	w.awaitFirst(t, 52)
	require.EqualValues(t, 51, j.Status().Purged)
}

// TestMarkerIsAskedForWhenItIsFar: only the capture may publish one.
func TestMarkerIsAskedForWhenItIsFar(t *testing.T) {
	t.Parallel()

	w := newWorld(t, 100<<10)
	w.publish(t, 10)
	w.report(t, 11, 11)
	w.start(t, 0)
	require.Zero(t, w.marks.Load())

	w.publish(t, 20)
	require.Eventually(t, func() bool { return w.marks.Load() > 0 }, patience, 10*time.Millisecond)
	require.EqualValues(t, 1, w.state(t).FirstSeq, "the only marker stays")

	w.mark(t)
	w.report(t, 32, 32)
	w.awaitFirst(t, 32)
}

// interrupted does something behind the first answer about a stream.
type interrupted struct {
	jetstream.JetStream

	once sync.Once
	then func()
}

func (i *interrupted) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	stream, err := i.JetStream.Stream(ctx, name)

	return &interruptedStream{stream, i}, err
}

type interruptedStream struct {
	jetstream.Stream

	by *interrupted
}

func (i *interruptedStream) Info(ctx context.Context, opts ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	info, err := i.Stream.Info(ctx, opts...)
	i.by.once.Do(i.by.then)

	return info, err
}

// TestPurgeDecidedBeforeARestartIsNotSent: the server came back without the end of its stream, and with it without all that
// was to be kept. The purge would leave it empty, without the marker that the listener goes on from.
func TestPurgeDecidedBeforeARestartIsNotSent(t *testing.T) {
	t.Parallel()

	w := newWorld(t, 1<<20)
	before := t.TempDir()

	w.publish(t, 20)
	w.mark(t) // 22
	require.NoError(t, w.nats.Backup(before))

	nc := w.nats.Connect(t, nats.ReconnectBufSize(-1)) // as natsconn does
	js, err := jetstream.New(nc)
	require.NoError(t, err)

	w.js = js
	w.publish(t, 30)
	w.mark(t) // 53
	w.report(t, 53, 53)

	back := make(chan error, 1)
	lost := func() {
		err := w.nats.Restore(before)

		assert.Eventually(t, func() bool {
			_, _, err := w.stream.State(context.WithoutCancel(t.Context()))

			return err == nil && nc.Stats().Reconnects > 0
		}, patience, 10*time.Millisecond)

		back <- err
	}

	w.startBy(t, &interrupted{JetStream: js, then: lost}, 0)
	require.NoError(t, <-back)
	w.report(t, 22, 22)
	w.awaitFirst(t, 22) // what was decided next
	require.EqualValues(t, 1, w.state(t).Msgs)
}
