package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
)

// TestSessionsAreKnown: whoever reads the target's changes can tell whose the transactions of each ownership are, also
// of those that have ended.
func TestSessionsAreKnown(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)

	ran := map[string]bool{}

	for round := range 2 {
		p := w.start(t, nil)
		w.insertMany(t, round*1000)
		w.awaitSettled(t, checkpoint.Counters{Processed: int64(round+1) * many})

		checkpoints, err := checkpoint.Load(t.Context(), w.target, w.flow)
		require.NoError(t, err)

		for _, c := range checkpoints {
			ran[string(c.Session.Data)] = true
		}

		require.NoError(t, p.end())
	}

	known, err := checkpoint.LoadSessions(t.Context(), w.target, []string{w.flow})
	require.NoError(t, err)
	require.Greater(t, len(ran), 16)

	for session := range ran {
		require.Equal(t, w.flow, known[session])
	}
}
