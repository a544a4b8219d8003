package flow_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/flow"
)

func TestInitMakesStreamAndFirstMessage(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	require.NoError(t, w.db.CreateCollection(t.Context(), "orders"))

	made, err := w.init(t, "PARTITIONS", "4", "EXCLUDE_NAMESPACES", w.db.Name()+".secret")
	require.NoError(t, err)
	require.True(t, made.Created)

	stream := w.open(t)
	require.Equal(t, 4, stream.Partitions)
	require.Equal(t, made.StreamID, stream.StreamID)
	require.NotEmpty(t, stream.Source)

	first, err := stream.At(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, event.KindMarker, first.Kind)
	require.Equal(t, stream.StreamID, first.StreamID)
	require.True(t, first.Position.IsZero())
	require.Zero(t, first.Event)

	marker := new(relayv1.Marker)
	require.NoError(t, proto.Unmarshal(first.Payload, marker))
	require.Equal(t, []uint64{0, 0, 0, 0}, marker.GetHeads())
	require.Equal(t, []string{w.db.Name() + ".*"}, marker.GetFilter().GetInclude())
	require.Equal(t, []string{w.db.Name() + ".secret"}, marker.GetFilter().GetExclude())
}

// The token must be that of the moment: what was written before Init is not
// behind it, what is written afterwards is, with nothing in between.
func TestInitTakesThePresentToken(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	insert(t, w, "before")

	_, err := w.init(t, "WITHOUT_EXISTING", "true")
	require.NoError(t, err)

	insert(t, w, "after")

	first, err := w.open(t).At(t.Context(), 1)
	require.NoError(t, err)

	cursor, err := w.db.Client().Watch(t.Context(), mongo.Pipeline{{{Key: "$changeStreamSplitLargeEvent", Value: bson.D{}}}},
		options.ChangeStream().SetShowExpandedEvents(true).SetResumeAfter(first.ResumeToken))
	require.NoError(t, err)

	defer cursor.Close(t.Context())

	for cursor.Next(t.Context()) {
		e, err := event.Parse(cursor.Current)
		require.NoError(t, err)

		if e.Namespace.DB == w.db.Name() && e.Operation == event.Insert {
			require.Equal(t, "after", e.ID().StringValue())

			return
		}
	}

	require.NoError(t, cursor.Err())
}

func insert(t *testing.T, w *world, id string) {
	t.Helper()

	_, err := w.db.Collection("orders").InsertOne(t.Context(), bson.D{{Key: "_id", Value: id}})
	require.NoError(t, err)
}

func TestInitAgainChangesNothingAndAsksNobodyElse(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	made, err := w.init(t)
	require.NoError(t, err)

	insert(t, w, "a document that a first init would refuse")

	// Nobody listens there.
	again, err := w.init(t, "SOURCE_URI", "mongodb://127.0.0.1:1/?directConnection=true", "TARGET_URI", "mongodb://127.0.0.1:2/?directConnection=true")
	require.NoError(t, err)
	require.False(t, again.Created)
	require.Equal(t, made.StreamID, again.StreamID)
}

func TestInitRefusesOtherExplicitSettings(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	_, err := w.init(t, "PARTITIONS", "4")
	require.NoError(t, err)

	_, err = w.init(t, "PARTITIONS", "8", "STREAM_MAX_BYTES", "128MiB", "STREAM_PUBLISH", "batch")
	requireRefused(t, err, "PARTITIONS=8", "the stream has 4", "STREAM_MAX_BYTES=", "STREAM_PUBLISH=batch, the stream has chain")

	delete(w.env, "STREAM_PUBLISH")

	_, err = w.init(t, "STREAM_REPLICAS", "3")
	requireRefused(t, err, "STREAM_REPLICAS=3, the stream has 1")

	delete(w.env, "PARTITIONS") // the default of 16 was not asked for
	delete(w.env, "STREAM_MAX_BYTES")
	delete(w.env, "STREAM_REPLICAS")

	_, err = w.init(t)
	require.NoError(t, err)
}

func TestInitGoesOnAfterACrashBeforeMessageOne(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	_, err := w.init(t)
	require.NoError(t, err)

	want := w.open(t).Settings
	js := w.nats.JetStream(t)
	require.NoError(t, js.DeleteStream(t.Context(), topology.StreamName(w.flow())))
	_, err = topology.Create(t.Context(), js, w.flow(), want, 64<<20)
	require.NoError(t, err)

	insert(t, w, "written since the stream was made")

	made, err := w.init(t)
	require.NoError(t, err)
	require.Equal(t, want.StreamID, made.StreamID)

	first, err := w.open(t).At(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, want.StreamID, first.StreamID)
	require.NotEmpty(t, first.ResumeToken)
}

func TestInitMakesLostBucketsAgain(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	_, err := w.init(t)
	require.NoError(t, err)

	js := w.nats.JetStream(t)
	require.NoError(t, js.DeleteKeyValue(t.Context(), topology.StatsBucket))

	_, err = w.init(t)
	require.NoError(t, err)
	_, err = js.KeyValue(t.Context(), topology.StatsBucket)
	require.NoError(t, err)
}

func TestInitByTwoAtOnceMakesOne(t *testing.T) {
	t.Parallel()

	w := newWorld(t)

	var s flow.InitSettings
	require.NoError(t, settings.Load(&s, w.env))

	results := make(chan *flow.Made, 4)
	errs := make(chan error, 4)

	for range 4 {
		go func() {
			made, err := flow.Init(t.Context(), &s, nil, operator, slog.New(slog.DiscardHandler))
			results <- made
			errs <- err
		}()
	}

	ids := make(map[string]bool)

	for range 4 {
		require.NoError(t, <-errs)
		ids[(<-results).StreamID] = true
	}

	require.Len(t, ids, 1)

	state, _, err := w.open(t).State(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(1), state.LastSeq)
}

func TestInitMakesAStreamOfBatches(t *testing.T) {
	t.Parallel()

	w := newWorld(t)

	_, err := w.init(t, "STREAM_REPLICAS", "3")
	requireRefused(t, err, "too few servers", "NATS_URL")

	_, err = w.init(t, "STREAM_REPLICAS", "1", "STREAM_PUBLISH", "batch")
	require.NoError(t, err)
	require.Equal(t, topology.PublishBatch, w.open(t).Publish)

	again, err := w.init(t)
	require.NoError(t, err)
	require.False(t, again.Created)
}

// A chain would stop the replicas for good, so it has to be given up by name.
func TestInitForcesBatchesAboveOneReplica(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.env["STREAM_REPLICAS"], w.env["STREAM_PUBLISH"] = "3", "chain"

	var s flow.InitSettings
	require.ErrorContains(t, settings.Load(&s, w.env), "STREAM_PUBLISH")

	w.env["STREAM_REPLICAS"], w.env["STREAM_PUBLISH"] = "2", "pigeon"
	err := settings.Load(&s, w.env)
	require.ErrorContains(t, err, "must be 1, 3 or 5")
	require.ErrorContains(t, err, "must be chain or batch")

	w.env["NATS_URL"] = natstest.StartCluster(t, 3, natstest.Options{}).URL()
	delete(w.env, "STREAM_PUBLISH")

	_, err = w.init(t, "STREAM_REPLICAS", "3")
	require.NoError(t, err)

	nc, err := nats.Connect(w.env["NATS_URL"])
	require.NoError(t, err)

	defer nc.Close()

	js, err := jetstream.New(nc)
	require.NoError(t, err)

	stream, err := topology.Open(t.Context(), js, w.flow())
	require.NoError(t, err)
	require.Equal(t, topology.PublishBatch, stream.Publish)
	require.Equal(t, 3, stream.Replicas)
}

// TestInitPinsWhatCannotBeSpread: with schema changes the routing table says where it
// goes, also of what the filter leaves out now.
func TestInitPinsWhatCannotBeSpread(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	require.NoError(t, w.db.CreateCollection(t.Context(), "log", options.CreateCollection().SetCapped(true).SetSizeInBytes(1<<20)))
	require.NoError(t, w.db.CreateCollection(t.Context(), "names", options.CreateCollection().SetCollation(&options.Collation{Locale: "de"})))
	require.NoError(t, w.db.CreateCollection(t.Context(), "plain"))

	_, err := w.init(t, "EXCLUDE_NAMESPACES", w.db.Name()+".names")
	require.NoError(t, err)
	require.True(t, w.open(t).DDL, "the default")

	shown, err := w.show(t)
	require.NoError(t, err)

	pins := map[string]string{}

	for _, p := range shown.Pinned {
		if db, coll, _ := strings.Cut(p.Namespace, "."); db == w.db.Name() {
			pins[coll] = p.Pin
			require.Equal(t, event.PartitionOf(event.Namespace{DB: db, Coll: coll}, w.open(t).Partitions), p.Partition)
		}
	}

	require.Equal(t, map[string]string{"log": "capped", "names": "collation"}, pins)
}

func TestSchemaChangesAreOffWhereOriginsAreSkipped(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	_, err := w.init(t, "SKIP_ORIGINS", "other")
	require.NoError(t, err)
	require.False(t, w.open(t).DDL)

	_, err = w.init(t, "DDL", "off")
	require.NoError(t, err, "it agrees")
}

func TestInitWaitsForServersThatAreAway(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.nats.Stop()

	time.AfterFunc(500*time.Millisecond, func() { _ = w.nats.Resume() })

	_, err := w.init(t)
	require.NoError(t, err)
}
