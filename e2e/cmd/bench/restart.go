package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"golang.org/x/sync/errgroup"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
)

// tiny is the size of the documents of which a large backlog is made.
const tiny = 100

// restart starts listener and processor with a large backlog in the stream and measures how long each takes until it is
// at work: the listener has stored a change that waited for it, the processor has committed a batch.
func (b *bench) restart(ctx context.Context) error {
	return b.apart(ctx, 0, nil, func(world *harness.World, relay *harness.Relay) error {
		db := world.Source.Client.Database(database)

		if err := b.captureBacklog(ctx, world, relay, db); err != nil {
			return err
		}

		if _, err := db.Collection(collections()[0]).InsertOne(ctx, document(b.cfg.Backlog, tiny)); err != nil {
			return fmt.Errorf("insert: %w", err)
		}

		stream, closeStream, err := openStream(ctx, world)
		if err != nil {
			return err
		}
		defer closeStream()

		b.results.listenerStart, err = working(relay.Listener, func() error {
			_, err := tailAt(ctx, stream, b.cfg.Backlog+1)

			return err
		})
		if err != nil {
			return err
		}

		b.results.processorStart, err = working(relay.Processors()[0], func() error { return firstBatch(ctx, world.Target.Client) })

		return err
	})
}

// captureBacklog brings the backlog into the stream while it is written.
func (b *bench) captureBacklog(ctx context.Context, world *harness.World, relay *harness.Relay, db *mongo.Database) error {
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

	group, writing := errgroup.WithContext(ctx)
	group.Go(func() error { return load(writing, db, 0, b.cfg.Backlog, tiny) })
	group.Go(func() error {
		_, err := tailAt(writing, stream, b.cfg.Backlog)

		return err
	})

	return errors.Join(group.Wait(), relay.Listener.Stop(ctx))
}

// working is how long a service takes from its start until it works.
func working(s *harness.Service, works func() error) (time.Duration, error) {
	begin := time.Now()

	if err := s.Start(); err != nil {
		return 0, err
	}

	if err := works(); err != nil {
		return 0, fmt.Errorf("%s does not work: %w; its log ends:\n%s", s.Name, err, s.LastWords())
	}

	return time.Since(begin), nil
}

// firstBatch waits until a partition has applied something.
func firstBatch(ctx context.Context, target *mongo.Client) error {
	return harness.Await(ctx, 20*time.Millisecond, func(ctx context.Context) (bool, error) {
		checkpoints, err := checkpoint.Load(ctx, target, flow)

		for _, c := range checkpoints {
			if c.Counters.Processed > 0 {
				return true, err
			}
		}

		return false, err
	})
}
