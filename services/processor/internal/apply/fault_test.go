package apply_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/retry"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
)

// inEveryModeBehindWire is inEveryMode with the applier's connection under
// control. The test's own reads go directly.
func inEveryModeBehindWire(t *testing.T, test func(t *testing.T, w *world, wire *wire)) {
	t.Helper()

	for name, options := range modes(t, mongotest.Shared(t).Client(t)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			db := mongotest.DB(t)
			w := newWorld(t, db, options)
			wire, addr := newWire(t, mongotest.Shared(t).Addr())
			// One exchange at a time, as wire has it: no streaming monitor.
			uri := settings.NewURI("mongodb://" + addr + "/?directConnection=true&retryWrites=false&serverMonitoringMode=poll")
			w.use(t, connect(t, uri), options)

			test(t, w, wire)
		})
	}
}

func connect(tb testing.TB, uri settings.URI) *mongo.Client {
	tb.Helper()

	client, err := mongodb.Connect(uri, mongodb.Options{ServerSelectionTimeout: 5 * time.Second})
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = mongodb.Disconnect(context.WithoutCancel(tb.Context()), client) })

	return client
}

// TestTargetThatCannotKeepEmptyTimestamps: the field came with MongoDB 8.0 and patches of its forerunners; servers without
// it refuse the whole command.
func TestTargetThatCannotKeepEmptyTimestamps(t *testing.T) {
	t.Parallel()

	for name, alone := range map[string]bool{"in a transaction": false, "without transactions": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inEveryModeBehindWire(t, func(t *testing.T, w *world, wire *wire) {
				t.Helper()

				w.again(t, func(o *apply.Options) { o.NoTransactions = alone })
				wire.forget("bypassEmptyTsReplacement")

				insert := w.insert(t, bson.D{{Key: "_id", Value: 1}, {Key: "v", Value: 1}})
				require.NoError(t, w.commit(t.Context(), insert, w.update(t, 1, set(bson.E{Key: "v", Value: 2}))))
				require.Equal(t, 1, wire.refused())
				require.Equal(t, w.last, w.held(t))

				require.NoError(t, w.commit(t.Context(), w.update(t, 1, set(bson.E{Key: "v", Value: 3})), w.remove(t, 2)))
				require.Equal(t, 1, wire.refused(), "the target is asked once")
				require.Equal(t, marshal(t, bson.D{{Key: "_id", Value: 1}, {Key: "v", Value: 3}}), w.document(t, 1))
				require.Equal(t, int64(4), w.held(t).Counters.Processed)
			})
		})
	}
}

const always = 1 << 30

func TestCommitWhoseReplyIsLostIsFoundInTheCheckpoint(t *testing.T) {
	t.Parallel()
	inEveryModeBehindWire(t, func(t *testing.T, w *world, wire *wire) {
		t.Helper()

		insert := w.insert(t, bson.D{{Key: "_id", Value: 1}, {Key: "v", Value: 1}})

		wire.cut("commitTransaction", always, true, nil)
		require.NoError(t, w.commit(t.Context(), insert))
		require.Greater(t, wire.count(), 1, "the commit was repeated")
		require.NotNil(t, w.document(t, 1))
		require.Equal(t, w.last, w.held(t))

		wire.cut("", 0, false, nil)
		require.NoError(t, w.commit(t.Context(), w.update(t, 1, set(bson.E{Key: "v", Value: 2}))))
		require.Equal(t, int64(2), w.held(t).Commits)
	})
}

func TestCommitThatNeverArrivesIsRepeatedAsAWhole(t *testing.T) {
	t.Parallel()
	inEveryModeBehindWire(t, func(t *testing.T, w *world, wire *wire) {
		t.Helper()

		before := w.held(t)
		insert := w.insert(t, bson.D{{Key: "_id", Value: 1}})

		wire.cut("commitTransaction", always, false, nil)

		err := w.commit(t.Context(), insert)
		require.Error(t, err)
		requireRepeatable(t, err)

		wire.cut("", 0, false, nil)
		repeat(t, func() error { return w.commit(t.Context(), insert) })
		require.Equal(t, before.Commits+1, w.held(t).Commits)
		require.Equal(t, int64(1), w.held(t).Counters.Processed)
	})
}

func TestTroubleWithinTheTransactionLeavesNothing(t *testing.T) {
	t.Parallel()

	for name, delivered := range map[string]bool{"request lost": false, "reply lost": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inEveryModeBehindWire(t, func(t *testing.T, w *world, wire *wire) {
				t.Helper()

				before := w.held(t)
				insert := w.insert(t, bson.D{{Key: "_id", Value: 1}})

				wire.cut(w.firstStatement(), 1, delivered, nil)

				err := w.commit(t.Context(), insert)
				require.Equal(t, 1, wire.count())
				requireRepeatable(t, err)
				require.True(t, mongodb.IsTransient(err), "%v", err)
				require.Equal(t, before, w.held(t))

				repeat(t, func() error { return w.commit(t.Context(), insert) })
				require.Equal(t, w.last, w.held(t))
			})
		})
	}
}

// requireRepeatable makes sure that nobody would stop a partition for this error.
func requireRepeatable(t *testing.T, err error) {
	t.Helper()

	var failed *apply.EventError

	require.NotErrorAs(t, err, &failed)

	for _, final := range []error{apply.ErrStale, apply.ErrWentBack, apply.ErrForeignCheckpoint} {
		require.NotErrorIs(t, err, final)
	}
}

// repeat calls commit as an owner does: the abort that did not arrive leaves a
// transaction behind that the server may take some time to forget.
func repeat(t *testing.T, commit func() error) {
	t.Helper()
	require.NoError(t, retry.Do(t.Context(), retry.Policy{Initial: 20 * time.Millisecond, Max: time.Second, Attempts: 60},
		func(context.Context) error { return commit() }))
}

func TestIntruderIsNoticed(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		update bson.D // of the checkpoint; empty deletes it
		want   error
	}{
		"higher epoch":   {update: bson.D{{Key: "$set", Value: bson.D{{Key: "epoch", Value: int64(2)}, {Key: "owner", Value: int64(9)}}}}, want: apply.ErrStale},
		"other owner":    {update: bson.D{{Key: "$set", Value: bson.D{{Key: "owner", Value: int64(9)}}}}, want: apply.ErrStale},
		"lower epoch":    {update: bson.D{{Key: "$set", Value: bson.D{{Key: "epoch", Value: int64(0)}}}}, want: apply.ErrWentBack},
		"fewer commits":  {update: bson.D{{Key: "$set", Value: bson.D{{Key: "commits", Value: int64(0)}}}}, want: apply.ErrWentBack},
		"more commits":   {update: bson.D{{Key: "$set", Value: bson.D{{Key: "commits", Value: int64(9)}}}}, want: apply.ErrForeignCheckpoint},
		"another place":  {update: bson.D{{Key: "$set", Value: bson.D{{Key: "place.sequence", Value: int64(9)}}}}, want: apply.ErrForeignCheckpoint},
		"nothing at all": {want: apply.ErrWentBack},
	}

	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inEveryMode(t, func(t *testing.T, w *world) {
				t.Helper()

				require.NoError(t, w.commit(t.Context(), w.insert(t, bson.D{{Key: "_id", Value: 1}})))

				filter := bson.D{{Key: "_id", Value: w.last.ID}}
				checkpoints := checkpoint.Checkpoints(w.client)

				var err error
				if test.update == nil {
					_, err = checkpoints.DeleteOne(t.Context(), filter)
				} else {
					_, err = checkpoints.UpdateOne(t.Context(), filter, test.update)
				}

				require.NoError(t, err)
				require.ErrorIs(t, w.commit(t.Context(), w.insert(t, bson.D{{Key: "_id", Value: 2}})), test.want)
				require.Nil(t, w.document(t, 2))
			})
		})
	}
}

// TestStaleOwnerDoesNotBlameADocument has both reasons for which less matches
// than was sent.
func TestStaleOwnerDoesNotBlameADocument(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, w *world) {
		t.Helper()

		_, err := checkpoint.Checkpoints(w.client).UpdateOne(t.Context(), bson.D{{Key: "_id", Value: w.last.ID}},
			bson.D{{Key: "$set", Value: bson.D{{Key: "epoch", Value: int64(2)}, {Key: "owner", Value: int64(9)}}}})
		require.NoError(t, err)
		require.ErrorIs(t, w.commit(t.Context(), w.update(t, 1, set(bson.E{Key: "v", Value: 1}))), apply.ErrStale)
	})
}

// TestIntruderAmidTheCommit takes the partition while a commit is on its way and
// its fate unknown.
func TestIntruderAmidTheCommit(t *testing.T) {
	t.Parallel()
	inEveryModeBehindWire(t, func(t *testing.T, w *world, wire *wire) {
		t.Helper()

		insert := w.insert(t, bson.D{{Key: "_id", Value: 1}})

		wire.cut(w.firstStatement(), 1, false, func() {
			_, err := checkpoint.Checkpoints(w.client).UpdateOne(context.WithoutCancel(t.Context()), bson.D{{Key: "_id", Value: w.last.ID}},
				bson.D{{Key: "$set", Value: bson.D{{Key: "epoch", Value: int64(2)}, {Key: "owner", Value: int64(9)}}}})
			if err != nil {
				t.Error(err)
			}
		})
		require.Error(t, w.commit(t.Context(), insert))

		var err error

		require.Eventually(t, func() bool {
			err = w.commit(t.Context(), insert)

			return !mongodb.IsTransient(err)
		}, 30*time.Second, 50*time.Millisecond)
		require.ErrorIs(t, err, apply.ErrStale)
		require.Nil(t, w.document(t, 1))
	})
}

func TestTargetThatIsKilledAndComesBack(t *testing.T) {
	t.Parallel()

	server := mongotest.New(t, mongotest.Options{SyncOnCommit: true})
	direct := server.Client(t)

	for name, options := range modes(t, direct) {
		client := connect(t, server.URI())
		w := newWorldOn(t, direct, event.Namespace{DB: "killed", Coll: "orders" + name[:2]}, options)
		w.use(t, client, options)

		require.NoError(t, w.commit(t.Context(), w.insert(t, bson.D{{Key: "_id", Value: 1}, {Key: "v", Value: 1}})))
		require.NoError(t, server.Kill())

		update := w.update(t, 1, set(bson.E{Key: "v", Value: 2}))
		err := w.commit(t.Context(), update)
		require.Error(t, err)
		requireRepeatable(t, err)

		require.NoError(t, server.Restart(t.Context()))
		repeat(t, func() error { return w.commit(t.Context(), update) })
		require.Equal(t, w.last, w.held(t))
		require.Equal(t, marshal(t, bson.D{{Key: "_id", Value: 1}, {Key: "v", Value: 2}}), w.document(t, 1))
	}
}
