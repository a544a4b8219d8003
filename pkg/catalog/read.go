package catalog

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
)

// Collection is a collection or view with its indexes.
type Collection struct {
	mongodb.Collection

	Indexes []bson.Raw // as listIndexes gives them; none for views
}

// Namespace is the collection's full name.
func (c *Collection) Namespace() event.Namespace { return event.Namespace{DB: c.DB, Coll: c.Name} }

// Read returns the collections and views that the filter takes, by name, with
// their indexes. What no flow carries is left out: time series collections and
// those with queryable encryption. It needs the privileges listDatabases,
// listCollections and listIndexes.
//
// The server has no snapshot of a catalog: what changes meanwhile may be seen
// half.
func Read(ctx context.Context, client *mongo.Client, filter event.Filter) ([]Collection, error) {
	all, err := mongodb.Catalog(ctx, client)
	if err != nil {
		return nil, err
	}

	var read []Collection

	for _, c := range all {
		ns := event.Namespace{DB: c.DB, Coll: c.Name}
		if !filter.Takes(ns) || !IsCarried(c) {
			continue
		}

		collection := Collection{Collection: c}

		if c.Type != kindView {
			if collection.Indexes, err = Indexes(ctx, client, ns); err != nil {
				return nil, err
			}
		}

		read = append(read, collection)
	}

	slices.SortFunc(read, func(a, b Collection) int { return compareNamespaces(a.Namespace(), b.Namespace()) })

	return read, nil
}

// IsCarried tells whether flows carry such a collection or view at all.
func IsCarried(c mongodb.Collection) bool { return !c.Encrypted && c.Type != kindTimeseries }

func compareNamespaces(a, b event.Namespace) int {
	return cmp.Or(cmp.Compare(a.DB, b.DB), cmp.Compare(a.Coll, b.Coll))
}

// Indexes returns what listIndexes says of a collection; nothing for one that is
// not there, or is a view.
func Indexes(ctx context.Context, client *mongo.Client, ns event.Namespace) ([]bson.Raw, error) {
	primary := client.Database(ns.DB, options.Database().SetReadPreference(readpref.Primary()))

	cursor, err := primary.Collection(ns.Coll).Indexes().List(ctx)
	if mongodb.IsNamespaceNotFound(err) || mongodb.IsView(err) {
		return nil, nil
	}

	if err != nil {
		return nil, fmt.Errorf("list indexes of %s: %w", ns, err)
	}

	var specs []bson.Raw
	if err := cursor.All(ctx, &specs); err != nil {
		return nil, fmt.Errorf("list indexes of %s: %w", ns, err)
	}

	return specs, nil
}
