package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// backlog makes the flow and then writes what the listener will find.
func (b *bench) backlog(ctx context.Context) error {
	db := b.world.Source.Client.Database(database)
	if err := createCollections(ctx, db); err != nil {
		return err
	}

	if err := b.relay.Init(ctx); err != nil {
		return err
	}

	spent := sourceOf(b.world)

	if err := load(ctx, db, 0, b.cfg.Changes, b.cfg.Size); err != nil {
		return err
	}

	b.results.writesCPU = sourceOf(b.world) - spent

	return nil
}

// sourceOf is what the source and this program have used so far.
func sourceOf(world *harness.World) time.Duration {
	return cpuOf(world.Source.Server.PID()) + cpuOf(os.Getpid())
}

// capture lets the listener drain the backlog. Its rate is from the first to the last message stored, by the server's
// clock: the start of a process is no capturing.
func (b *bench) capture(ctx context.Context) error {
	if err := b.relay.Listener.Start(); err != nil {
		return err
	}

	stream, closeStream, err := openStream(ctx, b.world)
	if err != nil {
		return err
	}
	defer closeStream()

	if b.results.capture, err = captureRate(ctx, stream, b.cfg.Changes); err != nil {
		return err
	}

	return b.relay.Listener.Stop(ctx)
}

// captureRate waits until this many changes are in the stream and returns how many came per second.
func captureRate(ctx context.Context, stream *topology.Stream, changes int) (float64, error) {
	last, err := tailAt(ctx, stream, changes)
	if err != nil {
		return 0, err
	}

	first, err := stream.At(ctx, firstEvent)
	if err != nil {
		return 0, err
	}

	return perSecond(changes, last.Time.Sub(first.Time)), nil
}

// firstEvent is the sequence of the first event: message 1 is a marker.
const firstEvent = 2

// cursorOnly reads the same change stream and drops what comes: the first ceiling of capture.
func (b *bench) cursorOnly(ctx context.Context) error {
	stream, closeStream, err := openStream(ctx, b.world)
	if err != nil {
		return err
	}
	defer closeStream()

	first, err := stream.At(ctx, 1)
	if err != nil {
		return err
	}

	cursor, err := b.world.Source.Client.Watch(ctx,
		mongo.Pipeline{{{Key: "$changeStreamSplitLargeEvent", Value: bson.D{}}}},
		options.ChangeStream().SetShowExpandedEvents(true).SetBatchSize(0).SetMaxAwaitTime(time.Second).SetResumeAfter(first.ResumeToken))
	if err != nil {
		return fmt.Errorf("open the change stream: %w", err)
	}
	defer func() { _ = cursor.Close(context.WithoutCancel(ctx)) }()

	cursor.SetBatchSize(followedBatch)

	var begin time.Time

	spent := sourceOf(b.world)

	for seen := range b.cfg.Changes {
		if !cursor.Next(ctx) {
			return fmt.Errorf("read the change stream: %w", cursor.Err())
		}

		if seen == 0 {
			begin = time.Now()
		}
	}

	b.results.cursor = perSecond(b.cfg.Changes, time.Since(begin))
	b.results.cursorCPU = sourceOf(b.world) - spent

	return nil
}

const (
	followedBatch = 2000 // events of a cursor's answer: as the listener

	askEvery = 100  // messages: as the listener
	window   = 1000 // messages published and not yet proven stored
)

// chainOnly publishes the very messages of the listener's stream, headers and all, into another one: the second ceiling
// of capture.
func (b *bench) chainOnly(ctx context.Context) error {
	nc, js, err := b.world.NATS.JetStream()
	if err != nil {
		return err
	}
	defer nc.Close()

	messages, err := readAll(ctx, js, b.cfg.Changes)
	if err != nil {
		return err
	}

	config := topology.StreamConfig(flow+"-ceiling", topology.Settings{Partitions: 1}, 0)
	config.MaxBytes = -1

	if _, err := js.CreateStream(ctx, config); err != nil {
		return fmt.Errorf("make a stream: %w", err)
	}

	used := func() time.Duration { return b.world.NATS.Usage().CPU + cpuOf(os.Getpid()) }
	spent := used()

	took, err := publishChain(ctx, nc, "cdc."+flow+"-ceiling", messages)
	if err != nil {
		return err
	}

	b.results.chain, b.results.chainCPU = perSecond(len(messages), took), used()-spent

	if err := js.DeleteStream(ctx, config.Name); err != nil {
		return fmt.Errorf("delete the stream: %w", err)
	}

	return nil
}

// readAll takes the messages of the flow's stream into memory.
func readAll(ctx context.Context, js jetstream.JetStream, count int) ([]*nats.Msg, error) {
	consumer, err := js.OrderedConsumer(ctx, topology.StreamName(flow), jetstream.OrderedConsumerConfig{})
	if err != nil {
		return nil, fmt.Errorf("make a consumer: %w", err)
	}

	iterator, err := consumer.Messages()
	if err != nil {
		return nil, fmt.Errorf("consume: %w", err)
	}
	defer iterator.Stop()

	messages := make([]*nats.Msg, 0, count+1)

	for len(messages) <= count { // with message 1
		msg, err := iterator.Next()
		if err != nil {
			return nil, fmt.Errorf("consume: %w", err)
		}

		messages = append(messages, &nats.Msg{Header: msg.Headers(), Data: msg.Data()})
	}

	return messages, nil
}

func publishChain(ctx context.Context, nc *nats.Conn, prefix string, messages []*nats.Msg) (time.Duration, error) {
	inbox := nats.NewInbox()

	acks, err := nc.SubscribeSync(inbox)
	if err != nil {
		return 0, fmt.Errorf("subscribe to the acks: %w", err)
	}
	defer func() { _ = acks.Unsubscribe() }()

	begin := time.Now()

	for i, open := 0, 0; i < len(messages); i++ {
		msg := messages[i]
		msg.Subject = fmt.Sprintf("%s.%02d.relay_bench.a", prefix, i%16)

		last := i == len(messages)-1
		if i%askEvery == askEvery-1 || last {
			msg.Reply = inbox
			open++
		}

		if err := nc.PublishMsg(msg); err != nil {
			return 0, fmt.Errorf("publish: %w", err)
		}

		for ; open >= window/askEvery || last && open > 0; open-- {
			ack, err := acks.NextMsgWithContext(ctx)
			if err != nil {
				return 0, fmt.Errorf("wait for an ack: %w", err)
			}

			if refused := string(ack.Data); len(ack.Data) == 0 || refused[:min(9, len(refused))] == `{"error":` {
				return 0, errors.New("the chain was refused: " + refused)
			}
		}
	}

	return time.Since(begin), nil
}

func perSecond(changes int, took time.Duration) float64 { return float64(changes) / took.Seconds() }
