package verify

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/history"
)

// Totals are the counters of one sample of the statistics; a number that is not known is nil.
type Totals struct {
	Total, Processed, Failed, Skipped, Pending *uint64

	Consistent bool  // all numbers are of one moment
	AddsUp     *bool // what the statistics say of their sum
}

// Check is the rule of I8 for one sample.
func (t *Totals) Check() error {
	if !t.Consistent {
		return errors.New("the sample is not consistent: the stream moved on while it was taken")
	}

	terms := []*uint64{t.Total, t.Processed, t.Failed, t.Skipped, t.Pending}
	if slices.Contains(terms, nil) {
		return errors.New("a counter of a consistent sample is not known")
	}

	var errs []error

	if sum := *t.Processed + *t.Failed + *t.Skipped + *t.Pending; *t.Total != sum {
		errs = append(errs, fmt.Errorf("total %d is not processed %d + failed %d + skipped %d + pending %d = %d",
			*t.Total, *t.Processed, *t.Failed, *t.Skipped, *t.Pending, sum))
	}

	if t.AddsUp == nil || !*t.AddsUp {
		errs = append(errs, errors.New("the statistics do not say that the counters add up"))
	}

	return errors.Join(errs...)
}

// stats is what is read of relay.v1.Stats in protojson, which writes large numbers as texts and leaves out what is zero.
type stats struct {
	Status     string   `json:"status"`
	Reasons    []string `json:"reasons"`
	NextStep   string   `json:"nextStep"`
	Consistent bool     `json:"consistent"`
	AddsUp     *bool    `json:"addsUp"`
	Total      *counter `json:"totalChanges"`
	Processed  *counter `json:"processedChanges"`
	Failed     *counter `json:"failedChanges"`
	Skipped    *counter `json:"skippedChanges"`
	Pending    *counter `json:"pendingChanges"`
}

type counter uint64

// UnmarshalJSON implements json.Unmarshaler.
func (c *counter) UnmarshalJSON(text []byte) error {
	var digits json.Number // takes both forms

	if err := json.Unmarshal(text, &digits); err != nil {
		return err
	}

	n, err := strconv.ParseUint(digits.String(), 10, 64)
	*c = counter(n)

	return err
}

func (s *stats) totals() Totals {
	return Totals{
		Total: (*uint64)(s.Total), Processed: (*uint64)(s.Processed), Failed: (*uint64)(s.Failed), Skipped: (*uint64)(s.Skipped),
		Pending: (*uint64)(s.Pending), Consistent: s.Consistent, AddsUp: s.AddsUp,
	}
}

const ok = "STATUS_OK"

// loudAfter is how long something may be broken before the state has to say so.
const loudAfter = 10 * time.Second

// sampling judges samples one after the other.
type sampling struct {
	m      *model
	breaks []Finding // of I1 to I5, by the time since which they are broken
	loud   map[Invariant]bool

	before    map[string]uint64 // highest value of each counter
	end       time.Time         // of the last fault; zero: there was none
	last      stats
	lastTotal *uint64 // of the last consistent sample
	after     bool    // there was a sample behind the last fault
	recovered bool
}

// judgeSamples is I8, I10 and I12. Everything that breaks I1 to I5 must have been found.
func (m *model) judgeSamples() error {
	s := &sampling{m: m, loud: map[Invariant]bool{}, before: map[string]uint64{}}

	for i := range m.report.Findings {
		if f := m.report.Findings[i]; f.Invariant.rank() <= I5.rank() && !f.At.IsZero() {
			s.breaks = append(s.breaks, f)
		}
	}

	for i := range m.faults {
		if m.faults[i].To.After(s.end) {
			s.end = m.faults[i].To
		}
	}

	err := optional(history.Each(m.folder, history.SamplesFile, func(sample *history.Sample) error {
		m.report.Figures.Samples++

		if len(sample.Stats) == 0 {
			return nil
		}

		s.last = stats{}
		if err := json.Unmarshal(sample.Stats, &s.last); err != nil {
			return fmt.Errorf("%w: a sample: %w", history.ErrDamaged, err)
		}

		s.judge(sample.Time)

		return nil
	}))
	if err != nil {
		return err
	}

	s.judgeRecovery()
	s.judgeTotal()

	return nil
}

func (s *sampling) judge(at time.Time) {
	totals := s.last.totals()

	if totals.Consistent {
		s.m.report.Figures.Consistent++
		s.lastTotal = totals.Total

		if err := totals.Check(); err != nil {
			s.m.find(Finding{Invariant: I8, Kind: "sum", At: at, Verdict: fmt.Sprintf("sample at %s: %v", s.m.since(at), err)})
		}
	}

	s.judgeGrowth(at, &totals)
	s.judgeLoudness(at)

	s.after = s.after || !at.Before(s.end)

	if !s.recovered && !s.end.IsZero() && !at.Before(s.end) && s.last.Status == ok {
		s.recovered = true
		s.m.report.Figures.Recovery = at.Sub(s.end)
	}
}

// judgeGrowth: what was counted stays counted. What the stream counts is counted anew where it has lost its end, or was
// rewound: until everything is published again the sample is right and yet less than one before. So is what the target
// counts where it was restored from a backup.
func (s *sampling) judgeGrowth(at time.Time, t *Totals) {
	anew := s.m.stream.replaced > 0 || s.m.stream.rewound || s.m.losesTail() // which nobody may have read before it was lost

	for _, c := range []struct {
		name     string
		value    *uint64
		ofStream bool
	}{{"total", t.Total, true}, {"processed", t.Processed, false}, {"failed", t.Failed, false}, {"skipped", t.Skipped, true}} {
		if c.value == nil || !t.Consistent || anew && c.ofStream || s.m.meta.TargetBack && !c.ofStream {
			continue
		}

		if before := s.before[c.name]; *c.value < before {
			s.m.find(Finding{Invariant: I8, Kind: "went back", At: at, Verdict: fmt.Sprintf("sample at %s: %s is %d after %d", s.m.since(at), c.name, *c.value, before)})
		}

		s.before[c.name] = max(s.before[c.name], *c.value)
	}
}

// judgeLoudness is I10.
func (s *sampling) judgeLoudness(at time.Time) {
	if s.last.Status != ok {
		return
	}

	for i := range s.breaks {
		f := &s.breaks[i]
		if at.Sub(f.At) <= loudAfter || s.loud[f.Invariant] {
			continue
		}

		s.loud[f.Invariant] = true
		s.m.find(Finding{
			Invariant: I10, Kind: "silent", At: at,
			Verdict: fmt.Sprintf("the state is OK at %s, while %s is broken since %s: %s", s.m.since(at), f.Invariant, s.m.since(f.At), f.Kind),
		})
	}
}

// judgeRecovery is I12.
func (s *sampling) judgeRecovery() {
	took, limit := s.m.report.Figures.Recovery, s.m.limits.Recovery

	switch {
	case s.end.IsZero():
	case !s.after:
		s.m.report.NotJudged = append(s.m.report.NotJudged, "recovery: no sample was taken behind the last fault")
	case s.recovered && (limit == 0 || took <= limit):
	case s.recovered:
		s.m.find(Finding{Invariant: I12, Kind: "slow", At: s.end, Verdict: fmt.Sprintf("the state was OK again %s after the last fault, %s are allowed", took.Round(time.Millisecond), limit)})
	case s.last.NextStep == "":
		s.m.find(Finding{Invariant: I12, Kind: "no remedy", At: s.end, Verdict: fmt.Sprintf("the state never was OK after the last fault, and %s names no next step", s.last.Status)})
	}
}

// judgeTotal holds the last sample against the stream: what it has counted is what was counted.
func (s *sampling) judgeTotal() {
	last, there := s.m.stream.messages[s.m.stream.last]
	if s.lastTotal == nil || !there || s.m.holes || s.m.meta.Ended.IsZero() {
		return
	}

	if *s.lastTotal > last.event {
		s.m.find(Finding{
			Invariant: I8, Kind: "total", At: s.m.meta.Ended,
			Verdict: fmt.Sprintf("the last sample counts %d events, the stream's last message %d", *s.lastTotal, last.event),
		})
	}
}
