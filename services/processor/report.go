package main

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/ops"
	"github.com/atlas-relay/atlas-relay/pkg/report"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/ownership"
)

// reportOf returns what the processor puts into RELAY_STATS.
func reportOf(flow string, leaseTTL time.Duration, instance *relayv1.Instance, owner *ownership.Owner) report.Build {
	return func(reportTime *timestamppb.Timestamp) proto.Message {
		partitions, reason := owner.Status()
		r := &relayv1.ProcessorReport{
			Flow: flow, Instance: instance, ReportTime: reportTime, Reason: reason, AtLeastOnce: owner.AtLeastOnce(), LeaseTtl: durationpb.New(leaseTTL),
		}

		for i := range partitions {
			r.Partitions = append(r.Partitions, partitions[i].Report())
		}

		return r
	}
}

// readyPoll is how often readiness follows the states.
const readyPoll = 200 * time.Millisecond

// readiness keeps the part ready while this processor takes part and applies its
// share, which may be none, or would but for a person who paused the flow.
func readiness(part *ops.Part, owner *ownership.Owner) func(context.Context) error {
	return func(ctx context.Context) error {
		ticker := time.NewTicker(readyPoll)
		defer ticker.Stop()

		for {
			switch why, note := notReady(owner); {
			case why != "":
				part.NotReady(why)
			case note != "":
				part.ReadyThough(note)
			default:
				part.Ready()
			}

			select {
			case <-ticker.C:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// notReady says why this processor does not do its share; empty when it does. A
// partition that is handed over is its next owner's affair, and one that a person
// has paused is as he wants it: that is the note.
func notReady(owner *ownership.Owner) (why, note string) {
	partitions, reason := owner.Status()
	if reason != "" {
		return reason, ""
	}

	waiting, first := 0, ""

	for i := range partitions {
		s := &partitions[i]

		switch {
		case s.Held:
			note = s.Reason

			continue
		case s.State == ownership.Applying, s.State == ownership.Draining:
			continue
		}

		if waiting++; first == "" {
			first = fmt.Sprintf("partition %d is %s", s.Partition, s.State)
			if s.Reason != "" {
				first += ": " + s.Reason
			}
		}
	}

	if waiting > 1 {
		first += fmt.Sprintf(" (and %d more)", waiting-1)
	}

	return first, note
}

// meters is the processor's own metrics. Cumulative counters of the flow come
// from the checkpoints and are the stats service's to show. What both show is of
// the flow there, and of this processor's partitions here.
type meters struct {
	batch   prometheus.Histogram
	events  prometheus.Histogram
	latency prometheus.Histogram
	flow    string
}

func newMeters(flow string) *meters {
	labels := prometheus.Labels{"flow": flow}

	return &meters{
		flow: flow,
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "relay_apply_batch_duration_seconds", Help: "Time from a batch's hand-over to its commit, waiting for the target included.",
			ConstLabels: labels, Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60},
		}),
		events: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "relay_apply_batch_changes", Help: "Events of a committed batch.",
			ConstLabels: labels, Buckets: []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000},
		}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "relay_event_latency_seconds", Help: "Time from an event's cluster time, which has whole seconds, to its commit on the target.",
			ConstLabels: labels, Buckets: []float64{1, 2, 5, 10, 30, 60, 300, 1800, 3600, 21600},
		}),
	}
}

func (m *meters) register(registry *prometheus.Registry, owner *ownership.Owner) {
	registry.MustRegister(m.batch, m.events, m.latency, &stateCollector{
		owner: owner,
		desc: prometheus.NewDesc("relay_state", "Partitions of this processor in each state.",
			[]string{"state"}, prometheus.Labels{"flow": m.flow}),
		lag: prometheus.NewDesc("relay_lag_seconds", "Age of the oldest event that this processor has read and not applied.",
			nil, prometheus.Labels{"flow": m.flow, "stage": "apply"}),
		parked: prometheus.NewDesc("relay_parked_changes", "Events set aside that wait to be applied, of the partitions of this processor.",
			nil, prometheus.Labels{"flow": m.flow}),
		dead: prometheus.NewDesc("relay_dead_letters",
			"Records of events given up after the last retry and neither replayed, discarded nor superseded since, of the partitions of this processor.",
			nil, prometheus.Labels{"flow": m.flow}),
	})
}

// Batch implements ownership.Observer.
func (m *meters) Batch(took time.Duration, plan *apply.Plan) {
	m.batch.Observe(took.Seconds())
	m.events.Observe(float64(plan.Events()))
}

// Event implements ownership.Observer.
func (m *meters) Event(message *event.Message) {
	latency := max(time.Since(message.Position.Time()).Seconds(), 0)

	if id := telemetry.TraceID(message.TraceParent); id != "" {
		if sampled, ok := m.latency.(prometheus.ExemplarObserver); ok {
			sampled.ObserveWithExemplar(latency, prometheus.Labels{telemetry.KeyTraceID: id})

			return
		}
	}

	m.latency.Observe(latency)
}

// stateCollector looks at the partitions at each scrape.
type stateCollector struct {
	owner                   *ownership.Owner
	desc, lag, parked, dead *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *stateCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.desc, c.lag, c.parked, c.dead} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *stateCollector) Collect(ch chan<- prometheus.Metric) {
	partitions, _ := c.owner.Status()
	count := map[ownership.State]int{}

	lag := time.Duration(0)

	var parked, dead int64

	for i := range partitions {
		count[partitions[i].State]++
		parked += partitions[i].Checkpoint.Parked
		dead += partitions[i].Dead

		if oldest := partitions[i].Oldest; !oldest.IsZero() {
			lag = max(lag, time.Since(oldest.Time()))
		}
	}

	ch <- prometheus.MustNewConstMetric(c.lag, prometheus.GaugeValue, lag.Seconds())
	ch <- prometheus.MustNewConstMetric(c.parked, prometheus.GaugeValue, float64(parked))
	ch <- prometheus.MustNewConstMetric(c.dead, prometheus.GaugeValue, float64(dead))

	for _, state := range ownership.States() {
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(count[state]), string(state))
	}
}
