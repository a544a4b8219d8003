package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/chaos"
	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// session is the runs of one call of the command.
type session struct {
	options *chaos.Options
	shrink  int    // runs that are spent on one that went wrong
	record  bool   // the runs are for the tree
	ledger  string // what runs have left, of earlier sessions too
	out     io.Writer

	root, revision string
	records        []chaos.Record // of the ledger
	summary        *chaos.Summary
}

// tries is how many runs a shorter schedule has to show a finding again.
const tries = 2

// begin reads what earlier sessions have left.
func (s *session) begin(ctx context.Context) (err error) {
	s.summary = chaos.NewSummary()

	if s.root, err = harness.Root(ctx); err != nil {
		return err
	}

	if s.record {
		s.ledger = filepath.Join(s.root, chaos.LedgerFile)
	}

	if s.revision, err = revision(ctx, s.root); err != nil {
		return err
	}

	s.records, err = chaos.ReadLedger(s.ledger)

	return err
}

// all makes the runs, one after the other.
func (s *session) all(ctx context.Context, runs int) error {
	for ; runs > 0 && ctx.Err() == nil; runs-- {
		if err := s.one(ctx); err != nil {
			return err
		}

		s.options.Seed++
	}

	fmt.Fprintln(s.out)
	s.summary.Write(s.out)
	fmt.Fprintf(s.out, "\nOf the %d runs in %s: ", len(s.records), s.ledger)
	chaos.CoverageOf(s.records).Write(s.out)

	return s.summary.Err()
}

// one makes a run, tells what came of it, and keeps that.
func (s *session) one(ctx context.Context) error {
	o := *s.options

	// What a run arms beside its seed's choice stands in its command.
	if s.record && o.Points == nil {
		o.Points = chaos.CoverageOf(s.records).Choose(chaos.NewPlan(&o))
	}

	outcome, err := chaos.Run(ctx, &o)
	if ctx.Err() != nil {
		return nil //nolint:nilerr // it was ended from outside, which says nothing
	}

	s.summary.Add(outcome, err)
	fmt.Fprintf(s.out, "%s (%s)\n", outcome.Verdict(&o, err), outcome.Took.Round(time.Second))

	record := chaos.RecordOf(&o, outcome, err, s.revision)

	if err == nil && len(outcome.Wrong) > 0 && s.shrink > 0 {
		shrunk, err := chaos.Shrink(ctx, &o, outcome, chaos.Effort{Runs: s.shrink, Tries: tries}, s.out)
		if shrunk != nil {
			fmt.Fprintln(s.out, shrunk.Verdict(outcome.Plan.Faults()))

			record.Replay = shrunk.Options.Replay()
		}

		if err != nil {
			return err
		}
	}

	return s.keep(record)
}

func (s *session) keep(record *chaos.Record) error {
	if err := record.Append(s.ledger); err != nil {
		return err
	}

	s.records = append(s.records, *record)

	if !s.record {
		return nil
	}

	return chaos.WriteResults(s.root)
}

// revision is that of the code: what runs leave in the tree is none.
func revision(ctx context.Context, root string) (string, error) {
	git := func(args ...string) (string, error) {
		args = append(args, "--", ":(top)", ":(top,exclude)"+chaos.LedgerFile, ":(top,exclude)"+chaos.ResultsFile)
		cmd := exec.CommandContext(ctx, "git", args...)
		cmd.Dir = root

		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("ask git for the revision: %w", err)
		}

		return strings.TrimSpace(string(out)), nil
	}

	last, err := git("log", "-1", "--format=%h")
	if err != nil {
		return "", err
	}

	changed, err := git("status", "--porcelain")
	if changed != "" {
		last += "-dirty"
	}

	return last, err
}
