package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/fault"
	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// failovers are the gaps in publishing, around each end of the active listener.
type failovers struct{ undisturbed, stopped, killed, cutOff, frozen time.Duration }

// failover writes steadily, ends the active of two listeners in each way there is, and watches for how long the stream does not
// grow.
func (b *bench) failover(ctx context.Context) error {
	return b.apart(ctx, 0, nil, func(world *harness.World, relay *harness.Relay) error {
		return b.writeAndBreak(ctx, world, relay, 1, func(ctx context.Context) error { return b.endListeners(ctx, world, relay) })
	})
}

func (b *bench) endListeners(ctx context.Context, world *harness.World, relay *harness.Relay) error {
	nc, js, err := world.NATS.JetStream()
	if err != nil {
		return err
	}
	defer nc.Close()

	stream, err := topology.Open(ctx, js, flow)
	if err != nil {
		return err
	}

	proxy, err := fault.Listen(ctx, strings.TrimPrefix(world.NATS.URL(), "nats://"))
	if err != nil {
		return err
	}
	defer proxy.Close()

	published := func(ctx context.Context) (uint64, error) {
		state, _, err := stream.State(ctx)

		return state.LastSeq, err
	}

	first, second := relay.Listener, relay.AddListener(ctx, map[string]string{"NATS_URL": "nats://" + proxy.Addr()})

	for _, run := range []struct {
		active, standby *harness.Service
		gap             *time.Duration
		end             func() error
	}{
		{first, second, &b.results.failovers.undisturbed, func() error { return nil }},
		{first, second, &b.results.failovers.stopped, func() error { return first.Stop(ctx) }},
		{second, first, &b.results.failovers.killed, second.Kill},
		{first, second, &b.results.failovers.frozen, first.Freeze},
		{second, first, &b.results.failovers.cutOff, func() error { proxy.Swallow(); return nil }},
	} {
		if err := ready(run.standby); err != nil {
			return err
		}

		_, err := relay.Await(ctx, "a listener and its standby", func(s *relayv1.Stats) bool {
			return run.active.Streams(s) && run.standby.StandsBy(s)
		})
		if err != nil {
			return err
		}

		if *run.gap, err = gap(ctx, crash, published, run.end); err != nil {
			return err
		}
	}

	return nil
}

// ready starts what does not run and thaws what is frozen.
func ready(s *harness.Service) error {
	if !s.Runs() {
		return s.Start()
	}

	return s.Thaw()
}

// gap is the longest time for which something that grows did not, around something that happens.
func gap(
	ctx context.Context, watch time.Duration, size func(context.Context) (uint64, error), happens func() error,
) (longest time.Duration, err error) {
	happened := make(chan error, 1)
	begin := time.Now()
	last, grown := uint64(0), begin

	go func() { happened <- happens() }()

	err = harness.Await(ctx, time.Millisecond, func(ctx context.Context) (bool, error) {
		present, err := size(ctx)
		now := time.Now()

		if last > 0 {
			longest = max(longest, now.Sub(grown))
		}

		if present != last {
			last, grown = present, now
		}

		return now.Sub(begin) >= watch, err
	})

	return longest, errors.Join(err, <-happened)
}
