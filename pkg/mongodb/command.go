package mongodb

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// RunDurable runs a command that changes the catalog. It adds what the driver
// leaves out of raw commands: the majority write concern, without which an
// election may take back what was said to be done, and the context's deadline as
// maxTimeMS, without which the server goes on waiting for a lock after the
// caller has given up.
func RunDurable(ctx context.Context, db *mongo.Database, command bson.D) error {
	command = append(slices.Clip(command),
		bson.E{Key: "writeConcern", Value: bson.D{{Key: "w", Value: "majority"}}})

	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline).Milliseconds()
		if left <= 0 {
			return fmt.Errorf("%s on %s: %w", command[0].Key, db.Name(), context.DeadlineExceeded)
		}

		command = append(command, bson.E{Key: "maxTimeMS", Value: left})
	}

	if err := db.RunCommand(ctx, command).Err(); err != nil {
		return fmt.Errorf("%s on %s: %w", command[0].Key, db.Name(), err)
	}

	return nil
}
