// Package pause is what a person wants of a flow beside replicating: that its target, or namespaces of it, are left alone
// for a while.
//
// It is kept in the target, one document per flow in atlas_relay.flows: whoever writes to the target reads it there, so a
// pause outlives every service, the stream and the buckets. A flow that was never paused has no document. One that somebody
// has damaged says neither: owners go by what it said before, and whoever comes does not take part until it is mended.
package pause

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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

// Namespace is one whose changes are set aside.
type Namespace struct {
	DB    string `bson:"db"`
	Coll  string `bson:"coll"` // empty: all collections of the database
	Pause Pause  `bson:"pause"`
}

// Covers tells whether the pause is that of a collection, too.
func (n *Namespace) Covers(ns event.Namespace) bool {
	return n.DB == ns.DB && (n.Coll == "" || n.Coll == ns.Coll)
}

// Name is the namespace for people: "db" or "db.coll".
func (n *Namespace) Name() string { return strings.TrimSuffix(n.DB+"."+n.Coll, ".") }

// Document is what the target holds of one flow.
type Document struct {
	Flow       string      `bson:"_id"`
	Pause      *Pause      `bson:"pause,omitempty"`      // of the flow as a whole; nil while it runs
	Namespaces []Namespace `bson:"namespaces,omitempty"` // that are paused beside it, in the order in which they were
}

// Is tells whether both want the same.
func (d *Document) Is(other *Document) bool {
	return d.Pause.Is(other.Pause) && slices.EqualFunc(d.Namespaces, other.Namespaces, func(a, b Namespace) bool {
		return a.DB == b.DB && a.Coll == b.Coll && a.Pause.Is(&b.Pause)
	})
}

// Names tells whether a namespace is paused under this very name.
func (d *Document) Names(other *Namespace) bool {
	return slices.ContainsFunc(d.Namespaces, func(n Namespace) bool { return n.DB == other.DB && n.Coll == other.Coll })
}

// Covers tells whether a collection is paused by its namespace.
func (d *Document) Covers(ns event.Namespace) bool {
	return slices.ContainsFunc(d.Namespaces, func(n Namespace) bool { return n.Covers(ns) })
}

// DamagedError is a document that says nothing: somebody has edited it by hand.
type DamagedError struct {
	Flow string
	Err  error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("document %s of %s.%s of the target does not say what is paused: %v", e.Flow, checkpoint.Database, Collection, e.Err)
}

func (e *DamagedError) Unwrap() error { return e.Err }

// Remedy is what a person has to do.
func (e *DamagedError) Remedy() string {
	return fmt.Sprintf("mend document %s of %s.%s of the target, or delete it: a flow without one runs", e.Flow, checkpoint.Database, Collection)
}

// Load returns the document of a flow; one that runs may have none in the target. Errors: *DamagedError, else those of
// the target.
func Load(ctx context.Context, target *mongo.Client, flow string) (Document, error) {
	raw, err := flows(target).FindOne(ctx, bson.D{{Key: "_id", Value: flow}}).Raw()

	switch {
	case errors.Is(err, mongo.ErrNoDocuments):
		return Document{Flow: flow}, nil
	case err != nil:
		return Document{}, fmt.Errorf("read whether the flow is paused, document %s of %s.%s: %w", flow, checkpoint.Database, Collection, err)
	}

	d := Document{Flow: flow}
	if err := bson.Unmarshal(raw, &d); err != nil {
		return Document{}, &DamagedError{Flow: flow, Err: err}
	}

	return d, nil
}

// attempts bounds Begin: each one is undone only by somebody who pauses or resumes the flow at the same moment.
const attempts = 10

// Begin pauses a flow as a whole. One that is paused already stays so as it is: changed is false.
func Begin(ctx context.Context, target *mongo.Client, flow string, p Pause) (changed bool, err error) {
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
			return true, nil
		case !mongo.IsDuplicateKeyError(err):
			return false, fmt.Errorf("pause flow %s: %w", flow, err)
		}

		if d, err := Load(ctx, target, flow); err != nil || d.Pause != nil {
			return false, err
		}
	}

	return false, fmt.Errorf("pause flow %s: somebody else pauses and resumes it all the time", flow)
}

// End lets a flow go on as a whole. One that is not paused stays as it is: changed is false.
func End(ctx context.Context, target *mongo.Client, flow string) (changed bool, err error) {
	result, err := flows(target).UpdateOne(ctx,
		bson.D{{Key: "_id", Value: flow}, {Key: "pause", Value: bson.D{{Key: "$ne", Value: nil}}}},
		bson.D{{Key: "$unset", Value: bson.D{{Key: "pause", Value: ""}}}})
	if err != nil {
		return false, fmt.Errorf("resume flow %s: %w", flow, err)
	}

	return result.MatchedCount > 0, nil
}

// MaxNamespaces is how many may be paused at a time; a database counts as one.
const MaxNamespaces = 100

// ErrTooMany says that MaxNamespaces are paused already.
var ErrTooMany = fmt.Errorf("%d namespaces are paused already", MaxNamespaces)

// BeginNamespaces pauses namespaces of a flow, and returns how many of them were not paused before, also beside an error.
// Others stay paused as they are. It returns ErrTooMany.
func BeginNamespaces(ctx context.Context, target *mongo.Client, flow string, namespaces []event.Namespace, p Pause) (changed int, err error) {
	p.Since = p.Since.UTC().Truncate(time.Millisecond)

	if _, err := flows(target).InsertOne(ctx, Document{Flow: flow}); err != nil && !mongo.IsDuplicateKeyError(err) {
		return 0, fmt.Errorf("pause namespaces of flow %s: %w", flow, err)
	}

	for _, ns := range namespaces {
		result, err := flows(target).UpdateOne(ctx,
			bson.D{
				{Key: "_id", Value: flow},
				{Key: "namespaces", Value: bson.D{{Key: "$not", Value: bson.D{{Key: "$elemMatch", Value: named(ns)}}}}},
				{Key: fmt.Sprintf("namespaces.%d", MaxNamespaces-1), Value: bson.D{{Key: "$exists", Value: false}}},
			},
			bson.D{{Key: "$push", Value: bson.D{{Key: "namespaces", Value: Namespace{DB: ns.DB, Coll: ns.Coll, Pause: p}}}}})
		if err != nil {
			return changed, fmt.Errorf("pause namespaces of flow %s: %w", flow, err)
		}

		if result.MatchedCount > 0 {
			changed++

			continue
		}

		d, err := Load(ctx, target, flow)
		if err != nil {
			return changed, err
		}

		if len(d.Namespaces) >= MaxNamespaces && !d.Names(&Namespace{DB: ns.DB, Coll: ns.Coll}) {
			return changed, fmt.Errorf("pause %s: %w", ns, ErrTooMany)
		}
	}

	return changed, nil
}

// EndNamespaces lets namespaces of a flow go on that were paused under these names, and returns how many of them were.
func EndNamespaces(ctx context.Context, target *mongo.Client, flow string, namespaces []event.Namespace) (changed int, err error) {
	for _, ns := range namespaces {
		result, err := flows(target).UpdateOne(ctx,
			bson.D{{Key: "_id", Value: flow}, {Key: "namespaces", Value: bson.D{{Key: "$elemMatch", Value: named(ns)}}}},
			bson.D{{Key: "$pull", Value: bson.D{{Key: "namespaces", Value: named(ns)}}}})
		if err != nil {
			return changed, fmt.Errorf("resume namespaces of flow %s: %w", flow, err)
		}

		changed += int(result.MatchedCount)
	}

	return changed, nil
}

func named(ns event.Namespace) bson.D {
	return bson.D{{Key: "db", Value: ns.DB}, {Key: "coll", Value: ns.Coll}}
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
