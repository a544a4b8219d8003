package main

import (
	"context"
	"fmt"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// largest is the size of the largest document that MongoDB takes, largeFrom the first _id of such documents.
const (
	largest   = 16 << 20
	largeFrom = 1 << 30
)

// ahead is how many large documents may wait for the listener beside the one that is written; see harness.Captured.
const ahead = 1

// large sends documents of the largest size.
func (b *bench) large(ctx context.Context) error {
	return b.apart(ctx, 0, nil, func(world *harness.World, relay *harness.Relay) error { return b.sendLarge(ctx, world, relay) })
}

func (b *bench) sendLarge(ctx context.Context, world *harness.World, relay *harness.Relay) error {
	db := world.Source.Client.Database(database)

	if err := createCollections(ctx, db); err != nil {
		return err
	}

	if err := relay.Init(ctx); err != nil {
		return err
	}

	if err := relay.Start(); err != nil {
		return err
	}

	begin := time.Now()

	for n := range b.cfg.Large {
		if _, err := relay.Await(ctx, "documents captured", harness.Captured(uint64(max(n-ahead, 0)))); err != nil {
			return err
		}

		if _, err := db.Collection(collections()[0]).InsertOne(ctx, document(largeFrom+n, largest)); err != nil {
			return fmt.Errorf("insert: %w", err)
		}
	}

	if _, err := relay.Await(ctx, "everything applied", harness.Applied(uint64(b.cfg.Large))); err != nil {
		return err
	}

	b.results.largeTook = time.Since(begin)
	b.results.largeMemory = map[string]int64{}

	for _, s := range relay.Services() {
		b.results.largeMemory[s.Name] = s.Usage().PeakMemory
	}

	return nil
}
