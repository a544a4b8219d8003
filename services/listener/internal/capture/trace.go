package capture

import (
	"context"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// traces is the beginning of every sampled event's trace; processors go on with it.
//
//	create    from the commit on the source, by its clock, until the event was read; its context is in the messages
//	publish   from there until the event's last message is proven stored
//
// Names and attributes follow the conventions for messaging of OpenTelemetry. Neither holds anything of a document.
type traces struct {
	tracer trace.Tracer // nil: none
	flow   string

	sent uint64 // messages of the session handed to the publisher
	open []publishing
}

// publishing is a span that ends when so many messages of the session are stored.
type publishing struct {
	last uint64
	span trace.Span
}

// begin starts the spans of an event that is published next, and returns the header of its messages; empty unless it is
// sampled.
func (t *traces) begin(ctx context.Context, e *event.Event, messages []event.Message) string {
	if t.tracer == nil {
		return ""
	}

	destination := event.SubjectTemplate(t.flow)
	now := time.Now()

	ctx, create := t.tracer.Start(ctx, "create "+destination,
		trace.WithSpanKind(trace.SpanKindProducer), trace.WithTimestamp(committedAt(e, now)))
	defer create.End(trace.WithTimestamp(now))

	if !create.IsRecording() {
		return telemetry.TraceParent(ctx)
	}

	last := &messages[len(messages)-1]
	attributes := []attribute.KeyValue{
		semconv.MessagingSystemKey.String("nats"),
		semconv.MessagingDestinationName(topology.StreamName(t.flow)),
		semconv.MessagingDestinationTemplate(destination),
		semconv.MessagingDestinationPartitionID(strconv.Itoa(last.Partition)),
		semconv.MessagingMessageID(last.ID()),
		semconv.MessagingMessageBodySize(len(e.Raw)),
		semconv.DBSystemNameMongoDB,
		semconv.DBNamespace(e.Namespace.DB),
		semconv.DBCollectionName(e.Namespace.Coll),
		semconv.DBOperationName(string(e.Operation)),
	}
	create.SetAttributes(attributes...)
	create.SetAttributes(semconv.MessagingOperationName("create"), semconv.MessagingOperationTypeCreate)

	//nolint:spancheck // stored or abandon ends it
	_, publish := t.tracer.Start(ctx, "publish "+destination, trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(now),
		trace.WithAttributes(attributes...), trace.WithAttributes(semconv.MessagingOperationName("publish"), semconv.MessagingOperationTypeSend))
	t.open = append(t.open, publishing{last: t.sent + uint64(len(messages)), span: publish})

	return telemetry.TraceParent(ctx) //nolint:spancheck // see above
}

// committedAt is when the source committed the event: wallTime (MongoDB 6.0), else the cluster time, which has whole
// seconds. A source whose clock is ahead did so now.
func committedAt(e *event.Event, now time.Time) time.Time {
	at, ok := e.Raw.Lookup("wallTime").TimeOK()
	if !ok {
		at = time.Unix(int64(e.ClusterTime.T), 0)
	}

	if at.After(now) {
		return now
	}

	return at
}

// stored ends the spans of what is proven stored: so many messages of the session.
func (t *traces) stored(messages uint64) {
	done := 0
	for ; done < len(t.open) && t.open[done].last <= messages; done++ {
		t.open[done].span.End()
	}

	t.open = t.open[done:]
}

// abandon ends the spans of what the next session has to look for in the stream.
func (t *traces) abandon() {
	for _, p := range t.open {
		p.span.SetStatus(codes.Error, "not known to be stored")
		p.span.End()
	}

	t.open = nil
}
