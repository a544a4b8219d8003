package live

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/e2e/history/record"
	"github.com/atlas-relay/atlas-relay/e2e/verify"
)

// Definitions compares what two databases say of their collections, views and indexes, and returns what differs; see
// verify.Definitions.
func Definitions(ctx context.Context, source, target *mongo.Database) ([]string, error) {
	left, err := record.Definitions(ctx, source)
	if err != nil {
		return nil, err
	}

	right, err := record.Definitions(ctx, target)
	if err != nil {
		return nil, err
	}

	return verify.Definitions(left, right), nil
}
