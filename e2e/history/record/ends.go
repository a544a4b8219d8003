package record

import (
	"context"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/e2e/history"
)

// relayDatabase is where the relay keeps its own.
const relayDatabase = "atlas_relay"

// documents dumps the documents of a side that the flow replicates.
func documents(ctx context.Context, client *mongo.Client, meta *history.Meta, folder, name string) error {
	return dump(folder, name, func(file *history.Writer[history.Document]) error {
		return eachCollection(ctx, client, meta, func(db *mongo.Database, c *collection) error {
			if c.Type != "collection" {
				return nil
			}

			return dumpCollection(ctx, db.Collection(c.Name), file)
		})
	})
}

// definitions dumps what a side says of its collections, views and indexes.
func definitions(ctx context.Context, client *mongo.Client, meta *history.Meta, folder, name string) error {
	return dump(folder, name, func(file *history.Writer[history.Definition]) error {
		return eachCollection(ctx, client, meta, func(db *mongo.Database, c *collection) error {
			all, err := definitionsOf(ctx, db, c)
			if err != nil {
				return err
			}

			for i := range all {
				if err := file.Add(all[i]); err != nil {
					return err
				}
			}

			return nil
		})
	})
}

// relayDocuments dumps a collection of the relay's own.
func relayDocuments(ctx context.Context, target *mongo.Client, coll, folder, name string) error {
	return dump(folder, name, func(file *history.Writer[history.Document]) error {
		return dumpCollection(ctx, target.Database(relayDatabase).Collection(coll), file)
	})
}

func dump[T any](folder, name string, fill func(*history.Writer[T]) error) error {
	file, err := history.Create[T](folder, name)
	if err != nil {
		return err
	}

	if err := fill(file); err != nil {
		_ = file.Close() // the first error tells

		return err
	}

	return file.Close()
}

func dumpCollection(ctx context.Context, coll *mongo.Collection, file *history.Writer[history.Document]) error {
	ns := coll.Database().Name() + "." + coll.Name()

	cursor, err := coll.Find(ctx, bson.D{})
	if err != nil {
		return fmt.Errorf("read %s: %w", ns, err)
	}
	defer func() { _ = cursor.Close(context.WithoutCancel(ctx)) }()

	for cursor.Next(ctx) {
		if err := file.Add(history.Document{Namespace: ns, Document: cursor.Current}); err != nil {
			return err
		}
	}

	if err := cursor.Err(); err != nil {
		return fmt.Errorf("read %s: %w", ns, err)
	}

	return nil
}

// collection is an element of the answer to listCollections.
type collection struct {
	Name string `bson:"name"`
	Type string `bson:"type"`

	raw bson.Raw
}

func eachCollection(ctx context.Context, client *mongo.Client, meta *history.Meta, visit func(*mongo.Database, *collection) error) error {
	names, err := client.ListDatabaseNames(ctx, bson.D{})
	if err != nil {
		return fmt.Errorf("list the databases: %w", err)
	}

	for _, name := range names {
		db := client.Database(name)

		all, err := collectionsOf(ctx, db)
		if err != nil {
			return err
		}

		for i := range all {
			if !meta.Includes(name + "." + all[i].Name) {
				continue
			}

			if err := visit(db, &all[i]); err != nil {
				return err
			}
		}
	}

	return nil
}

// collectionsOf lists collections and views, without the server's own.
func collectionsOf(ctx context.Context, db *mongo.Database) ([]collection, error) {
	cursor, err := db.ListCollections(ctx, bson.D{})
	if err != nil {
		return nil, fmt.Errorf("list the collections of %s: %w", db.Name(), err)
	}

	var raws []bson.Raw
	if err := cursor.All(ctx, &raws); err != nil {
		return nil, fmt.Errorf("list the collections of %s: %w", db.Name(), err)
	}

	var all []collection

	for _, raw := range raws {
		c := collection{raw: raw}
		if err := bson.Unmarshal(raw, &c); err != nil {
			return nil, fmt.Errorf("list the collections of %s: %w", db.Name(), err)
		}

		if !strings.HasPrefix(c.Name, "system.") {
			all = append(all, c)
		}
	}

	return all, nil
}

// Definitions returns what a database says of its collections, views and indexes.
func Definitions(ctx context.Context, db *mongo.Database) ([]history.Definition, error) {
	collections, err := collectionsOf(ctx, db)
	if err != nil {
		return nil, err
	}

	var all []history.Definition

	for i := range collections {
		some, err := definitionsOf(ctx, db, &collections[i])
		if err != nil {
			return nil, err
		}

		all = append(all, some...)
	}

	return all, nil
}

func definitionsOf(ctx context.Context, db *mongo.Database, c *collection) ([]history.Definition, error) {
	ns := db.Name() + "." + c.Name
	all := []history.Definition{{Namespace: ns, Definition: c.raw}}

	if c.Type == "view" {
		return all, nil
	}

	cursor, err := db.Collection(c.Name).Indexes().List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the indexes of %s: %w", ns, err)
	}

	var indexes []bson.Raw
	if err := cursor.All(ctx, &indexes); err != nil {
		return nil, fmt.Errorf("list the indexes of %s: %w", ns, err)
	}

	for _, index := range indexes {
		name, _ := index.Lookup("name").StringValueOK()
		all = append(all, history.Definition{Namespace: ns, Index: name, Definition: index})
	}

	return all, nil
}
