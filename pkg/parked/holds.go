package parked

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// Holds tells whether a flow has records of a collection, in whatever state, or remembers documents, of whatever
// collection, that were read from the source again. An event that ends by such a reading while it is asked for is seen
// as the one or the other.
func Holds(ctx context.Context, target *mongo.Client, flow string, ns event.Namespace) (bool, error) {
	of := bson.E{Key: "flow", Value: flow}

	for _, look := range []struct {
		collection string
		filter     bson.D
	}{
		{Collection, bson.D{of, {Key: "db", Value: ns.DB}, {Key: "coll", Value: ns.Coll}}},
		{Refetched, bson.D{of}},
	} {
		err := majority(target).Collection(look.collection).
			FindOne(ctx, look.filter, options.FindOne().SetProjection(bson.D{{Key: "_id", Value: 1}})).Err()
		if err == nil {
			return true, nil
		}

		if !errors.Is(err, mongo.ErrNoDocuments) {
			return false, fmt.Errorf("look for parked events of %s: %w", ns, err)
		}
	}

	return false, nil
}
