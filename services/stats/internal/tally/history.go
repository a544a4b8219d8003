package tally

import (
	"fmt"
	"strings"
	"time"
)

// Levels and trends of the history, as reports name them.
const (
	historyWarn     = "WARN"
	historyCritical = "CRITICAL"
	shrinking       = "SHRINKING"
	still           = "STILL"
)

// judgeHistory says when the source is about to forget what the stream does not
// have. The listener's levels leave out a source that forgets nothing. One that
// keeps little, but as much as ever, loses nothing while the listener keeps up:
// it is DEGRADED below HISTORY_CRITICAL only.
func judgeHistory(in *Input) []finding {
	if in.Reports == nil {
		return nil
	}

	active := activeListener(in.Reports.Listeners)
	if active == nil || active.History.Remaining == nil {
		return nil
	}

	h := active.History
	if h.Level != historyCritical && (h.Level != historyWarn || h.Trend != shrinking) {
		return nil
	}

	reason := fmt.Sprintf("the source keeps what the stream does not have for %s only", inWords(*h.Remaining))
	if h.Trend == shrinking {
		reason += ", and its oplog is shrinking against the stream"
	}

	return []finding{{Degraded, reason, "give the source a longer oplog (replSetResizeOplog; on Atlas the minimum oplog window), or remove what the listener waits for"}}
}

// describe is for a listener that does not go on.
func (h *History) describe() string {
	switch {
	case h.Remaining == nil:
		return ""
	case h.Trend == still:
		return "; the source keeps what follows for at least " + inWords(*h.Remaining)
	default:
		return "; the source keeps what follows for " + inWords(*h.Remaining)
	}
}

// inWords writes whole hours as 2h, not as 2h0m0s.
func inWords(d time.Duration) string {
	text := d.Round(time.Second).String()

	for _, none := range []string{"0s", "0m"} {
		if short, found := strings.CutSuffix(text, none); found && (strings.HasSuffix(short, "m") || strings.HasSuffix(short, "h")) {
			text = short
		}
	}

	return text
}
