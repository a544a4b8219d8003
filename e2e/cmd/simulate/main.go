// Command simulate runs the whole flow in memory, seed after seed, and says which seed breaks a promise.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/simulation"
)

// Config is everything that the simulation can be told.
type Config struct {
	Seed   uint64 `env:"SEED"   help:"of the first run, each further one has the next; 0: a new one each time"`
	Runs   int    `env:"RUNS"   envDefault:"1000000" min:"1" max:"1000000000" help:"how many; 1 shows all that happens"`
	Faults string `env:"FAULTS" help:"of one run: comma list of the numbers of its faults, or none; empty: all"`
}

func main() { harness.Main("simulate", run) }

func run(ctx context.Context, cfg *Config, out io.Writer) error {
	if cfg.Seed == 0 {
		cfg.Seed = 1 + rand.Uint64N(1<<40)
	}

	if cfg.Runs == 1 {
		return one(cfg, out) //nolint:contextcheck // a run has time, and contexts, of its own
	}

	return many(ctx, cfg, out)
}

var errFailed = errors.New("a promise was broken")

// one shows a run as a whole.
func one(cfg *Config, out io.Writer) error {
	plan := simulation.NewPlan(cfg.Seed)

	if cfg.Faults != "" {
		var numbers []int

		for text := range strings.SplitSeq(strings.TrimPrefix(cfg.Faults, "none"), ",") {
			if n, err := strconv.Atoi(text); err == nil {
				numbers = append(numbers, n)
			}
		}

		plan = plan.Only(numbers)
	}

	r := simulation.Run(plan, true)
	fmt.Fprintln(out, strings.Join(r.Trace, "\n"))
	fmt.Fprintf(out, "seed %d, hash %016x: %d changes, %d transactions, %d samples in %s\n", cfg.Seed, r.Hash, r.Changes, r.Commits, r.Samples, r.Took)

	if r.Failure != nil {
		return fmt.Errorf("%w: %w", errFailed, r.Failure)
	}

	return nil
}

// many runs seed after seed, and explains the first that fails.
func many(ctx context.Context, cfg *Config, out io.Writer) error {
	var (
		summary simulation.Summary
		failed  *simulation.Result
		began   = time.Now()
	)

	fmt.Fprintf(out, "%d runs from seed %d on\n", cfg.Runs, cfg.Seed)

	simulation.Many(ctx, cfg.Seed, cfg.Runs, func(r *simulation.Result) bool {
		summary.Add(r)

		if summary.Runs%10_000 == 0 {
			fmt.Fprintf(out, "%d runs in %s\n", summary.Runs, time.Since(began).Round(time.Second))
		}

		if r.Failure != nil {
			failed = r
		}

		return failed == nil
	})

	if failed != nil {
		simulation.Explain(out, failed.Plan) //nolint:contextcheck // a run has time, and contexts, of its own

		return errFailed
	}

	summary.Write(out)
	fmt.Fprintf(out, "%s\n", time.Since(began).Round(time.Second))

	return nil
}
