package apply_test

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.uber.org/goleak"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(mongotest.Main(m)) }

// worlds numbers the flows, which all tests keep in one database of the target.
var worlds atomic.Int64

// world is a target with one partition of a flow.
type world struct {
	client  *mongo.Client
	ns      event.Namespace
	applier *apply.Applier
	acquire func(context.Context) error // makes another applier; see use
	options apply.Options
	behind  *mongo.Client // that the applier has
	last    checkpoint.Document
	events  uint64 // made so far
}

// modes are the two ways of writing; a server before 8.0 has the second only.
func modes(tb testing.TB, client *mongo.Client) map[string]apply.Options {
	tb.Helper()

	hello, err := mongodb.SayHello(tb.Context(), client)
	require.NoError(tb, err)

	all := map[string]apply.Options{"by collection": {BypassValidation: true}}
	if hello.HasClientBulkWrite() {
		all["bulkWrite"] = apply.Options{BypassValidation: true, ClientBulkWrite: true}
	}

	return all
}

// inEveryMode runs a test once per way of writing, each in a world of its own.
func inEveryMode(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()

	for name, options := range modes(t, mongotest.Shared(t).Client(t)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newWorld(t, mongotest.DB(t), options))
		})
	}
}

func newWorld(tb testing.TB, db *mongo.Database, options apply.Options) *world {
	tb.Helper()

	return newWorldOn(tb, db.Client(), event.Namespace{DB: db.Name(), Coll: "orders"}, options)
}

func newWorldOn(tb testing.TB, client *mongo.Client, ns event.Namespace, options apply.Options) *world {
	tb.Helper()

	flow := "apply-test-" + strconv.FormatInt(worlds.Add(1), 10)
	w := &world{client: client, ns: ns, options: options, last: checkpoint.Document{
		ID: checkpoint.ID(flow, 0), Flow: flow, Epoch: 1, Owner: 42,
		Place: checkpoint.Place{StreamID: "stream", Sequence: 1, ResumeToken: marshal(tb, bson.D{})},
	}}

	w.use(tb, client, options)

	_, err := checkpoint.Checkpoints(client).InsertOne(tb.Context(), w.last)
	require.NoError(tb, err)

	return w
}

// use makes the world commit through this client, in a session of its own, as a
// new ownership does.
func (w *world) use(tb testing.TB, client *mongo.Client, options apply.Options) {
	tb.Helper()

	w.behind = client
	target := apply.New(client, options)
	session, err := apply.NewSession(client)
	require.NoError(tb, err)
	tb.Cleanup(func() { session.EndSession(context.WithoutCancel(tb.Context())) })

	w.applier = target.In(session)
	w.acquire = func(ctx context.Context) error {
		if err := apply.EndTransactions(ctx, client, apply.SessionID(session)); err != nil {
			return err
		}

		if session, err = apply.NewSession(client); err != nil {
			return err
		}

		w.applier = target.In(session)

		return nil
	}
}

// again makes the world commit as a processor with other options does.
func (w *world) again(tb testing.TB, change func(*apply.Options)) {
	tb.Helper()

	change(&w.options)
	w.use(tb, w.behind, w.options)
}

// firstStatement is the command that writes the checkpoint.
func (w *world) firstStatement() string {
	if w.options.ClientBulkWrite {
		return "bulkWrite"
	}

	return "update"
}

func (w *world) coll() *mongo.Collection { return w.client.Database(w.ns.DB).Collection(w.ns.Coll) }

// change makes the next event of the world from the fields beside the envelope.
func (w *world) change(tb testing.TB, op event.Operation, id any, fields ...bson.E) apply.Change {
	tb.Helper()
	w.events++

	doc := bson.D{
		{Key: "operationType", Value: string(op)},
		{Key: "clusterTime", Value: bson.Timestamp{T: uint32(w.events)}},
		{Key: "ns", Value: bson.D{{Key: "db", Value: w.ns.DB}, {Key: "coll", Value: w.ns.Coll}}},
	}
	if op.IsDocument() {
		doc = append(doc, bson.E{Key: "documentKey", Value: bson.D{{Key: "_id", Value: id}}})
	}

	e, err := event.Parse(marshal(tb, append(doc, fields...)))
	require.NoError(tb, err)

	return apply.Change{Event: e, Number: w.events, Position: event.Position{T: uint32(w.events)}}
}

func (w *world) insert(tb testing.TB, doc bson.D) apply.Change {
	tb.Helper()

	return w.change(tb, event.Insert, doc[0].Value, bson.E{Key: "fullDocument", Value: doc})
}

func (w *world) replace(tb testing.TB, doc bson.D) apply.Change {
	tb.Helper()

	return w.change(tb, event.Replace, doc[0].Value, bson.E{Key: "fullDocument", Value: doc})
}

func (w *world) update(tb testing.TB, id any, description bson.D, more ...bson.E) apply.Change {
	tb.Helper()

	return w.change(tb, event.Update, id, append(more, bson.E{Key: "updateDescription", Value: description})...)
}

func (w *world) remove(tb testing.TB, id any) apply.Change {
	tb.Helper()

	return w.change(tb, event.Delete, id)
}

// set is the description of an update that sets fields.
func set(fields ...bson.E) bson.D {
	return bson.D{{Key: "updatedFields", Value: bson.D(fields)}, {Key: "removedFields", Value: bson.A{}}}
}

// next is the checkpoint that a batch of these changes leaves.
func (w *world) next(plan *apply.Plan, changes []apply.Change) checkpoint.Document {
	next := w.last
	added := plan.Counters()
	next.Commits++
	next.Counters.Processed += added.Processed
	next.Counters.Skipped += added.Skipped
	next.Counters.Batches += added.Batches
	next.Sequence += int64(len(changes))
	next.Count += int64(len(changes))
	next.Event = int64(changes[len(changes)-1].Number)
	next.Position = changes[len(changes)-1].Position

	return next
}

// commit applies a batch and, when it is in, goes on from there.
func (w *world) commit(ctx context.Context, changes ...apply.Change) error {
	plan, err := apply.NewPlan(changes)
	if err != nil {
		return err
	}

	if w.applier.Spent() {
		if err := w.acquire(ctx); err != nil {
			return err
		}
	}

	next := w.next(plan, changes)
	if err := w.applier.Commit(ctx, plan, &w.last, &next); err != nil {
		return err
	}

	w.last = next

	return nil
}

// document returns a document of the target as it is stored; nil if absent.
func (w *world) document(tb testing.TB, id any) bson.Raw {
	tb.Helper()

	raw, err := w.coll().FindOne(tb.Context(), bson.D{{Key: "_id", Value: id}}).Raw()
	if err != nil {
		require.ErrorIs(tb, err, mongo.ErrNoDocuments)

		return nil
	}

	return raw
}

// held returns the checkpoint in the target.
func (w *world) held(tb testing.TB) checkpoint.Document {
	tb.Helper()

	held, ok, err := checkpoint.LoadOne(tb.Context(), w.client, w.last.Flow, w.last.Partition)
	require.NoError(tb, err)
	require.True(tb, ok)

	return held
}

func marshal(tb testing.TB, doc any) bson.Raw {
	tb.Helper()

	raw, err := bson.Marshal(doc)
	require.NoError(tb, err)

	return raw
}
