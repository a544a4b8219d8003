package lease_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/atlas-relay/atlas-relay/pkg/lease"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	key      = "p.flow.03"
	ttl      = 3 * time.Second // where the lease is to end
	long     = time.Minute
	patience = 20 * time.Second
	glance   = 5 * time.Millisecond
)

// world is a bucket and the ways to it.
type world struct {
	nats   *natstest.Server
	js     jetstream.JetStream
	kv     jetstream.KeyValue
	bucket *lease.Bucket
}

func newWorld(t *testing.T) *world {
	t.Helper()

	server := natstest.New(t)
	js := server.JetStream(t)
	require.NoError(t, topology.CreateBuckets(t.Context(), js, 1))

	kv, err := js.KeyValue(t.Context(), topology.OwnersBucket)
	require.NoError(t, err)

	return &world{nats: server, js: js, kv: kv, bucket: lease.NewBucket(js, topology.OwnersBucket)}
}

func (w *world) acquire(t *testing.T, value string, lasting time.Duration) *lease.Lease {
	t.Helper()

	l, err := w.bucket.Acquire(t.Context(), key, value, lasting)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Release(context.WithoutCancel(t.Context())) })

	return l
}

// awaitFree acquires the key as soon as that is possible, and returns when that
// was.
func (w *world) awaitFree(t *testing.T, value string) (*lease.Lease, time.Time) {
	t.Helper()

	var l *lease.Lease

	require.Eventually(t, func() bool {
		var err error
		l, err = w.bucket.Acquire(t.Context(), key, value, ttl)

		return err == nil
	}, patience, glance)

	now := time.Now()

	t.Cleanup(func() { _ = l.Release(context.WithoutCancel(t.Context())) })

	return l, now
}

func (w *world) value(t *testing.T) string {
	t.Helper()

	entry, err := w.kv.Get(t.Context(), key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return ""
	}

	require.NoError(t, err)

	return string(entry.Value())
}

func TestOneHolder(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	first := w.acquire(t, "a", long)

	_, err := w.bucket.Acquire(t.Context(), key, "b", ttl)
	require.ErrorIs(t, err, lease.ErrHeld)
	require.ErrorContains(t, err, `"a"`)

	require.NoError(t, first.Release(t.Context()))
	require.ErrorIs(t, first.Err(), lease.ErrReleased)

	second := w.acquire(t, "b", long) // over the mark of the release
	require.Greater(t, second.Revision(), first.Revision())
	require.NoError(t, first.Release(t.Context()))
	require.Equal(t, "b", w.value(t), "who has released before deletes nothing")
	require.NoError(t, second.Err())
}

func TestExpiryAndTakeOver(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	first := w.acquire(t, "a", ttl)
	acquired := time.Now()

	<-first.Ended()
	require.ErrorIs(t, first.Err(), lease.ErrExpired)
	require.Less(t, time.Since(acquired), ttl)
	require.Equal(t, "a", w.value(t), "the holder ends before the server lets the key expire")

	second, at := w.awaitFree(t, "b")
	t.Logf("taken over %s after the acquisition", at.Sub(acquired))
	require.GreaterOrEqual(t, at.Sub(acquired), ttl-50*time.Millisecond)

	require.ErrorIs(t, first.Renew(t.Context()), lease.ErrExpired)
	require.NoError(t, first.Release(t.Context()))
	require.Equal(t, "b", w.value(t))
	require.NoError(t, second.Renew(t.Context()))
}

// TestRenewalKeepsTheTTL: a key that was renewed still expires, and no earlier.
func TestRenewalKeepsTheTTL(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	l := w.acquire(t, "a", ttl)
	ctx, cancel := l.Context(t.Context())

	defer cancel()

	keeping, stop := context.WithCancel(t.Context())
	kept := make(chan error, 1)

	go func() { kept <- l.Keep(keeping, func(err error) { t.Error(err) }) }()

	until := time.NewTimer(5 * ttl / 2)
	defer until.Stop()

	for waiting := true; waiting; {
		select {
		case <-until.C:
			waiting = false
		case <-time.After(glance):
			require.NoError(t, ctx.Err())

			_, err := w.bucket.Acquire(t.Context(), key, "b", ttl)
			require.ErrorIs(t, err, lease.ErrHeld)
		}
	}

	stop()
	require.NoError(t, <-kept)

	stopped := time.Now()
	_, at := w.awaitFree(t, "b")
	t.Logf("free %s after the renewals stopped", at.Sub(stopped))
	require.ErrorIs(t, context.Cause(ctx), lease.ErrExpired)
}

func TestKeyChangedByHand(t *testing.T) {
	t.Parallel()

	for name, change := range map[string]func(t *testing.T, w *world){
		"edited": func(t *testing.T, w *world) {
			t.Helper()

			_, err := w.kv.Put(t.Context(), key, []byte("nonsense"))
			require.NoError(t, err)
		},
		"deleted": func(t *testing.T, w *world) { t.Helper(); require.NoError(t, w.kv.Delete(t.Context(), key)) },
		"purged":  func(t *testing.T, w *world) { t.Helper(); require.NoError(t, w.kv.Purge(t.Context(), key)) },
		"bucket made anew": func(t *testing.T, w *world) {
			t.Helper()

			require.NoError(t, w.js.DeleteKeyValue(t.Context(), topology.OwnersBucket))
			require.NoError(t, topology.CreateBuckets(t.Context(), w.js, 1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)
			l := w.acquire(t, "a", long)
			ctx, cancel := l.Context(t.Context())

			defer cancel()

			change(t, w)
			require.ErrorIs(t, l.Renew(t.Context()), lease.ErrLost)
			require.ErrorIs(t, context.Cause(ctx), lease.ErrLost)
			<-l.Ended()

			// Nobody's lease: the next one need not wait.
			next := w.acquire(t, "b", long)
			require.NoError(t, l.Release(t.Context()))
			require.Equal(t, "b", w.value(t))
			require.NoError(t, next.Renew(t.Context()))
		})
	}
}

func TestServerRestart(t *testing.T) {
	t.Parallel()

	w := newWorld(t)

	l, err := w.bucket.Acquire(t.Context(), key, "a", long)
	require.NoError(t, err)

	w.nats.Restart(t)

	// Held, by the server too, and renewed.
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()

		return l.Renew(ctx) == nil
	}, patience, glance)

	_, err = w.bucket.Acquire(t.Context(), key, "b", ttl)
	require.ErrorIs(t, err, lease.ErrHeld)
	require.NoError(t, l.Release(t.Context()))
	w.acquire(t, "b", long)
}

func TestServerAway(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	l := w.acquire(t, "a", ttl)
	failed := make(chan error, 1)

	w.nats.Stop()

	err := l.Keep(t.Context(), func(err error) {
		select {
		case failed <- err:
		default:
		}
	})
	require.ErrorIs(t, err, lease.ErrExpired, "a holder that cannot renew stops")
	require.Error(t, <-failed)

	require.NoError(t, w.nats.Resume())
	w.awaitFree(t, "b")
}

// TestLostReply: what was stored although the reply did not arrive is known
// again by its value.
func TestLostReply(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	deaf := &deafJetStream{JetStream: w.js}
	bucket := lease.NewBucket(deaf, topology.OwnersBucket)

	deaf.lost = 1
	_, err := bucket.Acquire(t.Context(), key, "a", long)
	require.ErrorIs(t, err, nats.ErrTimeout)

	l, err := bucket.Acquire(t.Context(), key, "a", long)
	require.NoError(t, err)

	deaf.lost = 1
	require.ErrorIs(t, l.Renew(t.Context()), nats.ErrTimeout)
	require.NoError(t, l.Err())
	require.NoError(t, l.Renew(t.Context()))

	deaf.lost = 1
	require.ErrorIs(t, l.Renew(t.Context()), nats.ErrTimeout)
	require.NoError(t, l.Release(t.Context()))
	require.Empty(t, w.value(t))
}

// deafJetStream loses the next replies.
type deafJetStream struct {
	jetstream.JetStream

	lost int
}

func (d *deafJetStream) PublishMsg(ctx context.Context, msg *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	ack, err := d.JetStream.PublishMsg(ctx, msg, opts...)
	if err == nil && d.lost > 0 {
		d.lost--

		return nil, nats.ErrTimeout
	}

	return ack, err
}

// TestLeaseIsCountedFromBeforeTheRequest: while a reply is on its way, the server's time runs.
func TestLeaseIsCountedFromBeforeTheRequest(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	slow := &slowJetStream{JetStream: w.js}

	l, err := lease.NewBucket(slow, topology.OwnersBucket).Acquire(t.Context(), key, "a", long)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Release(context.WithoutCancel(t.Context())) })
	require.False(t, l.Deadline().After(slow.stored.Add(long-lease.Margin(long))), "acquired")

	require.NoError(t, l.Renew(t.Context()))
	require.False(t, l.Deadline().After(slow.stored.Add(long-lease.Margin(long))), "renewed")
}

// slowJetStream keeps replies back. However short that is, whoever counts from them counts too much.
type slowJetStream struct {
	jetstream.JetStream

	stored time.Time // not after the server has stored the last message
}

func (s *slowJetStream) PublishMsg(ctx context.Context, msg *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	s.stored = time.Now()
	ack, err := s.JetStream.PublishMsg(ctx, msg, opts...)

	time.Sleep(glance)

	return ack, err
}

// TestContextEndsWithTheLease: also one that was made before renewals, or after
// the end.
func TestContextEndsWithTheLease(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	l := w.acquire(t, "a", long)

	early, cancelEarly := l.Context(t.Context())
	defer cancelEarly()

	given, giveUp := l.Context(t.Context())
	giveUp()
	require.ErrorIs(t, given.Err(), context.Canceled)

	require.NoError(t, l.Renew(t.Context()))
	require.NoError(t, early.Err())

	require.NoError(t, l.Release(t.Context()))
	require.ErrorIs(t, context.Cause(early), lease.ErrReleased)

	late, cancelLate := l.Context(t.Context())
	defer cancelLate()

	require.ErrorIs(t, context.Cause(late), lease.ErrReleased)
}

// TestHolderThatCannotTellTime wakes up after its lease was taken: it deletes
// and renews nothing.
func TestHolderThatCannotTellTime(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	l, err := w.bucket.Acquire(t.Context(), key, "a", time.Hour) // by its clock; the key is gone for all others
	require.NoError(t, err)
	require.NoError(t, w.kv.Purge(t.Context(), key))

	w.acquire(t, "b", long)

	require.NoError(t, l.Err(), "it knows nothing yet")
	require.ErrorIs(t, l.Renew(t.Context()), lease.ErrLost)
	require.NoError(t, l.Release(t.Context()))
	require.Equal(t, "b", w.value(t))
}
