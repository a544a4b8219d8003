package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"golang.org/x/sync/errgroup"

	"github.com/atlas-relay/atlas-relay/e2e/diary"
	"github.com/atlas-relay/atlas-relay/e2e/fault"
	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/traffic"
	"github.com/atlas-relay/atlas-relay/e2e/verify/live"
	"github.com/atlas-relay/atlas-relay/pkg/lifecycle"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
)

// database is the only one that the demo writes to, on source and target.
const database = "relay_demo"

// schemaRate is how many steps a second the writer does who makes, renames and drops collections and indexes, with writes
// to them between.
const schemaRate = 5

const (
	reachPatience = 10 * time.Second
	startPatience = time.Minute     // until the flow replicates
	applyPatience = 2 * time.Minute // after the last change, until everything is applied
)

// demo is one run.
type demo struct {
	cfg *Config
	out *printer

	programs harness.Programs
	world    *harness.World
	relay    *harness.Relay
	flow     string
	traffic  *traffic.Traffic
	order    *live.Order
	rate     int
	seed     uint64
	schema   float64 // steps per second of the writer of schema changes
	hits     fault.Hits
	diary    *diary.Diary
	began    time.Time // of the traffic
	ended    time.Time // everything was applied
}

func run(ctx context.Context, cfg *Config, out io.Writer) (err error) {
	d := &demo{cfg: cfg, out: newPrinter(out)}

	if d.diary, err = diary.Begin(cfg.Diary); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.diary.Close()) }()

	binaries, err := os.MkdirTemp("", "atlas-relay-bin-*")
	if err != nil {
		return fmt.Errorf("make a directory for the programs: %w", err)
	}
	defer os.RemoveAll(binaries)

	if err := d.startWorld(ctx, binaries); err != nil {
		return err
	}

	defer func() {
		kept := err != nil && !errors.Is(err, context.Canceled)
		err = errors.Join(err, d.stop(context.WithoutCancel(ctx), kept))
	}()

	if d.seed = cfg.Seed; d.seed == 0 {
		d.seed = rand.Uint64N(1_000_000)
	}

	work := d.oneWay
	if cfg.TwoWay {
		work = d.twoWays
	}

	if err := work(ctx); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted: %w", ctx.Err())
		}

		return err
	}

	return nil
}

// oneWay is a flow from one database to the other.
func (d *demo) oneWay(ctx context.Context) error {
	if err := d.startRelay(ctx); err != nil {
		return err
	}

	return d.replicate(ctx)
}

// startWorld finds or starts the databases and NATS, and builds the services.
func (d *demo) startWorld(ctx context.Context, binaries string) error {
	find := func(o mongotest.FindOptions) (mongotest.Choice, error) {
		o.Quick, o.Progress = true, d.out

		return mongotest.Find(ctx, o)
	}

	source, err := find(mongotest.FindOptions{URI: d.cfg.SourceURI})
	if err != nil {
		return err
	}

	target, err := find(mongotest.FindOptions{URI: d.cfg.TargetURI})
	if err != nil {
		return err
	}

	d.rate = d.cfg.rate(source.Flavor)
	d.out.Linef("Atlas Relay: %d s of mixed traffic, %d changes/s, from one MongoDB to another through NATS JetStream", d.cfg.Seconds, d.rate)
	d.out.Linef("%s", source)

	d.programs, err = harness.Build(ctx, binaries)
	if err != nil {
		return err
	}

	d.world, err = harness.StartWorld(ctx, harness.WorldOptions{Programs: d.programs, Source: source, Target: target})

	return err
}

// reach asks both databases who they are, so that a wrong URI is told at once.
func (d *demo) reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reachPatience)
	defer cancel()

	for _, place := range []harness.Place{d.world.Source, d.world.Target} {
		hello, err := mongodb.SayHello(ctx, place.Client)
		if err == nil {
			err = hello.RequireReplicaSet()
		}

		if err != nil {
			return lifecycle.Unreachable(fmt.Errorf("%s cannot be used: %w; %s", place.URI, err, mongodb.Explain(err)))
		}

		d.out.Linef("%s is a %s, MongoDB %s", place.URI, hello.Topology, hello.Version)
	}

	return nil
}

// startRelay makes the flow and starts the services, with nothing to replicate yet.
func (d *demo) startRelay(ctx context.Context) error {
	if d.given() {
		if err := d.reach(ctx); err != nil {
			return err
		}

		d.out.Linef("database %s is dropped on both sides and then written to; nothing else is, but checkpoints in atlas_relay of the target", database)

		for _, place := range []harness.Place{d.world.Source, d.world.Target} {
			if err := place.Client.Database(database).Drop(ctx); err != nil {
				return fmt.Errorf("drop what an earlier demo left in %s: %w", database, err)
			}
		}
	}

	if err := d.chooseSchema(ctx); err != nil {
		return err
	}

	d.traffic = traffic.New(d.source(), traffic.Options{Seed: d.seed, Rate: float64(d.rate), Schema: d.schema})
	if err := d.traffic.Prepare(ctx); err != nil {
		return err
	}

	var err error

	if d.order, err = live.NewOrder(ctx, d.target(), d.traffic.Journal().Seen); err != nil {
		return err
	}

	d.flow = "demo-" + bson.NewObjectID().Hex()[16:]

	d.relay, err = d.world.Relay(ctx, d.programs, d.flow, map[string]string{"INCLUDE_NAMESPACES": database + ".*", "DDL": "on"})
	if err != nil {
		return err
	}

	if err := d.relay.Init(ctx); err != nil {
		return err
	}

	if err := d.relay.Start(); err != nil {
		return err
	}

	if err := d.relay.Scale(ctx, d.cfg.Processors); err != nil {
		return err
	}

	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()

	if _, err := d.relay.Await(ctx, "a flow that replicates", harness.Replicating); err != nil {
		return err
	}

	d.out.Processes(d)

	return d.tellWhere()
}

// tellWhere writes down where the flow can be looked at.
func (d *demo) tellWhere() error {
	ops, err := d.relay.Stats.OpsAddr()
	if err != nil {
		return err
	}

	d.diary.Write(diary.Entry{Running: &diary.Running{
		Flow: d.flow, PageURL: d.relay.PageURL(), GRPCAddr: d.relay.GRPCAddr(), OpsAddr: ops, Relayctl: d.programs.Path(harness.Relayctl),
	}})

	return nil
}

// chooseSchema leaves schema changes out where the source's events do not tell them.
func (d *demo) chooseSchema(ctx context.Context) error {
	features, err := mongotest.FeaturesOf(ctx, d.world.Source.Client)
	if err != nil {
		return err
	}

	if features.IndexOptionsInEvents {
		d.schema = schemaRate
	} else {
		d.out.Linef("no schema changes in this run: the events of this stand-in do not say what an index is")
	}

	return nil
}

func (d *demo) given() bool { return !d.cfg.SourceURI.IsZero() }

func (d *demo) source() *mongo.Database { return d.world.Source.Client.Database(database) }
func (d *demo) target() *mongo.Database { return d.world.Target.Client.Database(database) }

// replicate runs the traffic and what watches it, then checks the outcome.
func (d *demo) replicate(ctx context.Context) error {
	group, groupCtx := errgroup.WithContext(ctx)
	watchCtx, stopWatching := context.WithCancel(groupCtx)

	defer stopWatching()

	group.Go(func() error { return harness.Supervise(watchCtx, d.relay.Services, d.out.Death) })
	group.Go(func() error { return d.watch(watchCtx) })
	group.Go(func() error { return d.order.Run(groupCtx) })
	group.Go(func() error {
		defer stopWatching()

		return d.shift(groupCtx)
	})

	if err := group.Wait(); err != nil {
		return err
	}

	if err := d.judge(ctx); err != nil {
		return err
	}

	d.diary.Write(diary.Entry{Judged: true})

	if !d.cfg.Keep {
		return nil
	}

	return d.keep(ctx)
}

// judge compares what there is with what was promised.
func (d *demo) judge(ctx context.Context) error {
	sample, err := d.relay.Sample(ctx)
	if err != nil {
		return err
	}

	d.out.Table(d, sample)

	events, orderErr := d.order.Verdict()
	counterErr := live.Counters(sample, d.traffic.Journal().Changes(), 0)

	result, err := live.Compare(ctx, d.source(), d.target())
	if err != nil {
		return err
	}

	definitions, err := live.Definitions(ctx, d.source(), d.target())
	if err != nil {
		return err
	}

	if err := errors.Join(orderErr, counterErr, d.out.Differences(result), d.out.Definitions(definitions)); err != nil {
		return err
	}

	d.out.Verdict(d, result, events)

	return nil
}

// keep leaves everything running, and every service restarted, until Ctrl-C.
func (d *demo) keep(ctx context.Context) error {
	d.out.Keeping(d)

	return harness.Supervise(ctx, d.relay.Services, d.out.Death)
}

// stop ends everything. After a failure the logs are kept.
func (d *demo) stop(ctx context.Context, keepLogs bool) error {
	var errs []error

	if d.relay != nil {
		errs = append(errs, d.relay.Stop(ctx))

		if d.given() {
			errs = append(errs, d.relay.Delete(ctx))
		}
	}

	if keepLogs {
		d.out.Linef("logs: %s", d.world.KeepLogs())
	}

	return errors.Join(append(errs, d.world.Stop(ctx))...)
}
