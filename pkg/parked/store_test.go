package parked_test

import (
	"bytes"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

// flows numbers the flows, whose records share one collection.
var flows atomic.Int64

func newFlow(t *testing.T) (*mongo.Client, string) {
	t.Helper()

	db := mongotest.DB(t)

	return db.Client(), db.Name()[len(db.Name())-8:] + "-" + strconv.FormatInt(flows.Add(1), 10)
}

func TestIDsSortInTheOrderOfEvents(t *testing.T) {
	t.Parallel()
	require.Less(t, parked.ID("f", "s", 1, 3, 9), parked.ID("f", "s", 1, 3, 10))
	require.NotEqual(t, parked.CoveredID("f", 1, "a"), parked.CoveredID("f", 1, "b"))
}

func TestLargeEventComesBackFromItsChunks(t *testing.T) {
	t.Parallel()

	client, flow := newFlow(t)

	raw, err := bson.Marshal(bson.D{{Key: "blob", Value: bytes.Repeat([]byte{7}, 9<<20)}})
	require.NoError(t, err)

	chunks := parked.Split(flow, flow+"/1", raw)
	require.Len(t, chunks, 2)

	for _, chunk := range chunks {
		_, err := client.Database(checkpoint.Database).Collection(parked.Chunks).InsertOne(t.Context(), chunk)
		require.NoError(t, err)
	}

	_, err = parked.Records(client).InsertMany(t.Context(), []parked.Record{
		{ID: flow + "/1", Flow: flow, Size: int64(len(raw)), Chunks: 2, State: parked.Waiting, DocumentKey: bson.Raw{5, 0, 0, 0, 0}},
		{ID: flow + "/2", Flow: flow, Size: 5, Event: bson.Raw{5, 0, 0, 0, 0}, State: parked.Dead, DocumentKey: bson.Raw{5, 0, 0, 0, 0}},
	})
	require.NoError(t, err)

	events, err := parked.Events(t.Context(), client, []string{flow + "/1", flow + "/2"})
	require.NoError(t, err)
	require.True(t, bytes.Equal(raw, events[flow+"/1"]))
	require.Equal(t, bson.Raw{5, 0, 0, 0, 0}, events[flow+"/2"])

	_, err = parked.Events(t.Context(), client, []string{flow + "/3"})
	require.ErrorIs(t, err, parked.ErrRecords)

	_, err = client.Database(checkpoint.Database).Collection(parked.Chunks).DeleteOne(t.Context(), bson.D{{Key: "_id", Value: chunks[1].ID}})
	require.NoError(t, err)

	_, err = parked.Events(t.Context(), client, []string{flow + "/1"})
	require.ErrorIs(t, err, parked.ErrRecords)
	require.ErrorContains(t, err, "it has 1 of 2")
}

func TestEarliestWaitingEventsOfAllPartitions(t *testing.T) {
	t.Parallel()

	client, flow := newFlow(t)
	require.NoError(t, parked.EnsureIndexes(t.Context(), client))

	for i, p := range []event.Position{{T: 2}, {T: 1, I: 2}, {T: 1, I: 1, Ordinal: 1}, {T: 1, I: 1}} {
		state := parked.Waiting
		if i == 1 {
			state = parked.Dead
		}

		_, err := parked.Records(client).InsertOne(t.Context(), parked.Record{
			ID: flow + strconv.Itoa(i), Flow: flow, Partition: i, Position: p, State: state, Counted: state == parked.Dead, DocumentKey: bson.Raw{5, 0, 0, 0, 0},
		})
		require.NoError(t, err)
	}

	positions, err := parked.Earliest(t.Context(), client, flow, 2)
	require.NoError(t, err)
	require.Equal(t, []event.Position{{T: 1, I: 1}, {T: 1, I: 1, Ordinal: 1}}, positions)

	replays, err := parked.LoadReplays(t.Context(), client, flow, 1)
	require.NoError(t, err)
	require.Empty(t, replays)

	var ids []string

	require.NoError(t, parked.Headers(t.Context(), client, flow, 1, func(r *parked.Record) error {
		ids = append(ids, r.ID)

		return nil
	}, parked.Dead))
	require.Equal(t, []string{flow + "1"}, ids)
}
