package harness

import (
	"fmt"
	"strings"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// Replicating holds when a listener streams, the others stand by, and every partition has an owner that applies.
func Replicating(s *relayv1.Stats) bool {
	if len(s.GetPartitions()) == 0 {
		return false
	}

	streams := false

	for _, l := range s.GetListeners() {
		switch l.GetState() {
		case relayv1.ListenerState_LISTENER_STATE_STREAMING:
			streams = true
		case relayv1.ListenerState_LISTENER_STATE_STANDBY:
		default:
			return false
		}
	}

	if !streams {
		return false
	}

	for _, p := range s.GetPartitions() {
		if p.GetState() != relayv1.PartitionState_PARTITION_STATE_APPLYING {
			return false
		}
	}

	return true
}

// Applied holds for a consistent sample in which all of this many changes have arrived and nothing is pending.
func Applied(changes uint64) func(*relayv1.Stats) bool {
	return func(s *relayv1.Stats) bool {
		return s.GetConsistent() && s.PendingChanges != nil && s.GetPendingChanges() == 0 && Captured(changes)(s)
	}
}

// Captured holds when this many changes have arrived in the stream, the last of them perhaps in part.
//
// Whoever writes documents of 16 MiB waits for it, so that few of them are behind the listener's cursor at a time. mongod
// ends a reply at 16 MiB; the stand-in (mongotest.Features) answers with all that wait, and what exceeds the 48 MB of a
// message no driver reads: the cursor is opened again and again, and the source has no time for anything else.
func Captured(changes uint64) func(*relayv1.Stats) bool {
	return func(s *relayv1.Stats) bool {
		return s.TotalChanges != nil && s.SkippedChanges != nil && s.GetTotalChanges()-s.GetSkippedChanges() >= changes
	}
}

// terminal is the reason of a state that no waiting changes; nil when there is none.
func terminal(s *relayv1.Stats) error {
	for _, l := range s.GetListeners() {
		if l.GetState() == relayv1.ListenerState_LISTENER_STATE_FAILED || l.GetState() == relayv1.ListenerState_LISTENER_STATE_HISTORY_LOST {
			return fmt.Errorf("the listener has stopped: %s", l.GetReason())
		}
	}

	for _, p := range s.GetPartitions() {
		if p.GetState() == relayv1.PartitionState_PARTITION_STATE_FAILED {
			return fmt.Errorf("partition %d has stopped: %s", p.GetPartition(), p.GetReason())
		}
	}

	return nil
}

// Line is a sample in one line, for messages.
func Line(s *relayv1.Stats) string {
	if s == nil {
		return "none"
	}

	line := fmt.Sprintf("%s total %d = processed %d + failed %d + skipped %d + pending %d",
		strings.TrimPrefix(s.GetStatus().String(), "STATUS_"),
		s.GetTotalChanges(), s.GetProcessedChanges(), s.GetFailedChanges(), s.GetSkippedChanges(), s.GetPendingChanges())

	return strings.Join(append([]string{line}, append(s.GetReasons(), s.GetUnknownBecause()...)...), "; ")
}
