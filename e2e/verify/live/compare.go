// Package live asks servers that run whether what the relay promises holds, by the rules of e2e/verify: source and target
// hold the same bytes, the versions of every document on the target only ever grew, and the counters add up. It is for
// whoever has no record of the run.
package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// mostDifferences is how many differences a comparison describes; it counts all of them.
const mostDifferences = 10

// Comparison is the outcome of comparing two databases.
type Comparison struct {
	Collections int
	Documents   int64 // of the source
	Bytes       int64 // of these documents
	Different   int64
	Differences []Difference // the first ones
}

// Equal tells that both hold the same documents, byte for byte.
func (c *Comparison) Equal() bool { return c.Different == 0 }

// Difference is a document that is not the same on both sides.
type Difference struct {
	Namespace      string
	ID             bson.RawValue
	Source, Target bson.Raw // nil where there is no such document
}

// String says what differs.
func (d Difference) String() string {
	switch {
	case d.Target == nil:
		return fmt.Sprintf("%s %s is missing on the target", d.Namespace, d.ID)
	case d.Source == nil:
		return fmt.Sprintf("%s %s is on the target only", d.Namespace, d.ID)
	default:
		return fmt.Sprintf("%s %s differs\n  source %s\n  target %s", d.Namespace, d.ID, d.Source, d.Target)
	}
}

// Compare compares the collections of two databases document by document, as bytes, with two cursors in the order of
// _id: it holds one batch of each side, whatever their size. Nobody may write meanwhile.
func Compare(ctx context.Context, source, target *mongo.Database) (*Comparison, error) {
	names, err := collectionsOf(ctx, source, target)
	if err != nil {
		return nil, err
	}

	c := &Comparison{Collections: len(names)}

	for _, name := range names {
		if err := c.collection(ctx, source.Collection(name), target.Collection(name)); err != nil {
			return nil, fmt.Errorf("compare %s.%s: %w", source.Name(), name, err)
		}
	}

	return c, nil
}

func collectionsOf(ctx context.Context, dbs ...*mongo.Database) ([]string, error) {
	var all []string

	for _, db := range dbs {
		names, err := db.ListCollectionNames(ctx, bson.D{})
		if err != nil {
			return nil, fmt.Errorf("list the collections of %s: %w", db.Name(), err)
		}

		all = append(all, names...)
	}

	slices.Sort(all)
	all = slices.DeleteFunc(all, func(name string) bool { return strings.HasPrefix(name, "system.") })

	return slices.Compact(all), nil
}

func (c *Comparison) collection(ctx context.Context, source, target *mongo.Collection) error {
	left, err := openSide(ctx, source)
	if err != nil {
		return err
	}
	defer left.close(ctx)

	right, err := openSide(ctx, target)
	if err != nil {
		return err
	}
	defer right.close(ctx)

	for left.doc != nil || right.doc != nil {
		if err := c.pair(ctx, left, right); err != nil {
			return err
		}
	}

	return nil
}

// pair compares the documents at the head of both sides. Where their _ids differ, each side is asked for the other's:
// so nobody here has to know how the server orders values of all types.
func (c *Comparison) pair(ctx context.Context, left, right *side) error {
	if left.doc != nil && right.doc != nil && sameID(left.doc, right.doc) {
		if !bytes.Equal(left.doc, right.doc) {
			c.differ(Difference{left.namespace(), left.doc.Lookup("_id"), bytes.Clone(left.doc), bytes.Clone(right.doc)})
		}

		c.count(left.doc)

		return errors.Join(left.next(ctx), right.next(ctx))
	}

	if left.doc != nil {
		twin, err := right.find(ctx, left.doc)
		if err != nil {
			return err
		}

		if twin == nil {
			c.differ(Difference{left.namespace(), left.doc.Lookup("_id"), bytes.Clone(left.doc), nil})
			c.count(left.doc)

			return left.next(ctx)
		}
	}

	if right.doc == nil {
		return fmt.Errorf("the target has %s, but not in the order of _id", left.doc.Lookup("_id"))
	}

	twin, err := left.find(ctx, right.doc)
	if err != nil {
		return err
	}

	if twin != nil { // equal for the server, not as bytes: 1 and 1.0
		c.differ(Difference{right.namespace(), right.doc.Lookup("_id"), twin, bytes.Clone(right.doc)})
	} else {
		c.differ(Difference{right.namespace(), right.doc.Lookup("_id"), nil, bytes.Clone(right.doc)})
	}

	if err := right.next(ctx); err != nil || twin == nil {
		return err
	}

	c.count(left.doc)

	return left.next(ctx)
}

func sameID(a, b bson.Raw) bool { return a.Lookup("_id").Equal(b.Lookup("_id")) }

func (c *Comparison) count(doc bson.Raw) {
	c.Documents++
	c.Bytes += int64(len(doc))
}

func (c *Comparison) differ(d Difference) {
	c.Different++

	if len(c.Differences) < mostDifferences {
		c.Differences = append(c.Differences, d)
	}
}

// side is a collection read in the order of _id.
type side struct {
	coll   *mongo.Collection
	cursor *mongo.Cursor
	doc    bson.Raw // at the head; nil at the end
}

func openSide(ctx context.Context, coll *mongo.Collection) (*side, error) {
	cursor, err := coll.Find(ctx, bson.D{}, options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}))
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}

	s := &side{coll: coll, cursor: cursor}

	return s, s.next(ctx)
}

func (s *side) namespace() string { return s.coll.Database().Name() + "." + s.coll.Name() }

func (s *side) next(ctx context.Context) error {
	s.doc = nil

	if s.cursor.Next(ctx) {
		s.doc = s.cursor.Current

		return nil
	}

	if err := s.cursor.Err(); err != nil {
		return fmt.Errorf("read: %w", err)
	}

	return nil
}

// find asks for the document with another's _id; nil when there is none.
func (s *side) find(ctx context.Context, other bson.Raw) (bson.Raw, error) {
	doc, err := s.coll.FindOne(ctx, bson.D{{Key: "_id", Value: other.Lookup("_id")}}).Raw()
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, nil
	}

	if err != nil {
		return nil, fmt.Errorf("look for a document: %w", err)
	}

	return doc, nil
}

func (s *side) close(ctx context.Context) { _ = s.cursor.Close(context.WithoutCancel(ctx)) }
