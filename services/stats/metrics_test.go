package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/pause"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/api"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/tally"
)

type fixedFlow struct{ stats tally.Stats }

func (f fixedFlow) Name() string                                { return f.stats.Flow }
func (f fixedFlow) Sample(context.Context) (tally.Stats, error) { return f.stats, nil }

func TestMetrics(t *testing.T) {
	t.Parallel()

	m := newMetrics(func() (context.Context, context.CancelFunc) { return context.WithCancel(t.Context()) }, []api.Flow{
		fixedFlow{tally.Stats{
			Flow: "a", Time: time.Unix(1_800_000_000, 500_000_000), Status: tally.OK, Total: new(uint64(10)), Processed: new(uint64(6)), Failed: new(uint64(1)), Skipped: new(uint64(2)),
			Pending: new(uint64(1)), Parked: new(uint64(1)), DeadLetters: new(uint64(3)), Lag: new(1500 * time.Millisecond), CaptureLag: new(time.Duration(0)),
			Partitions: []tally.Partition{{Number: 7, Pending: new(uint64(1)), Owned: new(true)}, {Number: 8, Owned: new(false)}, {Number: 9}},
			Stream:     &tally.Stream{Messages: 12, Bytes: 3456, MaxBytes: 1 << 20},
			Pause:      &pause.Pause{By: "ann from 127.0.0.1:9", Reason: strings.Repeat("é", 150) + "\xff", Since: time.Unix(1_700_000_000, 250_000_000)},
			PausedNamespaces: []pause.Namespace{
				{DB: "shop", Coll: "orders", Pause: pause.Pause{By: "bob", Since: time.Unix(5, 0)}},
				{DB: "shop", Coll: "orders", Pause: pause.Pause{By: "eve", Since: time.Unix(6, 0)}},
			},
			PauseKnown: true, Heard: true,
			Listeners:  []tally.Listener{{Instance: tally.Instance{Silent: time.Second}}},
			Processors: []tally.Processor{{Instance: tally.Instance{Silent: 3 * time.Second, LeaseTTL: 2 * time.Second}}, {}},
			Departed:   []tally.Departed{{Role: tally.RoleListener}, {Role: tally.RoleListener}},
		}},
		fixedFlow{tally.Stats{Flow: "b", Time: time.Unix(1, 0), Status: tally.Unknown}}, // nothing is known, so nothing is told
		fixedFlow{tally.Stats{Flow: "c", Time: time.Unix(2, 0), Status: tally.OK, Stream: &tally.Stream{}}},
	})

	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(m)

	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP relay_captured_changes_total Events of the source counted so far; from the stream's tail: survives restarts.
# TYPE relay_captured_changes_total counter
relay_captured_changes_total{flow="a"} 10
# HELP relay_changes_total Events of the source that are settled, by result; from the checkpoints: survives restarts.
# TYPE relay_changes_total counter
relay_changes_total{flow="a",result="failed"} 1
relay_changes_total{flow="a",result="processed"} 6
relay_changes_total{flow="a",result="skipped"} 2
# HELP relay_dead_letters Records of events given up after the last retry and neither replayed, discarded nor superseded since; counted up to 10000.
# TYPE relay_dead_letters gauge
relay_dead_letters{flow="a"} 3
# HELP relay_gone_instances Instances that were taken for gone within the last hour without having said that they stop, and that no process replaced; absent while nobody can be heard.
# TYPE relay_gone_instances gauge
relay_gone_instances{flow="a",role="listener"} 2
relay_gone_instances{flow="a",role="processor"} 0
# HELP relay_lag_seconds Age of the oldest event not captured (stage capture) or not applied (stage apply).
# TYPE relay_lag_seconds gauge
relay_lag_seconds{flow="a",stage="apply"} 1.5
relay_lag_seconds{flow="a",stage="capture"} 0
# HELP relay_parked_changes Events set aside that wait to be applied; part of the pending ones.
# TYPE relay_parked_changes gauge
relay_parked_changes{flow="a"} 1
# HELP relay_partition_owned 1 for a partition whose owner reports, else 0; absent while nobody can be heard.
# TYPE relay_partition_owned gauge
relay_partition_owned{flow="a",partition="7"} 1
relay_partition_owned{flow="a",partition="8"} 0
# HELP relay_partition_pending_changes Events published to the partition and not settled, those set aside included.
# TYPE relay_partition_pending_changes gauge
relay_partition_pending_changes{flow="a",partition="7"} 1
# HELP relay_pause_start_timestamp_seconds Since when the flow (namespace empty) or a namespace is paused, in seconds since 1970, by whom and why, in at most 200 bytes; gone when it is resumed.
# TYPE relay_pause_start_timestamp_seconds gauge
relay_pause_start_timestamp_seconds{by="ann from 127.0.0.1:9",flow="a",ns="",reason="`+strings.Repeat("é", 100)+`…"} 1.70000000025e+09
relay_pause_start_timestamp_seconds{by="bob",flow="a",ns="shop.orders",reason=""} 5
# HELP relay_paused 1 while a person has paused the flow, 0 while it runs; absent while the target cannot be asked.
# TYPE relay_paused gauge
relay_paused{flow="a"} 1
# HELP relay_paused_namespaces Namespaces that persons have paused; absent while the target cannot be asked.
# TYPE relay_paused_namespaces gauge
relay_paused_namespaces{flow="a"} 2
# HELP relay_pending_changes Events published and not settled.
# TYPE relay_pending_changes gauge
relay_pending_changes{flow="a"} 1
# HELP relay_sample_timestamp_seconds When the sample was taken that all series of the flow are of, in seconds since 1970; sample_time of the API.
# TYPE relay_sample_timestamp_seconds gauge
relay_sample_timestamp_seconds{flow="a"} 1.8000000005e+09
relay_sample_timestamp_seconds{flow="b"} 1
relay_sample_timestamp_seconds{flow="c"} 2
# HELP relay_silent_instances Instances that have said nothing for four fifths of LEASE_TTL: killed, frozen or cut off, until they are heard or taken for gone; absent while nobody can be heard.
# TYPE relay_silent_instances gauge
relay_silent_instances{flow="a",role="listener"} 0
relay_silent_instances{flow="a",role="processor"} 1
# HELP relay_state 1 for the status that the flow has, 0 for all others.
# TYPE relay_state gauge
relay_state{flow="a",state="DEGRADED"} 0
relay_state{flow="a",state="DIVERGED"} 0
relay_state{flow="a",state="DOWN"} 0
relay_state{flow="a",state="OK"} 1
relay_state{flow="a",state="UNKNOWN"} 0
relay_state{flow="b",state="DEGRADED"} 0
relay_state{flow="b",state="DIVERGED"} 0
relay_state{flow="b",state="DOWN"} 0
relay_state{flow="b",state="OK"} 0
relay_state{flow="b",state="UNKNOWN"} 1
relay_state{flow="c",state="DEGRADED"} 0
relay_state{flow="c",state="DIVERGED"} 0
relay_state{flow="c",state="DOWN"} 0
relay_state{flow="c",state="OK"} 1
relay_state{flow="c",state="UNKNOWN"} 0
# HELP relay_stream_bytes Size of the flow's stream.
# TYPE relay_stream_bytes gauge
relay_stream_bytes{flow="a"} 3456
relay_stream_bytes{flow="c"} 0
# HELP relay_stream_max_bytes Size at which the flow's stream is full; absent for one without a limit.
# TYPE relay_stream_max_bytes gauge
relay_stream_max_bytes{flow="a"} 1.048576e+06
# HELP relay_stream_messages Messages that the flow's stream holds, the applied ones that were not purged included.
# TYPE relay_stream_messages gauge
relay_stream_messages{flow="a"} 12
relay_stream_messages{flow="c"} 0
`)))
}

// slowFlow is answered when the time of the scrape is over.
type slowFlow struct{ name string }

func (f slowFlow) Name() string { return f.name }

func (slowFlow) Sample(ctx context.Context) (tally.Stats, error) {
	<-ctx.Done()

	return tally.Stats{}, ctx.Err()
}

// promptFlow is answered unless the time of the scrape is over.
type promptFlow struct{ fixedFlow }

func (f promptFlow) Sample(ctx context.Context) (tally.Stats, error) { return f.stats, ctx.Err() }

// A flow whose servers are slow to fail does not use up the time of the others.
func TestAScrapeDoesNotWaitForTheSlowest(t *testing.T) {
	t.Parallel()

	m := newMetrics(func() (context.Context, context.CancelFunc) { return context.WithTimeout(t.Context(), time.Second) }, []api.Flow{
		slowFlow{"a"}, promptFlow{fixedFlow{tally.Stats{Flow: "b", Status: tally.OK, Total: new(uint64(10))}}}, slowFlow{"c"},
	})

	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(m)
	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP relay_captured_changes_total Events of the source counted so far; from the stream's tail: survives restarts.
# TYPE relay_captured_changes_total counter
relay_captured_changes_total{flow="b"} 10
`), "relay_captured_changes_total"))
}
