package verify

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// rangesOf cuts what is to be compared: collections that are much larger than a part, at _ids of a random sample, so that
// several are compared at a time. estimated is the source's number of documents.
func rangesOf(ctx context.Context, c *Config, pairs []pair) (ranges []*Range, estimated int64, err error) {
	for i := range pairs {
		p := &pairs[i]
		if p.unread() != "" {
			continue
		}

		documents := int64(0)

		if p.source != nil {
			coll := c.Source.Database(p.namespace.DB).Collection(p.namespace.Coll)
			if documents, err = coll.EstimatedDocumentCount(ctx); err != nil {
				return nil, 0, ofSource(fmt.Errorf("count the documents of %s: %w", p.namespace, err))
			}
		}

		estimated += documents

		bounds, err := boundsOf(ctx, c, p, documents)
		if err != nil {
			return nil, 0, ofSource(err)
		}

		from := bson.RawValue{}
		for _, bound := range append(bounds, bson.RawValue{}) {
			ranges = append(ranges, &Range{Namespace: p.namespace, From: from, To: bound})
			from = bound
		}
	}

	return ranges, estimated, nil
}

// mostParts of a collection: the server reads a random document for each.
const mostParts = 64

// boundsOf are the _ids between the parts, in their order.
func boundsOf(ctx context.Context, c *Config, p *pair, documents int64) ([]bson.RawValue, error) {
	parts := min(documents/c.Part, mostParts)
	if parts < 2 || p.simple() { // ranges of a collation's index are none of another's
		return nil, nil
	}

	// The server's $sort is the order that matters, and the sample may hold an _id twice.
	cursor, err := c.Source.Database(p.namespace.DB).Collection(p.namespace.Coll).Aggregate(ctx, bson.A{
		bson.D{{Key: "$sample", Value: bson.D{{Key: "size", Value: parts - 1}}}},
		bson.D{{Key: "$project", Value: bson.D{{Key: "_id", Value: 1}}}},
		bson.D{{Key: "$sort", Value: bson.D{{Key: "_id", Value: 1}}}},
	})
	if err != nil {
		return nil, fmt.Errorf("sample %s: %w", p.namespace, err)
	}
	defer cursor.Close(ctx)

	var bounds []bson.RawValue

	for cursor.Next(ctx) {
		id := clone(cursor.Current.Lookup("_id"))
		if len(bounds) == 0 || Compare(bounds[len(bounds)-1], id) < 0 {
			bounds = append(bounds, id)
		}
	}

	if err := cursor.Err(); err != nil {
		return nil, fmt.Errorf("sample %s: %w", p.namespace, err)
	}

	return bounds, nil
}

// prove tells whether the ranges of each collection follow one another from the first _id there can be to the last one,
// so that each document is in exactly one of them.
func prove(ranges []*Range) error {
	last := make(map[event.Namespace]*Range)

	for _, r := range ranges {
		before := last[r.Namespace]
		last[r.Namespace] = r

		begins := r.From.Type == 0
		if before != nil {
			begins = before.To.Type != 0 && before.To.Equal(r.From)
		}

		if !begins || (r.From.Type != 0 && r.To.Type != 0 && Compare(r.From, r.To) >= 0) {
			return fmt.Errorf("%w: %s: a part does not begin where the one before it ends", ErrState, r.Namespace)
		}
	}

	for ns, r := range last {
		if r.To.Type != 0 {
			return fmt.Errorf("%w: %s: the last part is missing", ErrState, ns)
		}
	}

	return nil
}

// suspectOf is the document with this _id.
func suspectOf(ns event.Namespace, id bson.RawValue, partitions int) (*Suspect, error) {
	key, err := event.NewKey(ns, id)
	if err != nil {
		return nil, err
	}

	return &Suspect{Namespace: ns, ID: id, Key: key, Partition: key.Partition(partitions)}, nil
}
