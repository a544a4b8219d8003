package ownership

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

// refetch is what the statistics service does when an operator wants the source's document.
func (w *world) refetch(t *testing.T, id string) {
	t.Helper()

	result, err := parked.Records(w.client).UpdateOne(t.Context(), bson.D{{Key: "_id", Value: id}, {Key: "state", Value: parked.Dead}}, bson.D{
		{Key: "$set", Value: bson.D{{Key: "state", Value: parked.Waiting}, {Key: "attempts", Value: 0}, {Key: "refetch", Value: true}}},
		{Key: "$inc", Value: bson.D{{Key: "rev", Value: 1}}},
	})
	require.NoError(t, err)
	require.Equal(t, int64(1), result.ModifiedCount)
}

// die tries what is parked until it is given up.
func (s *site) die(t *testing.T) {
	t.Helper()

	for s.sum(t).Parked > 0 {
		s.retry(t)
	}
}

// mend makes the source's present document another one, without an event of the flow.
func (w *world) mend(t *testing.T, fields ...bson.E) {
	t.Helper()
	w.put(t, 0, "other", v(1)) // the image is of now
	w.last()["a"] = append(bson.D{{Key: "_id", Value: "a"}}, fields...)
}

// TestRefetchedLetterIsReplacedByTheSourcesDocument: the event itself, which the target would take by now, is not written.
// A new owner finds the operator's wish in the record.
func TestRefetchedLetterIsReplacedByTheSourcesDocument(t *testing.T) {
	t.Parallel()
	inEveryMode(t, 1, func(t *testing.T, w *world) {
		t.Helper()
		w.validate(t)
		w.put(t, 0, "a", bad(1), v(1))

		s := w.partitions[0]
		s.deliver(t, 1)
		s.die(t)
		w.mend(t, v(7))

		letter := w.records(t)[0]
		w.refetch(t, letter.ID)
		w.down = true

		s.see(t)
		s.retry(t)
		require.Equal(t, []string{"1 waiting failed 0"}, w.parkedStates(t), "while nobody answers nothing is counted")
		require.Nil(t, w.document(t, "a"))

		s.acquire(t, 0)
		s.retry(t)
		require.Nil(t, w.document(t, "a"))

		w.down = false
		s.retry(t)
		require.Equal(t, bson.D{v32(7)}, w.document(t, "a"))
		require.Equal(t, []string{"1 refetched failed 0"}, w.parkedStates(t))
		require.Equal(t, int64(1), w.sum(t).Counters.Failed, "its class is its first end")
		require.Zero(t, s.parked.Dead())

		rev := w.records(t)[0].Rev
		s.see(t)
		s.retry(t)
		require.Equal(t, rev, w.records(t)[0].Rev, "once")
	})
}

// TestRefetchThatIsRefusedIsADeadLetterAgain: its event is as it was, and is what a replay tries.
func TestRefetchThatIsRefusedIsADeadLetterAgain(t *testing.T) {
	t.Parallel()
	inEveryMode(t, 1, func(t *testing.T, w *world) {
		t.Helper()
		w.validate(t)
		w.put(t, 0, "a", bad(1), v(1))

		s := w.partitions[0]
		s.deliver(t, 1)
		s.die(t)
		w.mend(t, bad(1), v(7))

		letter := w.records(t)[0]
		w.refetch(t, letter.ID)
		s.see(t)
		s.retry(t)

		again := w.records(t)[0]
		require.Equal(t, []string{"1 dead failed 1"}, w.parkedStates(t))
		require.False(t, again.Refetch)
		require.Equal(t, 121, again.Code)
		require.Equal(t, letter.Event, again.Event)
		require.Equal(t, int64(1), w.sum(t).Counters.Failed)

		require.NoError(t, w.client.Database(w.ns.DB).RunCommand(t.Context(),
			bson.D{{Key: "collMod", Value: w.ns.Coll}, {Key: "validator", Value: bson.D{}}}).Err())

		w.down = true // a replay needs nobody
		w.replay(t, letter.ID)
		s.see(t)
		s.retry(t)
		require.Equal(t, []string{"1 replayed follows 0"}, w.parkedStates(t))
		require.Equal(t, bson.D{{Key: "bad", Value: int32(1)}, v32(1)}, w.document(t, "a"))
	})
}

// TestRefetchTakesAbsenceOver: what the source has not any more is deleted on the target.
func TestRefetchTakesAbsenceOver(t *testing.T) {
	t.Parallel()
	inEveryMode(t, 1, func(t *testing.T, w *world) {
		t.Helper()
		w.validate(t)
		w.put(t, 0, "a", v(1))
		w.set(t, 0, "a", "bad", 1)

		s := w.partitions[0]
		s.deliver(t, 2)
		s.die(t)
		w.mend(t, v(1))
		delete(w.last(), "a")

		w.refetch(t, w.records(t)[0].ID)
		s.see(t)
		s.retry(t)
		require.Nil(t, w.document(t, "a"))
		require.Equal(t, []string{"2 refetched failed 0"}, w.parkedStates(t))
	})
}

// TestRefetchKeepsTheOrder: of two letters of one document one is refetched; the image ends the other as well, lets go
// what waits, and no change that it holds is applied once more.
func TestRefetchKeepsTheOrder(t *testing.T) {
	t.Parallel()
	inEveryMode(t, 1, func(t *testing.T, w *world) {
		t.Helper()
		w.validate(t)
		w.put(t, 0, "a", bad(1))
		w.set(t, 0, "a", "w", 2)

		s := w.partitions[0]
		s.deliver(t, 2)

		w.down = true
		for range 3 {
			s.retry(t)
		}

		require.Equal(t, []string{"1 dead failed 3", "2 waiting unfitting 0"}, w.parkedStates(t))

		w.mend(t, v(9))
		w.set(t, 0, "a", "v", 10)
		w.last()["a"] = bson.D{{Key: "_id", Value: "a"}, v(10)}

		w.down = false
		w.refetch(t, w.records(t)[0].ID)
		s.see(t)
		s.retry(t)
		require.Equal(t, bson.D{v32(10)}, w.document(t, "a"))
		require.Equal(t, []string{"1 refetched failed 0"}, w.parkedStates(t))
		require.Equal(t, int64(1), w.sum(t).Counters.Processed, "the follower is in the image")

		s.deliver(t, 10)
		require.Equal(t, bson.D{v32(10)}, w.document(t, "a"))
		require.Empty(t, w.sum(t).Parked)
	})
}

// TestRefetchNeedsNoEvent: it works after the event was dropped by age.
func TestRefetchNeedsNoEvent(t *testing.T) {
	t.Parallel()
	inEveryMode(t, 1, func(t *testing.T, w *world) {
		t.Helper()
		w.validate(t)
		w.put(t, 0, "a", bad(1))

		s := w.partitions[0]
		s.deliver(t, 1)
		s.die(t)
		w.edit(t, w.records(t)[0].ID, "changed", time.Now().Add(-keepLetters))
		w.drop(t)
		require.False(t, w.records(t)[0].Dropped.IsZero())

		w.mend(t, v(7))
		w.refetch(t, w.records(t)[0].ID)
		s.see(t)
		s.retry(t)
		require.Equal(t, bson.D{v32(7)}, w.document(t, "a"))
		require.Equal(t, parked.Replaced, w.records(t)[0].State)
	})
}
