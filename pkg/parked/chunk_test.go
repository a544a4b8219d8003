package parked_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.uber.org/goleak"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(mongotest.Main(m)) }

// large returns an event of at least this many bytes.
func large(t *testing.T, size int) bson.Raw {
	t.Helper()

	raw, err := bson.Marshal(bson.D{
		{Key: "operationType", Value: "insert"},
		{Key: "a", Value: strings.Repeat("a", size/2)},
		{Key: "b", Value: strings.Repeat("b", size/2)},
	})
	require.NoError(t, err)

	return raw
}

func record(flow string, count int64) parked.Record {
	return parked.Record{
		ID: parked.ID(flow, "s", 0, 3, count), Rev: 1, Flow: flow, Partition: 3, StreamID: "s", Count: count,
		DB: "shop", Coll: "orders", Operation: "update", State: parked.Dead, DocumentKey: bson.Raw{5, 0, 0, 0, 0},
	}
}

func TestSmallEventsHaveNoChunks(t *testing.T) {
	t.Parallel()

	require.Nil(t, parked.Split("f", "r", make(bson.Raw, parked.MaxInline)))
	require.Len(t, parked.Split("f", "r", make(bson.Raw, parked.MaxInline+1)), 2)
}

func TestJoinRefusesWhatIsNotTheEvent(t *testing.T) {
	t.Parallel()

	raw := large(t, 20<<20)
	r := record("f", 7)
	chunks := parked.Split(r.Flow, r.ID, raw)
	r.Size, r.Chunks = int64(len(raw)), len(chunks)

	require.Len(t, chunks, 3)
	require.Equal(t, r.ID+"/2", chunks[2].ID)

	slices.Reverse(chunks)

	joined, err := parked.Join(&r, chunks)
	require.NoError(t, err)
	require.Equal(t, raw, joined)

	for name, damage := range map[string]func(r *parked.Record, chunks []parked.Chunk) []parked.Chunk{
		"one is missing":     func(_ *parked.Record, c []parked.Chunk) []parked.Chunk { return c[1:] },
		"one is there twice": func(_ *parked.Record, c []parked.Chunk) []parked.Chunk { c[0] = c[1]; return c },
		"one is a stranger":  func(_ *parked.Record, c []parked.Chunk) []parked.Chunk { c[0].Record = "x"; return c },
		"one was cut":        func(_ *parked.Record, c []parked.Chunk) []parked.Chunk { c[0].Data.Data = nil; return c },
		"size is no size":    func(r *parked.Record, c []parked.Chunk) []parked.Chunk { r.Size = -1; return c },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			r := r
			_, err := parked.Join(&r, damage(&r, slices.Clone(chunks)))
			require.ErrorIs(t, err, parked.ErrDamaged)
		})
	}
}

func TestEventsComeBackAndGoWithTheFlow(t *testing.T) {
	t.Parallel()

	client := mongotest.Shared(t).Client(t)
	flow, other := "f-"+bson.NewObjectID().Hex(), "g-"+bson.NewObjectID().Hex()

	for _, name := range []string{flow, other} {
		small, big, none := record(name, 1), record(name, 2), record(name, 3)
		small.Event = large(t, 10)
		raw := large(t, 16<<20)
		chunks := parked.Split(name, big.ID, raw)
		big.Size, big.Chunks = int64(len(raw)), len(chunks)

		for _, r := range []*parked.Record{&small, &big, &none} {
			insert(t, client, parked.Collection, r)
		}

		for i := range chunks {
			insert(t, client, parked.Chunks, chunks[i])
		}

		insert(t, client, parked.Refetched, bson.D{{Key: "_id", Value: name + "/x"}, {Key: "flow", Value: name}})

		got, err := parked.LoadEvent(t.Context(), client, &small)
		require.NoError(t, err)
		require.Equal(t, small.Event, got)

		got, err = parked.LoadEvent(t.Context(), client, &big)
		require.NoError(t, err)
		require.Equal(t, raw, got)

		_, err = parked.LoadEvent(t.Context(), client, &none)
		require.ErrorIs(t, err, parked.ErrNoEvent)
	}

	deleted, err := parked.Delete(t.Context(), client, flow)
	require.NoError(t, err)
	require.Equal(t, map[string]int64{parked.Collection: 3, parked.Chunks: 3, parked.Refetched: 1}, deleted)

	deleted, err = parked.Delete(t.Context(), client, other)
	require.NoError(t, err)
	require.Equal(t, int64(3), deleted[parked.Collection], "another flow keeps its own")
}

func insert(t *testing.T, client *mongo.Client, collection string, document any) {
	t.Helper()

	_, err := client.Database(checkpoint.Database).Collection(collection).InsertOne(t.Context(), document)
	require.NoError(t, err)
}
