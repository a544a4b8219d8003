//go:build compose

package compose_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/standins"
)

// observability is the profile of what watches the rest.
const observability = "observability"

// watch brings a service of the profile up beside the others, until the test ends. Where its image cannot be had a stand-in
// takes its place.
func (s *stack) watch(t *testing.T, service, image string) (standIn bool) {
	t.Helper()

	provided, err := standins.Provide(t.Context(), s.docker, os.Stderr, image)
	require.NoError(t, err)

	t.Cleanup(func() { require.NoError(t, provided.Remove(context.WithoutCancel(t.Context()))) })

	t.Cleanup(func() {
		_, err := s.compose.Run(context.WithoutCancel(t.Context()), "--profile", observability, "rm", "--stop", "--force", "--volumes", service)
		require.NoError(t, err)
	})

	_, err = s.compose.Run(t.Context(), "--profile", observability, "up", "--wait", "--no-deps", service)
	require.NoError(t, err)

	return len(provided.Made()) > 0
}

// TestPrometheusScrapes: with the profile, every service of ours is found and scraped, says its version, and the alerts are
// understood. Grafana is brought up too where its image can be had.
func TestPrometheusScrapes(t *testing.T) {
	s := up(t)

	if standIn := s.watch(t, "prometheus", "prom/prometheus:v3.5.0"); standIn {
		t.Logf("NOT TRIED: %v", standins.NotMade())
	} else {
		s.watch(t, "grafana", "grafana/grafana:12.1.0")
	}

	scraped := []string{"listener", "processor", "stats"}

	awaitAnswer(t, "/api/v1/targets", func(a answer) bool {
		var up []string

		for _, target := range a.Data.ActiveTargets {
			if target.Health == "up" {
				up = append(up, target.Labels["job"])
			}
		}

		slices.Sort(up)

		return slices.Equal(up, scraped)
	})

	version := s.git(t, "describe", "--tags", "--always", "--dirty")

	awaitAnswer(t, "/api/v1/query?query=relay_build_info", func(a answer) bool {
		for _, series := range a.Data.Result {
			require.Equal(t, version, series.Metric["version"], series.Metric["job"])
		}

		return len(a.Data.Result) == len(scraped)
	})

	alerts, err := os.ReadFile(filepath.Join(s.compose.Dir, "deploy", "prometheus", "alerts.yml"))
	require.NoError(t, err)

	rules := strings.Count(string(alerts), "- alert:") + strings.Count(string(alerts), "- record:")
	require.Positive(t, rules)

	awaitAnswer(t, "/api/v1/rules", func(a answer) bool {
		evaluated := 0

		for _, group := range a.Data.Groups {
			for _, rule := range group.Rules {
				require.Contains(t, []string{"ok", "unknown"}, rule.Health, "%s: %s", rule.Name, rule.LastError)

				if rule.Health == "ok" {
					evaluated++
				}
			}
		}

		return evaluated == rules
	})
	t.Logf("%d rules evaluated", rules)
}

// answer is what Prometheus says of its targets and rules, as far as it is looked at.
type answer struct {
	Data struct {
		ActiveTargets []struct {
			Health string            `json:"health"`
			Labels map[string]string `json:"labels"`
		} `json:"activeTargets"`
		Groups []struct {
			Rules []struct {
				Name      string `json:"name"`
				Health    string `json:"health"`
				LastError string `json:"lastError"`
			} `json:"rules"`
		} `json:"groups"`
		Result []struct {
			Metric map[string]string `json:"metric"`
		} `json:"result"`
	} `json:"data"`
}

func awaitAnswer(t *testing.T, path string, condition func(answer) bool) {
	t.Helper()
	await(t, "http://127.0.0.1:9090"+path, condition)
}

// await asks for JSON until a condition holds for it, and returns that answer.
func await[T any](t *testing.T, url string, condition func(T) bool) T {
	t.Helper()

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	var last T

	err := harness.Await(ctx, time.Second, func(ctx context.Context) (bool, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return false, err
		}

		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return false, err
		}
		defer response.Body.Close()

		var answer T
		if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
			return false, err
		}

		last = answer

		return condition(answer), nil
	})
	require.NoError(t, err, "%s says %+v", url, last)

	return last
}
