package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// impatient is a processor whose retries come at once.
func impatient(extra ...string) map[string]string {
	all := map[string]string{"BYPASS_VALIDATION": "false", "MAX_RETRIES": "2", "RETRY_DELAYS": "20ms"}
	for i := 0; i < len(extra); i += 2 {
		all[extra[i]] = extra[i+1]
	}

	return all
}

// onEveryTarget runs a test on a target that has transactions, and on one that has none.
func onEveryTarget(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()

	t.Run("transactions", func(t *testing.T) {
		t.Parallel()

		w := newWorld(t)
		w.init(t)
		test(t, w)
	})
	t.Run("standalone", func(t *testing.T) {
		t.Parallel()

		server := mongotest.New(t, mongotest.Options{Standalone: true})
		w := newWorldOn(t, server.URI().Reveal(), server.Client(t).Database("parked"))
		w.init(t)
		test(t, w)
	})
}

// validate makes the collection refuse documents whose field bad is 1.
func (w *world) validate(t *testing.T) {
	t.Helper()

	err := w.target.Database(w.ns.DB).CreateCollection(t.Context(), w.ns.Coll,
		options.CreateCollection().SetValidator(bson.D{{Key: "bad", Value: bson.D{{Key: "$ne", Value: 1}}}}))
	require.NoError(t, err)
}

func (w *world) parkedRecords(t *testing.T) []parked.Record {
	t.Helper()

	cursor, err := parked.Records(w.target).Find(t.Context(), bson.D{{Key: "flow", Value: w.flow}}, options.Find().SetSort(bson.D{{Key: "number", Value: 1}}))
	require.NoError(t, err)

	var records []parked.Record
	require.NoError(t, cursor.All(t.Context(), &records))

	return records
}

// act changes a dead letter as the statistics service does for an operator.
func (w *world) act(t *testing.T, id string, state parked.State) {
	t.Helper()

	result, err := parked.Records(w.target).UpdateOne(t.Context(), bson.D{{Key: "_id", Value: id}, {Key: "state", Value: parked.Dead}}, bson.D{
		{Key: "$set", Value: bson.D{{Key: "state", Value: state}, {Key: "attempts", Value: 0}}}, {Key: "$inc", Value: bson.D{{Key: "rev", Value: 1}}},
	})
	require.NoError(t, err)
	require.Equal(t, int64(1), result.MatchedCount)
}

func (w *world) awaitRecord(t *testing.T, state parked.State) parked.Record {
	t.Helper()

	var r parked.Record

	require.Eventually(t, func() bool {
		records := w.parkedRecords(t)
		if len(records) != 1 {
			return false
		}

		r = records[0]

		return r.State == state
	}, patience, glance)

	return r
}

func TestDeadLetterIsReplayedWhenAnOperatorSaysSo(t *testing.T) {
	t.Parallel()
	onEveryTarget(t, deadLetterIsReplayedWhenAnOperatorSaysSo)
}

func deadLetterIsReplayedWhenAnOperatorSaysSo(t *testing.T, w *world) {
	t.Helper()
	w.validate(t)

	one := w.ids(t, 1, 2)
	w.insert(t, one[0], bson.E{Key: "bad", Value: 1})
	w.insert(t, one[1])

	w.start(t, impatient())
	w.awaitSettled(t, checkpoint.Counters{Processed: 1, Failed: 1})

	letter := w.awaitRecord(t, parked.Dead)
	require.Equal(t, 3, letter.Attempts)
	require.True(t, letter.Counted)
	require.NotNil(t, w.document(t, one[1]))

	w.act(t, letter.ID, parked.Waiting)
	require.Eventually(t, func() bool { r := w.awaitRecord(t, parked.Dead); return r.Rev > letter.Rev+1 && r.Attempts == 1 }, patience, glance, "fails again after one try")

	require.NoError(t, w.target.Database(w.ns.DB).RunCommand(t.Context(),
		bson.D{{Key: "collMod", Value: w.ns.Coll}, {Key: "validator", Value: bson.D{}}}).Err())
	w.act(t, letter.ID, parked.Waiting)
	w.awaitRecord(t, parked.Replayed)
	require.NotNil(t, w.document(t, one[0]))
	require.Equal(t, checkpoint.Counters{Processed: 1, Failed: 1}, w.settled(t), "its class is its first end")
}

func TestDiscardedLetterLetsTheDocumentGoOn(t *testing.T) {
	t.Parallel()
	onEveryTarget(t, discardedLetterLetsTheDocumentGoOn)
}

func discardedLetterLetsTheDocumentGoOn(t *testing.T, w *world) {
	t.Helper()
	w.validate(t)

	id := w.ids(t, 1, 1)[0]
	w.insert(t, id, bson.E{Key: "bad", Value: 1})

	w.start(t, impatient())
	letter := w.awaitRecord(t, parked.Dead)
	w.act(t, letter.ID, parked.Discarded)
	w.insert(t, id, bson.E{Key: "v", Value: 1}) // as the source has it after a delete
	w.awaitSettled(t, checkpoint.Counters{Processed: 1, Failed: 1})
	w.set(t, id, bson.E{Key: "v", Value: 2})
	w.awaitSettled(t, checkpoint.Counters{Processed: 2, Failed: 1})
	require.Equal(t, marshal(t, bson.D{{Key: "_id", Value: id}, {Key: "v", Value: 2}}), w.document(t, id))
}

func TestLaterImageSupersedesADeadLetter(t *testing.T) {
	t.Parallel()
	onEveryTarget(t, laterImageSupersedesADeadLetter)
}

func laterImageSupersedesADeadLetter(t *testing.T, w *world) {
	t.Helper()
	w.validate(t)

	id := w.ids(t, 1, 1)[0]
	w.insert(t, id, bson.E{Key: "bad", Value: 1})

	w.start(t, impatient())
	w.awaitRecord(t, parked.Dead)
	w.publish(t, event.Replace, id, bson.E{Key: "fullDocument", Value: bson.D{{Key: "_id", Value: id}, {Key: "v", Value: 1}}})
	w.awaitRecord(t, parked.Superseded)
	w.set(t, id, bson.E{Key: "v", Value: 2})
	w.awaitSettled(t, checkpoint.Counters{Processed: 2, Failed: 1})
	require.Equal(t, marshal(t, bson.D{{Key: "_id", Value: id}, {Key: "v", Value: 2}}), w.document(t, id))
}

func TestLargeEventIsParkedInChunks(t *testing.T) {
	t.Parallel()
	onEveryTarget(t, largeEventIsParkedInChunks)
}

func largeEventIsParkedInChunks(t *testing.T, w *world) {
	t.Helper()
	w.validate(t)

	id := w.ids(t, 1, 1)[0]
	blob := bytes.Repeat([]byte{7}, 12<<20)
	w.insert(t, id, bson.E{Key: "bad", Value: 1}, bson.E{Key: "blob", Value: blob})

	p := w.start(t, impatient("MAX_RETRIES", "1", "RETRY_DELAYS", "1s"))
	r := w.awaitRecord(t, parked.Waiting)
	require.Equal(t, 2, r.Chunks)
	require.Empty(t, r.Event)

	require.NoError(t, w.target.Database(w.ns.DB).RunCommand(t.Context(),
		bson.D{{Key: "collMod", Value: w.ns.Coll}, {Key: "validator", Value: bson.D{}}}).Err())
	w.awaitSettled(t, checkpoint.Counters{Processed: 1})
	require.Eventually(t, func() bool { // without transactions they go after the checkpoint has moved
		n, err := w.target.Database(checkpoint.Database).Collection(parked.Chunks).CountDocuments(t.Context(), bson.D{{Key: "flow", Value: w.flow}})
		require.NoError(t, err)

		return n == 0 && len(w.parkedRecords(t)) == 0
	}, patience, glance)
	require.Len(t, w.document(t, id).Lookup("blob").Value, len(blob)+5)
	require.NoError(t, p.end())
}

func TestPartitionWithoutRoomPausesAndGoesOn(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)
	w.validate(t)

	one := w.ids(t, 1, 4)
	blob := bson.E{Key: "blob", Value: make([]byte, 400<<10)}

	p := w.start(t, impatient("PARK_MAX_BYTES", "1MiB"))

	for _, id := range one[:3] {
		w.insert(t, id, bson.E{Key: "bad", Value: 1}, blob)
	}

	w.insert(t, one[3])

	reason := w.awaitState(t, 1, relayv1.PartitionState_PARTITION_STATE_PAUSED)
	require.Contains(t, reason, "PARK_MAX_BYTES")
	p.awaitReason(t, "PARK_MAX_BYTES")
	require.Nil(t, w.document(t, one[3]))

	require.Eventually(t, func() bool { return w.settled(t).Failed >= 1 && w.parkedRecords(t)[0].State == parked.Dead }, patience, glance)
	w.act(t, w.parkedRecords(t)[0].ID, parked.Discarded)
	w.awaitSettled(t, checkpoint.Counters{Processed: 1, Failed: 3})
	require.NotNil(t, w.document(t, one[3]))
	p.awaitReady(t)
}

func TestRecordsSomebodyDeletedStopThePartition(t *testing.T) {
	t.Parallel()
	onEveryTarget(t, recordsSomebodyDeletedStopThePartition)
}

func recordsSomebodyDeletedStopThePartition(t *testing.T, w *world) {
	t.Helper()
	w.validate(t)

	one := w.ids(t, 1, 2)
	w.insert(t, one[0], bson.E{Key: "bad", Value: 1})

	p := w.start(t, impatient("MAX_RETRIES", "100", "RETRY_DELAYS", "50ms"))
	w.awaitRecord(t, parked.Waiting)

	_, err := parked.Records(w.target).DeleteMany(t.Context(), bson.D{{Key: "flow", Value: w.flow}})
	require.NoError(t, err)

	reason := w.awaitState(t, 1, failed)
	require.Contains(t, reason, "0 events wait")
	require.Contains(t, reason, "; ")

	w.insert(t, one[1])
	w.insert(t, w.ids(t, 2, 1)[0])
	w.awaitSettled(t, checkpoint.Counters{Processed: 1})
	require.NoError(t, p.end())
}

func TestParkedEventsArePending(t *testing.T) {
	t.Parallel()
	onEveryTarget(t, parkedEventsArePending)
}

func parkedEventsArePending(t *testing.T, w *world) {
	t.Helper()
	w.validate(t)

	id := w.ids(t, 1, 1)[0]
	w.insert(t, id, bson.E{Key: "bad", Value: 1})
	w.set(t, id, bson.E{Key: "v", Value: 1})

	first := w.start(t, impatient("RETRY_DELAYS", "1h"))
	require.Eventually(t, func() bool { return len(w.parkedRecords(t)) == 2 }, patience, glance)
	require.NoError(t, first.end())

	held, err := checkpoint.Load(t.Context(), w.target, w.flow)
	require.NoError(t, err)
	require.Equal(t, int64(2), held[1].Parked)
	require.Equal(t, int64(2), held[1].Count)
	require.Equal(t, checkpoint.Counters{}, w.settled(t))

	w.start(t, impatient()) // takes the schedule over
	require.Eventually(t, func() bool { return w.settled(t).Failed == 1 }, patience, glance)
	require.Less(t, time.Since(w.parkedRecords(t)[0].First), time.Hour)
}

// TestScrapeShowsWhatIsParked: the sums are there from the acquisition on, before anything is committed.
func TestScrapeShowsWhatIsParked(t *testing.T) {
	t.Parallel()
	onEveryTarget(t, scrapeShowsWhatIsParked)
}

func scrapeShowsWhatIsParked(t *testing.T, w *world) {
	t.Helper()
	w.validate(t)

	id := w.ids(t, 1, 1)[0]
	w.insert(t, id, bson.E{Key: "bad", Value: 1})
	w.set(t, id, bson.E{Key: "v", Value: 1}) // nobody answers who could tell what it leads to

	first := w.start(t, impatient())
	shows := func(p *processor, parked, dead string) func() bool {
		return func() bool {
			text := p.scrape(t)

			return strings.Contains(text, `relay_parked_changes{flow="`+w.flow+`"} `+parked+"\n") &&
				strings.Contains(text, `relay_dead_letters{flow="`+w.flow+`"} `+dead+"\n")
		}
	}

	require.Eventually(t, shows(first, "1", "1"), patience, glance)
	require.NoError(t, first.end())
	require.Eventually(t, shows(w.start(t, impatient()), "1", "1"), patience, glance)
}
