package schema_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/schema"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// world is a source and a target: two databases of one server. What happens in
// the first is told by its change stream and made in the second.
type world struct {
	t              *testing.T
	source, target *mongo.Database
	executor       *schema.Executor
	stream         *mongo.ChangeStream
}

func newWorld(t *testing.T) *world {
	t.Helper()

	w := &world{t: t, source: mongotest.DB(t), target: mongotest.DB(t)}
	w.executor = schema.New(w.target.Client(), schema.Options{})

	stream, err := mongodb.Watch(t.Context(), w.source.Client(), options.ChangeStream().SetMaxAwaitTime(100*time.Millisecond))
	require.NoError(t, err)
	t.Cleanup(func() { _ = stream.Close(context.WithoutCancel(t.Context())) })

	w.stream = stream

	return w
}

// run runs a command on the source.
func (w *world) run(command bson.D) {
	w.t.Helper()

	db := w.source
	if command[0].Key == "renameCollection" {
		db = w.source.Client().Database("admin")
	}

	require.NoError(w.t, db.RunCommand(w.t.Context(), command).Err())
}

// next returns the next schema change of the source, as one of the target.
func (w *world) next() *schema.Change {
	w.t.Helper()

	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()

	for w.stream.Next(ctx) {
		e, err := event.Parse(append(bson.Raw(nil), w.stream.Current...))
		require.NoError(w.t, err)

		if e.Namespace.DB != w.source.Name() || !e.Operation.IsSchemaChange() {
			continue
		}

		c, err := schema.Parse(&e)
		require.NoError(w.t, err)

		return w.aim(&c)
	}

	require.NoError(w.t, w.stream.Err())
	require.FailNow(w.t, "no event came")

	return nil
}

// aim lets a change of the source's database be one of the target's.
func (w *world) aim(c *schema.Change) *schema.Change {
	c.Namespace.DB = w.target.Name()
	if c.To.DB != "" {
		c.To.DB = w.target.Name()
	}

	return c
}

// told is a change as mongod tells it.
func (w *world) told(operation event.Operation, coll string, description bson.D, more ...bson.E) *schema.Change {
	w.t.Helper()

	ns := bson.D{{Key: "db", Value: w.source.Name()}}
	if coll != "" {
		ns = append(ns, bson.E{Key: "coll", Value: coll})
	}

	raw, err := bson.Marshal(append(bson.D{
		{Key: "operationType", Value: operation}, {Key: "ns", Value: ns}, {Key: "operationDescription", Value: description},
	}, more...))
	require.NoError(w.t, err)

	e, err := event.Parse(raw)
	require.NoError(w.t, err)

	c, err := schema.Parse(&e)
	require.NoError(w.t, err)

	return w.aim(&c)
}

// make prepares and executes a change twice: the second run is that of an owner
// that does not know of the first.
func (w *world) make(c *schema.Change) {
	w.t.Helper()

	before := w.prepare(c)
	require.NoError(w.t, w.executor.Execute(w.t.Context(), c, before))
	require.NoError(w.t, w.executor.Execute(w.t.Context(), c, before))
}

func (w *world) prepare(c *schema.Change) bson.Raw {
	w.t.Helper()

	before, err := w.executor.Prepare(w.t.Context(), c)
	require.NoError(w.t, err)

	return before
}

// fails makes a change that fails for a reason of its own.
func (w *world) fails(c *schema.Change) error {
	w.t.Helper()

	err := w.executor.Execute(w.t.Context(), c, w.prepare(c))
	require.Error(w.t, err)
	require.True(w.t, schema.IsOwn(err), err)

	return err
}
