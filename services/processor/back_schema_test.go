package main

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/barrier"
)

// backup is what a target has for a flow: checkpoints, barriers and documents.
type backup struct {
	checkpoints map[int]checkpoint.Document
	barriers    barrier.Document
	documents   []bson.Raw
}

func (w *world) backUp(t *testing.T) backup {
	t.Helper()

	barriers, err := barrier.Load(t.Context(), w.target, w.flow)
	require.NoError(t, err)

	cursor, err := w.target.Database(w.ns.DB).Collection(w.ns.Coll).Find(t.Context(), bson.D{})
	require.NoError(t, err)

	b := backup{checkpoints: w.checkpoints(t), barriers: barriers}
	require.NoError(t, cursor.All(t.Context(), &b.documents))

	return b
}

// restoreAll sets the target back.
func (w *world) restoreAll(t *testing.T, to *backup) {
	t.Helper()

	w.atOnce(t, to.checkpoints, func(ctx context.Context) error {
		_, err := checkpoint.Barriers(w.target).DeleteOne(ctx, bson.D{{Key: "_id", Value: w.flow}})
		if err == nil && to.barriers.ID != "" {
			_, err = checkpoint.Barriers(w.target).InsertOne(ctx, to.barriers)
		}

		coll := w.target.Database(w.ns.DB).Collection(w.ns.Coll)
		if err == nil {
			_, err = coll.DeleteMany(ctx, bson.D{})
		}

		if err == nil {
			_, err = coll.InsertMany(ctx, to.documents)
		}

		return err
	})
}

// TestTargetThatWentBackWhilePartitionsStandAtASchemaChange: who stands there commits nothing, so no guard tells it. Those
// that the target has set back wait for it at the change before, and it for them.
func TestTargetThatWentBackWhilePartitionsStandAtASchemaChange(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)

	p := w.start(t, nil)
	ids := w.firstWave(t)

	saved := w.backUp(t)

	require.NoError(t, p.end())
	w.start(t, nil).awaitReady(t) // the partitions have other epochs now than in the backup

	w.change(t, event.CreateIndexes, w.ns, index("first", false))
	w.awaitSettled(t, checkpoint.Counters{Processed: int64(len(ids)) + 1})

	e := schemaEvent(t, event.Create, event.Namespace{DB: w.ns.DB, Coll: "second"})
	m := w.announce(t, &e)
	w.awaitState(t, 3, relayv1.PartitionState_PARTITION_STATE_PAUSED)

	w.restoreAll(t, &saved)

	w.complete(t, &m)
	w.wave(t, ids[3:5], 2)
	w.awaitSettled(t, checkpoint.Counters{Processed: int64(len(ids)) + 4})
	require.Equal(t, []string{"_id_", "first"}, w.indexNames(t, w.ns.Coll))
}

// TestTargetThatWentBackBehindASchemaChange: a partition that has passed one has committed nothing by that, so its
// checkpoint is the same in a backup of before, where the change is not made. What it applies next must not come before
// the change is made again: a collection that is dropped then would take it along.
func TestTargetThatWentBackBehindASchemaChange(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)

	w.start(t, nil)

	ids := w.firstWave(t)
	saved := w.backUp(t)

	w.change(t, event.Drop, w.ns)
	w.awaitSettled(t, checkpoint.Counters{Processed: int64(len(ids)) + 1})
	require.Zero(t, w.countIn(t, w.ns.Coll))

	w.restoreAll(t, &saved)
	require.Equal(t, int64(len(ids)), w.countIn(t, w.ns.Coll))

	w.wave(t, ids[3:4], 2)
	w.awaitState(t, 3, relayv1.PartitionState_PARTITION_STATE_PAUSED) // partition 0 has to be behind the change first

	w.wave(t, ids[:1], 2)
	w.mark(t) // the idle ones find out when they are to move to it
	w.awaitSettled(t, checkpoint.Counters{Processed: int64(len(ids)) + 3})
	require.Equal(t, int64(2), w.countIn(t, w.ns.Coll), "what came behind the drop, and nothing else")
}

// TestVoidSchemaChangeBeforeAnother: partition 0 has none of the first, and stands at the second, where no marker moves
// its checkpoint.
func TestVoidSchemaChangeBeforeAnother(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)
	w.start(t, nil).awaitReady(t)

	ids := w.firstWave(t)

	w.voidChange(t, event.Drop, w.ns)
	w.change(t, event.CreateIndexes, w.ns, index("next", false))
	w.wave(t, ids, 2)
	w.awaitSettled(t, checkpoint.Counters{Processed: int64(2*len(ids)) + 1})
}
