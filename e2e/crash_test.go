package e2e_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// rounds is how often each thing is broken.
const rounds = 3

// TestKillNineOfEveryService ends each service without warning in the middle of traffic, several times.
func TestKillNineOfEveryService(t *testing.T) {
	s := open(t)
	s.write()

	for range rounds {
		for _, service := range s.relay.Services() {
			s.progress(100 + rand.Uint64N(steady))
			require.NoError(t, service.Kill())
			require.NoError(t, service.Start())
		}
	}

	s.progress(steady)
	s.finish()
}

// TestKillNineOfAllServicesAtOnce also leaves them away for a while: the source's changes wait in its oplog.
func TestKillNineOfAllServicesAtOnce(t *testing.T) {
	s := open(t)
	s.write()
	s.progress(steady)

	for _, service := range s.relay.Services() {
		require.NoError(t, service.Kill())
	}

	written := s.traffic.Journal().Changes()
	require.Eventually(t, func() bool { return s.traffic.Journal().Changes() > written+steady }, patience, 20*time.Millisecond)

	for _, service := range s.relay.Services() {
		require.NoError(t, service.Start())
	}

	s.progress(steady)
	s.finish()
}

// TestOrderlyRestartOfEveryService ends each service as a deployment does.
func TestOrderlyRestartOfEveryService(t *testing.T) {
	s := open(t)
	s.write()

	for _, service := range s.relay.Services() {
		s.progress(steady)
		require.NoError(t, service.Stop(t.Context()))
		require.Equal(t, 0, service.Process().ExitCode(), "%s: %s", service.Name, service.LastWords())
		require.NoError(t, service.Start())
	}

	s.progress(steady)
	s.finish()
}

func TestNATSRestarts(t *testing.T) {
	ends := map[string]func(*scenario) error{
		"kill -9": func(s *scenario) error { return s.world.NATS.Kill() },
		"SIGTERM": func(s *scenario) error { return s.world.NATS.Stop(s.t.Context()) },
	}

	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			s.write()

			for range rounds {
				s.progress(steady)
				require.NoError(t, end(s))
				require.NoError(t, s.world.NATS.Start())
			}

			s.progress(steady)
			s.finish()
		})
	}
}

func TestTargetRestarts(t *testing.T) {
	s := open(t)
	s.write()

	for range rounds {
		s.progress(steady)
		require.NoError(t, s.world.Target.Server.Kill())
		require.NoError(t, s.world.Target.Server.Restart(t.Context()))
	}

	s.progress(steady)
	s.finish()
}

// TestFrozenServices are alive and do nothing, as on a host that swaps.
func TestFrozenServices(t *testing.T) {
	s := open(t)
	s.write()

	for _, service := range []*harness.Service{s.relay.Listener, s.relay.Processors()[0], s.world.NATS.Service} {
		s.progress(steady)
		require.NoError(t, service.Freeze())

		written := s.traffic.Journal().Changes()
		require.Eventually(t, func() bool { return s.traffic.Journal().Changes() > written+2*steady }, patience, 20*time.Millisecond)
		require.NoError(t, service.Thaw())
	}

	s.progress(steady)
	s.finish()
}
