package e2e_test

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

const lookEvery = 50 * time.Millisecond

// TestTraceOfOneChange follows a change from its commit on the source, across the queue, to its commit on the target, and
// another one into its dead letter.
func TestTraceOfOneChange(t *testing.T) {
	r := receive(t)
	environment := r.environment()
	environment["BYPASS_VALIDATION"], environment["MAX_RETRIES"], environment["RETRY_DELAYS"] = "false", "1", "100ms"
	s := openWith(t, environment)

	require.NoError(t, s.source().CreateCollection(t.Context(), "orders"))

	s.made = func() { s.refuseBad(s.target(), "orders") }
	s.replicate()

	_, err := s.source().Collection("orders").InsertOne(t.Context(), bson.D{{Key: "_id", Value: 1}})
	require.NoError(t, err)
	s.await("one change applied", harness.Applied(1))

	s.requireTrace(r, "applied", 1)

	_, err = s.source().Collection("orders").InsertOne(t.Context(), bson.D{{Key: "_id", Value: 2}, {Key: "bad", Value: true}})
	require.NoError(t, err)
	s.await("a dead letter", func(sample *relayv1.Stats) bool { return sample.GetFailedChanges() == 1 })

	trace := s.requireTrace(r, "parked", 2)

	letters, err := s.relay.DeadLetters(t.Context())
	require.NoError(t, err)
	require.Len(t, letters, 1)
	require.Equal(t, trace, letters[0].GetTraceId())

	out, code, err := s.relay.Ctl(t.Context(), "dead-letters", "show", letters[0].GetName())
	require.NoError(t, err)
	require.Zero(t, code, out)
	require.Contains(t, out, trace)

	log, err := os.ReadFile(s.relay.Processors()[0].LogFile())
	require.NoError(t, err)
	require.True(t, strings.Contains(string(log), `"msg":"event set aside"`) && strings.Contains(string(log), `"trace_id":"`+trace+`"`), "%s", log)
}

// requireTrace checks the whole trace of the nth change, and that its message carries it. It returns the trace's id.
func (s *scenario) requireTrace(r *receiver, outcome string, nth int) string {
	t := s.t
	t.Helper()

	of := func(operation string) func(span) bool {
		return func(s span) bool { return s.get("messaging.operation.name") == operation }
	}

	creates := r.await(t, nth, "changes created", of("create"))
	create := creates[nth-1]

	inTrace := func(operation string) func(span) bool {
		return func(s span) bool { return of(operation)(s) && s.trace() == create.trace() }
	}

	publish := r.await(t, 1, "published", inTrace("publish"))[0]
	process := r.await(t, 1, "processed", func(s span) bool { return inTrace("process")(s) && s.get("relay.outcome") == outcome })[0]
	// A transaction that the target refused has spans of its own: the one that counts is the one that was committed.
	batch := r.await(t, 1, "the batch", func(s span) bool { return of("process")(s) && linksTo(s, create) && linksTo(process, s) })[0]

	// One trace, in the order of the data. The time of the commit is the source's, on the same clock here.
	require.Empty(t, create.GetParentSpanId())
	require.Equal(t, create.GetSpanId(), publish.GetParentSpanId())
	require.Equal(t, create.GetSpanId(), process.GetParentSpanId())
	require.LessOrEqual(t, create.GetStartTimeUnixNano(), create.GetEndTimeUnixNano())
	require.LessOrEqual(t, create.GetEndTimeUnixNano(), publish.GetStartTimeUnixNano())
	require.LessOrEqual(t, publish.GetStartTimeUnixNano(), process.GetStartTimeUnixNano())

	// The batch has a trace of its own: links lead from one to the other.
	require.NotEqual(t, create.trace(), batch.trace())
	require.Empty(t, batch.GetParentSpanId())

	require.Equal(t, []tracev1.Span_SpanKind{
		tracev1.Span_SPAN_KIND_PRODUCER, tracev1.Span_SPAN_KIND_CLIENT, tracev1.Span_SPAN_KIND_CONSUMER, tracev1.Span_SPAN_KIND_CONSUMER,
	}, []tracev1.Span_SpanKind{create.GetKind(), publish.GetKind(), process.GetKind(), batch.GetKind()})

	for _, one := range []span{create, publish, process, batch} {
		require.Equal(t, one.get("messaging.operation.name")+" cdc.test.{partition}.{db}.{coll}", one.GetName())
		require.Equal(t, "nats", one.get("messaging.system"))
		require.Equal(t, "CDC_test", one.get("messaging.destination.name"))
		require.Equal(t, "cdc.test.{partition}.{db}.{coll}", one.get("messaging.destination.template"))
		require.Equal(t, create.get("messaging.destination.partition.id"), one.get("messaging.destination.partition.id"))
	}

	for _, one := range []span{create, publish, process} {
		require.Equal(t, s.db, one.get("db.namespace"))
		require.Equal(t, "orders", one.get("db.collection.name"))
		require.Equal(t, "insert", one.get("db.operation.name"))
		require.Equal(t, create.get("messaging.message.id"), one.get("messaging.message.id"))
	}

	require.Equal(t, []string{harness.Listener, harness.Listener, harness.Processor, harness.Processor},
		[]string{create.service, publish.service, process.service, batch.service})

	message := s.message(create.get("messaging.message.id"))
	require.Equal(t, []string{"00-" + create.trace() + "-" + hex.EncodeToString(create.GetSpanId()) + "-01"}, message.Header["traceparent"], "in lower case, as others read it")

	return create.trace()
}

func linksTo(from, to span) bool {
	for _, link := range from.GetLinks() {
		if string(link.GetTraceId()) == string(to.GetTraceId()) && string(link.GetSpanId()) == string(to.GetSpanId()) {
			return true
		}
	}

	return false
}

// message is the message of the flow's stream with this id.
func (s *scenario) message(id string) *jetstream.RawStreamMsg {
	s.t.Helper()

	nc, js, err := s.world.NATS.JetStream()
	require.NoError(s.t, err)
	defer nc.Close()

	stream, err := js.Stream(s.t.Context(), topology.StreamName("test"))
	require.NoError(s.t, err)

	info := stream.CachedInfo()
	for sequence := info.State.FirstSeq; sequence <= info.State.LastSeq; sequence++ {
		message, err := stream.GetMsg(s.t.Context(), sequence)
		require.NoError(s.t, err)

		if message.Header.Get("Nats-Msg-Id") == id {
			return message
		}
	}

	require.Fail(s.t, "no message has the id "+id)

	return nil
}
