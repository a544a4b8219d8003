package timeline_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/atlas-relay/atlas-relay/services/stats/internal/tally"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/timeline"
)

// at is a second after which steps of 2, 5 and 10 s begin.
func at(second int) time.Time { return time.Unix(1_800_000_000+int64(second), 0) }

func point(second int, captured, settled uint64) timeline.Point {
	return timeline.Point{Time: at(second), Captured: &captured, Settled: &settled}
}

func TestRatesAreMadeBetweenPoints(t *testing.T) {
	t.Parallel()

	var line timeline.Timeline

	line.Add(point(0, 100, 100))
	line.Add(point(1, 110, 104))
	line.Add(point(3, 150, 150))
	line.Add(timeline.Point{Time: at(4)}) // nobody could be asked
	line.Add(point(5, 170, 160))
	line.Add(point(6, 10, 10)) // made anew
	line.Add(point(60, 20, 20))

	got := line.Since(time.Time{}, time.Second)
	require.Len(t, got, 7)
	require.Nil(t, got[0].CapturedRate, "nothing is before it")
	require.InDelta(t, 10, *got[1].CapturedRate, 0)
	require.InDelta(t, 4, *got[1].SettledRate, 0)
	require.InDelta(t, 20, *got[2].CapturedRate, 0, "over two seconds")
	require.Nil(t, got[3].CapturedRate, "unknown")
	require.Nil(t, got[4].CapturedRate, "what was before is unknown")
	require.Nil(t, got[5].CapturedRate, "the count went back")
	require.Nil(t, got[6].CapturedRate, "nobody looked for a minute")

	require.Len(t, line.Since(at(5), time.Second), 2)
}

func TestAStepTakesItsLastPoint(t *testing.T) {
	t.Parallel()

	var line timeline.Timeline
	for second := range 12 {
		line.Add(point(second, uint64(second*second), 0))
	}

	got := line.Since(time.Time{}, 5*time.Second)
	require.Len(t, got, 2, "the third step has not ended")
	require.Equal(t, at(4), got[0].Time)
	require.Equal(t, at(9), got[1].Time)
	require.InDelta(t, float64(81-16)/5, *got[1].CapturedRate, 1e-9)

	require.Equal(t, got[1:], line.Since(at(4), 5*time.Second), "goes on where it ended")
}

func TestTheClockIsSetBack(t *testing.T) {
	t.Parallel()

	var line timeline.Timeline

	line.Add(point(0, 1, 1))
	line.Add(point(100, 2, 2))
	line.Add(point(99, 3, 3))
	line.Add(point(101, 4, 4))
	require.Len(t, line.Since(time.Time{}, time.Second), 3)

	line.Add(point(-5000, 5, 5))
	require.Len(t, line.Since(time.Time{}, time.Second), 1, "the others are of another time")
}

// Those who sample at the same interval meet, whenever they began.
func TestBeats(t *testing.T) {
	t.Parallel()

	for now, left := range map[time.Time]time.Duration{
		at(0):                              time.Second,
		at(0).Add(300 * time.Millisecond):  700 * time.Millisecond,
		at(0).Add(-time.Millisecond):       time.Second + time.Millisecond, // a timer that was early
		at(-1).Add(940 * time.Millisecond): 60 * time.Millisecond,
	} {
		require.Equal(t, left, timeline.UntilBeat(now, time.Second), now)
	}

	rapid.Check(t, func(t *rapid.T) {
		interval := time.Duration(rapid.IntRange(200, 10_000).Draw(t, "interval")) * time.Millisecond
		now := at(0).Add(time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "now")))

		beat := now.Add(timeline.UntilBeat(now, interval))
		require.Zero(t, beat.UnixNano()%int64(interval))
		require.True(t, beat.After(now))
	})
}

func TestPointOfASample(t *testing.T) {
	t.Parallel()

	p := timeline.PointOf(&tally.Stats{Total: new(uint64(9)), Processed: new(uint64(3)), Failed: new(uint64(2)), Skipped: new(uint64(1))})
	require.Equal(t, uint64(6), *p.Settled)

	p = timeline.PointOf(&tally.Stats{Total: new(uint64(9)), Processed: new(uint64(3))})
	require.Nil(t, p.Settled, "a term is unknown")
}

// Whatever was added: the last hour is there, in order, and the rates of every step add up to the events in it.
func TestTheRingKeepsTheLastHour(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(t *rapid.T) {
		var (
			line  timeline.Timeline
			total = rapid.IntRange(1, 3*timeline.Points).Draw(t, "points")
			step  = time.Duration(rapid.IntRange(1, 30).Draw(t, "step")) * time.Second
		)

		for second := range total {
			line.Add(point(second, uint64(second)*7, 0))
		}

		every := line.Since(time.Time{}, time.Second)
		require.Len(t, every, min(total, timeline.Points))
		require.Equal(t, at(total-1), every[len(every)-1].Time)

		stepped := line.Since(time.Time{}, step)
		for i := 1; i < len(stepped); i++ {
			require.True(t, stepped[i].Time.After(stepped[i-1].Time))
			require.InDelta(t, 7, *stepped[i].CapturedRate, 1e-9)
		}
	})
}
