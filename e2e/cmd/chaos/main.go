// Command chaos runs the relay under load, breaks it, and says what is wrong afterwards: one run for each seed.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/chaos"
	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	seed := flag.Uint64("seed", rand.Uint64N(1_000_000), "of the first run; each further one has the next")
	runs := flag.Int("runs", 1, "how many")
	changes := flag.Int("changes", 2000, "of documents in each run")
	rate := flag.Float64("rate", 250, "changes a second")
	classes := flag.String("classes", "", "comma list of classes of faults; empty: all of "+strings.Join(chaos.Names(chaos.Classes()), ", "))
	short := flag.Bool("short", false, "only what the tests have time for")
	keep := flag.Bool("keep", false, "keep the folders of good runs, too")
	dir := flag.String("dir", filepath.Join(os.TempDir(), "atlas-relay-chaos"), "where a folder is made for each run")
	race := flag.Bool("race", false, "build the services with the race detector")
	patience := flag.Duration("patience", 3*time.Minute, "how long the relay may take for anything")
	verbose := flag.Bool("v", false, "tell what happens")

	flag.Parse()

	chosen, err := chaos.Select(strings.FieldsFunc(*classes, func(r rune) bool { return r == ',' }))
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

	programs, err := harness.Build(ctx, bin, buildFlags(*race)...)
	if err != nil {
		return err
	}

	options := chaos.Options{
		Programs: programs, Dir: *dir, Changes: *changes, Rate: *rate, Classes: chosen, Short: *short, Keep: *keep, Choice: choice,
		Patience: *patience,
	}

	if *verbose {
		options.Progress = os.Stdout
	}

	return all(ctx, options, *seed, *runs)
}

func buildFlags(race bool) []string {
	flags := []string{"-tags=failpoints"}
	if race {
		flags = append(flags, "-race")
	}

	return flags
}

// all makes the runs, one after the other.
func all(ctx context.Context, options chaos.Options, seed uint64, runs int) error {
	summary := chaos.NewSummary()

	for n := range uint64(runs) { //nolint:gosec // a flag
		if ctx.Err() != nil {
			break
		}

		options.Seed = seed + n
		outcome, err := chaos.Run(ctx, options)
		summary.Add(outcome, err)

		if err != nil {
			fmt.Printf("seed %d: could not be made: %v\n  again: %s   folder: %s\n", options.Seed, err, options.Replay(), outcome.Folder)

			continue
		}

		fmt.Printf("%s (%s)\n", outcome.Verdict(&options), outcome.Took.Round(time.Second))
	}

	fmt.Println()
	summary.Write(os.Stdout)

	return summary.Err()
}
