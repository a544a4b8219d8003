package show

import (
	"strings"
	"time"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// history is for how long the source keeps what the stream does not have.
func history(s *relayv1.Stats) string {
	if s.GetHistoryRemaining() == nil {
		if why := s.GetHistoryUnknownBecause(); why != "" {
			return absent + ", " + why
		}

		return absent
	}

	left := s.GetHistoryRemaining().AsDuration().Round(time.Second).String() + " left"

	switch s.GetHistoryTrend() {
	case relayv1.HistoryTrend_HISTORY_TREND_STILL:
		left = "at least " + left + ", the source forgets nothing yet"
	case relayv1.HistoryTrend_HISTORY_TREND_SHRINKING:
		left += ", shrinking"
	default:
	}

	switch level := s.GetHistoryLevel(); level {
	case relayv1.HistoryLevel_HISTORY_LEVEL_WARN, relayv1.HistoryLevel_HISTORY_LEVEL_CRITICAL:
		left += ", " + strings.TrimPrefix(level.String(), "HISTORY_LEVEL_")
	default:
	}

	return left
}
