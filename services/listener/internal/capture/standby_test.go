package capture_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/capture"
)

// never is a lease that no test waits for.
const never = time.Hour

func ttl(d time.Duration) func(*capture.Options) {
	return func(o *capture.Options) { o.LeaseTTL = d }
}

func (w *world) owners(t *testing.T) jetstream.KeyValue {
	t.Helper()

	bucket, err := w.js.KeyValue(t.Context(), topology.OwnersBucket)
	require.NoError(t, err)

	return bucket
}

// TestStandbyTakesOverFromOneThatStops: the lease would last for an hour, so it was
// given back.
func TestStandbyTakesOverFromOneThatStops(t *testing.T) {
	t.Parallel()

	w := newWorld(t, mongotest.Options{})
	stream := w.init(t, gib)

	active := w.listen(t, func(o *capture.Options) { o.LeaseTTL, o.Holder = never, "id=first" })
	require.Positive(t, active.await(t, capture.Streaming).Term)

	standby := w.listen(t, ttl(never))
	require.Contains(t, standby.await(t, capture.Standby).Reason, "id=first writer=")
	require.Zero(t, standby.Status().Term)

	for round := range int32(4) {
		from := round * 100
		insert(t, w.source, orders, from, from+50)
		awaitTotal(t, stream, uint64(from)+51)

		before := active.Status().Term
		insert(t, w.source, orders, from+50, from+100) // some of them on their way at the stop
		active.stop()
		require.Greater(t, standby.await(t, capture.Streaming).Term, before)
		awaitTotal(t, stream, uint64(from)+101)

		active, standby = standby, w.listen(t, ttl(never))
		standby.await(t, capture.Standby)
	}

	require.Equal(t, sequence(0, 400), read(t, stream).ids(t, orders))
}

// TestTwoThatBelieveToLead deletes the lease of an active listener, which will not
// notice for twenty minutes. The chain lets one of them publish; the other one
// gives up the lease, if it was its own, and stands by.
func TestTwoThatBelieveToLead(t *testing.T) {
	t.Parallel()

	w := newWorld(t, mongotest.Options{})
	stream := w.init(t, gib)

	first := w.listen(t, ttl(never))
	first.await(t, capture.Streaming)
	second := w.listen(t, ttl(never))
	second.await(t, capture.Standby)

	require.NoError(t, w.owners(t).Delete(t.Context(), topology.LeaderKey(flow)))
	second.await(t, capture.Streaming)

	last := int32(0)
	beaten := func() bool {
		insert(t, w.source, orders, last, last+10)

		last += 10

		return first.Status().State == capture.Standby || second.Status().State == capture.Standby
	}
	require.Eventually(t, beaten, patience, 10*time.Millisecond)

	active, standby := first, second
	if first.Status().State == capture.Standby {
		active, standby = second, first
	}

	// It stays with the active one: the other stands back for a TTL, lease or not.
	insert(t, w.source, orders, last, last+500)
	awaitTotal(t, stream, uint64(last)+501)
	require.Equal(t, capture.Streaming, active.Status().State)
	require.Equal(t, capture.Standby, standby.Status().State)
	require.Zero(t, standby.Status().Term)
	require.Equal(t, sequence(0, last+500), read(t, stream).ids(t, orders))
}

// TestLeaseIsTakenAwayAndComesBack: whatever becomes of the key, there is one who
// leads, and an end of a term loses nothing.
func TestLeaseIsTakenAwayAndComesBack(t *testing.T) {
	t.Parallel()

	w := newWorld(t, mongotest.Options{})
	stream := w.init(t, gib)
	l := w.listen(t, ttl(time.Second))
	term := l.await(t, capture.Streaming).Term

	for round, change := range []func(jetstream.KeyValue) error{
		func(b jetstream.KeyValue) error { return b.Delete(t.Context(), topology.LeaderKey(flow)) },
		func(b jetstream.KeyValue) error { return b.Purge(t.Context(), topology.LeaderKey(flow)) },
		func(b jetstream.KeyValue) error {
			_, err := b.Put(t.Context(), topology.LeaderKey(flow), []byte("nonsense"))

			return err
		},
	} {
		require.NoError(t, change(w.owners(t)))
		require.Eventually(t, func() bool {
			status := l.Status()

			return status.State == capture.Streaming && status.Term > term
		}, patience, 10*time.Millisecond)

		term = l.Status().Term
		from := int32(round) * 10
		insert(t, w.source, orders, from, from+10)
		awaitTotal(t, stream, uint64(from)+11)
	}

	require.Equal(t, sequence(0, 30), read(t, stream).ids(t, orders))
}

// TestBucketOfLeasesIsLost: it goes on until the lease ends, then says what is
// missing, and goes on by itself when that is there.
func TestBucketOfLeasesIsLost(t *testing.T) {
	t.Parallel()

	w := newWorld(t, mongotest.Options{})
	stream := w.init(t, gib)
	l := w.listen(t, ttl(2*time.Second))
	l.await(t, capture.Streaming)

	require.NoError(t, w.js.DeleteKeyValue(t.Context(), topology.OwnersBucket))
	insert(t, w.source, orders, 0, 10)

	reason := l.await(t, capture.Waiting).Reason
	require.Contains(t, reason, topology.OwnersBucket)
	require.Contains(t, reason, "relayctl flow init")
	insert(t, w.source, orders, 10, 20)

	standby := w.listen(t, ttl(2*time.Second)) // neither one publishes without a lease
	standby.await(t, capture.Waiting)

	require.NoError(t, topology.CreateBuckets(t.Context(), w.js, 1))
	require.Eventually(t, func() bool {
		a, b := l.Status().State, standby.Status().State

		return a == capture.Streaming && b == capture.Standby || a == capture.Standby && b == capture.Streaming
	}, patience, 10*time.Millisecond)
	awaitTotal(t, stream, 21)
	require.Equal(t, sequence(0, 20), read(t, stream).ids(t, orders))
}

// TestListenerCutOffFromTheSource makes room for one that is not, and is its standby when it is back: whichever
// request a session asks the source first.
func TestListenerCutOffFromTheSource(t *testing.T) {
	t.Parallel()

	for name, origins := range map[string][]string{"change stream": nil, "sessions of the flows skipped": {"back"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cutOffFromTheSource(t, topology.Settings{SkipOrigins: origins})
		})
	}
}

func cutOffFromTheSource(t *testing.T, settings topology.Settings) {
	t.Helper()

	w := newWorld(t, mongotest.Options{})
	stream := w.initWith(t, gib, settings)
	way := newWay(t, w.mongo.Addr())
	cutOff := *w
	cutOff.source = way.client(t)

	first := cutOff.listen(t, ttl(time.Second))
	first.await(t, capture.Streaming)
	second := w.listen(t, ttl(never)) // it would never take over from one that does not let go
	second.await(t, capture.Standby)

	way.cut()
	second.await(t, capture.Streaming)
	require.Eventually(t, func() bool {
		status := first.Status()

		return status.State == capture.Stalled && status.Term == 0
	}, patience, 10*time.Millisecond)
	insert(t, w.source, orders, 0, 10)
	awaitTotal(t, stream, 11)

	way.mend()
	first.await(t, capture.Standby)

	// The acquisition that follows the release follows it at once: that another one
	// has written meanwhile is no reason to step down again.
	term := second.Status().Term
	second.stop()
	require.Equal(t, term+2, first.await(t, capture.Streaming).Term)
	insert(t, w.source, orders, 10, 20)
	awaitTotal(t, stream, 21)
	require.Equal(t, sequence(0, 20), read(t, stream).ids(t, orders))
}

// TestHopelessListenerMakesRoom: what only an operator settles in one listener may be no trouble for another.
func TestHopelessListenerMakesRoom(t *testing.T) {
	t.Parallel()

	w := newWorld(t, mongotest.Options{})
	stream := w.init(t, gib)
	first := w.listen(t, ttl(never))
	first.await(t, capture.Streaming)
	second := w.listen(t, func(o *capture.Options) { o.LeaseTTL, o.Exclude = never, []string{"shop.log"} })
	second.await(t, capture.Standby)

	capped := options.CreateCollection().SetCapped(true).SetSizeInBytes(1 << 20)
	require.NoError(t, w.source.Database("shop").CreateCollection(t.Context(), "log", capped))
	first.await(t, capture.Failed)
	second.await(t, capture.Streaming)
	require.Zero(t, first.Status().Term)

	insert(t, w.source, orders, 0, 10)
	awaitTotal(t, stream, 12)
}
