package live_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/e2e/verify/live"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

const patience = 30 * time.Second

func TestOrderSeesWhatARelayMustNotDo(t *testing.T) {
	t.Parallel()

	set := func(t *testing.T, coll *mongo.Collection, id, version int64) {
		t.Helper()

		_, err := coll.UpdateOne(t.Context(), bson.D{{Key: "_id", Value: id}},
			bson.D{{Key: "$set", Value: bson.D{{Key: "v", Value: version}, {Key: "at", Value: bson.NewObjectID()}}}})
		require.NoError(t, err)
	}
	insert := func(t *testing.T, coll *mongo.Collection, id, version int64) {
		t.Helper()

		_, err := coll.InsertOne(t.Context(), bson.D{{Key: "_id", Value: id}, {Key: "v", Value: version}})
		require.NoError(t, err)
	}
	remove := func(t *testing.T, coll *mongo.Collection, id int64) {
		t.Helper()

		_, err := coll.DeleteOne(t.Context(), bson.D{{Key: "_id", Value: id}})
		require.NoError(t, err)
	}

	tests := map[string]struct {
		writes func(*testing.T, *mongo.Collection)
		says   string
	}{
		"growing": {writes: func(t *testing.T, coll *mongo.Collection) {
			t.Helper()
			insert(t, coll, 1, 1)
			insert(t, coll, 2, 1)
			set(t, coll, 1, 2)
			remove(t, coll, 1)
			insert(t, coll, 1, 4)
		}},
		"superseded": {writes: func(t *testing.T, coll *mongo.Collection) {
			t.Helper()
			insert(t, coll, 1, 3)
			set(t, coll, 1, 9)
		}},
		"a write comes back": {says: "version 2 after version 3", writes: func(t *testing.T, coll *mongo.Collection) {
			t.Helper()
			insert(t, coll, 1, 1)
			set(t, coll, 1, 3)
			set(t, coll, 1, 2)
		}},
		"a write twice": {says: "after version 2", writes: func(t *testing.T, coll *mongo.Collection) {
			t.Helper()
			insert(t, coll, 1, 2)
			set(t, coll, 1, 2)
		}},
		"an old insert after a delete": {says: "version 1 after version 1", writes: func(t *testing.T, coll *mongo.Collection) {
			t.Helper()
			insert(t, coll, 1, 1)
			remove(t, coll, 1)
			insert(t, coll, 1, 1)
		}},
	}

	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			db := mongotest.DB(t)
			order, err := live.NewOrder(t.Context(), db, nil)
			require.NoError(t, err)

			test.writes(t, db.Collection("c"))

			require.NoError(t, order.Finish(t.Context()))
			require.NoError(t, order.Run(t.Context()))

			_, err = order.Verdict()
			if test.says == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, test.says)
			}
		})
	}
}

// TestOrderOutlivesARestartOfTheTarget: the recording goes on where it was.
func TestOrderOutlivesARestartOfTheTarget(t *testing.T) {
	t.Parallel()

	server := mongotest.New(t, mongotest.Options{SyncOnCommit: true})
	db := server.DB(t)

	order, err := live.NewOrder(t.Context(), db, nil)
	require.NoError(t, err)

	recorded := make(chan error, 1)

	go func() { recorded <- order.Run(t.Context()) }()

	write := func(version int64) {
		_, err := db.Collection("c").InsertOne(t.Context(), bson.D{{Key: "_id", Value: version}, {Key: "v", Value: version}})
		require.NoError(t, err)
	}

	write(1)
	require.Eventually(t, func() bool {
		events, _ := order.Verdict()

		return events == 1
	}, patience, 10*time.Millisecond)

	require.NoError(t, server.Kill())
	require.NoError(t, server.Restart(t.Context()))
	write(2)
	require.NoError(t, order.Finish(t.Context()))
	require.NoError(t, <-recorded)

	events, err := order.Verdict()
	require.NoError(t, err)
	require.Equal(t, 2, events)
}

func TestCounters(t *testing.T) {
	t.Parallel()

	sample := func(total, processed, failed, skipped, pending uint64) *relayv1.Stats {
		fine := total == processed+failed+skipped+pending

		return &relayv1.Stats{
			TotalChanges: &total, ProcessedChanges: &processed, FailedChanges: &failed, SkippedChanges: &skipped,
			PendingChanges: &pending, Consistent: true, AddsUp: &fine,
		}
	}

	require.NoError(t, live.Counters(sample(10, 8, 0, 2, 0), 8, 0))
	require.ErrorContains(t, live.Counters(sample(10, 7, 0, 2, 0), 8, 0), "is not processed")
	require.ErrorContains(t, live.Counters(sample(10, 8, 0, 2, 0), 9, 0), "acknowledged 9")
	require.ErrorContains(t, live.Counters(sample(10, 7, 1, 2, 0), 8, 0), "1 changes failed")

	moving := sample(10, 8, 0, 2, 0)
	moving.Consistent, moving.AddsUp = false, nil
	require.ErrorContains(t, live.Counters(moving, 8, 0), "not consistent")
}
