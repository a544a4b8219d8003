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

// DeleteIntended forgets the records of a partition that never came to be, with their chunks.
func DeleteIntended(ctx context.Context, target *mongo.Client, flow string, partition int) error {
	var ids bson.A

	err := each(ctx, target, bson.D{{Key: "flow", Value: flow}, {Key: "partition", Value: partition}, {Key: "state", Value: Intended}},
		bson.D{{Key: "_id", Value: 1}}, func(r *Record) error {
			ids = append(ids, r.ID)

			return nil
		})
	if err != nil || len(ids) == 0 {
		return err
	}

	if _, err := majority(target).Collection(Chunks).DeleteMany(ctx, bson.D{{Key: "record", Value: bson.D{{Key: "$in", Value: ids}}}}); err != nil {
		return fmt.Errorf("delete chunks of records that never came to be: %w", err)
	}

	_, err = Records(target).DeleteMany(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}, {Key: "state", Value: Intended}})
	if err != nil {
		return fmt.Errorf("delete records that never came to be: %w", err)
	}

	return nil
}
