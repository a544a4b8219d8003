package ownership

import (
	"context"
	"log/slog"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/park"
)

// keyOutcome is the attribute that says what a transaction did with an event.
const keyOutcome = "relay.outcome"

// traced is what a transaction of a batch leaves in traces:
//
//	process, of the batch    a trace of its own, sampled by itself, that links to all its sampled events
//	process, of an event     in the event's trace, which it ends: one for each sampled event, with a link to the batch
//
// Their names are the same and tell that both are one act; the batch's has messaging.batch.message_count.
type traced struct {
	batch  trace.Span
	events []tracedEvent
}

type tracedEvent struct {
	item int // index in the lot
	span trace.Span
}

// trace starts the spans of a transaction; the caller ends them. Parked events are tried outside their traces.
func (l *lane) trace(ctx context.Context, u *unit) (context.Context, *traced) {
	var (
		t     traced
		links []trace.Link
	)

	for _, d := range u.batch {
		if d.Message.TraceParent != "" {
			links = append(links, trace.LinkFromContext(telemetry.WithTraceParent(ctx, d.Message.TraceParent)))
		}
	}

	name := "process " + event.SubjectTemplate(l.options.Flow)
	attributes := trace.WithAttributes(
		semconv.MessagingSystemKey.String("nats"),
		semconv.MessagingOperationName("process"),
		semconv.MessagingOperationTypeProcess,
		semconv.MessagingDestinationName(topology.StreamName(l.options.Flow)),
		semconv.MessagingDestinationTemplate(event.SubjectTemplate(l.options.Flow)),
		semconv.MessagingDestinationPartitionID(strconv.Itoa(l.number)),
		semconv.DBSystemNameMongoDB,
	)

	//nolint:spancheck // end does
	ctx, t.batch = l.options.Tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithLinks(links...), attributes,
		trace.WithAttributes(semconv.MessagingBatchMessageCount(len(u.lot.Items))))

	for i, d := range u.batch {
		if d.Message.TraceParent == "" {
			continue
		}

		m := &d.Message
		_, span := l.options.Tracer.Start(telemetry.WithTraceParent(ctx, m.TraceParent), name,
			trace.WithSpanKind(trace.SpanKindConsumer), trace.WithLinks(trace.LinkFromContext(ctx)), attributes,
			trace.WithAttributes(
				semconv.MessagingMessageID(m.ID()),
				semconv.MessagingMessageBodySize(len(d.Event.Raw)),
				semconv.DBNamespace(m.Namespace.DB),
				semconv.DBCollectionName(m.Namespace.Coll),
				semconv.DBOperationName(string(d.Event.Operation)),
			))
		t.events = append(t.events, tracedEvent{i, span})
	}

	return ctx, &t
}

// failed says that the transaction was not committed. Why may show a document, so the log of states says it.
func (t *traced) failed() {
	t.batch.SetStatus(codes.Error, "not committed")

	for _, e := range t.events {
		e.span.SetStatus(codes.Error, "not committed")
	}
}

// committed says what the transaction did with each event.
func (t *traced) committed(lot *park.Lot) {
	for _, e := range t.events {
		outcome := "applied"

		switch lot.Items[e.item].Fate {
		case park.Skip:
			outcome = "skipped"
		case park.Follow, park.Refuse, park.Keep, park.Drop:
			outcome = "parked"
		case park.Apply:
		}

		e.span.SetAttributes(attribute.String(keyOutcome, outcome))
	}
}

func (t *traced) end() {
	for _, e := range t.events {
		e.span.End()
	}

	t.batch.End()
}

// tellParked logs the sampled events that were set aside, each in its trace. All of them are listed by relayctl
// dead-letters list --state waiting; a line for each would drown the log.
func (l *lane) tellParked(ctx context.Context, u *unit, fx *park.Effects) {
	for i := range fx.Inserts {
		in := &fx.Inserts[i]
		if d := u.batch[in.Item]; d.Message.TraceParent != "" {
			l.log.InfoContext(telemetry.WithTraceParent(ctx, d.Message.TraceParent), "event set aside",
				slog.String("record", in.Entry.ID), slog.String(telemetry.KeyNamespace, d.Event.Namespace.String()),
				slog.String(telemetry.KeyOperation, string(d.Event.Operation)), slog.String(telemetry.KeyReason, string(in.Entry.Reason)))
		}
	}
}
