package ownership

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

func TestOfManyFollowersOnlyTheirNumberIsKept(t *testing.T) {
	t.Parallel()
	inEveryMode(t, 1, func(t *testing.T, w *world) {
		t.Helper()
		w.validate(t)
		w.owner.options.Park.MaxEvents = 3

		s := w.partitions[0]
		s.acquire(t, 0)
		w.put(t, 0, "a", v(0))
		w.set(t, 0, "a", "bad", 1)

		for n := range 4 {
			w.set(t, 0, "a", "v", n+1)
		}

		w.set(t, 0, "a", "bad", 0)
		w.put(t, 0, "b", v(9))

		for range 5 {
			s.deliver(t, 1)
		}

		s.deliver(t, 10)

		waiting := []string{"2 waiting failed 1", "3 waiting follows 0", "4 waiting follows 0", "5 waiting follows 0 run of 3"}
		require.Equal(t, waiting, w.parkedStates(t))
		require.Equal(t, bson.D{v32(9)}, w.document(t, "b"), "nobody waits for it")
		require.Equal(t, int64(6), w.sum(t).Parked)

		run := w.records(t)[3]
		require.Empty(t, run.Event)
		require.Zero(t, run.Size)
		require.Equal(t, uint32(7), run.Until.T)

		w.down = true
		s.retry(t)
		s.acquire(t, 0)
		s.retry(t)
		require.Equal(t, waiting, w.parkedStates(t), "while nobody answers nothing is counted, nor tried one by one")
		w.requireCounted(t)

		w.down = false
		s.retry(t)
		require.Empty(t, w.parkedStates(t))
		require.Equal(t, bson.D{v32(4), {Key: "bad", Value: int32(0)}}, w.document(t, "a"))
		require.Equal(t, int64(8), w.sum(t).Counters.Processed)
		require.Zero(t, w.sum(t).ParkedBytes)
	})
}

// TestRunThatEndsDeadCountsAllItsEvents: nothing of the source's document fits the target, so in the end all have failed.
func TestRunThatEndsDeadCountsAllItsEvents(t *testing.T) {
	t.Parallel()
	inEveryMode(t, 1, func(t *testing.T, w *world) {
		t.Helper()
		w.validate(t)
		w.owner.options.Park.MaxEvents = 1

		s := w.partitions[0]
		s.acquire(t, 0)
		w.put(t, 0, "a", bad(1))

		for n := range 4 {
			w.set(t, 0, "a", "v", n)
		}

		s.deliver(t, 2)
		s.deliver(t, 2)

		for w.sum(t).Parked > 0 {
			s.retry(t)
			w.requireCounted(t)
		}

		s.deliver(t, 1) // comes behind the mark
		require.Equal(t, []string{"1 dead failed 3", "2 dead unfitting 3 run of 3", "5 waiting unfitting 0"}, w.parkedStates(t))
		require.Equal(t, int64(4), w.sum(t).Counters.Failed)

		s.acquire(t, 0)
		require.Equal(t, int64(2), s.parked.Dead())

		// An operator has it tried again, and the source has mended the document: the run's end is that image.
		w.set(t, 0, "a", "bad", 0)
		w.replay(t, w.records(t)[1].ID)
		s.see(t)
		s.retry(t)
		s.deliver(t, 1)
		require.Equal(t, []string{"1 superseded failed 3", "2 superseded unfitting 0 run of 3"}, w.parkedStates(t))
		require.Equal(t, plain(w.last()["a"]), w.document(t, "a"))
		require.Equal(t, int64(4), w.sum(t).Counters.Failed, "an event's class is its first end")
	})
}

// replay changes a dead letter as the statistics service does for an operator.
func (w *world) replay(t *testing.T, id string) {
	t.Helper()

	_, err := parked.Records(w.client).UpdateOne(t.Context(), bson.D{{Key: "_id", Value: id}, {Key: "state", Value: parked.Dead}}, bson.D{
		{Key: "$set", Value: bson.D{{Key: "state", Value: parked.Waiting}, {Key: "attempts", Value: 0}}}, {Key: "$inc", Value: bson.D{{Key: "rev", Value: 1}}},
	})
	require.NoError(t, err)
}

// TestDocumentThatIsAlwaysChangedComesToRest: while the source answers, more changes come than its image holds.
func TestDocumentThatIsAlwaysChangedComesToRest(t *testing.T) {
	t.Parallel()
	inEveryMode(t, 1, func(t *testing.T, w *world) {
		t.Helper()
		w.validate(t)
		w.owner.options.Park.MaxEvents = 2

		s := w.partitions[0]
		s.acquire(t, 0)
		w.put(t, 0, "a", v(0))
		w.set(t, 0, "a", "bad", 1)
		w.set(t, 0, "a", "bad", 0)

		for n := range 4 {
			w.set(t, 0, "a", "v", n)
		}

		for s.next < len(s.messages) {
			s.deliver(t, 2)
		}

		for n := range 5 {
			require.NoError(t, s.tryParked(s.ctx, s.ctx, later()))

			if len(s.asks) == 0 {
				break
			}

			a := s.fetch(s.ctx, <-s.asks)
			until := w.records(t)[len(w.records(t))-1].Until

			w.set(t, 0, "a", "v", 100+n)
			s.deliver(t, 1)
			require.NoError(t, s.answered(s.ctx, s.ctx, &a))

			for _, r := range w.records(t) {
				require.Positive(t, r.Position.Compare(until), "the image ends what was there when the source was asked")
			}
		}

		require.NoError(t, s.tryParked(s.ctx, s.ctx, later()))
		require.Empty(t, w.parkedStates(t), "what came while it answered is applied")
		require.Equal(t, plain(w.last()["a"]), w.document(t, "a"))
	})
}

// TestFloodBehindOneDocumentEndsEqual is the promise of runs with the limit that processors have: far more changes than
// are kept, owners that come and go, a source that is away at times and answers late.
func TestFloodBehindOneDocumentEndsEqual(t *testing.T) {
	t.Parallel()

	db := mongotest.DB(t)

	for name, options := range modes(t.Context(), t, db.Client()) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t.Context(), t, db, 1, options)
			defer w.close()

			w.validate(t)
			w.put(t, 0, idOf(0), v(0))
			w.set(t, 0, idOf(0), "bad", 1)

			const flood = 3000
			for n := range flood {
				w.set(t, 0, idOf(0), "v", n+1)
				w.put(t, 0, idOf(1), v(n))
			}

			s := w.partitions[0]

			for round := 0; s.next < len(s.messages); round++ {
				s.deliver(t, 250)

				if round%5 == 4 {
					s.acquire(t, 0) // killed
				}

				w.requireCounted(t)
			}

			require.Len(t, w.records(t), policy().MaxEvents+1)
			require.Equal(t, plain(w.last()[idOf(1)]), w.document(t, idOf(1)), "everybody else goes on")
			require.Equal(t, int64(flood+1), w.sum(t).Parked)

			w.set(t, 0, idOf(0), "bad", 0)
			s.deliver(t, 1)
			s.acquire(t, 0)
			s.retry(t)
			require.Empty(t, w.parkedStates(t))
			w.requireCounted(t)
			w.requireHealthy(t)
			require.Equal(t, int64(len(s.messages)), w.sum(t).Counters.Processed)
		})
	}
}
