package load_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.uber.org/goleak"

	"github.com/atlas-relay/atlas-relay/e2e/chaos/load"
	"github.com/atlas-relay/atlas-relay/e2e/history"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 2 * time.Minute

// log keeps what the clients know.
type log struct {
	mu     sync.Mutex
	writes []history.Write
}

func (l *log) add(w history.Write) {
	l.mu.Lock()
	defer l.mu.Unlock()

	l.writes = append(l.writes, w)
}

// byDocument are the writes of each document, in the order of their versions.
func (l *log) byDocument() map[string][]history.Write {
	l.mu.Lock()
	defer l.mu.Unlock()

	all := map[string][]history.Write{}
	for _, w := range l.writes {
		all[w.Namespace+string(w.ID)] = append(all[w.Namespace+string(w.ID)], w)
	}

	for _, writes := range all {
		slices.SortFunc(writes, func(a, b history.Write) int { return int(a.Version - b.Version) })
	}

	return all
}

// start makes a load on a server of its own.
func start(t *testing.T, o load.Options) (*mongotest.Server, *mongo.Database, *load.Load, *log) {
	t.Helper()

	server := mongotest.New(t, mongotest.Options{SyncOnCommit: true})

	client, err := mongodb.Connect(server.URI(), mongodb.Options{AppName: "load test"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, mongodb.Disconnect(context.WithoutCancel(t.Context()), client)) })

	db := client.Database("load")
	require.NoError(t, load.Prepare(t.Context(), db))

	l := &log{}

	return server, db, load.New(db, l.add, o), l
}

// requireState compares the source with the log: a document has the version of its last write that is known to have
// happened, or of one behind it that nobody knows of.
func requireState(t *testing.T, db *mongo.Database, l *log) {
	t.Helper()

	for _, writes := range l.byDocument() {
		known := -1

		for i := range writes {
			if i > 0 {
				require.Greater(t, writes[i].Version, writes[i-1].Version, "a version is used once")
			}

			if writes[i].Result == history.OK {
				known = i
			}
		}

		_, coll, _ := strings.Cut(writes[0].Namespace, ".")
		if !slices.Contains(load.Collections(), coll) {
			continue // it may have been dropped or have another name
		}

		var found struct {
			Version int64 `bson:"v"`
		}

		err := db.Collection(coll).FindOne(t.Context(), bson.D{{Key: "_id", Value: bson.D{{Key: "$eq", Value: bson.Raw(writes[0].ID).Lookup("_id")}}}}).Decode(&found)
		if err != nil {
			require.ErrorIs(t, err, mongo.ErrNoDocuments)
		}

		possible := map[int64]bool{}

		for _, w := range writes[max(known, 0):] {
			if w.Deleted {
				w.Version = 0
			}

			possible[w.Version] = true
		}

		if known < 0 {
			possible[0] = true
		}

		require.Contains(t, slices.Collect(maps.Keys(possible)), found.Version, "%v", writes)
	}
}

func TestLoadWritesWhatItLogs(t *testing.T) {
	t.Parallel()

	_, db, l, log := start(t, load.Options{Seed: 1, Changes: 1200, Rate: 5000, Schema: true})

	require.NoError(t, l.Run(t.Context()))
	require.GreaterOrEqual(t, l.Changes()-l.SchemaChanges(), uint64(1200))
	require.Zero(t, l.Unknown())
	require.Positive(t, l.SchemaChanges())
	require.Len(t, log.writes, int(l.Changes()-l.SchemaChanges()))

	transactions := map[string]map[string]bool{}

	for _, w := range log.writes {
		if w.Transaction != "" {
			if transactions[w.Transaction] == nil {
				transactions[w.Transaction] = map[string]bool{}
			}

			transactions[w.Transaction][w.Namespace] = true
		}
	}

	require.NotEmpty(t, transactions)

	for _, namespaces := range transactions {
		require.Len(t, namespaces, 3)
	}

	requireState(t, db, log)
}

// TestLoadFindsOutAfterAKill: the source is killed amid writes; the load goes on, and its log allows what is there.
func TestLoadFindsOutAfterAKill(t *testing.T) {
	t.Parallel()

	server, db, l, log := start(t, load.Options{Seed: 2, Changes: 1500, Rate: 1000})
	done := make(chan error, 1)

	go func() { done <- l.Run(t.Context()) }()

	for _, at := range []uint64{300, 600, 900} {
		require.NoError(t, l.Await(t.Context(), at))
		require.NoError(t, server.Kill())
		require.NoError(t, server.Restart(t.Context()))
	}

	require.NoError(t, <-done)
	requireState(t, db, log)
	t.Logf("%d changes were never answered", l.Unknown())
}

// TestHold stops the load at a moment until it is released.
func TestHold(t *testing.T) {
	t.Parallel()

	_, _, l, _ := start(t, load.Options{Seed: 3, Changes: 1000, Rate: 2000, Writers: 2})
	l.Hold(400)

	done := make(chan error, 1)

	go func() { done <- l.Run(t.Context()) }()

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	require.NoError(t, l.Await(ctx, 400))

	// What was under way ends: two writers, each with a bulk or a transaction.
	short, stop := context.WithTimeout(t.Context(), 2*time.Second)
	defer stop()

	require.ErrorIs(t, l.Await(short, 500), context.DeadlineExceeded)

	l.Release()
	require.NoError(t, <-done)
}
