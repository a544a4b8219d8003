package main

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// serveStats serves any stats service; stop ends it before the test does.
func serveStats(t *testing.T, addr string, s relayv1.StatsServiceServer) (bound string, stop func()) {
	t.Helper()

	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr)
	require.NoError(t, err)

	server := grpc.NewServer()
	relayv1.RegisterStatsServiceServer(server, s)
	relayv1.RegisterDeadLetterServiceServer(server, new(letterService))

	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()

	stopped := false
	stop = func() {
		if !stopped {
			stopped = true

			server.Stop()
			require.NoError(t, <-done)
		}
	}
	t.Cleanup(stop)

	return listener.Addr().String(), stop
}

// inventory answers the lists in pages of two.
type inventory struct {
	relayv1.UnimplementedStatsServiceServer

	unknown []string
}

func sampleTime() time.Time { return time.Unix(1_800_000_000, 0) }

func (*inventory) ListFlows(context.Context, *relayv1.ListFlowsRequest) (*relayv1.ListFlowsResponse, error) {
	return &relayv1.ListFlowsResponse{Flows: []*relayv1.Flow{{Name: "atlas-to-local"}, {Name: "local-to-atlas"}}}, nil
}

func (i *inventory) ListPartitions(_ context.Context, request *relayv1.ListPartitionsRequest) (*relayv1.ListPartitionsResponse, error) {
	at := func(ago time.Duration) *timestamppb.Timestamp { return timestamppb.New(sampleTime().Add(-ago)) }
	response := &relayv1.ListPartitionsResponse{SampleTime: timestamppb.New(sampleTime()), UnknownBecause: i.unknown}

	if request.GetOwnerInstance() == "nobody" {
		return response, nil
	}

	if len(request.GetStates()) > 0 && request.GetStates()[0] != relayv1.PartitionState_PARTITION_STATE_UNSPECIFIED {
		return nil, errors.New("the test asks for those without an owner")
	}

	if len(request.GetStates()) == 0 && request.GetPageToken() == "" {
		response.NextPageToken = "next"
		response.Partitions = []*relayv1.PartitionStats{
			{
				Partition: 0, State: relayv1.PartitionState_PARTITION_STATE_APPLYING, OwnerInstance: "3fa9c0de", Owned: new(true), Epoch: 42, StateTime: at(50 * time.Hour),
				Position: &relayv1.Position{Seconds: 1_800_000_000, Increment: 3, Ordinal: 1}, PendingChanges: new(uint64(1_234_567)), PendingBatchSize: 50,
				IsBatchProcessing: true, Lag: durationpb.New(1500 * time.Millisecond),
			},
			{
				Partition: 1, State: relayv1.PartitionState_PARTITION_STATE_PAUSED, OwnerInstance: "3fa9c0de", Owned: new(true), Epoch: 42, StateTime: at(90 * time.Second),
				Position: &relayv1.Position{Seconds: 1_799_999_000}, Reason: "no primary\x1b[31m", ParkedChanges: 17,
			},
		}

		return response, nil
	}

	response.Partitions = []*relayv1.PartitionStats{
		{Partition: 2, Owned: new(false), Epoch: 7, PendingChanges: new(uint64(0)), Lag: durationpb.New(0), Reason: "the next one is ACQUIRING"},
	}

	return response, nil
}

func (i *inventory) ListInstances(_ context.Context, request *relayv1.ListInstancesRequest) (*relayv1.ListInstancesResponse, error) {
	response := &relayv1.ListInstancesResponse{SampleTime: timestamppb.New(sampleTime()), UnknownBecause: i.unknown}

	of := func(role relayv1.InstanceRole, state relayv1.InstanceState, id string, partitions uint32, reason string) *relayv1.InstanceStats {
		return &relayv1.InstanceStats{
			Role: role, State: state, Reason: reason, Partitions: partitions, ReportAge: durationpb.New(800 * time.Millisecond),
			Instance: &relayv1.Instance{Id: id, Host: "relay-1", Pid: 4242, Version: "v1.4.0", StartTime: timestamppb.New(sampleTime().Add(-3 * time.Hour))},
		}
	}

	if len(request.GetRoles()) == 0 && request.GetPageToken() == "" {
		response.NextPageToken = "next"
		response.Instances = append(response.Instances,
			of(relayv1.InstanceRole_INSTANCE_ROLE_LISTENER, relayv1.InstanceState_INSTANCE_STATE_STREAMING, "11aa", 0, ""),
			of(relayv1.InstanceRole_INSTANCE_ROLE_PROCESSOR, relayv1.InstanceState_INSTANCE_STATE_APPLYING, "3fa9c0de", 16, ""))

		return response, nil
	}

	gone := of(relayv1.InstanceRole_INSTANCE_ROLE_PROCESSOR, relayv1.InstanceState_INSTANCE_STATE_UNSPECIFIED, "99cc", 0,
		"has said nothing since 07:48:00 UTC; of its partitions, 0-15 with process 4242 on relay-1")
	gone.IsGone, gone.ReportAge = true, durationpb.New(12*time.Minute)

	response.Instances = append(response.Instances,
		of(relayv1.InstanceRole_INSTANCE_ROLE_PROCESSOR, relayv1.InstanceState_INSTANCE_STATE_WAITING, "77bb", 0, "no primary"), gone)

	return response, nil
}

func TestPartitions(t *testing.T) {
	t.Parallel()

	addr, _ := serveStats(t, "127.0.0.1:0", new(inventory))
	environ := []string{"RELAY_STATS_ADDR=" + addr}

	r := relayctl(t, environ, "partitions")
	require.Zero(t, r.code, r.errOut)
	requireGolden(t, "partitions", r.out)

	r = relayctl(t, environ, "partitions", "-o", "json", "--sort", "number")
	require.Zero(t, r.code, r.errOut)
	requireGolden(t, "partitions-json", r.out)

	r = relayctl(t, environ, "partitions", "--state", "no-owner")
	require.Zero(t, r.code, r.errOut)
	require.Contains(t, r.out, "NO_OWNER")
	require.NotContains(t, r.out, "PAUSED")

	r = relayctl(t, environ, "partitions", "1")
	require.Zero(t, r.code, r.errOut)
	require.NotContains(t, r.out, "NO_OWNER")

	for message, args := range map[string][]string{
		`there is no partition "9"`: {"9"}, `"gone" is none of failed`: {"--state", "gone"}, `"size" is none of attention`: {"--sort", "size"},
	} {
		r = relayctl(t, environ, append([]string{"partitions"}, args...)...)
		require.Equal(t, 2, r.code)
		require.Contains(t, r.errOut, message)
	}
}

func TestInstances(t *testing.T) {
	t.Parallel()

	addr, _ := serveStats(t, "127.0.0.1:0", new(inventory))

	r := relayctl(t, nil, "instances", "--server", addr)
	require.Zero(t, r.code, r.errOut)
	requireGolden(t, "instances", r.out)

	r = relayctl(t, nil, "instances", "--server", addr, "-o", "json")
	require.Zero(t, r.code, r.errOut)
	requireGolden(t, "instances-json", r.out)

	r = relayctl(t, nil, "instances", "--server", addr, "--role", "processor")
	require.Zero(t, r.code, r.errOut)
	require.NotContains(t, r.out, "listener")

	r = relayctl(t, nil, "instances", "--server", addr, "--role", "janitor")
	require.Equal(t, 2, r.code)
}

// What is missing in a list is said below it.
func TestListsSayWhatIsUnknown(t *testing.T) {
	t.Parallel()

	addr, _ := serveStats(t, "127.0.0.1:0", &inventory{unknown: []string{"target: no primary"}})

	r := relayctl(t, nil, "partitions", "--server", addr, "--owner", "nobody")
	require.Zero(t, r.code, r.errOut)
	require.Contains(t, r.out, "unknown: target: no primary")

	r = relayctl(t, nil, "instances", "--server", addr)
	require.Contains(t, r.out, "unknown: target: no primary")
}
