package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/atlas-relay/atlas-relay/pkg/lifecycle"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

const grace = 10 * time.Second

var errBroken = errors.New("broken")

// untilStopped is a task that does as it is told.
func untilStopped(name string) lifecycle.Task {
	return lifecycle.Task{Name: name, Run: func(ctx context.Context) error {
		<-ctx.Done()

		return ctx.Err()
	}}
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)

		begin := time.Now()
		require.NoError(t, lifecycle.Run(ctx, grace, untilStopped("a"), untilStopped("b")))
		require.Equal(t, time.Minute, time.Since(begin))
	})
}

func TestRunWithAnEndedContextOrWithoutTasks(t *testing.T) {
	t.Parallel()

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, lifecycle.Run(ctx, grace, untilStopped("a")))
	require.NoError(t, lifecycle.Run(t.Context(), grace))
}

func TestFirstTaskToReturnStopsTheOthers(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		returned error
		want     string
	}{
		"with an error":                     {errBroken, "capture: broken"},
		"without one":                       {nil, "capture ended without being told to"},
		"cancelled by a context of its own": {context.Canceled, "capture: context canceled"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			capture := lifecycle.Task{Name: "capture", Run: func(context.Context) error { return c.returned }}
			require.EqualError(t, lifecycle.Run(t.Context(), grace, untilStopped("a"), capture), c.want)
		})
	}
}

func TestErrorsOfTheStopAreReportedToo(t *testing.T) {
	t.Parallel()

	broken := lifecycle.Task{Name: "capture", Run: func(context.Context) error { return errBroken }}
	badEnd := lifecycle.Task{Name: "apply", Run: func(ctx context.Context) error {
		<-ctx.Done()

		return errors.New("close: disk full")
	}}

	err := lifecycle.Run(t.Context(), grace, broken, badEnd)
	require.ErrorIs(t, err, errBroken)
	require.EqualError(t, err, "capture: broken\napply: close: disk full")
}

func TestWorkInFlightMayFinishWithinGrace(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)

		finished := false
		apply := lifecycle.Task{Name: "apply", Work: func(stop, work context.Context) error {
			<-stop.Done()

			select {
			case <-time.After(grace - time.Second):
				finished = true

				return nil
			case <-work.Done():
				return context.Cause(work)
			}
		}}

		require.NoError(t, lifecycle.Run(ctx, grace, apply))
		require.True(t, finished)
	})
}

func TestWorkIsCutAfterGrace(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)

		begin := time.Now()
		apply := lifecycle.Task{Name: "apply", Work: func(_, work context.Context) error {
			<-work.Done()

			return context.Cause(work)
		}}

		require.ErrorIs(t, lifecycle.Run(ctx, grace, apply), lifecycle.ErrGraceOver)
		require.Equal(t, time.Minute+grace, time.Since(begin))
	})
}

func TestTasksThatDoNotListenAreNamedAndLeftBehind(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()

		release := make(chan struct{})
		deaf := func(name string) lifecycle.Task {
			return lifecycle.Task{Name: name, Run: func(context.Context) error {
				<-release

				return nil
			}}
		}

		begin := time.Now()
		err := lifecycle.Run(ctx, grace, deaf("publish"), untilStopped("a"), deaf("apply"))
		require.ErrorIs(t, err, lifecycle.ErrGraceOver)
		require.EqualError(t, err, "shutdown grace period is over: still running: apply, publish")
		require.Equal(t, grace+time.Second, time.Since(begin))
		close(release)
	})
}

func TestLastTasksOutliveTheOthers(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)

		begin := time.Now()

		var applied, watched time.Duration

		apply := lifecycle.Task{Name: "apply", Work: func(stop, _ context.Context) error {
			<-stop.Done()
			time.Sleep(3 * time.Second)

			applied = time.Since(begin)

			return nil
		}}
		ops := lifecycle.Task{Name: "ops", Last: true, Run: func(ctx context.Context) error {
			<-ctx.Done()

			watched = time.Since(begin)

			return nil
		}}

		require.NoError(t, lifecycle.Run(ctx, grace, ops, apply))
		require.Equal(t, time.Minute+3*time.Second, applied)
		require.Equal(t, applied, watched)
	})
}

func TestALastTaskThatFailsStopsTheOthers(t *testing.T) {
	t.Parallel()

	ops := lifecycle.Task{Name: "ops", Last: true, Run: func(context.Context) error { return errBroken }}
	require.EqualError(t, lifecycle.Run(t.Context(), grace, ops, untilStopped("a")), "ops: broken")
}

func TestStartAndStopAHundredTimes(t *testing.T) {
	t.Parallel()

	for range 100 {
		ctx, cancel := context.WithCancel(t.Context())
		go cancel()

		require.NoError(t, lifecycle.Run(ctx, grace, untilStopped("a"), untilStopped("b"), untilStopped("c")))
	}
}

func TestExitCode(t *testing.T) {
	t.Parallel()

	require.Equal(t, 0, lifecycle.ExitCode(nil))
	require.Equal(t, 1, lifecycle.ExitCode(errBroken))
	require.Equal(t, 2, lifecycle.ExitCode(fmt.Errorf("load: %w", &settings.Error{})))
	require.Equal(t, 3, lifecycle.ExitCode(fmt.Errorf("ask: %w", lifecycle.Unreachable(errBroken))))
	require.NoError(t, lifecycle.Unreachable(nil))
	require.EqualError(t, lifecycle.Unreachable(errBroken), "broken")
	require.ErrorIs(t, lifecycle.Unreachable(errBroken), errBroken)
}
