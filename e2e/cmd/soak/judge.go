package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/verify/live"
)

// judge prints what the run used, and says what must not be.
func (s *soak) judge(ctx context.Context) error {
	sample, err := s.relay.Sample(ctx)
	if err != nil {
		return err
	}

	whole := s.ended.Sub(s.began)
	s.table(whole)

	events, orderErr := s.order.Verdict()
	broken := []error{orderErr, live.Counters(sample, s.traffic.Journal().Changes(), 0)}

	compared, err := live.Compare(ctx, s.source(), s.target())
	if err != nil {
		return err
	}

	if !compared.Equal() {
		broken = append(broken, fmt.Errorf("source and target differ in %d documents, the first: %v", compared.Different, compared.Differences))
	}

	for _, what := range s.meter.grown(whole) {
		broken = append(broken, errors.New(what))
	}

	if s.struck == 0 {
		broken = append(broken, errors.New("nothing was broken: EVERY is longer than LASTS"))
	}

	if err := errors.Join(broken...); err != nil {
		return fmt.Errorf("SEED=%d: %w", s.seed, err)
	}

	s.linef("equal after %d changes and %d faults: %d documents, %d events of the target, none twice, none out of order, counters exact",
		s.traffic.Journal().Changes(), s.struck, compared.Documents, events)

	if whole < judged {
		s.linef("whether something grows was not judged: that takes %s", judged)
	}

	return nil
}

// table prints what was used by quarters, in Markdown.
func (s *soak) table(whole time.Duration) {
	var b strings.Builder

	b.WriteString("\n| | 1st quarter | 2nd | 3rd | 4th |\n|---|---:|---:|---:|---:|\n")

	row := func(name string, text func(q int) string) {
		fmt.Fprintf(&b, "| %s |", name)

		for q := range quarters {
			fmt.Fprintf(&b, " %s |", text(q))
		}

		b.WriteString("\n")
	}

	for _, name := range s.meter.names {
		u := s.meter.useOf(name, whole)
		row(name+": memory, goroutines (medians)", func(q int) string { return fmt.Sprintf("%.1f MiB, %.0f", u.memory[q]/mib, u.goroutines[q]) })
	}

	for _, share := range []float64{half, mostOfIt} {
		row(fmt.Sprintf("lag, %.0f %% of the samples at most", 100*share), func(q int) string {
			return time.Duration(quantile(s.meter.lagsOf(q, whole), share)).Round(time.Millisecond).String()
		})
	}

	fmt.Fprintln(s.out, b.String())
}

func (m *meter) lagsOf(quarter int, whole time.Duration) (all []float64) {
	for _, l := range m.lags {
		if quarterOf(l.at, whole) == quarter {
			all = append(all, float64(l.lag))
		}
	}

	return all
}

// latest is what each process used when it was asked last.
func (m *meter) latest() string {
	parts := make([]string, 0, len(m.names))

	for _, name := range m.names {
		if all := m.readings[name]; len(all) > 0 {
			r := all[len(all)-1]
			parts = append(parts, fmt.Sprintf("%s %.0f MiB %.0f goroutines", name, r.memory/mib, r.goroutines))
		}
	}

	return strings.Join(parts, ", ")
}
