package chain_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/chain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Abandoned()...) }

const flow = "test"

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

// newStream makes a flow with message 1 on a server of its own.
func newStream(t *testing.T, mode topology.PublishMode, maxBytes int64) (*natstest.Server, *topology.Stream) {
	t.Helper()

	server := natstest.New(t)

	return server, makeStream(t, server.JetStream(t), topology.Settings{Publish: mode}, maxBytes)
}

func makeStream(t *testing.T, js jetstream.JetStream, settings topology.Settings, maxBytes int64) *topology.Stream {
	t.Helper()

	settings.StreamID, settings.Partitions = topology.NewStreamID(), partitions

	stream, err := topology.Create(t.Context(), js, flow, settings, maxBytes)
	require.NoError(t, err)

	payload, err := proto.Marshal(&relayv1.Marker{Heads: make([]uint64, partitions)})
	require.NoError(t, err)
	require.NoError(t, stream.PublishFirst(t.Context(), js, &event.Message{
		Kind: event.KindMarker, StreamID: stream.StreamID, ResumeToken: token(0),
		Part: 1, Parts: 1, Attempt: 1, Size: len(payload), Payload: payload,
	}))

	return stream
}

// writer is a listener's publishing half.
type writer struct {
	*chain.Publisher

	ledger *chain.Ledger
}

func newWriter(t *testing.T, server *natstest.Server, stream *topology.Stream, id uint64) *writer {
	t.Helper()

	tail, err := chain.ReadTail(t.Context(), stream)
	require.NoError(t, err)

	publisher, err := chain.NewPublisher(server.Connect(t), flow, stream.Name(), tail)
	require.NoError(t, err)
	t.Cleanup(publisher.Close)

	return &writer{Publisher: publisher, ledger: chain.NewLedger(tail, id)}
}

// publish publishes event n and returns what the server says of it.
func (w *writer) publish(t *testing.T, n int) error {
	t.Helper()

	return w.publishLarge(t, n, 100)
}

// publishLarge is publish of an event with so many bytes of padding.
func (w *writer) publishLarge(t *testing.T, n, padding int) error {
	t.Helper()

	e := makeEvent(t, n, bson.Timestamp{T: 1000, I: uint32(n)}, n, padding)
	messages, err := w.ledger.Take(&e.event, e.token, 1<<19)
	require.NoError(t, err)
	require.NoError(t, w.Publish(time.Now(), &messages[0], true))

	select {
	case reply := <-w.Replies():
		return w.Handle(reply)
	case <-time.After(chain.AckTimeout):
		t.Fatal("no reply")

		return nil
	}
}

func TestPublisherRefusesWhatDoesNotFollow(t *testing.T) {
	t.Parallel()

	inEachMode(t, func(t *testing.T, mode topology.PublishMode) {
		t.Helper()

		server, stream := newStream(t, mode, 1<<20)
		first, second := newWriter(t, server, stream, 1), newWriter(t, server, stream, 2)

		require.NoError(t, first.publish(t, 1))
		require.NoError(t, first.publish(t, 2))

		// The second one has another idea of what comes after message 1.
		require.ErrorIs(t, second.publish(t, 9), chain.ErrBroken)

		tail, err := stream.Tail(t.Context())
		require.NoError(t, err)
		require.Equal(t, uint64(3), tail.Sequence)
	})
}

// TestDuplicateIsNotSuccess publishes the same event twice within the server's
// duplicate window: the server answers success, and nothing was stored.
func TestDuplicateIsNotSuccess(t *testing.T) {
	t.Parallel()

	inEachMode(t, func(t *testing.T, mode topology.PublishMode) {
		t.Helper()

		server, stream := newStream(t, mode, 1<<20)
		first, second := newWriter(t, server, stream, 1), newWriter(t, server, stream, 2)

		require.NoError(t, first.publish(t, 1))
		require.ErrorIs(t, second.publish(t, 1), chain.ErrBroken)
	})
}

func TestFullStreamIsSaid(t *testing.T) {
	t.Parallel()

	inEachMode(t, func(t *testing.T, mode topology.PublishMode) {
		t.Helper()

		server, stream := newStream(t, mode, 4<<10)
		w := newWriter(t, server, stream, 1)

		var err error
		for n := 1; err == nil; n++ {
			require.Less(t, n, 100)

			err = w.publish(t, n)
		}

		require.ErrorIs(t, err, chain.ErrStreamFull)
		require.ErrorIs(t, err, chain.ErrBroken)
	})
}

// TestOtherTroubleOfTheStoreIsNotAFullStream: it has the same code, and more room for the stream would not help.
func TestOtherTroubleOfTheStoreIsNotAFullStream(t *testing.T) {
	t.Parallel()

	server, stream := newStream(t, topology.PublishChain, 1<<20)
	w := newWriter(t, server, stream, 1)

	e := makeEvent(t, 1, bson.Timestamp{T: 1000, I: 1}, 1, 100)
	messages, err := w.ledger.Take(&e.event, e.token, 1<<19)
	require.NoError(t, err)
	require.NoError(t, w.Publish(time.Now(), &messages[0], true))

	reply := <-w.Replies()
	reply.Data = []byte(`{"error":{"code":503,"err_code":10077,"description":"write msgs/1.blk: no space left on device"}}`)

	err = w.Handle(reply)
	require.ErrorIs(t, err, chain.ErrBroken)
	require.NotErrorIs(t, err, chain.ErrStreamFull)
	require.ErrorContains(t, err, "no space left on device")
}

func TestPublisherSaysThatNobodyListens(t *testing.T) {
	t.Parallel()

	inEachMode(t, func(t *testing.T, mode topology.PublishMode) {
		t.Helper()

		server, stream := newStream(t, mode, 1<<20)
		w := newWriter(t, server, stream, 1)

		require.NoError(t, server.JetStream(t).DeleteStream(t.Context(), stream.Name()))
		require.ErrorIs(t, w.publish(t, 1), chain.ErrBroken)
	})
}

func TestPublisherGuessesNoMode(t *testing.T) {
	t.Parallel()

	server, stream := newStream(t, topology.PublishChain, 1<<20)
	tail, err := chain.ReadTail(t.Context(), stream)
	require.NoError(t, err)

	tail.Publish = ""
	_, err = chain.NewPublisher(server.Connect(t), flow, stream.Name(), tail)
	require.ErrorContains(t, err, "publish mode")
}

// TestEmptyReplyProvesNothing: only the first messages of a batch are answered without a word.
func TestEmptyReplyProvesNothing(t *testing.T) {
	t.Parallel()

	inEachMode(t, func(t *testing.T, mode topology.PublishMode) {
		t.Helper()

		server, stream := newStream(t, mode, 1<<20)
		w := newWriter(t, server, stream, 1)

		e := makeEvent(t, 1, bson.Timestamp{T: 1000, I: 1}, 1, 100)
		messages, err := w.ledger.Take(&e.event, e.token, 1<<19)
		require.NoError(t, err)
		require.NoError(t, w.Publish(time.Now(), &messages[0], true))

		reply := <-w.Replies()
		reply.Data = nil
		require.ErrorIs(t, w.Handle(reply), chain.ErrBroken)
	})
}
