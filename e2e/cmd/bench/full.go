package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"golang.org/x/sync/errgroup"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/verify/live"
)

// full writes as fast as the source takes it while everything runs.
func (b *bench) full(ctx context.Context) error {
	if err := replicate(ctx, b.relay); err != nil {
		return err
	}

	before, err := b.relay.Sample(ctx)
	if err != nil {
		return err
	}

	spent := func() []time.Duration {
		return []time.Duration{
			cpuOf(os.Getpid()), cpuOf(b.world.Source.Server.PID()), b.relay.Listener.Usage().CPU, b.world.NATS.Usage().CPU,
			b.relay.Processors()[0].Usage().CPU, cpuOf(b.world.Target.Server.PID()),
		}
	}
	spentBefore, begin := spent(), time.Now()

	if err := load(ctx, b.world.Source.Client.Database(database), b.cfg.Changes, b.cfg.Changes, b.cfg.Size); err != nil {
		return err
	}

	if err := applied(ctx, b.relay, before, uint64(b.cfg.Changes)); err != nil {
		return err
	}

	b.results.full = perSecond(b.cfg.Changes, time.Since(begin))
	b.results.fullCPU = difference(spent(), spentBefore)

	b.results.cpu = map[string]time.Duration{}
	b.results.memory = map[string]int64{}

	for _, s := range append(b.relay.Services(), b.world.NATS.Service) {
		usage := s.Usage()
		b.results.cpu[s.Name], b.results.memory[s.Name] = usage.CPU, usage.PeakMemory
	}

	result, err := live.Compare(ctx, b.world.Source.Client.Database(database), b.world.Target.Client.Database(database))
	if err != nil {
		return err
	}

	if !result.Equal() {
		return fmt.Errorf("source and target differ in %d documents: %v", result.Different, result.Differences)
	}

	return nil
}

// followed writes as full does while a bare cursor reads what comes: what the source and this program take for both when
// they are at work at the same time.
func (b *bench) followed(ctx context.Context) error {
	return b.apart(ctx, 0, nil, func(world *harness.World, _ *harness.Relay) error {
		db := world.Source.Client.Database(database)
		if err := createCollections(ctx, db); err != nil {
			return err
		}

		cursor, err := db.Watch(ctx, mongo.Pipeline{}, options.ChangeStream().SetShowExpandedEvents(true).SetBatchSize(followedBatch))
		if err != nil {
			return fmt.Errorf("open the change stream: %w", err)
		}
		defer func() { _ = cursor.Close(context.WithoutCancel(ctx)) }()

		spent := sourceOf(world)

		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() error { return load(ctx, db, 0, b.cfg.Changes, b.cfg.Size) })
		group.Go(func() error {
			for range b.cfg.Changes {
				if !cursor.Next(ctx) {
					return fmt.Errorf("read the change stream: %w", cursor.Err())
				}
			}

			return nil
		})

		err = group.Wait()
		b.results.followedCPU = sourceOf(world) - spent

		return err
	})
}

const idleTime = 20 * time.Second

// idle measures what the services use while nothing changes.
func (b *bench) idle(ctx context.Context) error {
	if err := b.relay.Init(ctx); err != nil { // without an earlier step there is no flow
		return err
	}

	if err := replicate(ctx, b.relay); err != nil {
		return err
	}

	total := func() (cpu time.Duration) {
		for _, s := range b.relay.Services() {
			cpu += s.Usage().CPU
		}

		return cpu
	}

	spent, begin := total(), time.Now()

	timer := time.NewTimer(idleTime)
	defer timer.Stop()

	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}

	b.results.idle = float64(total()-spent) / float64(time.Since(begin))

	return nil
}
