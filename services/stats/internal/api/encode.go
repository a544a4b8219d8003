package api

import (
	"cmp"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/tally"
)

func encode(s *tally.Stats) *relayv1.Stats {
	out := &relayv1.Stats{
		Flow:           s.Flow,
		SampleTime:     timestamppb.New(s.Time),
		Status:         relayv1.Status(relayv1.Status_value["STATUS_"+string(s.Status)]),
		Reasons:        texts(s.Reasons),
		NextStep:       s.NextStep,
		UnknownBecause: texts(s.Unknown),
		Notes:          texts(s.Notes),

		TotalChanges:      s.Total,
		ProcessedChanges:  s.Processed,
		FailedChanges:     s.Failed,
		SkippedChanges:    s.Skipped,
		PendingChanges:    s.Pending,
		BatchesProcessed:  s.Batches,
		PendingBatchSize:  s.PendingBatchSize,
		IsBatchProcessing: s.IsProcessing,
		ParkedChanges:     s.Parked,
		DeadLetters:       s.DeadLetters,
		Gaps:              s.Gaps,

		Consistent: s.Consistent,
		AddsUp:     s.AddsUp,
		CaptureLag: encodeDuration(s.CaptureLag),
		Lag:        encodeDuration(s.Lag),
		Stream:     encodeStream(s.Stream),

		HistoryRemaining:      encodeDuration(s.History.Remaining),
		HistoryWindow:         encodeDuration(s.History.Window),
		HistoryUnknownBecause: text(s.History.Unknown),
		HistoryTrend:          relayv1.HistoryTrend(relayv1.HistoryTrend_value["HISTORY_TREND_"+s.History.Trend]),
		HistoryLevel:          relayv1.HistoryLevel(relayv1.HistoryLevel_value["HISTORY_LEVEL_"+s.History.Level]),
		HistoryWarn:           encodeDuration(s.History.Warn),
		HistoryCritical:       encodeDuration(s.History.Critical),
		AtLeastOnce:           s.AtLeastOnce,
		Pause:                 encodePause(s.Pause),
		PausedNamespaces:      encodeNamespaces(s.PausedNamespaces),
	}

	for i := range s.Listeners {
		out.Listeners = append(out.Listeners, encodeListener(s.Flow, &s.Listeners[i]))
	}

	for i := range s.Processors {
		out.Processors = append(out.Processors, encodeProcessor(&s.Processors[i]))
	}

	for i := range s.Partitions {
		out.Partitions = append(out.Partitions, encodePartition(&s.Partitions[i]))
	}

	members := s.Members()
	for i := range members {
		out.Instances = append(out.Instances, encodeMember(&members[i], s.Time))
	}

	unsupported := listed(s.Unsupported)
	for i := range unsupported {
		out.Unsupported = append(out.Unsupported, encodeUnsupported(&unsupported[i]))
	}

	return out
}

// mostUnsupported bounds what every sample carries; its reasons say how many there are in all.
const mostUnsupported = 100

// listed are those that a sample lists: all, or the first of those that nobody has accepted, and then of the others.
func listed(all []checkpoint.UnsupportedDocument) []checkpoint.UnsupportedDocument {
	if len(all) <= mostUnsupported {
		return all
	}

	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b checkpoint.UnsupportedDocument) int {
		return cmp.Compare(min(b.Unaccepted(), 1), min(a.Unaccepted(), 1))
	})

	return all[:mostUnsupported]
}

func encodeStream(s *tally.Stream) *relayv1.StreamStats {
	if s == nil {
		return nil
	}

	return &relayv1.StreamStats{
		Name:          s.Name,
		StreamId:      s.ID,
		FirstSequence: s.FirstSequence,
		LastSequence:  s.LastSequence,
		Messages:      s.Messages,
		Bytes:         s.Bytes,
		MaxBytes:      s.MaxBytes,
		Generation:    s.Generation,
		Position:      topology.EncodePosition(s.Position),
	}
}

func encodeListener(flow string, l *tally.Listener) *relayv1.ListenerReport {
	return &relayv1.ListenerReport{
		Flow:           flow,
		Instance:       encodeInstance(&l.Instance),
		State:          relayv1.ListenerState(relayv1.ListenerState_value["LISTENER_STATE_"+l.State]),
		Reason:         l.Reason,
		ReportTime:     encodeTime(l.ReportTime),
		Position:       topology.EncodePosition(l.Position),
		TotalEvents:    l.Total,
		SkippedEvents:  l.Skipped,
		CaptureLag:     encodeDuration(l.CaptureLag),
		WindowMessages: l.WindowMessages,
		WindowBytes:    l.WindowBytes,
		Recoveries:     l.Recoveries,
		Term:           l.Term,

		HistoryRemaining:      encodeDuration(l.History.Remaining),
		HistoryWindow:         encodeDuration(l.History.Window),
		HistoryUnknownBecause: text(l.History.Unknown),
		HistoryTrend:          relayv1.HistoryTrend(relayv1.HistoryTrend_value["HISTORY_TREND_"+l.History.Trend]),
		HistoryLevel:          relayv1.HistoryLevel(relayv1.HistoryLevel_value["HISTORY_LEVEL_"+l.History.Level]),
		HistoryWarn:           encodeDuration(l.History.Warn),
		HistoryCritical:       encodeDuration(l.History.Critical),
		LeaseTtl:              encodeTTL(l.LeaseTTL),
	}
}

// encodeTTL is nil for an instance that does not say what it is.
func encodeTTL(ttl time.Duration) *durationpb.Duration {
	if ttl == 0 {
		return nil
	}

	return durationpb.New(ttl)
}

func encodeProcessor(p *tally.Processor) *relayv1.ProcessorInstance {
	return &relayv1.ProcessorInstance{
		Instance:   encodeInstance(&p.Instance),
		ReportTime: encodeTime(p.ReportTime),
		Partitions: uint32(len(p.Owned())), //nolint:gosec // at most topology.MaxPartitions
		Reason:     p.Reason,
	}
}

func encodePartition(p *tally.Partition) *relayv1.PartitionStats {
	d := &p.Checkpoint

	return &relayv1.PartitionStats{
		Partition:         uint32(p.Number), //nolint:gosec // at most topology.MaxPartitions
		State:             relayv1.PartitionState(relayv1.PartitionState_value["PARTITION_STATE_"+p.State]),
		Reason:            p.Reason,
		OwnerInstance:     p.Owner,
		Epoch:             unsigned(d.Epoch),
		Sequence:          unsigned(d.Sequence),
		Position:          topology.EncodePosition(d.Position),
		PendingChanges:    p.Pending,
		ProcessedChanges:  unsigned(d.Counters.Processed),
		FailedChanges:     unsigned(d.Counters.Failed),
		SkippedChanges:    unsigned(d.Counters.Skipped),
		BatchesProcessed:  unsigned(d.Counters.Batches),
		PendingBatchSize:  p.PendingBatchSize,
		IsBatchProcessing: p.IsProcessing,
		ParkedChanges:     unsigned(d.Parked),
		Lag:               encodeDuration(p.Lag),
		IsHeld:            p.Held,
		StateTime:         encodeTime(p.Since),
		Owned:             p.Owned,
	}
}

func encodeMember(m *tally.Member, now time.Time) *relayv1.InstanceStats {
	stats := &relayv1.InstanceStats{
		Role:       relayv1.InstanceRole(relayv1.InstanceRole_value["INSTANCE_ROLE_"+string(m.Role)]),
		Instance:   encodeInstance(&m.Instance),
		State:      relayv1.InstanceState(relayv1.InstanceState_value["INSTANCE_STATE_"+m.State]),
		Reason:     text(m.Reason),
		Partitions: uint32(m.Partitions), //nolint:gosec // at most topology.MaxPartitions
		ReportTime: encodeTime(m.ReportTime),
		IsSilent:   m.Missed,
		IsGone:     m.Gone,
	}

	if !m.Arrived.IsZero() {
		stats.ReportAge = durationpb.New(max(0, now.Sub(m.Arrived)))
	}

	return stats
}

func encodeUnsupported(u *checkpoint.UnsupportedDocument) *relayv1.UnsupportedEvents {
	return &relayv1.UnsupportedEvents{
		Namespace:     &relayv1.Namespace{Database: u.DB, Collection: u.Coll},
		Operation:     u.Operation,
		Events:        unsigned(u.Events),
		Diverges:      u.Diverges,
		FirstPosition: topology.EncodePosition(u.First),
		LastPosition:  topology.EncodePosition(u.Last),
	}
}

func encodeInstance(i *tally.Instance) *relayv1.Instance {
	return &relayv1.Instance{Id: i.ID, Host: i.Host, Pid: i.PID, Version: i.Version, StartTime: encodeTime(i.Start), OpsAddr: text(i.OpsAddr)}
}

func encodeTime(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}

	return timestamppb.New(t)
}

func encodeDuration(d *time.Duration) *durationpb.Duration {
	if d == nil {
		return nil
	}

	return durationpb.New(*d)
}

// unsigned reads a number of a checkpoint, where none is negative.
func unsigned(n int64) uint64 {
	return uint64(max(n, 0))
}

func texts(list []string) []string {
	fit := make([]string, len(list))
	for i := range list {
		fit[i] = text(list[i])
	}

	return fit
}
