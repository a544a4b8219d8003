package api_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/access"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/api"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/deadletter"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/tally"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(mongotest.Main(m)) }

// fixed is a flow whose sample a test chooses.
type fixed struct {
	name   string
	sample func(ctx context.Context) (tally.Stats, error)
}

func (f fixed) Name() string                                    { return f.name }
func (f fixed) Sample(ctx context.Context) (tally.Stats, error) { return f.sample(ctx) }

func always(s tally.Stats) fixed {
	return fixed{s.Flow, func(context.Context) (tally.Stats, error) { return s, nil }}
}

// serve runs a server; stop ends it and waits.
func serve(t *testing.T, flows ...api.Flow) (conn *grpc.ClientConn, stop func()) {
	t.Helper()

	return serveLetters(t, flows, nil)
}

func serveLetters(t *testing.T, flows []api.Flow, letters []*deadletter.Letters) (conn *grpc.ClientConn, stop func()) {
	t.Helper()

	return serveAs(t, access.New(access.Nobody, access.Operator, nil), flows, letters)
}

func serveAs(t *testing.T, guard *access.Guard, flows []api.Flow, letters []*deadletter.Letters) (conn *grpc.ClientConn, stop func()) {
	t.Helper()

	return serveWith(t, api.Options{Guard: guard, Flows: flows, Letters: letters})
}

func serveWith(t *testing.T, options api.Options) (conn *grpc.ClientConn, stop func()) {
	t.Helper()

	options.Addr = "127.0.0.1:0"
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}

	ctx, cancel := context.WithCancel(t.Context())
	server, err := api.Listen(ctx, options)
	require.NoError(t, err)

	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx) }()

	conn, err = grpc.NewClient(server.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)

	stopped := false
	stop = func() {
		if !stopped {
			stopped = true

			cancel()
			require.NoError(t, <-done)
		}
	}

	t.Cleanup(func() {
		require.NoError(t, conn.Close())
		stop()
	})

	return conn, stop
}

func sampleStats() tally.Stats {
	return tally.Stats{
		Flow: "a", Time: time.Unix(1_800_000_000, 0), Status: tally.Degraded, Reasons: []string{"r"}, NextStep: "n",
		Total: new(uint64(10)), Processed: new(uint64(6)), Failed: new(uint64(0)), Skipped: new(uint64(3)), Pending: new(uint64(1)),
		Batches: new(uint64(2)), PendingBatchSize: new(uint64(1)), IsProcessing: new(true), Parked: new(uint64(1)), DeadLetters: new(uint64(8)), Consistent: true, AddsUp: new(true),
		CaptureLag: new(time.Second), Lag: new(2 * time.Second),
		Stream:     &tally.Stream{Name: "CDC_a", ID: "id", LastSequence: 5, MaxBytes: 7, Position: event.Position{T: 1, I: 2, Ordinal: 3}},
		Listeners:  []tally.Listener{{Instance: tally.Instance{ID: "l"}, State: "STREAMING", Total: 10, CaptureLag: new(time.Second)}},
		Processors: []tally.Processor{{Instance: tally.Instance{ID: "p"}, Partitions: make([]tally.Ownership, 3)}},
		Partitions: []tally.Partition{{
			Number: 0, Owner: "p", Ownership: tally.Ownership{State: "PAUSED", Reason: "why", PendingBatchSize: 1, IsProcessing: true},
			Checkpoint: checkpoint.Document{Epoch: 4, Parked: 1, Place: checkpoint.Place{Sequence: 5}, Counters: checkpoint.Counters{Processed: 6}},
			Pending:    new(uint64(1)), Lag: new(2 * time.Second),
		}},
		Unsupported: []checkpoint.UnsupportedDocument{{DB: "db", Coll: "c", Operation: "drop", Events: 1, Diverges: true}},
	}
}

func TestGetStats(t *testing.T) {
	t.Parallel()

	conn, _ := serve(t, always(sampleStats()))
	response, err := relayv1.NewStatsServiceClient(conn).GetStats(t.Context(), &relayv1.GetStatsRequest{})
	require.NoError(t, err)

	s := response.GetStats()
	require.Equal(t, "a", s.GetFlow())
	require.Equal(t, relayv1.Status_STATUS_DEGRADED, s.GetStatus())
	require.Equal(t, uint64(10), s.GetTotalChanges())
	require.Equal(t, uint64(6), s.GetProcessedChanges())
	require.NotNil(t, s.FailedChanges, "a known zero is present")
	require.Equal(t, uint64(1), s.GetPendingChanges())
	require.Equal(t, uint64(1), s.GetParkedChanges())
	require.Equal(t, uint64(8), s.GetDeadLetters())
	require.Equal(t, uint64(1), s.GetPartitions()[0].GetParkedChanges())
	require.True(t, s.GetAddsUp())
	require.Equal(t, 2*time.Second, s.GetLag().AsDuration())
	require.Equal(t, uint32(3), s.GetStream().GetPosition().GetOrdinal())
	require.Equal(t, relayv1.ListenerState_LISTENER_STATE_STREAMING, s.GetListeners()[0].GetState())
	require.Equal(t, uint32(3), s.GetProcessors()[0].GetPartitions())
	require.Equal(t, relayv1.PartitionState_PARTITION_STATE_PAUSED, s.GetPartitions()[0].GetState())
	require.Equal(t, "why", s.GetPartitions()[0].GetReason())
	require.Equal(t, uint64(4), s.GetPartitions()[0].GetEpoch())
	require.Equal(t, "drop", s.GetUnsupported()[0].GetOperation())
}

func TestUnknownIsAbsent(t *testing.T) {
	t.Parallel()

	conn, _ := serve(t, always(tally.Stats{Flow: "a", Status: tally.Unknown, Total: new(uint64(1)), Stream: new(tally.Stream), Unknown: []string{"target: away"}}))
	response, err := relayv1.NewStatsServiceClient(conn).GetStats(t.Context(), &relayv1.GetStatsRequest{Flow: "a"})
	require.NoError(t, err)

	s := response.GetStats()
	require.NotNil(t, s.TotalChanges)
	require.Nil(t, s.ProcessedChanges)
	require.Nil(t, s.AddsUp)
	require.Nil(t, s.GetLag())
	require.Equal(t, []string{"target: away"}, s.GetUnknownBecause())
}

func TestErrorsHaveCodeReasonAndRemedy(t *testing.T) {
	t.Parallel()

	away := tally.Stats{Flow: "away", Status: tally.Unknown, Unknown: []string{"NATS: no", "target: no"}}
	broken := fixed{"broken", func(context.Context) (tally.Stats, error) { return tally.Stats{}, errors.New("secret insides") }}
	conn, _ := serve(t, always(away), broken)
	client := relayv1.NewStatsServiceClient(conn)

	for name, test := range map[string]struct {
		flow   string
		code   codes.Code
		reason string
	}{
		"no name and several flows": {"", codes.InvalidArgument, "FLOW_REQUIRED"},
		"another flow":              {"other", codes.NotFound, "FLOW_NOT_FOUND"},
		"nobody answers":            {"away", codes.Unavailable, "SERVERS_UNREACHABLE"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			_, err := client.GetStats(t.Context(), &relayv1.GetStatsRequest{Flow: test.flow})
			requireStatus(t, err, test.code, test.reason)
		})
	}

	t.Run("a bug", func(t *testing.T) {
		t.Parallel()

		_, err := client.GetStats(t.Context(), &relayv1.GetStatsRequest{Flow: "broken"})
		require.Equal(t, codes.Internal, status.Code(err))
		require.NotContains(t, err.Error(), "secret")
	})

	t.Run("interval", func(t *testing.T) {
		t.Parallel()

		stream, err := client.WatchStats(t.Context(), &relayv1.WatchStatsRequest{Flow: "away", Interval: durationpb.New(time.Millisecond)})
		require.NoError(t, err)
		_, err = stream.Recv()
		requireStatus(t, err, codes.InvalidArgument, "INTERVAL_TOO_SHORT")
	})

	// A watch outlives an outage.
	t.Run("watch while nobody answers", func(t *testing.T) {
		t.Parallel()

		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()

		stream, err := client.WatchStats(ctx, &relayv1.WatchStatsRequest{Flow: "away"})
		require.NoError(t, err)
		response, err := stream.Recv()
		require.NoError(t, err)
		require.Equal(t, relayv1.Status_STATUS_UNKNOWN, response.GetStats().GetStatus())
	})
}

func requireStatus(t *testing.T, err error, code codes.Code, reason string) {
	t.Helper()

	s := status.Convert(err)
	require.Equal(t, code, s.Code(), "%v", err)

	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			require.Equal(t, reason, info.GetReason())
			require.NotEmpty(t, info.GetMetadata()["remedy"])

			return
		}
	}

	require.Fail(t, "no ErrorInfo", "%v", err)
}

func TestWatchSendsAtOnceAndThenEveryInterval(t *testing.T) {
	t.Parallel()

	conn, _ := serve(t, always(sampleStats()))
	ctx, cancel := context.WithCancel(t.Context())
	begin := time.Now()
	stream, err := relayv1.NewStatsServiceClient(conn).WatchStats(ctx, &relayv1.WatchStatsRequest{Interval: durationpb.New(200 * time.Millisecond)})
	require.NoError(t, err)

	for range 4 {
		_, err := stream.Recv()
		require.NoError(t, err)
	}

	// All watches send at the same beats, so the second one may follow the first at once.
	require.GreaterOrEqual(t, time.Since(begin), 400*time.Millisecond)
	cancel()

	for err == nil {
		_, err = stream.Recv()
	}

	require.Equal(t, codes.Canceled, status.Code(err))
}

func TestStopEndsWatches(t *testing.T) {
	t.Parallel()

	conn, stop := serve(t, always(sampleStats()))
	stream, err := relayv1.NewStatsServiceClient(conn).WatchStats(t.Context(), &relayv1.WatchStatsRequest{Interval: durationpb.New(time.Hour)})
	require.NoError(t, err)
	_, err = stream.Recv()
	require.NoError(t, err)

	begin := time.Now()

	stop()
	require.Less(t, time.Since(begin), time.Minute, "long before the next answer is due")

	_, err = stream.Recv()
	requireStatus(t, err, codes.Unavailable, "STOPPING")
}

func TestHealthAndReflection(t *testing.T) {
	t.Parallel()

	conn, _ := serve(t, always(sampleStats()))

	for _, name := range []string{"", "relay.v1.StatsService", "relay.v1.DeadLetterService"} {
		response, err := grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: name})
		require.NoError(t, err)
		require.Equal(t, grpc_health_v1.HealthCheckResponse_SERVING, response.GetStatus())
	}

	stream, err := grpc_reflection_v1.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	require.NoError(t, err)
	require.NoError(t, stream.Send(&grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{},
	}))

	response, err := stream.Recv()
	require.NoError(t, err)
	require.Contains(t, response.GetListServicesResponse().String(), "relay.v1.StatsService")
	require.NoError(t, stream.CloseSend())

	_, err = stream.Recv()
	require.Error(t, err)
}

func TestTakenPortIsAnErrorAtStart(t *testing.T) {
	t.Parallel()

	conn, _ := serve(t)
	_, err := api.Listen(t.Context(), api.Options{Addr: conn.Target()})
	require.ErrorContains(t, err, "GRPC_ADDR")
}
