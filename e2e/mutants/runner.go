package mutants

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Runner looks for mutants.
type Runner struct {
	Root     string        // of the tree, where go.work is
	Parallel int           // mutants at a time
	Seeds    int           // chaos runs, at most, for each mutant
	Timeout  time.Duration // of one run of a package's tests; those of e2e get longer
	From     Stage         // leave out what comes before
	Last     Stage         // and what comes behind this one
	Progress func(line string)

	tree *Tree
	dir  string // for all mutants

	mu    sync.Mutex
	clean map[string]*cleanTests // by package
}

// cleanTests are those without a mutant.
type cleanTests struct {
	once  sync.Once
	tests *tests
	err   error
}

// Stage is where a mutant is looked for.
type Stage int

// The stages, in their order.
const (
	Own Stage = iota
	Users
	EndToEnd
	Chaos
)

// ParseStage reads the name of a stage.
func ParseStage(name string) (Stage, error) {
	for stage, known := range stageNames() {
		if name == known {
			return Stage(stage), nil
		}
	}

	return 0, fmt.Errorf("there is no stage %q; there are %v", name, stageNames())
}

func stageNames() []string { return []string{"package", "users", "e2e", "chaos"} }

// Run looks for the mutants and returns what became of each, in their order; tell is called with each as soon as that is
// known, by one goroutine at a time. The error is of what concerns all, or that of ctx.
func (r *Runner) Run(ctx context.Context, list []Mutant, tell func(*Outcome)) ([]Outcome, error) {
	var err error
	if r.tree, err = List(ctx, r.Root); err != nil {
		return nil, err
	}

	if r.dir, err = os.MkdirTemp("", "atlas-relay-mutants-*"); err != nil {
		return nil, fmt.Errorf("make a directory for mutants: %w", err)
	}
	defer os.RemoveAll(r.dir)

	r.clean = map[string]*cleanTests{}

	var telling sync.Mutex

	outcomes := make([]Outcome, len(list))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(r.Parallel, 1))

	for i := range list {
		group.Go(func() error {
			began := time.Now()

			finding, err := r.look(ctx, &list[i])
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}

			outcomes[i] = Outcome{Mutant: &list[i], Finding: finding, Err: err, Took: time.Since(began)}

			telling.Lock()
			defer telling.Unlock()

			tell(&outcomes[i])

			return nil
		})
	}

	err = group.Wait()

	return outcomes, err
}

// look looks for one mutant; nil: nothing found it.
func (r *Runner) look(ctx context.Context, m *Mutant) (*Finding, error) {
	dir, err := os.MkdirTemp(r.dir, m.Name+"-*")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the mutant: %w", err)
	}
	defer os.RemoveAll(dir)

	overlay, err := m.Plant(r.Root, dir)
	if err != nil {
		return nil, err
	}

	own, err := r.tree.Of(filepath.Dir(filepath.Join(r.Root, filepath.FromSlash(m.File))))
	if err != nil {
		return nil, err
	}

	h := &hunt{Runner: r, mutant: m, overlay: overlay, dir: dir}

	for stage := r.From; stage <= r.Last; stage++ {
		if err := h.search(ctx, stage, own); err != nil {
			return nil, err
		}

		if h.finding != nil {
			break
		}
	}

	return h.finding, nil
}

// without returns the tests of a package without a mutant, compiled once.
func (r *Runner) without(ctx context.Context, p *Package) (*tests, error) {
	r.mu.Lock()

	c := r.clean[p.ImportPath]
	if c == nil {
		c = &cleanTests{}
		r.clean[p.ImportPath] = c
	}

	r.mu.Unlock()
	c.once.Do(func() { c.tests, c.err = compile(ctx, p, "", r.dir) })

	return c.tests, c.err
}

func (r *Runner) say(format string, args ...any) {
	if r.Progress != nil {
		r.Progress(fmt.Sprintf(format, args...))
	}
}
