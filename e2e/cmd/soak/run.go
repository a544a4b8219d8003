package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"golang.org/x/sync/errgroup"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/traffic"
	"github.com/atlas-relay/atlas-relay/e2e/verify/live"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
)

const (
	database = "soak"
	// most is what bounds the documents, so that what grows is not theirs: 4 writers have as many in each of 4 collections.
	most = 500

	startPatience = time.Minute     // until the flow replicates
	applyPatience = 5 * time.Minute // after the last change, until everything is applied
	readEvery     = 5 * time.Second // what the processes use
	sayEvery      = time.Minute
)

// soak is one run.
type soak struct {
	cfg  *Config
	out  io.Writer
	seed uint64

	world   *harness.World
	relay   *harness.Relay
	traffic *traffic.Traffic
	order   *live.Order
	meter   *meter

	began  time.Time // of the traffic
	ended  time.Time
	struck int // faults
}

func (s *soak) linef(format string, args ...any) {
	at := time.Duration(0)
	if !s.began.IsZero() {
		at = time.Since(s.began).Round(time.Second)
	}

	fmt.Fprintf(s.out, "%9s  "+format+"\n", append([]any{at}, args...)...)
}

func run(ctx context.Context, cfg *Config, out io.Writer) (err error) {
	s := &soak{cfg: cfg, out: out, seed: cfg.Seed}
	if s.seed == 0 {
		s.seed = rand.Uint64N(1_000_000) //nolint:mnd // as that of the demo
	}

	binaries, err := os.MkdirTemp("", "atlas-relay-bin-*")
	if err != nil {
		return fmt.Errorf("make a directory for the programs: %w", err)
	}
	defer os.RemoveAll(binaries)

	programs, err := harness.Build(ctx, binaries)
	if err != nil {
		return err
	}

	choice, err := mongotest.Find(ctx, mongotest.FindOptions{Progress: out})
	if err != nil {
		return err
	}

	s.world, err = harness.StartWorld(ctx, harness.WorldOptions{Programs: programs, Source: choice, Target: choice, OplogMaxEntries: cfg.oplog()})
	if err != nil {
		return err
	}

	defer func() {
		if err != nil && !errors.Is(err, context.Canceled) {
			s.linef("logs: %s", s.world.KeepLogs())
		}

		err = errors.Join(err, s.world.Stop(context.WithoutCancel(ctx)))
	}()

	if err := s.start(ctx, programs); err != nil {
		return err
	}

	defer func() { err = errors.Join(err, s.relay.Stop(context.WithoutCancel(ctx))) }()

	if err := s.replicate(ctx); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted: %w", ctx.Err())
		}

		return err
	}

	return s.judge(ctx)
}

// start makes the flow, with nothing to replicate yet.
func (s *soak) start(ctx context.Context, programs harness.Programs) (err error) {
	s.traffic = traffic.New(s.source(), traffic.Options{Seed: s.seed, Rate: float64(s.cfg.Rate), Most: most})
	if err := s.traffic.Prepare(ctx); err != nil {
		return err
	}

	if s.order, err = live.NewOrder(ctx, s.target(), s.traffic.Journal().Seen); err != nil {
		return err
	}

	if s.relay, err = s.world.Relay(ctx, programs, database, map[string]string{"INCLUDE_NAMESPACES": database + ".*"}); err != nil {
		return err
	}

	defer func() {
		if err != nil {
			err = errors.Join(err, s.relay.Stop(context.WithoutCancel(ctx)))
		}
	}()

	if err := s.relay.Init(ctx); err != nil {
		return err
	}

	if err := s.relay.Start(); err != nil {
		return err
	}

	if err := s.relay.Scale(ctx, processors); err != nil {
		return err
	}

	s.meter = newMeter(s.lasting())

	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()

	_, err = s.relay.Await(ctx, "a flow that replicates", harness.Replicating)

	return err
}

// lasting are the services whose processes live all the time.
func (s *soak) lasting() []*harness.Service {
	return []*harness.Service{s.relay.Listener, s.relay.Processors()[0], s.relay.Stats}
}

func (s *soak) source() *mongo.Database { return s.world.Source.Client.Database(database) }
func (s *soak) target() *mongo.Database { return s.world.Target.Client.Database(database) }

// replicate runs the traffic, the faults and all that watches, and waits until everything is applied.
func (s *soak) replicate(ctx context.Context) error {
	s.linef("%s of traffic, %d changes/s, a fault every %s: SEED=%d", s.cfg.Lasts, s.cfg.Rate, s.cfg.Every, s.seed)
	s.began = time.Now()

	group, groupCtx := errgroup.WithContext(ctx)
	watchCtx, stopWatching := context.WithCancel(groupCtx)

	defer stopWatching()

	group.Go(func() error {
		return harness.Supervise(watchCtx, s.relay.Services, func(d harness.Death) {
			s.linef("%s (process %d) ended: %s; started again as process %d", d.Service.Name, d.PID, d.How, d.NewPID)
		})
	})
	group.Go(func() error { return s.watch(watchCtx) })
	group.Go(func() error { return s.order.Run(groupCtx) })
	group.Go(func() error {
		defer stopWatching()

		return s.shift(groupCtx)
	})

	return group.Wait()
}

// shift is the traffic with the faults, and then the wait until all is applied.
func (s *soak) shift(ctx context.Context) error {
	group, groupCtx := errgroup.WithContext(ctx)
	disturbCtx, heal := context.WithCancel(groupCtx)

	group.Go(func() error { return s.disturb(disturbCtx) })
	group.Go(func() error {
		defer heal()

		return s.traffic.Run(groupCtx, s.cfg.Lasts)
	})

	if err := group.Wait(); err != nil {
		return err
	}

	s.ended = time.Now()

	wait, cancel := context.WithTimeout(ctx, applyPatience)
	defer cancel()

	if _, err := s.relay.Await(wait, "everything applied", harness.Applied(s.traffic.Journal().Changes())); err != nil {
		return err
	}

	s.linef("all %d changes are applied, %s after the last one", s.traffic.Journal().Changes(), time.Since(s.ended).Round(time.Millisecond))

	return s.order.Finish(ctx)
}

// watch reads what the processes use and how far behind the target is. Who is frozen does not answer.
func (s *soak) watch(ctx context.Context) error {
	ticker := time.NewTicker(readEvery)
	defer ticker.Stop()

	said := time.Now()

	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}

		at := time.Since(s.began)
		s.readAll(ctx, at)

		ask, cancel := context.WithTimeout(ctx, readEvery)
		sample, err := s.relay.Sample(ask)

		cancel()

		if err != nil {
			continue
		}

		if sample.GetLag() != nil {
			s.meter.lags = append(s.meter.lags, lag{at: at, lag: sample.GetLag().AsDuration()})
		}

		if time.Since(said) >= sayEvery {
			said = time.Now()
			s.linef("%s; %s", harness.Line(sample), s.meter.latest())
		}
	}
}

func (s *soak) readAll(ctx context.Context, at time.Duration) {
	for _, service := range s.lasting() {
		ask, cancel := context.WithTimeout(ctx, time.Second)

		if r, err := read(ask, service, at); err == nil {
			s.meter.add(service.Name, r)
		}

		cancel()
	}
}
