package chain_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/chain"
)

// TestPlaceInALongStreamTakesFewRequests: a flow that is idle for days has nothing but markers, and a request for each of them
// would take longer than a rewind may.
func TestPlaceInALongStreamTakesFewRequests(t *testing.T) {
	t.Parallel()

	const markers = 3000

	server := natstest.New(t)
	made := makeStream(t, server.JetStream(t), topology.Settings{Publish: topology.PublishChain, DDL: true}, 1<<30)
	w := newWriter(t, server, made, 1)

	reach := func(n int) event.Message { // a marker behind event n of a source whose namespaces are left out
		e := makeEvent(t, n, bson.Timestamp{T: 1000, I: uint32(n)}, n, 0)
		require.NoError(t, w.ledger.Skip(&e.event, e.token))

		return markerOf(w.ledger)
	}

	idle := func(from, to int) {
		for from < to {
			var some []event.Message
			for ; from < to && len(some) < 200; from++ {
				some = append(some, reach(from))
			}

			w.store(t, some...)
		}
	}

	idle(1, markers)

	// Generations that begin at 2000, at 1500 and at 2500, each with some markers.
	for i, from := range []int{2000, 1500, 2500} {
		w.ledger.Rewind(uint64(i+1), placeOf(from))
		w.store(t, markerOf(w.ledger))
		idle(from+1, from+100)
	}

	asked := new(atomic.Int64)

	stream, err := topology.Open(t.Context(), countedStreams{server.JetStream(t), asked}, flow)
	require.NoError(t, err)

	for at, generation := range map[int]uint64{
		0: 0, 1: 0, 1499: 0, 1500: 2, 1550: 2, 1999: 2, 2499: 2, 2500: 3, 2599: 3, markers + 5: 3,
	} {
		asked.Store(0)

		place, err := chain.PlaceUpTo(t.Context(), stream, placeOf(at))
		require.NoError(t, err)
		require.Equal(t, wantPlace(at, generation), place.Event, "of event %d", at)
		require.Less(t, asked.Load(), int64(100), "requests for the place of event %d", at)
	}
}

// wantPlace is the event of the last marker up to a place, of a generation that has one.
func wantPlace(at int, generation uint64) uint64 {
	last := map[uint64]int{0: 2999, 2: 1599, 3: 2599}[generation]

	return uint64(min(at, last))
}

// countedStreams is a client that counts the messages that are asked for.
type countedStreams struct {
	jetstream.StreamManager

	asked *atomic.Int64
}

func (c countedStreams) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	s, err := c.StreamManager.Stream(ctx, name)

	return countedStream{s, c.asked}, err
}

type countedStream struct {
	jetstream.Stream

	asked *atomic.Int64
}

func (c countedStream) GetMsg(ctx context.Context, sequence uint64, opts ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	c.asked.Add(1)

	return c.Stream.GetMsg(ctx, sequence, opts...) //nolint:wrapcheck // the client's own answer
}
