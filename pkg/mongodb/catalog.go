package mongodb

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
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

		specifications, err := client.Database(db).ListCollectionSpecifications(ctx, bson.D{})
		if err != nil {
			return nil, fmt.Errorf("list collections of %s: %w", db, err)
		}

		for _, s := range specifications {
			c := ParseCollection(db, s.Name, s.Type, s.Options)
			if s.UUID != nil {
				copy(c.UUID[:], s.UUID.Data)
			}

			collections = append(collections, c)
		}
	}

	return collections, nil
}
