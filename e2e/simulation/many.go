package simulation

import (
	"context"
	"runtime"
	"sync"
)

// Many runs the seeds from first on, side by side, and hands each result to take, one at a
// time, in no order. take returns false when it has seen enough.
func Many(ctx context.Context, first uint64, runs int, take func(*Result) bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	seeds := make(chan uint64)

	var (
		workers sync.WaitGroup
		mu      sync.Mutex
	)

	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for seed := range seeds {
				r := Run(NewPlan(seed), false) //nolint:contextcheck // a run has time, and contexts, of its own

				mu.Lock()
				if ctx.Err() == nil && !take(r) {
					cancel()
				}
				mu.Unlock()
			}
		})
	}

	for i := range runs {
		if ctx.Err() != nil {
			break
		}

		seeds <- first + uint64(i)
	}

	close(seeds)
	workers.Wait()
}
