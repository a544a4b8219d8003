package e2e_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/fault"
	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/verify/live"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// shortLease makes take-overs quick; it is in whole seconds.
const shortLease = "2s"

// standby starts one more listener, behind a proxy before NATS.
func (s *scenario) standby() (*harness.Service, *fault.Proxy) {
	s.t.Helper()

	proxy, err := fault.Listen(s.t.Context(), strings.TrimPrefix(s.world.NATS.URL(), "nats://"))
	require.NoError(s.t, err)
	s.t.Cleanup(proxy.Close)

	service := s.relay.AddListener(s.t.Context(), map[string]string{"NATS_URL": "nats://" + proxy.Addr()})
	require.NoError(s.t, service.Start())

	return service, proxy
}

// streamHolds checks that the stream has every change of the traffic once, in order, with numbers without gaps.
func (s *scenario) streamHolds() {
	s.t.Helper()

	nc, js, err := s.world.NATS.JetStream()
	require.NoError(s.t, err)

	defer nc.Close()

	events, writers, err := live.Stream(s.t.Context(), js, "test")
	require.NoError(s.t, err)
	require.Equal(s.t, s.traffic.Journal().Changes(), events)
	s.t.Logf("%d events in the stream, written by %d processes", events, writers)
}

// TestListenersTakeOver ends the active listener in each way there is; the other one goes on from the stream's tail, and
// the flow is fine with the one that came back as its standby.
func TestListenersTakeOver(t *testing.T) {
	s := openWith(t, map[string]string{"LEASE_TTL": shortLease})
	s.write()

	second, proxy := s.standby()
	first := s.relay.Listener
	swallow := func() error { proxy.Swallow(); return nil }
	heal := func() error { proxy.Heal(); return nil }

	active, standby := first, second

	for _, way := range []struct {
		name       string
		end, begin func() error
	}{
		{"kill -9", first.Kill, first.Start},
		{"half-open", swallow, heal},
		{"freeze", first.Freeze, first.Thaw},
		{"SIGTERM", func() error { return second.Stop(t.Context()) }, second.Start},
	} {
		sample := s.await("a standby that is fine", func(sample *relayv1.Stats) bool {
			return sample.GetStatus() == relayv1.Status_STATUS_OK && active.Streams(sample) && standby.StandsBy(sample)
		})
		require.Empty(t, sample.GetReasons())

		t.Log(way.name, active.Name)
		require.NoError(t, way.end())
		s.await("the standby at work", standby.Streams)
		s.progress(steady)
		require.NoError(t, way.begin())
		s.await("it stands by", active.StandsBy)

		active, standby = standby, active
	}

	s.finish()
	s.streamHolds()
}

// listenersVariable is how many seconds the next test breaks things; a longer run finds more.
const listenersVariable = "E2E_LISTENERS_SECONDS"

const listenersSeconds = 15

// TestListenersCompete breaks listeners, their network and NATS at random, so that they chase each other.
func TestListenersCompete(t *testing.T) {
	s := openWith(t, map[string]string{"LEASE_TTL": shortLease})
	s.write()

	second, one := s.standby()
	third, two := s.standby()
	listeners := []*harness.Service{s.relay.Listener, second, third}

	stop := s.supervise(s.relay.Listeners)

	ctx, cancel := context.WithTimeout(t.Context(), seconds(t, listenersVariable, listenersSeconds))
	defer cancel()

	chaos := fault.Listeners{
		Services: listeners, Proxies: []*fault.Proxy{one, two}, NATS: s.world.NATS, Seed: s.seed,
		Every: 700 * time.Millisecond, Lasts: 3 * time.Second, Told: func(what string) { t.Log(what) },
	}

	hits, err := chaos.Run(ctx)
	require.NoError(t, err)
	require.Positive(t, hits, "nothing was broken")

	s.await("one active, the others ready", func(sample *relayv1.Stats) bool {
		streams := func(l *harness.Service) bool { return l.Streams(sample) }
		standsBy := func(l *harness.Service) bool { return l.StandsBy(sample) }

		return slices.ContainsFunc(listeners, streams) && !slices.ContainsFunc(listeners, func(l *harness.Service) bool { return !streams(l) && !standsBy(l) })
	})

	stop()
	s.progress(steady)
	s.finish()
	s.streamHolds()
}
