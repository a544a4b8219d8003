package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atlas-relay/atlas-relay/pkg/ops"
	"github.com/atlas-relay/atlas-relay/pkg/report"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/capture"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/refetch"
)

// reportOf returns what the listener puts into RELAY_STATS.
func reportOf(cfg *Config, instance *relayv1.Instance, listener *capture.Capture) report.Build {
	return func(reportTime *timestamppb.Timestamp) proto.Message {
		status := listener.Status()

		r := &relayv1.ListenerReport{
			Flow:           cfg.Flow,
			Instance:       instance,
			State:          relayv1.ListenerState(relayv1.ListenerState_value["LISTENER_STATE_"+string(status.State)]),
			Reason:         status.Reason,
			ReportTime:     reportTime,
			Position:       topology.EncodePosition(status.Position),
			TotalEvents:    status.Total,
			SkippedEvents:  status.Skipped,
			WindowMessages: status.WindowMessages,
			WindowBytes:    uint64(status.WindowBytes), //nolint:gosec // never negative
			Recoveries:     status.Recoveries,
			Term:           status.Term,

			LeaseTtl:        durationpb.New(cfg.LeaseTTL),
			HistoryWarn:     durationpb.New(cfg.HistoryWarn),
			HistoryCritical: durationpb.New(cfg.HistoryCrit),
		}

		if lag, ok := status.Lag(time.Now()); ok {
			r.CaptureLag = durationpb.New(lag)
		}

		return r
	}
}

// readyPoll is how often readiness follows the state.
const readyPoll = 200 * time.Millisecond

// readiness keeps the part as ready as the listener: a standby is, it can take
// over at any moment.
func readiness(part *ops.Part, listener *capture.Capture) func(context.Context) error {
	return func(ctx context.Context) error {
		ticker := time.NewTicker(readyPoll)
		defer ticker.Stop()

		for {
			switch status := listener.Status(); status.State {
			case capture.Streaming:
				part.Ready()
			case capture.Standby:
				part.ReadyThough(string(status.State) + ": " + status.Reason)
			case capture.Starting, capture.Waiting, capture.Stalled, capture.HistoryLost, capture.Failed:
				part.NotReady(string(status.State) + ": " + status.Reason)
			}

			select {
			case <-ticker.C:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// metrics is read from Status and Counts at each scrape.
type metrics struct {
	listener  *capture.Capture
	responder *refetch.Responder

	captured, skipped, recoveries, window, lag, state, historyLost, refetches *prometheus.Desc
}

func newMetrics(flow string, listener *capture.Capture, responder *refetch.Responder) *metrics {
	labels := prometheus.Labels{"flow": flow}
	desc := func(name, help string, variable ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, variable, labels)
	}

	return &metrics{
		listener:   listener,
		responder:  responder,
		captured:   desc("relay_captured_changes_total", "Events of the source counted so far, by the stream's running number: survives restarts."),
		skipped:    desc("relay_capture_skipped_changes_total", "Events among the captured that were left out by the filter."),
		recoveries: desc("relay_capture_recoveries_total", "Times this process went through its recovery path."),
		window:     desc("relay_capture_window_messages", "Messages published and not yet proven stored."),
		lag:        desc("relay_lag_seconds", "Now minus the cluster time of the last event.", "stage"),
		state:      desc("relay_state", "1 for the state that the process is in, 0 for all others.", "state"),
		historyLost: desc("relay_history_lost",
			"1 while the source no longer has the changes that follow the stream's tail: an operator has to accept the gap."),
		refetches: desc("relay_refetches_total", "Requests for a document of the source, by what became of them in this process.", "result"),
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	status := m.listener.Status()

	ch <- prometheus.MustNewConstMetric(m.captured, prometheus.CounterValue, float64(status.Total))
	ch <- prometheus.MustNewConstMetric(m.skipped, prometheus.CounterValue, float64(status.Skipped))
	ch <- prometheus.MustNewConstMetric(m.recoveries, prometheus.CounterValue, float64(status.Recoveries))
	ch <- prometheus.MustNewConstMetric(m.window, prometheus.GaugeValue, float64(status.WindowMessages))

	if lag, ok := status.Lag(time.Now()); ok {
		ch <- prometheus.MustNewConstMetric(m.lag, prometheus.GaugeValue, lag.Seconds(), "capture")
	}

	for result, n := range m.responder.Counts() {
		ch <- prometheus.MustNewConstMetric(m.refetches, prometheus.CounterValue, float64(n), string(result))
	}

	lost := 0.0
	if status.State == capture.HistoryLost {
		lost = 1
	}

	ch <- prometheus.MustNewConstMetric(m.historyLost, prometheus.GaugeValue, lost)

	for _, state := range capture.States() {
		value := 0.0
		if state == status.State {
			value = 1
		}

		ch <- prometheus.MustNewConstMetric(m.state, prometheus.GaugeValue, value, string(state))
	}
}
