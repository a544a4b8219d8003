package chain_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/chain"
)

// newSchemaStream makes a flow that replicates schema changes, and its first writer.
func newSchemaStream(t *testing.T, mode topology.PublishMode) (*natstest.Server, *topology.Stream, *writer) {
	t.Helper()

	server := natstest.New(t)
	stream := makeStream(t, server.JetStream(t), topology.Settings{Publish: mode, DDL: true}, 1<<20)

	return server, stream, newWriter(t, server, stream, 1)
}

// schemaChange returns event n of a source: of a collection with the UUID of its letters.
func schemaChange(t *testing.T, n int, operation event.Operation, coll, uuid string, fields ...bson.E) sourceEvent {
	t.Helper()

	data := make([]byte, 16)
	copy(data, uuid)

	return rawEvent(t, n, bson.Timestamp{T: 1000, I: uint32(n)}, operation, coll, 0,
		append(fields, bson.E{Key: "collectionUUID", Value: bson.Binary{Subtype: bson.TypeBinaryUUID, Data: data}}))
}

func createCapped(t *testing.T, n int, coll, uuid string) sourceEvent {
	t.Helper()

	return schemaChange(t, n, event.Create, coll, uuid, bson.E{Key: "operationDescription", Value: bson.D{{Key: "capped", Value: true}}})
}

func insertInto(t *testing.T, n int, coll, uuid string) sourceEvent {
	t.Helper()

	return schemaChange(t, n, event.Insert, coll, uuid, bson.E{Key: "documentKey", Value: bson.D{{Key: "_id", Value: n}}})
}

// store publishes messages and waits until the server has them.
func (w *writer) store(t *testing.T, messages ...event.Message) {
	t.Helper()

	for i := range messages {
		require.NoError(t, w.Publish(time.Now(), &messages[i], i == len(messages)-1))
	}

	for outstanding, _ := w.Outstanding(); outstanding > 0; outstanding, _ = w.Outstanding() {
		select {
		case reply := <-w.Replies():
			require.NoError(t, w.Handle(reply))
		case <-time.After(patience):
			t.Fatal("no reply")
		}
	}
}

// pinnedNames returns the names that a table knows.
func pinnedNames(tail *chain.Tail) []string {
	var names []string
	for _, entry := range tail.Table.Entries() {
		names = append(names, entry.Namespace.Coll)
	}

	return names
}

// TestTailKnowsTheSchema: what a listener that restarts knows of schema changes, with
// and without a marker behind them.
func TestTailKnowsTheSchema(t *testing.T) {
	t.Parallel()

	inEachMode(t, func(t *testing.T, mode topology.PublishMode) {
		t.Helper()

		_, stream, w := newSchemaStream(t, mode)

		logs, audit := createCapped(t, 1, "logs", "a"), createCapped(t, 3, "audit", "b")
		insert := makeEvent(t, 2, bson.Timestamp{T: 1000, I: 2}, 1, 0)

		w.store(t, take(t, w.ledger, &logs)...)
		require.True(t, w.ledger.MarkerDue(false), "the table has changed")

		tail, err := chain.ReadTail(t.Context(), stream)
		require.NoError(t, err)
		require.Equal(t, []string{"logs"}, pinnedNames(tail))
		require.Equal(t, uint64(1), tail.LastBarrier)
		require.Zero(t, tail.Missing())

		w.store(t, markerOf(w.ledger))
		w.store(t, append(take(t, w.ledger, &insert), take(t, w.ledger, &audit)...)...)

		tail, err = chain.ReadTail(t.Context(), stream)
		require.NoError(t, err)
		require.Equal(t, []string{"audit", "logs"}, pinnedNames(tail))
		require.Equal(t, uint64(3), tail.LastBarrier)
		require.Equal(t, uint64(2), tail.Heads[0])
		require.Zero(t, tail.Missing())
		require.Equal(t, w.ledger.Heads(), tail.Heads)
	})
}

// TestABarrierWithoutItsChangeHasNotHappened: a listener stops amid the copies.
func TestABarrierWithoutItsChangeHasNotHappened(t *testing.T) {
	t.Parallel()

	inEachMode(t, func(t *testing.T, mode topology.PublishMode) {
		t.Helper()

		server, stream, w := newSchemaStream(t, mode)
		logs := createCapped(t, 1, "logs", "a")

		for _, m := range take(t, w.ledger, &logs)[:2] { // as a power cut leaves a batch
			last, err := stream.Tail(t.Context())
			require.NoError(t, err)
			_, err = stream.PublishAfter(t.Context(), server.JetStream(t), last, &m)
			require.NoError(t, err)
		}

		tail, err := chain.ReadTail(t.Context(), stream)
		require.NoError(t, err)
		require.Empty(t, pinnedNames(tail))
		require.Zero(t, tail.LastBarrier)
		require.Zero(t, tail.Missing())
		require.Equal(t, make([]uint64, partitions), tail.Heads)
		require.Equal(t, token(0), tail.Last.ResumeToken)

		w = newWriter(t, server, stream, 2)
		again := take(t, w.ledger, &logs)
		require.Len(t, again, partitions)
		require.Equal(t, 2, again[0].Attempt)
		w.store(t, again...)

		tail, err = chain.ReadTail(t.Context(), stream)
		require.NoError(t, err)
		require.Equal(t, []string{"logs"}, pinnedNames(tail))
		require.Equal(t, uint64(1), tail.Heads[0])
	})
}

// TestABarrierIsOneBatch: nothing of it goes out before all of it is there.
func TestABarrierIsOneBatch(t *testing.T) {
	t.Parallel()

	_, _, w := newSchemaStream(t, topology.PublishBatch)
	logs := createCapped(t, 1, "logs", "a")
	messages := take(t, w.ledger, &logs)

	for i := range messages {
		_, flying := w.Deadline()
		require.False(t, flying)
		require.NoError(t, w.Publish(time.Now(), &messages[i], false))
	}

	_, flying := w.Deadline()
	require.True(t, flying)

	w.store(t)
}
