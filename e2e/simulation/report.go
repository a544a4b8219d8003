package simulation

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Explain writes what a person needs to know of a run that failed, shrunk: the end of its
// trace, three lines of verdict, and the command that shows it again.
func Explain(out io.Writer, plan *Plan) {
	r, kept := Shrink(plan)

	lines := r.Trace[max(0, len(r.Trace)-tail):]
	fmt.Fprintln(out, strings.Join(lines, "\n"))

	fmt.Fprintf(out, "\nseed %d fails: %v\n", plan.Seed, r.Failure)
	fmt.Fprintf(out, "with %d of its %d faults: %s\n", len(kept), len(plan.Faults), list(r.Plan.Faults))
	fmt.Fprintf(out, "of %d changes, %d transactions had been committed when it was seen; replay with\n", r.Changes, r.Commits)
	fmt.Fprintf(out, "  make simulate RUNS=1 SEED=%d FAULTS=%s\n", plan.Seed, numbers(kept))
}

func list(faults []Fault) string {
	if len(faults) == 0 {
		return "none"
	}

	texts := make([]string, len(faults))
	for i, f := range faults {
		texts[i] = f.String()
	}

	return strings.Join(texts, "; ")
}

func numbers(kept []int) string {
	if len(kept) == 0 {
		return "none"
	}

	return strings.Trim(strings.ReplaceAll(fmt.Sprint(kept), " ", ","), "[]")
}

// Summary is what many runs have met. The zero Summary is empty.
type Summary struct {
	Runs, Failed, Loud        int
	Changes, Commits, Samples int
	Struck, During            map[string]int
	First                     uint64 // seed that failed, the lowest
	Took                      time.Duration
}

// Add takes in a run.
func (s *Summary) Add(r *Result) {
	if s.Struck == nil {
		s.Struck, s.During = map[string]int{}, map[string]int{}
	}

	s.Runs++
	s.Changes += r.Changes
	s.Commits += r.Commits
	s.Samples += r.Samples
	s.Took += r.Took

	if r.Loud {
		s.Loud++
	}

	if r.Failure != nil {
		if s.Failed == 0 || r.Plan.Seed < s.First {
			s.First = r.Plan.Seed
		}

		s.Failed++
	}

	for name, n := range r.Struck {
		s.Struck[name] += n
	}

	for name, n := range r.During {
		s.During[name] += n
	}
}

// Vacuous names what has not happened in any of the runs although it should: a fault that
// never hit, or during which the source never changed.
func (s *Summary) Vacuous() []string {
	var missing []string

	for k := range kinds {
		if s.Struck[k.String()] == 0 {
			missing = append(missing, k.String()+": never")
		}

		// What lasts no time is met by no change.
		if lasts := k != KillListener && k != StreamReplaced; lasts && s.During[k.String()] == 0 {
			missing = append(missing, k.String()+": no change meanwhile")
		}
	}

	for _, name := range []string{stalls, overtaken, crowd, "message lost at the tail", "delivery lost", "answer of the target lost", "document asked for", "ended loudly"} {
		if s.Struck[name] == 0 {
			missing = append(missing, name+": never")
		}
	}

	if s.Commits == 0 || s.Samples == 0 {
		missing = append(missing, "commits, or samples of the counters: never")
	}

	return missing
}

// Write writes the summary for people.
func (s *Summary) Write(out io.Writer) {
	fmt.Fprintf(out, "%d runs, %d failed, %d ended in a state that says so: %d changes, %d transactions, %d samples of the counters\n",
		s.Runs, s.Failed, s.Loud, s.Changes, s.Commits, s.Samples)

	names := make([]string, 0, len(s.Struck))
	for name := range s.Struck {
		names = append(names, name)
	}

	slices.Sort(names)

	for _, name := range names {
		fmt.Fprintf(out, "  %-28s %8d", name, s.Struck[name])

		if n := s.During[name]; n > 0 {
			fmt.Fprintf(out, "  %8d changes meanwhile", n)
		}

		fmt.Fprintln(out)
	}
}
