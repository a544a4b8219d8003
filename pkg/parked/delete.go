package parked

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
)

// Delete removes what is parked of a flow, and returns how many documents that were, by collection.
func Delete(ctx context.Context, target *mongo.Client, flow string) (map[string]int64, error) {
	deleted := make(map[string]int64)

	for _, collection := range []string{Collection, Chunks, Refetched} {
		result, err := majority(target).Collection(collection).DeleteMany(ctx, bson.D{{Key: "flow", Value: flow}})
		if err != nil {
			return deleted, fmt.Errorf("delete %s of flow %s in %s: %w", collection, flow, checkpoint.Database, err)
		}

		deleted[collection] = result.DeletedCount
	}

	return deleted, nil
}
