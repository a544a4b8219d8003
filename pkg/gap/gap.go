// Package gap is what the target remembers, for ever, of changes that were not
// captured: an operator has accepted that the source no longer has them.
//
// A gap is recorded before the flow goes on behind it, so that a crash between
// the two leaves a record that the next run finishes, never a gap that nobody
// knows of. Neither flow delete nor anything else removes a record.
package gap

import (
	"context"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// Collection is where the records are, in checkpoint.Database of the target.
const Collection = "gaps"

// State is how far the acceptance of a gap has come.
type State string

// A gap is Open once it is recorded, and Closed once the stream goes on behind
// it. It is Withdrawn when the flow turned out to go on without it: nothing is
// missing then.
const (
	Open      State = "open"
	Closed    State = "closed"
	Withdrawn State = "withdrawn"
)

// Edge is one side of a gap.
type Edge struct {
	Position    event.Position `bson:"position"`
	ResumeToken bson.Raw       `bson:"resume_token"`
}

// Acceptance is who took a difference upon himself, when and why.
type Acceptance struct {
	By     string    `bson:"by"` // user@host
	Reason string    `bson:"reason"`
	At     time.Time `bson:"at"`
}

// Document is the record of one gap. Numbers are signed because BSON has no
// other; none is ever negative.
type Document struct {
	ID   string `bson:"_id"` // see ID
	Flow string `bson:"flow"`

	StreamID string `bson:"stream_id"` // of the stream that ends before the gap
	Sequence int64  `bson:"sequence"`  // of the last message before the gap
	Event    int64  `bson:"event"`     // events counted before the gap
	Skipped  int64  `bson:"skipped"`   // how many of them were skipped

	// ReplacedBy is the id of the stream that goes on behind the gap, where the one
	// before it is gone; empty where the stream itself goes on. Sequence is then
	// the highest that a checkpoint names, Event and Skipped are what the
	// checkpoints have settled, and From is where the lowest one stands: what was
	// behind is known to nobody.
	ReplacedBy string `bson:"replaced_by,omitempty"`
	// Replaces are the ids that checkpoints hold: StreamID, and perhaps earlier ones.
	Replaces []string `bson:"replaces,omitempty"`
	// Partitions of both streams; 0 unless ReplacedBy is set.
	Partitions int `bson:"partitions,omitempty"`
	// Lost is how many events at least were in the stream that is gone and are
	// applied nowhere. More are possible: only checkpoints tell of it. Where the
	// partitions pass over a hole it is what was captured and not applied.
	Lost int64 `bson:"lost,omitempty"`

	// Generation is the one that begins behind the gap, where the stream had a hole
	// and the partitions pass over it; 0 otherwise. Event and Skipped are then what
	// the checkpoints have settled, and From is where the lowest one stands.
	Generation int64 `bson:"generation,omitempty"`

	From Edge `bson:"from"` // of the last message before the gap
	To   Edge `bson:"to"`   // where the source is read on from

	State     State      `bson:"state"`
	Requested Acceptance `bson:"requested"` // who had the flow go on behind the gap
	// Divergence is set once somebody has accepted that the target may differ
	// because of the gap; nil until then.
	Divergence *Acceptance `bson:"divergence,omitempty"`
}

// Counts tells whether changes are missing because of the gap.
func (d *Document) Counts() bool { return d.State != Withdrawn }

// Diverges tells whether the target may differ because of the gap and nobody
// has accepted that.
func (d *Document) Diverges() bool { return d.Counts() && d.Divergence == nil }

// ID returns the _id of the gap behind a message: there can be only one, so
// whoever accepts it twice records it once.
func ID(flow, streamID string, sequence uint64) string {
	return fmt.Sprintf("%s/%s/%d", flow, streamID, sequence)
}

// HoleID returns the _id of the gap by which the partitions pass over a hole, behind
// this message: in a stream that was set back another one may have its sequence, of a
// later generation. withdrawn is as of EndID.
func HoleID(flow, streamID string, sequence, generation uint64, withdrawn int) string {
	id := fmt.Sprintf("%s/%s/%d/hole.%d", flow, streamID, sequence, generation)
	if withdrawn > 0 {
		id += fmt.Sprintf(".%d", withdrawn+1)
	}

	return id
}

// EndID returns the _id of the gap that a stream leaves that is gone. withdrawn is
// how many such records turned out to be wrong before, because the stream came back.
func EndID(flow, streamID string, withdrawn int) string {
	if withdrawn == 0 {
		return fmt.Sprintf("%s/%s/end", flow, streamID)
	}

	return fmt.Sprintf("%s/%s/end.%d", flow, streamID, withdrawn+1)
}

// Gaps returns the collection, read and written with majority.
func Gaps(target *mongo.Client) *mongo.Collection {
	return target.Database(checkpoint.Database, options.Database().
		SetReadConcern(readconcern.Majority()).
		SetWriteConcern(writeconcern.Majority()).
		SetReadPreference(readpref.Primary())).Collection(Collection)
}

// Load returns all gaps of a flow, the oldest first.
func Load(ctx context.Context, target *mongo.Client, flow string) ([]Document, error) {
	order := options.Find().SetSort(bson.D{{Key: "requested.at", Value: 1}, {Key: "_id", Value: 1}})

	return find(ctx, target, flow, bson.D{{Key: "flow", Value: flow}}, order)
}

// Record writes a new gap. It returns the record that is there now, which is
// another one when somebody was faster.
func Record(ctx context.Context, target *mongo.Client, d *Document) (Document, error) {
	_, err := Gaps(target).InsertOne(ctx, d)
	if err != nil && !mongo.IsDuplicateKeyError(err) {
		return Document{}, fmt.Errorf("record gap %s: %w", d.ID, err)
	}

	var recorded Document
	if err := Gaps(target).FindOne(ctx, bson.D{{Key: "_id", Value: d.ID}}).Decode(&recorded); err != nil {
		return Document{}, fmt.Errorf("read gap %s: %w", d.ID, err)
	}

	return recorded, nil
}

// Finish gives an open gap its last state. One that has it already is no error.
func Finish(ctx context.Context, target *mongo.Client, id string, state State) error {
	_, err := Gaps(target).UpdateOne(ctx,
		bson.D{{Key: "_id", Value: id}, {Key: "state", Value: Open}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "state", Value: state}}}})
	if err != nil {
		return fmt.Errorf("finish gap %s: %w", id, err)
	}

	return nil
}

// Accept takes note that the target may differ because of the gap. A gap that
// was accepted before keeps what was said then.
func Accept(ctx context.Context, target *mongo.Client, id string, a Acceptance) error {
	_, err := Gaps(target).UpdateOne(ctx,
		bson.D{{Key: "_id", Value: id}, {Key: "divergence", Value: nil}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "divergence", Value: a}}}})
	if err != nil {
		return fmt.Errorf("accept the divergence of gap %s: %w", id, err)
	}

	return nil
}

// Page returns at most so many gaps of a flow, the oldest first, behind the one
// that was requested at this time under this _id; a zero time begins with the first.
func Page(ctx context.Context, target *mongo.Client, flow string, at time.Time, id string, size int) ([]Document, error) {
	filter := bson.D{{Key: "flow", Value: flow}}
	if !at.IsZero() {
		filter = append(filter, bson.E{Key: "$or", Value: bson.A{
			bson.D{{Key: "requested.at", Value: bson.D{{Key: "$gt", Value: at}}}},
			bson.D{{Key: "requested.at", Value: at}, {Key: "_id", Value: bson.D{{Key: "$gt", Value: id}}}},
		}})
	}

	order := options.Find().SetSort(bson.D{{Key: "requested.at", Value: 1}, {Key: "_id", Value: 1}}).SetLimit(int64(size))

	return find(ctx, target, flow, filter, order)
}

func find(ctx context.Context, target *mongo.Client, flow string, filter bson.D, order *options.FindOptionsBuilder) ([]Document, error) {
	cursor, err := Gaps(target).Find(ctx, filter, order)
	if err != nil {
		return nil, fmt.Errorf("read gaps of flow %s: %w", flow, err)
	}

	var documents []Document
	if err := cursor.All(ctx, &documents); err != nil {
		return nil, fmt.Errorf("read gaps of flow %s: %w", flow, err)
	}

	return documents, nil
}
