// Command mutants plants bugs in a copy of the relay, one at a time, and looks which test finds each. It writes
// e2e/MUTANTS.md and exits with 1 when one survives.
//
//	go run ./e2e/cmd/mutants [-run regexp] [-parallel 2] [-seeds 20] [-timeout 5m] [-from stage] [-to stage]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/mutants"
	"github.com/atlas-relay/atlas-relay/pkg/lifecycle"
)

func main() {
	ctx, stop := lifecycle.Signals(context.Background())

	err := run(ctx, os.Args[1:])

	stop()

	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
	}

	os.Exit(lifecycle.ExitCode(err))
}

func run(ctx context.Context, args []string) error {
	runner := &mutants.Runner{Progress: func(line string) { fmt.Println("  " + line) }}

	flags := flag.NewFlagSet("mutants", flag.ExitOnError)
	names := flags.String("run", "", "plant those whose names match this regular `expression`; the others keep their lines")
	from := flags.String("from", "package", "first `stage` of the search: package, users, e2e, chaos; what a search from a later one finds is only printed")
	to := flags.String("to", "chaos", "last `stage` of the search; what is not found up to an earlier one keeps its line in the page")
	flags.IntVar(&runner.Parallel, "parallel", 2, "mutants at a time")
	flags.IntVar(&runner.Seeds, "seeds", 20, "chaos runs, at most, for each mutant that nothing else finds")
	flags.DurationVar(&runner.Timeout, "timeout", 5*time.Minute, "of one run of a package's tests; the end-to-end tests have six times as much")

	if err := flags.Parse(args); err != nil {
		return err
	}

	chosen, err := choose(*names)
	if err != nil {
		return err
	}

	if runner.From, err = mutants.ParseStage(*from); err != nil {
		return err
	}

	if runner.Last, err = mutants.ParseStage(*to); err != nil {
		return err
	}

	if runner.Root, err = harness.Root(ctx); err != nil {
		return err
	}

	return plant(ctx, runner, chosen)
}

func choose(names string) ([]mutants.Mutant, error) {
	wanted, err := regexp.Compile(names)
	if err != nil {
		return nil, fmt.Errorf("read -run: %w", err)
	}

	var chosen []mutants.Mutant

	for _, m := range mutants.All() {
		if wanted.MatchString(m.Name) {
			chosen = append(chosen, m)
		}
	}

	if len(chosen) == 0 {
		return nil, fmt.Errorf("no mutant's name matches %q; e2e/mutants has them", names)
	}

	return chosen, nil
}

func plant(ctx context.Context, runner *mutants.Runner, chosen []mutants.Mutant) error {
	page := filepath.Join(runner.Root, filepath.FromSlash(mutants.Page))

	var (
		told     int
		left     []string
		writeErr error
	)

	// The page is written after each, so that what is known is kept when the rest is broken off.
	_, err := runner.Run(ctx, chosen, func(o *mutants.Outcome) {
		told++
		fmt.Printf("%d/%d %s\n", told, len(chosen), o)

		if o.Finding == nil {
			left = append(left, o.Mutant.Name)
		}

		if whole := o.Finding != nil || runner.Last == mutants.Chaos; whole && runner.From == mutants.Own && writeErr == nil {
			writeErr = write(page, o)
		}
	})

	switch {
	case err != nil:
		return err
	case writeErr != nil:
		return writeErr
	case len(left) > 0:
		return fmt.Errorf("not found: %s", strings.Join(left, ", "))
	default:
		return nil
	}
}

func write(page string, outcome *mutants.Outcome) error {
	before, err := os.ReadFile(page)
	if err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("read the page: %w", err)
	}

	if err := os.WriteFile(page, []byte(mutants.Rendered(string(before), mutants.All(), []mutants.Outcome{*outcome})), 0o644); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}

	return nil
}
