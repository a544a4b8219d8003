package chain_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/chain"
)

// put publishes the messages of an event while replies come in.
func (w *writer) put(t *testing.T, e sourceEvent, limit int) {
	t.Helper()

	messages, err := w.ledger.Take(&e.event, e.token, limit)
	require.NoError(t, err)

	for i := range messages {
		for w.Full() {
			require.NoError(t, w.reply(t))
		}

		require.NoError(t, w.Publish(time.Now(), &messages[i], false))
	}
}

func (w *writer) reply(t *testing.T) error {
	t.Helper()

	select {
	case reply := <-w.Replies():
		return w.Handle(reply)
	case <-time.After(patience):
		t.Fatal("no reply")

		return nil
	}
}

func (w *writer) drain(t *testing.T) {
	t.Helper()

	for {
		if outstanding, _ := w.Outstanding(); outstanding == 0 {
			return
		}

		require.NoError(t, w.reply(t))
	}
}

func eventAt(t *testing.T, n, padding int) sourceEvent {
	t.Helper()

	return makeEvent(t, n, bson.Timestamp{T: 1000, I: uint32(n)}, n, padding)
}

// TestRefusedBatchSaysWhy: the reply to the last message of a batch that the
// server does not take says only that the batch is incomplete.
func TestRefusedBatchSaysWhy(t *testing.T) {
	t.Parallel()

	server, stream := newStream(t, topology.PublishBatch, 1<<20)
	w := newWriter(t, server, stream, 1)

	_, live, err := stream.State(t.Context())
	require.NoError(t, err)

	live.AllowAtomicPublish = false
	_, err = server.JetStream(t).UpdateStream(t.Context(), live)
	require.NoError(t, err)

	w.put(t, eventAt(t, 1, 0), partLimit) // alone, so no batch
	w.put(t, eventAt(t, 2, 0), partLimit)
	w.put(t, eventAt(t, 3, 0), partLimit)
	require.NoError(t, w.reply(t))

	err = w.reply(t)
	require.ErrorIs(t, err, chain.ErrBroken)
	require.ErrorContains(t, err, "disabled")
}

// TestEventLargerThanABatch lets a listener die when the first batch of an event
// of 1500 parts is stored. The next one publishes it again, as a higher attempt.
func TestEventLargerThanABatch(t *testing.T) {
	t.Parallel()

	const limit = 100

	server, stream := newStream(t, topology.PublishBatch, 1<<30)
	events := []sourceEvent{eventAt(t, 1, 0), eventAt(t, 2, 1500*limit), eventAt(t, 3, 0)}

	first := newWriter(t, server, stream, 1)
	first.put(t, events[0], 1<<19)
	first.put(t, events[1], limit)
	require.NoError(t, first.Handle(<-first.Replies())) // the first batch is staged
	first.Close()

	require.Eventually(t, func() bool {
		tail, err := stream.Tail(t.Context())

		return err == nil && tail.Part == 1000
	}, patience, 10*time.Millisecond)

	second := newWriter(t, server, stream, 2)
	second.put(t, events[1], limit)
	second.put(t, events[2], 1<<19)
	second.drain(t)

	plain := &model{}
	for _, m := range content(t, stream) {
		plain.messages = append(plain.messages, m.Message)
	}

	check(t, plain, events)

	tail, err := stream.Tail(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(3), tail.Event)

	last, err := stream.At(t.Context(), tail.Sequence-1)
	require.NoError(t, err)
	require.Equal(t, 2, last.Attempt)
}
