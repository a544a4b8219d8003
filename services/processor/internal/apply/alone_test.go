package apply_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
)

// aloneInEveryMode runs a test once per way of writing, on a server without transactions.
func aloneInEveryMode(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()

	client := mongotest.New(t, mongotest.Options{Standalone: true}).Client(t)

	for name, options := range modes(t, client) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			options.NoTransactions = true
			test(t, newWorldOn(t, client, event.Namespace{DB: "alone", Coll: name}, options))
		})
	}
}

func TestWithoutTransactionsARefusedEventIsNamedAndTheCheckpointStays(t *testing.T) {
	t.Parallel()
	aloneInEveryMode(t, func(t *testing.T, w *world) {
		t.Helper()

		before := w.held(t)
		first := w.insert(t, bson.D{{Key: "_id", Value: 1}, {Key: "v", Value: 1}})
		missing := w.update(t, 7, set(bson.E{Key: "v", Value: 2}))
		scalar := w.update(t, 1, set(bson.E{Key: "v.x", Value: 2}))

		err := w.commit(t.Context(), first, missing)

		var failed *apply.EventError

		require.ErrorAs(t, err, &failed)
		require.ErrorIs(t, err, apply.ErrMissingDocument)
		require.Equal(t, missing.Number, failed.Number)
		require.Equal(t, before, w.held(t))
		require.Nil(t, w.document(t, 7), "a delta is never an upsert")

		require.ErrorAs(t, w.commit(t.Context(), first, scalar), &failed)
		require.Equal(t, scalar.Number, failed.Number)
		require.Equal(t, before, w.held(t))

		require.NoError(t, w.commit(t.Context(), first))
		require.Equal(t, w.last, w.held(t))
	})
}

func TestWithoutTransactionsUnsupportedEventsCountOnce(t *testing.T) {
	t.Parallel()
	aloneInEveryMode(t, func(t *testing.T, w *world) {
		t.Helper()

		drop, again := w.change(t, "drop", nil), w.change(t, "drop", nil)
		require.NoError(t, w.commit(t.Context(), drop, again))

		held := w.held(t)
		for range 2 { // owners that find the same checkpoint
			require.NoError(t, apply.Recover(t.Context(), w.client, &held))
		}

		counts, err := checkpoint.LoadUnsupported(t.Context(), w.client, w.last.Flow)
		require.NoError(t, err)
		require.Len(t, counts, 1)
		require.Equal(t, int64(2), counts[0].Events)
		require.Equal(t, drop.Position, counts[0].First)
		require.Equal(t, again.Position, counts[0].Last)
	})
}

// TestDebtsArePaidWhenTheTargetHasGotTransactions is a standalone server that was made a replica set.
func TestDebtsArePaidWhenTheTargetHasGotTransactions(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, w *world) {
		t.Helper()

		options := w.options
		options.NoTransactions = true
		w.use(t, w.client, options)
		require.NoError(t, w.commit(t.Context(), w.change(t, "drop", nil)))
		require.NotEmpty(t, w.held(t).Owed)

		w.use(t, w.client, w.options)
		require.NoError(t, w.commit(t.Context(), w.insert(t, bson.D{{Key: "_id", Value: 1}})))
		require.Empty(t, w.held(t).Owed)
		require.Equal(t, w.last.Commits, w.held(t).Commits)
	})
}
