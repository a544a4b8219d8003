package tally_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/services/stats/internal/tally"
)

func TestHistory(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		history tally.History
		state   string // STREAMING if empty
		status  tally.Status
		reason  string
	}{
		"not known":                     {history: tally.History{Unknown: "no right"}, status: tally.OK},
		"a source that forgets nothing": {history: tally.History{Remaining: new(time.Minute), Trend: "STILL", Level: "OK"}, status: tally.OK},
		"little, but as much as ever":   {history: tally.History{Remaining: new(12 * time.Hour), Trend: "STEADY", Level: "WARN"}, status: tally.OK},
		"little and shrinking": {
			history: tally.History{Remaining: new(12 * time.Hour), Trend: "SHRINKING", Level: "WARN"}, status: tally.Degraded, reason: "for 12h only, and its oplog is shrinking",
		},
		"critical":          {history: tally.History{Remaining: new(time.Hour), Trend: "STEADY", Level: "CRITICAL"}, status: tally.Degraded, reason: "for 1h only"},
		"hours and minutes": {history: tally.History{Remaining: new(20*time.Hour + 30*time.Minute), Trend: "STEADY", Level: "CRITICAL"}, status: tally.Degraded, reason: "for 20h30m only"},
		"minutes":           {history: tally.History{Remaining: new(10 * time.Minute), Trend: "STEADY", Level: "CRITICAL"}, status: tally.Degraded, reason: "for 10m only"},
		"seconds":           {history: tally.History{Remaining: new(10 * time.Second), Trend: "STEADY", Level: "CRITICAL"}, status: tally.Degraded, reason: "for 10s only"},
		"waiting": {
			history: tally.History{Remaining: new(48 * time.Hour), Trend: "STEADY", Level: "OK"}, state: "WAITING", status: tally.Degraded, reason: "keeps what follows for 48h",
		},
		"waiting, and the source forgets nothing": {
			history: tally.History{Remaining: new(48 * time.Hour), Trend: "STILL", Level: "OK"}, state: "WAITING", status: tally.Degraded, reason: "for at least 48h",
		},
	}

	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			in := healthy()
			in.Reports.Listeners[0].History = test.history

			if test.state != "" {
				in.Reports.Listeners[0].State = test.state
			}

			s := tally.Count(in)
			require.Equal(t, test.status, s.Status)
			require.Equal(t, test.history, s.History)
			require.Empty(t, s.Unknown)

			if test.reason != "" {
				require.Contains(t, s.Reasons[0], test.reason)
			}
		})
	}
}
