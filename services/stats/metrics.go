package main

import (
	"context"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/atlas-relay/atlas-relay/pkg/pause"
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

	changes, captured, pending, parked, deadLetters, partitionPending, owned, lag, state, paused, pausedNamespaces, pauseSince, silent, gone *prometheus.Desc
	streamMessages, streamBytes, streamMaxBytes, sampled                                                                                     *prometheus.Desc
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
		owned:            desc("relay_partition_owned", "1 for a partition whose owner reports, else 0; absent while nobody can be heard.", telemetry.KeyPartition),
		lag:              desc("relay_lag_seconds", "Age of the oldest event not captured (stage capture) or not applied (stage apply).", "stage"),
		state:            desc("relay_state", "1 for the status that the flow has, 0 for all others.", telemetry.KeyState),
		paused:           desc("relay_paused", "1 while a person has paused the flow, 0 while it runs; absent while the target cannot be asked."),
		pausedNamespaces: desc("relay_paused_namespaces", "Namespaces that persons have paused; absent while the target cannot be asked."),

		pauseSince: desc("relay_pause_start_timestamp_seconds",
			"Since when the flow (namespace empty) or a namespace is paused, in seconds since 1970, by whom and why, in at most 200 bytes; gone when it is resumed.",
			telemetry.KeyNamespace, "by", telemetry.KeyReason),
		silent: desc("relay_silent_instances",
			"Instances that have said nothing for four fifths of LEASE_TTL: killed, frozen or cut off, until they are heard or taken for gone; absent while nobody can be heard.", "role"),
		gone: desc("relay_gone_instances",
			"Instances that were taken for gone within the last hour without having said that they stop, and that no process replaced; absent while nobody can be heard.", "role"),

		streamMessages: desc("relay_stream_messages", "Messages that the flow's stream holds, the applied ones that were not purged included."),
		streamBytes:    desc("relay_stream_bytes", "Size of the flow's stream."),
		streamMaxBytes: desc("relay_stream_max_bytes", "Size at which the flow's stream is full; absent for one without a limit."),

		sampled: desc("relay_sample_timestamp_seconds", "When the sample was taken that all series of the flow are of, in seconds since 1970; sample_time of the API."),
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		m.changes, m.captured, m.pending, m.parked, m.deadLetters, m.partitionPending, m.owned, m.lag, m.state, m.paused, m.pausedNamespaces,
		m.pauseSince, m.silent, m.gone,
		m.streamMessages, m.streamBytes, m.streamMaxBytes, m.sampled,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := m.begin()
	defer cancel()

	var asked sync.WaitGroup
	defer asked.Wait()

	// Side by side: a flow whose servers are slow to fail must not use up the time of the others.
	for _, flow := range m.flows {
		asked.Go(func() {
			if stats, err := flow.Sample(ctx); err == nil {
				m.collect(ch, &stats)
			}
		})
	}
}

func (m *metrics) collect(ch chan<- prometheus.Metric, s *tally.Stats) {
	number := func(d *prometheus.Desc, kind prometheus.ValueType, n *uint64, labels ...string) {
		if n != nil {
			ch <- prometheus.MustNewConstMetric(d, kind, float64(*n), append([]string{s.Flow}, labels...)...)
		}
	}

	ch <- prometheus.MustNewConstMetric(m.sampled, prometheus.GaugeValue, float64(s.Time.UnixNano())/float64(time.Second), s.Flow)

	number(m.changes, prometheus.CounterValue, s.Processed, "processed")
	number(m.changes, prometheus.CounterValue, s.Failed, "failed")
	number(m.changes, prometheus.CounterValue, s.Skipped, "skipped")
	number(m.captured, prometheus.CounterValue, s.Total)
	number(m.pending, prometheus.GaugeValue, s.Pending)
	number(m.parked, prometheus.GaugeValue, s.Parked)
	number(m.deadLetters, prometheus.GaugeValue, s.DeadLetters)

	for i := range s.Partitions {
		p := &s.Partitions[i]
		number(m.partitionPending, prometheus.GaugeValue, p.Pending, strconv.Itoa(p.Number))

		if p.Owned != nil {
			ch <- prometheus.MustNewConstMetric(m.owned, prometheus.GaugeValue, gauge(*p.Owned), s.Flow, strconv.Itoa(p.Number))
		}
	}

	if s.Stream != nil {
		number(m.streamMessages, prometheus.GaugeValue, &s.Stream.Messages)
		number(m.streamBytes, prometheus.GaugeValue, &s.Stream.Bytes)

		if s.Stream.MaxBytes > 0 {
			number(m.streamMaxBytes, prometheus.GaugeValue, &s.Stream.MaxBytes)
		}
	}

	for stage, lag := range map[string]*time.Duration{"capture": s.CaptureLag, "apply": s.Lag} {
		if lag != nil {
			ch <- prometheus.MustNewConstMetric(m.lag, prometheus.GaugeValue, lag.Seconds(), s.Flow, stage)
		}
	}

	if s.PauseKnown {
		ch <- prometheus.MustNewConstMetric(m.paused, prometheus.GaugeValue, gauge(s.Pause != nil), s.Flow)
		ch <- prometheus.MustNewConstMetric(m.pausedNamespaces, prometheus.GaugeValue, float64(len(s.PausedNamespaces)), s.Flow)
		m.collectPauses(ch, s)
	}

	m.collectAbsent(ch, s)

	for _, status := range tally.Statuses() {
		ch <- prometheus.MustNewConstMetric(m.state, prometheus.GaugeValue, gauge(status == s.Status), s.Flow, string(status))
	}
}

// longestLabel bounds what persons wrote, in bytes.
const longestLabel = 200

func (m *metrics) collectPauses(ch chan<- prometheus.Metric, s *tally.Stats) {
	collect := func(namespace string, p *pause.Pause) {
		ch <- prometheus.MustNewConstMetric(m.pauseSince, prometheus.GaugeValue, float64(p.Since.UnixMilli())/milliseconds, s.Flow, label(namespace), label(p.By), label(p.Reason))
	}

	if s.Pause != nil {
		collect("", s.Pause)
	}

	told := map[string]bool{}

	for i := range s.PausedNamespaces {
		// Two of the same name would be two series that are one.
		if n := &s.PausedNamespaces[i]; !told[n.Name()] {
			told[n.Name()] = true

			collect(n.Name(), &n.Pause)
		}
	}
}

// milliseconds of a second.
const milliseconds = 1000

// label is a text that a series may have: UTF-8, and not too long.
func label(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= longestLabel {
		return text
	}

	return strings.ToValidUTF8(text[:longestLabel], "") + "…"
}

// collectAbsent counts those that are not heard.
func (m *metrics) collectAbsent(ch chan<- prometheus.Metric, s *tally.Stats) {
	if !s.Heard {
		return
	}

	silent := map[tally.Role]float64{tally.RoleListener: 0, tally.RoleProcessor: 0}
	gone := maps.Clone(silent)

	for _, member := range s.Members() {
		silent[member.Role] += gauge(member.Missed)
		gone[member.Role] += gauge(member.Gone)
	}

	for role := range silent {
		word := strings.ToLower(string(role))
		ch <- prometheus.MustNewConstMetric(m.silent, prometheus.GaugeValue, silent[role], s.Flow, word)
		ch <- prometheus.MustNewConstMetric(m.gone, prometheus.GaugeValue, gone[role], s.Flow, word)
	}
}

func gauge(holds bool) float64 {
	if holds {
		return 1
	}

	return 0
}
