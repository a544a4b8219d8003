package traffic_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.uber.org/goleak"

	"github.com/atlas-relay/atlas-relay/e2e/history"
	"github.com/atlas-relay/atlas-relay/e2e/traffic"
	"github.com/atlas-relay/atlas-relay/e2e/verify/live"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(mongotest.Main(m)) }

// TestTrafficKeepsItsOwnPromises watches the source itself: what holds there must hold on the target.
func TestTrafficKeepsItsOwnPromises(t *testing.T) {
	t.Parallel()

	db := mongotest.DB(t)

	const enough = 1000 // however slow the machine is

	var (
		told atomic.Uint64
		end  = make(chan struct{})
	)

	writes := traffic.New(db, traffic.Options{Seed: 1, Told: func(w history.Write) {
		_, err := bson.Raw(w.ID).LookupErr("_id")
		if err == nil && w.Result == history.OK && w.Version > 0 && strings.HasPrefix(w.Namespace, db.Name()+".") {
			if told.Add(1) == enough {
				close(end)
			}
		}
	}})
	require.NoError(t, writes.Prepare(t.Context()))

	journal := writes.Journal()
	order, err := live.NewOrder(t.Context(), db, journal.Seen)
	require.NoError(t, err)

	recorded := make(chan error, 1)

	go func() { recorded <- order.Run(t.Context()) }()

	require.NoError(t, writes.RunUntil(t.Context(), end))
	require.NoError(t, order.Finish(t.Context()))
	require.NoError(t, <-recorded)

	events, err := order.Verdict()
	require.NoError(t, err)
	require.Equal(t, journal.Changes(), uint64(events), "every acknowledged change is one event")
	require.Equal(t, journal.Changes(), told.Load(), "and is told, once")
	require.GreaterOrEqual(t, events, enough)

	latency := journal.Latency()
	require.Equal(t, events, latency.Changes, "every change was seen")
	require.LessOrEqual(t, latency.P50, latency.P99)
	require.LessOrEqual(t, latency.P99, latency.Max)

	// All kinds of operations and of _ids took part.
	kinds, err := db.Collection("orders").Distinct(t.Context(), "_id", bson.D{}).Raw()
	require.NoError(t, err)

	values, err := kinds.Values()
	require.NoError(t, err)

	types := map[bson.Type]bool{}
	for _, value := range values {
		types[value.Type] = true
	}

	require.Len(t, types, 9)
}

func TestRateIsKept(t *testing.T) {
	t.Parallel()

	const rate = 200

	db := mongotest.DB(t)
	writes := traffic.New(db, traffic.Options{Seed: 2, Rate: rate})
	require.NoError(t, writes.Prepare(t.Context()))
	require.NoError(t, writes.Run(t.Context(), 2*time.Second))

	changes := writes.Journal().Changes()
	require.LessOrEqual(t, changes, uint64(2*rate+rate/4), "never faster than asked for")
	require.Positive(t, changes, "a busy machine may be slower")
}

// TestSchemaWriterKeepsItsOwnPromises counts what the source tells.
func TestSchemaWriterKeepsItsOwnPromises(t *testing.T) {
	t.Parallel()

	db := mongotest.DB(t)
	writes := traffic.New(db, traffic.Options{Seed: 3, Rate: 1, Schema: 1000})
	require.NoError(t, writes.Prepare(t.Context()))

	told, err := db.Watch(t.Context(), mongo.Pipeline{}, options.ChangeStream().SetShowExpandedEvents(true))
	require.NoError(t, err)

	defer func() { require.NoError(t, told.Close(t.Context())) }()

	// A stand-in that is busy tells a stream of what was just before it, too: the collections that Prepare made.
	require.NoError(t, db.CreateCollection(t.Context(), "begin"))

	for began := false; !began; {
		require.True(t, told.Next(t.Context()), "%v", told.Err())

		began = told.Current.Lookup("ns", "coll").StringValue() == "begin"
	}

	order, err := live.NewOrder(t.Context(), db, writes.Journal().Seen)
	require.NoError(t, err)

	recorded := make(chan error, 1)

	go func() { recorded <- order.Run(t.Context()) }()

	require.NoError(t, writes.Run(t.Context(), 3*time.Second))

	changes := writes.Journal().Changes()

	kinds := map[string]uint64{}
	for n := uint64(0); n < changes && told.Next(t.Context()); n++ {
		kinds[told.Current.Lookup("operationType").StringValue()]++
	}

	require.NoError(t, told.Err())
	require.NoError(t, order.Finish(t.Context()))
	require.NoError(t, <-recorded)
	require.True(t, told.Next(t.Context()), "%v", told.Err())
	require.Equal(t, "create", told.Current.Lookup("operationType").StringValue(), "of what ends the recording: every acknowledged change is one event")

	_, err = order.Verdict()
	require.NoError(t, err)

	for _, kind := range []string{"create", "drop", "rename", "createIndexes", "dropIndexes", "modify", "insert", "update"} {
		require.Positive(t, kinds[kind], "%s of %v", kind, kinds)
	}
}

// TestTrafficIsBounded: however long it lasts, it has no more documents than it may have.
func TestTrafficIsBounded(t *testing.T) {
	t.Parallel()

	const most, writers = 5, 2

	collections := traffic.Options{}.Collections()
	bound := 2 * most * writers * len(collections)

	var (
		mu     sync.Mutex
		seen   = map[string]bool{}
		writes int
		end    = make(chan struct{})
	)

	db := mongotest.DB(t)
	source := traffic.New(db, traffic.Options{Seed: 1, Writers: writers, Most: most, Told: func(w history.Write) {
		mu.Lock()
		defer mu.Unlock()

		seen[w.Namespace+string(w.ID)] = true

		if writes++; writes == 10*bound { // long enough, however slow the machine is
			close(end)
		}
	}})
	require.NoError(t, source.Prepare(t.Context()))
	require.NoError(t, source.RunUntil(t.Context(), end))
	require.LessOrEqual(t, len(seen), bound, "deleted documents come back")

	for _, name := range collections {
		n, err := db.Collection(name).CountDocuments(t.Context(), bson.D{})
		require.NoError(t, err)
		require.LessOrEqual(t, n, int64(2*most*writers), "some of them may have come back just now")
	}
}
