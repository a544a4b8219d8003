package telemetry_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/goleak"

	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func TestLoggerForms(t *testing.T) {
	t.Parallel()

	var lines bytes.Buffer

	log := telemetry.NewLogger(&lines, "listener", slog.LevelWarn, "json")
	log.Info("not this")
	log.Warn("this", slog.Int(telemetry.KeyPartition, 3))

	var line map[string]any
	require.NoError(t, json.Unmarshal(lines.Bytes(), &line))
	require.Equal(t, "this", line["msg"])
	require.Equal(t, "listener", line["service"])
	require.InEpsilon(t, 3, line["partition"], 0)

	lines.Reset()
	telemetry.NewLogger(&lines, "listener", slog.LevelInfo, "text").Info("started", slog.String(telemetry.KeyFlow, "f"))
	require.Contains(t, lines.String(), "started service=listener flow=f")
	require.NotContains(t, lines.String(), "\x1b", "no colours unless it is a terminal")
}

func TestTracingIsOffUnlessAskedFor(t *testing.T) {
	for name, c := range map[string]struct {
		environ map[string]string
		on      bool
	}{
		"nothing set":       {map[string]string{}, false},
		"an exporter":       {map[string]string{"OTEL_TRACES_EXPORTER": "console"}, true},
		"an endpoint":       {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, true},
		"a traces endpoint": {map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1"}, true},
		"none":              {map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, false},
		"disabled":          {map[string]string{"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "console"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			for key, value := range c.environ {
				t.Setenv(key, value)
			}

			provider, flush, err := telemetry.Tracing(t.Context(), "listener", c.environ, slog.New(slog.DiscardHandler))
			require.NoError(t, err)

			_, off := provider.(noop.TracerProvider)
			require.Equal(t, c.on, !off)
			require.NoError(t, flush(t.Context()))
		})
	}
}

func TestTracingRefusesAnUnknownExporter(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "carrier-pigeon")

	_, _, err := telemetry.Tracing(t.Context(), "listener", map[string]string{"OTEL_TRACES_EXPORTER": "carrier-pigeon"}, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "OTEL_TRACES_EXPORTER")
}

func TestTraceContextCrossesAMessage(t *testing.T) {
	t.Parallel()

	sent := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	header := nats.Header{"Traceparent": {"stale"}}
	telemetry.Propagator().Inject(trace.ContextWithSpanContext(t.Context(), sent), telemetry.HeaderCarrier(header))
	require.Contains(t, header, "traceparent")
	require.NotContains(t, header, "Traceparent")

	received := trace.SpanContextFromContext(telemetry.Propagator().Extract(t.Context(), telemetry.HeaderCarrier(header)))
	require.Equal(t, sent.TraceID(), received.TraceID())
	require.Equal(t, sent.SpanID(), received.SpanID())

	canonical := propagation.HeaderCarrier{}
	telemetry.Propagator().Inject(trace.ContextWithSpanContext(t.Context(), sent), canonical)
	foreign := trace.SpanContextFromContext(telemetry.Propagator().Extract(t.Context(), telemetry.HeaderCarrier(canonical)))
	require.Equal(t, sent.TraceID(), foreign.TraceID(), "another writer's Traceparent is read too")

	require.Equal(t, []string{"traceparent"}, telemetry.HeaderCarrier(header).Keys())
	require.Empty(t, telemetry.HeaderCarrier(nil).Get("traceparent"))
}

func TestTraceParentIsThatOfASampledSpan(t *testing.T) {
	t.Parallel()

	const header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

	ctx := telemetry.WithTraceParent(t.Context(), header)
	require.Equal(t, header, telemetry.TraceParent(ctx))
	require.Equal(t, "0af7651916cd43dd8448eb211c80319c", telemetry.TraceID(header))

	require.Empty(t, telemetry.TraceParent(t.Context()))
	require.Empty(t, telemetry.TraceParent(telemetry.WithTraceParent(t.Context(), strings.TrimSuffix(header, "1")+"0")), "not sampled")

	for _, broken := range []string{"", "x", "00-xyz-b7ad6b7169203331-01", "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"} {
		require.False(t, trace.SpanContextFromContext(telemetry.WithTraceParent(t.Context(), broken)).IsValid(), broken)
		require.Empty(t, telemetry.TraceID(broken), broken)
	}
}

// TestSamplingIsAsAskedFor: a share of the traces that begin here, and every one that began elsewhere and is sampled.
func TestSamplingIsAsAskedFor(t *testing.T) {
	for share, sampled := range map[string]bool{"0": false, "1": true} {
		t.Run(share, func(t *testing.T) {
			t.Setenv("OTEL_TRACES_EXPORTER", "console")
			t.Setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
			t.Setenv("OTEL_TRACES_SAMPLER_ARG", share)

			provider, flush, err := telemetry.Tracing(t.Context(), "listener", map[string]string{"OTEL_TRACES_EXPORTER": "console"}, slog.New(slog.DiscardHandler))
			require.NoError(t, err)

			defer func() { require.NoError(t, flush(t.Context())) }()

			ctx, _ := provider.Tracer("").Start(t.Context(), "root") //nolint:spancheck // it would be printed
			require.Equal(t, sampled, telemetry.TraceParent(ctx) != "")

			remote := telemetry.WithTraceParent(t.Context(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
			ctx, _ = provider.Tracer("").Start(remote, "child") //nolint:spancheck // it would be printed
			require.NotEmpty(t, telemetry.TraceParent(ctx))
		})
	}
}

func TestLinesNameTheirSpan(t *testing.T) {
	t.Parallel()

	var lines bytes.Buffer

	log := telemetry.NewLogger(&lines, "processor", slog.LevelInfo, "json").With(slog.Int(telemetry.KeyPartition, 1))
	log.InfoContext(t.Context(), "outside")
	require.NotContains(t, lines.String(), telemetry.KeyTraceID)

	lines.Reset()
	log.InfoContext(telemetry.WithTraceParent(t.Context(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), "inside")
	require.Contains(t, lines.String(), `"trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"b7ad6b7169203331"`)
}

func TestBuildInfo(t *testing.T) {
	t.Parallel()

	registry := prometheus.NewRegistry()
	require.NoError(t, registry.Register(telemetry.BuildInfo("listener")))

	count, err := testutil.GatherAndCount(registry, "relay_build_info")
	require.NoError(t, err)
	require.Equal(t, 1, count)
	require.NotEmpty(t, telemetry.Version())
}
