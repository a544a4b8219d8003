package consume_test

import (
	"runtime"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/consume"
)

// TestMessageAsLargeAsTheServerAllows would stall a pull whose byte limit is
// below it.
func TestMessageAsLargeAsTheServerAllows(t *testing.T) {
	t.Parallel()

	w := newWorld(t, natstest.Options{MaxPayload: 8 << 20})
	payload := w.publish(t, 8<<20-4096, 8<<20)

	consumer, err := w.stream.CreateConsumer(t.Context(), 0, 1, 1)
	require.NoError(t, err)

	reader, err := consume.NewReader(consumer, &w.from, consume.NewBudget(16<<20), consume.PullBytes(16<<20, 16, 8<<20))
	require.NoError(t, err)
	t.Cleanup(reader.Stop)

	d := next(t, reader)
	require.Equal(t, bson.Raw(payload), d.Event.Raw)
	d.Release()
}

// TestPullThatEndsToTheByte: the server ends a pull whose bytes are used up exactly
// with its last message and says nothing more. A client that counts messages then
// waits for the rest of them, until it misses a heartbeat (nats-server 2.15.2,
// consumer.go, nextWaiting).
func TestPullThatEndsToTheByte(t *testing.T) {
	t.Parallel()

	const events, pulled = 40, 10

	w := newWorld(t, natstest.Options{})
	for range events {
		w.publish(t, 100, 1<<20)
	}

	consumer, err := w.stream.CreateConsumer(t.Context(), 0, 1, w.from.StreamSequence())
	require.NoError(t, err)

	first, err := consumer.Fetch(pulled)
	require.NoError(t, err)

	size := 0
	for msg := range first.Messages() {
		raw := nats.Msg{Subject: msg.Subject(), Reply: msg.Reply(), Header: msg.Headers(), Data: msg.Data()}
		size += raw.Size()
	}

	// A consumer whose name, and so the reply subjects in it, has the same length.
	consumer, err = w.stream.CreateConsumer(t.Context(), 0, 2, w.from.StreamSequence())
	require.NoError(t, err)

	reader, err := consume.NewReader(consumer, &w.from, consume.NewBudget(16<<20), size)
	require.NoError(t, err)
	t.Cleanup(reader.Stop)

	for range events {
		d, err := reader.Next(t.Context())
		require.NoError(t, err, "no heartbeat: the reader waited for messages that nobody sends")
		d.Release()
	}
}

// TestPullsThatAreTooSmallEnd: what is left of a pull is too small for a large message, and so may be the pull beside it. The
// server refuses both. A client that makes up for each by another one of the same size, because it counts messages (nats.go
// 1.55, jetstream.pullSubscription.checkPending), asks for ever with one processor, and some ten thousand times with two.
func TestPullsThatAreTooSmallEnd(t *testing.T) {
	t.Parallel()

	const part, parts = 64 << 10, 30 // from the 10th on they have a digit more

	w := newWorld(t, natstest.Options{})
	payload := w.publish(t, part*(parts-1)+part/2, part)

	pulls, err := w.js.Conn().SubscribeSync("$JS.API.CONSUMER.MSG.NEXT.>")
	require.NoError(t, err)

	consumer, err := w.stream.CreateConsumer(t.Context(), 0, 1, w.from.StreamSequence())
	require.NoError(t, err)

	reader, err := consume.NewReader(consumer, &w.from, consume.NewBudget(16<<20), part+4<<10)
	require.NoError(t, err)
	t.Cleanup(reader.Stop)

	d := next(t, reader)
	require.Equal(t, bson.Raw(payload), d.Event.Raw)
	d.Release()

	asked, _, err := pulls.Pending()
	require.NoError(t, err)
	t.Logf("%d pulls for %d messages", asked, parts)
	require.Less(t, asked, 10*parts)
}

// TestReaderTakesTheMemoryOfWhatItPulls: the client's iterator has a channel of a million places where the number of
// messages is not bounded, 8 MB for each partition (nats.go 1.55, jetstream.pullConsumer.Messages). Not parallel: it
// looks at all that the process allocates.
func TestReaderTakesTheMemoryOfWhatItPulls(t *testing.T) { //nolint:paralleltest // see above
	w := newWorld(t, natstest.Options{})

	consumer, err := w.stream.CreateConsumer(t.Context(), 0, 1, w.from.StreamSequence())
	require.NoError(t, err)

	var before, after runtime.MemStats

	runtime.ReadMemStats(&before)

	reader, err := consume.NewReader(consumer, &w.from, consume.NewBudget(16<<20), 1<<20)
	require.NoError(t, err)
	t.Cleanup(reader.Stop)

	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(4<<20))
}
