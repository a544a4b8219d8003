package capture_test

import (
	"context"
	"crypto/sha256"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/capture"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/chain"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/changestream"
)

// TestLargeEventArrivesByteForByte sends a 16 MiB document through messages of
// 1 MiB, and lets a listener die between two of its parts.
func TestLargeEventArrivesByteForByte(t *testing.T) {
	t.Parallel()

	w := newWorld(t, mongotest.Options{})
	stream := w.init(t, gib)

	random := rand.NewChaCha8(sha256.Sum256([]byte(t.Name())))
	body := make([]byte, 16<<20-64) // the limit of a document is 16 MiB
	_, _ = random.Read(body)

	_, err := w.source.Database("shop").Collection("orders").InsertOne(t.Context(),
		bson.D{{Key: "_id", Value: int32(1)}, {Key: "body", Value: body}})
	require.NoError(t, err)
	insert(t, w.source, orders, 2, 4)

	dieBetweenParts(t, w, stream)

	w.listen(t, nil)
	awaitTotal(t, stream, 4)

	c := read(t, stream)
	require.Equal(t, sequence(1, 4), c.ids(t, orders))

	large := c.events[1]
	require.Equal(t, 2, large.Attempt)
	require.Greater(t, large.Parts, 16)

	_, got, ok := bson.Raw(large.Payload).Lookup("fullDocument", "body").BinaryOK()
	require.True(t, ok)
	require.Equal(t, sha256.Sum256(body), sha256.Sum256(got))
}

// TestLargeEventGoesInOneBatch sends a 16 MiB document in batch mode: all its
// parts are stored at once.
func TestLargeEventGoesInOneBatch(t *testing.T) {
	t.Parallel()

	w := newWorld(t, mongotest.Options{})
	stream := w.initAs(t, topology.PublishBatch, gib)

	w.listen(t, nil).await(t, capture.Streaming)
	insert(t, w.source, orders, 2, 20)

	_, err := w.source.Database("shop").Collection("orders").InsertOne(t.Context(),
		bson.D{{Key: "_id", Value: int32(20)}, {Key: "body", Value: make([]byte, 16<<20-64)}})
	require.NoError(t, err)
	insert(t, w.source, orders, 21, 40)
	awaitTotal(t, stream, 39)

	c := read(t, stream)
	require.Equal(t, sequence(2, 40), c.ids(t, orders))
	require.Greater(t, c.events[19].Parts, 16)
	require.Equal(t, 1, c.events[19].Attempt)

	state, _, err := stream.State(t.Context())
	require.NoError(t, err)

	batches := map[string]bool{}

	for sequence := uint64(1); sequence <= state.LastSeq; sequence++ {
		raw, err := w.raw(t).GetMsg(t.Context(), sequence)
		require.NoError(t, err)

		if raw.Header.Get(event.HeaderPart) != "" {
			batches[raw.Header.Get("Nats-Batch-Id")] = true
		}
	}

	require.Len(t, batches, 1)
}

func (w *world) raw(t *testing.T) jetstream.Stream {
	t.Helper()

	raw, err := w.js.Stream(t.Context(), topology.StreamName(flow))
	require.NoError(t, err)

	return raw
}

// TestFilterRemovesAnUnfinishedEvent lets a listener die between two parts of an
// event that the next one filters out: its count is given back, the marker after
// it says so, and a third listener goes on without a gap.
func TestFilterRemovesAnUnfinishedEvent(t *testing.T) {
	t.Parallel()

	w := newWorld(t, mongotest.Options{})
	stream := w.init(t, gib)

	_, err := w.source.Database("shop").Collection("orders").InsertOne(t.Context(),
		bson.D{{Key: "_id", Value: int32(1)}, {Key: "body", Value: make([]byte, 8<<20)}})
	require.NoError(t, err)
	dieBetweenParts(t, w, stream)

	l := w.listen(t, func(o *capture.Options) { o.Exclude, o.MarkerIdle = []string{"shop.orders"}, 200*time.Millisecond })
	require.Eventually(t, func() bool {
		tail, err := stream.Tail(t.Context())

		return err == nil && tail.Kind == event.KindMarker && tail.Event == 2
	}, patience, 20*time.Millisecond)
	l.stop()

	w.listen(t, nil)

	// Some of these go to the partition of the one that was removed.
	insert(t, w.source, orders, 2, 40)
	awaitTotal(t, stream, 40)
	require.Equal(t, sequence(2, 40), read(t, stream).ids(t, orders))

	tail, err := stream.Tail(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(1), tail.Skipped)
}

// dieBetweenParts publishes what a listener does until the middle of the first
// large event.
func dieBetweenParts(t *testing.T, w *world, stream *topology.Stream) {
	t.Helper()
	dieBetweenPartsOf(t, w, stream, changestream.Options{})
}

// dieBetweenPartsOf is dieBetweenParts of a listener that opens its change stream with these options.
func dieBetweenPartsOf(t *testing.T, w *world, stream *topology.Stream, options changestream.Options) {
	t.Helper()

	options.MaxAwait = time.Second

	tail, err := chain.ReadTail(t.Context(), stream)
	require.NoError(t, err)

	ledger := chain.NewLedger(tail, 7)
	nc := w.nats.Connect(t)

	publisher, err := chain.NewPublisher(nc, flow, stream.Name(), tail)
	require.NoError(t, err)

	defer publisher.Close()

	changes, err := changestream.Open(t.Context(), w.source, ledger.Token(), options)
	require.NoError(t, err)

	defer changes.Close(t.Context())

	for {
		change, err := changes.Next(t.Context())
		require.NoError(t, err)

		if change.Event == nil {
			continue
		}

		limit, err := event.PartLimit(nc.MaxPayload(), change.Token)
		require.NoError(t, err)

		messages, err := ledger.Take(change.Event, change.Token, limit)
		require.NoError(t, err)

		for i := range messages {
			if i == 5 {
				require.NoError(t, nc.Flush())
				require.Eventually(t, func() bool {
					last, err := stream.Tail(t.Context())

					return err == nil && last.Part == 5
				}, patience, 10*time.Millisecond)

				return
			}

			require.NoError(t, publisher.Publish(time.Now(), &messages[i], false))
		}
	}
}

// TestEventThatTheServerCannotSplit: a server before 6.0.9 ends a change stream at an event above 16 MiB, and does so again
// whenever it is read on. The states say what helps, and it is read on when that was done.
func TestEventThatTheServerCannotSplit(t *testing.T) {
	t.Parallel()

	w := newWorld(t, mongotest.Options{})
	stream := w.init(t, gib)
	wire, old := w.throughWire(t)

	wire.Answer(func(c mongotest.Command) bson.D {
		switch stages, _ := c.Body.Lookup("pipeline").ArrayOK(); {
		case c.Name == "aggregate" && strings.Contains(stages.String(), "$changeStreamSplitLargeEvent"):
			return mongotest.CommandError(40324, "UnrecognizedPipelineStage", "Unrecognized pipeline stage name: '$changeStreamSplitLargeEvent'")
		case c.Name == "getMore":
			return mongotest.CommandError(10334, "BSONObjectTooLarge", "BSONObj size: 17825846 (0x1100036) is invalid")
		default:
			return nil
		}
	})

	l := old.listen(t, nil)
	insert(t, w.source, orders, 0, 5)

	reason := l.await(t, capture.Failed).Reason
	require.Contains(t, reason, "BSONObj size")
	require.Contains(t, reason, "6.0.9")
	require.Contains(t, reason, "FULL_DOCUMENT=delta")
	l.stop()

	wire.Answer(nil) // the server is a newer one now
	old.listen(t, nil)
	awaitTotal(t, stream, 6)
	require.Equal(t, sequence(0, 5), read(t, stream).ids(t, orders))
}

// throughWire returns the world of a listener that reads the source through a wire.
func (w *world) throughWire(t *testing.T) (*mongotest.Wire, *world) {
	t.Helper()

	wire := w.mongo.NewWire(t)
	client, err := mongodb.Connect(wire.Through(w.mongo.URI()), mongodb.Options{ServerSelectionTimeout: 2 * time.Second})
	require.NoError(t, err)
	t.Cleanup(func() { _ = mongodb.Disconnect(context.WithoutCancel(t.Context()), client) })

	other := *w
	other.source = client

	return wire, &other
}
