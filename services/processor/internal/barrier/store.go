package barrier

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
)

// Slot is the name of a partition in Document.Arrived.
func Slot(partition int) string { return fmt.Sprintf("%02d", partition) }

// Load returns the flow's document, empty before anybody has arrived anywhere.
func Load(ctx context.Context, target *mongo.Client, flow string) (Document, error) {
	var d Document

	err := checkpoint.Barriers(target).FindOne(ctx, bson.D{{Key: "_id", Value: flow}}).Decode(&d)
	if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
		return Document{}, fmt.Errorf("read barriers of flow %s: %w", flow, err)
	}

	return d, nil
}

// LoadView reads a view of the flow in one request. It is empty, without checkpoints, before anybody has arrived
// anywhere; then nobody can pass or, where there are several partitions, run.
func LoadView(ctx context.Context, target *mongo.Client, flow string, partitions int) (View, error) {
	v := View{Partitions: partitions, Checkpoints: make(map[int]Checkpoint, partitions)}

	// The lookup of a document follows the reading of it.
	cursor, err := checkpoint.Barriers(target).Aggregate(ctx, mongo.Pipeline{
		{{Key: "$match", Value: bson.D{{Key: "_id", Value: flow}}}},
		{{Key: "$lookup", Value: bson.D{
			{Key: "from", Value: checkpoint.Collection},
			{Key: "localField", Value: "flow"},
			{Key: "foreignField", Value: "flow"},
			{Key: "as", Value: "checkpoints"},
		}}},
		{{Key: "$project", Value: bson.D{
			{Key: "flow", Value: 1},
			{Key: "arrived", Value: 1},
			{Key: "executing", Value: 1},
			{Key: "checkpoints.partition", Value: 1},
			{Key: "checkpoints.epoch", Value: 1},
			{Key: "checkpoints.commits", Value: 1},
			{Key: "checkpoints.place.position", Value: 1},
		}}},
	})
	if err != nil {
		return View{}, fmt.Errorf("read barriers of flow %s: %w", flow, err)
	}

	var found []struct {
		Document    `bson:",inline"`
		Checkpoints []checkpoint.Document `bson:"checkpoints"`
	}
	if err := cursor.All(ctx, &found); err != nil {
		return View{}, fmt.Errorf("read barriers of flow %s: %w", flow, err)
	}

	for i := range found {
		v.Document = found[i].Document

		for _, c := range found[i].Checkpoints {
			v.Checkpoints[c.Partition] = Checkpoint{Epoch: c.Epoch, Commits: c.Commits, Position: c.Position}
		}
	}

	return v, nil
}

// WriteArrivals writes the arrivals of lanes of a processor at once: when they arrive, and when Announce asks for it. An
// older owner's that overwrites a newer one's is seen in the next view, and repaired.
func WriteArrivals(ctx context.Context, target *mongo.Client, flow string, lanes []Lane) error {
	set := bson.D{{Key: "flow", Value: flow}}
	for i := range lanes {
		set = append(set, bson.E{Key: "arrived." + Slot(lanes[i].Partition), Value: lanes[i].arrival()})
	}

	_, err := checkpoint.Barriers(target).UpdateOne(ctx, bson.D{{Key: "_id", Value: flow}}, bson.D{{Key: "$set", Value: set}},
		options.UpdateOne().SetUpsert(true))
	if err != nil && !mongodb.IsDuplicateKey(err) { // made by another processor at the same moment: the next view tells
		return fmt.Errorf("write arrivals of flow %s: %w", flow, err)
	}

	return nil
}

// WriteExecution writes what Claim asked for, unless the document's Executing is not before any more; then nothing is
// written, and the next view tells why.
func WriteExecution(ctx context.Context, target *mongo.Client, flow string, before, after *Execution) error {
	filter := bson.D{{Key: "_id", Value: flow}}

	if before == nil {
		filter = append(filter, bson.E{Key: "executing", Value: bson.D{{Key: "$exists", Value: false}}})
	} else {
		filter = append(filter,
			bson.E{Key: "executing.epoch", Value: before.Epoch},
			bson.E{Key: "executing.at.position.t", Value: before.Position.T},
			bson.E{Key: "executing.at.position.i", Value: before.Position.I},
			bson.E{Key: "executing.at.position.ordinal", Value: before.Position.Ordinal})
	}

	update := bson.D{{Key: "$set", Value: bson.D{{Key: "flow", Value: flow}, {Key: "executing", Value: after}}}}

	// A flow of one partition has no arrivals, and so no document.
	_, err := checkpoint.Barriers(target).UpdateOne(ctx, filter, update, options.UpdateOne().SetUpsert(before == nil))
	if err != nil && !mongodb.IsDuplicateKey(err) {
		return fmt.Errorf("write execution of flow %s: %w", flow, err)
	}

	return nil
}
