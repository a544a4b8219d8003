package main

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/pkg/pause"
	"github.com/atlas-relay/atlas-relay/pkg/refetch"
)

// pauseNamespace pauses one, as the statistics service does for a person.
func (w *world) pauseNamespace(t *testing.T, ns event.Namespace) {
	t.Helper()

	changed, err := pause.BeginNamespaces(t.Context(), w.target, w.flow, []event.Namespace{ns}, pause.Pause{By: "ann", Since: time.Now()})
	require.NoError(t, err)
	require.Equal(t, 1, changed)
}

func (w *world) resumeNamespace(t *testing.T, ns event.Namespace) {
	t.Helper()

	changed, err := pause.EndNamespaces(t.Context(), w.target, w.flow, []event.Namespace{ns})
	require.NoError(t, err)
	require.Equal(t, 1, changed)
}

// heard waits until the processor goes by what is paused: a change of the namespace is set aside. It returns how many
// changes that took, and none of them is for a document of the tests.
func (w *world) heard(t *testing.T) (events int64) {
	t.Helper()
	require.Eventually(t, func() bool {
		w.insert(t, -1-events)
		events++

		return w.waiting(t) > 0
	}, patience, glance)
	require.Eventually(t, func() bool { return w.settled(t).Processed+w.waiting(t) >= events }, patience, glance)

	return events
}

// TestPausedNamespaceHoldsUpNobody: what comes for it is set aside, others pass, and the rest comes in order when it goes
// on, whoever owns the partitions by then.
func TestPausedNamespaceHoldsUpNobody(t *testing.T) {
	t.Parallel()
	onEveryTarget(t, pausedNamespaceHoldsUpNobody)
}

func pausedNamespaceHoldsUpNobody(t *testing.T, w *world) {
	t.Helper()

	const few = 40

	orders, stock := w.ns, event.Namespace{DB: w.ns.DB, Coll: "stock"}
	w.pauseNamespace(t, orders)

	first := w.startChild(t, map[string]string{"LEASE_TTL": testTTL.String()})
	wave := func(v int) {
		for id := range few {
			w.ns = orders
			w.publish(t, event.Replace, id, bson.E{Key: "fullDocument", Value: bson.D{{Key: "_id", Value: id}, {Key: "v", Value: v}}})
			w.set(t, id, bson.E{Key: "w", Value: v})
			w.ns = stock
			w.insert(t, few*v+id)
		}
	}

	wave(1)
	w.awaitSettled(t, checkpoint.Counters{Processed: few})
	w.awaitWaiting(t, 2*few)
	require.Zero(t, w.countIn(t, orders.Coll))

	first.signal(t, syscall.SIGKILL)
	w.start(t, map[string]string{"LEASE_TTL": testTTL.String()})
	wave(2)
	w.awaitSettled(t, checkpoint.Counters{Processed: 2 * few})
	w.awaitWaiting(t, 4*few)
	require.Zero(t, w.countIn(t, orders.Coll))

	for _, r := range w.parkedRecords(t) {
		require.Zero(t, r.Attempts)
		require.Contains(t, []parked.Reason{parked.Paused, parked.Follows}, r.Reason)
	}

	w.resumeNamespace(t, orders)
	w.awaitSettled(t, checkpoint.Counters{Processed: 6 * few})
	require.Zero(t, w.waiting(t))
	// Without transactions the records go after the checkpoint has moved.
	require.Eventually(t, func() bool { return len(w.parkedRecords(t)) == 0 }, patience, glance)

	w.ns = orders
	for id := range few {
		require.Equal(t, marshal(t, bson.D{{Key: "_id", Value: id}, {Key: "v", Value: 2}, {Key: "w", Value: 2}}), w.document(t, id))
	}
}

// TestDropOfAPausedNamespace is made in its place, and settles what waits.
func TestDropOfAPausedNamespace(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)
	w.start(t, nil).awaitReady(t)

	ids := w.firstWave(t)

	w.pauseNamespace(t, w.ns)
	events := int64(len(ids)) + w.heard(t)

	w.wave(t, ids, 2)
	w.change(t, event.Drop, w.ns)
	events += int64(len(ids)) + 1
	w.awaitSettled(t, checkpoint.Counters{Processed: events})
	require.Zero(t, w.countIn(t, w.ns.Coll))
	require.Empty(t, w.parkedRecords(t))

	w.wave(t, ids, 3) // of the collection that has the name now
	w.awaitWaiting(t, int64(len(ids)))
	w.resumeNamespace(t, w.ns)
	w.awaitSettled(t, checkpoint.Counters{Processed: events + int64(len(ids))})
	require.Equal(t, int64(len(ids)), w.countIn(t, w.ns.Coll))
}

// TestRenameOfAPausedNamespace is made in its place, too: under the new name, which is not paused, the source's document
// takes the place of what waits.
func TestRenameOfAPausedNamespace(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)
	w.start(t, nil).awaitReady(t)

	id, archive := w.ids(t, 3, 1)[0], event.Namespace{DB: w.ns.DB, Coll: "archive"}
	w.insert(t, id, bson.E{Key: "v", Value: 1})
	w.awaitSettled(t, checkpoint.Counters{Processed: 1})
	w.answer(t, refetch.Image{Document: marshal(t, bson.D{{Key: "_id", Value: id}, {Key: "v", Value: 9}}), Time: bson.Timestamp{T: 1 << 31}})

	for _, paused := range []event.Namespace{w.ns, archive} { // the second one holds what the rename hands over
		w.pauseNamespace(t, paused)
	}

	require.Eventually(t, func() bool {
		w.set(t, id, bson.E{Key: "v", Value: 2})

		return w.waiting(t) > 0
	}, patience, glance)

	w.change(t, event.Rename, w.ns, to(archive)...)

	r := parked.Record{}
	require.Eventually(t, func() bool {
		records := w.parkedRecords(t)
		if len(records) == 1 {
			r = records[0]
		}

		return r.Namespace() == archive
	}, patience, glance)
	require.Equal(t, parked.Waiting, r.State)
	require.Equal(t, parked.Unfitting, r.Reason)

	w.resumeNamespace(t, archive)
	require.Eventually(t, func() bool { return w.parkedRecords(t)[0].State == parked.Superseded }, patience, glance)

	w.ns = archive
	require.Equal(t, int32(9), w.document(t, id).Lookup("v").Int32())
	require.Zero(t, w.waiting(t))
}
