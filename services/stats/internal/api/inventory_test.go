package api_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/tally"
)

// crowd is a sample of 64 partitions and 50 instances. The partitions 8, 18, 28 …
// are paused, the last one has no owner.
func crowd(name string) tally.Stats {
	s := sampleStats()
	s.Flow, s.Partitions, s.Listeners, s.Processors = name, nil, nil, nil

	for i := range 64 {
		p := tally.Partition{Number: i, Owner: fmt.Sprintf("p%02d", i%48), Ownership: tally.Ownership{State: "APPLYING", Since: s.Time.Add(-time.Hour)}, Pending: new(uint64(i))}
		if i%10 == 8 {
			p.State, p.Reason = "PAUSED", "no primary"
		}

		s.Partitions = append(s.Partitions, p)
	}

	s.Partitions[63].Ownership, s.Partitions[63].Owner = tally.Ownership{}, ""

	for i := range 2 {
		s.Listeners = append(s.Listeners, tally.Listener{Instance: tally.Instance{ID: fmt.Sprintf("l%d", i)}, State: "STANDBY", Arrived: s.Time.Add(-2 * time.Second)})
	}

	for i := range 48 {
		s.Processors = append(s.Processors, tally.Processor{Instance: tally.Instance{ID: fmt.Sprintf("p%02d", i)}})
	}

	return s
}

func partitionsOf(t *testing.T, client relayv1.StatsServiceClient, request *relayv1.ListPartitionsRequest) (all []*relayv1.PartitionStats) {
	t.Helper()

	request = proto.CloneOf(request)

	for {
		page, err := client.ListPartitions(t.Context(), request)
		require.NoError(t, err)

		all = append(all, page.GetPartitions()...)

		if request.PageToken = page.GetNextPageToken(); request.GetPageToken() == "" {
			return all
		}

		require.NotEmpty(t, page.GetPartitions())
	}
}

// The lists say what GetStats says of the same sample, to the last field.
func TestListsAgreeWithStats(t *testing.T) {
	t.Parallel()

	conn, _ := serve(t, always(crowd("a")))
	client := relayv1.NewStatsServiceClient(conn)

	response, err := client.GetStats(t.Context(), new(relayv1.GetStatsRequest))
	require.NoError(t, err)

	stats := response.GetStats()
	partitions := partitionsOf(t, client, &relayv1.ListPartitionsRequest{PageSize: 7})
	require.Len(t, partitions, 64)

	for i, p := range partitions {
		require.True(t, proto.Equal(stats.GetPartitions()[i], p), "partition %d", i)
	}

	require.Equal(t, int64(1_800_000_000-3600), partitions[0].GetStateTime().GetSeconds())
	require.Nil(t, partitions[63].GetStateTime(), "nobody knows")

	var instances []*relayv1.InstanceStats

	request := &relayv1.ListInstancesRequest{PageSize: 11}
	for {
		page, err := client.ListInstances(t.Context(), request)
		require.NoError(t, err)
		require.Equal(t, stats.GetSampleTime().GetSeconds(), page.GetSampleTime().GetSeconds())

		instances = append(instances, page.GetInstances()...)

		if request.PageToken = page.GetNextPageToken(); request.GetPageToken() == "" {
			break
		}
	}

	require.Len(t, instances, 50)

	for i, instance := range instances {
		require.True(t, proto.Equal(stats.GetInstances()[i], instance), "instance %d", i)
	}

	require.Equal(t, relayv1.InstanceRole_INSTANCE_ROLE_LISTENER, instances[1].GetRole())
	require.Equal(t, relayv1.InstanceState_INSTANCE_STATE_STANDBY, instances[1].GetState())
	require.Equal(t, 2*time.Second, instances[1].GetReportAge().AsDuration())
	require.Nil(t, instances[2].GetReportAge(), "unknown is no number")
}

func TestListsAreFiltered(t *testing.T) {
	t.Parallel()

	conn, _ := serve(t, always(crowd("a")))
	client := relayv1.NewStatsServiceClient(conn)

	paused := []relayv1.PartitionState{relayv1.PartitionState_PARTITION_STATE_PAUSED}
	found := partitionsOf(t, client, &relayv1.ListPartitionsRequest{States: paused, PageSize: 2})
	require.Len(t, found, 6)
	require.Equal(t, uint32(58), found[5].GetPartition())

	found = partitionsOf(t, client, &relayv1.ListPartitionsRequest{States: []relayv1.PartitionState{relayv1.PartitionState_PARTITION_STATE_UNSPECIFIED}})
	require.Len(t, found, 1, "without an owner")
	require.Equal(t, uint32(63), found[0].GetPartition())

	found = partitionsOf(t, client, &relayv1.ListPartitionsRequest{OwnerInstance: "p02"})
	require.Len(t, found, 2)
	require.Equal(t, uint32(50), found[1].GetPartition())

	page, err := client.ListInstances(t.Context(), &relayv1.ListInstancesRequest{Roles: []relayv1.InstanceRole{relayv1.InstanceRole_INSTANCE_ROLE_LISTENER}})
	require.NoError(t, err)
	require.Len(t, page.GetInstances(), 2)
}

// A token is good for its own query only, and what came or went meanwhile moves nothing.
func TestTokensOfLists(t *testing.T) {
	t.Parallel()

	var shown atomic.Pointer[tally.Stats]

	shown.Store(new(crowd("a")))

	moving := fixed{"a", func(context.Context) (tally.Stats, error) { return *shown.Load(), nil }}
	conn, _ := serve(t, moving, always(crowd("b")))
	client := relayv1.NewStatsServiceClient(conn)

	first, err := client.ListInstances(t.Context(), &relayv1.ListInstancesRequest{Flow: "a", PageSize: 3})
	require.NoError(t, err)

	later := crowd("a")
	later.Listeners, later.Processors = later.Listeners[1:], later.Processors[1:]
	shown.Store(&later)

	second, err := client.ListInstances(t.Context(), &relayv1.ListInstancesRequest{Flow: "a", PageSize: 1, PageToken: first.GetNextPageToken()})
	require.NoError(t, err)
	require.Equal(t, "p01", second.GetInstances()[0].GetInstance().GetId(), "p00 was the last one shown, and is gone")

	page, err := client.ListPartitions(t.Context(), &relayv1.ListPartitionsRequest{Flow: "a", PageSize: 3})
	require.NoError(t, err)

	token := page.GetNextPageToken()

	for name, request := range map[string]*relayv1.ListPartitionsRequest{
		"another flow":   {Flow: "b", PageToken: token},
		"another owner":  {Flow: "a", PageToken: token, OwnerInstance: "p02"},
		"another state":  {Flow: "a", PageToken: token, States: []relayv1.PartitionState{relayv1.PartitionState_PARTITION_STATE_PAUSED}},
		"another list":   {Flow: "a", PageToken: first.GetNextPageToken()},
		"not base64":     {Flow: "a", PageToken: "!"},
		"nothing inside": {Flow: "a", PageToken: "e30"},
	} {
		_, err := client.ListPartitions(t.Context(), request)
		requireStatus(t, err, codes.InvalidArgument, "INVALID_PAGE_TOKEN")
		require.Error(t, err, name)
	}

	_, err = client.ListPartitions(t.Context(), &relayv1.ListPartitionsRequest{Flow: "a", States: []relayv1.PartitionState{99}})
	requireStatus(t, err, codes.InvalidArgument, "INVALID_FIELD")
	_, err = client.ListInstances(t.Context(), &relayv1.ListInstancesRequest{Flow: "a", Roles: []relayv1.InstanceRole{0}})
	requireStatus(t, err, codes.InvalidArgument, "INVALID_FIELD")
	_, err = client.ListInstances(t.Context(), &relayv1.ListInstancesRequest{Flow: "a", PageSize: -1})
	requireStatus(t, err, codes.InvalidArgument, "INVALID_FIELD")
	_, err = client.ListPartitions(t.Context(), &relayv1.ListPartitionsRequest{})
	requireStatus(t, err, codes.InvalidArgument, "FLOW_REQUIRED")
}

func TestListsWhileNobodyAnswers(t *testing.T) {
	t.Parallel()

	away := tally.Stats{Flow: "a", Status: tally.Unknown, Unknown: []string{"NATS: no", "target: no"}}
	conn, _ := serve(t, always(away))
	client := relayv1.NewStatsServiceClient(conn)

	_, err := client.ListPartitions(t.Context(), new(relayv1.ListPartitionsRequest))
	requireStatus(t, err, codes.Unavailable, "SERVERS_UNREACHABLE")
	_, err = client.ListInstances(t.Context(), new(relayv1.ListInstancesRequest))
	requireStatus(t, err, codes.Unavailable, "SERVERS_UNREACHABLE")
}
