package flow_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/pkg/pause"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/flow"
)

func TestDeleteRemovesEverythingOfTheFlowOnly(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	_, err := w.init(t)
	require.NoError(t, err)

	js := w.nats.JetStream(t)
	bucket, err := js.KeyValue(t.Context(), topology.StatsBucket)
	require.NoError(t, err)

	for _, key := range []string{topology.ListenerReportKey(w.flow(), "a"), topology.ProcessorReportKey(w.flow(), "b"), topology.ProcessorReportKey("other", "c")} {
		_, err := bucket.Put(t.Context(), key, []byte("x"))
		require.NoError(t, err)
	}

	for _, name := range []string{w.flow(), w.flow() + "2"} {
		_, err = checkpoint.Checkpoints(w.target).InsertOne(t.Context(), checkpoint.Document{
			ID: checkpoint.ID(name, 0), Flow: name, Place: checkpoint.Place{ResumeToken: bson.Raw{5, 0, 0, 0, 0}},
		})
		require.NoError(t, err)
	}

	for _, collection := range []string{parked.Collection, parked.Chunks, parked.Refetched} {
		for _, name := range []string{w.flow(), w.flow() + "2"} {
			_, err = w.target.Database(checkpoint.Database).Collection(collection).InsertOne(t.Context(),
				bson.D{{Key: "_id", Value: name + "/x"}, {Key: "flow", Value: name}})
			require.NoError(t, err)
		}
	}

	for _, name := range []string{w.flow(), w.flow() + "2"} {
		_, err := pause.Begin(t.Context(), w.target, name, pause.Pause{By: "ann", Since: time.Now()})
		require.NoError(t, err)
	}

	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		_, _ = pause.Delete(ctx, w.target, w.flow()+"2")
		_, _ = checkpoint.Delete(ctx, w.target, w.flow()+"2")
		_, _ = parked.Delete(ctx, w.target, w.flow()+"2")
	})

	var s flow.DeleteSettings
	require.NoError(t, settings.Load(&s, w.env))

	deleted, err := flow.Delete(t.Context(), &s, operator, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.Len(t, deleted, 8)
	require.Contains(t, deleted, "documents of atlas_relay.parked in the target: 1")
	require.Contains(t, deleted, "documents of atlas_relay.parked_chunks in the target: 1")
	require.Contains(t, deleted, "documents of atlas_relay.refetched in the target: 1")
	require.Contains(t, deleted, "documents of atlas_relay.flows in the target: 1")
	require.Contains(t, deleted, "stream "+topology.StreamName(w.flow()))

	_, err = js.Stream(t.Context(), topology.StreamName(w.flow()))
	require.ErrorIs(t, err, jetstream.ErrStreamNotFound)

	keys, err := bucket.Keys(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{topology.ProcessorReportKey("other", "c")}, keys)

	left, err := checkpoint.Load(t.Context(), w.target, w.flow()+"2")
	require.NoError(t, err)
	require.Len(t, left, 1)

	records, err := parked.Records(w.target).CountDocuments(t.Context(), bson.D{{Key: "flow", Value: w.flow() + "2"}})
	require.NoError(t, err)
	require.Equal(t, int64(1), records)

	other, err := pause.Load(t.Context(), w.target, w.flow()+"2")
	require.NoError(t, err)
	require.NotNil(t, other.Pause)

	again, err := flow.Delete(t.Context(), &s, operator, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.Empty(t, again)
}
