package consume_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/consume"
)

func TestBudgetIsShared(t *testing.T) {
	t.Parallel()

	b := consume.NewBudget(100)
	first, ok := b.Try(20)
	require.True(t, ok)

	rest, err := b.Reserve(t.Context(), 80)
	require.NoError(t, err)

	_, ok = b.Try(1)
	require.False(t, ok)

	first.Release()

	again, ok := b.Try(20)
	require.True(t, ok)
	again.Release()
	rest.Release()
}

func TestBudgetHasOneLargeReservation(t *testing.T) {
	t.Parallel()

	b := consume.NewBudget(100)
	large, ok := b.Try(26)
	require.True(t, ok)

	_, ok = b.Try(26)
	require.False(t, ok, "a second one above a quarter")

	small, ok := b.Try(25)
	require.True(t, ok)
	small.Release()

	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	_, err := b.Reserve(ctx, 26)
	require.ErrorIs(t, err, context.Canceled)
	large.Release()

	// Neither failure has kept anything.
	all, ok := b.Try(100)
	require.True(t, ok)

	_, err = b.Reserve(ctx, 1)
	require.ErrorIs(t, err, context.Canceled)
	all.Release()

	all, ok = b.Try(100)
	require.True(t, ok)
	all.Release()
}

func TestEventLargerThanTheBudgetTakesAllOfIt(t *testing.T) {
	t.Parallel()

	b := consume.NewBudget(100)
	all, ok := b.Try(1000)
	require.True(t, ok)

	_, ok = b.Try(1)
	require.False(t, ok)

	all.Release()

	_, ok = b.Try(25)
	require.True(t, ok)

	var none *consume.Reservation
	none.Release()
}

// TestLargeReservationIsNotStarved keeps small ones coming while a large one
// waits.
func TestLargeReservationIsNotStarved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := consume.NewBudget(100)
		stop := make(chan struct{})

		var wg sync.WaitGroup

		for range 8 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}

					r, err := b.Reserve(context.WithoutCancel(t.Context()), 20)
					if err != nil {
						t.Error(err)

						return
					}

					time.Sleep(time.Millisecond)
					r.Release()
				}
			})
		}

		time.Sleep(10 * time.Millisecond)

		started := time.Now()
		large, err := b.Reserve(t.Context(), 90)
		require.NoError(t, err)
		require.Less(t, time.Since(started), 10*time.Millisecond)
		large.Release()
		close(stop)
		wg.Wait()
	})
}

func TestPullExceedsTheLargestMessage(t *testing.T) {
	t.Parallel()

	require.Equal(t, 4<<20, consume.PullBytes(1<<30, 16, 1<<20))
	require.Equal(t, 1<<20+64<<10, consume.PullBytes(256<<20, 16, 1<<20))
	require.Equal(t, 48<<20, consume.PullBytes(256<<20, 16, 64<<20))
	require.Greater(t, consume.PullBytes(256<<20, 16, 64<<20), event.MaxPart)
	require.Equal(t, int64(192<<20), consume.Remainder(256<<20, 16, 4<<20))
	require.Equal(t, int64(64<<20), consume.Remainder(256<<20, 16, 48<<20))
}
