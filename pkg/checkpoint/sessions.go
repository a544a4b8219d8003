package checkpoint

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Sessions is the collection of the sessions that processors' transactions run or
// ran in. A listener of another flow, for which this target is the source, knows
// by them whose a transaction is when it has not seen its beginning.
//
// It outlives the flow (Delete leaves it): other listeners may be behind.
const Sessions = "sessions"

// mostSessions is how many ownerships of a partition are remembered, the latest:
// about 20 KiB. An older one matters only to a listener that was away for as many.
const mostSessions = 500

// RememberSession adds the session of a new ownership. It has to be stored before
// the first transaction of the session begins.
func RememberSession(ctx context.Context, target *mongo.Client, flow string, partition int, session bson.Binary) error {
	last := bson.D{{Key: "$each", Value: bson.A{session}}, {Key: "$slice", Value: -mostSessions}}

	_, err := majority(target).Collection(Sessions).UpdateOne(ctx,
		bson.D{{Key: "_id", Value: ID(flow, partition)}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "flow", Value: flow}}}, {Key: "$push", Value: bson.D{{Key: "sessions", Value: last}}}},
		options.UpdateOne().SetUpsert(true))
	if err != nil {
		return fmt.Errorf("remember the session in %s.%s: %w", Database, Sessions, err)
	}

	return nil
}

// LoadSessions returns the flow of each session of these flows, by the bytes of
// the session's id. The client is of their target.
func LoadSessions(ctx context.Context, target *mongo.Client, flows []string) (map[string]string, error) {
	cursor, err := majority(target).Collection(Sessions).Find(ctx, bson.D{{Key: "flow", Value: bson.D{{Key: "$in", Value: flows}}}})
	if err != nil {
		return nil, fmt.Errorf("read %s.%s: %w", Database, Sessions, err)
	}

	var documents []struct {
		Flow     string        `bson:"flow"`
		Sessions []bson.Binary `bson:"sessions"`
	}
	if err := cursor.All(ctx, &documents); err != nil {
		return nil, fmt.Errorf("read %s.%s: %w", Database, Sessions, err)
	}

	flowOf := make(map[string]string)

	for _, d := range documents {
		for _, session := range d.Sessions {
			flowOf[string(session.Data)] = d.Flow
		}
	}

	return flowOf, nil
}
