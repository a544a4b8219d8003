package main

import (
	"context"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// Of the runs with several processors and with documents that fail.
const (
	delayedChanges = 24_000
	oneWay         = 20 * time.Millisecond // before the target, each way
	several        = 4                     // processors

	failingChanges = 100_000
	failingOf      = 100 // one document of so many fails

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

// failing drains a backlog in which documents fail on the target for good, and the same one on a target that takes them:
// documents that differ from the others in the type of a field, and such as only a value tells apart.
func (b *bench) failing(ctx context.Context) error {
	// mixed writes documents of which one in so many has another value, and this kind.
	mixed := func(kind any) func(context.Context, *mongo.Database) error {
		return func(ctx context.Context, source *mongo.Database) error {
			return loadEach(ctx, source, 0, failingChanges, func(id int) bson.D {
				if id%failingOf == 0 {
					return append(document(id, b.cfg.Size), bson.E{Key: "kind", Value: kind}, bson.E{Key: "value", Value: "evil"})
				}

				return append(document(id, b.cfg.Size), bson.E{Key: "kind", Value: int32(0)}, bson.E{Key: "value", Value: "good"})
			})
		}
	}

	d := drain{
		write:   mixed("0"),
		changes: failingChanges, applied: failingChanges, env: map[string]string{"BYPASS_VALIDATION": "false"},
		prepare: validate(bson.D{{Key: "value", Value: bson.D{{Key: "$type", Value: "string"}}}}),
	}

	healthy, err := b.drain(ctx, d)
	if err != nil {
		return err
	}

	d.applied -= failingChanges / failingOf
	d.prepare = validate(bson.D{{Key: "kind", Value: bson.D{{Key: "$type", Value: "int"}}}})

	unlike, err := b.drain(ctx, d)
	if err != nil {
		return err
	}

	d.write = mixed(int32(0))
	d.prepare = validate(bson.D{{Key: "value", Value: "good"}})

	alike, err := b.drain(ctx, d)
	b.results.healthy, b.results.unlike, b.results.alike = healthy.rate, unlike.rate, alike.rate
	b.results.parkedMemory = max(unlike.memory, alike.memory)

	return err
}

// validate gives every collection of the target a rule.
func validate(rule bson.D) func(context.Context, *mongo.Database) error {
	return func(ctx context.Context, target *mongo.Database) error {
		for _, name := range collections() {
			if err := target.RunCommand(ctx, bson.D{{Key: "collMod", Value: name}, {Key: "validator", Value: rule}}).Err(); err != nil {
				return fmt.Errorf("set the validator of %s: %w", name, err)
			}
		}

		return nil
	}
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
