package chain_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/chain"
)

// BenchmarkPublish publishes events of about 600 bytes in each mode, to a server
// that syncs every second and to one that syncs before each reply.
//
//	go test -run - -bench Publish -benchtime 50000x ./services/listener/internal/chain
func BenchmarkPublish(b *testing.B) {
	for _, mode := range []topology.PublishMode{topology.PublishChain, topology.PublishBatch} {
		for _, always := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/sync always %t", mode, always), func(b *testing.B) { benchmarkPublish(b, mode, always) })
		}
	}
}

func benchmarkPublish(b *testing.B, mode topology.PublishMode, always bool) {
	b.Helper()

	server := natstest.Start(b, natstest.Options{SyncInterval: time.Second, SyncAlways: always})
	js := server.JetStream(b)

	stream, err := topology.Create(b.Context(), js, flow,
		topology.Settings{StreamID: topology.NewStreamID(), Partitions: partitions, Publish: mode}, 8<<30)
	require.NoError(b, err)

	payload, err := proto.Marshal(&relayv1.Marker{Heads: make([]uint64, partitions)})
	require.NoError(b, err)
	require.NoError(b, stream.PublishFirst(b.Context(), js, &event.Message{
		Kind: event.KindMarker, StreamID: stream.StreamID, ResumeToken: token(0),
		Part: 1, Parts: 1, Attempt: 1, Size: len(payload), Payload: payload,
	}))

	tail, err := chain.ReadTail(b.Context(), stream)
	require.NoError(b, err)

	publisher, err := chain.NewPublisher(server.Connect(b), flow, stream.Name(), tail)
	require.NoError(b, err)

	defer publisher.Close()

	ledger := chain.NewLedger(tail, 1)
	events := make([]sourceEvent, b.N)

	for n := range events {
		events[n] = makeEvent(b, n+1, bson.Timestamp{T: 1000, I: uint32(n)}, n, 400)
	}

	b.ResetTimer()

	for n := range events {
		messages, err := ledger.Take(&events[n].event, events[n].token, 1<<19)
		require.NoError(b, err)

		for publisher.Full() {
			require.NoError(b, publisher.Handle(<-publisher.Replies()))
		}

		require.NoError(b, publisher.Publish(time.Now(), &messages[0], n == b.N-1))

		for len(publisher.Replies()) > 0 { // as the session: replies and messages side by side
			require.NoError(b, publisher.Handle(<-publisher.Replies()))
		}
	}

	for {
		if outstanding, _ := publisher.Outstanding(); outstanding == 0 {
			break
		}

		require.NoError(b, publisher.Handle(<-publisher.Replies()))
	}
}
