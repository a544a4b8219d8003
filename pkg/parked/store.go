package parked

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// ErrRecords says that the records are not as the partition's checkpoint and the program that wrote them left them.
var ErrRecords = errors.New("the parked records were changed by somebody else")

// Covered is a document that was read from the source again: its events up to Time are in the target.
type Covered struct {
	ID        string      `bson:"_id"` // see CoveredID
	Flow      string      `bson:"flow"`
	Partition int         `bson:"partition"`
	Key       bson.Binary `bson:"key"` // event.Key
	// DocumentKey is that of the event; absent where a version wrote it that did not note it.
	DocumentKey bson.Raw       `bson:"document_key,omitempty"`
	Time        bson.Timestamp `bson:"t"`
}

// Headers visits the records of a partition that stand in one of the states, one at a time and without what only people
// need: there may be very many.
func Headers(ctx context.Context, target *mongo.Client, flow string, partition int, visit func(*Record) error, states ...State) error {
	header := bson.D{}
	for _, field := range []string{"rev", "number", "position", "operation", "key", "size", "events", "until", "dropped", "state", "reason", "attempts", "counted", "refetch"} {
		header = append(header, bson.E{Key: field, Value: 1})
	}

	return each(ctx, target, bson.D{
		{Key: "flow", Value: flow}, {Key: "partition", Value: partition}, {Key: "state", Value: bson.D{{Key: "$in", Value: states}}},
	}, header, visit)
}

// LoadReplays returns the dead letters of a partition that an operator wants tried again, without their events.
func LoadReplays(ctx context.Context, target *mongo.Client, flow string, partition int) ([]Record, error) {
	return find(ctx, target, bson.D{
		{Key: "flow", Value: flow}, {Key: "partition", Value: partition}, {Key: "state", Value: Waiting}, {Key: "counted", Value: true},
	})
}

// LoadIDs returns the records with these ids, without their events. Absent ones are left out.
func LoadIDs(ctx context.Context, target *mongo.Client, ids []string) ([]Record, error) {
	return find(ctx, target, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}})
}

func find(ctx context.Context, target *mongo.Client, filter bson.D) ([]Record, error) {
	var records []Record

	err := each(ctx, target, filter, bson.D{{Key: "event", Value: 0}, {Key: "trail", Value: 0}}, func(r *Record) error {
		records = append(records, *r)

		return nil
	})

	return records, err
}

func each(ctx context.Context, target *mongo.Client, filter, projection bson.D, visit func(*Record) error) error {
	cursor, err := Records(target).Find(ctx, filter, options.Find().SetProjection(projection))
	if err != nil {
		return fmt.Errorf("read parked records: %w", err)
	}
	defer cursor.Close(ctx)

	for cursor.Next(ctx) {
		var r Record
		if err := bson.Unmarshal(cursor.Current, &r); err != nil {
			id, _ := cursor.Current.Lookup("_id").StringValueOK()

			return fmt.Errorf("%w: record %s: %w", ErrRecords, id, err)
		}

		if err := visit(&r); err != nil {
			return err
		}
	}

	if err := cursor.Err(); err != nil {
		return fmt.Errorf("read parked records: %w", err)
	}

	return nil
}

// Events returns the raw events of records, by id. It returns ErrRecords when one is not there, whole, any more.
func Events(ctx context.Context, target *mongo.Client, ids []string) (map[string]bson.Raw, error) {
	cursor, err := Records(target).Find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}},
		options.Find().SetProjection(bson.D{{Key: "event", Value: 1}, {Key: "size", Value: 1}, {Key: "chunks", Value: 1}}))
	if err != nil {
		return nil, fmt.Errorf("read parked events: %w", err)
	}

	var records []Record
	if err := cursor.All(ctx, &records); err != nil {
		return nil, fmt.Errorf("read parked events: %w", err)
	}

	events := make(map[string]bson.Raw, len(records))

	for i := range records {
		r := &records[i]

		raw, err := LoadEvent(ctx, target, r)
		if errors.Is(err, ErrDamaged) || errors.Is(err, ErrNoEvent) {
			return nil, fmt.Errorf("%w: %w", ErrRecords, err)
		}

		if err != nil {
			return nil, err
		}

		if int64(len(raw)) != r.Size {
			return nil, fmt.Errorf("%w: the event of record %s has %d bytes, %d were written", ErrRecords, r.ID, len(raw), r.Size)
		}

		events[r.ID] = raw
	}

	for _, id := range ids {
		if events[id] == nil {
			return nil, fmt.Errorf("%w: record %s is missing", ErrRecords, id)
		}
	}

	return events, nil
}

// LoadCovered returns what a partition remembers of documents that were read from the source again.
func LoadCovered(ctx context.Context, target *mongo.Client, flow string, partition int) ([]Covered, error) {
	cursor, err := majority(target).Collection(Refetched).Find(ctx, bson.D{{Key: "flow", Value: flow}, {Key: "partition", Value: partition}})
	if err != nil {
		return nil, fmt.Errorf("read refetched documents: %w", err)
	}

	var covered []Covered
	if err := cursor.All(ctx, &covered); err != nil {
		return nil, fmt.Errorf("read refetched documents: %w", err)
	}

	return covered, nil
}

// Earliest returns the positions of the flow's first waiting events, at most limit, in the source's order.
func Earliest(ctx context.Context, target *mongo.Client, flow string, limit int64) ([]event.Position, error) {
	cursor, err := Records(target).Find(ctx, bson.D{{Key: "flow", Value: flow}, {Key: "state", Value: Waiting}}, options.Find().
		SetSort(bson.D{{Key: "position.t", Value: 1}, {Key: "position.i", Value: 1}, {Key: "position.ordinal", Value: 1}}).
		SetProjection(bson.D{{Key: "position", Value: 1}}).SetLimit(limit))
	if err != nil {
		return nil, fmt.Errorf("read parked records: %w", err)
	}

	var found []struct {
		Position event.Position `bson:"position"`
	}
	if err := cursor.All(ctx, &found); err != nil {
		return nil, fmt.Errorf("read parked records: %w", err)
	}

	positions := make([]event.Position, len(found))
	for i := range found {
		positions[i] = found[i].Position
	}

	return positions, nil
}

// CoveredID returns the _id of what is remembered of a document.
func CoveredID(flow string, partition int, key event.Key) string {
	return checkpoint.ID(flow, partition) + "/" + hash(key)
}
