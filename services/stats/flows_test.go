package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

const hungTargets = 2

// hung is a target that accepts connections and never answers, which takes longest to notice.
func hung(t *testing.T) string {
	t.Helper()

	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)

	done := make(chan struct{})

	go func() {
		defer close(done)

		var held []net.Conn

		for {
			conn, err := listener.Accept()
			if err != nil {
				break
			}

			held = append(held, conn)
		}

		for _, conn := range held {
			_ = conn.Close()
		}
	}()

	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})

	return "mongodb://" + listener.Addr().String() + "/?directConnection=true"
}

// liveFlow makes the stream of a flow that has nothing to do, and keeps its reports fresh.
func liveFlow(t *testing.T, n *natstest.Server, name string) {
	t.Helper()

	js, err := jetstream.New(n.Connect(t))
	require.NoError(t, err)

	stream, err := topology.Create(t.Context(), js, name, topology.Settings{StreamID: topology.NewStreamID(), Partitions: 2, Source: "test"}, 64<<20)
	require.NoError(t, err)

	payload, err := proto.Marshal(&relayv1.Marker{Heads: make([]uint64, 2)})
	require.NoError(t, err)
	require.NoError(t, stream.PublishFirst(t.Context(), js, &event.Message{
		Kind: event.KindMarker, StreamID: stream.StreamID, ResumeToken: bson.Raw{5, 0, 0, 0, 0}, Part: 1, Parts: 1, Attempt: 1, Payload: payload,
	}))

	bucket, err := js.KeyValue(t.Context(), topology.StatsBucket)
	require.NoError(t, err)

	reports := map[string]proto.Message{
		topology.ListenerReportKey(name, "l"): &relayv1.ListenerReport{
			Flow: name, Instance: &relayv1.Instance{Id: "l", Host: "h"}, State: relayv1.ListenerState_LISTENER_STATE_STREAMING, CaptureLag: durationpb.New(0),
		},
		topology.ProcessorReportKey(name, "p"): &relayv1.ProcessorReport{
			Flow: name, Instance: &relayv1.Instance{Id: "p", Host: "h"}, Partitions: []*relayv1.PartitionReport{
				{Partition: 0, State: relayv1.PartitionState_PARTITION_STATE_APPLYING, Epoch: 1},
				{Partition: 1, State: relayv1.PartitionState_PARTITION_STATE_APPLYING, Epoch: 1},
			},
		},
	}

	put := func() {
		for key, report := range reports {
			value, _ := proto.Marshal(report)
			_, _ = bucket.Put(t.Context(), key, value) // the server stops with the test
		}
	}
	put()

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})

	go func() {
		defer close(done)

		for {
			select {
			case <-time.After(time.Second):
				put()
			case <-ctx.Done():
				return
			}
		}
	}()

	t.Cleanup(func() {
		cancel()
		<-done
	})
}

// startFlows runs the service with one live target, one that is gone and several that hang.
func startFlows(t *testing.T) (client relayv1.StatsServiceClient, httpURL, opsURL, live string) {
	t.Helper()

	n := natstest.New(t)
	live = "live-" + bson.NewObjectID().Hex()
	liveFlow(t, n, live)

	targets := []string{live + "=" + mongotest.Shared(t).URI().Reveal(), "gone=mongodb://127.0.0.1:1/?directConnection=true"}
	for i := range hungTargets {
		targets = append(targets, fmt.Sprintf("hung-%d=%s", i, hung(t)))
	}

	grpcAddr, httpAddr, opsAddr := freeAddr(t), freeAddr(t), freeAddr(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)

	go func() {
		done <- realMain(ctx, nil, map[string]string{
			"NATS_URL": n.URL(), "TARGET_URIS": strings.Join(targets, ","), "GRPC_ADDR": grpcAddr, "HTTP_ADDR": httpAddr, "OPS_ADDR": opsAddr, "LOG_LEVEL": "error",
		})
	}()

	conn, err := grpc.NewClient(grpcAddr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, conn.Close())
		http.DefaultClient.CloseIdleConnections()
		cancel()
		require.NoError(t, <-done)
	})

	return relayv1.NewStatsServiceClient(conn), "http://" + httpAddr, "http://" + opsAddr, live
}

// Flows of one service share nothing that one of them could use up: whatever the targets of the others do, a flow is
// answered in every way that there is.
func TestAFlowIsNotDisturbedByTheOthers(t *testing.T) {
	t.Parallel()

	client, httpURL, opsURL, live := startFlows(t)

	flows, err := client.ListFlows(t.Context(), new(relayv1.ListFlowsRequest), grpc.WaitForReady(true))
	require.NoError(t, err)
	require.Len(t, flows.GetFlows(), 2+hungTargets)
	require.True(t, slices.ContainsFunc(flows.GetFlows(), func(f *relayv1.Flow) bool { return f.GetName() == live }))

	require.Eventually(t, func() bool {
		response, err := client.GetStats(t.Context(), &relayv1.GetStatsRequest{Flow: live})

		return err == nil && response.GetStats().GetStatus() == relayv1.Status_STATUS_OK && response.GetStats().GetAddsUp()
	}, 60*time.Second, 100*time.Millisecond)

	for _, name := range []string{"gone", "hung-0"} {
		response, err := client.GetStats(t.Context(), &relayv1.GetStatsRequest{Flow: name})
		require.NoError(t, err, "NATS knows of it that there is no stream")
		require.Equal(t, relayv1.Status_STATUS_DOWN, response.GetStats().GetStatus())
		require.Contains(t, strings.Join(response.GetStats().GetUnknownBecause(), " "), "target: ")
	}

	t.Run("watch", func(t *testing.T) {
		t.Parallel()

		stream, err := client.WatchStats(t.Context(), &relayv1.WatchStatsRequest{Flow: live, Interval: durationpb.New(200 * time.Millisecond)})
		require.NoError(t, err)

		for range 5 {
			response, err := stream.Recv()
			require.NoError(t, err)
			require.Equal(t, relayv1.Status_STATUS_OK, response.GetStats().GetStatus(), "%v", response.GetStats().GetReasons())
		}
	})

	t.Run("timeline", func(t *testing.T) {
		t.Parallel()

		require.Eventually(t, func() bool {
			timeline, err := client.GetTimeline(t.Context(), &relayv1.GetTimelineRequest{Flow: live})
			points := timeline.GetPoints()

			return err == nil && len(points) > 2 && points[len(points)-1].SettledPerSecond != nil
		}, 60*time.Second, 100*time.Millisecond)
	})

	t.Run("lists", func(t *testing.T) {
		t.Parallel()

		partitions, err := client.ListPartitions(t.Context(), &relayv1.ListPartitionsRequest{Flow: live})
		require.NoError(t, err)
		require.Len(t, partitions.GetPartitions(), 2)

		instances, err := client.ListInstances(t.Context(), &relayv1.ListInstancesRequest{Flow: live})
		require.NoError(t, err)
		require.Len(t, instances.GetInstances(), 2)
	})

	t.Run("metrics", func(t *testing.T) {
		t.Parallel()

		series := get(t, opsURL+"/metrics")
		require.Contains(t, series, `relay_state{flow="`+live+`",state="OK"} 1`)
		require.Contains(t, series, `relay_partition_owned{flow="`+live+`",partition="1"} 1`)
		require.Contains(t, series, `relay_state{flow="gone",state="DOWN"} 1`)
		require.Contains(t, series, `relay_state{flow="hung-1",state="DOWN"} 1`)
		require.NotContains(t, series, `relay_pending_changes{flow="gone"}`, "unknown is no number")
	})

	t.Run("page", func(t *testing.T) {
		t.Parallel()

		var page struct {
			Partitions []struct{ Partition int }
		}

		require.NoError(t, json.Unmarshal([]byte(get(t, httpURL+"/v1/flows/"+live+"/partitions?page_size=1")), &page))
		require.Len(t, page.Partitions, 1)

		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()

		request, err := http.NewRequestWithContext(ctx, http.MethodGet, httpURL+"/v1/flows/"+live+"/events", nil)
		require.NoError(t, err)
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)

		defer response.Body.Close()

		first := make([]byte, 1<<10)
		_, err = io.ReadFull(response.Body, first)
		require.NoError(t, err)
		require.Contains(t, string(first), `"status":"STATUS_OK"`)
	})
}
