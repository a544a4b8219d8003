package main

import (
	"context"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"golang.org/x/sync/errgroup"
)

const (
	insertMany = 1000 // documents of one command
	loaders    = 2    // that insert at a time
)

// collections spread the load; they exist before the flow, so that nothing but inserts is counted.
func collections() []string { return []string{"a", "b", "c", "d"} }

func createCollections(ctx context.Context, db *mongo.Database) error {
	for _, name := range collections() {
		if err := db.CreateCollection(ctx, name); err != nil {
			return fmt.Errorf("make the collection %s: %w", name, err)
		}
	}

	return nil
}

// document is one of about size bytes.
func document(id, size int) bson.D {
	const besides = 50 // bytes of _id, names and lengths

	return bson.D{
		{Key: "_id", Value: int64(id)},
		{Key: "v", Value: int64(1)},
		{Key: "padding", Value: strings.Repeat("0123456789", size/10+1)[:max(0, size-besides)]},
	}
}

// load inserts documents with the _ids from first on.
func load(ctx context.Context, db *mongo.Database, first, count, size int) error {
	return loadEach(ctx, db, first, count, func(id int) bson.D { return document(id, size) })
}

// loadEach is load with documents of the caller's.
func loadEach(ctx context.Context, db *mongo.Database, first, count int, document func(id int) bson.D) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(loaders)

	names := collections()

	for from := first; from < first+count; from += insertMany {
		group.Go(func() error {
			batch := make([]any, 0, insertMany)
			for id := from; id < min(from+insertMany, first+count); id++ {
				batch = append(batch, document(id))
			}

			_, err := db.Collection(names[from/insertMany%len(names)]).InsertMany(ctx, batch)
			if err != nil {
				return fmt.Errorf("insert: %w", err)
			}

			return nil
		})
	}

	return group.Wait()
}
