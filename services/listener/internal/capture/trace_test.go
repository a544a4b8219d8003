package capture

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
)

func recorded() (*tracetest.SpanRecorder, *traces) {
	recorder := tracetest.NewSpanRecorder()

	return recorder, &traces{tracer: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer(""), flow: "test"}
}

func TestPublishSpanEndsWhenTheLastMessageIsStored(t *testing.T) {
	t.Parallel()

	recorder, open := recorded()
	e := &event.Event{Operation: event.Insert, ClusterTime: bson.Timestamp{T: 1}}

	first := open.begin(t.Context(), e, make([]event.Message, 3)) // in three parts
	open.sent += 3
	second := open.begin(t.Context(), e, make([]event.Message, 1))
	open.sent++

	require.NotEqual(t, telemetry.TraceID(first), telemetry.TraceID(second), "each change has a trace of its own")
	require.Len(t, recorder.Ended(), 2, "both were read")

	open.stored(2)
	require.Len(t, recorder.Ended(), 2)
	open.stored(3)
	require.Len(t, recorder.Ended(), 3)
	require.Equal(t, telemetry.TraceID(first), recorder.Ended()[2].SpanContext().TraceID().String())
	require.Equal(t, codes.Unset, recorder.Ended()[2].Status().Code)

	open.abandon()
	require.Len(t, recorder.Ended(), 4)
	require.Equal(t, codes.Error, recorder.Ended()[3].Status().Code)
	require.Empty(t, open.open)
}

func TestTraceBeginsWithTheCommitOnTheSource(t *testing.T) {
	t.Parallel()

	now := time.Now().Truncate(time.Millisecond)

	document := func(at time.Time) bson.Raw {
		raw, err := bson.Marshal(bson.D{{Key: "wallTime", Value: at}})
		require.NoError(t, err)

		return raw
	}

	for name, c := range map[string]struct {
		event event.Event
		want  time.Time
	}{
		"wall time":    {event.Event{Raw: document(now.Add(-time.Second)), ClusterTime: bson.Timestamp{T: 7}}, now.Add(-time.Second)},
		"cluster time": {event.Event{ClusterTime: bson.Timestamp{T: 7}}, time.Unix(7, 0)},
		"clock ahead":  {event.Event{Raw: document(now.Add(time.Hour))}, now},
	} {
		require.True(t, c.want.Equal(committedAt(&c.event, now)), name)
	}
}

func TestWithoutSamplingNothingIsKept(t *testing.T) {
	t.Parallel()

	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample()), sdktrace.WithSpanProcessor(recorder))

	for _, open := range []*traces{{}, {tracer: provider.Tracer(""), flow: "test"}} {
		require.Empty(t, open.begin(t.Context(), &event.Event{}, make([]event.Message, 1)))
		require.Empty(t, open.open)
	}

	require.Empty(t, recorder.Ended())
}
