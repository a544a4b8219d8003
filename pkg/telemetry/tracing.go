package telemetry

import (
	"context"
	"fmt"
	"log/slog"

	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Tracing makes the tracer provider that the OTEL_* variables of the process ask for
// (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/), with one difference: without
// OTEL_TRACES_EXPORTER and without an OTLP endpoint nothing is exported and spans cost nothing. environ is used only to
// see whether one of these is set; the SDK reads the variables itself. The caller must call the returned function to
// flush what is left.
//
// Trouble of the exporter goes to log. The SDK reports it through a hook of the whole process only, which this sets.
func Tracing(ctx context.Context, service string, environ map[string]string, log *slog.Logger) (trace.TracerProvider, func(context.Context) error, error) {
	if !exports(environ) {
		return noop.NewTracerProvider(), func(context.Context) error { return nil }, nil
	}

	exporter, err := autoexport.NewSpanExporter(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("set up tracing (OTEL_TRACES_EXPORTER): %w", err)
	}

	described, err := resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", service), attribute.String("service.version", Version())),
		resource.WithFromEnv(), // last, so that OTEL_SERVICE_NAME wins
	)
	if err != nil {
		return nil, nil, fmt.Errorf("set up tracing (OTEL_RESOURCE_ATTRIBUTES): %w", err)
	}

	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		log.LogAttrs(context.WithoutCancel(ctx), slog.LevelWarn, "telemetry export failed", slog.Any(KeyError, err))
	}))

	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(described))

	return provider, provider.Shutdown, nil
}

func exports(environ map[string]string) bool {
	if environ["OTEL_SDK_DISABLED"] == "true" || environ["OTEL_TRACES_EXPORTER"] == "none" {
		return false
	}

	return environ["OTEL_TRACES_EXPORTER"] != "" ||
		environ["OTEL_EXPORTER_OTLP_ENDPOINT"] != "" || environ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] != ""
}

// Propagator carries trace context and baggage in the W3C forms.
func Propagator() propagation.TextMapPropagator {
	return propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
}
