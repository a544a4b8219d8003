package docs_test

import (
	"context"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/tlstest"
)

// patience bounds each wait; on an idle machine none lasts a tenth of it.
const patience = 2 * time.Minute

// series are the sets of labels under which a metric appears, job and instance as Prometheus adds them.
type series map[string][]map[string]string

// has tells whether the metric appears with labels that all of these conditions hold for.
func (s series) has(metric string, conditions map[string]func(value string) bool) bool {
	return slices.ContainsFunc(s[metric], func(labels map[string]string) bool {
		for name, holds := range conditions {
			if !holds(labels[name]) {
				return false
			}
		}

		return true
	})
}

// labels are the names of all labels of the metric.
func (s series) labels(metric string) []string {
	names := map[string]bool{}
	for _, labels := range s[metric] {
		for name := range labels {
			names[name] = true
		}
	}

	return slices.Sorted(maps.Keys(names))
}

// flow starts a whole relay and applies one change.
func flow(t *testing.T) *harness.Relay {
	t.Helper()

	choice, err := mongotest.Find(t.Context(), mongotest.FindOptions{Progress: os.Stderr})
	require.NoError(t, err)

	world, err := harness.StartWorld(t.Context(), harness.WorldOptions{Programs: programs, Source: choice, Target: choice})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, world.Stop(context.WithoutCancel(t.Context()))) })

	relay, err := world.Relay(t.Context(), programs, "test", withTLS(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, relay.Stop(context.WithoutCancel(t.Context()))) })

	require.NoError(t, relay.Init(t.Context()))
	require.NoError(t, relay.Start())

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	_, err = relay.Await(ctx, "a flow that replicates", harness.Replicating)
	require.NoError(t, err)

	_, err = world.Source.Client.Database("shop").Collection("orders").InsertOne(t.Context(), bson.D{{Key: "_id", Value: 1}})
	require.NoError(t, err)

	_, err = relay.Await(ctx, "one change applied", harness.Applied(1))
	require.NoError(t, err)

	// A pause has a metric of its own, which is there as long as it lasts.
	out, code, err := relay.Ctl(t.Context(), "flow", "pause", "--namespace", "stock", "--reason", "a metric", "--as", "ann")
	require.NoError(t, err)
	require.Zero(t, code, out)

	return relay
}

// withTLS are settings with which the statistics answer over TLS, so that the metrics of its certificates are there.
func withTLS(t *testing.T) map[string]string {
	t.Helper()

	authority, dir := tlstest.NewAuthority(t, "docs"), t.TempDir()
	cert, key := authority.Issue(t, tlstest.Wanted{}).Write(t, dir, "server")

	return map[string]string{"API_CERT": cert, "API_KEY": key, "STATS_CA": tlstest.Write(t, dir, "ca.pem", authority.PEM())}
}

// scrape asks every service as Prometheus does.
func scrape(ctx context.Context, t *testing.T, relay *harness.Relay) series {
	t.Helper()

	all := series{}

	for _, service := range relay.Services() {
		families, err := service.Metrics(ctx)
		require.NoError(t, err)

		for name, family := range families {
			for _, metric := range family.GetMetric() {
				all.add(service.Name, name, metric)
			}
		}
	}

	return all
}

func (s series) add(job, name string, metric *dto.Metric) {
	base := map[string]string{"job": job, "instance": job + ":1"}
	for _, pair := range metric.GetLabel() {
		base[pair.GetName()] = pair.GetValue()
	}

	histogram := metric.GetHistogram()
	if histogram == nil {
		s[name] = append(s[name], base)

		return
	}

	s[name+"_sum"] = append(s[name+"_sum"], base)
	s[name+"_count"] = append(s[name+"_count"], base)

	for _, bucket := range histogram.GetBucket() {
		labels := maps.Clone(base)
		labels["le"] = model.SampleValue(bucket.GetUpperBound()).String()
		s[name+"_bucket"] = append(s[name+"_bucket"], labels)
	}
}

// contract are the metrics that people may build upon, with the jobs that show them and their labels beside flow, job and
// instance.
var contract = []struct {
	metric, job, labels string
}{
	{"relay_changes_total", harness.Stats, "result"},
	{"relay_captured_changes_total", harness.Stats, ""},
	{"relay_captured_changes_total", harness.Listener, ""},
	{"relay_pending_changes", harness.Stats, ""},
	{"relay_parked_changes", harness.Stats, ""},
	{"relay_dead_letters", harness.Stats, ""},
	{"relay_lag_seconds", harness.Stats, "stage"},
	{"relay_lag_seconds", harness.Listener, "stage"},
	{"relay_lag_seconds", harness.Processor, "stage"},
	{"relay_partition_pending_changes", harness.Stats, "partition"},
	{"relay_partition_owned", harness.Stats, "partition"},
	{"relay_stream_messages", harness.Stats, ""},
	{"relay_stream_bytes", harness.Stats, ""},
	{"relay_stream_max_bytes", harness.Stats, ""},
	{"relay_sample_timestamp_seconds", harness.Stats, ""},
	{"relay_silent_instances", harness.Stats, "role"},
	{"relay_gone_instances", harness.Stats, "role"},
	{"relay_paused", harness.Stats, ""},
	{"relay_paused_namespaces", harness.Stats, ""},
	{"relay_pause_start_timestamp_seconds", harness.Stats, "by,ns,reason"},
	{"relay_apply_batch_duration_seconds_bucket", harness.Processor, "le"},
	{"relay_apply_batch_changes_bucket", harness.Processor, "le"},
	{"relay_event_latency_seconds_bucket", harness.Processor, "le"},
	{"relay_history_window_remaining_seconds", harness.Listener, ""},
	{"relay_history_level", harness.Listener, "level"},
	{"relay_state", harness.Stats, "state"},
	{"relay_state", harness.Listener, "state"},
	{"relay_state", harness.Processor, "state"},
}

// everywhere are the metrics that every service shows.
var everywhere = []string{"relay_build_info", "go_goroutines", "go_gc_duration_seconds", "process_cpu_seconds_total", "process_resident_memory_bytes"}

// unmet says what is missing in a scrape of what everybody may build upon.
func (s series) unmet() []string {
	var missing []string

	is := func(want string) func(string) bool { return func(value string) bool { return value == want } }

	for _, c := range contract {
		if !s.has(c.metric, map[string]func(string) bool{"job": is(c.job), "flow": is("test")}) {
			missing = append(missing, c.metric+" of "+c.job)

			continue
		}

		for _, labels := range s[c.metric] {
			names := slices.DeleteFunc(slices.Sorted(maps.Keys(labels)), func(name string) bool {
				return slices.Contains([]string{"flow", "job", "instance"}, name)
			})
			if labels["job"] == c.job && strings.Join(names, ",") != c.labels {
				missing = append(missing, c.metric+" of "+c.job+" with the labels {"+c.labels+"}, not {"+strings.Join(names, ",")+"}")
			}
		}
	}

	for _, metric := range everywhere {
		for _, job := range []string{harness.Listener, harness.Processor, harness.Stats} {
			if !s.has(metric, map[string]func(string) bool{"job": is(job)}) {
				missing = append(missing, metric+" of "+job)
			}
		}
	}

	return missing
}
