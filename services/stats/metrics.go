package main

import (
	"context"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/api"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/tally"
)

// scrapeTimeout is below the 10 s that Prometheus waits by default.
const scrapeTimeout = 8 * time.Second

// metrics makes the series of all flows from one sample each at scrape, so they
// agree with one another and with the API. What is unknown has no series.
type metrics struct {
	begin func() (context.Context, context.CancelFunc) // of one scrape
	flows []api.Flow

	changes, captured, pending, parked, deadLetters, partitionPending, lag, state *prometheus.Desc
}

func newMetrics(begin func() (context.Context, context.CancelFunc), flows []api.Flow) *metrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{telemetry.KeyFlow}, labels...), nil)
	}

	return &metrics{
		begin:    begin,
		flows:    flows,
		changes:  desc("relay_changes_total", "Events of the source that are settled, by result; from the checkpoints: survives restarts.", "result"),
		captured: desc("relay_captured_changes_total", "Events of the source counted so far; from the stream's tail: survives restarts."),
		pending:  desc("relay_pending_changes", "Events published and not settled."),
		parked:   desc("relay_parked_changes", "Events set aside that wait to be applied; part of the pending ones."),
		deadLetters: desc("relay_dead_letters",
			"Records of events given up after the last retry and neither replayed, discarded nor superseded since; counted up to 10000."),
		partitionPending: desc("relay_partition_pending_changes", "Events published to the partition and not settled, those set aside included.",
			telemetry.KeyPartition),
		lag:   desc("relay_lag_seconds", "Age of the oldest event not captured (stage capture) or not applied (stage apply).", "stage"),
		state: desc("relay_state", "1 for the status that the flow has, 0 for all others.", telemetry.KeyState),
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.changes, m.captured, m.pending, m.parked, m.deadLetters, m.partitionPending, m.lag, m.state} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := m.begin()
	defer cancel()

	for _, flow := range m.flows {
		if stats, err := flow.Sample(ctx); err == nil {
			m.collect(ch, &stats)
		}
	}
}

func (m *metrics) collect(ch chan<- prometheus.Metric, s *tally.Stats) {
	number := func(d *prometheus.Desc, kind prometheus.ValueType, n *uint64, labels ...string) {
		if n != nil {
			ch <- prometheus.MustNewConstMetric(d, kind, float64(*n), append([]string{s.Flow}, labels...)...)
		}
	}

	number(m.changes, prometheus.CounterValue, s.Processed, "processed")
	number(m.changes, prometheus.CounterValue, s.Failed, "failed")
	number(m.changes, prometheus.CounterValue, s.Skipped, "skipped")
	number(m.captured, prometheus.CounterValue, s.Total)
	number(m.pending, prometheus.GaugeValue, s.Pending)
	number(m.parked, prometheus.GaugeValue, s.Parked)
	number(m.deadLetters, prometheus.GaugeValue, s.DeadLetters)

	for i := range s.Partitions {
		number(m.partitionPending, prometheus.GaugeValue, s.Partitions[i].Pending, strconv.Itoa(s.Partitions[i].Number))
	}

	for stage, lag := range map[string]*time.Duration{"capture": s.CaptureLag, "apply": s.Lag} {
		if lag != nil {
			ch <- prometheus.MustNewConstMetric(m.lag, prometheus.GaugeValue, lag.Seconds(), s.Flow, stage)
		}
	}

	for _, status := range tally.Statuses() {
		value := 0.0
		if status == s.Status {
			value = 1
		}

		ch <- prometheus.MustNewConstMetric(m.state, prometheus.GaugeValue, value, s.Flow, string(status))
	}
}
