package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// pairs is how often both revisions are measured, in turn.
const pairs = 5

// pace is how fast a revision captures a backlog and applies it, in changes per second, and the CPU time of its listener
// and processor, in seconds.
type pace struct{ capture, apply, listener, processor float64 }

// against measures capture and apply of this tree and of another revision in turn, so that both meet the same noise.
func (b *bench) against(ctx context.Context) (err error) {
	if b.cfg.Against == "" {
		return nil
	}

	theirs, remove, err := buildRevision(ctx, b.cfg.Against)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()

	ours := b.programs
	defer func() { b.programs = ours }()

	for n := range 2 * pairs {
		b.programs = ours
		into := &b.results.ours

		if n%2 == 1 {
			b.programs = theirs
			into = &b.results.theirs
		}

		p, err := b.pace(ctx)
		if err != nil {
			return err
		}

		b.linef("  %s: capture %s, apply %s, CPU %.2f + %.2f s", b.programs, rate(p.capture), rate(p.apply), p.listener, p.processor)
		*into = append(*into, p)
	}

	return nil
}

// pace drains one backlog with the programs at hand, between servers of its own.
func (b *bench) pace(ctx context.Context) (p pace, err error) {
	write := func(ctx context.Context, source *mongo.Database) error {
		return load(ctx, source, 0, b.cfg.Changes, b.cfg.Size)
	}
	d := &drain{write: write, changes: b.cfg.Changes, applied: b.cfg.Changes}

	err = b.apart(ctx, 0, nil, func(world *harness.World, relay *harness.Relay) error {
		if err := d.fill(ctx, world, relay); err != nil {
			return err
		}

		stream, closeStream, err := openStream(ctx, world)
		if err != nil {
			return err
		}
		defer closeStream()

		if p.capture, err = captureRate(ctx, stream, b.cfg.Changes); err != nil {
			return err
		}

		p.listener = relay.Listener.Usage().CPU.Seconds()

		drained, err := d.empty(ctx, world, relay)
		p.apply, p.processor = drained.rate, relay.Processors()[0].Usage().CPU.Seconds()

		return err
	})

	return p, err
}

// buildRevision builds the programs of another revision of this repository.
func buildRevision(ctx context.Context, revision string) (programs harness.Programs, remove func() error, err error) {
	root, err := harness.Root(ctx)
	if err != nil {
		return "", nil, err
	}

	dir, err := os.MkdirTemp("", "atlas-relay-bench-revision-*")
	if err != nil {
		return "", nil, fmt.Errorf("make a directory for the other revision: %w", err)
	}

	tree := filepath.Join(dir, "tree")
	git := func(ctx context.Context, args ...string) error {
		if out, err := exec.CommandContext(ctx, "git", append([]string{"-C", root, "worktree"}, args...)...).CombinedOutput(); err != nil {
			return fmt.Errorf("git worktree %s: %w\n%s", args[0], err, out)
		}

		return nil
	}
	remove = func() error {
		return errors.Join(git(context.WithoutCancel(ctx), "remove", "--force", tree), os.RemoveAll(dir))
	}

	if err := git(ctx, "add", "--detach", tree, revision); err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}

	if programs, err = harness.BuildAt(ctx, tree, filepath.Join(dir, "bin")); err != nil {
		return "", nil, errors.Join(err, remove())
	}

	return programs, remove, nil
}

// medianRatio is the middle of the pairs' ratios.
func medianRatio(ours, theirs []pace, of func(pace) float64) float64 {
	ratios := make([]float64, 0, pairs)
	for i := range min(len(ours), len(theirs)) {
		ratios = append(ratios, of(ours[i])/of(theirs[i]))
	}

	slices.Sort(ratios)

	return ratios[len(ratios)/2]
}
