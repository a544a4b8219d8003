package capture_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/chain"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/changestream"
)

// The benchmarks of the capturing side over one backlog: the two ceilings,
// reading the cursor and publishing the chain alone, and both together. One
// operation is one change of about 500 bytes.
//
//	go test -run - -bench Capture -benchtime 100000x ./services/listener/internal/capture

func backlog(b *testing.B, w *world) {
	b.Helper()

	padding := make([]byte, 440)
	for i := range padding {
		padding[i] = byte('a' + i%26)
	}

	for from := 0; from < b.N; from += 1000 {
		documents := make([]any, 0, 1000)
		for id := from; id < min(from+1000, b.N); id++ {
			documents = append(documents, bson.D{{Key: "_id", Value: int64(id)}, {Key: "padding", Value: string(padding)}})
		}

		_, err := w.source.Database("shop").Collection("orders").InsertMany(b.Context(), documents)
		require.NoError(b, err)
	}
}

// readAll hands every event of the backlog to use.
func readAll(b *testing.B, w *world, after bson.Raw, use func(*changestream.Change)) {
	b.Helper()

	changes, err := changestream.Open(b.Context(), w.source, after, changestream.Options{MaxAwait: time.Second})
	require.NoError(b, err)

	defer changes.Close(b.Context())

	for seen := 0; seen < b.N; {
		change, err := changes.Next(b.Context())
		require.NoError(b, err)

		if change.Event != nil && change.Event.Operation.IsDocument() {
			seen++
		}

		use(&change)
	}
}

func BenchmarkCaptureCursorOnly(b *testing.B) {
	w := newWorld(b, mongotest.Options{})
	token := w.presentToken(b)

	backlog(b, w)
	b.ResetTimer()
	readAll(b, w, token, func(*changestream.Change) {})
}

func BenchmarkCaptureChainOnly(b *testing.B) {
	w := newWorld(b, mongotest.Options{})
	stream := w.init(b, 8*gib)

	backlog(b, w)

	tail, err := chain.ReadTail(b.Context(), stream)
	require.NoError(b, err)

	var all []changestream.Change

	readAll(b, w, tail.Last.ResumeToken, func(c *changestream.Change) { all = append(all, *c) })

	ledger := chain.NewLedger(tail, 1)
	publisher, err := chain.NewPublisher(w.nats.Connect(b), flow, stream.Name(), tail)
	require.NoError(b, err)

	defer publisher.Close()

	b.ResetTimer()

	for i := range all {
		if all[i].Event == nil {
			continue
		}

		messages, err := ledger.Take(all[i].Event, all[i].Token, 1<<19)
		require.NoError(b, err)

		for j := range messages {
			for publisher.Full() {
				require.NoError(b, publisher.Handle(<-publisher.Replies()))
			}

			require.NoError(b, publisher.Publish(time.Now(), &messages[j], i == len(all)-1))
		}
	}

	for {
		if outstanding, _ := publisher.Outstanding(); outstanding == 0 {
			break
		}

		require.NoError(b, publisher.Handle(<-publisher.Replies()))
	}
}

func BenchmarkCapture(b *testing.B) {
	w := newWorld(b, mongotest.Options{})
	stream := w.init(b, 8*gib)

	backlog(b, w)
	b.ResetTimer()

	w.listen(b, nil)

	for {
		tail, err := stream.Tail(b.Context())
		require.NoError(b, err)

		if tail.Event >= uint64(b.N) {
			break
		}

		time.Sleep(5 * time.Millisecond)
	}
}
