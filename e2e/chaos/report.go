package chaos

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
)

// Replay is the command that makes the same run again.
func (o *Options) Replay() string {
	command := fmt.Sprintf("make chaos SEED=%d RUNS=1 CHANGES=%d RATE=%.0f", o.Seed, o.Changes, o.Rate)

	if len(o.Classes) < len(Classes()) {
		command += " CLASSES=" + strings.Join(Names(o.Classes), ",")
	}

	if o.Steps != nil {
		command += " STEPS=" + numbers(o.Steps)
	}

	if o.Points != nil {
		command += " POINTS=" + cmp.Or(failpoint.List(o.Points), None)
	}

	if o.Until > 0 {
		command += fmt.Sprintf(" UNTIL=%d", o.Until)
	}

	if o.Short {
		command += " SHORT=1"
	}

	return command
}

// None is what stands for an empty list in a command.
const None = "none"

func numbers(all []int) string {
	texts := make([]string, len(all))
	for i, n := range all {
		texts[i] = strconv.Itoa(n)
	}

	return cmp.Or(strings.Join(texts, ","), None)
}

// Points is what is known of the failpoints of a run.
type Points struct {
	Armed  map[string]bool // by how they were armed: whether they struck
	Passed map[failpoint.Point]bool
}

// readPoints reads the directory that failpoints leave files in.
func readPoints(dir string, p *Plan) Points {
	points := Points{Armed: map[string]bool{}, Passed: map[failpoint.Point]bool{}}

	for _, all := range p.Armed {
		for _, a := range all {
			_, err := os.Stat(dir + string(os.PathSeparator) + a.String())
			points.Armed[a.String()] = err == nil
		}
	}

	for _, place := range failpoint.Table() {
		if _, err := os.Stat(dir + string(os.PathSeparator) + string(place.Point)); err == nil {
			points.Passed[place.Point] = true
		}
	}

	return points
}

// Verdict is what came of the run, in at most three lines; err is why it could not be made.
func (o *Outcome) Verdict(options *Options, err error) string {
	switch {
	case err != nil && len(o.Wrong) == 0:
		return fmt.Sprintf("seed %d: could not be made: %s\n  after: %s\n  again: %s   folder: %s",
			o.Plan.Seed, shorten(err.Error()), o.Struck(), options.Replay(), o.Folder)
	case len(o.Wrong) == 0:
		how := fmt.Sprintf("%d changes applied", o.Changes)
		if o.Ended != "" {
			how = "ended as it must: " + shorten(o.Ended)
		}

		if o.Unjudged != "" {
			how += ", not judged by the checker: " + shorten(o.Unjudged)
		}

		return fmt.Sprintf("seed %d: good, %s, %s", o.Plan.Seed, how, o.Struck())
	}

	return fmt.Sprintf("seed %d: %s%s\n  after: %s\n  again: %s   folder: %s",
		o.Plan.Seed, shorten(o.Wrong[0].Text), more(len(o.Wrong)-1), o.Struck(), options.Replay(), o.Folder)
}

const mostInLine = 300

func shorten(text string) string {
	text = strings.ReplaceAll(text, "\n", " ")
	if letters := []rune(text); len(letters) > mostInLine {
		return string(letters[:mostInLine]) + " …"
	}

	return text
}

func more(n int) string {
	if n == 0 {
		return ""
	}

	return fmt.Sprintf(" (and %d more)", n)
}

// Struck says what has struck, in order.
func (o *Outcome) Struck() string {
	var parts []string

	for _, s := range o.Strikes {
		text := s.Class.Name
		if s.Times == 0 {
			text += " (missed)"
		}

		parts = append(parts, text)
	}

	points := 0

	for _, struck := range o.Points.Armed {
		if struck {
			points++
		}
	}

	return fmt.Sprintf("%s; %d failpoints", strings.Join(parts, ", "), points)
}

// Summary adds runs up.
type Summary struct {
	runs, wrong, failed, ended, unjudged int

	classes map[string]*tally
	points  map[failpoint.Point]*tally
	passed  map[failpoint.Point]bool
}

// tally counts one kind of fault.
type tally struct{ planned, struck, busy int }

// NewSummary returns an empty one.
func NewSummary() *Summary {
	return &Summary{classes: map[string]*tally{}, points: map[failpoint.Point]*tally{}, passed: map[failpoint.Point]bool{}}
}

// enough is how many changes have to fall into a fault for it to mean something.
const enough = 100

// Add takes in a run; err is why it could not be made.
func (s *Summary) Add(o *Outcome, err error) {
	s.runs++

	switch {
	case err != nil:
		s.failed++
	case len(o.Wrong) > 0:
		s.wrong++
	case o.Ended != "":
		s.ended++
	case o.Unjudged != "":
		s.unjudged++
	}

	for _, strike := range o.Strikes {
		t := entry(s.classes, strike.Class.Name)
		t.planned++

		if strike.Times > 0 {
			t.struck++

			if strike.Changes >= enough {
				t.busy++
			}
		}
	}

	for name, struck := range o.Points.Armed {
		point, _, _ := strings.Cut(name, "=")
		t := entry(s.points, failpoint.Point(point))
		t.planned++

		if struck {
			t.struck++
		}
	}

	maps.Copy(s.passed, o.Points.Passed)
}

func entry[K comparable, V any](all map[K]*V, key K) *V {
	if all[key] == nil {
		all[key] = new(V)
	}

	return all[key]
}

// Write writes it for people.
func (s *Summary) Write(out io.Writer) {
	fmt.Fprintf(out, "%d runs: %d good, of them %d ended as they must and %d were compared but not judged; %d broke a promise; %d could not be made\n\n",
		s.runs, s.runs-s.wrong-s.failed, s.ended, s.unjudged, s.wrong, s.failed)
	fmt.Fprintf(out, "%-14s %8s %8s %22s\n", "class", "planned", "struck", "with 100 changes in it")

	for _, name := range slices.Sorted(maps.Keys(s.classes)) {
		t := s.classes[name]
		fmt.Fprintf(out, "%-14s %8d %8d %22d\n", name, t.planned, t.struck, t.busy)
	}

	fmt.Fprintf(out, "\n%-32s %8s %8s\n", "failpoint", "armed", "struck")

	var never []string

	for _, place := range failpoint.Table() {
		if t := s.points[place.Point]; t != nil {
			fmt.Fprintf(out, "%-32s %8d %8d\n", place.Point, t.planned, t.struck)
		}

		if !s.passed[place.Point] {
			never = append(never, string(place.Point))
		}
	}

	if len(never) > 0 {
		fmt.Fprintf(out, "\nnever passed: %s\n", strings.Join(never, ", "))
	}
}

// Struck is how many faults have struck.
func (s *Summary) Struck() (n int) {
	for _, t := range s.classes {
		n += t.struck
	}

	return n
}

// Err is nil when every run was made and found nothing.
func (s *Summary) Err() error {
	switch {
	case s.wrong > 0:
		return fmt.Errorf("%w in %d of %d runs", errWrong, s.wrong, s.runs)
	case s.failed > 0:
		return fmt.Errorf("%d of %d runs could not be made", s.failed, s.runs)
	default:
		return nil
	}
}
