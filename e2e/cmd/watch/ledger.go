package main

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/diary"
	"github.com/atlas-relay/atlas-relay/e2e/fault"
	"github.com/atlas-relay/atlas-relay/e2e/views"
)

// leaseTTL is that of the demo, which sets none.
const leaseTTL = 5 * time.Second

// Goals of the statistics: each fault is named within namedGoal of its begin, and no more after goneGoal of its end.
const (
	namedGoal = leaseTTL + time.Second
	goneGoal  = 3 * time.Second
)

// injected is a fault of the run.
type injected struct {
	what       string
	pid        int
	begin, end time.Time // end: zero while it lasts
	owned      bool      // the process owned partitions then: else nothing is missed when it dies
	killed     bool
	clean      bool // a process came, or left in order: nobody has to be told
}

// mustBeNamed tells whether it lasted so long that it has to be seen, and does harm.
func (f *injected) mustBeNamed() bool {
	switch {
	case f.clean:
		return false
	case f.killed:
		return f.owned
	default:
		return f.end.IsZero() || f.end.Sub(f.begin) >= namedGoal
	}
}

// visible is from when on it has to be told of until its end. Who is killed has a successor at once, and is missed sooner.
func (f *injected) visible() time.Time {
	if f.killed {
		return f.begin.Add(leaseTTL / 2) //nolint:mnd // two fifths, and a report
	}

	return f.begin.Add(leaseTTL)
}

// names tells whether a look names it. Prometheus has no words: it counts.
func (f *injected) names(l *views.Look) bool {
	if l.Facts[views.FactStatus] == "OK" {
		return false
	}

	if l.View == views.Prometheus {
		return l.Facts[views.FactSilent] != "" && l.Facts[views.FactSilent] != "0"
	}

	return strings.Contains(l.Facts[views.FactReasons], fmt.Sprintf("(process %d) has said nothing", f.pid))
}

// ledger is what was broken when.
type ledger struct {
	mu     sync.Mutex
	faults []*injected
	frozen map[int]*injected // by process
	number map[int]*injected // by strike
}

// strike enters what a diary says of one.
//
// The end of a kill is that of the leases: its successor runs at once, but what it did rests until then.
func (g *ledger) strike(e *diary.Entry, seen *views.Views) {
	g.mu.Lock()
	defer g.mu.Unlock()

	if g.frozen == nil {
		g.frozen, g.number = map[int]*injected{}, map[int]*injected{}
	}

	s := e.Strike
	before, isFrozen := g.frozen[s.PID]

	switch {
	case s.Ended:
		if f := g.number[s.Number]; f != nil && f.end.IsZero() {
			f.end = e.At

			delete(g.frozen, f.pid)
		}

		return
	case s.Kind == fault.Freeze && isFrozen:
		return // it goes on when the first one ends
	case s.Kind == fault.Kill && isFrozen:
		before.what, before.killed, before.end = before.what+", then "+s.String(), true, e.At.Add(leaseTTL)

		delete(g.frozen, s.PID)

		return
	}

	f := &injected{what: s.String(), pid: s.PID, begin: e.At, owned: seen.Owns(s.PID)}

	switch s.Kind {
	case fault.Freeze:
		g.frozen[s.PID], g.number[s.Number] = f, f
	case fault.Kill:
		f.killed, f.end = true, e.At.Add(leaseTTL)
	case fault.Join, fault.Leave:
		f.clean, f.end = true, e.At
	}

	g.faults = append(g.faults, f)
}

// active is how many faults may be told of at a moment, beside one.
func (g *ledger) active(at time.Time, beside *injected) (number int) {
	for _, f := range g.faults {
		if f != beside && !f.clean && f.begin.Before(at) && (f.end.IsZero() || f.end.Add(goneGoal).After(at)) {
			number++
		}
	}

	return number
}

// next is when the next fault of the same process began; zero when there was none.
func (g *ledger) next(f *injected) (at time.Time) {
	for _, other := range g.faults {
		if other.pid == f.pid && other.begin.After(f.begin) && (at.IsZero() || other.begin.Before(at)) {
			at = other.begin
		}
	}

	return at
}
