package catalog

import (
	"context"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
)

// CreateCommand returns the create command that makes a collection or view of
// these options on another deployment.
func CreateCommand(name string, options bson.Raw) bson.D {
	return append(bson.D{{Key: "create", Value: name}}, portable(options, ofCollections(), true)...)
}

// IndexCommand returns the createIndexes command for these specifications.
func IndexCommand(collection string, specs []bson.Raw) bson.D {
	indexes := make(bson.A, len(specs))
	for i, spec := range specs {
		indexes[i] = portableIndex(spec)
	}

	return bson.D{{Key: "createIndexes", Value: collection}, {Key: "indexes", Value: indexes}}
}

// portableIndex writes out the simple collation: an index without one gets that
// of its collection when it is made, but is shown without one when it has the
// simple one.
func portableIndex(spec bson.Raw) bson.D {
	index := portable(spec, ofIndexes(), false)

	if _, ok := spec.Lookup("collation").DocumentOK(); !ok {
		index = append(index, bson.E{Key: "collation", Value: bson.D{{Key: "locale", Value: simpleCollation}}})
	}

	return index
}

func portable(options bson.Raw, words vocabulary, collection bool) bson.D {
	elements, _ := options.Elements() // as in define
	made := make(bson.D, 0, len(elements))

	for _, el := range elements {
		key, value := el.Key(), el.Value()

		switch {
		case slices.Contains(words.ignored, key):
		case key == "collation" && value.Type == bson.TypeEmbeddedDocument:
			made = append(made, bson.E{Key: key, Value: portable(value.Document(), ofCollations(), false)})
		case key == expireAfterSeconds:
			made = append(made, bson.E{Key: key, Value: Dormant(value, collection)})
		default:
			made = append(made, bson.E{Key: key, Value: value})
		}
	}

	return made
}

// RunFenced runs a command that is meant for the collection of this UUID: the
// server refuses it for another one of that name (mongodb.IsOtherCollection).
// Without a UUID, and on a server that knows no such field in the command, it is
// meant for the name.
func RunFenced(ctx context.Context, db *mongo.Database, command bson.D, uuid event.UUID) error {
	if uuid.IsZero() {
		return mongodb.RunDurable(ctx, db, command)
	}

	fenced := append(slices.Clip(command), bson.E{Key: "collectionUUID", Value: bson.Binary{Subtype: bson.TypeBinaryUUID, Data: uuid.Bytes()}})

	err := mongodb.RunDurable(ctx, db, fenced)
	if mongodb.IsUnknownField(err) {
		return mongodb.RunDurable(ctx, db, command)
	}

	return err
}

// ModifyCommand returns the collMod command for the changes that a modify event
// gives. An expiry that is taken away ("off") is taken away.
func ModifyCommand(name string, changes bson.Raw) bson.D {
	elements, _ := changes.Elements()
	command := bson.D{{Key: "collMod", Value: name}}

	for _, el := range elements {
		key, value := el.Key(), el.Value()

		switch {
		case slices.Contains(ofChanges().ignored, key):
		case key == "index" && value.Type == bson.TypeEmbeddedDocument:
			command = append(command, bson.E{Key: key, Value: portable(value.Document(), vocabulary{}, false)})
		case key == expireAfterSeconds && value.IsNumber():
			command = append(command, bson.E{Key: key, Value: Dormant(value, true)})
		default:
			command = append(command, bson.E{Key: key, Value: value})
		}
	}

	return command
}
