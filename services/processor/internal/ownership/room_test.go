package ownership

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/consume"
)

// discard is what the statistics service does when an operator gives a dead letter up.
func (w *world) discard(t *testing.T, id string) {
	t.Helper()

	result, err := parked.Records(w.client).UpdateOne(t.Context(), bson.D{{Key: "_id", Value: id}, {Key: "state", Value: parked.Dead}}, bson.D{
		{Key: "$set", Value: bson.D{{Key: "state", Value: parked.Discarded}}}, {Key: "$inc", Value: bson.D{{Key: "rev", Value: 1}}},
	})
	require.NoError(t, err)
	require.Equal(t, int64(1), result.ModifiedCount)
}

// TestRoomThatAnotherPartitionMakesIsSeen: the one that waits for it has nothing parked itself, and has seen the rest of
// the flow when that was full. The one that makes it is idle.
func TestRoomThatAnotherPartitionMakesIsSeen(t *testing.T) {
	t.Parallel()
	inEveryMode(t, 2, func(t *testing.T, w *world) {
		t.Helper()
		w.validate(t)
		w.owner.options.Park.MaxTotal = 100 << 10

		blob := func(size int) bson.E { return bson.E{Key: "blob", Value: bson.Binary{Data: make([]byte, size)}} }
		full, waits := w.partitions[0], w.partitions[1]

		for number, s := range w.partitions {
			s.acquire(t, number)
		}

		w.put(t, 0, "letter", bad(1), blob(80<<10))
		full.deliver(t, 1)

		full.die(t)

		w.put(t, 1, "a", bad(1))
		waits.deliver(t, 1)
		require.NoError(t, waits.onTick(waits.ctx, waits.ctx)) // it sees how full the flow is
		w.put(t, 1, "a", v(1))
		waits.deliver(t, 1)
		waits.retry(t)
		require.Equal(t, []string{"1 dead failed 3"}, w.parkedStates(t))

		w.put(t, 1, "b", bad(1), blob(40<<10))
		waits.batch = waits.gather(t, 1)
		waits.goOn(t)
		require.Contains(t, waits.noRoom, "PARK_MAX_BYTES")

		w.discard(t, w.records(t)[0].ID)
		require.NoError(t, full.onTick(full.ctx, full.ctx))
		require.Zero(t, w.sum(t).ParkedBytes)

		commits := full.held.Commits
		require.NoError(t, full.onTick(full.ctx, full.ctx))
		require.Equal(t, commits, full.held.Commits, "once")

		waits.goOn(t)
		require.Empty(t, waits.noRoom)
		require.Equal(t, []string{"1 discarded failed 3", "4 waiting failed 1"}, w.parkedStates(t))
	})
}

// goOn is a second of a partition that has a batch at hand.
func (s *site) goOn(t *testing.T) {
	t.Helper()
	require.NoError(t, s.onTick(s.ctx, s.ctx))
	require.NoError(t, s.proceed(s.ctx, s.ctx, s.ctx, true))
}

// TestMarkerTellsWhatIsParked: the commit of an idle partition says what its records take by then.
func TestMarkerTellsWhatIsParked(t *testing.T) {
	t.Parallel()
	inEveryMode(t, 1, func(t *testing.T, w *world) {
		t.Helper()
		w.validate(t)
		w.put(t, 0, "a", bad(1))

		s := w.partitions[0]
		s.deliver(t, 1)
		s.die(t)
		w.discard(t, w.records(t)[0].ID)
		s.see(t)

		m := &marker{place: s.held.Place, heads: []uint64{s.held.LastCount()}}
		m.place.Sequence++
		s.reader = consume.NewIntake(&s.held.Place, s.budget)
		require.NoError(t, s.moveTo(s.ctx, s.ctx, m))
		require.Equal(t, m.place.Sequence, s.held.Sequence)
		require.Zero(t, w.sum(t).ParkedBytes)
	})
}
