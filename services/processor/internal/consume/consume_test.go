package consume_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/consume"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	flow     = "test"
	patience = 30 * time.Second
)

// world is a stream of one partition and who writes it.
type world struct {
	nats   *natstest.Server
	js     jetstream.JetStream
	stream *topology.Stream
	from   checkpoint.Place // message 1

	lastID string
	last   event.Message
}

func newWorld(t *testing.T, options natstest.Options) *world {
	t.Helper()

	w := &world{nats: natstest.Start(t, options)}
	w.js = w.nats.JetStream(t)

	token := marshal(t, bson.D{{Key: "_data", Value: "00"}})
	settings := topology.Settings{StreamID: topology.NewStreamID(), Partitions: 1, Source: "rs0", FirstToken: "x"}

	var err error
	w.stream, err = topology.Create(t.Context(), w.js, flow, settings, 1<<30)
	require.NoError(t, err)

	payload, err := proto.Marshal(&relayv1.Marker{Heads: []uint64{0}})
	require.NoError(t, err)

	w.last = event.Message{
		Kind: event.KindMarker, StreamID: settings.StreamID, Writer: 1, ResumeToken: token,
		Part: 1, Parts: 1, Attempt: 1, Size: len(payload), Payload: payload,
	}
	require.NoError(t, w.stream.PublishFirst(t.Context(), w.js, &w.last))

	w.lastID = w.last.ID()
	w.from = checkpoint.PlaceOf(&w.last, 1)

	return w
}

// publish publishes the next event, with a document of this size, in parts of at
// most limit bytes, and returns its payload.
func (w *world) publish(t *testing.T, size, limit int) []byte {
	t.Helper()

	n := w.last.Event + 1
	raw := marshal(t, bson.D{
		{Key: "operationType", Value: "insert"},
		{Key: "ns", Value: bson.D{{Key: "db", Value: "shop"}, {Key: "coll", Value: "orders"}}},
		{Key: "documentKey", Value: bson.D{{Key: "_id", Value: int64(n)}}},
		{Key: "fullDocument", Value: bson.D{{Key: "_id", Value: int64(n)}, {Key: "b", Value: bson.Binary{Data: bytes.Repeat([]byte{byte(n)}, size)}}}},
	})
	w.send(t, raw, limit)

	return raw
}

func (w *world) send(t *testing.T, raw []byte, limit int) {
	t.Helper()

	m := w.last
	m.Kind, m.Namespace, m.Size = event.KindEvent, event.Namespace{DB: "shop", Coll: "orders"}, len(raw)
	m.Event++
	m.Count++
	m.Position = event.Position{T: uint32(m.Event)}

	parts := event.Split(raw, limit)
	for i, payload := range parts {
		m.Part, m.Parts, m.Payload = i+1, len(parts), payload
		if m.IsLastPart() {
			m.ResumeToken = marshal(t, bson.D{{Key: "_data", Value: m.Position.String()}})
		}

		_, err := w.js.PublishMsg(t.Context(), event.Encode(flow, &m, w.lastID))
		require.NoError(t, err)

		w.lastID = m.ID()
	}

	w.last = m
}

// reader reads from message 1 with the consumer of epoch 1.
func (w *world) reader(t *testing.T, budget *consume.Budget) *consume.Reader {
	t.Helper()

	consumer, err := w.stream.CreateConsumer(t.Context(), 0, 1, w.from.StreamSequence())
	require.NoError(t, err)

	reader, err := consume.NewReader(consumer, &w.from, budget, 4<<20)
	require.NoError(t, err)
	t.Cleanup(reader.Stop)

	return reader
}

func next(t *testing.T, r *consume.Reader) *consume.Delivery {
	t.Helper()

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	d, err := r.Next(ctx)
	require.NoError(t, err)

	return d
}

func marshal(tb testing.TB, doc any) bson.Raw {
	tb.Helper()

	raw, err := bson.Marshal(doc)
	require.NoError(tb, err)

	return raw
}

func TestReaderHandsOutWholeEvents(t *testing.T) {
	t.Parallel()

	w := newWorld(t, natstest.Options{})
	payloads := [][]byte{w.publish(t, 10, 1<<20), w.publish(t, 5<<20, 1<<19), w.publish(t, 0, 1<<20)}
	reader := w.reader(t, consume.NewBudget(64<<20))

	var last *consume.Delivery

	for i, payload := range payloads {
		last = next(t, reader)
		require.Equal(t, bson.Raw(payload), last.Event.Raw)
		require.Equal(t, uint64(i+1), last.Message.Event)
		last.Release()
	}

	require.NoError(t, last.Ack())

	// AckAll: nothing is left unsettled.
	consumer, err := w.js.Consumer(t.Context(), w.stream.Name(), topology.ConsumerName(0, 1))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		info, err := consumer.Info(t.Context())

		return err == nil && info.NumAckPending == 0 && info.AckFloor.Stream == last.Sequence
	}, patience, 10*time.Millisecond)
}

func TestReaderWaitsForMemoryBeforeTheSecondPart(t *testing.T) {
	t.Parallel()

	w := newWorld(t, natstest.Options{})
	small := w.publish(t, 10, 1<<20)
	large := w.publish(t, 3<<20, 1<<19)

	budget := consume.NewBudget(int64(len(large)))
	reader := w.reader(t, budget)
	waiting := make(chan struct{}, 1)
	reader.OnWait(func() { waiting <- struct{}{} })

	held := next(t, reader)
	require.Equal(t, bson.Raw(small), held.Event.Raw)

	got := make(chan *consume.Delivery, 1)
	failed := make(chan error, 1)

	go func() {
		d, err := reader.Next(t.Context())
		got <- d
		failed <- err
	}()

	<-waiting // whoever holds the small one is told to settle it

	select {
	case <-got:
		t.Fatal("taken without memory")
	default:
	}

	held.Release()

	d := <-got
	require.NoError(t, <-failed)
	require.Equal(t, bson.Raw(large), d.Event.Raw)

	_, free := budget.Try(1)
	require.False(t, free, "the event holds its memory until it is settled")
	d.Release()
}

func TestReaderGivesBackWhatItCollects(t *testing.T) {
	t.Parallel()

	w := newWorld(t, natstest.Options{})
	m := w.last
	m.Kind, m.Namespace, m.Event, m.Count, m.Position = event.KindEvent, event.Namespace{DB: "shop", Coll: "orders"}, 1, 1, event.Position{T: 1}
	m.Part, m.Parts, m.Size, m.Payload = 1, 2, 4000, make([]byte, 2000)

	_, err := w.js.PublishMsg(t.Context(), event.Encode(flow, &m, w.lastID))
	require.NoError(t, err)

	budget := consume.NewBudget(4000)
	reader := w.reader(t, budget)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)

	go func() {
		_, err := reader.Next(ctx)
		failed <- err
	}()

	require.Eventually(t, func() bool {
		r, ok := budget.Try(1)
		if ok {
			r.Release()
		}

		return !ok
	}, patience, time.Millisecond)

	cancel()
	require.ErrorIs(t, <-failed, context.Canceled)
	reader.Stop()

	all, ok := budget.Try(4000)
	require.True(t, ok)
	all.Release()
}

func TestReaderStopsAtWhatIsNoEvent(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		publish func(t *testing.T, w *world)
		want    error
		heals   bool // by a rewind
	}{
		"no headers": {
			publish: func(t *testing.T, w *world) {
				t.Helper()

				_, err := w.js.Publish(t.Context(), event.EventSubject(flow, 0, event.Namespace{DB: "shop", Coll: "orders"}), []byte("hello"))
				require.NoError(t, err)
			},
			want: event.ErrMalformed,
		},
		"payload not BSON": {publish: func(t *testing.T, w *world) { t.Helper(); w.send(t, []byte("hello"), 1<<20) }, want: event.ErrMalformed},
		"other stream": {
			publish: func(t *testing.T, w *world) {
				t.Helper()

				w.last.StreamID = "another"
				w.publish(t, 1, 1<<20)
			},
			want: consume.ErrForeign,
		},
		"hole": {
			publish: func(t *testing.T, w *world) {
				t.Helper()

				w.last.Count++
				w.publish(t, 1, 1<<20)
			},
			want: consume.ErrHole, heals: true,
		},
		"rewound": {
			publish: func(t *testing.T, w *world) {
				t.Helper()

				w.last.Generation++
				w.publish(t, 1, 1<<20)
			},
			want: consume.ErrGeneration, heals: true,
		},
	}

	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t, natstest.Options{})
			w.publish(t, 1, 1<<20)
			test.publish(t, w)

			reader := w.reader(t, consume.NewBudget(64<<20))
			next(t, reader).Release()

			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()

			_, err := reader.Next(ctx)
			require.ErrorIs(t, err, test.want)
			require.Equal(t, !test.heals, consume.IsStreamTrouble(err))
		})
	}
}

// TestReaderOfADeletedConsumerEnds is how a newer owner fences an older one.
func TestReaderOfADeletedConsumerEnds(t *testing.T) {
	t.Parallel()

	w := newWorld(t, natstest.Options{})
	w.publish(t, 1, 1<<20)

	reader := w.reader(t, consume.NewBudget(64<<20))
	next(t, reader).Release() // the server has a pull of the reader

	failed := make(chan error, 1)

	go func() {
		_, err := reader.Next(t.Context())
		failed <- err
	}()

	require.NoError(t, w.stream.DeleteConsumer(t.Context(), topology.ConsumerName(0, 1)))

	err := <-failed
	require.ErrorIs(t, err, jetstream.ErrConsumerDeleted)
	require.False(t, consume.IsStreamTrouble(err))
}
