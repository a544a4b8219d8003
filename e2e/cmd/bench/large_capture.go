package main

import (
	"context"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// captureLarge brings documents of the largest size into the stream, with the listener alone, and reads as many with a
// bare cursor. Writing them is part of both: few may wait for a reader, see harness.Captured.
func (b *bench) captureLarge(ctx context.Context) error {
	return b.apart(ctx, 0, nil, func(world *harness.World, relay *harness.Relay) error {
		db := world.Source.Client.Database(database)

		if err := createCollections(ctx, db); err != nil {
			return err
		}

		if err := relay.Init(ctx); err != nil {
			return err
		}

		if err := relay.Listener.Start(); err != nil {
			return err
		}

		stream, closeStream, err := openStream(ctx, world)
		if err != nil {
			return err
		}
		defer closeStream()

		// A first one shows that the listener is at work, and in how many messages a document comes.
		if _, err := insertLarge(ctx, db, 0, 1, func(ctx context.Context, count int) error { return partsAt(ctx, stream, count) }); err != nil {
			return err
		}

		last, err := stream.Tail(ctx)
		if err != nil {
			return err
		}

		arrived := func(ctx context.Context, count int) error { return partsAt(ctx, stream, count*last.Parts) }
		if b.results.largeInto, err = insertLarge(ctx, db, 1, b.cfg.Large, arrived); err != nil {
			return err
		}

		if err := relay.Listener.Stop(ctx); err != nil {
			return err
		}

		return b.largeCursor(ctx, world, db)
	})
}

// insertLarge inserts documents of the largest size and waits until all have arrived, and before each one until all but
// two have.
func insertLarge(ctx context.Context, db *mongo.Database, first, count int, arrived func(context.Context, int) error) (time.Duration, error) {
	begin := time.Now()

	for n := first; n < first+count; n++ {
		if err := arrived(ctx, max(n-1, first)); err != nil {
			return 0, err
		}

		if _, err := db.Collection(collections()[0]).InsertOne(ctx, document(largeFrom+n, largest)); err != nil {
			return 0, fmt.Errorf("insert: %w", err)
		}
	}

	err := arrived(ctx, first+count)

	return time.Since(begin), err
}

// partsAt waits until the stream has this many messages behind message 1.
func partsAt(ctx context.Context, stream *topology.Stream, count int) error {
	return harness.Await(ctx, time.Millisecond, func(ctx context.Context) (bool, error) {
		state, _, err := stream.State(ctx)

		return state.LastSeq >= uint64(firstEvent-1+count), err
	})
}

// largeCursor writes as many documents while a bare cursor reads them.
func (b *bench) largeCursor(ctx context.Context, world *harness.World, db *mongo.Database) error {
	cursor, err := world.Source.Client.Watch(ctx, mongo.Pipeline{{{Key: "$changeStreamSplitLargeEvent", Value: bson.D{}}}},
		options.ChangeStream().SetShowExpandedEvents(true).SetMaxAwaitTime(time.Second))
	if err != nil {
		return fmt.Errorf("open the change stream: %w", err)
	}
	defer func() { _ = cursor.Close(context.WithoutCancel(ctx)) }()

	first := b.cfg.Large + 1
	seen := first

	b.results.largeCursor, err = insertLarge(ctx, db, first, b.cfg.Large, func(ctx context.Context, count int) error {
		for ; seen < count; seen++ {
			if !cursor.Next(ctx) {
				return fmt.Errorf("read the change stream: %w", cursor.Err())
			}
		}

		return nil
	})

	return err
}
