package chain_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/chain"
)

// TestGoesOnBehindMessagesThatTheServerRemembersAndHasNot: a server whose last messages are
// gone from its disk knows from its index that it had them, and goes on behind their sequences.
// It knows no id that a next message could name, and refuses every one that names the id, or the
// sequence, of the last message that is there.
func TestGoesOnBehindMessagesThatTheServerRemembersAndHasNot(t *testing.T) {
	t.Parallel()

	inEachMode(t, func(t *testing.T, mode topology.PublishMode) {
		t.Helper()

		server, stream := newStream(t, mode, 64<<20)
		w := newWriter(t, server, stream, 1)

		const events = 25

		for n := 1; n <= events; n++ {
			require.NoError(t, w.publishLarge(t, n, 500_000))
		}

		server.Stop()
		server.LoseLastBlock(t, stream.Name())
		require.NoError(t, server.Resume())

		stream, err := topology.Open(t.Context(), server.JetStream(t), flow)
		require.NoError(t, err)

		tail, err := chain.ReadTail(t.Context(), stream)
		require.NoError(t, err)

		state, _, err := stream.State(t.Context())
		require.NoError(t, err)
		require.Equal(t, uint64(events+1), state.LastSeq, "the server remembers what it had")
		require.Less(t, tail.Last.Sequence, state.LastSeq, "and lacks it")

		w = newWriter(t, server, stream, 2)
		next := int(tail.Last.Event) + 1

		for n := next; n <= events; n++ {
			require.NoError(t, w.publish(t, n))
		}

		end, err := chain.ReadTail(t.Context(), stream)
		require.NoError(t, err)
		require.Equal(t, uint64(events), end.Last.Event)
	})
}
