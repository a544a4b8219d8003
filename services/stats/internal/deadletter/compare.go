package deadletter

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"

	"github.com/atlas-relay/atlas-relay/pkg/diff"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

const (
	// readTimeout bounds the reading of the target's document: the record is shown without it.
	readTimeout = 3 * time.Second
	// mostDiffering bounds the paths of Compare.
	mostDiffering = 100
)

// Compare adds what the target has of the document now, and where that is not what the event says. It never fails: why
// something is not known is part of the content.
func (l *Letters) Compare(ctx context.Context, c *Content) {
	if c.Target, c.TargetMissing = l.document(ctx, &c.Letter); c.Target != nil && c.Event != nil {
		c.Differing = differing(c.Event, c.Target)
	}
}

// document reads the target's document; where there is none, why.
func (l *Letters) document(ctx context.Context, letter *Letter) (raw bson.Raw, missing string) {
	r := &letter.Record

	id, err := r.DocumentKey.LookupErr("_id")

	switch {
	case letter.Unreadable != "":
		return nil, "unknown: " + letter.Unreadable
	case !r.Operation.IsDocument() || err != nil:
		return nil, "the event concerns no single document"
	}

	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()

	raw, err = presentDocument(ctx, l.target, r, id)

	switch {
	case errors.Is(err, mongo.ErrNoDocuments):
		return nil, "the target has no such document"
	case mongodb.IsUnauthorized(err):
		return nil, fmt.Sprintf("unknown: the stats service may not read %s on the target; the role relayStatsDocuments of deploy/mongodb/stats-documents-role.js lets it", r.Namespace())
	case err != nil:
		return nil, "unknown: " + err.Error()
	default:
		return raw, ""
	}
}

func presentDocument(ctx context.Context, target *mongo.Client, r *parked.Record, id bson.RawValue) (bson.Raw, error) {
	committed := options.Database().SetReadConcern(readconcern.Majority()).SetReadPreference(readpref.Primary())

	// $eq: a regular expression may be an _id.
	raw, err := target.Database(r.DB, committed).Collection(r.Coll).FindOne(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$eq", Value: id}}}}).Raw()
	if err != nil {
		return nil, fmt.Errorf("read the document in %s: %w", r.Namespace(), err)
	}

	return raw, nil
}

// differing are the paths where the target's document is not what an event says: all of an image, of a delta those that
// it sets or removes.
func differing(raw, target bson.Raw) []string {
	if event.CheckEvent(raw) != nil {
		return nil // somebody edited the record
	}

	if image, ok := raw.Lookup("fullDocument").DocumentOK(); ok {
		return diff.All(image, target, mostDiffering)
	}

	if operation, _ := raw.Lookup("operationType").StringValueOK(); event.Operation(operation) != event.Update {
		return nil
	}

	var paths []string

	note := func(path string, differs bool) {
		if differs && len(paths) < mostDiffering {
			paths = append(paths, path)
		}
	}

	updated, _ := raw.Lookup("updateDescription", "updatedFields").DocumentOK()
	set, _ := updated.Elements()

	for _, el := range set {
		present, err := target.LookupErr(strings.Split(el.Key(), ".")...)
		note(el.Key(), err != nil || !diff.Equal(el.Value(), present))
	}

	removed, _ := raw.Lookup("updateDescription", "removedFields").ArrayOK()
	gone, _ := removed.Values()

	for _, v := range gone {
		path, _ := v.StringValueOK()
		_, err := target.LookupErr(strings.Split(path, ".")...)
		note(path, err == nil)
	}

	return paths
}
