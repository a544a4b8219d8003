package main

import (
	"context"
	"errors"
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

// large sends documents of the largest size through a relay of its own, on new servers: nothing that the runs before it
// left behind counts.
func (b *bench) large(ctx context.Context) (err error) {
	world, err := harness.StartWorld(ctx, harness.WorldOptions{Programs: b.programs, Source: b.choice, Target: b.choice})
	if err != nil {
		return err
	}

	defer func() { err = errors.Join(err, world.Stop(context.WithoutCancel(ctx))) }()

	relay, err := world.Relay(ctx, b.programs, flow, map[string]string{"INCLUDE_NAMESPACES": database + ".*"})
	if err != nil {
		return err
	}

	defer func() { err = errors.Join(err, relay.Stop(context.WithoutCancel(ctx))) }()

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
