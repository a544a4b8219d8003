package main

import (
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/pkg/pause"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// pause pauses the flow, as the statistics service does for a person.
func (w *world) pause(t *testing.T) {
	t.Helper()

	changed, err := pause.Begin(t.Context(), w.target, w.flow, pause.Pause{By: "ann", Reason: "upgrade", Since: time.Now()})
	require.NoError(t, err)
	require.True(t, changed)
}

// goOn ends the pause.
func (w *world) goOn(t *testing.T) {
	t.Helper()

	changed, err := pause.End(t.Context(), w.target, w.flow)
	require.NoError(t, err)
	require.True(t, changed)
}

// awaitHeld waits until the processor says that it applies nothing because somebody wants it so, and that it has read so
// many events meanwhile.
func (w *world) awaitHeld(t *testing.T, read uint64) {
	t.Helper()
	require.Eventually(t, func() bool {
		held, events := 0, uint64(0)

		for _, p := range w.report(t).GetPartitions() {
			if p.GetIsHeld() {
				held++
			}

			events += p.GetPendingBatchSize()
		}

		return held == w.partitions && events >= read
	}, patience, glance)
}

// commits is how many transactions the partitions have committed, in all.
func (w *world) commits(t *testing.T) (n int64) {
	t.Helper()

	for _, d := range w.checkpoints(t) {
		n += d.Commits
	}

	return n
}

// TestPausedFlowStandsStill: through kill -9, a restart and the loss of the bucket of leases nothing is written, and
// then everything, once.
func TestPausedFlowStandsStill(t *testing.T) {
	t.Parallel()
	onEveryTarget(t, pausedFlowStandsStill)
}

func pausedFlowStandsStill(t *testing.T, w *world) {
	t.Helper()

	ttl := map[string]string{"LEASE_TTL": testTTL.String()}
	first := w.startChild(t, ttl)

	w.insertMany(t, 0)
	w.awaitSettled(t, checkpoint.Counters{Processed: many})

	w.pause(t)
	w.awaitHeld(t, 0)

	commits := w.commits(t)
	still := func() {
		t.Helper()
		require.Equal(t, checkpoint.Counters{Processed: many}, w.settled(t))
		require.Equal(t, commits, w.commits(t))
		w.requireDocuments(t, many)
	}

	w.insertMany(t, 1000)
	w.mark(t)
	w.awaitHeld(t, many)
	still()

	first.signal(t, syscall.SIGKILL)

	second := w.start(t, ttl)
	second.awaitHeld(t)
	still()

	require.NoError(t, second.end())
	require.NoError(t, w.js.DeleteKeyValue(t.Context(), topology.OwnersBucket))
	require.NoError(t, topology.CreateBuckets(t.Context(), w.js, 1))

	third := w.start(t, ttl)
	third.awaitHeld(t)
	still()

	w.goOn(t)
	w.awaitSettled(t, checkpoint.Counters{Processed: 2 * many})
	w.requireDocuments(t, 2*many)
	third.awaitReady(t)
}

// awaitHeld waits until the processor is ready although it applies nothing, and says why.
func (p *processor) awaitHeld(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		return p.reason(t) == "ready" && strings.Contains(p.body(t), `"partitions","reason":"paused by ann since `)
	}, patience, glance)
}

// body is what /readyz says, all of it; empty when there is no answer.
func (p *processor) body(t *testing.T) string {
	t.Helper()

	response := p.get(t, "/readyz")
	if response == nil {
		return ""
	}
	defer response.Body.Close()

	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)

	return string(text)
}

// TestPauseLeavesParkedEventsAlone: no try is made, and none counted.
func TestPauseLeavesParkedEventsAlone(t *testing.T) {
	t.Parallel()
	onEveryTarget(t, pauseLeavesParkedEventsAlone)
}

func pauseLeavesParkedEventsAlone(t *testing.T, w *world) {
	t.Helper()
	w.validate(t)

	one := w.ids(t, 1, 2)
	w.insert(t, one[0], bson.E{Key: "bad", Value: 1})
	w.start(t, impatient("MAX_RETRIES", "100", "RETRY_DELAYS", "300ms"))
	w.awaitRecord(t, parked.Waiting)

	w.pause(t)
	w.awaitHeld(t, 0)

	before := w.awaitRecord(t, parked.Waiting)

	w.set(t, one[0], bson.E{Key: "v", Value: 1})
	w.insert(t, one[1])
	w.awaitHeld(t, 2) // a report later: time for several tries
	require.Equal(t, before, w.awaitRecord(t, parked.Waiting))
	require.Equal(t, checkpoint.Counters{}, w.settled(t))

	require.NoError(t, w.target.Database(w.ns.DB).RunCommand(t.Context(),
		bson.D{{Key: "collMod", Value: w.ns.Coll}, {Key: "validator", Value: bson.D{}}}).Err())
	w.goOn(t)
	w.awaitSettled(t, checkpoint.Counters{Processed: 3})
	require.Equal(t, int32(1), w.document(t, one[0]).Lookup("v").Int32())
}

// TestPauseAtASchemaChange: it waits like everything else, and is made in its place.
func TestPauseAtASchemaChange(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)
	w.start(t, nil).awaitReady(t)

	ids := w.everywhere(t, 2)
	w.wave(t, ids, 1)
	w.awaitSettled(t, checkpoint.Counters{Processed: int64(2 * len(ids))})

	// Partition 0 has not come to the change when it is paused, all others stand there.
	e := schemaEvent(t, event.Drop, w.ns)
	m := w.announce(t, &e)
	w.pause(t)
	w.awaitHeld(t, uint64(len(ids)-1))

	w.complete(t, &m)
	w.wave(t, ids[:1], 2)
	w.awaitHeld(t, uint64(len(ids)))
	require.Equal(t, int64(2*len(ids)), w.countIn(t, w.ns.Coll))

	w.goOn(t)
	w.awaitSettled(t, checkpoint.Counters{Processed: int64(2*len(ids) + 1 + 2)})
	require.Equal(t, int64(2), w.countIn(t, w.ns.Coll))
}

// TestPauseWhileTheTargetRefuses: a batch that waits for the target is given back, and applied when the flow goes on.
func TestPauseWhileTheTargetRefuses(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)

	one := w.ids(t, 1, 2)
	w.insert(t, one[0], bson.E{Key: "v", Value: 1})

	w.start(t, nil)
	w.awaitSettled(t, checkpoint.Counters{Processed: 1})

	// Somebody's transaction has the document.
	session, err := w.target.StartSession()
	require.NoError(t, err)

	defer session.EndSession(t.Context())

	require.NoError(t, session.StartTransaction())

	_, err = w.target.Database(w.ns.DB).Collection(w.ns.Coll).UpdateOne(mongo.NewSessionContext(t.Context(), session), bson.D{{Key: "_id", Value: one[0]}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "mark", Value: true}}}})
	require.NoError(t, err)

	w.set(t, one[0], bson.E{Key: "v", Value: 2})
	w.insert(t, one[1])
	w.awaitState(t, 1, relayv1.PartitionState_PARTITION_STATE_PAUSED)

	w.pause(t)
	w.awaitHeld(t, 0)
	require.NoError(t, session.CommitTransaction(t.Context()))
	w.awaitHeld(t, 2)
	require.Equal(t, checkpoint.Counters{Processed: 1}, w.settled(t))

	w.goOn(t)
	w.awaitSettled(t, checkpoint.Counters{Processed: 3})
	require.Equal(t, int32(2), w.document(t, one[0]).Lookup("v").Int32())
	require.NotNil(t, w.document(t, one[1]))
}
