package main

import (
	"context"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// restore sets the target back: to these checkpoints, and to the documents with
// an _id below.
func (w *world) restore(t *testing.T, to map[int]checkpoint.Document, below int) {
	t.Helper()

	w.atOnce(t, to, func(ctx context.Context) error {
		_, err := w.target.Database(w.ns.DB).Collection(w.ns.Coll).DeleteMany(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$gte", Value: below}}}})

		return err
	})
}

// atOnce sets the checkpoints back, and what else belongs to it, as a restore does
// it: no transaction of the processor comes in between.
func (w *world) atOnce(t *testing.T, to map[int]checkpoint.Document, rest func(ctx context.Context) error) {
	t.Helper()

	session, err := w.target.StartSession()
	require.NoError(t, err)

	defer session.EndSession(t.Context())

	_, err = session.WithTransaction(t.Context(), func(ctx context.Context) (any, error) {
		checkpoints := checkpoint.Checkpoints(w.target)
		if _, err := checkpoints.DeleteMany(ctx, bson.D{{Key: "flow", Value: w.flow}}); err != nil {
			return nil, err
		}

		for _, d := range to {
			if _, err := checkpoints.InsertOne(ctx, d); err != nil {
				return nil, err
			}
		}

		return nil, rest(ctx)
	})
	require.NoError(t, err)
}

func (w *world) checkpoints(t *testing.T) map[int]checkpoint.Document {
	t.Helper()

	all, err := checkpoint.Load(t.Context(), w.target, w.flow)
	require.NoError(t, err)

	return all
}

// insertMany inserts documents whose _ids begin here, of every partition.
func (w *world) insertMany(t *testing.T, from int) {
	t.Helper()

	for id := range many {
		w.insert(t, from+id)
	}
}

const many = 250 // documents that miss one of 16 partitions once in half a million times

func (w *world) requireDocuments(t *testing.T, n int) {
	t.Helper()

	have, err := w.target.Database(w.ns.DB).Collection(w.ns.Coll).CountDocuments(t.Context(), bson.D{})
	require.NoError(t, err)
	require.Equal(t, int64(n), have)
}

// TestTargetThatWentBackHeals: from a backup, or from nothing, as long as the
// stream has what it lost. A running processor finds out by the guard.
func TestTargetThatWentBackHeals(t *testing.T) {
	t.Parallel()

	for name, backup := range map[string]bool{"to a backup": true, "to nothing": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)
			w.init(t)
			w.insertMany(t, 0)

			p := w.start(t, nil)
			p.awaitReady(t)
			w.awaitSettled(t, checkpoint.Counters{Processed: many})

			saved, below := map[int]checkpoint.Document{}, 0
			if backup {
				saved, below = w.checkpoints(t), many
			}

			w.insertMany(t, 1000)
			w.awaitSettled(t, checkpoint.Counters{Processed: 2 * many})

			before := w.checkpoints(t)
			w.restore(t, saved, below)

			w.insertMany(t, 2000)
			w.awaitSettled(t, checkpoint.Counters{Processed: 3 * many})
			w.requireDocuments(t, 3*many)

			for number, d := range w.checkpoints(t) {
				require.Greater(t, d.Epoch, before[number].Epoch, "no epoch comes back to life")
			}

			p.awaitReady(t)
			require.NoError(t, p.end())
		})
	}
}

// TestTargetThatWentBackTooFar: what the stream no longer has is named, and
// nothing behind it is applied.
func TestTargetThatWentBackTooFar(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		backup bool
		after  bool // events follow
		heals  bool // by a rewind
		says   []string
	}{
		"to a backup":                    {backup: true, after: true, heals: true, says: []string{"events 251 to 500 of partition 0 are missing", "sequences 252 to 501"}},
		"to a backup, nothing published": {backup: true, says: []string{"at sequence 251", "begins at 502"}},
		"to nothing":                     {after: true, says: []string{"no longer has message 1", "at sequence 501", "event 500"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)
			w.partitions = 1
			w.init(t)
			w.insertMany(t, 0)

			p := w.start(t, nil)
			w.awaitSettled(t, checkpoint.Counters{Processed: many})

			saved := map[int]checkpoint.Document{}
			if test.backup {
				saved = w.checkpoints(t)
			}

			w.insertMany(t, 1000)
			w.awaitSettled(t, checkpoint.Counters{Processed: 2 * many})

			if !test.after { // found at the next start
				require.NoError(t, p.end())
			}

			w.restore(t, saved, 1000)

			stream, err := w.js.Stream(t.Context(), topology.StreamName(w.flow))
			require.NoError(t, err)
			require.NoError(t, stream.Purge(t.Context(), jetstream.WithPurgeSequence(2*many+2)))

			if test.after {
				w.insertMany(t, 2000)
			} else {
				w.start(t, nil)
			}

			state := failed
			if test.heals {
				state = waitingRewind
			}

			reason := w.awaitState(t, 0, state)
			for _, s := range append(test.says, "; ") { // a remedy follows
				require.Contains(t, reason, s)
			}

			w.requireDocuments(t, many)
		})
	}
}

// TestPurgedBehindTheCheckpointIsNormal: only what follows it must be there.
func TestPurgedBehindTheCheckpointIsNormal(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)
	w.insertMany(t, 0)

	p := w.start(t, nil)
	p.awaitReady(t)
	w.awaitSettled(t, checkpoint.Counters{Processed: many})
	require.NoError(t, p.end())

	w.mark(t)

	stream, err := w.js.Stream(t.Context(), topology.StreamName(w.flow))
	require.NoError(t, err)
	require.NoError(t, stream.Purge(t.Context(), jetstream.WithPurgeSequence(many+2)))

	w.insertMany(t, 1000)

	p = w.start(t, nil)
	p.awaitReady(t)
	w.awaitSettled(t, checkpoint.Counters{Processed: 2 * many})
	require.NoError(t, p.end())
}

func TestCheckpointOfAnotherPartitionOrFlow(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)
	w.insertMany(t, 0)

	p := w.start(t, nil)
	p.awaitReady(t)
	w.awaitSettled(t, checkpoint.Counters{Processed: many})
	require.NoError(t, p.end())

	for number, field := range map[int]bson.E{3: {Key: "partition", Value: 4}, 5: {Key: "flow", Value: "another"}} {
		_, err := checkpoint.Checkpoints(w.target).UpdateOne(t.Context(),
			bson.D{{Key: "_id", Value: checkpoint.ID(w.flow, number)}}, bson.D{{Key: "$set", Value: bson.D{field}}})
		require.NoError(t, err)
	}

	w.start(t, nil)

	for _, number := range []int{3, 5} {
		reason := w.awaitState(t, number, failed)
		require.Contains(t, reason, checkpoint.ID(w.flow, number))
		require.Contains(t, reason, "relayctl flow delete")
	}
}
