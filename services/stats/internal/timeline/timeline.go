// Package timeline remembers what the samples of the last hour said, in a ring of fixed size: one point a second, 3600
// of them, some 300 KiB a flow.
//
// A point holds counts, not rates: a rate is made when somebody asks, between the two points that his step takes, so
// that any step adds up to the same number of events.
package timeline

import (
	"sync"
	"time"

	"github.com/atlas-relay/atlas-relay/services/stats/internal/tally"
)

const (
	// Every is the time between points.
	Every = time.Second
	// Points is how many are kept.
	Points = int(time.Hour / Every)
	// longest gap between two points, in steps, over which a rate is made: above it nobody knows when the events were.
	longestGap = 3
)

// Point is what one sample said; nil is unknown.
type Point struct {
	Time time.Time

	Captured *uint64 // events of the source counted so far
	Settled  *uint64 // of them processed, failed or skipped

	Pending     *uint64
	DeadLetters *uint64

	Lag, CaptureLag, HistoryRemaining *time.Duration
}

// PointOf is the point of a sample.
func PointOf(s *tally.Stats) Point {
	p := Point{
		Time: s.Time, Captured: s.Total, Pending: s.Pending, DeadLetters: s.DeadLetters,
		Lag: s.Lag, CaptureLag: s.CaptureLag, HistoryRemaining: s.History.Remaining,
	}

	if s.Processed != nil && s.Failed != nil && s.Skipped != nil {
		p.Settled = new(*s.Processed + *s.Failed + *s.Skipped)
	}

	return p
}

// Rated is a point with the rates since the one before it, in events per second; nil is unknown.
type Rated struct {
	Point

	CapturedRate, SettledRate *float64
}

// Timeline is the points of one flow. Safe for concurrent use.
type Timeline struct {
	mu    sync.RWMutex
	ring  []Point // of Points, once full
	begin int     // where the oldest point is, once full
}

// Add appends a point; the oldest one goes when there are too many. A point that is not later than the last one is left
// out: the clock was set back, and a chart cannot go there.
func (t *Timeline) Add(p Point) {
	t.mu.Lock()
	defer t.mu.Unlock()

	if n := len(t.ring); n > 0 && !p.Time.After(t.ring[(t.begin+n-1)%n].Time) {
		if p.Time.After(t.ring[t.begin].Time) {
			return
		}

		// Back by more than the hour: what is kept is of another time.
		t.ring, t.begin = nil, 0
	}

	if len(t.ring) < Points {
		t.ring = append(t.ring, p)

		return
	}

	t.ring[t.begin] = p
	t.begin = (t.begin + 1) % Points
}

// Since returns the points later than after, one for each step: its last one. Steps are counted from 1970, so that the
// next call continues where this one ended. A step that has not ended by now is left out unless it is the shortest.
func (t *Timeline) Since(after time.Time, step time.Duration) []Rated {
	t.mu.RLock()
	defer t.mu.RUnlock()

	var (
		rated []Rated
		last  *Point // of the step before
	)

	for i := range t.ring {
		p := &t.ring[(t.begin+i)%len(t.ring)]

		if step > Every && !t.endsStep(i, step) {
			continue
		}

		if p.Time.After(after) {
			rated = append(rated, rate(last, p, step))
		}

		last = p
	}

	return rated
}

// endsStep tells whether the i-th point is the last one of its step.
func (t *Timeline) endsStep(i int, step time.Duration) bool {
	if i == len(t.ring)-1 {
		return false // more may come
	}

	of := func(i int) int64 { return t.ring[(t.begin+i)%len(t.ring)].Time.UnixNano() / int64(step) }

	return of(i) != of(i+1)
}

func rate(last, p *Point, step time.Duration) Rated {
	r := Rated{Point: *p}

	if last == nil || p.Time.Sub(last.Time) > longestGap*step {
		return r
	}

	seconds := p.Time.Sub(last.Time).Seconds()
	r.CapturedRate = perSecond(last.Captured, p.Captured, seconds)
	r.SettledRate = perSecond(last.Settled, p.Settled, seconds)

	return r
}

// perSecond is nil when a count is unknown, and when it went back: the flow was made anew, or a server was restored.
func perSecond(from, to *uint64, seconds float64) *float64 {
	if from == nil || to == nil || *to < *from {
		return nil
	}

	return new(float64(*to-*from) / seconds)
}
