package collect_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/report"
)

// clockWasAhead is JetStream of a server whose clock was ahead when it stored what is in its buckets, and is right now.
type clockWasAhead struct {
	jetstream.KeyValueManager

	by time.Duration
}

func (c clockWasAhead) KeyValue(ctx context.Context, bucket string) (jetstream.KeyValue, error) {
	kv, err := c.KeyValueManager.KeyValue(ctx, bucket)

	return bucketOfAhead{kv, c.by}, err
}

type bucketOfAhead struct {
	jetstream.KeyValue

	by time.Duration
}

func (b bucketOfAhead) WatchAll(ctx context.Context, opts ...jetstream.WatchOpt) (jetstream.KeyWatcher, error) {
	watcher, err := b.KeyValue.WatchAll(ctx, opts...)
	if err != nil {
		return nil, err
	}

	dated := make(chan jetstream.KeyValueEntry)

	go func() {
		defer close(dated)

		for e := range watcher.Updates() {
			if e != nil {
				e = entryOfAhead{e, b.by}
			}

			select {
			case dated <- e:
			case <-ctx.Done():
				return
			}
		}
	}()

	return watcherOfAhead{watcher, dated}, nil
}

type watcherOfAhead struct {
	jetstream.KeyWatcher

	updates <-chan jetstream.KeyValueEntry
}

func (w watcherOfAhead) Updates() <-chan jetstream.KeyValueEntry { return w.updates }

type entryOfAhead struct {
	jetstream.KeyValueEntry

	by time.Duration
}

func (e entryOfAhead) Created() time.Time { return e.KeyValueEntry.Created().Add(e.by) }

// TestReportsDatedInTheFuture: what an instance said before it was killed, while the clock of NATS was an hour ahead, is not
// heard again and again for that hour, and not anew whenever NATS comes back. A chaos run (seed 89014), whose statistics
// were started anew in between, never became OK.
func TestReportsDatedInTheFuture(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.create(t)
	w.reportHealthy(t)

	book := startBookOn(t, w, clockWasAhead{w.js, time.Hour})

	arrived := awaitReports(t, book, w.name, 1).Listeners[0].Arrived
	require.False(t, arrived.After(time.Now()))

	w.nats.Stop()
	require.Eventually(t, func() bool {
		_, err := book.Reports(w.name, time.Now())

		return err != nil
	}, 20*time.Second, time.Millisecond)
	require.NoError(t, w.nats.Resume())

	require.Equal(t, arrived, awaitReports(t, book, w.name, 1).Listeners[0].Arrived)

	reports, err := book.Reports(w.name, time.Now().Add(report.Gone+time.Second))
	require.NoError(t, err)
	require.Empty(t, reports.Listeners)
	require.Empty(t, reports.Processors)
}
