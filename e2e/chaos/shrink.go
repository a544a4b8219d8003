package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
)

// Effort is what shrinking may cost.
type Effort struct {
	Runs  int // of all schedules together
	Tries int // that a schedule has to show the finding again: what threads make of a fault is not repeated
}

// Of Shrink.
const (
	// shrinkBehind is how many changes the load goes on behind the last fault that is left.
	shrinkBehind = 2 * spacing
	// shrinkDir holds what shrinking leaves in the folder of the run.
	shrinkDir = "shrunk"
)

// Shrunk is the shortest schedule that was found to show a finding again.
type Shrunk struct {
	Options *Options // of the run that showed it last
	Outcome *Outcome // of that run; its folder is below that of the run that went wrong
	Kinds   []string // of the findings of the run that went wrong: one of them has to show itself again
	Runs    int      // that were made
	Again   bool     // the finding has shown itself again at all
}

// atom is a part of a schedule that may be left out: a step, or a failpoint.
type atom struct {
	step  *Step
	point failpoint.Armed
}

// shrinking is one shortening while it lasts.
type shrinking struct {
	ctx    context.Context //nolint:containedctx // ddmin knows no contexts
	whole  *Options
	effort Effort
	told   io.Writer // one line for each run
	best   *Shrunk
	err    error // of a run that could not be made at all
}

// Shrink repeats a run that went wrong with fewer faults, as long as a finding of the same kind stays. It leaves in the run's folder the schedule that is left, with the command that repeats it (shrunk/schedule.txt), and
// all that the last such run has left (shrunk/seed-…).
func Shrink(ctx context.Context, o *Options, outcome *Outcome, effort Effort, told io.Writer) (*Shrunk, error) {
	dir := filepath.Join(outcome.Folder, shrinkDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("shrink a schedule: %w", err)
	}

	file, err := os.Create(filepath.Join(dir, "schedule.txt"))
	if err != nil {
		return nil, fmt.Errorf("shrink a schedule: %w", err)
	}
	defer file.Close()

	whole := *o
	whole.Dir = dir

	s := &shrinking{
		ctx: ctx, whole: &whole, effort: effort, told: io.MultiWriter(file, told),
		best: &Shrunk{Options: o, Outcome: outcome, Kinds: outcome.Kinds()},
	}

	ddmin(outcome.Plan.atoms(), s.shows)

	if s.best.Again {
		fmt.Fprintf(file, "\n%s\n\n%s\n%s", s.best.Outcome.Wrong[0].Text, s.best.Options.Replay(), s.best.Outcome.Plan)
	}

	return s.best, s.err
}

// atoms are all parts of a schedule.
func (p *Plan) atoms() (atoms []atom) {
	for i := range p.Steps {
		atoms = append(atoms, atom{step: &p.Steps[i]})
	}

	for _, service := range []string{failpoint.Listener, failpoint.Processor, failpoint.Stats} {
		for _, a := range p.Armed[service] {
			if !slices.Contains(atoms, atom{point: a}) {
				atoms = append(atoms, atom{point: a})
			}
		}
	}

	return atoms
}

// of are the options of a run with these parts only.
func (s *shrinking) of(atoms []atom) *Options {
	o := *s.whole
	o.Steps, o.Points, o.Keep = []int{}, []failpoint.Armed{}, false

	var last uint64

	for _, a := range atoms {
		if a.step == nil {
			o.Points = append(o.Points, a.point)

			continue
		}

		o.Steps = append(o.Steps, a.step.Number)
		last = max(last, a.step.At)
	}

	if until := int(last) + shrinkBehind; len(o.Steps) > 0 && until < o.Changes && (o.Until == 0 || until < o.Until) {
		o.Until = until
	}

	return &o
}

// shows makes runs with these parts until one of them has the finding.
func (s *shrinking) shows(atoms []atom) bool {
	for range s.effort.Tries {
		if s.best.Runs >= s.effort.Runs || s.ctx.Err() != nil || s.err != nil {
			return false
		}

		o := s.of(atoms)
		outcome, err := Run(s.ctx, o)
		s.best.Runs++

		if err != nil && len(outcome.Wrong) == 0 {
			s.err = errors.Join(err, s.ctx.Err())

			return false
		}

		found := slices.ContainsFunc(outcome.Wrong, s.isTheSame)
		fmt.Fprintf(s.told, "  shrink %d/%d: steps %s, %d failpoints: %s (%s)\n",
			s.best.Runs, s.effort.Runs, numbers(o.Steps), len(o.Points), answer(found), outcome.Took.Round(time.Second))

		if found {
			s.keep(o, outcome)

			return true
		}

		if outcome.Folder != "" { // another finding is another story
			s.err = os.RemoveAll(outcome.Folder)
		}
	}

	return false
}

func answer(found bool) string {
	if found {
		return "the same again"
	}

	return "not again"
}

// keep puts the folder of the run aside: the next one has the same name.
func (s *shrinking) keep(o *Options, outcome *Outcome) {
	kept := filepath.Join(s.whole.Dir, "last")
	s.err = errors.Join(os.RemoveAll(kept), os.Rename(outcome.Folder, kept))

	outcome.Folder = kept
	replay := *o
	replay.Dir = "" // where it is made does not matter
	s.best.Options, s.best.Outcome, s.best.Again = &replay, outcome, true
}

// isTheSame tells whether a finding is of a kind that the run that went wrong had. What follows from one cause shows itself
// now in this and now in that.
func (s *shrinking) isTheSame(f Finding) bool { return slices.Contains(s.best.Kinds, f.Kind) }

// Verdict is that of the shortest run.
func (s *Shrunk) Verdict(total int) string {
	if !s.Again {
		return fmt.Sprintf("seed %d: not shrunk: %q did not come again in %d runs", s.Options.Seed, s.Kinds[0], s.Runs)
	}

	verdict := s.Outcome.Verdict(s.Options, nil)

	return strings.Replace(verdict, ":", fmt.Sprintf(" shrunk from %d faults to %d in %d runs:", total, s.Faults(), s.Runs), 1)
}

// Faults is how many faults are left: steps and failpoints.
func (s *Shrunk) Faults() int { return s.Outcome.Plan.Faults() }

// Faults is how many there are in the schedule: steps and failpoints.
func (p *Plan) Faults() int { return len(p.atoms()) }

// ddmin returns a part of all for which shows still holds and of which no single element can be left out; shows is asked for
// parts in the order of the whole. (Zeller and Hildebrandt, Simplifying and isolating failure-inducing input, 2002.)
func ddmin[T any](all []T, shows func([]T) bool) []T {
	if len(all) > 0 && shows(nil) {
		return nil
	}

	for pieces := 2; len(all) >= 2; {
		next, found := reduce(all, pieces, shows)

		switch {
		case found:
			all, pieces = next, max(2, min(pieces-1, len(next)))
		case pieces >= len(all):
			return all
		default:
			pieces = min(2*pieces, len(all))
		}
	}

	return all
}

// reduce cuts all into pieces and tries each alone, and then all without each.
func reduce[T any](all []T, pieces int, shows func([]T) bool) (part []T, found bool) {
	cut := func(n int) (from, to int) { return n * len(all) / pieces, (n + 1) * len(all) / pieces }

	for n := range pieces {
		if from, to := cut(n); shows(all[from:to]) {
			return all[from:to], true
		}
	}

	if pieces == 2 { // what is left without one is the other
		return nil, false
	}

	for n := range pieces {
		from, to := cut(n)
		if rest := slices.Concat(all[:from], all[to:]); shows(rest) {
			return rest, true
		}
	}

	return nil, false
}
