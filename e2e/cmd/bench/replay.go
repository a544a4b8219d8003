package main

import (
	"context"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// delayedReplay is how far the target is away in each direction when a backlog is replayed over a network.
const delayedReplay = 2500 * time.Microsecond

// replayed is what came of one backlog.
type replayed struct {
	rate float64       // applied changes per second, from the first checkpoint seen to move
	cpu  time.Duration // of listener, processor and NATS, per 100 000 changes
}

// replay lets listener and processor start together behind a source that has a backlog: what a relay has to do after it
// was away. The second one is as large, with the target at a distance; the third is larger, and shows what a change costs
// then.
func (b *bench) replay(ctx context.Context) (err error) {
	r := &b.results

	if r.replay, err = b.replayOf(ctx, b.cfg.Changes, 0); err != nil {
		return err
	}

	if r.replayAway, err = b.replayOf(ctx, b.cfg.Changes, delayedReplay); err != nil {
		return err
	}

	r.replayLarge, err = b.replayOf(ctx, b.cfg.Backlog, 0)

	return err
}

func (b *bench) replayOf(ctx context.Context, changes int, away time.Duration) (result replayed, err error) {
	d := &drain{write: func(ctx context.Context, source *mongo.Database) error {
		return load(ctx, source, 0, changes, b.cfg.Size)
	}}

	err = b.apart(ctx, away, nil, func(world *harness.World, relay *harness.Relay) error {
		if err := d.lay(ctx, world, relay); err != nil {
			return err
		}

		processor := relay.Processors()[0]
		spent := func() time.Duration {
			return relay.Listener.Usage().CPU + processor.Usage().CPU + world.NATS.Usage().CPU
		}
		before := spent()

		for _, s := range []*harness.Service{relay.Listener, processor} {
			if err := s.Start(); err != nil {
				return err
			}
		}

		rate, err := appliedRate(ctx, world.Target.Client, changes)
		if err != nil {
			return fmt.Errorf("%w; the log ends:\n%s", err, processor.LastWords())
		}

		result = replayed{rate: rate, cpu: per100k(spent()-before, changes)}

		return nil
	})

	return result, err
}

func (b *bench) replayRows() []row {
	r := &b.results
	ofAway := fmt.Sprintf("— the target %d ms away", (2 * delayedReplay).Milliseconds())

	return []row{
		above("replay of a backlog: listener and processor together", r.replay.rate, replayGoal, rate),
		plain("— CPU per 100 000 changes: listener, processor, NATS", seconds(r.replay.cpu)),
		plain(ofAway, rate(r.replayAway.rate)),
		plain(fmt.Sprintf("— %d changes", b.cfg.Backlog), rate(r.replayLarge.rate)),
		below(fmt.Sprintf("— CPU per change then, of that of %d", b.cfg.Changes), float64(r.replayLarge.cpu)/float64(r.replay.cpu), flatGoal, share),
	}
}
