package main

import (
	"context"
	"time"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// watch prints a line per second from the statistics. A stats service that was killed is asked again.
func (d *demo) watch(ctx context.Context) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()

	last, lastAt := &relayv1.Stats{TotalChanges: new(uint64), ProcessedChanges: new(uint64)}, time.Now() // nothing was written yet

	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}

		sample, err := d.relay.Sample(ctx)
		if ctx.Err() != nil {
			return nil
		}

		if err != nil {
			d.out.Linef("the statistics do not answer: %v", err)

			continue
		}

		now := time.Now()
		d.out.Sample(now.Sub(d.began), sample, last, now.Sub(lastAt))
		last, lastAt = sample, now
	}
}
