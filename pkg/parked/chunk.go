package parked

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// MaxInline is the largest event, in bytes, that stands in its record. It is also the size of a chunk: a document holds
// 16 MiB, and a transaction's oplog entry should stay far below that.
const MaxInline = 8 << 20

// ErrNoEvent says that a record has no event: it was dropped, or was never kept.
var ErrNoEvent = errors.New("the event was not kept")

// ErrDamaged says that the chunks of an event do not make it up. It needs a person: somebody edited or deleted them.
var ErrDamaged = errors.New("the chunks of the event do not make it up")

// Chunk is a piece of an event that is too large for its record, in the collection Chunks.
type Chunk struct {
	ID     string      `bson:"_id"`    // "<record id>/<n>"
	Flow   string      `bson:"flow"`   // of the record
	Record string      `bson:"record"` // the record's ID
	N      int         `bson:"n"`      // place in the event, from 0
	Data   bson.Binary `bson:"data"`   // at most MaxInline bytes
}

// Split cuts an event into the chunks of a record; nil when it stands in the record itself. The chunks alias raw.
func Split(flow, record string, raw bson.Raw) []Chunk {
	if len(raw) <= MaxInline {
		return nil
	}

	var chunks []Chunk

	for part := range slices.Chunk(raw, MaxInline) {
		n := len(chunks)
		chunks = append(chunks, Chunk{ID: fmt.Sprintf("%s/%d", record, n), Flow: flow, Record: record, N: n, Data: bson.Binary{Data: part}})
	}

	return chunks
}

// Join makes up the event of a record from its chunks, in whatever order they come. It returns ErrDamaged.
func Join(r *Record, chunks []Chunk) (bson.Raw, error) {
	if len(chunks) != r.Chunks {
		return nil, fmt.Errorf("record %s: %w: it has %d of %d", r.ID, ErrDamaged, len(chunks), r.Chunks)
	}

	chunks = slices.SortedFunc(slices.Values(chunks), func(a, b Chunk) int { return a.N - b.N })
	raw := make(bson.Raw, 0, min(max(r.Size, 0), event.MaxSize))

	for n := range chunks {
		if chunks[n].N != n || chunks[n].Record != r.ID {
			return nil, fmt.Errorf("record %s: %w: chunk %d is chunk %d of %s", r.ID, ErrDamaged, n, chunks[n].N, chunks[n].Record)
		}

		raw = append(raw, chunks[n].Data.Data...)
	}

	if int64(len(raw)) != r.Size {
		return nil, fmt.Errorf("record %s: %w: they have %d bytes, the event had %d", r.ID, ErrDamaged, len(raw), r.Size)
	}

	return raw, nil
}

// LoadEvent returns the event of a record that was read with all its fields. It returns ErrNoEvent, ErrDamaged, or that
// of the target.
func LoadEvent(ctx context.Context, target *mongo.Client, r *Record) (bson.Raw, error) {
	switch {
	case len(r.Event) > 0:
		return r.Event, nil
	case !r.Dropped.IsZero():
		return nil, fmt.Errorf("record %s: %w: it was dropped at %s, long after it died; a replay asks the source for the document", r.ID, ErrNoEvent, r.Dropped.UTC().Format(time.RFC3339))
	case r.Chunks == 0:
		return nil, fmt.Errorf("record %s: %w", r.ID, ErrNoEvent)
	}

	ids := make(bson.A, r.Chunks)
	for n := range ids {
		ids[n] = fmt.Sprintf("%s/%d", r.ID, n)
	}

	cursor, err := majority(target).Collection(Chunks).Find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}})
	if err != nil {
		return nil, fmt.Errorf("read chunks of record %s: %w", r.ID, err)
	}

	var chunks []Chunk
	if err := cursor.All(ctx, &chunks); err != nil {
		return nil, fmt.Errorf("read chunks of record %s: %w", r.ID, err)
	}

	return Join(r, chunks)
}
