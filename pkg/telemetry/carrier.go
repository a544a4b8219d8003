package telemetry

import (
	"context"
	"strings"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/trace"
)

const headerTraceParent = "traceparent"

// TraceParent returns the header that hands the span of ctx on; empty unless it is sampled.
func TraceParent(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return ""
	}

	carrier := HeaderCarrier{}
	Propagator().Inject(ctx, carrier)

	return carrier.Get(headerTraceParent)
}

// WithTraceParent returns a context in the span that the header names; ctx itself where it is empty or no such header.
func WithTraceParent(ctx context.Context, traceParent string) context.Context {
	if traceParent == "" {
		return ctx
	}

	return Propagator().Extract(ctx, HeaderCarrier{headerTraceParent: {traceParent}})
}

// TraceID returns the trace id, 32 hexadecimal digits, of the header "00-<trace id>-<span id>-<flags>"; empty for anything
// else.
func TraceID(traceParent string) string {
	const digits = 32

	parts := strings.Split(traceParent, "-")
	if len(parts) < 4 || len(parts[1]) != digits || strings.Trim(parts[1], "0123456789abcdef") != "" {
		return ""
	}

	return parts[1]
}

// HeaderCarrier lets a propagator read and write the headers of a NATS message. Header names of NATS are
// case-sensitive, and other writers spell traceparent in their own ways: names are written in lower case, as W3C has
// them, and read in any case.
type HeaderCarrier nats.Header

// Get returns the first value of the header, or nothing.
func (c HeaderCarrier) Get(key string) string {
	if values := c[strings.ToLower(key)]; len(values) > 0 {
		return values[0]
	}

	for name, values := range c {
		if strings.EqualFold(name, key) && len(values) > 0 {
			return values[0]
		}
	}

	return ""
}

// Set replaces the header, whatever its case was.
func (c HeaderCarrier) Set(key, value string) {
	for name := range c {
		if strings.EqualFold(name, key) {
			delete(c, name)
		}
	}

	c[strings.ToLower(key)] = []string{value}
}

// Keys lists the names of the headers, in lower case.
func (c HeaderCarrier) Keys() []string {
	keys := make([]string, 0, len(c))
	for name := range c {
		keys = append(keys, strings.ToLower(name))
	}

	return keys
}
