package mongodb

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
)

// Collection is an entry of a deployment's catalog, as far as a relay has to
// know it.
type Collection struct {
	DB   string
	Name string
	UUID [16]byte // zero where the server does not say; views have none
	Type string   // "collection", "view" or "timeseries"
	// Capped collections cannot be written in transactions, and their insertion
	// order is part of what they hold.
	Capped bool
	// Collation is the locale of the default collation; empty for the simple
	// one. Documents whose _ids differ by bytes may be one under another.
	Collation string
	// Encrypted collections (queryable encryption) keep state in collections
	// beside them that no client may write.
	Encrypted bool
	// Options are what listCollections says, for comparing with another catalog.
	Options bson.Raw
}

// Unroutable says why the collection's events cannot be spread over partitions
// by _id; empty when they can.
func (c Collection) Unroutable() string {
	switch {
	case c.Capped:
		return "it is capped"
	case c.Collation != "":
		return "it has a default collation of its own (" + c.Collation + ")"
	default:
		return ""
	}
}

// ParseCollection reads the options of a collection from the document that
// listCollections or a create event of a change stream gives.
func ParseCollection(db, name, kind string, options bson.Raw) Collection {
	c := Collection{DB: db, Name: name, Type: kind, Options: options}
	c.Capped, _ = options.Lookup("capped").BooleanOK()

	_, c.Encrypted = options.Lookup("encryptedFields").DocumentOK()

	if locale, ok := options.Lookup("collation", "locale").StringValueOK(); ok && locale != "simple" {
		c.Collation = locale
	}

	return c
}

// Catalog lists the collections of the deployment's databases, the server's own
// databases (admin, config, local) excepted. It needs the privileges
// listDatabases and listCollections, which every role that may watch the
// deployment has.
func Catalog(ctx context.Context, client *mongo.Client) ([]Collection, error) {
	databases, err := client.ListDatabaseNames(ctx, bson.D{})
	if err != nil {
		return nil, fmt.Errorf("list databases: %w", err)
	}

	var collections []Collection

	for _, db := range databases {
		if db == "admin" || db == "config" || db == "local" {
			continue
		}

		of, err := Collections(ctx, client, db)
		if err != nil {
			return nil, err
		}

		collections = append(collections, of...)
	}

	return collections, nil
}

// Collections lists the collections and views of one database.
func Collections(ctx context.Context, client *mongo.Client, db string) ([]Collection, error) {
	return listCollections(ctx, client, db, bson.D{})
}

// FindCollection returns the catalog's entry of one collection or view; false
// when there is none of that name.
func FindCollection(ctx context.Context, client *mongo.Client, db, name string) (Collection, bool, error) {
	found, err := listCollections(ctx, client, db, bson.D{{Key: "name", Value: name}})
	if err != nil || len(found) == 0 {
		return Collection{}, false, err
	}

	return found[0], true, nil
}

// listCollections asks the primary whatever the URI says: who has just changed
// the catalog must see it.
func listCollections(ctx context.Context, client *mongo.Client, db string, filter bson.D) ([]Collection, error) {
	primary := client.Database(db, options.Database().SetReadPreference(readpref.Primary()))

	specifications, err := primary.ListCollectionSpecifications(ctx, filter)
	if err != nil {
		return nil, fmt.Errorf("list collections of %s: %w", db, err)
	}

	collections := make([]Collection, len(specifications))

	for i, s := range specifications {
		collections[i] = ParseCollection(db, s.Name, s.Type, s.Options)
		if s.UUID != nil {
			copy(collections[i].UUID[:], s.UUID.Data)
		}
	}

	return collections, nil
}
