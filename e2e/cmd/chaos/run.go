package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/atlas-relay/atlas-relay/e2e/chaos"
	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
)

// seeds is where a seed is drawn from: short enough to be typed.
const seeds = 1_000_000

func run(ctx context.Context, cfg *Config, out io.Writer) error {
	chosen, err := cfg.classes()
	if err != nil {
		return err
	}

	classes, lacking := chaos.Available(chosen)
	for _, line := range lacking {
		fmt.Fprintln(out, line)
	}

	points, err := cfg.points()
	if err != nil {
		return err
	}

	steps, err := cfg.steps()
	if err != nil {
		return err
	}

	choice, err := mongotest.Find(ctx, mongotest.FindOptions{Progress: os.Stderr})
	if err != nil {
		return err
	}

	programs, remove, err := build(ctx, cfg)
	if err != nil {
		return err
	}
	defer remove()

	options := chaos.Options{
		Programs: programs, Dir: cfg.Dir, Changes: cfg.Changes, Rate: float64(cfg.Rate), Classes: classes, Points: points, Short: cfg.Short, Keep: cfg.Keep,
		Choice: choice, Patience: cfg.Patience, Seed: cfg.Seed, Steps: steps, Until: cfg.Until,
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

	if err := os.MkdirAll(options.Dir, 0o700); err != nil {
		return fmt.Errorf("make the directory of the runs: %w", err)
	}

	s := &session{options: &options, shrink: cfg.Shrink, record: cfg.Record, ledger: filepath.Join(options.Dir, "runs.jsonl"), out: out}
	if err := s.begin(ctx); err != nil {
		return err
	}

	return s.all(ctx, cfg.Runs)
}

// build builds the services, unless they are there.
func build(ctx context.Context, cfg *Config) (programs harness.Programs, remove func(), err error) {
	if cfg.Bin != "" {
		return harness.Programs(cfg.Bin), func() {}, nil
	}

	bin, err := os.MkdirTemp("", "atlas-relay-chaos-bin-*")
	if err != nil {
		return "", nil, fmt.Errorf("make a directory for the programs: %w", err)
	}

	remove = func() { _ = os.RemoveAll(bin) } // below the temporary directory, at worst

	if programs, err = harness.Build(ctx, bin, buildFlags(cfg.Race)...); err != nil {
		remove()
	}

	return programs, remove, err
}

func buildFlags(race bool) []string {
	flags := []string{"-tags=failpoints"}
	if race {
		flags = append(flags, "-race")
	}

	return flags
}
