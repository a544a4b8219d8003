package collect_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atlas-relay/atlas-relay/pkg/report"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/collect"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/tally"
)

func startBook(t *testing.T, w *world) *collect.Book {
	t.Helper()

	return startBookOn(t, w, w.js)
}

func startBookOn(t *testing.T, w *world, js jetstream.KeyValueManager) *collect.Book {
	t.Helper()

	ctx, cancel := context.WithCancel(t.Context())
	book := collect.NewBook(w.nc, js, slog.New(slog.DiscardHandler))
	done := make(chan error, 1)

	go func() { done <- book.Run(ctx) }()

	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})

	return book
}

func awaitReports(t *testing.T, book *collect.Book, flow string, listeners int) *tally.Reports {
	t.Helper()

	var last *tally.Reports

	require.Eventually(t, func() bool {
		reports, err := book.Reports(flow, time.Now())
		last = reports

		return err == nil && len(reports.Listeners) == listeners
	}, 20*time.Second, 20*time.Millisecond)

	return last
}

func TestReportsAreGoneByTheirArrival(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.create(t)
	w.reportHealthy(t)

	book := startBook(t, w)
	awaitReports(t, book, w.name, 1)

	reports, err := book.Reports(w.name, time.Now().Add(report.Gone-time.Second))
	require.NoError(t, err)
	require.Len(t, reports.Listeners, 1)

	reports, err = book.Reports(w.name, time.Now().Add(report.Gone+time.Second))
	require.NoError(t, err)
	require.Empty(t, reports.Listeners)
	require.Empty(t, reports.Processors)

	// Nobody forgets them for an hour.
	require.Len(t, reports.Departed, 2)
	require.Equal(t, "l", reports.Departed[0].ID)
	require.Equal(t, tally.RoleListener, reports.Departed[0].Role)
	require.Equal(t, []int{0, 1, 2, 3}, reports.Departed[1].Partitions)

	reports, err = book.Reports(w.name, time.Now().Add(time.Hour+time.Second))
	require.NoError(t, err)
	require.Empty(t, reports.Departed)
}

// hearListenerStop returns a book that has heard all of a healthy flow, and its listener say that it stops.
func hearListenerStop(t *testing.T, w *world) *collect.Book {
	t.Helper()

	w.create(t)
	w.reportHealthy(t)

	book := startBook(t, w)
	awaitReports(t, book, w.name, 1)

	bucket, err := w.js.KeyValue(t.Context(), topology.StatsBucket)
	require.NoError(t, err)
	require.NoError(t, bucket.Delete(t.Context(), topology.ListenerReportKey(w.name, "l")))
	awaitReports(t, book, w.name, 0)

	return book
}

// Whoever says that it stops is not remembered.
func TestWhoLeavesIsForgotten(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	book := hearListenerStop(t, w)

	reports, err := book.Reports(w.name, time.Now().Add(report.Gone+time.Second))
	require.NoError(t, err)
	require.Len(t, reports.Departed, 2)
	require.Equal(t, "l", reports.Departed[0].ID)
	require.True(t, reports.Departed[0].Stopped)
	require.Equal(t, "p", reports.Departed[1].ID)
	require.False(t, reports.Departed[1].Stopped)
}

// Of an instance that stopped before this service could hear it the bucket has only the key: there is nothing to tell. One that
// was heard stays known as stopped while the bucket is watched anew.
func TestWhoLeftBeforeTheWatchHasNoReport(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	heard := hearListenerStop(t, w)

	begun := startBook(t, w)
	awaitReports(t, begun, w.name, 0)

	reports, err := begun.Reports(w.name, time.Now().Add(report.Gone+time.Second))
	require.NoError(t, err)
	require.Len(t, reports.Departed, 1)
	require.Equal(t, "p", reports.Departed[0].ID)

	require.NoError(t, w.nc.ForceReconnect())
	require.Eventually(t, func() bool {
		_, err := heard.Reports(w.name, time.Now())

		return err != nil
	}, 20*time.Second, time.Millisecond)

	reports = awaitReports(t, heard, w.name, 0)
	require.Len(t, reports.Departed, 1)
	require.Equal(t, "l", reports.Departed[0].ID)
	require.True(t, reports.Departed[0].Stopped)
}

func TestReportsOfOtherFlowsAndStrangersAreLeftOut(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.create(t)
	w.reportHealthy(t)

	bucket, err := w.js.KeyValue(t.Context(), topology.StatsBucket)
	require.NoError(t, err)
	_, err = bucket.Put(t.Context(), topology.ListenerReportKey(w.name, "damaged"), []byte{0xff, 0xff})
	require.NoError(t, err)

	book := startBook(t, w)
	require.Equal(t, "l", awaitReports(t, book, w.name, 1).Listeners[0].ID)

	other, err := book.Reports("other", time.Now().Add(time.Minute))
	require.NoError(t, err)
	require.Empty(t, other.Listeners)
}

// Just after the bucket could be read again, a missing report proves nothing.
func TestReportsAreAwaitedBeforeTheyAreMissed(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.create(t)

	book := startBook(t, w)

	require.Eventually(t, func() bool {
		_, err := book.Reports(w.name, time.Now())

		return err != nil && len(err.Error()) > 0 && err.Error() != "not asked yet"
	}, 20*time.Second, 5*time.Millisecond)

	awaitReports(t, book, w.name, 0)
}

// Whoever could not be heard for longer than his lease because the bucket could not be read is not missed for that.
func TestNobodyIsMissedForAnOutage(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.create(t)
	w.reportHealthy(t)

	reported := time.Now()
	require.Eventually(t, func() bool { return time.Since(reported) > 100*time.Millisecond }, 20*time.Second, 10*time.Millisecond)

	began := time.Now()
	reports := awaitReports(t, startBook(t, w), w.name, 1)
	require.True(t, reports.Listeners[0].Arrived.Before(began))
	require.LessOrEqual(t, reports.Listeners[0].Silent, time.Since(began))
	require.LessOrEqual(t, reports.Processors[0].Silent, time.Since(began))
}

// After an outage nobody is taken for gone before it has had the time to be heard, and after a restart of this service
// one that went before is remembered.
func TestNobodyIsTakenForGoneForAnOutage(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.create(t)
	w.reportHealthy(t)

	reported := time.Now()
	require.Eventually(t, func() bool { return time.Since(reported) > 2*time.Second }, 20*time.Second, 10*time.Millisecond)

	book := startBook(t, w)
	reports := awaitReports(t, book, w.name, 1)
	arrived := reports.Listeners[0].Arrived

	reports, err := book.Reports(w.name, arrived.Add(report.Gone+time.Millisecond))
	require.NoError(t, err)
	require.Empty(t, reports.Listeners)
	require.Empty(t, reports.Departed, "since this service can hear, it has been silent for less")

	reports, err = book.Reports(w.name, time.Now().Add(report.Gone+time.Second))
	require.NoError(t, err)
	require.Len(t, reports.Departed, 2)
}

func TestBucketThatComesLater(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	book := startBook(t, w)

	require.Eventually(t, func() bool {
		_, err := book.Reports(w.name, time.Now())

		return err != nil && err.Error() != "not asked yet"
	}, 20*time.Second, 5*time.Millisecond)

	w.create(t)
	w.reportHealthy(t)
	awaitReports(t, book, w.name, 1)
}

// A report tells by its own clock since when a partition is in its state; ours says when that was.
func TestStateTimesAreByOurClock(t *testing.T) {
	t.Parallel()

	const ahead = 3 * time.Hour // of the processor's clock

	w := newWorld(t)
	w.create(t)
	w.reportHealthy(t)

	theirs := time.Now().Add(ahead)
	w.report(t, topology.ProcessorReportKey(w.name, "p"), &relayv1.ProcessorReport{
		Flow: w.name, Instance: &relayv1.Instance{Id: "p"}, ReportTime: timestamppb.New(theirs),
		Partitions: []*relayv1.PartitionReport{
			{Partition: 1, State: relayv1.PartitionState_PARTITION_STATE_PAUSED, Epoch: 1, StateTime: timestamppb.New(theirs.Add(-time.Minute))},
			{Partition: 2, State: relayv1.PartitionState_PARTITION_STATE_APPLYING, Epoch: 1},
		},
	})

	s := await(t, w.flow(t), func(s *tally.Stats) bool { return len(s.Partitions) > 1 && s.Partitions[1].State == "PAUSED" })
	require.InDelta(t, time.Minute.Seconds(), s.Time.Sub(s.Partitions[1].Since).Seconds(), 45)
	require.Zero(t, s.Partitions[2].Since, "an owner of an earlier version does not say")
	require.NotZero(t, s.Processors[0].Arrived)
}
