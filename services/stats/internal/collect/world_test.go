package collect_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/collect"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/deadletter"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/tally"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(mongotest.Main(m)) }

const partitions = 4

func emptyDocument() bson.Raw { return bson.Raw{5, 0, 0, 0, 0} }

// world is a flow whose stream, checkpoints and reports a test writes itself.
type world struct {
	name   string
	nats   *natstest.Server
	nc     *nats.Conn
	js     jetstream.JetStream
	target *mongo.Client
	stream *topology.Stream

	number uint64 // of the last event
	heads  [partitions]uint64
}

func newWorld(t *testing.T) *world {
	t.Helper()

	n := natstest.New(t)
	nc := n.Connect(t)
	js, err := jetstream.New(nc)
	require.NoError(t, err)

	w := &world{name: "f-" + bson.NewObjectID().Hex(), nats: n, nc: nc, js: js, target: mongotest.Shared(t).Client(t)}

	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		_, _ = checkpoint.Delete(ctx, w.target, w.name)
		_, _ = parked.Delete(ctx, w.target, w.name)
	})

	return w
}

// create makes the stream with message 1.
func (w *world) create(t *testing.T) {
	t.Helper()

	var err error

	w.stream, err = topology.Create(t.Context(), w.js, w.name,
		topology.Settings{StreamID: topology.NewStreamID(), Partitions: partitions, Source: "test"}, 64<<20)
	require.NoError(t, err)
	require.NoError(t, w.stream.PublishFirst(t.Context(), w.js, w.marker(t)))
}

func (w *world) marker(t *testing.T) *event.Message {
	t.Helper()

	payload, err := proto.Marshal(&relayv1.Marker{Heads: w.heads[:]})
	require.NoError(t, err)

	return &event.Message{
		Kind: event.KindMarker, StreamID: w.stream.StreamID, ResumeToken: emptyDocument(), Event: w.number,
		Position: event.Position{T: uint32(w.number)}, Part: 1, Parts: 1, Attempt: 1, Payload: payload,
	}
}

func (w *world) publish(t *testing.T, m *event.Message) {
	t.Helper()

	_, err := w.js.PublishMsg(t.Context(), event.Encode(w.name, m, ""))
	require.NoError(t, err)
}

// event publishes the next event of a partition.
func (w *world) event(t *testing.T, partition int, at time.Time) {
	t.Helper()

	w.number++
	w.heads[partition]++

	w.publish(t, &event.Message{
		Kind: event.KindEvent, Partition: partition, Namespace: event.Namespace{DB: "db", Coll: "c"}, StreamID: w.stream.StreamID,
		ResumeToken: emptyDocument(), Event: w.number, Count: w.heads[partition],
		Position: event.Position{T: uint32(at.Unix()), I: uint32(w.number)}, Part: 1, Parts: 1, Attempt: 1, Payload: []byte("event"),
	})
}

// settle writes a checkpoint behind a partition's first event.
func (w *world) settle(t *testing.T, partition int, sequence int64) {
	t.Helper()

	_, err := checkpoint.Checkpoints(w.target).InsertOne(t.Context(), checkpoint.Document{
		ID: checkpoint.ID(w.name, partition), Flow: w.name, Partition: partition, Epoch: 1, Owner: 7, Commits: 1,
		Place:    checkpoint.Place{StreamID: w.stream.StreamID, Sequence: sequence, Count: 1, ResumeToken: emptyDocument()},
		Counters: checkpoint.Counters{Processed: 1, Batches: 1},
	})
	require.NoError(t, err)
}

func (w *world) report(t *testing.T, key string, m proto.Message) {
	t.Helper()

	value, err := proto.Marshal(m)
	require.NoError(t, err)

	bucket, err := w.js.KeyValue(t.Context(), topology.StatsBucket)
	require.NoError(t, err)
	_, err = bucket.Put(t.Context(), key, value)
	require.NoError(t, err)
}

// createHealthy makes the flow, with one change that is settled and all that work on it.
func (w *world) createHealthy(t *testing.T) {
	t.Helper()

	w.create(t)
	w.event(t, 0, time.Now())
	w.settle(t, 0, 2)
	w.reportHealthy(t)
}

// reportHealthy is what a listener and a processor say when all is well.
func (w *world) reportHealthy(t *testing.T) {
	t.Helper()

	w.report(t, topology.ListenerReportKey(w.name, "l"), &relayv1.ListenerReport{
		Flow: w.name, Instance: &relayv1.Instance{Id: "l", Host: "h"}, State: relayv1.ListenerState_LISTENER_STATE_STREAMING,
		CaptureLag: durationpb.New(0),
	})

	p := &relayv1.ProcessorReport{Flow: w.name, Instance: &relayv1.Instance{Id: "p", Host: "h"}}
	for i := range partitions {
		p.Partitions = append(p.Partitions, &relayv1.PartitionReport{
			Partition: uint32(i), State: relayv1.PartitionState_PARTITION_STATE_APPLYING, Epoch: 1,
		})
	}

	w.report(t, topology.ProcessorReportKey(w.name, "p"), p)
}

// flow starts the book and returns the sampler.
func (w *world) flow(t *testing.T) *collect.Flow {
	t.Helper()

	return w.flowOn(t, w.target)
}

func (w *world) flowOn(t *testing.T, target *mongo.Client) *collect.Flow {
	t.Helper()

	return collect.NewFlow(w.name, w.js, target, deadletter.New(w.name, target), startBook(t, w))
}

// await samples until the condition holds.
func await(t *testing.T, f *collect.Flow, condition func(*tally.Stats) bool) tally.Stats {
	t.Helper()

	var last tally.Stats

	require.Eventually(t, func() bool {
		var err error
		last, err = f.Sample(t.Context())
		require.NoError(t, err)

		return condition(&last)
	}, 20*time.Second, 50*time.Millisecond, "%s", lastWords{&last})

	return last
}

// lastWords prints the last sample when a wait fails, not when it begins.
type lastWords struct{ stats *tally.Stats }

func (l lastWords) String() string { return fmt.Sprintf("%s %v", l.stats.Status, l.stats.Reasons) }

func isOK(s *tally.Stats) bool { return s.Status == tally.OK }
