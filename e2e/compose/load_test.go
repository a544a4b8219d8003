//go:build compose

package compose_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/traffic"
	"github.com/atlas-relay/atlas-relay/e2e/verify/live"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// steady is the rate of the traffic, in changes per second.
const steady = 200

// load is traffic on the source while something is done to the containers, and what the target shows of it.
type load struct {
	t       *testing.T
	s       *stack
	db      string
	traffic *traffic.Traffic
	order   *live.Order
	end     chan struct{}
	running chan error // of the traffic
	watched chan error // of the recording
}

// seed is a random one, or that of a test that failed, and is printed.
func seed(t *testing.T) uint64 {
	t.Helper()

	const variable = "E2E_SEED"

	n := rand.Uint64N(1_000_000)

	if given := os.Getenv(variable); given != "" {
		var err error

		n, err = strconv.ParseUint(given, 10, 64)
		require.NoError(t, err, variable)
	}

	t.Logf("%s=%d", variable, n)

	return n
}

// load begins traffic in a database of its own.
func (s *stack) load(t *testing.T) *load {
	t.Helper()

	l := &load{
		t: t, s: s, db: "load_" + bson.NewObjectID().Hex(),
		end: make(chan struct{}), running: make(chan error, 1), watched: make(chan error, 1),
	}

	options := traffic.Options{Seed: seed(t), Rate: steady}
	l.traffic = traffic.New(s.source.Database(l.db), options)

	var err error

	l.order, err = live.NewOrder(t.Context(), s.target.Database(l.db), l.traffic.Journal().Seen)
	require.NoError(t, err)

	require.NoError(t, l.traffic.Prepare(t.Context()))

	s.changes += uint64(len(options.Collections())) // each is an event

	go func() { l.running <- l.traffic.RunUntil(t.Context(), l.end) }()
	go func() { l.watched <- l.order.Run(t.Context()) }()

	return l
}

// progress waits until the changes of another second are applied.
func (l *load) progress() {
	l.t.Helper()

	from := l.s.await(l.t, "an answer", func(s *relayv1.Stats) bool { return s.ProcessedChanges != nil }).GetProcessedChanges()
	l.s.await(l.t, "progress", func(s *relayv1.Stats) bool { return s.GetProcessedChanges() >= from+steady })
}

// written waits until the source has acknowledged this many more changes.
func (l *load) written(changes uint64) {
	l.t.Helper()

	from := l.traffic.Journal().Changes()

	require.Eventually(l.t, func() bool { return l.traffic.Journal().Changes() >= from+changes }, patience, 20*time.Millisecond)
}

// finish ends the traffic, waits until it is applied, and checks every invariant of package e2e.
func (l *load) finish() *relayv1.Stats {
	l.t.Helper()

	close(l.end)
	require.NoError(l.t, <-l.running)

	l.s.changes += l.traffic.Journal().Changes()

	l.s.await(l.t, "everything applied", harness.Applied(l.s.changes))
	sample := l.s.await(l.t, "a flow that replicates", func(s *relayv1.Stats) bool {
		return harness.Applied(l.s.changes)(s) && harness.Replicating(s) && s.GetStatus() == relayv1.Status_STATUS_OK
	})

	require.NoError(l.t, l.order.Finish(l.t.Context()))
	require.NoError(l.t, <-l.watched)

	events, err := l.order.Verdict()
	require.NoError(l.t, err)
	require.NoError(l.t, live.Counters(sample, l.s.changes, 0))
	l.equal()
	l.chained()

	l.t.Logf("%d changes, %d writes on the target, latency %+v", l.traffic.Journal().Changes(), events, l.traffic.Journal().Latency())

	return sample
}

// equal compares both sides, byte for byte.
func (l *load) equal() {
	l.t.Helper()

	result, err := live.Compare(l.t.Context(), l.s.source.Database(l.db), l.s.target.Database(l.db))
	require.NoError(l.t, err)
	require.True(l.t, result.Equal(), "%d documents differ: %v", result.Different, result.Differences)
	require.Positive(l.t, result.Documents)
}

// chained reads the whole stream: every event is there once, in order.
func (l *load) chained() {
	l.t.Helper()

	nc, err := nats.Connect(natsURL)
	require.NoError(l.t, err)

	defer nc.Close()

	js, err := jetstream.New(nc)
	require.NoError(l.t, err)

	events, writers, err := live.Stream(l.t.Context(), js, flow)
	require.NoError(l.t, err)
	l.t.Logf("%d events in the stream, of %d listeners", events, writers)
}
