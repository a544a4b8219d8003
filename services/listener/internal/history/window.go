package history

import "time"

// Sample is what source and stream said at one moment.
type Sample struct {
	At     time.Time // by this process's clock
	Oldest time.Time // of the oplog's oldest entry, by the source's clock
	Tail   time.Time // up to which the stream has everything, by the source's clock
}

func (s *Sample) window() time.Duration { return s.Tail.Sub(s.Oldest) }

// Trend is what the window is doing, in the words of the report.
type Trend string

// The trends; see the package.
const (
	NoTrend   Trend = "UNSPECIFIED" // fewer than two samples
	Still     Trend = "STILL"
	Steady    Trend = "STEADY"
	Shrinking Trend = "SHRINKING"
)

// Level judges what remains, in the words of the report.
type Level string

// The levels. A source that forgets nothing is OK however young its oplog is.
const (
	NoLevel  Level = "UNSPECIFIED"
	OK       Level = "OK"
	Warn     Level = "WARN"
	Critical Level = "CRITICAL"
)

// Limits are below what remains is worth a warning.
type Limits struct{ Warn, Critical time.Duration }

// Estimate is what is known of the history.
type Estimate struct {
	Unknown   string // why the rest is not known; empty when it is
	Window    time.Duration
	Remaining time.Duration
	Trend     Trend
	Level     Level
}

const (
	minHorizon   = time.Hour
	horizonShare = 10 // of Limits.Warn: steps of the oplog that are worth a warning are closer than that
	maxSamples   = 400
	shrinkShare  = 20 // of the window
	minShrink    = time.Minute
)

// Window estimates from samples. The zero Window is ready. Not safe for
// concurrent use.
type Window struct {
	Limits Limits

	samples []Sample // in the order of time
}

// Add takes in a sample, later than those before.
func (w *Window) Add(s Sample) {
	// Another member of the replica set, or a source that was set back.
	if n := len(w.samples); n > 0 && s.Oldest.Before(w.samples[n-1].Oldest) {
		w.samples = nil
	}

	w.samples = append(w.samples, s)

	horizon := max(minHorizon, w.Limits.Warn/horizonShare)
	for len(w.samples) > 2 && s.At.Sub(w.samples[1].At) >= horizon {
		w.samples = w.samples[1:]
	}

	if len(w.samples) > maxSamples {
		w.thin()
	}
}

// thin drops every second sample, but neither the first nor the last.
func (w *Window) thin() {
	kept := w.samples[:1:1]
	for i := 2; i < len(w.samples)-1; i += 2 {
		kept = append(kept, w.samples[i])
	}

	w.samples = append(kept, w.samples[len(w.samples)-1])
}

// Estimate says what the samples mean. Without any it is unknown.
func (w *Window) Estimate() Estimate {
	if len(w.samples) == 0 {
		return Estimate{Unknown: "not asked yet", Trend: NoTrend, Level: NoLevel}
	}

	first, last := &w.samples[0], &w.samples[len(w.samples)-1]
	window := max(last.window(), 0)
	e := Estimate{Window: window, Trend: NoTrend, Level: OK}

	if len(w.samples) > 1 {
		e.Trend = trend(first, last)
	}

	e.Remaining = time.Duration(float64(window) / max(w.rate(), 1))
	if e.Trend == Steady || e.Trend == Shrinking || last.window() < 0 {
		e.Level = w.Limits.judge(e.Remaining)
	}

	return e
}

func trend(first, last *Sample) Trend {
	lost := first.window() - last.window()

	switch {
	case !last.Oldest.After(first.Oldest):
		return Still
	case lost > minShrink && lost > first.window()/shrinkShare:
		return Shrinking
	default:
		return Steady
	}
}

func (l Limits) judge(remaining time.Duration) Level {
	switch {
	case remaining < l.Critical:
		return Critical
	case remaining < l.Warn:
		return Warn
	default:
		return OK
	}
}

// rate is how fast the oldest entry advances between its first move and its
// last; 0 when it moved less than twice.
func (w *Window) rate() float64 {
	var from, to *Sample // after the first move, after the last

	for i := 1; i < len(w.samples); i++ {
		if !w.samples[i].Oldest.After(w.samples[i-1].Oldest) {
			continue
		}

		if from == nil {
			from = &w.samples[i]
		}

		to = &w.samples[i]
	}

	if from == to {
		return 0
	}

	passed := to.At.Sub(from.At).Seconds()
	if passed <= 0 {
		return 0
	}

	return to.Oldest.Sub(from.Oldest).Seconds() / passed
}
