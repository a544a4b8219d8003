package ownership

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// TestParkedEventsAreTriedWhileReadersWaitForMemory: what the readers wait for may be held by batches that have no room
// before something parked is applied. Tries have a share of the memory, and no more.
func TestParkedEventsAreTriedWhileReadersWaitForMemory(t *testing.T) {
	t.Parallel()
	inEveryMode(t, 1, func(t *testing.T, w *world) {
		t.Helper()
		w.validate(t)
		w.put(t, 0, "a", bad(1), v(1))

		s := w.partitions[0]
		s.deliver(t, 1)
		w.validateNothing(t)

		batches, err := s.budget.Reserve(t.Context(), 64<<20)
		require.NoError(t, err)

		read := make(chan error, 1)

		go func() {
			r, err := s.budget.Reserve(t.Context(), 1)
			r.Release()
			read <- err
		}()

		require.Eventually(t, func() bool {
			r, ok := s.budget.Try(0)
			r.Release()

			return !ok // nobody overtakes the one who waits
		}, time.Minute, time.Millisecond)

		others, ok := s.spare.Try(64 << 20)
		require.True(t, ok)
		s.retry(t)
		require.Equal(t, []string{"1 waiting failed 1"}, w.parkedStates(t), "others try")

		others.Release()
		require.NoError(t, s.tryParked(s.ctx, s.ctx, later().Add(time.Minute)))
		require.Empty(t, w.parkedStates(t))
		require.Equal(t, bson.D{{Key: "bad", Value: int32(1)}, v32(1)}, w.document(t, "a"))

		batches.Release()
		require.NoError(t, <-read)
	})
}
