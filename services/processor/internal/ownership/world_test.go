package ownership

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.opentelemetry.io/otel/trace/noop"
	"golang.org/x/sync/semaphore"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/batch"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/consume"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/park"
)

// worlds numbers the flows, which all tests keep in one database of the target.
var worlds atomic.Int64

// tb is what testing.TB and rapid.T have in common.
type tb interface {
	require.TestingT
	Helper()
}

// world is a source that a test writes the history of, and the target. There is no stream between them: the test
// delivers, so it decides what comes when, and again.
type world struct {
	ctx        context.Context
	client     *mongo.Client
	ns         event.Namespace
	owner      *Owner
	partitions []*site
	states     []map[string]bson.D // the source's documents after so many events
	down       bool                // the source does not answer
	at         int                 // the event after which the source answers; 0: the last one
}

// site is one partition: its part of the history, and who owns it.
type site struct {
	*world
	*lane

	messages []event.Message
	next     int    // message to be delivered
	seq      uint64 // consumer's sequence of the last delivery
	verifier *consume.Verifier
	sessions []*mongo.Session
}

type silent struct{}

func (silent) Batch(time.Duration, *apply.Plan) {}
func (silent) Event(*event.Message)             {}

func policy() park.Policy {
	return park.Policy{
		Retries: 2, Delays: []time.Duration{time.Second, 5 * time.Second}, Together: 100, MaxEvents: 1000, MaxBytes: 64 << 20, MaxTotal: 1 << 30,
	}
}

func newWorld(ctx context.Context, t tb, db *mongo.Database, partitions int, options apply.Options) *world {
	t.Helper()

	flow := db.Name()[len(db.Name())-8:] + "-" + strconv.FormatInt(worlds.Add(1), 10) // a given server keeps what earlier runs left
	w := &world{
		ctx: ctx, client: db.Client(), ns: event.Namespace{DB: db.Name(), Coll: flow}, states: []map[string]bson.D{{}},
	}
	w.owner = &Owner{
		options: Options{Flow: flow, Park: policy(), Refetch: w, Tracer: noop.NewTracerProvider().Tracer("")},
		target:  db.Client(),
		store:   StoreOf(db.Client()),
		observe: silent{},
		log:     slog.New(slog.DiscardHandler),
		limits:  batch.Limits{Size: 100, Bytes: 1 << 20, Idle: time.Second, MaxAge: time.Second},
		slots:   semaphore.NewWeighted(8),
		markers: newMarkers(),
		pausing: newPausing(),
		images:  semaphore.NewWeighted(1),
		applyTo: apply.New(db.Client(), options),
		stream:  &topology.Stream{Settings: topology.Settings{Partitions: partitions}},
		warned:  map[kindOfEvent]struct{}{},
	}

	w.owner.divideMemory(64 << 20)

	for number := range partitions {
		first := checkpoint.Document{
			ID: checkpoint.ID(flow, number), Flow: flow, Partition: number,
			Place: checkpoint.Place{StreamID: "stream", ResumeToken: bson.Raw{5, 0, 0, 0, 0}},
		}

		_, err := checkpoint.Checkpoints(w.client).InsertOne(ctx, first)
		require.NoError(t, err)

		s := &site{world: w}
		w.partitions = append(w.partitions, s)
		s.acquire(t, number)
	}

	return w
}

// modes are the two ways of writing; a server before 8.0 has the second only.
func modes(ctx context.Context, t tb, client *mongo.Client) map[string]apply.Options {
	t.Helper()

	hello, err := mongodb.SayHello(ctx, client)
	require.NoError(t, err)

	all := map[string]apply.Options{"by collection": {}}
	if hello.HasClientBulkWrite() {
		all["bulkWrite"] = apply.Options{ClientBulkWrite: true}
	}

	return all
}

func (w *world) coll() *mongo.Collection { return w.client.Database(w.ns.DB).Collection(w.ns.Coll) }

// acquire takes the partition with a new epoch, as a new process does.
func (s *site) acquire(t tb, number int) {
	t.Helper()

	require.NoError(t, s.tryAcquire(t, number))
}

func (s *site) tryAcquire(t tb, number int) error {
	t.Helper()

	held, ok, err := checkpoint.LoadOne(s.ctx, s.client, s.owner.options.Flow, number)
	require.NoError(t, err)
	require.True(t, ok)

	held.Epoch++
	held.Owner = held.Epoch

	_, err = checkpoint.Checkpoints(s.client).UpdateOne(s.ctx, bson.D{{Key: "_id", Value: held.ID}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "epoch", Value: held.Epoch}, {Key: "owner", Value: held.Owner}}}})
	require.NoError(t, err)

	session, err := apply.NewSession(s.client)
	require.NoError(t, err)

	s.sessions = append(s.sessions, session)

	p := &partition{Owner: s.owner, number: number, session: apply.SessionID(session), applier: s.owner.applyTo.In(session), held: held}
	s.lane = &lane{partition: p, asks: make(chan park.Ask, asking)}
	s.verifier, s.seq, s.next = consume.NewVerifier(&held.Place), 0, int(held.Count)

	return p.loadParked(s.ctx)
}

func (w *world) close() {
	for _, s := range w.partitions {
		for _, session := range s.sessions {
			session.EndSession(context.WithoutCancel(w.ctx))
		}
	}
}

// gather takes up to so many deliveries.
func (s *site) gather(t tb, size int) []*consume.Delivery {
	t.Helper()

	var list []*consume.Delivery

	for s.next < len(s.messages) && len(list) < size {
		m := s.messages[s.next]
		s.next++
		s.seq++

		whole, complete, err := s.verifier.Check(m, s.seq)
		require.NoError(t, err)

		if !complete {
			continue
		}

		e, err := event.Parse(whole.Payload)
		require.NoError(t, err)

		list = append(list, &consume.Delivery{Event: e, Message: whole, Sequence: whole.Count})
	}

	return list
}

// deliver settles the next batch.
func (s *site) deliver(t tb, size int) {
	t.Helper()

	if batch := s.gather(t, size); len(batch) > 0 {
		require.NoError(t, s.settleBatch(s.ctx, s.ctx, batch))
	}
}

// later is when everything that waits is due.
func later() time.Time { return time.Now().Add(time.Hour) }

// retry tries what is parked, and lets the source answer.
func (s *site) retry(t tb) {
	t.Helper()
	require.NoError(t, s.tryParked(s.ctx, s.ctx, later()))

	for len(s.asks) > 0 {
		a := s.fetch(s.ctx, <-s.asks)
		require.NoError(t, s.answered(s.ctx, s.ctx, &a))
	}
}

// see looks at what operators and other partitions did.
func (s *site) see(t tb) {
	t.Helper()
	require.NoError(t, s.look(s.ctx))
}

// idle moves a partition that has nothing left to the end of the history, as a marker does.
func (s *site) idle(t tb) {
	t.Helper()

	if s.next < len(s.messages) {
		return
	}

	s.held.Position = event.Position{T: uint32(len(s.states) - 1)}
	s.held.Commits++

	_, err := checkpoint.Checkpoints(s.client).UpdateOne(s.ctx, bson.D{{Key: "_id", Value: s.held.ID}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "place.position", Value: s.held.Position}, {Key: "commits", Value: s.held.Commits}}}})
	require.NoError(t, err)
}

// records returns the flow's parked records in the order of their events.
func (w *world) records(t tb) []parked.Record {
	t.Helper()

	cursor, err := parked.Records(w.client).Find(w.ctx, bson.D{{Key: "flow", Value: w.owner.options.Flow}})
	require.NoError(t, err)

	var records []parked.Record
	require.NoError(t, cursor.All(w.ctx, &records))
	slices.SortFunc(records, func(a, b parked.Record) int { return a.Position.Compare(b.Position) })

	return records
}

// states of the records, for short.
func (w *world) parkedStates(t tb) []string {
	t.Helper()

	var list []string
	for _, r := range w.records(t) {
		line := fmt.Sprintf("%d %s %s %d", r.Number, r.State, r.Reason, r.Attempts)
		if r.IsRun() {
			line += fmt.Sprintf(" run of %d", r.Events)
		}

		list = append(list, line)
	}

	return list
}

// document returns what the target has, without _id; nil when there is none.
func (w *world) document(t tb, id string) bson.D {
	t.Helper()

	var doc bson.D

	err := w.coll().FindOne(w.ctx, bson.D{{Key: "_id", Value: id}}).Decode(&doc)
	if err == mongo.ErrNoDocuments { //nolint:errorlint // of the driver itself
		return nil
	}

	require.NoError(t, err)

	return doc[1:]
}

// sum is what the checkpoints in the target say, all partitions together.
func (w *world) sum(t tb) checkpoint.Document {
	t.Helper()

	all, err := checkpoint.Load(w.ctx, w.client, w.owner.options.Flow)
	require.NoError(t, err)

	var sum checkpoint.Document

	for _, d := range all {
		sum.Counters.Processed += d.Counters.Processed
		sum.Counters.Failed += d.Counters.Failed
		sum.Counters.Skipped += d.Counters.Skipped
		sum.Count += d.Count
		sum.Parked += d.Parked
		sum.ParkedBytes += d.ParkedBytes
	}

	return sum
}

// requireCounted makes sure that every event up to the checkpoints is in one class, and that the sums are those of the
// records.
func (w *world) requireCounted(t tb) {
	t.Helper()

	sum := w.sum(t)
	require.Equal(t, sum.Count, sum.Counters.Processed+sum.Counters.Failed+sum.Counters.Skipped+sum.Parked)

	waiting, failed := int64(0), int64(0)

	for _, r := range w.records(t) {
		switch {
		case r.Counted:
			failed += max(r.Events, 1)
		case r.State == parked.Waiting:
			waiting += max(r.Events, 1)
		}
	}

	require.Equal(t, waiting, sum.Parked)
	require.Equal(t, failed, sum.Counters.Failed)
}
