package e2e_test

import (
	"context"
	"encoding/hex"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// receiver is a collector of OpenTelemetry that keeps what it gets.
type receiver struct {
	collector.UnimplementedTraceServiceServer

	addr string

	mu    sync.Mutex
	spans []span
}

// span is one as it came in, with the service that sent it.
type span struct {
	*tracev1.Span

	service string
}

// receive starts a collector that ends with the test.
func receive(t *testing.T) *receiver {
	t.Helper()

	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)

	r, server := &receiver{addr: listener.Addr().String()}, grpc.NewServer()
	collector.RegisterTraceServiceServer(server, r)

	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	t.Cleanup(func() {
		server.Stop()
		require.NoError(t, <-served)
	})

	return r
}

// Export implements the collector's service.
func (r *receiver) Export(_ context.Context, request *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()

	for _, resource := range request.GetResourceSpans() {
		service := attribute(resource.GetResource().GetAttributes(), "service.name")

		for _, scope := range resource.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				r.spans = append(r.spans, span{s, service})
			}
		}
	}

	return &collector.ExportTraceServiceResponse{}, nil
}

// environment are the settings of services that send every trace here.
func (r *receiver) environment() map[string]string {
	return map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": "http://" + r.addr,
		"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
		"OTEL_TRACES_SAMPLER":         "parentbased_traceidratio",
		"OTEL_TRACES_SAMPLER_ARG":     "1",
		"OTEL_BSP_SCHEDULE_DELAY":     "100", // milliseconds
	}
}

// find returns those that have come so far and for which the condition holds.
func (r *receiver) find(holds func(span) bool) []span {
	r.mu.Lock()
	defer r.mu.Unlock()

	return slices.DeleteFunc(slices.Clone(r.spans), func(s span) bool { return !holds(s) })
}

// await waits until so many have come for which the condition holds.
func (r *receiver) await(t *testing.T, n int, what string, holds func(span) bool) []span {
	t.Helper()

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	err := harness.Await(ctx, lookEvery, func(context.Context) (bool, error) { return len(r.find(holds)) >= n, nil })
	require.NoError(t, err, "%s: there are %d of %d", what, len(r.find(holds)), n)

	return r.find(holds)
}

// get is an attribute as text; empty where there is none.
func (s span) get(key string) string { return attribute(s.GetAttributes(), key) }

func (s span) trace() string { return hex.EncodeToString(s.GetTraceId()) }

func attribute(attributes []*commonv1.KeyValue, key string) string {
	for _, a := range attributes {
		if a.GetKey() == key {
			return a.GetValue().GetStringValue()
		}
	}

	return ""
}
