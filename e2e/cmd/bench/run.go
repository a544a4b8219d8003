package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
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

// patience bounds each wait; a full run takes a fourth of it.
const patience = time.Hour

// bench is one run.
type bench struct {
	cfg      *Config
	out      io.Writer
	programs harness.Programs
	world    *harness.World
	relay    *harness.Relay
	choice   mongotest.Choice
	results  results
	ran      map[string]bool // names of the steps that were run
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

	b.ran = map[string]bool{}

	for _, step := range b.steps() {
		if !wanted(step.name, cfg.Only) {
			continue
		}

		b.linef("%s", step.name)

		if err := step.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}

		b.ran[step.name] = true
	}

	return b.publish(ctx)
}

// wanted tells whether a step's name contains one of these, which commas separate.
func wanted(name, only string) bool {
	return slices.ContainsFunc(strings.Split(only, ","), func(part string) bool { return strings.Contains(name, part) })
}

// step is a part of the run and the rows of its results; those beginning with a dash go with the row before, and may
// compare with the results of an earlier step.
type step struct {
	name string
	run  func(context.Context) error
	rows func() []row // nil: none
}

func (b *bench) steps() []step {
	return []step{
		{"a backlog for the listener", b.backlog, nil},
		{"capture: a listener alone", b.capture, b.captureRows},
		{"ceiling: reading that cursor", b.cursorOnly, b.cursorRows},
		{"ceiling: publishing that chain", b.chainOnly, b.chainRows},
		{"publish modes: capture as a chain and in batches", b.publishModes, b.publishRows},
		{"apply: a processor alone", b.apply, b.applyRows},
		{"ceiling: the bare driver's transactions", b.transactionsOnly, b.transactionRows},
		{"replay of a backlog", b.replay, b.replayRows},
		{"ceiling: source writes followed by a cursor", b.followed, b.followedRows},
		{"end to end at full speed", b.full, b.fullRows},
		{"latency", b.latency, b.latencyRows},
		{"idle", b.idle, b.idleRows},
		{"large documents", b.large, b.largeRows},
		{"large documents into the stream", b.captureLarge, b.largeCaptureRows},
		{"several processors behind a slow network", b.scaling, b.scalingRows},
		{"documents that fail", b.failing, b.failingRows},
		{"dead letters by the thousand", b.deadLetters, b.deadLetterRows},
		{"a hot document", b.hot, b.hotRows},
		{"processors that join, leave and die", b.handover, b.handoverRows},
		{"a listener and its standby", b.failover, b.failoverRows},
		{"schema changes", b.schema, b.schemaRows},
		{"a start with a large backlog", b.restart, b.restartRows},
		{"verify: two sides that are equal", b.verify, b.verifyRows},
		{"statistics: the data path while they are watched", b.watched, b.watchedRows},
		{"statistics: a large flow", b.largeFlow, b.largeFlowRows},
		{"statistics: instances that say nothing", b.notice, b.noticeRows},
		{"another revision", b.against, b.againstRows},
	}
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
func replicate(ctx context.Context, relay *harness.Relay) error {
	for _, s := range relay.Services() {
		if err := s.Restart(ctx); err != nil {
			return err
		}
	}

	_, err := relay.Await(ctx, "a flow that replicates", harness.Replicating)

	return err
}

// applied waits until this many changes more than before are applied.
func applied(ctx context.Context, relay *harness.Relay, before *relayv1.Stats, changes uint64) error {
	_, err := relay.Await(ctx, "everything applied", harness.Applied(before.GetTotalChanges()-before.GetSkippedChanges()+changes))

	return err
}
