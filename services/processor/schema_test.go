package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// schemaEvent is a change event without a document.
func schemaEvent(tb testing.TB, op event.Operation, ns event.Namespace, fields ...bson.E) event.Event {
	tb.Helper()

	in := bson.D{{Key: "db", Value: ns.DB}}
	if ns.Coll != "" {
		in = append(in, bson.E{Key: "coll", Value: ns.Coll})
	}

	e, err := event.Parse(marshal(tb, append(bson.D{{Key: "operationType", Value: string(op)}, {Key: "ns", Value: in}}, fields...)))
	require.NoError(tb, err)

	return e
}

// announce publishes the copies of the next schema change, and returns its own message.
func (w *world) announce(tb testing.TB, e *event.Event) event.Message {
	tb.Helper()

	said := e.SchemaChange()
	payload, err := said.Marshal()
	require.NoError(tb, err)

	m := w.last
	m.Kind, m.Namespace, m.Pin, m.Part, m.Parts = event.KindBarrier, event.Namespace{}, event.PinNone, 1, 1
	m.Event++
	m.Position = event.Position{T: uint32(time.Now().Unix()), I: uint32(m.Event)}

	for p := w.partitions - 1; p > 0; p-- {
		m.Partition, m.Count, m.Size, m.Payload = p, w.counts[p], len(payload), payload
		w.send(tb, &m)
	}

	m.Partition, m.Size, m.Payload = 0, len(e.Raw), e.Raw
	m.Count = w.counts[0] + 1
	m.ResumeToken = marshal(tb, bson.D{{Key: "_data", Value: m.Position.String()}})

	return m
}

// change publishes the next event, which every partition has to stop at, as a listener does.
func (w *world) change(tb testing.TB, op event.Operation, ns event.Namespace, fields ...bson.E) {
	tb.Helper()

	e := schemaEvent(tb, op, ns, fields...)
	m := w.announce(tb, &e)
	w.complete(tb, &m)
}

// complete publishes a schema change's own message behind its copies.
func (w *world) complete(tb testing.TB, m *event.Message) {
	tb.Helper()

	w.counts[0]++
	w.send(tb, m)
	w.last, w.lastBarrier = *m, m.Event
}

// voidChange leaves a schema change unfinished, as a listener does that dies and whose filter has changed since.
func (w *world) voidChange(tb testing.TB, op event.Operation, ns event.Namespace) {
	tb.Helper()

	e := schemaEvent(tb, op, ns)
	m := w.announce(tb, &e)
	w.last.Event, w.last.Position, w.last.Skipped = m.Event, m.Position, w.last.Skipped+1
}

// index describes one on the field v.
func index(name string, unique bool) bson.E {
	spec := bson.D{{Key: "v", Value: 2}, {Key: "key", Value: bson.D{{Key: "v", Value: 1}}}, {Key: "name", Value: name}}
	if unique {
		spec = append(spec, bson.E{Key: "unique", Value: true})
	}

	return bson.E{Key: "operationDescription", Value: bson.D{{Key: "indexes", Value: bson.A{spec}}}}
}

func to(ns event.Namespace) []bson.E {
	name := bson.D{{Key: "db", Value: ns.DB}, {Key: "coll", Value: ns.Coll}}

	return []bson.E{{Key: "to", Value: name}, {Key: "operationDescription", Value: bson.D{{Key: "to", Value: name}}}}
}

// wave writes a document into every partition, several times.
func (w *world) wave(tb testing.TB, ids [][]string, v int) {
	tb.Helper()

	for n := range ids[0] {
		for p := range ids {
			w.insert(tb, ids[p][n], bson.E{Key: "v", Value: v})
		}
	}
}

// firstWave writes a document into every partition, and waits until all are applied.
func (w *world) firstWave(t *testing.T) [][]string {
	t.Helper()

	ids := w.everywhere(t, 1)
	w.wave(t, ids, 1)
	w.awaitSettled(t, checkpoint.Counters{Processed: int64(len(ids))})

	return ids
}

func (w *world) everywhere(t *testing.T, n int) [][]string {
	t.Helper()

	ids := make([][]string, w.partitions)
	for p := range ids {
		ids[p] = w.ids(t, p, n)
	}

	return ids
}

func (w *world) countIn(t *testing.T, coll string) int64 {
	t.Helper()

	n, err := w.target.Database(w.ns.DB).Collection(coll).CountDocuments(t.Context(), bson.D{})
	require.NoError(t, err)

	return n
}

func (w *world) indexNames(t *testing.T, coll string) []string {
	t.Helper()

	specs, err := w.target.Database(w.ns.DB).Collection(coll).Indexes().ListSpecifications(t.Context())
	require.NoError(t, err)

	var names []string
	for _, s := range specs {
		names = append(names, s.Name)
	}

	return names
}

// TestSchemaChangesBetweenData has three processors share the partitions: each change hits what came before it, in
// every partition, and nothing that comes after.
func TestSchemaChangesBetweenData(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)

	for range 3 {
		w.start(t, nil)
	}

	w.awaitShared(t, 3)

	ids, moved := w.everywhere(t, 3), event.Namespace{DB: w.ns.DB, Coll: "archive"}
	events := int64(0)

	for round := range 5 {
		w.wave(t, ids, round)
		w.change(t, event.CreateIndexes, w.ns, index(fmt.Sprintf("v_%d", round), false))
		w.wave(t, ids[:1], round)
		w.change(t, event.Drop, w.ns)
		w.change(t, event.Create, w.ns)
		w.wave(t, ids[1:2], round)
		w.change(t, event.Rename, w.ns, to(moved)...)
		w.change(t, event.DropDatabase, event.Namespace{DB: moved.DB + "_other"})
		w.wave(t, ids[2:], round)

		if round < 4 {
			w.change(t, event.Drop, moved)
			w.change(t, event.Drop, w.ns)
			events += 2
		}

		events += int64(len(ids)*3+3+3+(len(ids)-2)*3) + 5
	}

	w.awaitSettled(t, checkpoint.Counters{Processed: events})
	require.Equal(t, int64(3), w.countIn(t, moved.Coll))
	require.Equal(t, int64(3*(len(ids)-2)), w.countIn(t, w.ns.Coll))
	require.Equal(t, []string{"_id_"}, w.indexNames(t, moved.Coll))
}

// TestVoidSchemaChangeIsPassed: copies without the change, because the listener died and its filter has changed since.
func TestVoidSchemaChangeIsPassed(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)

	w.start(t, nil).awaitReady(t)

	ids := w.everywhere(t, 2)
	w.wave(t, ids, 1)
	w.awaitSettled(t, checkpoint.Counters{Processed: int64(2 * len(ids))})

	w.voidChange(t, event.Drop, w.ns)
	w.wave(t, ids[1:], 2)
	w.awaitState(t, 3, relayv1.PartitionState_PARTITION_STATE_PAUSED)

	w.mark(t) // what partition 0 goes on by: it has nothing to do
	w.awaitSettled(t, checkpoint.Counters{Processed: int64(4*len(ids) - 2)})
	require.Equal(t, int64(2*len(ids)), w.countIn(t, w.ns.Coll))
}

// TestIdlePartitionsMoveOnlyToMarkersBehindWhatTheyPassed has partitions without data stand at schema changes while
// markers come.
func TestIdlePartitionsMoveOnlyToMarkersBehindWhatTheyPassed(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)
	w.start(t, nil).awaitReady(t)

	ids := w.everywhere(t, 1)

	for round := range 20 {
		w.insert(t, ids[5][0], bson.E{Key: "v", Value: round})
		w.change(t, event.Drop, w.ns)
		w.mark(t)
	}

	w.insert(t, ids[7][0])
	w.awaitSettled(t, checkpoint.Counters{Processed: 41})
	require.Equal(t, int64(1), w.countIn(t, w.ns.Coll))

	require.Eventually(t, func() bool {
		for _, c := range w.checkpoints(t) {
			if c.Event < 40 {
				return false
			}
		}

		return true
	}, patience, glance, "the last marker takes all there")
}

// TestUniqueIndexOverDuplicatesBecomesALetter: the data flows while the index is tried again, and afterwards.
func TestUniqueIndexOverDuplicatesBecomesALetter(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)
	w.start(t, impatient()).awaitReady(t)

	ids := w.everywhere(t, 1)
	w.wave(t, ids, 7)
	w.change(t, event.CreateIndexes, w.ns, index("v_1", true))
	w.wave(t, ids, 7)

	n := int64(len(ids))
	w.awaitSettled(t, checkpoint.Counters{Processed: 2 * n, Failed: 1})

	letter := w.awaitRecord(t, parked.Dead)
	require.Equal(t, event.CreateIndexes, letter.Operation)
	require.Equal(t, w.ns, letter.Namespace())
	require.NotEmpty(t, letter.Event)
	require.NotEmpty(t, letter.Error)
	require.Equal(t, 0, letter.Partition)

	// What the index was for is gone.
	w.change(t, event.Drop, w.ns)
	w.awaitRecord(t, parked.Superseded)
	w.awaitSettled(t, checkpoint.Counters{Processed: 2*n + 1, Failed: 1})
}
