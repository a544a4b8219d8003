package harness

import (
	"context"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// program stands in for a service.
func program(t *testing.T, name string, args ...string) *Service {
	t.Helper()

	path, err := exec.LookPath(name)
	require.NoError(t, err)

	s := newService(name, path, args, nil, t.TempDir())
	t.Cleanup(func() { require.NoError(t, s.Kill()) })
	require.NoError(t, s.Start())

	return s
}

func TestSuperviseStartsWhatEnds(t *testing.T) {
	t.Parallel()

	ctx, cancel := context.WithCancel(t.Context())
	service := program(t, "sleep", "600")
	first := service.Process().PID()

	require.Error(t, service.Start(), "it runs already")

	deaths := make(chan Death, 1)
	supervised := make(chan error, 1)

	go func() {
		supervised <- Supervise(ctx, func() []*Service { return []*Service{service} }, func(d Death) { deaths <- d })
	}()

	require.NoError(t, service.Kill())

	death := <-deaths
	require.Equal(t, first, death.PID)
	require.Equal(t, service.Process().PID(), death.NewPID)
	require.NotEqual(t, first, death.NewPID)
	require.Equal(t, "signal: killed", death.How)

	cancel()
	require.NoError(t, <-supervised)
}

func TestSuperviseGivesUpOnWhatDoesNotLive(t *testing.T) {
	t.Parallel()

	services := []*Service{program(t, "false"), program(t, "sleep", "600")}

	err := Supervise(t.Context(), func() []*Service { return services }, func(Death) {})
	require.ErrorContains(t, err, "false ended 3 times in a row")
}

func TestUsageSurvivesTheEndOfAProcess(t *testing.T) {
	t.Parallel()

	service := program(t, "sleep", "600")
	used := service.Usage()
	require.Positive(t, used.PeakMemory)

	require.NoError(t, service.Stop(t.Context()))
	require.GreaterOrEqual(t, service.Usage().PeakMemory, used.PeakMemory)
	require.Equal(t, -1, service.Process().ExitCode(), "SIGTERM ended it")
}

func TestConditions(t *testing.T) {
	t.Parallel()

	number := func(n uint64) *uint64 { return &n }
	sample := func(total, skipped, pending uint64) *relayv1.Stats {
		return &relayv1.Stats{TotalChanges: number(total), SkippedChanges: number(skipped), PendingChanges: number(pending), Consistent: true}
	}

	require.True(t, Applied(8)(sample(10, 2, 0)))
	require.False(t, Applied(9)(sample(10, 2, 0)), "not everything has arrived")
	require.False(t, Applied(8)(sample(10, 2, 1)), "one is pending")
	require.False(t, Applied(0)(&relayv1.Stats{Consistent: true}), "unknown is not zero")

	moving := sample(10, 2, 0)
	moving.Consistent = false
	require.False(t, Applied(8)(moving))

	working := func(listener relayv1.ListenerState, partition relayv1.PartitionState) *relayv1.Stats {
		return &relayv1.Stats{
			Listeners:  []*relayv1.ListenerReport{{State: listener, Reason: "because"}},
			Partitions: []*relayv1.PartitionStats{{State: partition, Reason: "because"}},
		}
	}

	const (
		streaming = relayv1.ListenerState_LISTENER_STATE_STREAMING
		applying  = relayv1.PartitionState_PARTITION_STATE_APPLYING
	)

	require.True(t, Replicating(working(streaming, applying)))
	require.False(t, Replicating(working(streaming, relayv1.PartitionState_PARTITION_STATE_ACQUIRING)))
	require.False(t, Replicating(working(relayv1.ListenerState_LISTENER_STATE_STARTING, applying)))
	require.False(t, Replicating(&relayv1.Stats{}), "nobody reports")

	require.NoError(t, terminal(working(streaming, applying)))
	require.ErrorContains(t, terminal(working(relayv1.ListenerState_LISTENER_STATE_HISTORY_LOST, applying)), "because")
	require.ErrorContains(t, terminal(working(streaming, relayv1.PartitionState_PARTITION_STATE_FAILED)), "because")
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	t.Parallel()

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()

	err := Await(ctx, time.Millisecond, func(context.Context) (bool, error) { return false, nil })
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestSuperviseStartsWhatIsKilledAgainAndAgain(t *testing.T) {
	t.Parallel()

	ctx, cancel := context.WithCancel(t.Context())
	service := program(t, "sleep", "600")
	deaths := make(chan Death)
	supervised := make(chan error, 1)

	go func() {
		supervised <- Supervise(ctx, func() []*Service { return []*Service{service} }, func(d Death) { deaths <- d })
	}()

	for range 2 * shortLives {
		require.NoError(t, service.Kill())
		require.Same(t, service, (<-deaths).Service)
	}

	cancel()
	require.NoError(t, <-supervised)
}

// TestSuperviseStartsWhatSIGKILLEnds, whoever sent it: a failpoint ends its own process so.
func TestSuperviseStartsWhatSIGKILLEnds(t *testing.T) {
	t.Parallel()

	ctx, cancel := context.WithCancel(t.Context())
	service := program(t, "sh", "-c", "kill -9 $$")
	deaths := make(chan Death)
	supervised := make(chan error, 1)

	go func() {
		supervised <- Supervise(ctx, func() []*Service { return []*Service{service} }, func(d Death) { deaths <- d })
	}()

	for range 2 * shortLives {
		require.Equal(t, "signal: killed", (<-deaths).How)
	}

	cancel()
	drain(deaths, supervised)
}

// drain lets a supervisor end that may be telling of one more death.
func drain(deaths <-chan Death, supervised <-chan error) {
	for {
		select {
		case <-deaths:
		case <-supervised:
			return
		}
	}
}

// TestConfigureHoldsFromTheNextStart: settings are added, changed and taken away.
func TestConfigureHoldsFromTheNextStart(t *testing.T) {
	t.Parallel()

	path, err := exec.LookPath("sh")
	require.NoError(t, err)

	given := map[string]string{"A": "1", "B": "1"}
	s := newService("sh", path, []string{"-c", `echo "A=$A B=$B C=$C"`}, given, t.TempDir())

	said := func() string {
		require.NoError(t, s.Start())
		require.Zero(t, s.Process().ExitCode())

		return s.LastWords()
	}

	require.Equal(t, "A=1 B=1 C=\n", said())
	s.Configure(map[string]string{"A": "2", "B": "", "C": "2"})
	require.Equal(t, "A=1 B=1 C=\nA=2 B= C=2\n", said())
	require.Equal(t, map[string]string{"A": "1", "B": "1"}, given, "what others share is left alone")
}

func TestSuperviseLeavesAloneWhatWasStopped(t *testing.T) {
	t.Parallel()

	ctx, cancel := context.WithCancel(t.Context())
	stopped, killed := program(t, "sleep", "600"), program(t, "sleep", "600")
	deaths := make(chan Death, 2)
	supervised := make(chan error, 1)

	go func() {
		supervised <- Supervise(ctx, func() []*Service { return []*Service{stopped, killed} }, func(d Death) { deaths <- d })
	}()

	require.NoError(t, stopped.Stop(t.Context()))
	require.NoError(t, killed.Kill())
	require.Same(t, killed, (<-deaths).Service, "the one before it in the list was looked at first")

	cancel()
	require.NoError(t, <-supervised)
	require.False(t, stopped.Process().running())
}

func TestScaleKeepsTheOldest(t *testing.T) {
	t.Parallel()

	path, err := exec.LookPath("sleep")
	require.NoError(t, err)

	r := &Relay{}
	dir := t.TempDir()
	r.processors.make = func(name string) *Service { return newService(name, path, []string{"600"}, nil, dir) }

	t.Cleanup(func() {
		for _, s := range r.processors.all {
			require.NoError(t, s.Kill())
		}
	})

	for _, n := range []int{1, 3, 2, 5} {
		require.NoError(t, r.Scale(t.Context(), n))
		require.Len(t, r.Processors(), n)

		for i, s := range r.processors.all {
			require.Equal(t, i < n, s.Process().running(), "%s of %d", s.Name, n)
		}
	}
}
