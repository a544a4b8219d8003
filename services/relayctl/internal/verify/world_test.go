package verify_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/verify"
)

// world is a source and a target of its own, and the stream of a flow between them that says that everything is applied:
// no service runs, so nothing is ever in flight.
type world struct {
	t              *testing.T
	source, target *mongo.Client
	db             string
	stream         *topology.Stream
	config         *verify.Config
	place          *event.Message // all that the stream holds

	mu    sync.Mutex
	found []verify.Difference
	kept  *verify.State // what was saved last
}

const (
	partitions = 4
	flowName   = "v"
)

func newWorld(t *testing.T) *world {
	t.Helper()

	return newWorldOf(t, mongotest.New(t, mongotest.Options{}), mongotest.New(t, mongotest.Options{}))
}

func newWorldOf(t *testing.T, source, target *mongotest.Server) *world {
	t.Helper()

	js := natstest.New(t).JetStream(t)
	stream, err := topology.Create(t.Context(), js, flowName, topology.Settings{StreamID: topology.NewStreamID(), Partitions: partitions, DDL: true}, 64<<20)
	require.NoError(t, err)

	w := &world{t: t, source: source.Client(t), target: target.Client(t), db: "shop", stream: stream}
	filter, err := event.ParseFilter([]string{"shop.*"}, nil)
	require.NoError(t, err)

	w.config = &verify.Config{
		Source: w.source, Target: w.target, Flow: flowName, Stream: stream, Filter: filter,
		Jobs: 2, Part: 1_000_000, Rounds: 2, Patience: time.Minute, Most: 1000,
		Save: func(s *verify.State) error {
			w.mu.Lock()
			defer w.mu.Unlock()

			w.kept = s

			return nil
		},
		Watch: func(verify.Snapshot) {},
		Found: func(d verify.Difference) { w.found = append(w.found, d) },
	}

	payload, err := proto.Marshal(&relayv1.Marker{Heads: make([]uint64, partitions), Filter: &relayv1.Filter{Include: []string{"shop.*"}}})
	require.NoError(t, err)

	// A marker of tomorrow, as the source of a flow that is far ahead would write it.
	place := &event.Message{
		Kind: event.KindMarker, StreamID: stream.StreamID, ResumeToken: bson.Raw{5, 0, 0, 0, 0}, Part: 1, Parts: 1, Attempt: 1,
		Size: len(payload), Payload: payload, Position: event.Position{T: uint32(time.Now().Add(24 * time.Hour).Unix())},
	}
	require.NoError(t, stream.PublishFirst(t.Context(), js, place))
	w.place = place
	w.apply()

	return w
}

// apply makes every partition's checkpoint name the stream's message.
func (w *world) apply() {
	w.t.Helper()

	for partition := range partitions {
		_, err := checkpoint.Checkpoints(w.target).InsertOne(w.t.Context(), checkpoint.Document{
			ID: checkpoint.ID(flowName, partition), Flow: flowName, Partition: partition, Place: checkpoint.PlaceOf(w.place, 1),
		})
		require.NoError(w.t, err)
	}
}

// standStill takes the checkpoints away: nothing is applied any more.
func (w *world) standStill() {
	w.t.Helper()

	_, err := checkpoint.Checkpoints(w.target).DeleteMany(w.t.Context(), bson.D{})
	require.NoError(w.t, err)
}

func (w *world) of(client *mongo.Client, coll string) *mongo.Collection {
	return client.Database(w.db).Collection(coll)
}

// both puts documents into a collection of both sides.
func (w *world) both(coll string, documents ...any) {
	w.t.Helper()

	for _, client := range []*mongo.Client{w.source, w.target} {
		_, err := w.of(client, coll).InsertMany(w.t.Context(), documents)
		require.NoError(w.t, err)
	}
}

func (w *world) run() *verify.Report {
	w.t.Helper()

	ctx, cancel := context.WithTimeout(w.t.Context(), 3*time.Minute)
	defer cancel()

	report, err := verify.Run(ctx, w.config)
	require.NoError(w.t, err)

	return report
}
