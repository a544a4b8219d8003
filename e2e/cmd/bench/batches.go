package main

import (
	"context"
	"errors"
	"os"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// replicas of the replicated stream, each on a server of its own.
const replicas = 3

// capturing is a flow whose listener drains the backlog that the flows of a step share.
type capturing struct {
	flow    string
	env     map[string]string
	connect func() (*nats.Conn, jetstream.JetStream, error)
	rate    *float64 // the result

	relay *harness.Relay
}

// publishModes captures one backlog three times: as a chain, in atomic batches, and in batches to a replicated stream.
func (b *bench) publishModes(ctx context.Context) error {
	return b.apart(ctx, 0, nil, func(world *harness.World, relay *harness.Relay) (err error) {
		dir, err := os.MkdirTemp("", "atlas-relay-bench-cluster-*")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)

		cluster, err := harness.StartCluster(ctx, b.programs, dir, replicas)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, cluster.Stop(context.WithoutCancel(ctx))) }()

		flows := []*capturing{
			{flow: flow, relay: relay, connect: world.NATS.JetStream, rate: &b.results.asChain},
			{flow: flow + "-batch", env: map[string]string{"STREAM_PUBLISH": "batch"}, connect: world.NATS.JetStream, rate: &b.results.inBatches},
			{flow: flow + "-replicas", env: map[string]string{"STREAM_REPLICAS": "3", "NATS_URL": cluster.URL()}, connect: cluster.JetStream, rate: &b.results.replicated},
		}

		defer func() {
			for _, c := range flows[1:] { // the first one is the caller's
				if c.relay != nil {
					err = errors.Join(err, c.relay.Stop(context.WithoutCancel(ctx)))
				}
			}
		}()

		if err := b.prepareFlows(ctx, world, flows); err != nil {
			return err
		}

		for _, c := range flows {
			if err := c.run(ctx, b.cfg.Changes); err != nil {
				return err
			}
		}

		return nil
	})
}

// prepareFlows makes the flows and then writes what their listeners will find.
func (b *bench) prepareFlows(ctx context.Context, world *harness.World, flows []*capturing) error {
	db := world.Source.Client.Database(database)
	if err := createCollections(ctx, db); err != nil {
		return err
	}

	for _, c := range flows {
		if c.relay == nil {
			c.env["INCLUDE_NAMESPACES"] = database + ".*"

			relay, err := world.Relay(ctx, b.programs, c.flow, c.env)
			if err != nil {
				return err
			}

			c.relay = relay
		}

		if err := c.relay.Init(ctx); err != nil {
			return err
		}
	}

	return load(ctx, db, 0, b.cfg.Changes, b.cfg.Size)
}

// run measures as the capture run does.
func (c *capturing) run(ctx context.Context, changes int) error {
	if err := c.relay.Listener.Start(); err != nil {
		return err
	}

	nc, js, err := c.connect()
	if err != nil {
		return err
	}
	defer nc.Close()

	stream, err := topology.Open(ctx, js, c.flow)
	if err != nil {
		return err
	}

	if *c.rate, err = captureRate(ctx, stream, changes); err != nil {
		return err
	}

	return c.relay.Listener.Stop(ctx)
}
