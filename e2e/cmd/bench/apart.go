package main

import (
	"context"
	"errors"
	"maps"
	"strings"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/fault"
	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// apart runs something between servers of its own, so that nothing counts that another run left behind. The target is
// this far away in each direction; the relay's services do not run yet.
func (b *bench) apart(
	ctx context.Context, away time.Duration, env map[string]string, do func(*harness.World, *harness.Relay) error,
) (err error) {
	world, err := harness.StartWorld(ctx, harness.WorldOptions{Programs: b.programs, Source: b.choice, Target: b.choice})
	if err != nil {
		return err
	}

	defer func() { err = errors.Join(err, world.Stop(context.WithoutCancel(ctx))) }()

	all := map[string]string{"INCLUDE_NAMESPACES": database + ".*"}
	maps.Copy(all, env)

	if away > 0 {
		proxy, err := fault.Listen(ctx, world.Target.Server.Addr())
		if err != nil {
			return err
		}
		defer proxy.Close()

		proxy.Delay(fault.ToTarget, away)
		proxy.Delay(fault.ToClient, away)

		all["TARGET_URI"] = strings.ReplaceAll(world.Target.URI.Reveal(), world.Target.Server.Addr(), proxy.Addr())
	}

	relay, err := world.Relay(ctx, b.programs, flow, all)
	if err != nil {
		return err
	}

	defer func() { err = errors.Join(err, relay.Stop(context.WithoutCancel(ctx))) }()

	return do(world, relay)
}
