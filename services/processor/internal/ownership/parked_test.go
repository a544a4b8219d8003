package ownership

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/pkg/retry"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
)

// bad is the field that the target's validator refuses.
func bad(v int) bson.E { return bson.E{Key: "bad", Value: v} }

func v(n int) bson.E { return bson.E{Key: "v", Value: n} }

// validate makes the collection refuse documents whose field bad is 1.
func (w *world) validate(t tb) {
	t.Helper()

	err := w.client.Database(w.ns.DB).CreateCollection(w.ctx, w.ns.Coll,
		options.CreateCollection().SetValidator(bson.D{{Key: "bad", Value: bson.D{{Key: "$ne", Value: 1}}}}))
	require.NoError(t, err)
}

// inEveryMode runs a test once per way of writing, each in a world of its own.
func inEveryMode(t *testing.T, partitions int, test func(t *testing.T, w *world)) {
	t.Helper()

	for name, options := range modes(t.Context(), t, mongotest.Shared(t).Client(t)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t.Context(), t, mongotest.DB(t), partitions, options)
			defer w.close()

			test(t, w)
			w.requireCounted(t)
		})
	}
}

func TestBadDocumentStopsNobody(t *testing.T) {
	t.Parallel()
	inEveryMode(t, 1, func(t *testing.T, w *world) {
		t.Helper()
		w.validate(t)

		w.put(t, 0, "a", v(1))
		w.put(t, 0, "poison", bad(1))
		w.put(t, 0, "b", v(2))
		w.set(t, 0, "poison", "v", 7)
		w.put(t, 0, "c", v(3))

		s := w.partitions[0]
		s.deliver(t, 10)

		require.Equal(t, bson.D{v32(2)}, w.document(t, "b"))
		require.Equal(t, bson.D{v32(3)}, w.document(t, "c"))
		require.Nil(t, w.document(t, "poison"))
		require.Equal(t, []string{"2 waiting failed 1", "4 waiting follows 0"}, w.parkedStates(t))
		require.Equal(t, int64(2), w.sum(t).Parked)

		r := w.records(t)[0]
		require.Equal(t, 121, r.Code)
		require.Equal(t, "DocumentValidationFailure (121)", r.Error)
		require.Equal(t, w.ns, r.Namespace())

		w.down = true

		s.retry(t)
		require.Equal(t, []string{"2 waiting failed 2", "4 waiting follows 0"}, w.parkedStates(t))
		s.retry(t)
		require.Equal(t, []string{"2 dead failed 3", "4 waiting unfitting 0"}, w.parkedStates(t), "a delta does not land behind the mark")
		require.Equal(t, int64(1), w.sum(t).Counters.Failed)

		s.retry(t)
		require.Equal(t, []string{"2 dead failed 3", "4 waiting unfitting 0"}, w.parkedStates(t), "nothing is counted while nobody answers")
	})
}

// TestRefusedRestsOnlyWhileBatchesCome: after a try that took seconds, minutes passed until the next one, although nothing
// else was to be done.
func TestRefusedRestsOnlyWhileBatchesCome(t *testing.T) {
	t.Parallel()
	inEveryMode(t, 1, func(t *testing.T, w *world) {
		t.Helper()
		w.validate(t)
		w.put(t, 0, "poison", bad(1))

		s := w.partitions[0]
		s.deliver(t, 10)

		first, ok := s.due()
		require.True(t, ok)

		s.lane.last = first.Add(-time.Millisecond) // a batch comes
		s.rest = first.Add(10 * time.Minute)       // a try took that long

		at, ok := s.due()
		require.True(t, ok)
		require.Equal(t, s.lane.last.Add(lookEvery), at, "without further batches it goes on")

		s.lane.last = s.rest // they come all the time
		at, _ = s.due()
		require.Equal(t, s.rest, at)

		s.lane.last = first.Add(-time.Hour)
		at, _ = s.due()
		require.Equal(t, first, at, "nobody is disturbed")
	})
}

// TestWhatIsRefusedForCertainIsParkedUnasked: the ninth of a kind is not sent with its batch, nor what follows it. It is
// tried from where it is parked, and when the target has changed its mind, it and what comes later are applied.
func TestWhatIsRefusedForCertainIsParkedUnasked(t *testing.T) {
	t.Parallel()
	inEveryMode(t, 1, func(t *testing.T, w *world) {
		t.Helper()
		w.validate(t)
		w.put(t, 0, "a", v(1))

		for n := range 8 {
			w.put(t, 0, fmt.Sprintf("poison%d", n), bad(1))
		}

		s := w.partitions[0]
		s.deliver(t, 20)
		w.put(t, 0, "ninth", bad(1))
		w.set(t, 0, "ninth", "bad", 2)
		w.put(t, 0, "b", v(2))
		s.deliver(t, 20)

		require.Equal(t, bson.D{v32(2)}, w.document(t, "b"))
		require.Equal(t, []string{"10 waiting follows 0", "11 waiting follows 0"}, w.parkedStates(t)[8:])
		require.Contains(t, w.records(t)[8].Error, "not tried yet")
		require.Empty(t, w.records(t)[9].Error)

		s.retry(t)
		require.Equal(t, []string{"10 waiting failed 1", "11 waiting follows 0"}, w.parkedStates(t)[8:])
		require.Equal(t, "DocumentValidationFailure (121)", w.records(t)[8].Error)

		w.validateNothing(t)
		s.retry(t)
		s.retry(t) // what waited behind it
		require.Empty(t, w.parkedStates(t))
		require.Equal(t, bson.D{{Key: "bad", Value: int32(2)}}, w.document(t, "ninth"))

		w.put(t, 0, "tenth", bad(1))
		s.deliver(t, 20)
		require.Empty(t, w.parkedStates(t), "such a document was taken")
		require.NotNil(t, w.document(t, "tenth"))
	})
}

// validateNothing ends what validate began.
func (w *world) validateNothing(t tb) {
	t.Helper()

	command := bson.D{{Key: "collMod", Value: w.ns.Coll}, {Key: "validator", Value: bson.D{}}}
	require.NoError(t, w.client.Database(w.ns.DB).RunCommand(w.ctx, command).Err())
}

func v32(n int32) bson.E { return bson.E{Key: "v", Value: n} }

func TestSuccessReleasesTheFollowersInOrder(t *testing.T) {
	t.Parallel()
	inEveryMode(t, 1, func(t *testing.T, w *world) {
		t.Helper()
		w.validate(t)
		w.put(t, 0, "a", v(0))
		w.set(t, 0, "a", "bad", 1)

		for n := range 5 {
			w.set(t, 0, "a", "v", n+1)
		}

		s := w.partitions[0]
		s.deliver(t, 4)
		s.deliver(t, 4)
		require.Equal(t, bson.D{v32(0)}, w.document(t, "a"))
		require.Equal(t, int64(6), w.sum(t).Parked)

		require.NoError(t, w.client.Database(w.ns.DB).RunCommand(t.Context(),
			bson.D{{Key: "collMod", Value: w.ns.Coll}, {Key: "validator", Value: bson.D{}}}).Err())

		s.acquire(t, 0) // a new owner takes the schedule over
		s.retry(t)
		s.retry(t)
		require.Empty(t, w.parkedStates(t))
		require.Equal(t, bson.D{v32(5), {Key: "bad", Value: int32(1)}}, w.document(t, "a"))
		require.Zero(t, w.sum(t).ParkedBytes)
	})
}

func TestDeltaThatDoesNotFitIsReplacedByTheSourcesDocument(t *testing.T) {
	t.Parallel()
	inEveryMode(t, 1, func(t *testing.T, w *world) {
		t.Helper()

		w.put(t, 0, "a", v(0))
		w.set(t, 0, "a", "v", 1)
		w.set(t, 0, "a", "v", 2)
		w.set(t, 0, "a", "v", 3)
		w.put(t, 0, "b", v(9))

		s := w.partitions[0]
		s.deliver(t, 1)

		_, err := w.coll().DeleteOne(t.Context(), bson.D{}) // the target lost the document
		require.NoError(t, err)

		s.deliver(t, 1)
		require.Equal(t, []string{"2 waiting unfitting 0"}, w.parkedStates(t))

		w.down = true
		s.retry(t)
		s.acquire(t, 0)
		s.retry(t)
		require.Equal(t, []string{"2 waiting unfitting 0"}, w.parkedStates(t), "while nobody answers nothing is counted")

		w.down, w.at = false, 3 // the document was changed between the read of the time and that of the document
		w.states[3]["a"] = w.last()["a"]
		s.retry(t)
		require.Empty(t, w.parkedStates(t))
		require.Equal(t, bson.D{v32(3)}, w.document(t, "a"))

		covered, err := parked.LoadCovered(t.Context(), w.client, s.options.Flow, 0)
		require.NoError(t, err)
		require.Len(t, covered, 1)

		_, err = w.coll().UpdateOne(t.Context(), bson.D{{Key: "_id", Value: "a"}}, bson.D{{Key: "$set", Value: bson.D{{Key: "mark", Value: true}}}})
		require.NoError(t, err)
		s.acquire(t, 0)
		s.deliver(t, 1)
		require.Equal(t, bson.D{v32(3), {Key: "mark", Value: true}}, w.document(t, "a"), "event 3 is in the image")

		s.deliver(t, 10)
		require.Equal(t, bson.D{v32(9)}, w.document(t, "b"))

		covered, err = parked.LoadCovered(t.Context(), w.client, s.options.Flow, 0)
		require.NoError(t, err)
		require.Empty(t, covered, "the partition is past it")
		require.Equal(t, int64(5), w.sum(t).Counters.Processed)
	})
}

func TestDocumentThatTheSourceHasNoMoreIsDeleted(t *testing.T) {
	t.Parallel()
	inEveryMode(t, 1, func(t *testing.T, w *world) {
		t.Helper()

		w.put(t, 0, "a", v(0))
		w.set(t, 0, "a", "$v", 1) // more than one reading, and no image
		w.remove(t, 0, "a")

		s := w.partitions[0]
		s.deliver(t, 2)
		require.Equal(t, bson.D{v32(0)}, w.document(t, "a"))
		s.retry(t)
		require.Nil(t, w.document(t, "a"))
		require.Empty(t, w.parkedStates(t))
		s.deliver(t, 1)
		require.Equal(t, int64(3), w.sum(t).Counters.Processed)
	})
}

func TestChangedRecordIsReadAgain(t *testing.T) {
	t.Parallel()
	inEveryMode(t, 1, func(t *testing.T, w *world) {
		t.Helper()
		w.validate(t)
		w.put(t, 0, "a", bad(1))
		w.put(t, 0, "a", v(1))

		s := w.partitions[0]
		s.deliver(t, 1)
		s.retry(t)
		s.retry(t)
		require.Equal(t, []string{"1 dead failed 3"}, w.parkedStates(t))

		// An operator's change that this owner has not seen.
		_, err := parked.Records(w.client).UpdateOne(t.Context(), bson.D{{Key: "_id", Value: w.records(t)[0].ID}}, bson.D{
			{Key: "$set", Value: bson.D{{Key: "state", Value: parked.Discarded}}}, {Key: "$inc", Value: bson.D{{Key: "rev", Value: 1}}},
		})
		require.NoError(t, err)

		s.deliver(t, 1)
		require.Equal(t, bson.D{v32(1)}, w.document(t, "a"))
		require.Equal(t, []string{"1 discarded failed 3"}, w.parkedStates(t))
	})
}

// TestTargetThatWentBackBehindWhatIsParked: a target restored from a backup lacks the records that were made
// since. That is no edit by hand, which stops the owner: the partition is acquired again.
func TestTargetThatWentBackBehindWhatIsParked(t *testing.T) {
	t.Parallel()
	inEveryMode(t, 1, func(t *testing.T, w *world) {
		t.Helper()
		w.validate(t)
		w.put(t, 0, "a", v(1))
		w.put(t, 0, "b", bad(1))

		s := w.partitions[0]
		s.deliver(t, 1)
		backup, _, err := checkpoint.LoadOne(t.Context(), w.client, w.owner.options.Flow, 0)
		require.NoError(t, err)

		s.deliver(t, 1)
		require.Equal(t, []string{"2 waiting failed 1"}, w.parkedStates(t))

		_, err = parked.Records(w.client).DeleteMany(t.Context(), bson.D{{Key: "flow", Value: w.owner.options.Flow}})
		require.NoError(t, err)
		_, err = checkpoint.Checkpoints(w.client).ReplaceOne(t.Context(), bson.D{{Key: "_id", Value: backup.ID}}, backup)
		require.NoError(t, err)

		err = s.tryParked(t.Context(), t.Context(), later())
		require.ErrorIs(t, err, apply.ErrWentBack)
		require.False(t, retry.IsPermanent(classify(err)))
	})
}

func TestRecordOutOfPlaceStopsTheOwner(t *testing.T) {
	t.Parallel()

	tests := map[string]func(t *testing.T, w *world, id string){
		"deleted": func(t *testing.T, w *world, id string) {
			t.Helper()

			_, err := parked.Records(w.client).DeleteOne(t.Context(), bson.D{{Key: "_id", Value: id}})
			require.NoError(t, err)
		},
		"no state": func(t *testing.T, w *world, id string) {
			t.Helper()
			w.edit(t, id, "state", "whatever")
		},
		"not a record": func(t *testing.T, w *world, id string) {
			t.Helper()
			w.edit(t, id, "attempts", "many")
		},
		"no key": func(t *testing.T, w *world, id string) {
			t.Helper()
			w.edit(t, id, "key", bson.Binary{})
		},
	}

	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t.Context(), t, mongotest.DB(t), 1, apply.Options{})
			defer w.close()

			w.validate(t)
			w.put(t, 0, "a", bad(1))
			w.partitions[0].deliver(t, 1)
			spoil(t, w, w.records(t)[0].ID)

			err := w.partitions[0].tryAcquire(t, 0)
			require.ErrorIs(t, err, parked.ErrRecords)
			require.True(t, retry.IsPermanent(classify(err)))
			require.Contains(t, explain(err), "; put the records")
		})
	}
}

func (w *world) edit(t *testing.T, id, field string, value any) {
	t.Helper()

	_, err := parked.Records(w.client).UpdateOne(t.Context(), bson.D{{Key: "_id", Value: id}}, bson.D{{Key: "$set", Value: bson.D{{Key: field, Value: value}}}})
	require.NoError(t, err)
}

func TestPathThatLeadsNowhereAsksTheSource(t *testing.T) {
	t.Parallel()
	inEveryMode(t, 1, func(t *testing.T, w *world) {
		t.Helper()

		w.put(t, 0, "a", bson.E{Key: "deep", Value: 1})
		w.event(t, 0, event.Update, "a", bson.D{{Key: "_id", Value: "a"}, {Key: "deep", Value: bson.D{{Key: "x", Value: 2}}}},
			bson.E{Key: "updateDescription", Value: bson.D{{Key: "updatedFields", Value: bson.D{{Key: "deep.x", Value: 2}}}}})

		s := w.partitions[0]
		s.deliver(t, 10)

		r := w.records(t)[0]
		require.Equal(t, parked.Unfitting, r.Reason)
		require.Equal(t, "PathNotViable (28)", r.Error)

		s.retry(t)
		require.Equal(t, bson.D{{Key: "deep", Value: bson.D{{Key: "x", Value: int32(2)}}}}, w.document(t, "a"))
	})
}
