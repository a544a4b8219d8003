package views

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// sample is one of a healthy flow, so many seconds after a moment.
func sample(base time.Time, second int, total uint64) *relayv1.Stats {
	return &relayv1.Stats{
		SampleTime: timestamppb.New(base.Add(time.Duration(second) * time.Second)), Status: relayv1.Status_STATUS_OK, AddsUp: new(true),
		TotalChanges: new(total), ProcessedChanges: new(total - 2), FailedChanges: new(uint64(0)), SkippedChanges: new(uint64(0)),
		PendingChanges: new(uint64(2)), DeadLetters: new(uint64(0)),
	}
}

// What the comparison is there for is found, and nothing else.
func TestCompare(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		look          func(v *Views, base time.Time)
		disagreements int
		backwards     int
	}{
		"two views of two samples": {func(*Views, time.Time) {}, 0, 0},
		"another number": {func(v *Views, base time.Time) {
			v.addStats(JSON, sample(base, 2, 13))
		}, 2, 0}, // total and processed
		"a number that went back": {func(v *Views, base time.Time) { v.addStats(Watch, sample(base, 3, 11)) }, 0, 2},
		"another status": {func(v *Views, base time.Time) {
			s := sample(base, 2, 12)
			s.Status = relayv1.Status_STATUS_DEGRADED
			v.addStats(JSON, s)
		}, 1, 0},
		"a sum that does not add up": {func(v *Views, base time.Time) {
			s := sample(base, 4, 14)
			s.AddsUp = new(false)
			v.addStats(JSON, s)
		}, 1, 0},
		"an unknown number is none": {func(v *Views, base time.Time) {
			s := sample(base, 4, 14)
			s.TotalChanges, s.AddsUp = nil, nil
			v.addStats(JSON, s)
		}, 0, 0},
		"a screen of a sample": {func(v *Views, _ time.Time) { v.addScreen(screenOf("12")) }, 0, 0},
		"a screen ahead of everybody": {func(v *Views, _ time.Time) {
			v.addScreen(screenOf("12"))
			v.addScreen(screenOf("99"))
		}, 1, 0},
		"a screen that went back": {func(v *Views, _ time.Time) {
			v.addScreen(screenOf("12"))
			v.addScreen(screenOf("11"))
		}, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			base := time.Now().Add(-4 * time.Second).Truncate(time.Second) // the screens tell of now
			v := New(Options{})

			for _, view := range []string{Events, Stats} {
				v.addStats(view, sample(base, 1, 10))
				v.addStats(view, sample(base, 2, 12))
			}

			test.look(v, base)

			verdict := v.Compare()
			require.Len(t, verdict.Disagreements, test.disagreements, verdict)
			require.Len(t, verdict.Backwards, test.backwards, verdict)
		})
	}
}

// screenOf is relayctl top with this total.
func screenOf(total string) string {
	return strings.Join([]string{
		"OK  flow", "  nothing needs a person", "",
		"  total      " + total + "   dead letters  0", "  processed  10   parked        0", "  failed     0   in work       0",
		"  skipped    0   batches       1", "  pending    2   capture lag   0s",
	}, "\n")
}
