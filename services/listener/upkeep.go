package main

import (
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atlas-relay/atlas-relay/pkg/report"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/capture"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/history"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/janitor"
)

// cleansUp tells whether this listener is the one whose janitor works: the one
// that publishes, or would if the stream had room.
func cleansUp(s capture.Status) bool {
	return s.Term > 0 && (s.State == capture.Streaming || s.State == capture.Waiting)
}

// answers tells whether this listener answers refetch requests. An answer is
// read from the source alone, so a full stream is no obstacle; but it must be
// the source of the stream. Of two that answer each request still gets one.
func answers(s capture.Status) bool {
	return s.State == capture.Streaming || s.State == capture.Waiting && s.SourceChecked
}

// upkeep is what keeps the way from the source open: room in the stream, and the
// knowledge of how long the source can wait.
type upkeep struct {
	janitor *janitor.Janitor
	history *history.Watcher

	remaining, level, forbidden, purged, floor *prometheus.Desc
}

// newUpkeep returns what reads by js, and purges over the connection cleaning.
func newUpkeep(
	cfg *Config, source *mongo.Client, js jetstream.JetStream, cleaning *nats.Conn, listener *capture.Capture, log *slog.Logger,
) (*upkeep, error) {
	purging, err := jetstream.New(cleaning)
	if err != nil {
		return nil, fmt.Errorf("use JetStream: %w", err)
	}

	labels := prometheus.Labels{"flow": cfg.Flow}
	desc := func(name, help string, variable ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, variable, labels)
	}

	return &upkeep{
		janitor: janitor.New(purging, log, janitor.Options{
			Flow: cfg.Flow, Margin: uint64(cfg.ReplayMargin), //nolint:gosec // Load has checked that it is not negative
			Active: func() bool { return cleansUp(listener.Status()) }, Mark: listener.Mark,
		}),
		history: history.New(source, js, log, history.Options{
			Flow: cfg.Flow, Limits: history.Limits{Warn: cfg.HistoryWarn, Critical: cfg.HistoryCrit},
		}),
		remaining: desc("relay_history_window_remaining_seconds",
			"For how long the source keeps what the stream does not have, at the present rate; absent while that is not known."),
		level: desc("relay_history_level",
			"1 for how that is judged by HISTORY_WARN and HISTORY_CRITICAL, 0 for all others; a source that forgets nothing is OK.", "level"),
		forbidden: desc("relay_stream_purge_forbidden", "1 while nothing may be purged from the stream; the log says why."),
		purged:    desc("relay_stream_purged_messages_total", "Messages that this process has purged from the stream's head."),
		floor:     desc("relay_stream_floor_sequence", "Sequence of the lowest checkpoint; absent while it is not known."),
	}, nil
}

// report adds to the listener's report the history, and what holds the stream of one that waits.
func (u *upkeep) report(build report.Build) report.Build {
	return func(reportTime *timestamppb.Timestamp) proto.Message {
		message := build(reportTime)
		if r, ok := message.(*relayv1.ListenerReport); ok {
			addHistory(r, u.history.Estimate())

			if r.GetState() == relayv1.ListenerState_LISTENER_STATE_WAITING {
				r.Reason += held(u.janitor.Status())
			}
		}

		return message
	}
}

// held says what keeps the stream from getting room.
func held(s janitor.Status) string {
	switch {
	case s.Forbidden != "":
		return "; nothing is purged: " + s.Forbidden
	case s.HeldBy != "":
		return "; purged up to what is held by " + s.HeldBy
	default:
		return ""
	}
}

func addHistory(r *relayv1.ListenerReport, e history.Estimate) {
	r.HistoryUnknownBecause = e.Unknown
	r.HistoryTrend = relayv1.HistoryTrend(relayv1.HistoryTrend_value["HISTORY_TREND_"+string(e.Trend)])
	r.HistoryLevel = relayv1.HistoryLevel(relayv1.HistoryLevel_value["HISTORY_LEVEL_"+string(e.Level)])

	if e.Unknown == "" {
		r.HistoryRemaining, r.HistoryWindow = durationpb.New(e.Remaining), durationpb.New(e.Window)
	}
}

// Describe implements prometheus.Collector.
func (u *upkeep) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{u.remaining, u.level, u.forbidden, u.purged, u.floor} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (u *upkeep) Collect(ch chan<- prometheus.Metric) {
	u.collectHistory(ch)

	status := u.janitor.Status()

	forbidden := 0.0
	if status.Forbidden != "" {
		forbidden = 1
	}

	ch <- prometheus.MustNewConstMetric(u.forbidden, prometheus.GaugeValue, forbidden)
	ch <- prometheus.MustNewConstMetric(u.purged, prometheus.CounterValue, float64(status.Purged))

	if status.Floor > 0 {
		ch <- prometheus.MustNewConstMetric(u.floor, prometheus.GaugeValue, float64(status.Floor))
	}
}

// levelUnknown is the level, as a label, while the history is not known.
const levelUnknown = "UNKNOWN"

func (u *upkeep) collectHistory(ch chan<- prometheus.Metric) {
	e, present := u.history.Estimate(), levelUnknown
	if e.Unknown == "" {
		present = string(e.Level)
		ch <- prometheus.MustNewConstMetric(u.remaining, prometheus.GaugeValue, e.Remaining.Seconds())
	}

	for _, level := range []string{string(history.OK), string(history.Warn), string(history.Critical), levelUnknown} {
		value := 0.0
		if level == present {
			value = 1
		}

		ch <- prometheus.MustNewConstMetric(u.level, prometheus.GaugeValue, value, level)
	}
}
