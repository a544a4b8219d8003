package ownership

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestEndedLettersLoseTheirEvents as dead ones do, and not because a host's clock is ahead.
func TestEndedLettersLoseTheirEvents(t *testing.T) {
	t.Parallel()
	inEveryMode(t, 1, func(t *testing.T, w *world) {
		t.Helper()
		w.validate(t)
		w.put(t, 0, "old", bad(1))
		w.put(t, 0, "young", bad(1))

		s := w.partitions[0]
		s.deliver(t, 2)
		s.die(t)

		for n, r := range w.records(t) {
			w.discard(t, r.ID)
			w.edit(t, r.ID, "changed", time.Now().Add(-[]time.Duration{keepLetters, keepLetters - time.Hour}[n]))
		}

		s.see(t)

		require.NoError(t, s.dropEnded(t.Context(), time.Now().Add(2*keepLetters)))
		require.False(t, w.records(t)[0].IsKept())
		require.True(t, w.records(t)[1].IsKept(), "the target's clock says so too")

		before := w.records(t)
		require.NoError(t, s.dropEnded(t.Context(), time.Now().Add(-keepLetters)))
		require.Equal(t, before, w.records(t))
		require.Equal(t, []string{"1 discarded failed 3", "2 discarded failed 3"}, w.parkedStates(t), "the records stay")
	})
}
