package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/traffic"
)

// Of the runs about the statistics.
const (
	pages           = 10
	largePartitions = 64
	largeInstances  = 50
	aLook           = 20 * time.Second // for which CPU time is measured
	asks            = 20               // of which the middle one counts
)

// statistics is what it costs to look at a flow.
type statistics struct {
	alone, watched []lookWindow // the same number, in turn

	quiet, moving float64       // CPU time of the service, of one core
	status        time.Duration // of relayctl, from its start to its end
	page          pageTimes
}

// watch starts the statistics, and lets ten pages and a Prometheus look at them until leave is called.
func watch(ctx context.Context, relay *harness.Relay) (leave func(), err error) {
	if err := relay.Stats.Start(); err != nil {
		return nil, err
	}

	if _, err := relay.Sample(ctx); err != nil {
		return nil, err
	}

	ctx, cancel := context.WithCancel(ctx)
	client := &http.Client{Transport: new(http.Transport)}

	var group errgroup.Group

	for range pages {
		group.Go(func() error { return readToEnd(ctx, client, relay.PageURL()+"v1/flows/"+flow+"/events") })
		group.Go(func() error {
			const every = 3 * time.Second // of a chart of 15 minutes

			return eachTime(ctx, every, func() error {
				after := time.Now().Add(-every).UTC().Format(time.RFC3339)

				return readToEnd(ctx, client, relay.PageURL()+"v1/flows/"+flow+"/timeline?step=3s&after_time="+after)
			})
		})
	}

	group.Go(func() error {
		return eachTime(ctx, time.Second, func() error {
			body, err := relay.Stats.Scrape(ctx)
			if err != nil {
				return err
			}

			_, err = io.Copy(io.Discard, body)

			return errors.Join(err, body.Close())
		})
	})

	return func() {
		cancel()
		_ = group.Wait() // they were ended in the middle of something

		client.CloseIdleConnections()
	}, nil
}

func eachTime(ctx context.Context, every time.Duration, do func() error) error {
	return harness.Await(ctx, every, func(context.Context) (bool, error) { return false, do() })
}

func readToEnd(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}

	response, err := client.Do(request)
	if err != nil {
		return err
	}

	_, err = io.Copy(io.Discard, response.Body)

	return errors.Join(err, response.Body.Close())
}

// largeFlow measures what the statistics of a large flow cost while they are watched. Its instances do nothing but report.
func (b *bench) largeFlow(ctx context.Context) error {
	env := map[string]string{"PARTITIONS": strconv.Itoa(largePartitions)}

	return b.apart(ctx, 0, env, func(world *harness.World, relay *harness.Relay) error {
		leave, err := crowd(ctx, world, relay)
		if err != nil {
			return err
		}
		defer leave()

		unwatch, err := watch(ctx, relay)
		if err != nil {
			return err
		}
		defer unwatch()

		s := &b.results.statistics

		if s.quiet, err = shareOfCore(ctx, relay.Stats); err != nil {
			return err
		}

		if s.status, err = b.askStatus(ctx, relay); err != nil {
			return err
		}

		if s.page, err = b.openPages(ctx, relay.PageURL()); err != nil {
			return err
		}

		s.moving, err = b.whileMoving(ctx, world, relay)

		return err
	})
}

// crowd makes the flow and lets its instances report until leave is called.
func crowd(ctx context.Context, world *harness.World, relay *harness.Relay) (leave func(), err error) {
	if err := createCollections(ctx, world.Source.Client.Database(database)); err != nil {
		return nil, err
	}

	if err := relay.Init(ctx); err != nil {
		return nil, err
	}

	stream, closeStream, err := openStream(ctx, world)
	if err != nil {
		return nil, err
	}
	defer closeStream()

	nc, js, err := world.NATS.JetStream()
	if err != nil {
		return nil, err
	}

	c := harness.NewCrowd(flow, largePartitions, largeInstances)
	if err := c.Settle(ctx, world.Target.Client, stream.StreamID, largePartitions); err != nil {
		nc.Close()

		return nil, err
	}

	ctx, cancel := context.WithCancel(ctx)

	var group errgroup.Group

	group.Go(func() error { return c.Run(ctx, js) })

	return func() {
		cancel()
		_ = group.Wait() // what it says is what the steps would find missing

		nc.Close()
	}, nil
}

// shareOfCore is the CPU time of a service over a while.
func shareOfCore(ctx context.Context, service *harness.Service) (float64, error) {
	spent, begin := service.Usage().CPU, time.Now()

	timer := time.NewTimer(aLook)
	defer timer.Stop()

	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-timer.C:
	}

	return float64(service.Usage().CPU-spent) / float64(time.Since(begin)), nil
}

// whileMoving is shareOfCore while changes come in, which nobody applies: each partition has some that wait.
func (b *bench) whileMoving(ctx context.Context, world *harness.World, relay *harness.Relay) (cpu float64, err error) {
	if err := relay.Listener.Start(); err != nil {
		return 0, err
	}

	writes := traffic.New(world.Source.Client.Database(database), traffic.Options{Seed: 1, Rate: float64(b.cfg.Rate)})
	if err := writes.Prepare(ctx); err != nil {
		return 0, err
	}

	end := make(chan struct{})

	var group errgroup.Group

	group.Go(func() error { return writes.RunUntil(ctx, end) })

	cpu, err = shareOfCore(ctx, relay.Stats)

	close(end)

	return cpu, errors.Join(err, group.Wait())
}

// askStatus is how long relayctl status takes, from its start to its end.
func (b *bench) askStatus(ctx context.Context, relay *harness.Relay) (time.Duration, error) {
	var took []time.Duration

	for range asks {
		cmd := exec.CommandContext(ctx, b.programs.Path(harness.Relayctl), "status", "--server", relay.GRPCAddr())
		begin := time.Now()

		out, err := cmd.CombinedOutput()
		if err != nil {
			return 0, fmt.Errorf("relayctl status: %w\n%s", err, out)
		}

		took = append(took, time.Since(begin))
	}

	return middle(took), nil
}

func middle(took []time.Duration) time.Duration {
	slices.Sort(took)

	return took[len(took)/2]
}
