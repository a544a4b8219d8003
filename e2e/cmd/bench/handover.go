package main

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/traffic"
	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
)

// Of the hand-over runs.
const (
	sharing = 3                // processors
	lookAt  = 5 * time.Second  // how long the checkpoints are watched around a clean hand-over
	crash   = 10 * time.Second // and around a crash: longer than leases last
)

// handover writes steadily while processors join, leave and die, and watches for how long a partition stands still.
func (b *bench) handover(ctx context.Context) error {
	return b.apart(ctx, 0, nil, func(world *harness.World, relay *harness.Relay) error {
		return b.writeAndBreak(ctx, world, relay, sharing, func(ctx context.Context) error { return b.breakOwnerships(ctx, world, relay) })
	})
}

// writeAndBreak writes steadily to a flow with so many processors while its services are broken.
func (b *bench) writeAndBreak(ctx context.Context, world *harness.World, relay *harness.Relay, processors int, breaks func(context.Context) error) error {
	writes := traffic.New(world.Source.Client.Database(database), traffic.Options{Seed: 1, Rate: float64(b.cfg.Rate)})
	if err := writes.Prepare(ctx); err != nil {
		return err
	}

	if err := relay.Init(ctx); err != nil {
		return err
	}

	if err := relay.Start(); err != nil {
		return err
	}

	if err := relay.Scale(ctx, processors); err != nil {
		return err
	}

	if _, err := relay.Await(ctx, "a flow that replicates", harness.Replicating); err != nil {
		return err
	}

	end := make(chan struct{})
	group, groupCtx := errgroup.WithContext(ctx)

	group.Go(func() error { return writes.RunUntil(groupCtx, end) })
	group.Go(func() error {
		defer close(end)

		return breaks(groupCtx)
	})

	return group.Wait()
}

func (b *bench) breakOwnerships(ctx context.Context, world *harness.World, relay *harness.Relay) error {
	runs := []struct {
		longest *time.Duration
		watch   time.Duration
		happens func() error
	}{
		{&b.results.undisturbed, lookAt, func() error { return nil }},
		{&b.results.join, lookAt, func() error { return relay.Scale(ctx, sharing+1) }},
		{&b.results.leave, lookAt, func() error { return relay.Scale(ctx, sharing) }},
		{&b.results.takeOver, crash, func() error { return relay.Processors()[sharing-1].Kill() }},
	}

	for _, run := range runs {
		longest, err := standstill(ctx, world, run.watch, run.happens)
		if err != nil {
			return err
		}

		*run.longest = longest
	}

	return nil
}

// standstill is the longest time for which any partition committed nothing, around something that happens.
func standstill(ctx context.Context, world *harness.World, watch time.Duration, happens func() error) (longest time.Duration, err error) {
	commits, moved := map[int]int64{}, map[int]time.Time{}
	happened := make(chan error, 1)
	begin := time.Now()

	go func() { happened <- happens() }()

	err = harness.Await(ctx, 10*time.Millisecond, func(ctx context.Context) (bool, error) {
		checkpoints, err := checkpoint.Load(ctx, world.Target.Client, flow)
		if err != nil {
			return false, err
		}

		now := time.Now()

		for p, c := range checkpoints {
			if since, known := moved[p]; known {
				longest = max(longest, now.Sub(since))
			}

			if _, known := moved[p]; !known || commits[p] != c.Commits {
				commits[p], moved[p] = c.Commits, now
			}
		}

		return now.Sub(begin) >= watch, nil
	})

	return longest, errors.Join(err, <-happened)
}
