//go:build compose

package compose_test

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// traces is what Jaeger answers to a search.
type traces struct {
	Data []trace `json:"data"`
}

type trace struct {
	Spans     []span `json:"spans"`
	Processes map[string]struct {
		Service string `json:"serviceName"`
	} `json:"processes"`
}

type span struct {
	ID         string `json:"spanID"`
	Process    string `json:"processID"`
	Start      int64  `json:"startTime"` // microseconds since 1970
	Duration   int64  `json:"duration"`  // microseconds
	References []struct {
		Kind string `json:"refType"`
		ID   string `json:"spanID"`
	} `json:"references"`
	Tags []struct {
		Key   string `json:"key"`
		Value any    `json:"value"`
	} `json:"tags"`
}

// tag is an attribute of the span; empty where there is none.
func (s span) tag(key string) string {
	for _, tag := range s.Tags {
		if text, ok := tag.Value.(string); ok && tag.Key == key {
			return text
		}
	}

	return ""
}

// parents are the spans that this one is a child of.
func (s span) parents() []string {
	var ids []string

	for _, r := range s.References {
		if r.Kind == "CHILD_OF" {
			ids = append(ids, r.ID)
		}
	}

	return ids
}

// steps are the spans of the trace by what was done.
func (t trace) steps() map[string]span {
	steps := map[string]span{}
	for _, s := range t.Spans {
		steps[s.tag("messaging.operation.name")] = s
	}

	return steps
}

// TestTraceArrives: with the profile as README says, Jaeger has the trace of a change, one from its commit on the source to
// its commit on the target.
func TestTraceArrives(t *testing.T) {
	s := up(t)

	s.compose.Env = map[string]string{"COMPOSE_PROFILES": observability, "OTEL_TRACES_SAMPLER_ARG": "1"}

	t.Cleanup(func() { // the next test has services without traces
		s.compose.Env = nil
		_, err := s.compose.Run(context.WithoutCancel(t.Context()), "up", "--wait")
		require.NoError(t, err)
	})

	s.watch(t, "jaeger", "jaegertracing/jaeger:2.13.0")

	_, err := s.compose.Run(t.Context(), "up", "--wait", "listener", "processor")
	require.NoError(t, err)

	query := url.Values{
		"service": {harness.Processor},
		"tags":    {`{"db.namespace":"` + s.arrives(t, s.source) + `","db.operation.name":"insert"}`},
	}

	found := await(t, "http://127.0.0.1:16686/api/traces?"+query.Encode(), func(a traces) bool {
		return len(a.Data) > 0 && len(a.Data[0].steps()) == 3
	})
	require.Len(t, found.Data, 1)

	steps := found.Data[0].steps()
	require.Equal(t, []string{"create", "process", "publish"}, slices.Sorted(maps.Keys(steps)))

	create, publish, process := steps["create"], steps["publish"], steps["process"]
	require.Empty(t, create.parents())
	require.Equal(t, []string{create.ID}, publish.parents())
	require.Equal(t, []string{create.ID}, process.parents())
	require.LessOrEqual(t, create.Start, publish.Start)
	require.LessOrEqual(t, publish.Start, process.Start+process.Duration)
	require.Equal(t, "applied", process.tag("relay.outcome"))

	services := found.Data[0].Processes
	require.Equal(t, harness.Listener, services[create.Process].Service)
	require.Equal(t, harness.Listener, services[publish.Process].Service)
	require.Equal(t, harness.Processor, services[process.Process].Service)
}
