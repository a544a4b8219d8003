package parked

import (
	"context"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// dropTogether is how many records one write lets go of their events.
const dropTogether = 500

// ended is the condition of the states that nobody changes any more.
func ended() bson.E {
	return bson.E{Key: "state", Value: bson.D{{Key: "$in", Value: bson.A{Superseded, Discarded, Replayed, Replaced}}}}
}

// DropEnded lets go of the events of a flow's records that ended before a time, and returns of how many. The records
// stay. It needs no ownership: what has ended is nobody's.
func DropEnded(ctx context.Context, target *mongo.Client, flow string, before, now time.Time) (dropped int, err error) {
	has := func(field string) bson.D { return bson.D{{Key: field, Value: bson.D{{Key: "$exists", Value: true}}}} }

	var ids bson.A

	drop := func() error {
		if len(ids) == 0 {
			return nil
		}

		if err := dropEvents(ctx, target, ids, now); err != nil {
			return err
		}

		dropped += len(ids)
		ids = nil

		return nil
	}

	err = each(ctx, target, bson.D{
		{Key: "flow", Value: flow},
		ended(),
		{Key: "changed", Value: bson.D{{Key: "$lt", Value: before}}},
		{Key: "$or", Value: bson.A{has("event"), has("chunks")}},
	}, bson.D{{Key: "_id", Value: 1}}, func(r *Record) error {
		if ids = append(ids, r.ID); len(ids) < dropTogether {
			return nil
		}

		return drop()
	})
	if err == nil {
		err = drop()
	}

	return dropped, err
}

// dropEvents takes the events of ended records away. The chunks go first: what is interrupted is found again.
func dropEvents(ctx context.Context, target *mongo.Client, ids bson.A, now time.Time) error {
	if _, err := majority(target).Collection(Chunks).DeleteMany(ctx, bson.D{{Key: "record", Value: bson.D{{Key: "$in", Value: ids}}}}); err != nil {
		return fmt.Errorf("delete chunks of records that ended: %w", err)
	}

	_, err := Records(target).UpdateMany(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}, ended()}, bson.D{
		{Key: "$inc", Value: bson.D{{Key: "rev", Value: int64(1)}}},
		{Key: "$set", Value: bson.D{{Key: "dropped", Value: now}}},
		{Key: "$unset", Value: bson.D{{Key: "event", Value: ""}, {Key: "chunks", Value: ""}}},
	})
	if err != nil {
		return fmt.Errorf("drop the events of records that ended: %w", err)
	}

	return nil
}
