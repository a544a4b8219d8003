package e2e_test

import (
	"context"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/fault"
	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/verify/live"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// captureVariable is how many seconds the next test breaks things; a longer run finds more.
const captureVariable = "E2E_CAPTURE_SECONDS"

const captureSeconds = 15

// captureChaos breaks what the listening side stands on, at random.
type captureChaos struct {
	s      *scenario
	random *rand.Rand
	source *fault.Proxy // on the second listener's way to the source
}

// TestCaptureUnderChaos runs two listeners on a stream that is small enough to fill, and kills, freezes and cuts off
// listeners, kills NATS and the source, and freezes the processor until the stream is full. The source keeps what it has
// acknowledged, and so must the replica: equal, without a gap, exactly counted.
func TestCaptureUnderChaos(t *testing.T) {
	s := openWith(t, map[string]string{"LEASE_TTL": shortLease, "PARTITIONS": "4", "REPLAY_MARGIN": "1000"})
	s.made = func() { shrink(s) }
	s.write()

	chaos := &captureChaos{s: s, random: rand.New(rand.NewPCG(s.seed, 2))}
	second, nats := chaos.addListener()

	stop := s.supervise(s.relay.Listeners)

	ctx, cancel := context.WithTimeout(t.Context(), seconds(t, captureVariable, captureSeconds))
	defer cancel()

	listeners := fault.Listeners{
		Services: []*harness.Service{s.relay.Listener, second}, Proxies: []*fault.Proxy{nats}, NATS: s.world.NATS, Seed: s.seed,
		Every: 900 * time.Millisecond, Lasts: 3 * time.Second, Told: func(what string) { t.Log(what) },
	}
	broken := make(chan error, 1)

	go func() {
		_, err := listeners.Run(ctx)
		broken <- err
	}()

	chaos.run(ctx)
	require.NoError(t, <-broken)

	s.await("a flow that replicates", harness.Replicating)
	stop()
	s.progress(steady)
	s.finish()
	s.streamIsWhole()
}

// addListener starts a second one, with proxies before NATS and the source.
func (c *captureChaos) addListener() (*harness.Service, *fault.Proxy) {
	t := c.s.t
	t.Helper()

	proxy := func(addr string) *fault.Proxy {
		p, err := fault.Listen(t.Context(), addr)
		require.NoError(t, err)
		t.Cleanup(p.Close)

		return p
	}

	nats := proxy(strings.TrimPrefix(c.s.world.NATS.URL(), "nats://"))
	env := map[string]string{"NATS_URL": "nats://" + nats.Addr()}

	if c.ours() {
		addr := c.s.world.Source.Server.Addr()
		c.source = proxy(addr)
		env["SOURCE_URI"] = strings.Replace(c.s.world.Source.URI.Reveal(), addr, c.source.Addr(), 1)
	}

	service := c.s.relay.AddListener(c.s.t.Context(), env)
	require.NoError(t, service.Start())

	return service, nats
}

// ours tells whether the source is one that may be killed: it was not given by MONGODB.
func (*captureChaos) ours() bool { return os.Getenv(mongotest.Variable) == "" }

// run breaks things one after the other until ctx ends; each is whole again when the next one breaks.
func (c *captureChaos) run(ctx context.Context) {
	for ctx.Err() == nil {
		faults := []func(){c.fill}
		if c.ours() {
			faults = append(faults, c.killSource, c.cutSource)
		}

		faults[c.random.IntN(len(faults))]()

		written := c.s.traffic.Journal().Changes()
		require.Eventually(c.s.t, func() bool {
			return c.s.traffic.Journal().Changes() > written+steady/2
		}, patience, 20*time.Millisecond, "the traffic goes on")
	}
}

// fill freezes the processor until the stream is full, or as full as the traffic makes it while listeners are broken.
func (c *captureChaos) fill() {
	t, processor := c.s.t, c.s.relay.Processors()[0]
	t.Log("freeze the processor")
	require.NoError(t, processor.Freeze())

	written := c.s.traffic.Journal().Changes()
	full := func() bool {
		sample, err := c.s.relay.Sample(t.Context())

		return err == nil && waitsForRoom(sample) || c.s.traffic.Journal().Changes() > written+8*steady
	}
	require.Eventually(t, full, patience, 200*time.Millisecond)
	require.NoError(t, processor.Thaw())
}

// killSource is kill -9 while no write is under way: what the journal says is what the source has.
func (c *captureChaos) killSource() {
	t, source := c.s.t, c.s.world.Source.Server
	t.Log("kill -9 the source")
	c.s.traffic.Pause()
	defer c.s.traffic.Resume()

	require.NoError(t, source.Kill())
	require.NoError(t, source.Restart(t.Context()))
}

// cutSource resets the second listener's connections to the source, at once or in the middle of a reply.
func (c *captureChaos) cutSource() {
	if n := c.random.IntN(64 << 10); n%2 == 0 {
		c.s.t.Logf("cut the way to the source after %d bytes", n)
		c.source.CutAfter(fault.ToClient, n)
	} else {
		c.s.t.Log("cut the way to the source")
		c.source.Cut()
	}
}

// streamIsWhole ends the listeners, so that nothing is purged meanwhile, and checks what is left: it has no gap.
func (s *scenario) streamIsWhole() {
	s.t.Helper()

	sample := s.await("an answer", func(sample *relayv1.Stats) bool { return sample.GetStream() != nil })
	require.Greater(s.t, sample.GetStream().GetFirstSequence(), uint64(1), "nothing was purged: the stream never had to")

	for _, listener := range s.relay.Listeners() {
		require.NoError(s.t, listener.Stop(s.t.Context()))
	}

	nc, js, err := s.world.NATS.JetStream()
	require.NoError(s.t, err)

	defer nc.Close()

	events, writers, err := live.Stream(s.t.Context(), js, "test")
	require.NoError(s.t, err)
	require.Positive(s.t, events)
	s.t.Logf("%d events left in the stream, written by %d processes", events, writers)
}
