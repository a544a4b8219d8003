package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

const (
	flow     = "bench"
	database = "relay_bench"
)

// patience bounds each wait; a full run takes a tenth of it.
const patience = 20 * time.Minute

// bench is one run.
type bench struct {
	cfg      *Config
	out      io.Writer
	programs harness.Programs
	world    *harness.World
	relay    *harness.Relay
	choice   mongotest.Choice
	results  results
}

func run(ctx context.Context, cfg *Config, out io.Writer) (err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()

	b := &bench{cfg: cfg, out: out}

	dir, err := os.MkdirTemp("", "atlas-relay-bench-*")
	if err != nil {
		return fmt.Errorf("make a directory for the programs: %w", err)
	}
	defer os.RemoveAll(dir)

	if err := b.start(ctx, dir); err != nil {
		return err
	}

	defer func() { err = errors.Join(err, b.stop(context.WithoutCancel(ctx))) }()

	steps := []struct {
		name string
		run  func(context.Context) error
	}{
		{"a backlog for the listener", b.backlog},
		{"capture: a listener alone", b.capture},
		{"ceiling: reading that cursor", b.cursorOnly},
		{"ceiling: publishing that chain", b.chainOnly},
		{"publish modes: capture as a chain and in batches", b.publishModes},
		{"apply: a processor alone", b.apply},
		{"ceiling: the bare driver's transactions", b.transactionsOnly},
		{"end to end at full speed", b.full},
		{"latency floor: a bare change stream of the source", b.latencyFloor},
		{"latency", b.latency},
		{"idle", b.idle},
		{"large documents", b.large},
		{"several processors behind a slow network", b.scaling},
		{"documents that fail", b.failing},
		{"a hot document", b.hot},
		{"processors that join, leave and die", b.handover},
		{"a listener and its standby", b.failover},
		{"verify: two sides that are equal", b.verify},
	}
	for _, step := range steps {
		if !strings.Contains(step.name, cfg.Only) {
			continue
		}

		b.linef("%s", step.name)

		if err := step.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}

	return b.publish(ctx)
}

func (b *bench) linef(format string, args ...any) {
	_, _ = fmt.Fprintf(b.out, format+"\n", args...)
}

// start finds a MongoDB, worth five minutes of building, and makes a flow between two empty servers.
func (b *bench) start(ctx context.Context, dir string) error {
	var err error

	if b.choice, err = mongotest.Find(ctx, mongotest.FindOptions{Progress: b.out}); err != nil {
		return err
	}

	b.linef("%s", b.choice)

	if b.programs, err = harness.Build(ctx, dir); err != nil {
		return err
	}

	if b.world, err = harness.StartWorld(ctx, harness.WorldOptions{Programs: b.programs, Source: b.choice, Target: b.choice}); err != nil {
		return err
	}

	b.relay, err = b.world.Relay(ctx, b.programs, flow, map[string]string{"INCLUDE_NAMESPACES": database + ".*"})
	if err != nil {
		return errors.Join(err, b.world.Stop(ctx))
	}

	return nil
}

func (b *bench) stop(ctx context.Context) error {
	return errors.Join(b.relay.Stop(ctx), b.world.Stop(ctx))
}

// replicate starts the services that do not run and waits until they are at work.
func (b *bench) replicate(ctx context.Context) error {
	for _, s := range b.relay.Services() {
		if err := s.Restart(ctx); err != nil {
			return err
		}
	}

	_, err := b.relay.Await(ctx, "a flow that replicates", harness.Replicating)

	return err
}

// applied waits until this many changes more than before are applied.
func (b *bench) applied(ctx context.Context, before *relayv1.Stats, changes uint64) error {
	_, err := b.relay.Await(ctx, "everything applied", harness.Applied(before.GetTotalChanges()-before.GetSkippedChanges()+changes))

	return err
}
