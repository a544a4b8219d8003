// Package checkpoint is the relay's own documents in the target: how far each
// partition is applied, and what could not be applied.
//
// They live in the target because a checkpoint commits in one transaction with
// the data it speaks of. Nothing else remembers a processor's position.
package checkpoint

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
)

// Names in the target. The database is never replicated nor counted.
const (
	Database    = "atlas_relay"
	Collection  = "checkpoints"
	Unsupported = "unsupported"
	// BarriersCollection holds a document for each flow: where its partitions stand
	// at schema changes.
	BarriersCollection = "barriers"
)

// Counters are the cumulative results of a partition, in events of the source,
// and the number of its committed transactions.
type Counters struct {
	Processed int64 `bson:"processed"`
	Failed    int64 `bson:"failed"`
	Skipped   int64 `bson:"skipped"`
	Batches   int64 `bson:"batches"`
}

// Document is the checkpoint of one partition.
type Document struct {
	ID        string `bson:"_id"` // see ID
	Flow      string `bson:"flow"`
	Partition int    `bson:"partition"`

	Epoch int64 `bson:"epoch"` // number of the ownership that wrote it
	Owner int64 `bson:"owner"` // random number of that owner
	// Session is the id of the session that the owner's transactions run in: the
	// next owner ends what was left open there.
	Session bson.Binary `bson:"session,omitempty"`
	Commits int64       `bson:"commits"` // raised by every transaction, so each is a change

	Place    `bson:"place"`
	Counters Counters `bson:"counters"`

	// Parked is how many events of the partition wait in atlas_relay.parked to
	// be applied or given up: pending, though the place is past them. It commits
	// with the records, so it is exact at each moment and nobody has to count.
	Parked int64 `bson:"parked"`
	// ParkedBytes is the room that the partition's waiting events and dead
	// letters take there, as PARK_MAX_BYTES counts it.
	ParkedBytes int64 `bson:"parked_bytes"`

	// Owed are writes to the relay's own collections that belong to the last
	// commit and may not have been made: on a target without transactions they
	// follow it. BSON that the processor reads; empty where there are
	// transactions.
	Owed []byte `bson:"owed,omitempty"`

	// Gap is set while an operator has the partition pass over a hole of the stream:
	// nothing is committed at this place any more, the next owner goes on behind the
	// gap's marker. Nil otherwise.
	Gap *GapAhead `bson:"gap,omitempty"`
}

// GapAhead is an accepted gap that a partition has not passed yet.
type GapAhead struct {
	ID    string `bson:"id"`    // of its record, which the marker names
	After int64  `bson:"after"` // sequence of the message that the marker follows
}

// ID returns the _id of a partition's checkpoint: "<flow>/<pp>".
func ID(flow string, partition int) string { return fmt.Sprintf("%s/%02d", flow, partition) }

// Checkpoints returns the collection of checkpoints, read and written with
// majority.
func Checkpoints(target *mongo.Client) *mongo.Collection {
	return majority(target).Collection(Collection)
}

// Barriers returns the collection of barriers, read and written with majority.
func Barriers(target *mongo.Client) *mongo.Collection {
	return majority(target).Collection(BarriersCollection)
}

func majority(target *mongo.Client) *mongo.Database {
	return target.Database(Database, options.Database().
		SetReadConcern(readconcern.Majority()).
		SetReadPreference(readpref.Primary()))
}

// Load returns the checkpoints of a flow, by partition. A partition that has
// none is absent.
func Load(ctx context.Context, target *mongo.Client, flow string) (map[int]Document, error) {
	cursor, err := Checkpoints(target).Find(ctx, bson.D{{Key: "flow", Value: flow}})
	if err != nil {
		return nil, fmt.Errorf("read checkpoints of flow %s: %w", flow, err)
	}

	var documents []Document
	if err := cursor.All(ctx, &documents); err != nil {
		return nil, fmt.Errorf("read checkpoints of flow %s: %w", flow, err)
	}

	byPartition := make(map[int]Document, len(documents))
	for _, d := range documents {
		byPartition[d.Partition] = d
	}

	return byPartition, nil
}

// LoadOne returns the checkpoint of a partition; ok is false if it has none.
func LoadOne(ctx context.Context, target *mongo.Client, flow string, partition int) (d Document, ok bool, err error) {
	id := ID(flow, partition)

	err = Checkpoints(target).FindOne(ctx, bson.D{{Key: "_id", Value: id}}).Decode(&d)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return Document{}, false, nil
	}

	if err != nil {
		return Document{}, false, fmt.Errorf("read checkpoint of flow %s: %w", flow, err) // without the partition: all have the same trouble
	}

	return d, true, nil
}
