package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/traffic"
	"github.com/atlas-relay/atlas-relay/e2e/verify/live"
)

// full writes as fast as the source takes it while everything runs.
func (b *bench) full(ctx context.Context) error {
	if err := b.replicate(ctx); err != nil {
		return err
	}

	before, err := b.relay.Sample(ctx)
	if err != nil {
		return err
	}

	spent := b.cpu()
	begin := time.Now()

	if err := load(ctx, b.world.Source.Client.Database(database), b.cfg.Changes, b.cfg.Changes, b.cfg.Size); err != nil {
		return err
	}

	if err := b.applied(ctx, before, uint64(b.cfg.Changes)); err != nil {
		return err
	}

	b.results.full = perSecond(b.cfg.Changes, time.Since(begin))
	b.results.cpuPer100k = time.Duration(float64(b.cpu()-spent) / float64(b.cfg.Changes) * 100_000)

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

// cpu is what listener, processor and NATS have used so far.
func (b *bench) cpu() time.Duration {
	return b.relay.Listener.Usage().CPU + b.relay.Processors()[0].Usage().CPU + b.world.NATS.Usage().CPU
}

// latencyTime is how long the latency runs last.
const latencyTime = 20 * time.Second

// latencyFloor is what a change stream of the source alone takes to show a write.
func (b *bench) latencyFloor(ctx context.Context) error {
	var err error

	nothing := func(context.Context, uint64) error { return nil } // the recording sees it all

	b.results.floor, err = b.measureLatency(ctx, b.world.Source, database+"_floor", nothing)

	return err
}

// latency is from the acknowledgement of a write to its event in a change stream of the target.
func (b *bench) latency(ctx context.Context) error {
	if err := b.replicate(ctx); err != nil {
		return err
	}

	before, err := b.relay.Sample(ctx)
	if err != nil {
		return err
	}

	b.results.latency, err = b.measureLatency(ctx, b.world.Target, database, func(ctx context.Context, changes uint64) error {
		return b.applied(ctx, before, changes)
	})

	return err
}

// measureLatency writes at the rate of the configuration and watches where the changes arrive. settle waits until all of
// them have.
func (b *bench) measureLatency(
	ctx context.Context, watched harness.Place, name string, settle func(ctx context.Context, changes uint64) error,
) (traffic.Latency, error) {
	writes := traffic.New(b.world.Source.Client.Database(name), traffic.Options{Seed: 1, Rate: float64(b.cfg.Rate), Padding: b.cfg.Size / 2})
	if err := writes.Prepare(ctx); err != nil {
		return traffic.Latency{}, err
	}

	order, err := live.NewOrder(ctx, watched.Client.Database(name), writes.Journal().Seen)
	if err != nil {
		return traffic.Latency{}, err
	}

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return order.Run(ctx) })
	group.Go(func() error {
		if err := writes.Run(ctx, latencyTime); err != nil {
			return err
		}

		if err := settle(ctx, writes.Journal().Changes()); err != nil {
			return err
		}

		return order.Finish(ctx)
	})

	if err := group.Wait(); err != nil {
		return traffic.Latency{}, err
	}

	_, err = order.Verdict()

	return writes.Journal().Latency(), err
}

const idleTime = 20 * time.Second

// idle measures what the services use while nothing changes.
func (b *bench) idle(ctx context.Context) error {
	if err := b.replicate(ctx); err != nil {
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
