package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// A reading is what a process uses at a moment.
type reading struct {
	at         time.Duration // since the traffic began
	memory     float64       // bytes, resident
	goroutines float64
}

// meter keeps the readings of processes, by name.
type meter struct {
	names    []string
	readings map[string][]reading
	lags     []lag
}

// lag is how far behind the target was at a moment.
type lag struct{ at, lag time.Duration }

func newMeter(services []*harness.Service) *meter {
	m := &meter{readings: map[string][]reading{}}
	for _, s := range services {
		m.names = append(m.names, s.Name)
	}

	return m
}

func (m *meter) add(name string, r reading) { m.readings[name] = append(m.readings[name], r) }

// read asks a service what it uses, as Prometheus would.
func read(ctx context.Context, service *harness.Service, at time.Duration) (r reading, err error) {
	families, err := service.Metrics(ctx)
	if err != nil {
		return r, err
	}

	gauge := func(name string) float64 {
		if f := families[name]; f != nil && len(f.GetMetric()) == 1 {
			return f.GetMetric()[0].GetGauge().GetValue()
		}

		return 0
	}

	return reading{at: at, memory: gauge("process_resident_memory_bytes"), goroutines: gauge("go_goroutines")}, nil
}

// quarters is into how many parts of the same length a run is cut.
const quarters = 4

// use is what a process typically used in each quarter: medians.
type use struct{ memory, goroutines [quarters]float64 }

// useOf cuts the readings of a process of a run of this length.
func (m *meter) useOf(name string, whole time.Duration) (u use) {
	var memory, goroutines [quarters][]float64

	for _, r := range m.readings[name] {
		q := quarterOf(r.at, whole)
		memory[q], goroutines[q] = append(memory[q], r.memory), append(goroutines[q], r.goroutines)
	}

	for q := range quarters {
		u.memory[q], u.goroutines[q] = quantile(memory[q], half), quantile(goroutines[q], half)
	}

	return u
}

func quarterOf(at, whole time.Duration) int {
	return min(quarters-1, int(quarters*at/max(whole, 1)))
}

// Quantiles.
const (
	half     = 0.5
	mostOfIt = 0.99
)

// quantile is the value that a share of all is at or below; of none it is zero.
func quantile(values []float64, share float64) float64 {
	if len(values) == 0 {
		return 0
	}

	sorted := slices.Sorted(slices.Values(values))

	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

// What may be more in the last quarter than in any before, in all and in part: what a process uses goes up and down with the
// partitions that it owns, which faults change. The statistics keep an hour of samples, so that the first half of a run of
// two hours alone says nothing.
const (
	growth          = 0.05
	memoryGrowth    = 3 << 20 // bytes
	goroutineGrowth = 3
)

// judged is how long a run has to be for its quarters to be compared.
const judged = 2 * time.Hour

// grown says which processes use more and more.
func (m *meter) grown(whole time.Duration) (all []string) {
	if whole < judged {
		return nil
	}

	const last = quarters - 1

	for _, name := range m.names {
		u := m.useOf(name, whole)
		memory, goroutines := slices.Max(u.memory[:last]), slices.Max(u.goroutines[:last])

		if slices.Min(u.memory[:]) == 0 {
			all = append(all, name+" has told too little of what it uses")
		}

		if u.memory[last] > memory*(1+growth)+memoryGrowth {
			all = append(all, fmt.Sprintf("the memory of %s grows: %.1f MiB in the last quarter, at most %.1f MiB before", name, u.memory[last]/mib, memory/mib))
		}

		if u.goroutines[last] > goroutines*(1+growth)+goroutineGrowth {
			all = append(all, fmt.Sprintf("the goroutines of %s grow: %.0f in the last quarter, at most %.0f before", name, u.goroutines[last], goroutines))
		}
	}

	return all
}

const mib = 1 << 20
