package main

import (
	"context"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// Of the runs with several processors and with a hot document.
const (
	delayedChanges = 24_000
	oneWay         = 20 * time.Millisecond // before the target, each way
	several        = 4                     // processors

	hotUpdates = 50_000 // of one document, and as many of others
)

// scaling drains the same backlog with one processor, with one behind a slow network, and with several there. One batch
// at a time: what is measured is that processors wait side by side.
func (b *bench) scaling(ctx context.Context) error {
	d := drain{
		write: func(ctx context.Context, source *mongo.Database) error {
			return load(ctx, source, 0, delayedChanges, b.cfg.Size)
		},
		changes: delayedChanges, applied: delayedChanges, env: map[string]string{"APPLY_CONCURRENCY": "1"},
	}

	near, err := b.drain(ctx, d)
	if err != nil {
		return err
	}

	d.delay = oneWay

	one, err := b.drain(ctx, d)
	if err != nil {
		return err
	}

	d.processors = several

	all, err := b.drain(ctx, d)
	b.results.near, b.results.one, b.results.several = near.rate, one.rate, all.rate

	return err
}

// hot drains updates half of which are of one document, and then as many that are of all documents alike.
func (b *bench) hot(ctx context.Context) error {
	const documents = 1000

	d := func(pick func(n int) int) drain {
		return drain{
			write: func(ctx context.Context, source *mongo.Database) error {
				if err := load(ctx, source, 0, documents, b.cfg.Size); err != nil {
					return err
				}

				return update(ctx, source, 2*hotUpdates, pick)
			},
			changes: documents + 2*hotUpdates, applied: documents + 2*hotUpdates,
		}
	}

	even, err := b.drain(ctx, d(func(n int) int { return n % documents }))
	if err != nil {
		return err
	}

	hot, err := b.drain(ctx, d(func(n int) int {
		if n%2 == 0 {
			return 0
		}

		return n % documents
	}))
	b.results.even, b.results.hot = even.rate, hot.rate

	return err
}

// update changes a document with each of n writes; pick says which.
func update(ctx context.Context, db *mongo.Database, n int, pick func(n int) int) error {
	coll := db.Collection(collections()[0])

	for from := 0; from < n; from += insertMany {
		models := make([]mongo.WriteModel, 0, insertMany)

		for i := from; i < min(from+insertMany, n); i++ {
			models = append(models, mongo.NewUpdateOneModel().
				SetFilter(bson.D{{Key: "_id", Value: int64(pick(i))}}).SetUpdate(bson.D{{Key: "$inc", Value: bson.D{{Key: "v", Value: 1}}}}))
		}

		result, err := coll.BulkWrite(ctx, models)
		if err == nil && result.ModifiedCount != int64(len(models)) {
			err = fmt.Errorf("%d of %d updates changed something", result.ModifiedCount, len(models))
		}

		if err != nil {
			return fmt.Errorf("update: %w", err)
		}
	}

	return nil
}
