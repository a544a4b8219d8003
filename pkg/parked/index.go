package parked

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// EnsureIndexes makes the indexes that owners and operators search by. Idempotent; everything works without them, slower.
func EnsureIndexes(ctx context.Context, target *mongo.Client) error {
	indexes := []struct {
		collection, name string // named here: the driver's name, of all fields, is too long for old servers
		fields           []string
	}{
		{Collection, "by_partition", []string{"flow", "partition", "state", "counted"}},
		// Counted and listed by. What filters ask for stands in it too, so that a record is read, with its event, only
		// when it is wanted.
		{Collection, "by_state_and_position", []string{
			"flow", "state", "position.t", "position.i", "position.ordinal", "_id", "db", "coll", "code", "changed", "reason", "collection_uuid",
		}},
		{Collection, "by_action", []string{"act", "state"}}, // progress is counted in it
		{Chunks, "by_record", []string{"record"}},
		{Refetched, "by_partition", []string{"flow", "partition"}},
	}

	for _, index := range indexes {
		var keys bson.D
		for _, field := range index.fields {
			keys = append(keys, bson.E{Key: field, Value: 1})
		}

		model := mongo.IndexModel{Keys: keys, Options: options.Index().SetName(index.name)}
		if _, err := majority(target).Collection(index.collection).Indexes().CreateOne(ctx, model); err != nil {
			return fmt.Errorf("create index %s of %s: %w", index.name, index.collection, err)
		}
	}

	return nil
}
