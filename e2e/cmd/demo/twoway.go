package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"golang.org/x/sync/errgroup"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/traffic"
	"github.com/atlas-relay/atlas-relay/e2e/verify/live"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// side is one of two databases, and the flow that brings its changes to the other one.
type side struct {
	name    string // of the database
	flow    string
	place   harness.Place
	traffic *traffic.Traffic
	order   *live.Order // every write here, of people and of the other side's flow
	relay   *harness.Relay
}

func (s *side) database() *mongo.Database { return s.place.Client.Database(database) }

// twoWay is a run with a flow in each direction, each with the other one in its SKIP_ORIGINS.
type twoWay struct {
	*demo

	a, b *side
}

func (d *demo) twoWays(ctx context.Context) (err error) {
	t := &twoWay{
		demo: d,
		a:    &side{name: "a", flow: "a-to-b", place: d.world.Source},
		b:    &side{name: "b", flow: "b-to-a", place: d.world.Target},
	}

	defer func() { err = errors.Join(err, t.end(context.WithoutCancel(ctx))) }()

	if err := t.begin(ctx); err != nil {
		return err
	}

	if err := t.work(ctx); err != nil {
		return err
	}

	if !d.cfg.Keep {
		return nil
	}

	d.out.Linef("\nEverything is still running; Ctrl-C ends it.")

	return harness.Supervise(ctx, t.services, d.out.Death)
}

func (t *twoWay) sides() []*side { return []*side{t.a, t.b} }

func (t *twoWay) services() []*harness.Service {
	return append(t.a.relay.Services(), t.b.relay.Services()...)
}

// begin makes both flows before anybody writes.
func (t *twoWay) begin(ctx context.Context) error {
	var namespaces []string

	for i, s := range t.sides() {
		// Collections of its own, so that the keys are distinct: two-way flows do not settle conflicts.
		options := traffic.Options{Seed: t.seed + uint64(i), Rate: float64(t.rate) / 2, Suffix: "_of_" + s.name}
		s.traffic = traffic.New(s.database(), options)

		for _, coll := range options.Collections() {
			namespaces = append(namespaces, database+"."+coll)
		}

		for _, at := range t.sides() {
			if err := traffic.New(at.database(), options).Prepare(ctx); err != nil {
				return err
			}
		}
	}

	for _, s := range t.sides() {
		var err error
		if s.order, err = live.NewOrder(ctx, s.database(), nil); err != nil {
			return err
		}
	}

	return errors.Join(t.flow(ctx, t.a, t.b, namespaces), t.flow(ctx, t.b, t.a, namespaces))
}

// flow starts the flow from one side to the other.
func (t *twoWay) flow(ctx context.Context, from, to *side, namespaces []string) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()

	var err error

	from.relay, err = t.world.Between(ctx, t.programs, from.flow, from.place, to.place, map[string]string{
		"INCLUDE_NAMESPACES": strings.Join(namespaces, ","), "SKIP_ORIGINS": to.flow,
	})
	if err != nil {
		return err
	}

	if err := from.relay.Init(ctx); err != nil {
		return err
	}

	if err := from.relay.Start(); err != nil {
		return err
	}

	if err := from.relay.Scale(ctx, t.cfg.Processors); err != nil {
		return err
	}

	_, err = from.relay.Await(ctx, "flow "+from.flow+" replicates", harness.Replicating)

	return err
}

// work lets people write on both sides, and judges.
func (t *twoWay) work(ctx context.Context) error {
	t.out.TwoWayProcesses(t)

	group, groupCtx := errgroup.WithContext(ctx)
	watchCtx, stopWatching := context.WithCancel(groupCtx)

	defer stopWatching()

	group.Go(func() error { return harness.Supervise(watchCtx, t.services, t.out.Death) })
	group.Go(func() error { return t.watchBoth(watchCtx) })

	for _, s := range t.sides() {
		group.Go(func() error { return s.order.Run(groupCtx) })
	}

	group.Go(func() error {
		defer stopWatching()

		return t.shiftBoth(groupCtx)
	})

	if err := group.Wait(); err != nil {
		return err
	}

	return t.judgeBoth(ctx)
}

// shiftBoth is the traffic of both sides and the wait until all of it is applied on the other one.
func (t *twoWay) shiftBoth(ctx context.Context) error {
	group, trafficCtx := errgroup.WithContext(ctx)

	for _, s := range t.sides() {
		group.Go(func() error { return s.traffic.Run(trafficCtx, time.Duration(t.cfg.Seconds)*time.Second) })
	}

	if err := group.Wait(); err != nil {
		return err
	}

	ctx, cancel := context.WithTimeout(ctx, applyPatience)
	defer cancel()

	for _, s := range t.sides() {
		if _, err := s.relay.Await(ctx, "everything applied", harness.Applied(s.traffic.Journal().Changes())); err != nil {
			return err
		}
	}

	for _, s := range t.sides() {
		if err := s.order.Finish(ctx); err != nil {
			return err
		}
	}

	return nil
}

// watchBoth prints a line per second and flow.
func (t *twoWay) watchBoth(ctx context.Context) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()

	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}

		for _, s := range t.sides() {
			sample, err := s.relay.Sample(ctx)
			if err == nil {
				t.out.Linef("%s  %s", s.flow, harness.Line(sample))
			} else if ctx.Err() == nil {
				t.out.Linef("%s  the statistics do not answer: %v", s.flow, err)
			}
		}
	}
}

// judgeBoth compares the sides and what their flows counted.
func (t *twoWay) judgeBoth(ctx context.Context) error {
	result, err := live.Compare(ctx, t.a.database(), t.b.database())
	if err != nil {
		return err
	}

	samples := make([]*relayv1.Stats, 0, 2)
	errs := []error{t.out.Differences(result)}

	for _, s := range t.sides() {
		sample, err := t.count(ctx, s)
		samples, errs = append(samples, sample), append(errs, err)
	}

	if err := errors.Join(errs...); err != nil {
		return err
	}

	t.out.TwoWayVerdict(t, result, samples)

	return nil
}

// count waits until a flow has counted every write at its source, and checks that it skipped exactly those that people
// did not make.
func (*twoWay) count(ctx context.Context, s *side) (*relayv1.Stats, error) {
	ctx, cancel := context.WithTimeout(ctx, applyPatience)
	defer cancel()

	events, err := s.order.Verdict()
	if err != nil {
		return nil, err
	}

	people := s.traffic.Journal().Changes()
	total := uint64(events) + live.EndEvents

	sample, err := s.relay.Await(ctx, "every change of "+s.name+" counted", func(sample *relayv1.Stats) bool {
		return harness.Applied(people)(sample) && sample.GetTotalChanges() >= total
	})
	if err != nil {
		return nil, err
	}

	if sample.GetTotalChanges() != total {
		return sample, fmt.Errorf("flow %s counted %d changes, and %s had %d", s.flow, sample.GetTotalChanges(), s.name, total)
	}

	return sample, live.Counters(sample, people, 0)
}

func (t *twoWay) end(ctx context.Context) error {
	var errs []error

	for _, s := range t.sides() {
		if s.relay != nil {
			errs = append(errs, s.relay.Stop(ctx))
		}
	}

	return errors.Join(errs...)
}
