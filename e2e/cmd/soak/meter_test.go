package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// readings are of a run of two hours, one a minute.
func readings(of func(minute int) reading) *meter {
	m := newMeter([]*harness.Service{{Name: "p"}})

	for minute := range 120 {
		r := of(minute)
		r.at = time.Duration(minute) * time.Minute
		m.add("p", r)
	}

	return m
}

func TestWhatGrowsIsNamed(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		of    func(minute int) reading
		named string
	}{
		"steady": {of: func(int) reading { return reading{memory: 40 * mib, goroutines: 50} }},
		"fills in the first hour": {of: func(minute int) reading {
			return reading{memory: float64(30+min(minute, 60)) * mib, goroutines: 50}
		}},
		"swings": {of: func(minute int) reading {
			return reading{memory: float64(40+20*(minute%2)) * mib, goroutines: float64(50 + 10*(minute%3))}
		}},
		"owns more again at the end": {of: func(minute int) reading { // two hours of which were told wrong
			return reading{memory: 40 * mib, goroutines: []float64{95, 86, 86, 95}[minute/30]}
		}},
		"a megabyte in three minutes": {named: "memory of p", of: func(minute int) reading {
			return reading{memory: float64(40+minute/3) * mib, goroutines: 50}
		}},
		"a goroutine in three minutes": {named: "goroutines of p", of: func(minute int) reading {
			return reading{memory: 40 * mib, goroutines: float64(50 + minute/3)}
		}},
		"silent at the end": {named: "too little", of: func(minute int) reading {
			if minute >= 90 {
				return reading{}
			}

			return reading{memory: 40 * mib, goroutines: 50}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			grown := readings(test.of).grown(2 * time.Hour)
			if test.named == "" {
				require.Empty(t, grown)

				return
			}

			require.NotEmpty(t, grown)
			require.Contains(t, grown[0], test.named)
		})
	}
}

// A short run is still filling its caches.
func TestAShortRunDoesNotJudgeGrowth(t *testing.T) {
	t.Parallel()

	m := readings(func(minute int) reading { return reading{memory: float64(minute) * mib, goroutines: 1} })
	require.Empty(t, m.grown(time.Hour))
}
