package main

import (
	"context"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// drain is a stream full of changes that processors apply, with servers of its own.
type drain struct {
	write      func(ctx context.Context, source *mongo.Database) error // the changes, after the flow was made
	prepare    func(ctx context.Context, target *mongo.Database) error // how the target differs from the source, after the flow was made; nil: not at all
	changes    int
	applied    int // of them; the others are refused
	processors int
	delay      time.Duration     // of each way to the target; 0: none between
	env        map[string]string // of the processors
}

// drained is what came of it.
type drained struct {
	rate   float64       // applied changes per second, from the first checkpoint seen to move
	memory int64         // peak of the processor with the highest, in bytes
	cpu    time.Duration // of processors and target, from the start of the processors
}

func (b *bench) drain(ctx context.Context, d drain) (result drained, err error) {
	err = b.apart(ctx, d.delay, d.env, func(world *harness.World, relay *harness.Relay) error {
		if err := d.fill(ctx, world, relay); err != nil {
			return err
		}

		result, err = d.empty(ctx, world, relay)

		return err
	})

	return result, err
}

// lay makes the flow and then the changes, which nobody captures yet.
func (d *drain) lay(ctx context.Context, world *harness.World, relay *harness.Relay) error {
	source, target := world.Source.Client.Database(database), world.Target.Client.Database(database)

	for _, db := range []*mongo.Database{source, target} {
		if err := createCollections(ctx, db); err != nil {
			return err
		}
	}

	if err := relay.Init(ctx); err != nil {
		return err
	}

	if d.prepare != nil {
		if err := d.prepare(ctx, target); err != nil {
			return err
		}
	}

	return d.write(ctx, source)
}

// fill lays the changes and brings them into the flow's stream.
func (d *drain) fill(ctx context.Context, world *harness.World, relay *harness.Relay) error {
	if err := d.lay(ctx, world, relay); err != nil {
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

	if _, err := tailAt(ctx, stream, d.changes); err != nil {
		return fmt.Errorf("%w; the log ends:\n%s", err, relay.Listener.LastWords())
	}

	return nil // the listener goes on: processors may ask it for documents
}

func openStream(ctx context.Context, world *harness.World) (*topology.Stream, func(), error) {
	nc, js, err := world.NATS.JetStream()
	if err != nil {
		return nil, nil, err
	}

	stream, err := topology.Open(ctx, js, flow)
	if err != nil {
		nc.Close()

		return nil, nil, err
	}

	return stream, nc.Close, nil
}

// tailAt waits until this many changes are in the stream and returns its last message.
func tailAt(ctx context.Context, stream *topology.Stream, changes int) (last topology.Stored, err error) {
	err = harness.Await(ctx, 20*time.Millisecond, func(ctx context.Context) (bool, error) {
		last, err = stream.Tail(ctx)

		return err == nil && last.Event >= uint64(changes), err
	})

	return last, err
}

// empty starts the processors and waits until everything is applied.
func (d *drain) empty(ctx context.Context, world *harness.World, relay *harness.Relay) (drained, error) {
	before := cpuOf(world.Target.Server.PID())

	for _, s := range relay.Processors() {
		if err := s.Start(); err != nil {
			return drained{}, err
		}
	}

	if err := relay.Scale(ctx, max(d.processors, 1)); err != nil {
		return drained{}, err
	}

	rate, err := appliedRate(ctx, world.Target.Client, d.applied)
	if err != nil {
		return drained{}, fmt.Errorf("%w; the log ends:\n%s", err, relay.Processors()[0].LastWords())
	}

	result := drained{rate: rate, cpu: cpuOf(world.Target.Server.PID()) - before}
	for _, s := range relay.Processors() {
		result.memory = max(result.memory, s.Usage().PeakMemory)
		result.cpu += s.Usage().CPU
	}

	return result, nil
}

// appliedRate waits until this many changes are applied. The start of processes is no applying: the rate is from the
// first checkpoint seen to move.
func appliedRate(ctx context.Context, target *mongo.Client, changes int) (float64, error) {
	var (
		begin    time.Time
		at, seen int64
	)

	err := harness.Await(ctx, 20*time.Millisecond, func(ctx context.Context) (bool, error) {
		checkpoints, err := checkpoint.Load(ctx, target, flow)
		if err != nil {
			return false, err
		}

		seen = 0
		for _, c := range checkpoints {
			seen += c.Counters.Processed
		}

		if begin.IsZero() && seen > 0 {
			begin, at = time.Now(), seen
		}

		return seen >= int64(changes), nil
	})

	return perSecond(int(seen-at), time.Since(begin)), err
}
