package capture_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/capture"
)

// TestStandbyOfABusyStream: the active listener publishes so fast, or the standby's machine is so slow, that something is
// stored during each reading of the stream's end. That is no trouble of the standby, which has nothing to go on from yet;
// and when the active one stops, the end stands still.
func TestStandbyOfABusyStream(t *testing.T) {
	t.Parallel()

	w := newWorld(t, mongotest.Options{})
	stream := w.init(t, gib)
	active := w.listen(t, ttl(never))
	active.await(t, capture.Streaming)

	reads, goOn, quiet := make(chan struct{}), make(chan struct{}), make(chan struct{})
	slow := *w
	slow.client = func(js jetstream.JetStream) jetstream.JetStream {
		return natstest.Interrupt(js, event.MarkerSubject(flow), func() {
			select {
			case reads <- struct{}{}:
				<-goOn
			case <-quiet:
			}
		})
	}
	standby := slow.listen(t, ttl(never))

	var last int32

	for began := time.Now(); standby.Status().State != capture.Standby; {
		require.Less(t, time.Since(began), patience, "it does not stand by: %s", standby.Status().Reason)

		select {
		case <-reads:
			insert(t, w.source, orders, last, last+1)

			last++
			awaitTotal(t, stream, uint64(last)+1)
			goOn <- struct{}{}
		case <-time.After(10 * time.Millisecond):
		}
	}

	require.Positive(t, last, "nothing was stored while it read")
	close(quiet)
	active.stop()
	standby.await(t, capture.Streaming)
	insert(t, w.source, orders, last, last+10)
	awaitTotal(t, stream, uint64(last)+11)
	require.Equal(t, sequence(0, last+10), read(t, stream).ids(t, orders))
}
