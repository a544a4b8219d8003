package apply_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
)

// commitWith applies one insert with notes beside it.
func (w *world) commitWith(t *testing.T, change apply.Change, notes ...apply.Note) error {
	t.Helper()

	plan, err := apply.NewPlan([]apply.Change{change})
	require.NoError(t, err)
	plan.Note(notes...)

	next := w.next(plan, []apply.Change{change})
	if err := w.applier.Commit(t.Context(), plan, &w.last, &next); err != nil {
		return err
	}

	w.last = next

	return nil
}

func TestNotesCommitWithTheDataOrNotAtAll(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, w *world) {
		t.Helper()

		id := w.last.Flow + "/note"
		byNote := bson.D{{Key: "_id", Value: id}}
		raise := bson.D{{Key: "$inc", Value: bson.D{{Key: "rev", Value: 1}}}}
		count := func() int64 {
			n, err := w.client.Database(checkpoint.Database).Collection(parked.Refetched).CountDocuments(t.Context(), byNote)
			require.NoError(t, err)

			return n
		}

		require.NoError(t, w.commitWith(t, w.insert(t, bson.D{{Key: "_id", Value: 1}}), apply.InsertNote(parked.Refetched, append(byNote, bson.E{Key: "rev", Value: 1}))))
		require.Equal(t, int64(1), count())

		unknown := append(byNote, bson.E{Key: "rev", Value: 7})
		require.ErrorIs(t, w.commitWith(t, w.insert(t, bson.D{{Key: "_id", Value: 2}}), apply.UpdateNote(parked.Refetched, unknown, raise)), apply.ErrRecords)
		require.ErrorIs(t, w.commitWith(t, w.insert(t, bson.D{{Key: "_id", Value: 2}}), apply.InsertNote(parked.Refetched, byNote)), apply.ErrRecords)
		require.Nil(t, w.document(t, 2))
		require.Equal(t, w.last, w.held(t))

		known := append(byNote, bson.E{Key: "rev", Value: 1})
		require.NoError(t, w.commitWith(t, w.insert(t, bson.D{{Key: "_id", Value: 3}}),
			apply.UpdateNote(parked.Refetched, known, raise), apply.DeleteNote(parked.Refetched, byNote)))
		require.Zero(t, count())
		require.NotNil(t, w.document(t, 3))
	})
}

func TestScoutsGoFirstAndKeepTheOrderOfTheirDocument(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, w *world) {
		t.Helper()

		var suspects apply.Suspects

		refused := w.insert(t, bson.D{{Key: "_id", Value: 9}, {Key: "odd", Value: "x"}})
		suspects.Remember(&refused, true)

		changes := []apply.Change{
			w.insert(t, bson.D{{Key: "_id", Value: 1}, {Key: "v", Value: 1}}),
			w.update(t, 1, set(bson.E{Key: "v", Value: 2})),
			w.insert(t, bson.D{{Key: "_id", Value: 2}, {Key: "odd", Value: "y"}}),
			w.update(t, 2, set(bson.E{Key: "odd", Value: "z"})),
		}

		plan, err := apply.NewPlan(changes)
		require.NoError(t, err)
		plan.Scout(&suspects)
		require.True(t, plan.Scouted())

		next := w.next(plan, changes)
		require.NoError(t, w.applier.Commit(t.Context(), plan, &w.last, &next))
		require.Equal(t, marshal(t, bson.D{{Key: "_id", Value: 1}, {Key: "v", Value: 2}}), w.document(t, 1))
		require.Equal(t, marshal(t, bson.D{{Key: "_id", Value: 2}, {Key: "odd", Value: "z"}}), w.document(t, 2))

		none, err := apply.NewPlan(changes[:2])
		require.NoError(t, err)
		none.Scout(&suspects)
		require.False(t, none.Scouted())
	})
}

// TestRefusedScoutIsBlamed: the index of the error is that of its command.
func TestRefusedScoutIsBlamed(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, w *world) {
		t.Helper()

		var suspects apply.Suspects

		missing := w.update(t, 7, set(bson.E{Key: "deep.x", Value: 1}))
		suspects.Remember(&missing, true)

		changes := []apply.Change{
			w.insert(t, bson.D{{Key: "_id", Value: 1}, {Key: "deep", Value: 1}}),
			w.insert(t, bson.D{{Key: "_id", Value: 2}}),
		}
		require.NoError(t, w.commit(t.Context(), changes...))

		bad := w.update(t, 1, set(bson.E{Key: "deep.x", Value: 1}))
		batch := []apply.Change{w.insert(t, bson.D{{Key: "_id", Value: 3}}), bad}

		plan, err := apply.NewPlan(batch)
		require.NoError(t, err)
		plan.Scout(&suspects)

		next := w.next(plan, batch)
		err = w.applier.Commit(t.Context(), plan, &w.last, &next)

		var failed *apply.EventError

		require.ErrorAs(t, err, &failed)
		require.Equal(t, bad.Number, failed.Number)
		require.Nil(t, w.document(t, 3))
	})
}
