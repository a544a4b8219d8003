package apply_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
)

// TestTransactionOfAKilledOwnerIsEnded leaves a transaction open, as a process
// does that is killed with -9. Without an end to it the document stays locked
// for a minute.
func TestTransactionOfAKilledOwnerIsEnded(t *testing.T) {
	t.Parallel()

	db := mongotest.DB(t)
	coll := db.Collection("checkpoints")

	_, err := coll.InsertOne(t.Context(), bson.D{{Key: "_id", Value: 1}, {Key: "commits", Value: 0}})
	require.NoError(t, err)

	killed, err := apply.NewSession(db.Client())
	require.NoError(t, err)

	defer killed.EndSession(t.Context())

	require.NoError(t, killed.StartTransaction())

	raise := bson.D{{Key: "$inc", Value: bson.D{{Key: "commits", Value: 1}}}}
	_, err = coll.UpdateByID(mongo.NewSessionContext(t.Context(), killed), 1, raise)
	require.NoError(t, err)

	require.NoError(t, apply.EndTransactions(t.Context(), db.Client(), apply.SessionID(killed)))

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()

	_, err = coll.UpdateByID(ctx, 1, raise)
	require.NoError(t, err)
	require.Error(t, killed.CommitTransaction(t.Context()))

	var got struct{ Commits int }

	require.NoError(t, coll.FindOne(t.Context(), bson.D{{Key: "_id", Value: 1}}).Decode(&got))
	require.Equal(t, 1, got.Commits)
}

func TestNothingToEnd(t *testing.T) {
	t.Parallel()

	require.NoError(t, apply.EndTransactions(t.Context(), mongotest.DB(t).Client(), bson.Binary{}))
}
