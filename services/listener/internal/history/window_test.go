package history_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/services/listener/internal/history"
)

// play adds samples every 10 s for this long. oldest and tail say where they are, in time since the start.
func play(w *history.Window, start time.Time, length time.Duration, oldest, tail func(time.Duration) time.Duration) {
	for passed := time.Duration(0); passed <= length; passed += 10 * time.Second {
		w.Add(history.Sample{At: start.Add(passed), Oldest: start.Add(oldest(passed)), Tail: start.Add(tail(passed))})
	}
}

func TestWindow(t *testing.T) {
	t.Parallel()

	now := func(d time.Duration) time.Duration { return d }
	at := func(fixed time.Duration) func(time.Duration) time.Duration {
		return func(time.Duration) time.Duration { return fixed }
	}
	behind := func(window time.Duration, rate float64) func(time.Duration) time.Duration {
		return func(d time.Duration) time.Duration { return time.Duration(rate*float64(d)) - window }
	}
	steps := func(window, step time.Duration) func(time.Duration) time.Duration {
		return func(d time.Duration) time.Duration { return d.Truncate(step) - window }
	}

	tests := map[string]struct {
		length       time.Duration
		oldest, tail func(time.Duration) time.Duration
		remaining    time.Duration
		trend        history.Trend
		level        history.Level
	}{
		"a fresh deployment": {
			length: 10 * time.Minute, oldest: at(0), tail: now,
			remaining: 10 * time.Minute, trend: history.Still, level: history.OK,
		},
		"one look": {
			oldest: at(-time.Minute), tail: now,
			remaining: time.Minute, trend: history.NoTrend, level: history.OK,
		},
		"two days, caught up": {
			length: time.Hour, oldest: behind(48*time.Hour, 1), tail: now,
			remaining: 48 * time.Hour, trend: history.Steady, level: history.OK,
		},
		"twelve hours, caught up": {
			length: time.Hour, oldest: behind(12*time.Hour, 1), tail: now,
			remaining: 12 * time.Hour, trend: history.Steady, level: history.Warn,
		},
		"two days, and the oplog rushes": {
			length: time.Hour, oldest: behind(48*time.Hour, 12), tail: now,
			remaining: 37 * time.Hour / 12, trend: history.Shrinking, level: history.Critical,
		},
		"two days, freed in steps, one of them soon after the start": {
			length: 50 * time.Minute, oldest: func(d time.Duration) time.Duration { return steps(48*time.Hour, 28*time.Minute)(d + 27*time.Minute) }, tail: now,
			remaining: 48*time.Hour + 50*time.Minute - 56*time.Minute, trend: history.Steady, level: history.OK,
		},
		"the listener waits": {
			length: 2 * time.Hour, oldest: behind(10*time.Hour, 1), tail: at(0),
			remaining: 8 * time.Hour, trend: history.Shrinking, level: history.Warn,
		},
		"the oplog slows down": {
			length: time.Hour, oldest: behind(30*time.Hour, 0.1), tail: now,
			remaining: 30*time.Hour + 54*time.Minute, trend: history.Steady, level: history.OK,
		},
		"the tail is passed": {
			length: time.Hour, oldest: behind(30*time.Minute, 1), tail: at(0),
			remaining: 0, trend: history.Shrinking, level: history.Critical,
		},
		"the tail was passed before the first look": {
			oldest: at(time.Minute), tail: at(0), remaining: 0, trend: history.NoTrend, level: history.Critical,
		},
	}

	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := history.Window{Limits: history.Limits{Warn: 24 * time.Hour, Critical: 4 * time.Hour}}
			play(&w, time.Unix(1_000_000_000, 0), test.length, test.oldest, test.tail)

			e := w.Estimate()
			require.Empty(t, e.Unknown)
			require.InDelta(t, test.remaining.Seconds(), e.Remaining.Seconds(), 1)
			require.Equal(t, test.trend, e.Trend)
			require.Equal(t, test.level, e.Level)
		})
	}
}

func TestWindowWithoutSamplesIsUnknown(t *testing.T) {
	t.Parallel()

	var w history.Window
	require.Equal(t, history.Estimate{Unknown: "not asked yet", Trend: history.NoTrend, Level: history.NoLevel}, w.Estimate())
}

// TestWindowBeginsAnewWithAnOlderOplog: another member of the set has another oplog.
func TestWindowBeginsAnewWithAnOlderOplog(t *testing.T) {
	t.Parallel()

	start := time.Unix(1_000_000_000, 0)
	w := history.Window{Limits: history.Limits{Warn: 24 * time.Hour, Critical: 4 * time.Hour}}

	w.Add(history.Sample{At: start, Oldest: start.Add(-2 * time.Hour), Tail: start})
	w.Add(history.Sample{At: start.Add(time.Minute), Oldest: start.Add(-time.Hour), Tail: start})
	require.Equal(t, history.Critical, w.Estimate().Level)

	w.Add(history.Sample{At: start.Add(2 * time.Minute), Oldest: start.Add(-48 * time.Hour), Tail: start})
	require.Equal(t, history.OK, w.Estimate().Level)
	require.Equal(t, history.NoTrend, w.Estimate().Trend)
}

// TestWindowForgets: what was before the horizon says nothing, and memory is bounded.
func TestWindowForgets(t *testing.T) {
	t.Parallel()

	start := time.Unix(1_000_000_000, 0)
	w := history.Window{Limits: history.Limits{Warn: 24 * time.Hour, Critical: 4 * time.Hour}}

	// It moves for an hour, then not any more for ten.
	play(&w, start, 11*time.Hour, func(d time.Duration) time.Duration { return min(d, time.Hour) - 3*time.Hour }, func(d time.Duration) time.Duration { return d })
	require.Equal(t, history.Still, w.Estimate().Trend)
	require.Equal(t, history.OK, w.Estimate().Level)
}
