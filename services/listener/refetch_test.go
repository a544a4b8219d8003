package main

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/refetch"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// TestRefetchFromARunningListener starts the listener as main does: silent until it streams, then it answers for the
// namespaces of its flow, counts, and is silent again after its end.
func TestRefetchFromARunningListener(t *testing.T) {
	t.Parallel()

	server, natsd := mongotest.New(t, mongotest.Options{}), natstest.New(t)
	source, client := server.Client(t), refetch.New(natsd.Connect(t), "test")
	addr := freeAddr(t)

	_, err := source.Database("shop").Collection("orders").InsertOne(t.Context(), bson.D{{Key: "_id", Value: 7}})
	require.NoError(t, err)

	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)

	go func() {
		done <- realMain(ctx, nil, map[string]string{
			"FLOW": "test", "SOURCE_URI": server.URI().Reveal(), "NATS_URL": natsd.URL(), "OPS_ADDR": addr, "LOG_LEVEL": "error",
			"EXCLUDE_NAMESPACES": "shop.secrets",
		})
	}()

	fetch := func(coll string) (refetch.Image, error) {
		key, err := bson.Marshal(bson.D{{Key: "_id", Value: 7}})
		require.NoError(t, err)

		return client.Fetch(t.Context(), event.Namespace{DB: "shop", Coll: coll}, key, bson.Timestamp{})
	}

	require.Eventually(t, func() bool {
		status, body := get(t, "http://"+addr+"/readyz")

		return status == http.StatusServiceUnavailable && len(body.Reasons) == 1
	}, patience, 20*time.Millisecond)

	_, err = fetch("orders")
	require.ErrorIs(t, err, nats.ErrNoResponders, "it does not stream yet")

	initFlow(t, source, natsd)

	var image refetch.Image

	require.Eventually(t, func() bool {
		image, err = fetch("orders")

		return err == nil
	}, patience, 20*time.Millisecond)
	require.Equal(t, int32(7), image.Document.Lookup("_id").Int32())

	_, err = fetch("secrets")

	var refused *refetch.ReadError
	require.ErrorAs(t, err, &refused)

	metrics := scrape(t, addr)
	require.Contains(t, metrics, `relay_refetches_total{flow="test",result="present"} 1`)
	require.Contains(t, metrics, `relay_refetches_total{flow="test",result="refused"} 1`)

	stop()
	require.NoError(t, <-done)

	_, err = fetch("orders")
	require.ErrorIs(t, err, nats.ErrNoResponders)
}

// initFlow makes the stream and message 1, as relayctl flow init does.
func initFlow(t *testing.T, source *mongo.Client, natsd *natstest.Server) {
	t.Helper()

	hello, err := mongodb.SayHello(t.Context(), source)
	require.NoError(t, err)

	cs, err := source.Watch(t.Context(), mongo.Pipeline{}, options.ChangeStream().SetShowExpandedEvents(true))
	require.NoError(t, err)

	defer cs.Close(t.Context())

	cs.TryNext(t.Context())

	js, token := natsd.JetStream(t), append(bson.Raw(nil), cs.ResumeToken()...)
	require.NoError(t, topology.CreateBuckets(t.Context(), js, 1))

	stream, err := topology.Create(t.Context(), js, "test", topology.Settings{
		StreamID: topology.NewStreamID(), Partitions: 1, Source: hello.Identity(), FirstToken: base64.RawStdEncoding.EncodeToString(token),
	}, 64<<20)
	require.NoError(t, err)

	payload, err := proto.Marshal(&relayv1.Marker{Heads: make([]uint64, 1), Filter: &relayv1.Filter{}})
	require.NoError(t, err)
	require.NoError(t, stream.PublishFirst(t.Context(), js, &event.Message{
		Kind: event.KindMarker, StreamID: stream.StreamID, ResumeToken: token,
		Part: 1, Parts: 1, Attempt: 1, Size: len(payload), Payload: payload,
	}))
}

func scrape(t *testing.T, addr string) string {
	t.Helper()

	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/metrics", nil)
	require.NoError(t, err)

	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	require.NoError(t, err)

	defer response.Body.Close()

	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)

	return string(body)
}
