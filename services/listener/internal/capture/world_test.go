package capture_test

import (
	"context"
	"encoding/base64"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/natsconn"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/capture"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, natstest.Abandoned()...)
}

const (
	flow       = "test"
	partitions = 4
	patience   = 30 * time.Second // most that any condition may take on a busy machine
)

// world is a source, a NATS server and a flow between them.
type world struct {
	mongo  *mongotest.Server
	source *mongo.Client
	nats   *natstest.Server
	js     jetstream.JetStream

	client func(jetstream.JetStream) jetstream.JetStream // what listeners reach NATS by; nil: as it is
}

func newWorld(tb testing.TB, mongoOptions mongotest.Options) *world {
	tb.Helper()

	server := mongotest.New(tb, mongoOptions)
	nats := natstest.New(tb)

	return &world{mongo: server, source: connect(tb, server), nats: nats, js: nats.JetStream(tb)}
}

func connect(tb testing.TB, server *mongotest.Server) *mongo.Client {
	tb.Helper()

	client, err := mongodb.Connect(server.URI(), mongodb.Options{ServerSelectionTimeout: 2 * time.Second})
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = mongodb.Disconnect(context.WithoutCancel(tb.Context()), client) })

	return client
}

// inEachMode runs a test for both ways to publish.
func inEachMode(t *testing.T, test func(*testing.T, topology.PublishMode)) {
	t.Helper()

	for _, mode := range []topology.PublishMode{topology.PublishChain, topology.PublishBatch} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			test(t, mode)
		})
	}
}

// init makes the stream and message 1, as relayctl flow init does.
func (w *world) init(tb testing.TB, maxBytes int64) *topology.Stream {
	tb.Helper()

	return w.initAs(tb, topology.PublishChain, maxBytes)
}

func (w *world) initAs(tb testing.TB, mode topology.PublishMode, maxBytes int64) *topology.Stream {
	tb.Helper()

	return w.initWith(tb, maxBytes, topology.Settings{Publish: mode})
}

func (w *world) initWith(tb testing.TB, maxBytes int64, s topology.Settings) *topology.Stream {
	tb.Helper()
	require.NoError(tb, topology.CreateBuckets(tb.Context(), w.js, 1))

	hello, err := mongodb.SayHello(tb.Context(), w.source)
	require.NoError(tb, err)

	token := w.presentToken(tb)

	s.StreamID, s.Partitions, s.Source = topology.NewStreamID(), partitions, hello.Identity()
	s.FirstToken = base64.RawStdEncoding.EncodeToString(token)

	if s.Publish == "" {
		s.Publish = topology.PublishChain
	}

	stream, err := topology.Create(tb.Context(), w.js, flow, s, maxBytes)
	require.NoError(tb, err)

	payload, err := proto.Marshal(&relayv1.Marker{Heads: make([]uint64, partitions), Filter: &relayv1.Filter{}})
	require.NoError(tb, err)
	require.NoError(tb, stream.PublishFirst(tb.Context(), w.js, &event.Message{
		Kind: event.KindMarker, StreamID: stream.StreamID, ResumeToken: token,
		Part: 1, Parts: 1, Attempt: 1, Size: len(payload), Payload: payload,
	}))

	return stream
}

func (w *world) presentToken(tb testing.TB) bson.Raw {
	tb.Helper()

	cs, err := w.source.Watch(tb.Context(), mongo.Pipeline{}, options.ChangeStream().SetShowExpandedEvents(true))
	require.NoError(tb, err)

	defer cs.Close(tb.Context())

	cs.TryNext(tb.Context())

	return append(bson.Raw(nil), cs.ResumeToken()...)
}

// listener is a running Capture.
type listener struct {
	*capture.Capture

	stop func() // returns when Run has returned
}

func (w *world) listen(tb testing.TB, change func(*capture.Options)) *listener {
	tb.Helper()

	nc, err := natsconn.Connect(settings.NATS{URL: settings.NewURI(w.nats.URL())}, natsconn.Options{Wait: true}, slog.New(slog.DiscardHandler))
	require.NoError(tb, err)

	js, err := jetstream.New(nc)
	require.NoError(tb, err)

	if w.client != nil {
		js = w.client(js)
	}

	o := capture.Options{Flow: flow, InitPoll: 50 * time.Millisecond}
	if change != nil {
		change(&o)
	}

	c, err := capture.New(w.source, nc, js, slog.New(slog.DiscardHandler), o)
	require.NoError(tb, err)

	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	done := make(chan error, 1)

	go func() { done <- c.Run(ctx) }()

	stopped := false
	l := &listener{Capture: c, stop: func() {
		if stopped {
			return
		}

		stopped = true

		cancel()
		require.NoError(tb, <-done)
		nc.Close()
	}}
	tb.Cleanup(l.stop)

	return l
}

func (l *listener) await(t *testing.T, state capture.State) capture.Status {
	t.Helper()

	require.Eventually(t, func() bool { return l.Status().State == state }, patience, 10*time.Millisecond,
		"state %s not reached", state)

	return l.Status()
}

// awaitTotal waits until the stream's tail has counted n events, the last of them whole.
func awaitTotal(t *testing.T, stream *topology.Stream, n uint64) {
	t.Helper()

	var last topology.Stored

	require.Eventually(t, func() bool {
		tail, err := stream.Tail(t.Context())
		if err == nil {
			last = tail
		}

		return err == nil && tail.Event >= n && tail.EndsEvent()
	}, patience, 20*time.Millisecond)
	require.Equal(t, n, last.Event)
}

// content is the stream as a reader sees it.
type content struct {
	events  []event.Message // whole events, in the order of their last parts; copies are checked and left out
	markers []event.Message
}

// read reads the whole stream and checks what must hold of every stream.
func read(t *testing.T, stream *topology.Stream) content {
	t.Helper()

	state, _, err := stream.State(t.Context())
	require.NoError(t, err)

	var (
		c          content
		assemblers [partitions]event.Assembler
		copies     []event.Message // since the last event
		counts     [partitions]uint64
		previous   topology.Stored
		last       event.Position
	)

	for sequence := uint64(1); sequence <= state.LastSeq; sequence++ {
		m, err := stream.At(t.Context(), sequence)
		require.NoError(t, err)
		require.Equal(t, stream.StreamID, m.StreamID)
		require.LessOrEqual(t, m.Event-previous.Event, uint64(1000))

		previous = m

		if m.Kind == event.KindMarker {
			c.markers = append(c.markers, m.Message)

			continue
		}

		if m.IsCopy() {
			require.Equal(t, counts[m.Partition], m.Count, "count of a copy")

			copies = append(copies, m.Message)

			continue
		}

		if m.Kind == event.KindBarrier && m.Part == 1 {
			requireCopies(t, copies, &m.Message)
		}

		copies = nil

		whole, complete, err := assemblers[m.Partition].Add(m.Message)
		require.NoError(t, err)

		if complete {
			counts[m.Partition]++
			require.Equal(t, counts[m.Partition], whole.Count, "count")
			require.Positive(t, whole.Position.Compare(last), "position")

			last = whole.Position
			c.events = append(c.events, whole)
		}
	}

	return c
}

// requireCopies: the last messages are the copies of the barrier, from the last
// partition down.
func requireCopies(t *testing.T, copies []event.Message, barrier *event.Message) {
	t.Helper()
	require.GreaterOrEqual(t, len(copies), partitions-1)

	for i, m := range copies[len(copies)-partitions+1:] {
		require.Equal(t, partitions-1-i, m.Partition)
		require.Equal(t, barrier.Position, m.Position)
		require.Equal(t, barrier.Event, m.Event)
		require.Equal(t, barrier.Attempt, m.Attempt)
	}
}

// ids returns the _id of every event of a document in the namespace.
func (c content) ids(t *testing.T, ns event.Namespace) []int32 {
	t.Helper()

	var ids []int32

	for i := range c.events {
		e, err := event.Parse(c.events[i].Payload)
		require.NoError(t, err)

		if e.Operation.IsDocument() && e.Namespace == ns {
			ids = append(ids, e.ID().Int32())
		}
	}

	return ids
}

func insert(t *testing.T, c *mongo.Client, ns event.Namespace, from, to int32) {
	t.Helper()

	documents := make([]any, 0, to-from)
	for id := from; id < to; id++ {
		documents = append(documents, bson.D{{Key: "_id", Value: id}})
	}

	_, err := c.Database(ns.DB).Collection(ns.Coll).InsertMany(t.Context(), documents)
	require.NoError(t, err)
}

func sequence(from, to int32) []int32 {
	var ids []int32
	for id := from; id < to; id++ {
		ids = append(ids, id)
	}

	return ids
}
