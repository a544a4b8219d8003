package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"golang.org/x/sync/errgroup"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/traffic"
	"github.com/atlas-relay/atlas-relay/e2e/verify/live"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// latencyTime is how long each of the latency runs lasts.
const latencyTime = 20 * time.Second

// legs are what a change cannot do without, each measured alone at the same rate between the same servers.
type legs struct {
	stream      traffic.Latency // from the acknowledgement of a write to its event in a change stream of the source
	message     traffic.Latency // from the publication of a message to its arrival at a consumer
	transaction traffic.Latency // of one document and a checkpoint, by the bare driver
}

// latency is from the acknowledgement of a write to its event in a change stream of the target, between servers of its
// own: what other steps left to be written to the disk would count as the relay's.
func (b *bench) latency(ctx context.Context) error {
	return b.apart(ctx, 0, nil, func(world *harness.World, relay *harness.Relay) error {
		if err := relay.Init(ctx); err != nil {
			return err
		}

		if err := b.measureLegs(ctx, world); err != nil {
			return err
		}

		if err := replicate(ctx, relay); err != nil {
			return err
		}

		before, err := relay.Sample(ctx)
		if err != nil {
			return err
		}

		b.results.latency, err = b.seenAt(ctx, world, world.Target, database, func(ctx context.Context, changes uint64) error {
			return applied(ctx, relay, before, changes)
		})

		return err
	})
}

func (b *bench) measureLegs(ctx context.Context, world *harness.World) (err error) {
	l := &b.results.legs
	nothing := func(context.Context, uint64) error { return nil } // the recording sees it all

	if l.stream, err = b.seenAt(ctx, world, world.Source, database+"_floor", nothing); err != nil {
		return err
	}

	if l.message, err = b.messages(ctx, world); err != nil {
		return err
	}

	l.transaction, err = b.transactions(ctx, world.Target.Client)

	return err
}

// seenAt writes at the rate of the configuration and watches where the changes arrive. settle waits until all of them
// have.
func (b *bench) seenAt(
	ctx context.Context, world *harness.World, watched harness.Place, name string, settle func(ctx context.Context, changes uint64) error,
) (traffic.Latency, error) {
	writes := traffic.New(world.Source.Client.Database(name), traffic.Options{Seed: 1, Rate: float64(b.cfg.Rate), Padding: b.cfg.Size / 2})
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

// messages publishes to a stream like the flow's and consumes it.
func (b *bench) messages(ctx context.Context, world *harness.World) (traffic.Latency, error) {
	nc, js, err := world.NATS.JetStream()
	if err != nil {
		return traffic.Latency{}, err
	}
	defer nc.Close()

	config := topology.StreamConfig(flow+"-leg", topology.Settings{Partitions: 1}, 0)
	config.MaxBytes = -1

	stream, err := js.CreateStream(ctx, config)
	if err != nil {
		return traffic.Latency{}, fmt.Errorf("make a stream: %w", err)
	}

	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return traffic.Latency{}, fmt.Errorf("make a consumer: %w", err)
	}

	iterator, err := consumer.Messages()
	if err != nil {
		return traffic.Latency{}, fmt.Errorf("consume: %w", err)
	}
	defer iterator.Stop()

	number := b.cfg.Rate * int(latencyTime.Seconds())
	begin := time.Now()

	var group errgroup.Group

	group.Go(func() error {
		return b.eachBeat(ctx, number, func() error {
			payload := make([]byte, b.cfg.Size)
			binary.LittleEndian.PutUint64(payload, uint64(time.Since(begin)))

			return nc.PublishMsg(&nats.Msg{Subject: "cdc." + flow + "-leg.00.relay_bench.a", Data: payload})
		})
	})

	took := make([]time.Duration, 0, number)

	for len(took) < number {
		msg, err := iterator.Next(jetstream.NextContext(ctx))
		if err != nil {
			return traffic.Latency{}, errors.Join(fmt.Errorf("consume: %w", err), group.Wait())
		}

		took = append(took, time.Since(begin)-time.Duration(binary.LittleEndian.Uint64(msg.Data())))
	}

	return traffic.Distribution(took), errors.Join(group.Wait(), js.DeleteStream(ctx, config.Name))
}

// transactions commits one document and a checkpoint at a time.
func (b *bench) transactions(ctx context.Context, target *mongo.Client) (traffic.Latency, error) {
	db := target.Database(database + "_leg")
	if err := errors.Join(createCollections(ctx, db), makeCheckpoint(ctx, db, 0)); err != nil {
		return traffic.Latency{}, err
	}

	session, err := startSession(target)
	if err != nil {
		return traffic.Latency{}, err
	}
	defer session.EndSession(context.WithoutCancel(ctx))

	number := b.cfg.Rate * int(latencyTime.Seconds())
	took := make([]time.Duration, 0, number)

	err = b.eachBeat(ctx, number, func() error {
		begin, id := time.Now(), len(took)
		err := b.commit(ctx, session, db, 0, id, []int{id})
		took = append(took, time.Since(begin))

		return err
	})
	if err != nil {
		return traffic.Latency{}, err
	}

	return traffic.Distribution(took), db.Drop(ctx)
}

// eachBeat does something this many times at the rate of the configuration.
func (b *bench) eachBeat(ctx context.Context, number int, do func() error) error {
	ticker := time.NewTicker(time.Second / time.Duration(b.cfg.Rate))
	defer ticker.Stop()

	for range number {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}

		if err := do(); err != nil {
			return err
		}
	}

	return nil
}
