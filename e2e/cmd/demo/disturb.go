package main

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/atlas-relay/atlas-relay/e2e/diary"
	"github.com/atlas-relay/atlas-relay/e2e/fault"
	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// shift is the traffic and the wait until all of it is applied.
func (d *demo) shift(ctx context.Context) error {
	d.began = time.Now()

	if err := d.disturb(ctx, func() error { return d.traffic.Run(ctx, time.Duration(d.cfg.Seconds)*time.Second) }); err != nil {
		return err
	}

	changes := d.traffic.Journal().Changes()
	stopped := time.Now()

	ctx, cancel := context.WithTimeout(ctx, applyPatience)
	defer cancel()

	if _, err := d.relay.Await(ctx, "everything applied", harness.Applied(changes)); err != nil {
		return err
	}

	d.ended = time.Now()
	d.out.Linef("traffic ended after %d changes; %s later all of them are applied", changes, d.ended.Sub(stopped).Round(time.Millisecond))

	return d.order.Finish(ctx)
}

// Of the chaos: a freeze outlasts the leases of a processor, whose default is 5 s.
const (
	chaosEvery  = 3 * time.Second
	chaosFreeze = 7 * time.Second
	chaosMost   = 5 // processors
)

// disturb runs the traffic, with processors that come, go, die and freeze if that is wanted.
func (d *demo) disturb(ctx context.Context, run func() error) error {
	if !d.cfg.Chaos {
		return run()
	}

	chaos := fault.Processors{
		Relay: d.relay, Seed: d.seed, Every: chaosEvery, Freeze: chaosFreeze, Most: max(chaosMost, d.cfg.Processors),
		Told: func(what fault.Strike) {
			d.diary.Write(diary.Entry{Strike: &what})
			d.out.Linef("chaos: %s", what)
		},
	}

	chaosCtx, stop := context.WithCancel(ctx)
	group := new(errgroup.Group)

	group.Go(func() error {
		defer stop()

		return run()
	})
	group.Go(func() (err error) {
		d.hits, err = chaos.Run(chaosCtx)

		return err
	})

	return group.Wait()
}
