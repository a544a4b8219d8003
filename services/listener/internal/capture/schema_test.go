package capture_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/capture"
)

var (
	logs = event.Namespace{DB: "shop", Coll: "logs"}
	old  = event.Namespace{DB: "shop", Coll: "old"}
)

func (w *world) initSchema(t *testing.T, mode topology.PublishMode) *topology.Stream {
	t.Helper()

	return w.initWith(t, gib, topology.Settings{Publish: mode, DDL: true})
}

func (w *world) createCapped(t *testing.T, ns event.Namespace) {
	t.Helper()
	require.NoError(t, w.source.Database(ns.DB).CreateCollection(t.Context(), ns.Coll, options.CreateCollection().SetCapped(true).SetSizeInBytes(1<<20)))
}

func (w *world) rename(t *testing.T, from, to event.Namespace) {
	t.Helper()
	require.NoError(t, w.source.Database("admin").RunCommand(t.Context(), bson.D{
		{Key: "renameCollection", Value: from.String()}, {Key: "to", Value: to.String()},
	}).Err())
}

// barriers returns the operations of all schema changes, in order.
func (c content) barriers(t *testing.T) []event.Operation {
	t.Helper()

	var operations []event.Operation

	for i := range c.events {
		if m := &c.events[i]; m.Kind == event.KindBarrier {
			require.Zero(t, m.Partition)

			change, err := m.SchemaChange()
			require.NoError(t, err)

			operations = append(operations, change.Operation)
		}
	}

	return operations
}

// requirePinned: all documents of a collection that was capped once went one way.
func (c content) requirePinned(t *testing.T, partition int, pin event.Pin, namespaces ...event.Namespace) {
	t.Helper()

	for _, ns := range namespaces {
		for i := range c.events {
			if m := &c.events[i]; m.Namespace == ns {
				require.Equal(t, partition, m.Partition, "partition of event %d in %s", m.Event, ns)
				require.Equal(t, pin, m.Pin)
			}
		}
	}
}

// awaitEnd waits until the stream has all that the source did so far.
func (w *world) awaitEnd(t *testing.T, stream *topology.Stream) {
	t.Helper()
	insert(t, w.source, end, 0, 1)

	require.Eventually(t, func() bool {
		tail, err := stream.Tail(t.Context())

		return err == nil && tail.Namespace == end
	}, patience, 20*time.Millisecond)
}

// end is a collection whose insert ends what a test looks at.
var end = event.Namespace{DB: "zzz", Coll: "end"}

func TestSchemaChangesAreBarriers(t *testing.T) {
	t.Parallel()

	inEachMode(t, func(t *testing.T, mode topology.PublishMode) {
		t.Helper()

		w := newWorld(t, mongotest.Options{})
		stream := w.initSchema(t, mode)
		l := w.listen(t, nil)

		w.createCapped(t, logs)
		insert(t, w.source, logs, 0, 20)

		// What was captured without anybody is found by the next one: the table is that
		// of the stream, although the source has another by then.
		awaitIDs(t, stream, logs, sequence(0, 20))
		l.stop()
		insert(t, w.source, logs, 20, 40)
		w.rename(t, logs, old)
		insert(t, w.source, old, 40, 60)
		require.NoError(t, w.source.Database(old.DB).Collection(old.Coll).Drop(t.Context()))
		insert(t, w.source, orders, 0, 20)

		_, err := w.source.Database(orders.DB).Collection(orders.Coll).Indexes().CreateOne(t.Context(), mongo.IndexModel{Keys: bson.D{{Key: "a", Value: 1}}})
		require.NoError(t, err)

		l = w.listen(t, nil)
		w.awaitEnd(t, stream)
		l.stop()

		c := read(t, stream)
		require.Equal(t, sequence(0, 40), c.ids(t, logs))
		require.Equal(t, sequence(40, 60), c.ids(t, old))
		require.Equal(t, sequence(0, 20), c.ids(t, orders))
		c.requirePinned(t, event.PartitionOf(logs, partitions), event.PinCapped, logs, old)
		require.Equal(t, []event.Operation{
			event.Create, event.Rename, event.Drop, event.Create, event.CreateIndexes, event.Create,
		}, c.barriers(t))
	})
}

// awaitIDs waits until the stream has these documents of a namespace.
func awaitIDs(t *testing.T, stream *topology.Stream, ns event.Namespace, ids []int32) {
	t.Helper()

	require.Eventually(t, func() bool { return len(read(t, stream).ids(t, ns)) >= len(ids) }, patience, 50*time.Millisecond)
	require.Equal(t, ids, read(t, stream).ids(t, ns))
}

// TestTheTableFollowsWhatIsLeftOut: a capped collection that comes in with another
// filter has been pinned all the time.
func TestTheTableFollowsWhatIsLeftOut(t *testing.T) {
	t.Parallel()

	w := newWorld(t, mongotest.Options{})
	stream := w.initSchema(t, topology.PublishChain)
	l := w.listen(t, func(o *capture.Options) { o.Exclude = []string{"shop.logs"} })

	w.createCapped(t, logs)
	insert(t, w.source, logs, 0, 20)
	w.awaitEnd(t, stream)
	l.stop()

	l = w.listen(t, nil)
	insert(t, w.source, logs, 20, 40)
	awaitIDs(t, stream, logs, sequence(20, 40))
	l.stop()

	c := read(t, stream)
	c.requirePinned(t, event.PartitionOf(logs, partitions), event.PinCapped, logs)
	require.Equal(t, []event.Operation{event.Create}, c.barriers(t), "of the last collection")
}

// TestARenameOverTheBorderStops, and goes on once the filter takes both names.
func TestARenameOverTheBorderStops(t *testing.T) {
	t.Parallel()

	for name, rename := range map[string][2]event.Namespace{
		"out": {orders, audit},
		"in":  {audit, orders},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t, mongotest.Options{})
			stream := w.initSchema(t, topology.PublishChain)
			l := w.listen(t, func(o *capture.Options) { o.Exclude = []string{"shop.audit"} })

			insert(t, w.source, rename[0], 0, 10)
			w.rename(t, rename[0], rename[1])

			reason := l.await(t, capture.Failed).Reason
			require.Contains(t, reason, rename[0].String()+" to "+rename[1].String())
			require.Contains(t, reason, "shop.audit is not replicated")
			require.Contains(t, reason, "EXCLUDE_NAMESPACES")
			l.stop()

			w.listen(t, nil)
			w.awaitEnd(t, stream)
			require.Contains(t, read(t, stream).barriers(t), event.Rename)
		})
	}
}

// TestADatabaseIsDroppedOnlyWhole: with a filter that takes a part of it, the drops of
// its collections are all there is to do.
func TestADatabaseIsDroppedOnlyWhole(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		exclude []string
		dropped bool
	}{
		"whole": {dropped: true},
		"part":  {exclude: []string{"shop.audit"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t, mongotest.Options{})
			stream := w.initSchema(t, topology.PublishChain)
			w.listen(t, func(o *capture.Options) { o.Exclude = test.exclude })

			insert(t, w.source, orders, 0, 1)
			require.NoError(t, w.source.Database(orders.DB).Drop(t.Context()))
			w.awaitEnd(t, stream)

			barriers := read(t, stream).barriers(t)
			if test.dropped {
				require.Contains(t, barriers, event.DropDatabase)
			} else {
				require.NotContains(t, barriers, event.DropDatabase)
			}
		})
	}
}
