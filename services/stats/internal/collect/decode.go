package collect

import (
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/tally"
)

// decode reads a value of the bucket by the kind of its key.
func decode(update jetstream.KeyValueEntry, arrived time.Time) entry {
	e := entry{arrived: arrived, revision: update.Revision()}

	switch {
	case strings.HasPrefix(update.Key(), "l."):
		if l, ok := decodeListener(update.Value(), arrived); ok {
			e.listener = &l
		}
	case strings.HasPrefix(update.Key(), "p."):
		if p, ok := decodeProcessor(update.Value(), arrived); ok {
			e.processor = &p
		}
	}

	return e
}

// decodeListener reads a value of the bucket; ok is false for one that is no
// report of this or a compatible version.
func decodeListener(value []byte, arrived time.Time) (l tally.Listener, ok bool) {
	r := new(relayv1.ListenerReport)
	if proto.Unmarshal(value, r) != nil {
		return tally.Listener{}, false
	}

	l = tally.Listener{
		Instance:       decodeInstance(r.GetInstance()),
		State:          strings.TrimPrefix(r.GetState().String(), "LISTENER_STATE_"),
		Reason:         r.GetReason(),
		ReportTime:     r.GetReportTime().AsTime(),
		Arrived:        arrived,
		Position:       topology.DecodePosition(r.GetPosition()),
		Total:          r.GetTotalEvents(),
		Skipped:        r.GetSkippedEvents(),
		WindowMessages: r.GetWindowMessages(),
		WindowBytes:    r.GetWindowBytes(),
		Recoveries:     r.GetRecoveries(),
		Term:           r.GetTerm(),
	}

	if lag := r.GetCaptureLag(); lag != nil {
		l.CaptureLag = new(max(0, lag.AsDuration()))
	}

	l.History = decodeHistory(r)
	l.LeaseTTL = max(0, r.GetLeaseTtl().AsDuration())

	return l, true
}

func decodeHistory(r *relayv1.ListenerReport) tally.History {
	h := tally.History{
		Unknown: r.GetHistoryUnknownBecause(),
		Trend:   strings.TrimPrefix(r.GetHistoryTrend().String(), "HISTORY_TREND_"),
		Level:   strings.TrimPrefix(r.GetHistoryLevel().String(), "HISTORY_LEVEL_"),
	}

	if r.GetHistoryRemaining() != nil {
		h.Remaining = new(max(0, r.GetHistoryRemaining().AsDuration()))
	}

	if r.GetHistoryWindow() != nil {
		h.Window = new(max(0, r.GetHistoryWindow().AsDuration()))
	}

	if r.GetHistoryWarn() != nil {
		h.Warn = new(max(0, r.GetHistoryWarn().AsDuration()))
	}

	if r.GetHistoryCritical() != nil {
		h.Critical = new(max(0, r.GetHistoryCritical().AsDuration()))
	}

	return h
}

func decodeProcessor(value []byte, arrived time.Time) (p tally.Processor, ok bool) {
	r := new(relayv1.ProcessorReport)
	if proto.Unmarshal(value, r) != nil {
		return tally.Processor{}, false
	}

	p = tally.Processor{
		Instance:   decodeInstance(r.GetInstance()),
		Reason:     r.GetReason(),
		ReportTime: r.GetReportTime().AsTime(),
		Arrived:    arrived,

		AtLeastOnce: r.GetAtLeastOnce(),
	}
	p.LeaseTTL = max(0, r.GetLeaseTtl().AsDuration())

	for _, owned := range r.GetPartitions() {
		p.Partitions = append(p.Partitions, tally.Ownership{
			Partition:        int(owned.GetPartition()),
			State:            strings.TrimPrefix(owned.GetState().String(), "PARTITION_STATE_"),
			Reason:           owned.GetReason(),
			Since:            since(r.GetReportTime(), owned.GetStateTime(), arrived),
			Epoch:            owned.GetEpoch(),
			PendingBatchSize: owned.GetPendingBatchSize(),
			IsProcessing:     owned.GetIsBatchProcessing(),
			Held:             owned.GetIsHeld(),
		})
	}

	return p, true
}

// since puts a moment of the instance's clock on ours: how long before its report that was is the same on both.
func since(reported, moment *timestamppb.Timestamp, arrived time.Time) time.Time {
	if reported == nil || moment == nil {
		return time.Time{}
	}

	return arrived.Add(-max(0, reported.AsTime().Sub(moment.AsTime())))
}

func decodeInstance(i *relayv1.Instance) tally.Instance {
	var start time.Time
	if i.GetStartTime() != nil {
		start = i.GetStartTime().AsTime()
	}

	return tally.Instance{ID: i.GetId(), Host: i.GetHost(), PID: i.GetPid(), Version: i.GetVersion(), Start: start, OpsAddr: i.GetOpsAddr()}
}
