package main

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/pkg/refetch"
)

// refused are documents that the validator refuses, one in each of these partitions.
func (w *world) refused(t *testing.T, ids [][]string, partitions ...int) {
	t.Helper()

	for _, p := range partitions {
		w.insert(t, ids[p][0], bson.E{Key: "bad", Value: 1})
	}
}

// stubborn is a processor that keeps what it parks.
func stubborn() map[string]string {
	return map[string]string{"BYPASS_VALIDATION": "false", "MAX_RETRIES": "5", "RETRY_DELAYS": "1h"}
}

// deadly is one that gives up at once.
func deadly() map[string]string {
	return map[string]string{"BYPASS_VALIDATION": "false", "MAX_RETRIES": "0", "RETRY_DELAYS": "1h"}
}

func (w *world) waiting(t *testing.T) int64 {
	t.Helper()

	n := int64(0)
	for _, c := range w.checkpoints(t) {
		n += c.Parked
	}

	return n
}

func (w *world) awaitWaiting(t *testing.T, n int64) {
	t.Helper()
	require.Eventually(t, func() bool { return w.waiting(t) == n }, patience, glance)
}

// awaitNoRecords waits until nothing is set aside. Without transactions a checkpoint counts what it still owes.
func (w *world) awaitNoRecords(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool { return len(w.parkedRecords(t)) == 0 }, patience, glance)
}

// TestWhatWaitsBeforeADropIsSettledByIt: its collection is gone, with what it would have become.
func TestWhatWaitsBeforeADropIsSettledByIt(t *testing.T) {
	t.Parallel()
	onEveryTarget(t, whatWaitsBeforeADropIsSettledByIt)
}

func whatWaitsBeforeADropIsSettledByIt(t *testing.T, w *world) {
	t.Helper()
	w.validate(t)
	w.start(t, stubborn()).awaitReady(t)

	ids := w.everywhere(t, 1)
	w.refused(t, ids, 0, 3, 7)
	w.awaitWaiting(t, 3)

	w.change(t, event.Drop, w.ns)
	w.awaitSettled(t, checkpoint.Counters{Processed: 4})
	require.Zero(t, w.waiting(t))
	w.awaitNoRecords(t)

	// The collection that has the name now has no validator.
	w.refused(t, ids, 0, 3, 7)
	w.awaitSettled(t, checkpoint.Counters{Processed: 7})
	require.Equal(t, int64(3), w.countIn(t, w.ns.Coll))
}

// TestDeadLettersEndWithTheirDatabase: nothing is left that they could differ in.
func TestDeadLettersEndWithTheirDatabase(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)
	w.validate(t)
	w.start(t, deadly()).awaitReady(t)

	ids := w.everywhere(t, 1)
	w.refused(t, ids, 0, 3)
	w.awaitSettled(t, checkpoint.Counters{Failed: 2})

	w.change(t, event.DropDatabase, event.Namespace{DB: w.ns.DB})
	w.awaitSettled(t, checkpoint.Counters{Processed: 1, Failed: 2})

	require.Eventually(t, func() bool {
		for _, r := range w.parkedRecords(t) {
			if r.State != parked.Superseded {
				return false
			}
		}

		return len(w.parkedRecords(t)) == 2
	}, patience, glance)

	// Deltas do not wait behind a mark that has ended.
	w.insert(t, ids[3][0])
	w.set(t, ids[3][0], bson.E{Key: "v", Value: 1})
	w.awaitSettled(t, checkpoint.Counters{Processed: 3, Failed: 2})
}

// answer has a listener answer for the source, whatever it is asked for.
func (w *world) answer(t *testing.T, image refetch.Image) {
	t.Helper()

	nc := w.nats.Connect(t)

	_, err := nc.Subscribe(refetch.Subject(w.flow), func(m *nats.Msg) {
		for _, part := range refetch.EncodeImage(m.Reply, 1, image, 1<<19) {
			_ = nc.PublishMsg(part)
		}
	})
	require.NoError(t, err)
}

// TestWhatWaitsFollowsARename: the events of a document may come through another partition under the new name, so the
// owner of that one has the source asked for what waits.
func TestWhatWaitsFollowsARename(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)
	w.validate(t)
	w.start(t, stubborn()).awaitReady(t)

	ids := w.everywhere(t, 1)
	id, archive := ids[3][0], event.Namespace{DB: w.ns.DB, Coll: "archive"}

	w.insert(t, id, bson.E{Key: "bad", Value: 1}, bson.E{Key: "v", Value: 1})
	w.set(t, id, bson.E{Key: "v", Value: 2})
	w.awaitWaiting(t, 2)

	w.change(t, event.Rename, w.ns, to(archive)...)
	w.awaitSettled(t, checkpoint.Counters{Processed: 3})

	r := w.awaitRecord(t, parked.Waiting)
	require.Equal(t, archive, r.Namespace())
	require.True(t, r.Counted)

	// Somebody repairs the document at the source.
	doc := marshal(t, bson.D{{Key: "_id", Value: id}, {Key: "v", Value: 9}})
	w.answer(t, refetch.Image{Document: doc, Time: bson.Timestamp{T: 1 << 31}})
	w.awaitRecord(t, parked.Superseded)

	raw, err := w.target.Database(archive.DB).Collection(archive.Coll).FindOne(t.Context(), bson.D{{Key: "_id", Value: id}}).Raw()
	require.NoError(t, err)
	require.Equal(t, doc, raw)
	require.Zero(t, w.countIn(t, w.ns.Coll))
	require.Equal(t, checkpoint.Counters{Processed: 3}, w.settled(t))
}

// TestImageThatConflictsUnderANewName: what was parked because of a unique value is renamed, and the source's document
// conflicts too for a while. The event still says the old name, and was written there.
func TestImageThatConflictsUnderANewName(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)

	coll := w.target.Database(w.ns.DB).Collection(w.ns.Coll)
	_, err := coll.Indexes().CreateOne(t.Context(), mongo.IndexModel{
		Keys: bson.D{{Key: "u", Value: 1}}, Options: options.Index().SetUnique(true).SetSparse(true),
	})
	require.NoError(t, err)

	_, err = coll.InsertOne(t.Context(), bson.D{{Key: "_id", Value: "stranger"}, {Key: "u", Value: 1}})
	require.NoError(t, err)

	w.start(t, stubborn()).awaitReady(t)

	id, archive := w.ids(t, 3, 1)[0], event.Namespace{DB: w.ns.DB, Coll: "archive"}

	w.insert(t, id, bson.E{Key: "u", Value: 1})
	w.awaitWaiting(t, 1)
	w.change(t, event.Rename, w.ns, to(archive)...)
	w.awaitSettled(t, checkpoint.Counters{Processed: 2})

	r := w.awaitRecord(t, parked.Waiting)
	require.Equal(t, archive, r.Namespace())

	doc := marshal(t, bson.D{{Key: "_id", Value: id}, {Key: "u", Value: 1}})
	w.answer(t, refetch.Image{Document: doc, Time: bson.Timestamp{T: 1 << 31}})

	// The record says that its image has conflicted.
	require.Eventually(t, func() bool { return w.parkedRecords(t)[0].Rev > r.Rev }, patience, glance)

	_, err = w.target.Database(archive.DB).Collection(archive.Coll).DeleteOne(t.Context(), bson.D{{Key: "_id", Value: "stranger"}})
	require.NoError(t, err)
	w.awaitRecord(t, parked.Superseded)
	require.Equal(t, int64(1), w.countIn(t, archive.Coll))
	require.Zero(t, w.countIn(t, w.ns.Coll))
}

// TestLetterOfAPinnedCollectionIsReplayedUnderItsNewName: its event still says the old one, which another collection may
// have by now.
func TestLetterOfAPinnedCollectionIsReplayedUnderItsNewName(t *testing.T) {
	t.Parallel()
	onEveryTarget(t, letterOfAPinnedCollectionIsReplayedUnderItsNewName)
}

func letterOfAPinnedCollectionIsReplayedUnderItsNewName(t *testing.T, w *world) {
	t.Helper()
	w.validate(t)
	w.start(t, deadly()).awaitReady(t)

	archive := event.Namespace{DB: w.ns.DB, Coll: "archive"}

	w.pin = event.PinCollation
	w.insert(t, "A", bson.E{Key: "bad", Value: 1})
	w.awaitSettled(t, checkpoint.Counters{Failed: 1})
	w.change(t, event.Rename, w.ns, to(archive)...)
	w.awaitSettled(t, checkpoint.Counters{Processed: 1, Failed: 1})

	// Without transactions the record follows when the checkpoint has moved.
	require.Eventually(t, func() bool { return w.parkedRecords(t)[0].Coll == archive.Coll }, patience, glance)
	require.NoError(t, w.target.Database(archive.DB).RunCommand(t.Context(),
		bson.D{{Key: "collMod", Value: archive.Coll}, {Key: "validator", Value: bson.D{}}}).Err())

	w.act(t, w.parkedRecords(t)[0].ID, parked.Waiting)
	w.awaitRecord(t, parked.Replayed)
	require.Equal(t, int64(1), w.countIn(t, archive.Coll))
	require.Zero(t, w.countIn(t, w.ns.Coll))
}

// TestDeadLetterFollowsARename: under the new name the source is asked for its document, which ends it.
func TestDeadLetterFollowsARename(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)
	w.validate(t)
	w.start(t, deadly()).awaitReady(t)

	ids := w.everywhere(t, 1)
	id, archive := ids[5][0], event.Namespace{DB: w.ns.DB, Coll: "archive"}

	w.insert(t, id, bson.E{Key: "bad", Value: 1})
	w.awaitSettled(t, checkpoint.Counters{Failed: 1})
	w.change(t, event.Rename, w.ns, to(archive)...)
	w.awaitSettled(t, checkpoint.Counters{Processed: 1, Failed: 1})
	r := w.awaitRecord(t, parked.Waiting)
	require.Equal(t, archive, r.Namespace())

	w.answer(t, refetch.Image{Document: marshal(t, bson.D{{Key: "_id", Value: id}}), Time: bson.Timestamp{T: 1 << 31}})
	w.awaitRecord(t, parked.Superseded)
	require.Equal(t, checkpoint.Counters{Processed: 1, Failed: 1}, w.settled(t))
	require.Equal(t, int64(1), w.countIn(t, archive.Coll))
}

// TestPinnedCollectionKeepsTheOrderOfAllItsDocuments: under the collation "A" and "a" are one document, so a delete of
// the first must not come behind the second.
func TestPinnedCollectionKeepsTheOrderOfAllItsDocuments(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)
	require.NoError(t, w.target.Database(w.ns.DB).CreateCollection(t.Context(), w.ns.Coll,
		options.CreateCollection().SetValidator(bson.D{{Key: "bad", Value: bson.D{{Key: "$ne", Value: 1}}}})))
	w.start(t, impatient()).awaitReady(t)

	w.pin = event.PinCollation
	w.insert(t, "A", bson.E{Key: "bad", Value: 1})
	w.publish(t, event.Delete, "A")
	w.insert(t, "a", bson.E{Key: "v", Value: 1})
	w.insert(t, "b", bson.E{Key: "v", Value: 1})
	w.awaitSettled(t, checkpoint.Counters{Processed: 3, Failed: 1})
	require.NotNil(t, w.document(t, "a"))
	require.NotNil(t, w.document(t, "b"))

	// A letter marks its own document only.
	w.set(t, "b", bson.E{Key: "v", Value: 2})
	w.awaitSettled(t, checkpoint.Counters{Processed: 4, Failed: 1})
}

// TestCappedCollectionIsWrittenInOrderWithoutTransactions mixes it with others in one partition.
func TestCappedCollectionIsWrittenInOrderWithoutTransactions(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)

	log := w.ns
	log.Coll = "log"

	require.NoError(t, w.target.Database(log.DB).CreateCollection(t.Context(), log.Coll, options.CreateCollection().SetCapped(true).SetSizeInBytes(1<<20)))
	w.start(t, nil).awaitReady(t)

	orders := w.ns

	for n := range 60 {
		w.ns, w.pin = log, event.PinCapped
		w.insert(t, n)
		w.ns, w.pin = orders, event.PinNone
		w.insert(t, n)
	}

	w.awaitSettled(t, checkpoint.Counters{Processed: 120})

	cursor, err := w.target.Database(log.DB).Collection(log.Coll).Find(t.Context(), bson.D{}, options.Find().SetSort(bson.D{{Key: "$natural", Value: 1}}))
	require.NoError(t, err)

	var found []bson.D
	require.NoError(t, cursor.All(t.Context(), &found))
	require.Len(t, found, 60)

	for n := range found {
		require.EqualValues(t, n, found[n][0].Value)
	}
}
