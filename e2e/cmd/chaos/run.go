package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/chaos"
	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
)

// seeds is where a seed is drawn from: short enough to be typed.
const seeds = 1_000_000

func run(ctx context.Context, cfg *Config, out io.Writer) error {
	classes, err := cfg.classes()
	if err != nil {
		return err
	}

	points, err := failpoint.Parse(cfg.Points)
	if err != nil {
		return err
	}

	choice, err := mongotest.Find(ctx, mongotest.FindOptions{Progress: os.Stderr})
	if err != nil {
		return err
	}

	bin, err := os.MkdirTemp("", "atlas-relay-chaos-bin-*")
	if err != nil {
		return fmt.Errorf("make a directory for the programs: %w", err)
	}
	defer os.RemoveAll(bin)

	programs, err := harness.Build(ctx, bin, buildFlags(cfg.Race)...)
	if err != nil {
		return err
	}

	options := chaos.Options{
		Programs: programs, Dir: cfg.Dir, Changes: cfg.Changes, Rate: float64(cfg.Rate), Classes: classes, Points: points, Short: cfg.Short, Keep: cfg.Keep,
		Choice: choice, Patience: cfg.Patience, Seed: cfg.Seed,
	}

	if options.Dir == "" {
		options.Dir = filepath.Join(os.TempDir(), "atlas-relay-chaos")
	}

	if options.Seed == 0 {
		options.Seed = 1 + rand.Uint64N(seeds)
	}

	if cfg.Verbose {
		options.Progress = out
	}

	return all(ctx, &options, cfg.Runs, out)
}

func buildFlags(race bool) []string {
	flags := []string{"-tags=failpoints"}
	if race {
		flags = append(flags, "-race")
	}

	return flags
}

// all makes the runs, one after the other.
func all(ctx context.Context, options *chaos.Options, runs int, out io.Writer) error {
	summary := chaos.NewSummary()

	for ; runs > 0 && ctx.Err() == nil; runs-- {
		outcome, err := chaos.Run(ctx, options)
		summary.Add(outcome, err)
		fmt.Fprintf(out, "%s (%s)\n", outcome.Verdict(options, err), outcome.Took.Round(time.Second))

		options.Seed++
	}

	fmt.Fprintln(out)
	summary.Write(out)

	return summary.Err()
}
