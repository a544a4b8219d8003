package mutants

import (
	"context"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// Kind is what sort of test has found a mutant.
type Kind string

// The kinds.
const (
	Unit     Kind = "unit"       // beside the code; many have real servers
	Property Kind = "property"   // the same with random input: a property, or a simulation
	Process  Kind = "end to end" // of e2e, with the services as processes
	Random   Kind = "chaos"      // a chaos run
)

// Finding is how a mutant was found.
type Finding struct {
	Kind    Kind
	Test    string // its name; of a chaos run, what is wrong
	Package string // from the root; empty for a chaos run
	Seeds   int    // runs with seeds of their own, until it was found; 1 where nothing is random
	Cases   int    // of a property in the run that found it; 0: not said
	Hung    bool   // the test did not end
}

// Outcome is what became of a mutant.
type Outcome struct {
	Mutant  *Mutant
	Finding *Finding // nil: it survived, unless there is an error
	Err     error    // why it could not be looked for: the code has changed, or it does not compile
	Took    time.Duration
}

const (
	// runs of a package whose tests draw random input.
	runs = 3
	// again is how often a test that failed is run by itself, at most, to see it fail once more, and twice.
	again = 6
	twice = 2
	// longer is how much more time than a package's tests those of e2e get.
	longer = 6
)

// hunt is one mutant that is looked for.
type hunt struct {
	*Runner

	mutant  *Mutant
	overlay string
	dir     string
	finding *Finding
}

// search looks in one stage and leaves what it finds in finding.
func (h *hunt) search(ctx context.Context, stage Stage, own *Package) error {
	switch stage {
	case Own:
		return h.searchPackage(ctx, own, Unit)
	case Users:
		for _, p := range h.tree.Users(own) {
			if err := h.searchPackage(ctx, p, Unit); err != nil || h.finding != nil {
				return err
			}
		}

		return nil
	case EndToEnd:
		p, err := h.tree.Of(filepath.Join(h.Root, "e2e"))
		if err != nil {
			return err
		}

		return h.searchPackage(ctx, p, Process)
	default:
		return h.searchChaos(ctx)
	}
}

// searchPackage runs all tests of a package.
func (h *hunt) searchPackage(ctx context.Context, p *Package, kind Kind) error {
	if !p.HasTests() {
		return nil
	}

	t, err := compile(ctx, p, h.overlay, h.dir)
	if err != nil {
		return err
	}

	defer os.Remove(t.path)

	most, timeout := 1, h.Timeout

	switch {
	case kind == Process:
		timeout *= longer
	case p.Draws():
		most = runs
	}

	for run := 1; run <= most; run++ {
		h.say("%s: tests of %s, run %d", h.mutant.Name, p.ImportPath, run)

		first, err := t.run(ctx, "", timeout)
		if err != nil {
			return err
		}

		if !first.failed {
			continue
		}

		good, err := h.confirm(ctx, t, &first, timeout)
		if err != nil {
			return err
		}

		if !good {
			continue
		}

		if kind == Unit && p.DrawsIn(first.test) {
			kind = Property
		}

		h.finding = &Finding{Kind: kind, Test: first.test, Package: h.fromRoot(p), Seeds: run, Cases: first.cases, Hung: first.hung}

		return nil
	}

	return nil
}

// confirm makes sure that a failure is the mutant's, and not that of a busy machine: by itself the test fails with the
// mutant twice more, and passes without it as often in between.
func (h *hunt) confirm(ctx context.Context, t *tests, failure *result, timeout time.Duration) (bool, error) {
	clean, err := h.without(ctx, t.pkg)
	if err != nil {
		return false, err
	}

	failures := 0

	for range again {
		unharmed, err := clean.run(ctx, failure.test, timeout)
		if err != nil {
			return false, err
		}

		if unharmed.failed {
			h.say("%s: %s of %s fails without the mutant, too", h.mutant.Name, failure.test, t.pkg.ImportPath)

			return false, nil
		}

		once, err := t.run(ctx, failure.test, timeout)
		if err != nil {
			return false, err
		}

		if once.failed {
			failures++
		}

		if failures == twice {
			return true, nil
		}
	}

	h.say("%s: %s of %s failed once, and then in %d of %d runs", h.mutant.Name, failure.test, t.pkg.ImportPath, failures, again)

	return false, nil
}

// searchChaos makes chaos runs, one for each seed.
func (h *hunt) searchChaos(ctx context.Context) error {
	if h.Seeds < 1 {
		return nil
	}

	command, err := h.chaosCommand(ctx, h.overlay, h.dir)
	if err != nil {
		return err
	}

	for seed := 1; seed <= h.Seeds; seed++ {
		h.say("%s: chaos run with seed %d", h.mutant.Name, seed)

		found, err := h.chaos(ctx, command, h.overlay, seed)
		if err != nil {
			return err
		}

		if found.nothing != "" {
			h.say("%s: the chaos run with seed %d says nothing: %s", h.mutant.Name, seed, found.nothing)
		}

		if found.wrong == "" {
			continue
		}

		unharmed, err := h.cleanChaos(ctx, seed)
		if err != nil {
			return err
		}

		if unharmed.wrong != "" {
			h.say("%s: the chaos run with seed %d fails without the mutant, too: %s", h.mutant.Name, seed, unharmed.wrong)

			continue
		}

		h.finding = &Finding{Kind: Random, Test: found.wrong, Seeds: seed}

		return nil
	}

	return nil
}

// cleanChaos makes the same run without the mutant.
func (h *hunt) cleanChaos(ctx context.Context, seed int) (chaosRun, error) {
	command, err := h.chaosCommand(ctx, "", h.dir)
	if err != nil {
		return chaosRun{}, err
	}

	return h.chaos(ctx, command, "", seed)
}

// fromRoot is the directory of a package in the tree.
func (h *hunt) fromRoot(p *Package) string {
	relative, err := filepath.Rel(h.Root, p.Dir)
	if err != nil {
		return path.Base(p.ImportPath)
	}

	return strings.TrimPrefix(filepath.ToSlash(relative), "./")
}
