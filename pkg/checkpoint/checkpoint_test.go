package checkpoint_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.uber.org/goleak"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(mongotest.Main(m)) }

// flow returns a flow of the test's own: all flows of a target share a database.
func flow(t *testing.T) (*mongo.Client, string) {
	t.Helper()

	return mongotest.Shared(t).Client(t), "checkpoint-test-" + strconv.FormatInt(time.Now().UnixNano(), 36)
}

func document(flow string, partition int) checkpoint.Document {
	return checkpoint.Document{
		ID: checkpoint.ID(flow, partition), Flow: flow, Partition: partition,
		Epoch: 3, Owner: -42, Commits: 7,
		Place: checkpoint.Place{
			StreamID: "s", Generation: 1, Sequence: 1 << 40, Event: 9, Count: 5,
			ResumeToken: bson.Raw{5, 0, 0, 0, 0}, Position: event.Position{T: 1<<32 - 1, I: 2, Ordinal: 3},
		},
		Counters: checkpoint.Counters{Processed: 4, Failed: 1, Skipped: 2, Batches: 3},
	}
}

func TestDocumentsComeBackAsTheyWere(t *testing.T) {
	t.Parallel()

	client, name := flow(t)
	_, other := flow(t)

	for _, d := range []checkpoint.Document{document(name, 0), document(name, 11), document(other, 0)} {
		_, err := checkpoint.Checkpoints(client).InsertOne(t.Context(), d)
		require.NoError(t, err)
	}

	all, err := checkpoint.Load(t.Context(), client, name)
	require.NoError(t, err)
	require.Equal(t, map[int]checkpoint.Document{0: document(name, 0), 11: document(name, 11)}, all)

	one, ok, err := checkpoint.LoadOne(t.Context(), client, name, 11)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, document(name, 11), one)

	_, ok, err = checkpoint.LoadOne(t.Context(), client, name, 1)
	require.NoError(t, err)
	require.False(t, ok)

	deleted, err := checkpoint.Delete(t.Context(), client, name)
	require.NoError(t, err)
	require.Equal(t, map[string]int64{checkpoint.Collection: 2, checkpoint.Unsupported: 0, checkpoint.BarriersCollection: 0}, deleted)

	all, err = checkpoint.Load(t.Context(), client, other)
	require.NoError(t, err)
	require.Len(t, all, 1, "another flow keeps its own")
}

// TestStoredForm pins the names in the target: a guard or an operator's query
// that misses one matches nothing.
func TestStoredForm(t *testing.T) {
	t.Parallel()

	client, name := flow(t)
	_, err := checkpoint.Checkpoints(client).InsertOne(t.Context(), document(name, 2))
	require.NoError(t, err)

	raw, err := client.Database("atlas_relay").Collection("checkpoints").FindOne(t.Context(), bson.D{
		{Key: "_id", Value: name + "/02"},
		{Key: "epoch", Value: 3},
		{Key: "owner", Value: -42},
		{Key: "commits", Value: 7},
		{Key: "place.sequence", Value: int64(1) << 40},
		{Key: "place.stream_id", Value: "s"},
		{Key: "counters.skipped", Value: 2},
	}).Raw()
	require.NoError(t, err)
	require.Equal(t, bson.TypeInt64, raw.Lookup("place", "sequence").Type)
	require.Equal(t, bson.TypeEmbeddedDocument, raw.Lookup("place", "resume_token").Type)
}

func TestUnsupportedEventsOfAFlow(t *testing.T) {
	t.Parallel()

	client, name := flow(t)
	ns := event.Namespace{DB: "shop", Coll: "orders"}
	want := checkpoint.UnsupportedDocument{
		ID: checkpoint.UnsupportedID(name, ns, "drop"), Flow: name, DB: "shop", Coll: "orders", Operation: "drop",
		Events: 2, Diverges: true, First: event.Position{T: 1}, Last: event.Position{T: 2},
	}

	_, err := client.Database(checkpoint.Database).Collection(checkpoint.Unsupported).InsertOne(t.Context(), want)
	require.NoError(t, err)

	got, err := checkpoint.LoadUnsupported(t.Context(), client, name)
	require.NoError(t, err)
	require.Equal(t, []checkpoint.UnsupportedDocument{want}, got)

	require.NotEqual(t, want.ID, checkpoint.UnsupportedID(name, ns, "rename"))
	require.NotEqual(t, want.ID, checkpoint.UnsupportedID(name, event.Namespace{DB: "shop"}, "drop"))

	deleted, err := checkpoint.Delete(t.Context(), client, name)
	require.NoError(t, err)
	require.Equal(t, int64(1), deleted[checkpoint.Unsupported])
}

func TestPlaceNamesItsMessage(t *testing.T) {
	t.Parallel()

	m := event.Message{
		StreamID: "s", Generation: 1, Event: 9, Count: 5, Position: event.Position{T: 3}, ResumeToken: bson.Raw{5, 0, 0, 0, 0},
	}
	place := checkpoint.PlaceOf(&m, 20)
	require.True(t, place.Names(&m))
	require.Equal(t, uint64(20), place.StreamSequence())
	require.Equal(t, uint64(1), place.StreamGeneration())
	require.Equal(t, uint64(5), place.LastCount())

	for name, change := range map[string]func(*event.Message){
		"stream":     func(m *event.Message) { m.StreamID = "t" },
		"generation": func(m *event.Message) { m.Generation = 2 },
		"event":      func(m *event.Message) { m.Event = 10 },
		"position":   func(m *event.Message) { m.Position.Ordinal = 1 },
	} {
		other := m
		change(&other)
		require.False(t, place.Names(&other), name)
	}

	m.ResumeToken[0] = 99
	require.Equal(t, byte(5), place.ResumeToken[0], "it copies what it keeps")
}

// TestAcceptedEventsAreThoseOfThen: what differs later has to be accepted again.
func TestAcceptedEventsAreThoseOfThen(t *testing.T) {
	t.Parallel()

	d := checkpoint.UnsupportedDocument{Events: 2, Diverges: true}
	require.Equal(t, int64(2), d.Unaccepted())

	d.AcceptedEvents = 2
	require.Zero(t, d.Unaccepted())

	d.Events = 5
	require.Equal(t, int64(3), d.Unaccepted())

	d.Diverges = false
	require.Zero(t, d.Unaccepted(), "the target does not differ by it")
}
