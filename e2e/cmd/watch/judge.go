package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/views"
)

// shown are the views of the table; the others lie beneath them.
func shown() []string { return []string{views.Page, views.Top, views.Status, views.Prometheus} }

// told is when a view told of a fault.
type told struct {
	named time.Duration // after its begin
	is    bool          // it did
	gone  time.Duration // after its end it named it so long; 0: no more
	looks int           // at it while it had to be named: without any, nobody knows
}

// judge prints what was seen, and returns what must not be: that views disagree, that a number goes back, that a fault is
// never told of. What comes late is printed only: a machine may be busy.
func (w *watch) judge(ctx context.Context) error {
	if err := w.keep(); err != nil {
		return err
	}

	looks := w.views.Looks()
	verdict := w.views.Compare()

	fmt.Fprintf(w.out, "\nDEMO_SEED=%d, %d s of chaos; seconds until a fault is named, and after its end no more (goals: %.0f and %.0f)\n\n",
		w.seed, w.cfg.Seconds, namedGoal.Seconds(), goneGoal.Seconds())

	table := tabwriter.NewWriter(w.out, 0, 0, 2, ' ', 0) //nolint:mnd // blanks between columns
	fmt.Fprint(table, "at\tfault\tlasted")

	for _, view := range shown() {
		fmt.Fprintf(table, "\t%s", view)
	}

	fmt.Fprintln(table)

	var (
		broken       []error
		late, missed int
	)

	for _, f := range w.ledger.faults {
		fmt.Fprintf(table, "%.1f\t%s (process %d)\t%.1f", f.begin.Sub(w.began).Seconds(), f.what, f.pid, f.end.Sub(f.begin).Seconds())

		for _, view := range shown() {
			t := w.tell(f, view, looks)

			switch {
			case !t.is && f.mustBeNamed() && t.looks > 0:
				missed++

				broken = append(broken, fmt.Errorf("%s (process %d) was never named by %s", f.what, f.pid, view))
			case t.is && (t.named > namedGoal || t.gone > goneGoal):
				late++
			}

			fmt.Fprintf(table, "\t%s", t.text(f))
		}

		fmt.Fprintln(table)
	}

	if err := table.Flush(); err != nil {
		return err
	}

	resets, err := w.resets(ctx)
	if err != nil {
		return err
	}

	fmt.Fprintf(w.out, "\n%s; counters that Prometheus saw go back: %d\nfaults never named: %d; told late: %d\n", verdict, len(resets), missed, late)

	for _, what := range append(append(verdict.Disagreements, verdict.Backwards...), resets...) {
		broken = append(broken, errors.New(what))
	}

	return errors.Join(broken...)
}

// tell is when a view told of a fault. Behind the begin of the next one of its process the view tells of that.
func (w *watch) tell(f *injected, view string, looks []views.Look) (t told) {
	if f.clean {
		return t
	}

	next := w.ledger.next(f)

	for i := range looks {
		l := &looks[i]

		when := l.Sample
		if when.IsZero() {
			when = l.Seen
		}

		if l.View == view && when.After(f.visible()) && when.Before(f.end) {
			t.looks++
		}

		if l.View != view || !when.After(f.begin) || !next.IsZero() && when.After(next) || !w.names(f, l, when) {
			continue
		}

		if !t.is {
			t.is, t.named = true, l.Seen.Sub(f.begin)
		}

		t.gone = max(t.gone, when.Sub(f.end))
	}

	return t
}

// names tells whether a look names a fault. Prometheus has no words: it does while it counts somebody, and after the end
// when nothing else can be meant.
func (w *watch) names(f *injected, l *views.Look, when time.Time) bool {
	if l.View == views.Prometheus && when.After(f.end) && w.ledger.active(when, f) > 0 {
		return false
	}

	return f.names(l)
}

func (t *told) text(f *injected) string {
	switch {
	case t.is:
		return fmt.Sprintf("%.1f, %.1f", t.named.Seconds(), t.gone.Seconds())
	case f.mustBeNamed() && t.looks == 0:
		return "not seen" // the machine was too busy to look
	case f.mustBeNamed():
		return "NEVER"
	default:
		return "-"
	}
}

// resets are the counters that went back, as Prometheus has them over the whole run.
func (w *watch) resets(ctx context.Context) (found []string, err error) {
	window := time.Since(w.began).Round(time.Second) + time.Minute

	values, err := w.prometheus.Query(ctx, fmt.Sprintf(`resets({job="stats",__name__=~"relay_.+_total"}[%ds]) > 0`, int(window.Seconds())))
	if err != nil {
		return nil, err
	}

	for _, v := range values {
		found = append(found, fmt.Sprintf("Prometheus saw %v go back %.0f times", v.Labels, v.Value))
	}

	return found, nil
}
