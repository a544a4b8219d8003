package harness

import (
	"context"
	"fmt"
	"time"
)

// Await asks condition again and again until it holds, returns an error, or ctx ends.
func Await(ctx context.Context, every time.Duration, condition func(context.Context) (bool, error)) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()

	for {
		holds, err := condition(ctx)
		if err != nil {
			return err
		}

		if holds {
			return nil
		}

		select {
		case <-ctx.Done():
			return fmt.Errorf("wait: %w", context.Cause(ctx))
		case <-ticker.C:
		}
	}
}
