package show

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// headerEvery is after how many lines the header is repeated.
const headerEvery = 20

// Lines prints one line per sample, with rates since the sample before.
type Lines struct {
	w     io.Writer
	color bool

	printed int
	last    *relayv1.Stats
}

// NewLines returns a printer to w.
func NewLines(w io.Writer, color bool) *Lines { return &Lines{w: w, color: color} }

// Print prints the next sample.
func (l *Lines) Print(s *relayv1.Stats) error {
	if l.printed%headerEvery == 0 {
		if _, err := fmt.Fprintf(l.w, "%-8s  %-8s  %10s  %10s  %10s  %8s  %8s  %8s  %8s  %8s\n",
			"time", "status", "total", "processed", "pending", "failed", "skipped", "in/s", "out/s", "lag"); err != nil {
			return err
		}
	}

	status := word(s.GetStatus(), l.color) + strings.Repeat(" ", max(0, 8-len(word(s.GetStatus(), false))))

	_, err := fmt.Fprintf(l.w, "%-8s  %s  %10s  %10s  %10s  %8s  %8s  %8s  %8s  %8s\n",
		s.GetSampleTime().AsTime().Local().Format(time.TimeOnly), status,
		number(s.TotalChanges), number(s.ProcessedChanges), number(s.PendingChanges), number(s.FailedChanges), number(s.SkippedChanges), //nolint:protogetter // the getter says 0 for what is unknown
		l.rate(s, func(s *relayv1.Stats) *uint64 { return s.TotalChanges }),
		l.rate(s, func(s *relayv1.Stats) *uint64 { return s.ProcessedChanges }),
		duration(s.GetLag()))

	l.printed++
	l.last = s

	return err
}

// rate is a counter's growth per second since the sample before.
func (l *Lines) rate(s *relayv1.Stats, counter func(*relayv1.Stats) *uint64) string {
	if l.last == nil || counter(s) == nil || counter(l.last) == nil || *counter(s) < *counter(l.last) {
		return absent
	}

	passed := s.GetSampleTime().AsTime().Sub(l.last.GetSampleTime().AsTime()).Seconds()
	if passed <= 0 {
		return absent
	}

	return strconv.FormatFloat(float64(*counter(s)-*counter(l.last))/passed, 'f', 0, 64)
}
