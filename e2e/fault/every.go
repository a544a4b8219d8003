package fault

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
)

// every strikes at intervals until ctx ends, and then waits until everything is whole again.
func every(ctx context.Context, interval time.Duration, strike func(healing *errgroup.Group) error) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()

	var healing errgroup.Group

	for {
		select {
		case <-ctx.Done():
			return healing.Wait()
		case <-ticker.C:
		}

		if err := strike(&healing); err != nil {
			return err
		}
	}
}

// later heals what was broken, however soon the run ends.
func later(healing *errgroup.Group, lasts time.Duration, heal func() error) {
	healing.Go(func() error {
		time.Sleep(lasts)

		return heal()
	})
}
