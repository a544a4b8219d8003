package fault

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestFaultsKeepTheirBounds asks about bytes at random moments: none passes before its delay, no more than the rate
// allows, and the cut comes after exactly the bytes it was told.
func TestFaultsKeepTheirBounds(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(rt *rapid.T) {
		begin := time.Unix(1_700_000_000, 0)
		f := noFaults()
		f.rate = rapid.IntRange(0, 100_000).Draw(rt, "rate")
		f.delay[ToTarget] = time.Duration(rapid.IntRange(0, 100).Draw(rt, "delay")) * time.Millisecond
		f.left[ToTarget] = rapid.IntRange(-1, 20_000).Draw(rt, "cut after")

		left, passed, now := f.left[ToTarget], 0, begin

		for range rapid.IntRange(1, 50).Draw(rt, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 50_000).Draw(rt, "microseconds")) * time.Microsecond)
			n := rapid.IntRange(1, 8192).Draw(rt, "bytes")
			s := f.next(now, begin, ToTarget, n)

			require.LessOrEqual(rt, s.pass, n)
			require.True(rt, s.wait > 0 || s.pass > 0 || s.cut, "it goes on")

			if s.pass > 0 {
				require.GreaterOrEqual(rt, now.Sub(begin), f.delay[ToTarget])
			}

			passed += s.pass

			if s.cut {
				require.Equal(rt, left, passed)

				return
			}

			if f.rate > 0 {
				slice := max(1, f.rate/slicesPerSecond)
				require.LessOrEqual(rt, passed, int(now.Sub(begin).Seconds()*float64(f.rate))+slice+1)
			}
		}

		if left >= 0 {
			require.Less(rt, passed, max(left, 1))
		}
	})
}
