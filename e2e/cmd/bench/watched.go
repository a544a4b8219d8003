package main

import (
	"context"
	"fmt"
	"math"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
)

// Of the run that shows what statistics cost the data path. Single drains of this machine differ by a third; windows of
// one drain, taken in turn, meet the same noise.
const (
	watchedBacklogs = 10          // times the changes of a run
	watchedWindow   = time.Second // the statistics look at a flow once a second
)

// watched drains one backlog and measures it by windows: in one of two the statistics are watched, in the other they are
// frozen, with what waits for their answers. What they have to catch up with when they go on counts as theirs.
func (b *bench) watched(ctx context.Context) error {
	changes := watchedBacklogs * b.cfg.Changes
	write := func(ctx context.Context, source *mongo.Database) error {
		return load(ctx, source, 0, changes, b.cfg.Size)
	}

	return b.apart(ctx, 0, nil, func(world *harness.World, relay *harness.Relay) error {
		if err := (&drain{write: write, changes: changes}).fill(ctx, world, relay); err != nil {
			return err
		}

		leave, err := watch(ctx, relay)
		if err != nil {
			return err
		}
		defer leave()

		if err := relay.Processors()[0].Start(); err != nil {
			return err
		}

		if _, err := appliedRate(ctx, world.Target.Client, 1); err != nil {
			return fmt.Errorf("%w; the log ends:\n%s", err, relay.Processors()[0].LastWords())
		}

		return b.pairs(ctx, world, relay, changes)
	})
}

// pairs measures pairs of windows until too little is left for another one.
func (b *bench) pairs(ctx context.Context, world *harness.World, relay *harness.Relay, changes int) error {
	defer func() { _ = relay.Stats.Thaw() }() // of an error: the relay stops it next

	s := &b.results.statistics
	spent := func() time.Duration {
		return relay.Processors()[0].Usage().CPU + world.NATS.Usage().CPU + cpuOf(world.Target.Server.PID()) + relay.Stats.Usage().CPU
	}

	for n := 0; ; n++ {
		var (
			pair [2]lookWindow // alone, watched
			seen int64
			err  error
		)

		for i := range pair {
			// The first of a pair is now the one, now the other.
			isWatched := (n+i)%2 == 1
			turn, kind := relay.Stats.Freeze, 0

			if isWatched {
				turn, kind = relay.Stats.Thaw, 1
			}

			if err := turn(); err != nil {
				return err
			}

			before := spent()

			if pair[kind].rate, seen, err = windowRate(ctx, world.Target.Client); err != nil {
				return err
			}

			pair[kind].cpu = spent() - before
		}

		const pairsAhead = 2 // the last ones would meet partitions that are done

		if left := changes - int(seen); float64(left) < pairsAhead*(pair[0].rate+pair[1].rate)*watchedWindow.Seconds() {
			if n == 0 {
				return fmt.Errorf("%d changes are too few for two pairs of windows: set a higher BENCH_CHANGES", changes)
			}

			return nil
		}

		s.alone, s.watched = append(s.alone, pair[0]), append(s.watched, pair[1])
	}
}

// lookWindow is one of them.
type lookWindow struct {
	rate float64       // changes applied per second
	cpu  time.Duration // of processor, NATS, target and statistics
}

// ratio is the mean of what each watched window had of the rate of the one beside it, with its standard error, and the CPU
// time per change watched, of that alone.
func (s *statistics) ratio() (mean, deviation, cpu float64) {
	var alone, watched lookWindow

	n := float64(len(s.alone))

	for i, a := range s.alone {
		w := s.watched[i]
		mean += w.rate / a.rate / n
		alone, watched = lookWindow{alone.rate + a.rate, alone.cpu + a.cpu}, lookWindow{watched.rate + w.rate, watched.cpu + w.cpu}
	}

	for i, a := range s.alone {
		apart := s.watched[i].rate/a.rate - mean
		deviation += apart * apart
	}

	return mean, math.Sqrt(deviation / n / max(n-1, 1)), (float64(watched.cpu) / watched.rate) / (float64(alone.cpu) / alone.rate)
}

// windowRate is how many changes a second are applied in a window, and how many are by its end.
func windowRate(ctx context.Context, target *mongo.Client) (rate float64, seen int64, err error) {
	before, err := processed(ctx, target)
	if err != nil {
		return 0, 0, err
	}

	begin := time.Now()

	timer := time.NewTimer(watchedWindow)
	defer timer.Stop()

	select {
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	case <-timer.C:
	}

	seen, err = processed(ctx, target)

	return perSecond(int(seen-before), time.Since(begin)), seen, err
}

func processed(ctx context.Context, target *mongo.Client) (sum int64, err error) {
	checkpoints, err := checkpoint.Load(ctx, target, flow)

	for _, c := range checkpoints {
		sum += c.Counters.Processed
	}

	return sum, err
}
