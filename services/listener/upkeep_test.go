package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/lifecycle"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/refetch"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/capture"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/history"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/janitor"
)

func TestWhoCleansUpAndWhoAnswers(t *testing.T) {
	t.Parallel()

	for _, state := range capture.States() {
		checked := capture.Status{State: state, SourceChecked: true, Term: 1}
		works := state == capture.Streaming || state == capture.Waiting

		require.Equal(t, works, cleansUp(checked), state)
		require.Equal(t, works, answers(checked), state)
	}

	require.False(t, cleansUp(capture.Status{State: capture.Waiting}), "another one may have the lease")
	require.False(t, answers(capture.Status{State: capture.Waiting}), "it may be the wrong source")
}

// TestRefetchWhileTheStreamIsFull: documents that processors wait for are answered although nothing can be captured.
func TestRefetchWhileTheStreamIsFull(t *testing.T) {
	t.Parallel()

	server, natsd := mongotest.New(t, mongotest.Options{}), natstest.New(t)
	source, client, js := server.Client(t), refetch.New(natsd.Connect(t), "test"), natsd.JetStream(t)
	addr := freeAddr(t)

	_, err := source.Database("shop").Collection("orders").InsertOne(t.Context(), bson.D{{Key: "_id", Value: 7}})
	require.NoError(t, err)
	initFlow(t, source, natsd)

	stream, err := js.Stream(t.Context(), topology.StreamName("test"))
	require.NoError(t, err)

	config := stream.CachedInfo().Config
	config.MaxBytes = int64(stream.CachedInfo().State.Bytes) + 100
	_, err = js.UpdateStream(t.Context(), config)
	require.NoError(t, err)

	done := make(chan error, 1)

	go func() {
		done <- realMain(t.Context(), nil, map[string]string{
			"FLOW": "test", "SOURCE_URI": server.URI().Reveal(), "NATS_URL": natsd.URL(), "OPS_ADDR": addr, "LOG_LEVEL": "error",
		})
	}()

	t.Cleanup(func() { require.NoError(t, <-done) }) // the test's context ends before

	_, err = source.Database("shop").Collection("orders").InsertOne(t.Context(), bson.D{{Key: "_id", Value: 8}})
	require.NoError(t, err)

	require.Eventually(t, func() bool {
		_, body := get(t, "http://"+addr+"/readyz")

		return len(body.Reasons) == 1 && len(body.Reasons[0].Reason) > 7 && body.Reasons[0].Reason[:7] == "WAITING"
	}, patience, 20*time.Millisecond)

	key, err := bson.Marshal(bson.D{{Key: "_id", Value: 7}})
	require.NoError(t, err)

	var image refetch.Image

	require.Eventually(t, func() bool { // it subscribes a moment after it streamed
		image, err = client.Fetch(t.Context(), event.Namespace{DB: "shop", Coll: "orders"}, key, bson.Timestamp{})

		return err == nil
	}, patience, 20*time.Millisecond)
	require.Equal(t, int32(7), image.Document.Lookup("_id").Int32())

	metrics := scrape(t, addr)
	require.Contains(t, metrics, `relay_stream_purge_forbidden{flow="test"} 1`)
	require.NotContains(t, metrics, "relay_history_window_remaining_seconds{", "unknown is absent, not 0")
	require.Contains(t, metrics, `relay_history_level{flow="test",level="UNKNOWN"} 1`)
	require.Contains(t, metrics, `relay_history_level{flow="test",level="OK"} 0`)
}

func TestReportTellsTheHistory(t *testing.T) {
	t.Parallel()

	var r relayv1.ListenerReport

	addHistory(&r, history.Estimate{Unknown: "no right", Trend: history.NoTrend, Level: history.NoLevel})
	require.Nil(t, r.GetHistoryRemaining())
	require.Nil(t, r.GetHistoryWindow())
	require.Equal(t, "no right", r.GetHistoryUnknownBecause())

	addHistory(&r, history.Estimate{Remaining: time.Hour, Window: 2 * time.Hour, Trend: history.Shrinking, Level: history.Critical})
	require.Equal(t, time.Hour, r.GetHistoryRemaining().AsDuration())
	require.Equal(t, 2*time.Hour, r.GetHistoryWindow().AsDuration())
	require.Equal(t, relayv1.HistoryTrend_HISTORY_TREND_SHRINKING, r.GetHistoryTrend())
	require.Equal(t, relayv1.HistoryLevel_HISTORY_LEVEL_CRITICAL, r.GetHistoryLevel())
	require.Empty(t, r.GetHistoryUnknownBecause())

	require.Equal(t, "; nothing is purged: why", held(janitor.Status{Forbidden: "why"}))
	require.Equal(t, "; purged up to what is held by partition 3", held(janitor.Status{HeldBy: "partition 3"}))
	require.Empty(t, held(janitor.Status{}))
}

func TestHistoryLimitsMustBeInOrder(t *testing.T) {
	t.Parallel()

	err := realMain(t.Context(), nil, map[string]string{"SOURCE_URI": "mongodb://h", "HISTORY_WARN": "1h", "HISTORY_CRITICAL": "2h", "REPLAY_MARGIN": "-1"})
	require.Equal(t, 2, lifecycle.ExitCode(err))
	require.ErrorContains(t, err, "HISTORY_WARN")
	require.ErrorContains(t, err, "REPLAY_MARGIN")
}
