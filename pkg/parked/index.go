package parked

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// EnsureIndexes makes the index that records are counted and listed by. What filters ask for stands in it, so that a
// record is read, with its event, only when it is wanted. Idempotent; everything works without it, slower.
func EnsureIndexes(ctx context.Context, target *mongo.Client) error {
	var keys bson.D
	for _, field := range []string{
		"flow", "state", "position.t", "position.i", "position.ordinal", "_id", "db", "coll", "code", "changed", "reason",
		"collection_uuid",
	} {
		keys = append(keys, bson.E{Key: field, Value: 1})
	}

	// The driver's defaults name an index by its fields, which is too long for old servers.
	model := mongo.IndexModel{Keys: keys, Options: options.Index().SetName("by_state_and_position")}
	if _, err := Records(target).Indexes().CreateOne(ctx, model); err != nil {
		return fmt.Errorf("create the index of parked records: %w", err)
	}

	return nil
}
