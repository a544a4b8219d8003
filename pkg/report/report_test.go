package report_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/report"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	key      = "l.test.0123"
	patience = 20 * time.Second
)

func TestReportFollowsItsInstance(t *testing.T) {
	t.Parallel()

	js := natstest.New(t).JetStream(t)

	var total atomic.Uint64

	build := func(at *timestamppb.Timestamp) proto.Message {
		return &relayv1.ListenerReport{Flow: "test", ReportTime: at, TotalEvents: total.Load()}
	}

	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)

	// The bucket comes later than the instance, as with a flow that is not made
	// yet.
	go func() { done <- report.Run(ctx, js, key, time.Hour, build, slog.New(slog.DiscardHandler)) }()

	bucket, err := js.CreateKeyValue(t.Context(), topology.StatsConfig())
	require.NoError(t, err)
	require.Equal(t, uint64(0), await(t, bucket, 0).GetTotalEvents())

	total.Store(7)

	got := await(t, bucket, 7)
	require.WithinDuration(t, time.Now(), got.GetReportTime().AsTime(), patience)

	stop()
	require.NoError(t, <-done)

	_, err = bucket.Get(t.Context(), key)
	require.ErrorIs(t, err, jetstream.ErrKeyNotFound)
}

func await(t *testing.T, bucket jetstream.KeyValue, total uint64) *relayv1.ListenerReport {
	t.Helper()

	got := new(relayv1.ListenerReport)

	require.Eventually(t, func() bool {
		entry, err := bucket.Get(t.Context(), key)

		return err == nil && proto.Unmarshal(entry.Value(), got) == nil && got.GetTotalEvents() == total
	}, patience, 20*time.Millisecond)

	return got
}

// TestReportIsRenewed keeps a report that does not change young enough for its
// readers, without putting it every second.
func TestReportIsRenewed(t *testing.T) {
	t.Parallel()

	js := natstest.New(t).JetStream(t)
	bucket, err := js.CreateKeyValue(t.Context(), topology.StatsConfig())
	require.NoError(t, err)

	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)

	go func() {
		done <- report.Run(ctx, js, key, time.Hour, func(at *timestamppb.Timestamp) proto.Message {
			return &relayv1.ListenerReport{Flow: "test", ReportTime: at}
		}, slog.New(slog.DiscardHandler))
	}()

	var first, second jetstream.KeyValueEntry

	require.Eventually(t, func() bool {
		first, err = bucket.Get(t.Context(), key)

		return err == nil
	}, patience, 20*time.Millisecond)
	require.Eventually(t, func() bool {
		second, err = bucket.Get(t.Context(), key)

		return err == nil && second.Revision() > first.Revision()
	}, patience, 20*time.Millisecond)

	renewed := second.Created().Sub(first.Created())
	require.Greater(t, renewed, 3*time.Second)
	require.Less(t, renewed, report.Gone)

	stop()
	require.NoError(t, <-done)
}

func TestInstancesDiffer(t *testing.T) {
	t.Parallel()

	a, b := report.NewInstance(":8081"), report.NewInstance("127.0.0.1:0")
	require.NotEqual(t, a.GetId(), b.GetId())
	require.Len(t, a.GetId(), 16)
	require.NotEmpty(t, a.GetHost())
	require.Positive(t, a.GetPid())
}
