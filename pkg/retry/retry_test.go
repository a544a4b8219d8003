package retry_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/retry"
)

var errAway = errors.New("server away")

func TestSucceedsAfterFailures(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		calls := 0
		err := retry.Do(t.Context(), retry.Policy{}, func(context.Context) error {
			calls++
			if calls < 4 {
				return errAway
			}

			return nil
		})
		require.NoError(t, err)
		require.Equal(t, 4, calls)
	})
}

func TestWaitsGrowWithJitterUpToTheCap(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		var (
			waits  []time.Duration
			delays = []int{100, 200, 400, 500, 500, 500} // ms
			last   = time.Now()
		)

		policy := retry.Policy{
			Initial: 100 * time.Millisecond, Max: 500 * time.Millisecond, Attempts: len(delays) + 1,
			OnRetry: func(f retry.Failure) {
				waits = append(waits, f.Wait)
				require.Equal(t, len(waits), f.Attempt)
				require.ErrorIs(t, f.Err, errAway)
			},
		}

		err := retry.Do(t.Context(), policy, func(context.Context) error {
			if len(waits) > 0 {
				require.Equal(t, waits[len(waits)-1], time.Since(last), "it waits what it announced")
			}

			last = time.Now()

			return errAway
		})
		require.ErrorIs(t, err, errAway)
		require.Len(t, waits, len(delays))

		for i, delay := range delays {
			require.GreaterOrEqual(t, waits[i].Milliseconds(), int64(delay/2))
			require.LessOrEqual(t, waits[i].Milliseconds(), int64(delay))
		}
	})
}

func TestJitterDiffers(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		seen := map[time.Duration]bool{}
		policy := retry.Policy{Initial: time.Second, Multiplier: 1, Attempts: 20, OnRetry: func(f retry.Failure) { seen[f.Wait] = true }}

		require.ErrorIs(t, retry.Do(t.Context(), policy, func(context.Context) error { return errAway }), errAway)
		require.Greater(t, len(seen), 10)
	})
}

func TestZeroPolicyNeverGivesUp(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		defer cancel()

		calls := 0
		err := retry.Do(ctx, retry.Policy{}, func(context.Context) error {
			calls++

			return errAway
		})
		require.ErrorIs(t, err, errAway)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Greater(t, calls, 24*60*6, "the cap is 10 s")
		require.Less(t, calls, 24*60*12+20)
	})
}

func TestPermanentErrorStopsAtOnce(t *testing.T) {
	t.Parallel()

	calls := 0
	err := retry.Do(t.Context(), retry.Policy{}, func(context.Context) error {
		calls++

		return fmt.Errorf("apply: %w", retry.Permanent(errAway))
	})
	require.ErrorIs(t, err, errAway)
	require.EqualError(t, err, "apply: server away")
	require.Equal(t, 1, calls)
	require.NoError(t, retry.Permanent(nil))
}

func TestLastAttemptIsNotFollowedByAWait(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		require.Equal(t, errAway, retry.Do(t.Context(), retry.Policy{Attempts: 1}, func(context.Context) error { return errAway }))
		require.Zero(t, time.Since(begin))
	})
}

func TestEndsWithTheContextInTheMiddleOfAWait(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("told to stop")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Minute, func() { cancel(cause) })

		begin := time.Now()
		err := retry.Do(ctx, retry.Policy{Initial: time.Hour}, func(context.Context) error { return errAway })
		require.Equal(t, time.Minute, time.Since(begin))
		require.ErrorIs(t, err, errAway)
		require.ErrorIs(t, err, cause)
		require.EqualError(t, err, "server away (stopped: told to stop)")
	})
}

func TestAnEndedContextMakesNoCall(t *testing.T) {
	t.Parallel()

	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	err := retry.Do(ctx, retry.Policy{}, func(context.Context) error {
		require.Fail(t, "called")

		return nil
	})
	require.ErrorIs(t, err, context.Canceled)
}
