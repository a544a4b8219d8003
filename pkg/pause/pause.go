// Package pause is what a person wants of a flow beside replicating: that its target is left alone for a while.
//
// It is kept in the target, one document per flow in atlas_relay.flows: whoever writes to the target reads it there, so a
// pause outlives every service, the stream and the buckets. A flow that was never paused has no document.
package pause

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
)

// Collection is where the documents are, in checkpoint.Database of the target.
const Collection = "flows"

// Pause is who stopped the writes to the target.
type Pause struct {
	By     string    `bson:"by"`
	Reason string    `bson:"reason,omitempty"` // in his words
	Since  time.Time `bson:"since"`            // by the writer's clock
}

// String is the pause for people.
func (p *Pause) String() string {
	text := "paused by " + p.By + " since " + p.Since.UTC().Format(time.RFC3339)
	if p.Reason != "" {
		text += ": " + p.Reason
	}

	return text
}

// Is tells whether both are the same pause, or none.
func (p *Pause) Is(other *Pause) bool {
	if p == nil || other == nil {
		return p == other
	}

	return p.By == other.By && p.Reason == other.Reason && p.Since.Equal(other.Since)
}

// Document is what the target holds of one flow.
type Document struct {
	Flow  string `bson:"_id"`
	Pause *Pause `bson:"pause,omitempty"` // nil while the flow runs
}

// Load returns the document of a flow; one that runs may have none in the target.
func Load(ctx context.Context, target *mongo.Client, flow string) (Document, error) {
	d := Document{Flow: flow}

	err := flows(target).FindOne(ctx, bson.D{{Key: "_id", Value: flow}}).Decode(&d)
	if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
		return Document{}, fmt.Errorf("read whether the flow is paused, document %s of %s.%s: %w", flow, checkpoint.Database, Collection, err)
	}

	return d, nil
}

// attempts bounds Begin: each one is undone only by somebody who pauses or resumes the flow at the same moment.
const attempts = 10

// Begin pauses a flow and returns what holds then. One that is paused already stays so: changed is false.
func Begin(ctx context.Context, target *mongo.Client, flow string, p Pause) (d Document, changed bool, err error) {
	p.Since = p.Since.UTC().Truncate(time.Millisecond) // as it will be read

	for range attempts {
		result, err := flows(target).UpdateOne(ctx,
			bson.D{{Key: "_id", Value: flow}, {Key: "pause", Value: nil}},
			bson.D{{Key: "$set", Value: bson.D{{Key: "pause", Value: p}}}})
		if err == nil && result.MatchedCount == 0 {
			_, err = flows(target).InsertOne(ctx, Document{Flow: flow, Pause: &p})
		}

		switch {
		case err == nil:
			return Document{Flow: flow, Pause: &p}, true, nil
		case !mongo.IsDuplicateKeyError(err):
			return Document{}, false, fmt.Errorf("pause flow %s: %w", flow, err)
		}

		if d, err = Load(ctx, target, flow); err != nil || d.Pause != nil {
			return d, false, err
		}
	}

	return Document{}, false, fmt.Errorf("pause flow %s: somebody else pauses and resumes it all the time", flow)
}

// End lets a flow go on. One that is not paused stays as it is: changed is false.
func End(ctx context.Context, target *mongo.Client, flow string) (changed bool, err error) {
	result, err := flows(target).UpdateOne(ctx,
		bson.D{{Key: "_id", Value: flow}, {Key: "pause", Value: bson.D{{Key: "$ne", Value: nil}}}},
		bson.D{{Key: "$unset", Value: bson.D{{Key: "pause", Value: ""}}}})
	if err != nil {
		return false, fmt.Errorf("resume flow %s: %w", flow, err)
	}

	return result.MatchedCount > 0, nil
}

// Delete forgets a flow, and returns how many documents that were, by collection.
func Delete(ctx context.Context, target *mongo.Client, flow string) (map[string]int64, error) {
	result, err := flows(target).DeleteOne(ctx, bson.D{{Key: "_id", Value: flow}})
	if err != nil {
		return nil, fmt.Errorf("delete whether flow %s is paused in %s.%s: %w", flow, checkpoint.Database, Collection, err)
	}

	return map[string]int64{Collection: result.DeletedCount}, nil
}

func flows(target *mongo.Client) *mongo.Collection {
	return target.Database(checkpoint.Database, options.Database().
		SetReadConcern(readconcern.Majority()).
		SetWriteConcern(writeconcern.Majority()).
		SetReadPreference(readpref.Primary())).Collection(Collection)
}
