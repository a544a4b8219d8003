package chain_test

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/topology"
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
