package chain_test

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/chain"
)

// TestTailIsOfOneMoment reads the tail while another listener publishes. Heads that know more
// than the last message did cost a count: of two listeners that publish the same events, the
// server takes the messages of one for duplicates of the other's, and then a message with a
// count too high for what follows them.
func TestTailIsOfOneMoment(t *testing.T) {
	t.Parallel()

	inEachMode(t, func(t *testing.T, mode topology.PublishMode) {
		t.Helper()

		server, stream := newStream(t, mode, 1<<30)
		nc := server.Connect(t)
		other := &listener{
			source: new(source), nc: nc, js: server.JetStream(t), writer: 1,
			random: rand.New(rand.NewPCG(seed(t), 0)), acked: map[uint64]string{},
		}

		var group sync.WaitGroup

		group.Go(func() {
			if err := other.run(t.Context(), t); err != nil {
				t.Error(err)
			}
		})

		read := 0 // tails with events

		for other.reached.Load() < 5000 {
			tail, err := chain.ReadTail(t.Context(), stream)
			if errors.Is(err, chain.ErrTailMoves) {
				continue
			}

			require.NoError(t, err)

			if tail.Last.Event > 0 {
				read++
			}

			events := tail.Last.Event
			if !tail.Last.EndsEvent() {
				events--
			}

			var counted uint64
			for _, head := range tail.Heads {
				counted += head
			}

			if !assert.Equal(t, events, counted, "events behind message %d", tail.Last.Sequence) {
				break
			}
		}

		other.source.end.Store(other.reached.Load() + 100)
		group.Wait()
		require.Positive(t, read, "no tail of a stream in use was read")
	})
}

// TestTailThatWasReplacedIsReadAgain restarts the server between two requests of a reading: it has lost its last message,
// an event, and has stored another one, a marker, under the same number since. The number did not move; a reading that
// took it for the same message would miss the event in all partitions.
func TestTailThatWasReplacedIsReadAgain(t *testing.T) {
	t.Parallel()

	inEachMode(t, func(t *testing.T, mode topology.PublishMode) {
		t.Helper()

		server, stream := newStream(t, mode, 1<<30)
		require.NoError(t, newWriter(t, server, stream, 1).publish(t, 1))

		before := t.TempDir()

		require.NoError(t, server.Backup(before))

		reopened := func() *topology.Stream { // an old connection may not know yet that its server was away: then nobody answers
			stream, err := topology.Open(t.Context(), server.JetStream(t), flow)
			require.NoError(t, err)

			return stream
		}

		require.NoError(t, newWriter(t, server, reopened(), 1).publish(t, 2))

		replace := sync.OnceFunc(func() {
			require.NoError(t, server.Restore(before))

			other := newWriter(t, server, reopened(), 2)
			payload, err := proto.Marshal(&relayv1.Marker{Heads: other.ledger.Heads()})
			require.NoError(t, err)

			marker := other.ledger.Marker(payload)
			require.NoError(t, other.Publish(time.Now(), &marker, true))
			require.NoError(t, other.Handle(<-other.Replies()))
		})

		seen, err := topology.Open(t.Context(), natstest.Interrupt(server.JetStream(t), event.MarkerSubject(flow), replace), flow)
		require.NoError(t, err)

		tail, err := chain.ReadTail(t.Context(), seen)
		require.NoError(t, err)
		require.Equal(t, uint64(1), tail.Last.Event)
		require.Zero(t, tail.Missing())
	})
}
