package lease_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/lease"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// TestReleaseDoesNotOutlastItsDeadline: a renewal is under way to a server that does not answer, and may be for a third of the
// TTL. Who gives the lease back waits for it as long as it was told, and the lease has ended at once.
func TestReleaseDoesNotOutlastItsDeadline(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	silent := &silentJetStream{JetStream: w.js, asked: make(chan struct{}, 1)}

	l, err := lease.NewBucket(silent, topology.OwnersBucket).Acquire(t.Context(), key, "a", long)
	require.NoError(t, err)

	renewing, end := context.WithCancel(t.Context())
	renewed, released, second := make(chan error, 1), make(chan error, 1), make(chan error, 1)

	silent.silent = true

	go func() { renewed <- l.Renew(renewing) }()

	<-silent.asked

	short, cancel := context.WithTimeout(t.Context(), glance)
	defer cancel()

	go func() { second <- l.Renew(short) }()
	go func() { released <- l.Release(short) }()

	for _, done := range []chan error{second, released} {
		select {
		case err := <-done:
			require.ErrorIs(t, err, context.DeadlineExceeded)
		case <-time.After(patience):
			end()
			t.Fatal("it waits for the renewal")
		}
	}

	require.ErrorIs(t, l.Err(), lease.ErrReleased)
	end()
	require.ErrorIs(t, <-renewed, context.Canceled)
}

// silentJetStream gets no answer to what it publishes, once it is silent.
type silentJetStream struct {
	jetstream.JetStream

	silent bool
	asked  chan struct{}
}

func (s *silentJetStream) PublishMsg(ctx context.Context, msg *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if !s.silent {
		return s.JetStream.PublishMsg(ctx, msg, opts...)
	}

	s.asked <- struct{}{}
	<-ctx.Done()

	return nil, ctx.Err() //nolint:wrapcheck // as the client does
}
