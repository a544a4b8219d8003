package catalog

import (
	"context"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
)

// EnsureCollection makes a collection or view of these options, unless it is
// there and means the same. A *ConflictError says that it means something else.
func EnsureCollection(ctx context.Context, client *mongo.Client, ns event.Namespace, opts bson.Raw) error {
	for range 2 { // the second time it is there
		there, found, err := mongodb.FindCollection(ctx, client, ns.DB, ns.Coll)
		if err != nil {
			return err
		}

		if found {
			return sameCollection(ns, opts, there)
		}

		err = mongodb.RunDurable(ctx, client.Database(ns.DB), CreateCommand(ns.Coll, opts))
		if err == nil || !mongodb.IsNamespaceExists(err) {
			return err
		}
	}

	return fmt.Errorf("%s appears and vanishes: somebody else makes and drops it", ns)
}

func sameCollection(ns event.Namespace, want bson.Raw, have mongodb.Collection) error {
	wanted, there := CollectionDefinition(want), CollectionDefinition(have.Options)
	if wanted.Equal(there) && have.Type != kindTimeseries {
		return nil
	}

	return &ConflictError{
		Namespace: ns, What: kindOf(want),
		Want: wanted.String(), Have: have.Type + " " + there.String(),
	}
}

// The kinds of a catalog's entries, as listCollections names them.
const (
	kindCollection = "collection"
	kindView       = "view"
	kindTimeseries = "timeseries"
)

func kindOf(options bson.Raw) string {
	if _, isView := options.Lookup("viewOn").StringValueOK(); isView {
		return kindView
	}

	return kindCollection
}

// EnsureIndexes makes the indexes of a collection that it does not have. uuid,
// unless zero, is that of the collection that is meant: the server refuses
// another one of that name. A *ConflictError says that an index of the same name
// or the same key means something else.
//
// The call returns when the indexes are built, which takes as long as the
// collection is large. Called again meanwhile, it waits for the same builds.
func EnsureIndexes(ctx context.Context, client *mongo.Client, ns event.Namespace, uuid event.UUID, specs []bson.Raw) error {
	have, err := Indexes(ctx, client, ns)
	if err != nil {
		return err
	}

	missing, err := missingIndexes(ns, specs, have)
	if err != nil || len(missing) == 0 {
		return err
	}

	err = RunFenced(ctx, client.Database(ns.DB), IndexCommand(ns.Coll, missing), uuid)
	if err == nil || !mongodb.IsIndexConflict(err) {
		return err
	}

	if have, again := Indexes(ctx, client, ns); again == nil {
		if _, conflict := missingIndexes(ns, specs, have); conflict != nil {
			return conflict
		}
	}

	return err
}

// missingIndexes returns the specifications that nothing there has the name of.
func missingIndexes(ns event.Namespace, want, have []bson.Raw) ([]bson.Raw, error) {
	var missing []bson.Raw

	for _, spec := range want {
		if isOwnIndex(spec) {
			continue
		}

		definition := IndexDefinition(spec)

		i := slices.IndexFunc(have, func(other bson.Raw) bool { return sameIndexPlace(definition, IndexDefinition(other)) })
		if i < 0 {
			missing = append(missing, spec)
			continue
		}

		if there := IndexDefinition(have[i]); !definition.Equal(there) {
			return nil, &ConflictError{
				Namespace: ns, What: "index " + indexName(spec), Want: definition.String(), Have: there.String(),
			}
		}
	}

	return missing, nil
}

// sameIndexPlace tells whether a collection cannot have both: servers refuse two
// indexes of one name, and two that differ in nothing but how they are kept.
func sameIndexPlace(a, b Definition) bool {
	if a["name"] == b["name"] {
		return true
	}

	for _, option := range []string{"key", "collation", "partialFilterExpression", "wildcardProjection", "weights"} {
		if a[option] != b[option] {
			return false
		}
	}

	return true
}

// isOwnIndex tells whether the index comes with its collection: the one of _id,
// or the collection itself where that is clustered.
func isOwnIndex(spec bson.Raw) bool {
	clustered, _ := spec.Lookup("clustered").BooleanOK()

	return clustered || indexName(spec) == "_id_"
}

func indexName(spec bson.Raw) string {
	name, _ := spec.Lookup("name").StringValueOK()

	return name
}
