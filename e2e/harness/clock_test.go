package harness

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/wallclock"
)

// TestServiceStartsWithAnotherTime: the first thing that a program does is to see the wrong time, and what is started again
// sees it too, until it is set right.
func TestServiceStartsWithAnotherTime(t *testing.T) {
	t.Parallel()

	if err := wallclock.Supported(); err != nil {
		t.Skipf("NOT TESTED: %v", err)
	}

	const busy = 5 * time.Minute // between two looks at the clock, at most

	// It prints what time it is and ends: nobody could set its clock while it runs.
	s := newService("date", "/bin/date", []string{"+%s"}, nil, t.TempDir())

	for _, off := range []time.Duration{time.Hour, -time.Hour, 0} {
		require.NoError(t, s.SetClock(off))

		for range 2 {
			require.NoError(t, os.RemoveAll(s.LogFile()))
			require.NoError(t, s.Start())
			require.Zero(t, s.Process().ExitCode())

			text, err := os.ReadFile(s.LogFile())
			require.NoError(t, err)
			seconds, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
			require.NoError(t, err, string(text))
			require.InDelta(t, off, time.Until(time.Unix(seconds, 0)), float64(busy))
		}
	}

	// A program that cannot be started is an error as without it.
	none := newService("none", "/no/such/program", nil, nil, t.TempDir())
	require.NoError(t, none.SetClock(time.Hour))
	require.ErrorContains(t, none.Start(), "/no/such/program")
}

// TestServiceGetsAnotherTimeWhileItRuns and goes on.
func TestServiceGetsAnotherTimeWhileItRuns(t *testing.T) {
	t.Parallel()

	if err := wallclock.Supported(); err != nil {
		t.Skipf("NOT TESTED: %v", err)
	}

	s := program(t, "sh", "-c", "while sleep 0.1; do :; done")
	require.NoError(t, s.SetClock(time.Hour))
	require.NoError(t, s.SetClock(-time.Hour))
	require.True(t, s.Runs())
	require.NoError(t, s.Kill())
	require.NoError(t, s.SetClock(0), "nobody is there whose clock could be set")
	require.NoError(t, s.Stop(t.Context()))
}
