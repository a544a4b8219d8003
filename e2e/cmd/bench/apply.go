package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"golang.org/x/sync/errgroup"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// apply lets the processor drain the stream into the empty target.
func (b *bench) apply(ctx context.Context) error {
	target := b.world.Target.Client
	if err := createCollections(ctx, target.Database(database)); err != nil {
		return err
	}

	processor := b.relay.Processors()[0]
	spent := func() []time.Duration {
		return []time.Duration{processor.Usage().CPU, b.world.NATS.Usage().CPU, cpuOf(b.world.Target.Server.PID())}
	}
	before := spent()

	if err := processor.Start(); err != nil {
		return err
	}

	rate, err := appliedRate(ctx, target, b.cfg.Changes)
	if err != nil {
		return fmt.Errorf("%w; the log ends:\n%s", err, processor.LastWords())
	}

	b.results.apply = rate
	b.results.applyCPU = difference(spent(), before)

	return processor.Stop(ctx)
}

// As the processor's defaults.
const (
	partitions  = 16
	concurrency = 8
	batchSize   = 100
)

// transactionsOnly writes the same documents in the same transactions, each with a checkpoint, by the driver alone: the
// ceiling of apply.
func (b *bench) transactionsOnly(ctx context.Context) error {
	db := b.world.Target.Client.Database(database + "_ceiling")
	if err := createCollections(ctx, db); err != nil {
		return err
	}

	lanes := make([][]int, partitions)
	for id := range b.cfg.Changes {
		lanes[id%partitions] = append(lanes[id%partitions], id)
	}

	for lane := range lanes {
		if err := makeCheckpoint(ctx, db, lane); err != nil {
			return err
		}
	}

	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)

	spent := func() []time.Duration { return []time.Duration{cpuOf(os.Getpid()), cpuOf(b.world.Target.Server.PID())} }
	before, begin := spent(), time.Now()

	for lane, ids := range lanes {
		group.Go(func() error { return b.applyLane(groupCtx, db, lane, ids) })
	}

	if err := group.Wait(); err != nil {
		return err
	}

	b.results.transactions = perSecond(b.cfg.Changes, time.Since(begin))
	b.results.transactionsCPU = difference(spent(), before)

	if err := db.Drop(ctx); err != nil {
		return fmt.Errorf("drop the ceiling's database: %w", err)
	}

	return nil
}

// cpuOf is what a process has used so far; 0 where that cannot be asked.
func cpuOf(pid int) time.Duration {
	usage, err := harness.UsageOf(pid)
	if err != nil {
		return 0
	}

	return usage.CPU
}

func difference(after, before []time.Duration) []time.Duration {
	list := make([]time.Duration, len(after))
	for i := range after {
		list[i] = after[i] - before[i]
	}

	return list
}

func (b *bench) applyLane(ctx context.Context, db *mongo.Database, lane int, ids []int) error {
	session, err := startSession(db.Client())
	if err != nil {
		return err
	}
	defer session.EndSession(context.WithoutCancel(ctx))

	for commits := 0; len(ids) > 0; commits++ {
		batch := ids[:min(batchSize, len(ids))]
		ids = ids[len(batch):]

		if err := b.commit(ctx, session, db, lane, commits, batch); err != nil {
			return err
		}
	}

	return nil
}

// commit writes documents and moves a checkpoint in one transaction.
func (b *bench) commit(ctx context.Context, session *mongo.Session, db *mongo.Database, lane, commits int, ids []int) error {
	names := collections()
	models := []mongo.ClientBulkWrite{{
		Database: db.Name(), Collection: "checkpoints",
		Model: mongo.NewClientUpdateOneModel().
			SetFilter(bson.D{{Key: "_id", Value: lane}, {Key: "commits", Value: int64(commits)}}).
			SetUpdate(bson.D{{Key: "$set", Value: bson.D{{Key: "commits", Value: int64(commits + 1)}}}}),
	}}

	for _, id := range ids {
		raw, err := bson.Marshal(document(id, b.cfg.Size))
		if err != nil {
			return fmt.Errorf("make a document: %w", err)
		}

		models = append(models, mongo.ClientBulkWrite{
			Database: db.Name(), Collection: names[id/insertMany%len(names)],
			Model: mongo.NewClientReplaceOneModel().
				SetFilter(bson.D{{Key: "_id", Value: int64(id)}}).SetReplacement(bson.Raw(raw)).SetUpsert(true),
		})
	}

	_, err := session.WithTransaction(ctx, func(ctx context.Context) (any, error) {
		result, err := db.Client().BulkWrite(ctx, models, options.ClientBulkWrite().SetOrdered(true))
		if err == nil && result.UpsertedCount != int64(len(ids)) {
			err = errors.New("not every document was inserted")
		}

		return nil, err
	}, options.Transaction().SetReadConcern(&readconcern.ReadConcern{})) // nothing is read; a stand-in refuses it here
	if err != nil {
		return fmt.Errorf("run a transaction: %w", err)
	}

	return nil
}

// startSession is one like the processor's.
func startSession(target *mongo.Client) (*mongo.Session, error) {
	session, err := target.StartSession(options.Session().SetCausalConsistency(false))
	if err != nil {
		return nil, fmt.Errorf("start a session: %w", err)
	}

	return session, nil
}

// makeCheckpoint makes one that commit moves.
func makeCheckpoint(ctx context.Context, db *mongo.Database, lane int) error {
	_, err := db.Collection("checkpoints").InsertOne(ctx, bson.D{{Key: "_id", Value: lane}, {Key: "commits", Value: int64(0)}})
	if err != nil {
		return fmt.Errorf("make a checkpoint: %w", err)
	}

	return nil
}
