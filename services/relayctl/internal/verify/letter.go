package verify

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

// letter is a change of a document that was set aside.
type letter struct {
	ID    string       `bson:"_id"`
	State parked.State `bson:"state"`
}

func (l *letter) cause() Cause {
	if l.State == parked.Waiting {
		return Parked
	}

	return DeadLetter
}

// findLetter returns the first change of the document that is not on the target because it was set aside; nil when there
// is none. A dead letter that was discarded is one too: the document keeps what the target has.
func findLetter(ctx context.Context, target *mongo.Client, flow string, partition int, key event.Key) (*letter, error) {
	filter := bson.D{
		{Key: "flow", Value: flow},
		{Key: "partition", Value: partition},
		{Key: "state", Value: bson.D{{Key: "$in", Value: bson.A{parked.Waiting, parked.Dead, parked.Discarded}}}},
		{Key: "key", Value: bson.Binary{Data: []byte(key)}},
	}
	first := options.FindOne().SetSort(bson.D{{Key: "_id", Value: 1}}).SetProjection(bson.D{{Key: "state", Value: 1}})

	found := new(letter)

	err := parked.Records(target).FindOne(ctx, filter, first).Decode(found)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, nil //nolint:nilnil // there is none, which is no error
	}

	if err != nil {
		return nil, fmt.Errorf("look for parked changes: %w", err)
	}

	return found, nil
}
