package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
)

// Of the schema changes.
const (
	changesInARow = 1000
	changesAlone  = 40                     // each in a window of its own
	aWindow       = 500 * time.Millisecond // in which the flow is watched
	changing      = "bench_schema"         // begins the names of the collections that change
	end           = changing + "_end"      // is the collection that is made last
)

// schemaChanges are medians over the windows, but for the row of changes.
type schemaChanges struct {
	undisturbed, disturbed time.Duration // longest time in which no partition moved
	slowest                time.Duration // the longest of all windows
	command                time.Duration // on the target alone
	inARow, written        time.Duration // until the target has them, and until the source had
}

// schema writes steadily to sixteen partitions on three processors, and changes the schema beside that.
func (b *bench) schema(ctx context.Context) error {
	return b.apart(ctx, 0, map[string]string{"DDL": "on", "PARTITIONS": "16"}, func(world *harness.World, relay *harness.Relay) error {
		return b.writeAndBreak(ctx, world, relay, sharing, func(ctx context.Context) error { return b.changeSchema(ctx, world) })
	})
}

func (b *bench) changeSchema(ctx context.Context, world *harness.World) error {
	r := &b.results.schema

	still, _, err := pauses(ctx, world, func(context.Context, int) error { return nil })
	if err != nil {
		return err
	}

	source := world.Source.Client.Database(database)

	changed, slowest, err := pauses(ctx, world, func(ctx context.Context, i int) error { return change(ctx, source, i) })
	if err != nil {
		return err
	}

	r.undisturbed, r.disturbed, r.slowest = still, changed, slowest

	if r.command, err = onTarget(ctx, world); err != nil {
		return err
	}

	begin := time.Now()

	for i := range changesInARow {
		if err := change(ctx, source, i); err != nil {
			return err
		}
	}

	r.written = time.Since(begin)

	if err := source.CreateCollection(ctx, end); err != nil {
		return fmt.Errorf("make the last collection: %w", err)
	}

	if err := lastOne(ctx, world.Target.Client.Database(database)); err != nil {
		return err
	}

	r.inARow = time.Since(begin)

	return nil
}

// pauses watches a window for each change, and returns the median and the longest of the pauses in them.
func pauses(ctx context.Context, world *harness.World, happens func(context.Context, int) error) (median, longest time.Duration, err error) {
	commits := func(ctx context.Context) (sum uint64, err error) {
		checkpoints, err := checkpoint.Load(ctx, world.Target.Client, flow)
		for _, c := range checkpoints {
			sum += uint64(c.Commits)
		}

		return sum, err
	}

	all := make([]time.Duration, changesAlone)

	for i := range all {
		if all[i], err = gap(ctx, aWindow, commits, func() error { return happens(ctx, i) }); err != nil {
			return 0, 0, err
		}
	}

	slices.Sort(all)

	return all[len(all)/2], all[len(all)-1], nil
}

// onTarget is the median of the commands' times without the relay, beside the same traffic.
func onTarget(ctx context.Context, world *harness.World) (time.Duration, error) {
	db := world.Target.Client.Database(database + "_alone")
	all := make([]time.Duration, changesAlone)

	for i := range all {
		begin := time.Now()

		if err := change(ctx, db, i); err != nil {
			return 0, err
		}

		all[i] = time.Since(begin)
	}

	slices.Sort(all)

	return all[len(all)/2], nil
}

// change makes the next schema change: a collection comes, gets an index, gets another name, and goes.
func change(ctx context.Context, db *mongo.Database, i int) error {
	before := changing + strconv.Itoa(i/4)
	after := before + "_renamed"

	var err error

	switch i % 4 {
	case 0:
		err = db.CreateCollection(ctx, before)
	case 1:
		_, err = db.Collection(before).Indexes().CreateOne(ctx, mongo.IndexModel{Keys: bson.D{{Key: "n", Value: 1}}})
	case 2:
		err = db.Client().Database("admin").RunCommand(ctx, bson.D{
			{Key: "renameCollection", Value: db.Name() + "." + before}, {Key: "to", Value: db.Name() + "." + after},
		}).Err()
	default:
		err = db.Collection(after).Drop(ctx)
	}

	if err != nil {
		return fmt.Errorf("schema change %d: %w", i, err)
	}

	return nil
}

// lastOne waits for the last change, which the target makes after all others. It does not look at what else the target has:
// the stand-in lists some collections again, empty and with another UUID, after it has acknowledged their drop, and after
// that it got no command that names them.
func lastOne(ctx context.Context, target *mongo.Database) error {
	named := bson.D{{Key: "name", Value: end}}

	return harness.Await(ctx, 10*time.Millisecond, func(ctx context.Context) (bool, error) {
		names, err := target.ListCollectionNames(ctx, named)

		return len(names) > 0, err
	})
}
