package ownership

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
)

// unique makes the field u unique.
func (w *world) unique(t tb) {
	t.Helper()

	_, err := w.coll().Indexes().CreateOne(w.ctx, mongo.IndexModel{
		Keys: bson.D{{Key: "u", Value: 1}}, Options: options.Index().SetUnique(true).SetSparse(true),
	})
	require.NoError(t, err)
}

func TestCyclesOfUniqueValuesGiveWay(t *testing.T) {
	t.Parallel()
	inEveryMode(t, 2, func(t *testing.T, w *world) {
		t.Helper()
		w.unique(t)

		u := func(n int) bson.E { return bson.E{Key: "u", Value: n} }

		w.put(t, 0, "a", u(1))
		w.put(t, 1, "b", u(2))

		for _, s := range w.partitions {
			s.deliver(t, 1)
		}

		// No history of single changes leads there: it is what images of the future look like.
		w.put(t, 0, "a", u(2))
		w.put(t, 1, "b", u(1))

		features, err := mongotest.FeaturesOf(t.Context(), w.client)
		require.NoError(t, err)

		for round := 0; w.sum(t).Parked > 0 || !w.delivered(); round++ {
			require.Less(t, round, 20, "%v", w.parkedStates(t))

			for _, s := range w.partitions {
				s.deliver(t, 10)
				s.idle(t)
				s.see(t)
				s.retry(t)
			}
		}

		require.Equal(t, bson.D{{Key: "u", Value: int32(1)}}, w.document(t, "b"), "a gave way")

		if features.FreesUniqueValues { // b's replacement frees 2
			require.Empty(t, w.parkedStates(t))
			require.Equal(t, bson.D{{Key: "u", Value: int32(2)}}, w.document(t, "a"))
		}
	})
}

func TestForeignDocumentInAUniqueIndexEndsAsADeadLetter(t *testing.T) {
	t.Parallel()
	inEveryMode(t, 2, func(t *testing.T, w *world) {
		t.Helper()
		w.unique(t)

		_, err := w.coll().InsertOne(t.Context(), bson.D{{Key: "_id", Value: "stranger"}, {Key: "u", Value: 1}})
		require.NoError(t, err)

		w.put(t, 0, "a", bson.E{Key: "u", Value: 1})
		w.put(t, 1, "b", bson.E{Key: "u", Value: 2})

		s := w.partitions[0]
		s.deliver(t, 10)

		for range 5 {
			s.see(t)
			s.retry(t)
		}

		require.Equal(t, []string{"1 waiting conflict 0"}, w.parkedStates(t), "the other partition may free the value")

		w.partitions[1].deliver(t, 10)

		for range 8 {
			s.see(t)
			s.retry(t)
		}

		require.Equal(t, []string{"1 dead conflict 3"}, w.parkedStates(t))
		require.Equal(t, "DuplicateKey (11000) in the index of u", w.records(t)[0].Error)
	})
}
