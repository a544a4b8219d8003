package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/lifecycle"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Abandoned()...) }

const (
	patience = 30 * time.Second
	glance   = 20 * time.Millisecond
)

func TestConfigurationMistakesAreListedAtOnce(t *testing.T) {
	t.Parallel()

	err := realMain(t.Context(), nil, map[string]string{
		"FLOW":               "Not A Flow",
		"INCLUDE_NAMESPACES": "shop",
		"FULL_DOCUMENT":      "always",
		"LOG_LEVEL":          "loud",
		"SHUTDOWN_GRACE":     "soon",
		"NATS_URL":           "nats://user:hunter2@127.0.0.1:4222",
	})
	require.Equal(t, 2, lifecycle.ExitCode(err))

	for _, name := range []string{"FLOW", "INCLUDE_NAMESPACES", "FULL_DOCUMENT", "LOG_LEVEL", "SHUTDOWN_GRACE", "SOURCE_URI"} {
		require.ErrorContains(t, err, name)
	}

	require.NotContains(t, err.Error(), "hunter2")
}

func TestSourceThatCannotBeWatchedIsRefused(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		options mongotest.Options
		uri     func(*mongotest.Server) string
		says    string
	}{
		"standalone": {
			options: mongotest.Options{Standalone: true},
			uri:     func(s *mongotest.Server) string { return s.URI().Reveal() },
			says:    "standalone",
		},
		"wrong password": {
			options: mongotest.Options{Username: "relay", Password: "right"},
			uri: func(s *mongotest.Server) string {
				return "mongodb://relay:wrong@" + s.Addr() + "/?authSource=admin&directConnection=true"
			},
			says: "password",
		},
	}

	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			server := mongotest.New(t, test.options)
			err := realMain(t.Context(), nil, map[string]string{
				"SOURCE_URI": test.uri(server), "OPS_ADDR": "off", "LOG_LEVEL": "error",
			})
			require.Equal(t, 2, lifecycle.ExitCode(err), "%v", err)
			require.ErrorContains(t, err, test.says)
			require.NotContains(t, err.Error(), "wrong@")
		})
	}
}

// TestRunReportsAndStops starts the listener as main does, without a stream,
// and follows what it tells: readiness, report, clean stop.
func TestRunReportsAndStops(t *testing.T) {
	t.Parallel()

	source := mongotest.New(t, mongotest.Options{})
	nats := natstest.New(t)
	js := nats.JetStream(t)

	bucket, err := js.CreateKeyValue(t.Context(), topology.StatsConfig())
	require.NoError(t, err)

	addr := freeAddr(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)

	go func() {
		done <- realMain(ctx, nil, map[string]string{
			"FLOW": "test", "SOURCE_URI": source.URI().Reveal(), "NATS_URL": nats.URL(), "OPS_ADDR": addr, "LOG_LEVEL": "error",
		})
	}()

	require.Eventually(t, func() bool {
		status, body := get(t, "http://"+addr+"/readyz")

		return status == http.StatusServiceUnavailable && len(body.Reasons) == 1 &&
			body.Reasons[0].Part == "capture" && len(body.Reasons[0].Reason) > len("STARTING: ")
	}, patience, 20*time.Millisecond)

	// The health check of the image asks the same.
	require.ErrorContains(t, realMain(t.Context(), []string{"healthcheck"}, map[string]string{"OPS_ADDR": addr}), "STARTING")

	var report relayv1.ListenerReport

	require.Eventually(t, func() bool {
		keys, err := bucket.Keys(t.Context())
		if err != nil || len(keys) != 1 {
			return false
		}

		entry, err := bucket.Get(t.Context(), keys[0])

		return err == nil && proto.Unmarshal(entry.Value(), &report) == nil &&
			strings.Contains(report.GetReason(), "relayctl flow init")
	}, patience, 20*time.Millisecond)
	require.Equal(t, "test", report.GetFlow())
	require.Equal(t, relayv1.ListenerState_LISTENER_STATE_STARTING, report.GetState())

	stop()
	require.NoError(t, <-done)

	_, err = bucket.Keys(t.Context())
	require.Error(t, err, "the report is gone with its instance")
}

func freeAddr(t *testing.T) string {
	t.Helper()

	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)

	defer l.Close()

	return l.Addr().String()
}

type readinessBody struct {
	Reasons, Notes []struct {
		Part   string `json:"part"`
		Reason string `json:"reason"`
	}
}

func get(t *testing.T, url string) (int, readinessBody) {
	t.Helper()

	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

	response, err := client.Do(request)
	if err != nil {
		return 0, readinessBody{}
	}
	defer response.Body.Close()

	var body readinessBody

	require.NoError(t, json.NewDecoder(response.Body).Decode(&body))

	return response.StatusCode, body
}
