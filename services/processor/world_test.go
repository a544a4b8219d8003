package main

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// childMark makes the test binary a processor; see world.startChild.
const childMark = "RELAY_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childMark) != "" {
		main()
	}

	goleak.VerifyTestMain(mongotest.Main(m))
}

const (
	partitions = 16
	patience   = 60 * time.Second // most that any condition may take on a busy machine
	glance     = 20 * time.Millisecond
)

// flows numbers the flows, whose checkpoints share one database of the target.
var flows atomic.Int64

// world is a flow's stream, who writes it, and the target.
type world struct {
	flow   string
	uri    string
	target *mongo.Client
	ns     event.Namespace
	nats   *natstest.Server
	js     jetstream.JetStream

	partitions int // of the stream that init makes; 16 unless set before

	stream *topology.Stream
	last   event.Message // published, of any partition
	lastID string
	counts [partitions]uint64

	lastBarrier uint64    // event number of the last schema change
	pin         event.Pin // of the collection, if it is pinned
}

// newWorld has no stream yet: init makes it.
func newWorld(tb testing.TB) *world {
	tb.Helper()

	db := mongotest.DB(tb)

	return newWorldOn(tb, mongotest.Shared(tb).URI().Reveal(), db)
}

func newWorldOn(tb testing.TB, uri string, db *mongo.Database) *world {
	tb.Helper()

	nats := natstest.New(tb)

	return &world{
		flow: "processor-test-" + strconv.FormatInt(flows.Add(1), 10),
		uri:  uri, target: db.Client(), ns: event.Namespace{DB: db.Name(), Coll: "orders"},
		nats: nats, js: nats.JetStream(tb), partitions: partitions,
	}
}

// init makes the stream and message 1, as relayctl flow init does.
func (w *world) init(tb testing.TB) {
	tb.Helper()

	settings := topology.Settings{StreamID: topology.NewStreamID(), Partitions: w.partitions, Source: "rs0", FirstToken: "x"}

	var err error
	w.stream, err = topology.Create(tb.Context(), w.js, w.flow, settings, 4<<30)
	require.NoError(tb, err)

	payload, err := proto.Marshal(&relayv1.Marker{Heads: make([]uint64, w.partitions)})
	require.NoError(tb, err)

	w.counts = [partitions]uint64{}
	w.last = event.Message{
		Kind: event.KindMarker, StreamID: settings.StreamID, Writer: 1, ResumeToken: marshal(tb, bson.D{{Key: "_data", Value: "00"}}),
		Part: 1, Parts: 1, Attempt: 1, Size: len(payload), Payload: payload,
	}
	require.NoError(tb, w.stream.PublishFirst(tb.Context(), w.js, &w.last))
	w.lastID = w.last.ID()
}

// mark publishes a marker, as a listener does.
func (w *world) mark(tb testing.TB) {
	tb.Helper()

	payload, err := proto.Marshal(&relayv1.Marker{Heads: w.counts[:w.partitions], LastBarrier: w.lastBarrier})
	require.NoError(tb, err)

	m := w.last
	m.Kind, m.Partition, m.Namespace, m.Pin, m.Size, m.Payload, m.Count = event.KindMarker, 0, event.Namespace{}, event.PinNone, len(payload), payload, 0

	_, err = w.js.PublishMsg(tb.Context(), event.Encode(w.flow, &m, w.lastID))
	require.NoError(tb, err)

	w.lastID = m.ID()
}

// next makes the next event of the document with this _id, as a listener does.
func (w *world) next(tb testing.TB, op event.Operation, id any, fields ...bson.E) event.Message {
	tb.Helper()

	doc := bson.D{
		{Key: "operationType", Value: string(op)},
		{Key: "ns", Value: bson.D{{Key: "db", Value: w.ns.DB}, {Key: "coll", Value: w.ns.Coll}}},
	}
	if op.IsDocument() {
		doc = append(doc, bson.E{Key: "documentKey", Value: bson.D{{Key: "_id", Value: id}}})
	}

	e, err := event.Parse(marshal(tb, append(doc, fields...)))
	require.NoError(tb, err)

	partition := 0

	if op.IsDocument() {
		key, err := event.NewKey(w.ns, e.ID())
		require.NoError(tb, err)

		partition = key.Partition(w.partitions)

		if w.pin != event.PinNone {
			partition = event.PartitionOf(w.ns, w.partitions)
		}
	}

	w.counts[partition]++

	m := w.last
	m.Kind, m.Partition, m.Namespace, m.Pin, m.Size, m.Payload = event.KindEvent, partition, w.ns, w.pin, len(e.Raw), e.Raw
	m.Event++
	m.Count = w.counts[partition]
	m.Position = event.Position{T: uint32(time.Now().Unix()), I: uint32(m.Event)}
	m.Part, m.Parts = 1, 1
	m.ResumeToken = marshal(tb, bson.D{{Key: "_data", Value: m.Position.String()}})
	w.last = m

	return m
}

func (w *world) insert(tb testing.TB, id any, fields ...bson.E) event.Message {
	tb.Helper()

	return w.publish(tb, event.Insert, id, bson.E{Key: "fullDocument", Value: append(bson.D{{Key: "_id", Value: id}}, fields...)})
}

func (w *world) set(tb testing.TB, id any, fields ...bson.E) {
	tb.Helper()

	w.publish(tb, event.Update, id, bson.E{Key: "updateDescription", Value: bson.D{{Key: "updatedFields", Value: bson.D(fields)}}})
}

// settled is how many events the checkpoints count; batches is left out.
func (w *world) settled(tb testing.TB) checkpoint.Counters {
	tb.Helper()

	all, err := checkpoint.Load(context.WithoutCancel(tb.Context()), w.target, w.flow)
	if err != nil {
		return checkpoint.Counters{} // the test has its server down
	}

	var sum checkpoint.Counters
	for _, d := range all {
		sum.Processed += d.Counters.Processed
		sum.Failed += d.Counters.Failed
		sum.Skipped += d.Counters.Skipped
	}

	return sum
}

// awaitSettled waits until the checkpoints count exactly this.
func (w *world) awaitSettled(tb testing.TB, want checkpoint.Counters) {
	tb.Helper()
	require.Eventually(tb, func() bool { return w.settled(tb) == want }, patience, glance, "%+v", want)
}

func (w *world) document(tb testing.TB, id any) bson.Raw {
	tb.Helper()

	raw, err := w.target.Database(w.ns.DB).Collection(w.ns.Coll).FindOne(tb.Context(), bson.D{{Key: "_id", Value: id}}).Raw()
	if err != nil {
		require.ErrorIs(tb, err, mongo.ErrNoDocuments)
	}

	return raw
}

func (w *world) environ(tb testing.TB, extra map[string]string) map[string]string {
	tb.Helper()

	environ := map[string]string{
		"FLOW": w.flow, "TARGET_URI": w.uri, "NATS_URL": w.nats.URL(), "OPS_ADDR": freeAddr(tb), "LOG_LEVEL": "error", "SHUTDOWN_GRACE": "10s",
	}
	maps.Copy(environ, extra)

	return environ
}

// processor is a running one, started as main does.
type processor struct {
	addr string
	stop context.CancelFunc
	done chan error // its end; one value
}

func (w *world) start(tb testing.TB, extra map[string]string) *processor {
	tb.Helper()

	environ := w.environ(tb, extra)

	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	p := &processor{addr: environ["OPS_ADDR"], stop: cancel, done: make(chan error, 1)}

	go func() { p.done <- realMain(ctx, nil, environ) }()

	tb.Cleanup(func() {
		cancel()
		<-p.done
	})

	return p
}

// end stops the processor and returns how it ended.
func (p *processor) end() error {
	p.stop()

	return p.ended()
}

func (p *processor) ended() error {
	err := <-p.done
	p.done <- err // for the cleanup

	return err
}

// awaitReady waits until every partition is being applied.
func (p *processor) awaitReady(tb testing.TB) {
	tb.Helper()
	require.Eventually(tb, func() bool { return p.reason(tb) == "ready" }, patience, glance)
}

// get asks the ops server; nil when it does not answer. The caller closes the body.
func (p *processor) get(tb testing.TB, path string) *http.Response {
	tb.Helper()

	request, err := http.NewRequestWithContext(context.WithoutCancel(tb.Context()), http.MethodGet, "http://"+p.addr+path, nil)
	require.NoError(tb, err)

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

	response, err := client.Do(request)
	if err != nil {
		return nil
	}

	return response
}

// scrape is what /metrics says; empty when there is no answer.
func (p *processor) scrape(tb testing.TB) string {
	tb.Helper()

	response := p.get(tb, "/metrics")
	if response == nil {
		return ""
	}
	defer response.Body.Close()

	text, err := io.ReadAll(response.Body)
	require.NoError(tb, err)

	return string(text)
}

// awaitReason waits until the processor is not ready, and says this: readiness follows the states a few times a second.
func (p *processor) awaitReason(tb testing.TB, says string) {
	tb.Helper()

	require.Eventually(tb, func() bool { return strings.Contains(p.reason(tb), says) }, patience, glance, says)
}

// reason is what /readyz says.
func (p *processor) reason(tb testing.TB) string {
	tb.Helper()

	response := p.get(tb, "/readyz")
	if response == nil {
		return "no answer"
	}
	defer response.Body.Close()

	if response.StatusCode == http.StatusOK {
		return "ready"
	}

	var body struct {
		Reasons []struct {
			Part   string `json:"part"`
			Reason string `json:"reason"`
		} `json:"reasons"`
	}

	require.NoError(tb, json.NewDecoder(response.Body).Decode(&body))

	for _, r := range body.Reasons {
		if r.Part == "partitions" {
			return r.Reason
		}
	}

	return "not ready"
}

func freeAddr(tb testing.TB) string {
	tb.Helper()

	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	require.NoError(tb, err)

	defer l.Close()

	return l.Addr().String()
}

func marshal(tb testing.TB, doc any) bson.Raw {
	tb.Helper()

	raw, err := bson.Marshal(doc)
	require.NoError(tb, err)

	return raw
}
