package capture_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/capture"
)

// TestForgedTails: the stream's last message is where a listener goes on from, so one that looks like its own and is not
// stops it. Nothing is published behind it.
func TestForgedTails(t *testing.T) {
	t.Parallel()

	// Documents in documents, more than any server takes.
	deep := bson.Raw{5, 0, 0, 0, 0}

	for range event.MaxDepth {
		var err error

		deep, err = bson.Marshal(bson.D{{Key: "a", Value: deep}})
		require.NoError(t, err)
	}

	encode := base64.RawStdEncoding.EncodeToString

	for name, forge := range map[string]func(h nats.Header){
		"another stream's":    func(h nats.Header) { h[event.HeaderStream] = []string{"another"} },
		"two streams'":        func(h nats.Header) { h[event.HeaderStream] = append(h[event.HeaderStream], "another") },
		"a token that nests":  func(h nats.Header) { h[event.HeaderResumeToken] = []string{encode(deep)} },
		"a token of nothing":  func(h nats.Header) { h[event.HeaderResumeToken] = []string{encode([]byte("hello"))} },
		"a large token":       func(h nats.Header) { h[event.HeaderResumeToken] = []string{strings.Repeat("A", 40<<10)} },
		"more than there was": func(h nats.Header) { h[event.HeaderSkipped] = []string{"99999"} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t, mongotest.Options{})
			stream := w.init(t, gib)
			l := w.listen(t, nil)
			l.await(t, capture.Streaming)

			var tail topology.Stored

			// The id chain holds: the server takes it, unless the listener marks its place just then.
			require.Eventually(t, func() bool {
				var err error

				tail, err = stream.Tail(t.Context())
				require.NoError(t, err)

				m := tail.Message
				m.Event++

				msg := event.Encode(flow, &m, tail.ID)
				forge(msg.Header)

				_, err = w.js.PublishMsg(t.Context(), msg)

				return err == nil
			}, time.Minute, 50*time.Millisecond)

			insert(t, w.source, orders, 0, 1)

			reason := l.await(t, capture.Failed).Reason
			require.Contains(t, reason, "somebody else writes")
			require.Less(t, len(reason), 1000, "what a stranger sent is not repeated")

			state, _, err := stream.State(t.Context())
			require.NoError(t, err)
			require.Equal(t, tail.Sequence+1, state.LastSeq)
		})
	}
}
