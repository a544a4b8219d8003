package top

import (
	"slices"
	"time"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// keep is how far back the charts reach.
const keep = time.Hour

// point is what one sample said; nil is unknown.
type point struct {
	at                              time.Time
	captured, settled, lag, pending *float64
}

// history is the points of a flow, the oldest first.
type history []point

// newHistory takes over a timeline.
func newHistory(points []*relayv1.TimelinePoint) history {
	h := make(history, 0, len(points))

	for _, p := range points {
		next := point{at: p.GetSampleTime().AsTime(), captured: p.CapturedPerSecond, settled: p.SettledPerSecond, pending: float(p.PendingChanges)}
		if p.GetLag() != nil {
			next.lag = new(p.GetLag().AsDuration().Seconds())
		}

		h = append(h, next)
	}

	return h
}

// merge takes over a timeline. A service that was restarted remembers less than is known here.
func (h history) merge(points []*relayv1.TimelinePoint) history {
	fresh := newHistory(points)
	if len(fresh) == 0 {
		return h
	}

	known := 0
	for known < len(h) && h[known].at.Before(fresh[0].at) {
		known++
	}

	return append(slices.Clip(h[:known]), fresh...)
}

// add appends a sample, with rates since the one before; what is older than an hour goes.
func (h history) add(before, s *relayv1.Stats) history {
	next := point{at: s.GetSampleTime().AsTime(), pending: float(s.PendingChanges)}
	if n := len(h); n > 0 && !next.at.After(h[n-1].at) {
		return h
	}

	if s.GetLag() != nil {
		next.lag = new(s.GetLag().AsDuration().Seconds())
	}

	if before != nil {
		passed := next.at.Sub(before.GetSampleTime().AsTime())
		next.captured = perSecond(before.TotalChanges, s.TotalChanges, passed)
		next.settled = perSecond(settled(before), settled(s), passed)
	}

	h = append(h, next)

	old := 0
	for old < len(h) && h[len(h)-1].at.Sub(h[old].at) > keep {
		old++
	}

	return h[old:]
}

// last is the newest point; one without anything while there is none.
func (h history) last() point {
	if len(h) == 0 {
		return point{}
	}

	return h[len(h)-1]
}

// longestGap is the time between samples over which a rate is made; above it nobody knows when the events were.
const longestGap = 5 * time.Second

// perSecond is nil for what is unknown, and when a count went back: the flow was made anew.
func perSecond(from, to *uint64, passed time.Duration) *float64 {
	if from == nil || to == nil || *to < *from || passed <= 0 || passed > longestGap {
		return nil
	}

	return new(float64(*to-*from) / passed.Seconds())
}

func settled(s *relayv1.Stats) *uint64 {
	if s.ProcessedChanges == nil || s.FailedChanges == nil || s.SkippedChanges == nil {
		return nil
	}

	return new(s.GetProcessedChanges() + s.GetFailedChanges() + s.GetSkippedChanges())
}

func float(n *uint64) *float64 {
	if n == nil {
		return nil
	}

	return new(float64(*n))
}

// series cuts the last width steps out of the history, one value for each; nil where nothing is known. Steps are counted
// from 1970, so that a bar stays what it is while time goes on. mean: of a step's points the mean, else the highest one.
func (h history) series(of func(*point) *float64, end time.Time, step time.Duration, width int, mean bool) []*float64 {
	values, counts := make([]*float64, width), make([]int, width)
	last := end.UnixNano() / int64(step)

	for i := len(h) - 1; i >= 0; i-- {
		at := width - 1 - int(last-h[i].at.UnixNano()/int64(step))
		if at < 0 {
			break
		}

		value := of(&h[i])
		if at >= width || value == nil {
			continue
		}

		switch counts[at]++; {
		case values[at] == nil:
			values[at] = new(*value)
		case mean:
			*values[at] += (*value - *values[at]) / float64(counts[at])
		default:
			*values[at] = max(*values[at], *value)
		}
	}

	return values
}
