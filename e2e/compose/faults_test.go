//go:build compose

package compose_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// fault is something that happens to a container.
type fault struct {
	name       string
	begin, end func(context.Context, *stack, *harness.Container) error // end is nil where it is over by itself
	shows      func(*harness.Container) bool                           // meanwhile; nil where it is over by itself
	ends       bool                                                    // the container's process
}

func faults() []fault {
	docker := func(args ...string) func(context.Context, *stack, *harness.Container) error {
		return func(ctx context.Context, s *stack, c *harness.Container) error {
			_, err := s.docker.Run(ctx, append(args, c.ID)...)

			return err
		}
	}

	is := func(status string) func(*harness.Container) bool {
		return func(c *harness.Container) bool { return c.State.Status == status }
	}

	return []fault{
		// docker kill counts as an order: nobody restarts what it ended.
		{name: "kill", begin: docker("kill"), end: docker("start"), shows: is("exited"), ends: true},
		{name: "crash", begin: crash, ends: true},
		{name: "pause", begin: docker("pause"), end: docker("unpause"), shows: is("paused")},
		{name: "restart", begin: docker("restart"), ends: true},
		{name: "disconnect", begin: disconnect, end: connect, shows: func(c *harness.Container) bool { return len(c.NetworkSettings.Networks) == 0 }},
	}
}

// crash ends the container's process as the kernel does when memory is short: what the file says of restarts applies.
func crash(_ context.Context, _ *stack, c *harness.Container) error {
	group, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", c.State.Pid))
	if err != nil || !strings.Contains(string(group), c.ID) {
		return fmt.Errorf("process %d is not one of %s on this host: an engine in another machine cannot be tried: %w", c.State.Pid, c.Name, err)
	}

	return syscall.Kill(c.State.Pid, syscall.SIGKILL)
}

func disconnect(ctx context.Context, s *stack, c *harness.Container) error {
	for network := range c.NetworkSettings.Networks {
		if _, err := s.docker.Run(ctx, "network", "disconnect", network, c.ID); err != nil {
			return err
		}
	}

	return nil
}

func connect(ctx context.Context, s *stack, c *harness.Container) error {
	for network, as := range c.NetworkSettings.Networks {
		args := []string{"network", "connect"}
		for _, alias := range as.Aliases {
			args = append(args, "--alias", alias)
		}

		if _, err := s.docker.Run(ctx, append(args, network, c.ID)...); err != nil {
			return err
		}
	}

	return nil
}

// away is how long a source is away. What writes to it cannot tell how long that was.
const away = 3 * time.Second

// TestEveryContainerFails does to each container whatever docker can do to it, in the middle of traffic. Afterwards source
// and target are equal, the counters exact and everybody at work, without anybody having done anything.
func TestEveryContainerFails(t *testing.T) {
	for _, service := range []string{"source", "target", "nats", "listener", "processor", "stats"} {
		t.Run(service, func(t *testing.T) {
			s := up(t)
			l := s.load(t)

			for _, f := range faults() {
				l.progress()
				l.suffer(service, f)
			}

			l.progress()
			l.finish()
			s.settled(t)
		})
	}
}

// suffer lets a fault happen while traffic runs, and waits until the container is well again.
func (l *load) suffer(service string, f fault) {
	l.t.Helper()
	l.t.Logf("%s: %s", service, f.name)

	ctx := l.t.Context()

	c, err := l.s.compose.One(ctx, service)
	require.NoError(l.t, err)

	if service == "source" { // so that nobody is in doubt about what it has
		l.traffic.Pause()
	}

	began := c.State.StartedAt
	require.NoError(l.t, f.begin(ctx, l.s, c))

	if service == "source" {
		hold(ctx, away)
	} else {
		l.written(2 * steady)
	}

	if f.end != nil {
		now, err := l.s.compose.One(ctx, service)
		require.NoError(l.t, err)
		require.True(l.t, f.shows(now), now.Says())
		require.NoError(l.t, f.end(ctx, l.s, c))
	}

	l.s.awaitContainers(l.t, service, "is well after "+f.name, func(c *harness.Container) bool {
		return c.Healthy() && c.State.Status == "running" && c.State.StartedAt.After(began) == f.ends
	})

	if service == "source" {
		l.traffic.Resume()
	}
}

func hold(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()

	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// settled: every container is healthy again, by itself.
func (s *stack) settled(t *testing.T) {
	t.Helper()

	for _, service := range []string{"source", "target", "nats", "listener", "processor", "stats"} {
		s.awaitContainers(t, service, "is healthy", (*harness.Container).Healthy)
	}
}
