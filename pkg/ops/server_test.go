package ops_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/atlas-relay/atlas-relay/pkg/ops"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// serve runs a server for the test and returns it with the function that stops it and waits.
func serve(t *testing.T, health *ops.Health) (*ops.Server, func()) {
	t.Helper()

	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "relay_test", Help: "A metric."}))

	server, err := ops.Listen(t.Context(), "127.0.0.1:0", health, registry)
	require.NoError(t, err)

	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)

	go func() { served <- server.Serve(ctx) }()

	stop := func() {
		cancel()

		if served != nil {
			require.NoError(t, <-served)
			served = nil
		}
	}
	t.Cleanup(stop)

	return server, stop
}

func get(t *testing.T, server *ops.Server, path string) (int, string) {
	t.Helper()

	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+server.Addr()+path, nil)
	require.NoError(t, err)

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	require.NoError(t, err)

	defer response.Body.Close()

	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)

	return response.StatusCode, string(body)
}

func TestReadyOnlyWhenEveryPartIs(t *testing.T) {
	t.Parallel()

	var health ops.Health

	server, _ := serve(t, &health)
	status, body := get(t, server, "/readyz")
	require.Equal(t, 200, status)
	require.JSONEq(t, `{"status":"ready"}`, body)

	nats, capture := health.Part("nats"), health.Part("capture")
	status, body = get(t, server, "/readyz")
	require.Equal(t, 503, status)
	require.JSONEq(t, `{"status":"not ready","reasons":[{"part":"capture","reason":"starting"},{"part":"nats","reason":"starting"}]}`, body)

	nats.Ready()
	capture.ReadyThough("standing by")
	status, body = get(t, server, "/readyz")
	require.Equal(t, 200, status)
	require.JSONEq(t, `{"status":"ready","notes":[{"part":"capture","reason":"standing by"}]}`, body)

	capture.Ready()
	require.Empty(t, health.NotReady())
	require.Empty(t, health.Notes())

	nats.NotReady("disconnected")
	_, body = get(t, server, "/readyz")
	require.JSONEq(t, `{"status":"not ready","reasons":[{"part":"nats","reason":"disconnected"}]}`, body)

	nats.Ready()
	health.Stopping()
	status, body = get(t, server, "/readyz")
	require.Equal(t, 503, status)
	require.Contains(t, body, "shutting down")
}

func TestAliveWhileTheLoopsTurn(t *testing.T) {
	t.Parallel()

	var health ops.Health

	server, _ := serve(t, &health)
	health.Pulse("capture", time.Hour)

	status, _ := get(t, server, "/livez")
	require.Equal(t, 200, status)

	late := health.Pulse("apply", time.Nanosecond)
	require.Eventually(t, func() bool { return len(health.NotAlive()) > 0 }, time.Second, time.Millisecond)

	status, body := get(t, server, "/livez")
	require.Equal(t, 503, status)
	require.Contains(t, body, `"part":"apply"`)

	status, _ = get(t, server, "/readyz")
	require.Equal(t, 200, status, "alive and ready are two questions")
	late.Beat()
}

func TestMetricsAndProfiles(t *testing.T) {
	t.Parallel()

	server, _ := serve(t, &ops.Health{})

	status, body := get(t, server, "/metrics")
	require.Equal(t, 200, status)
	require.Contains(t, body, "relay_test 0")

	status, _ = get(t, server, "/debug/pprof/goroutine?debug=1")
	require.Equal(t, 200, status)
	status, _ = get(t, server, "/")
	require.Equal(t, 404, status)
}

func TestATakenPortIsAnErrorAtStart(t *testing.T) {
	t.Parallel()

	server, _ := serve(t, &ops.Health{})
	_, err := ops.Listen(t.Context(), server.Addr(), &ops.Health{}, prometheus.NewRegistry())
	require.ErrorContains(t, err, "OPS_ADDR")
}

func TestStopDoesNotWaitForAProfile(t *testing.T) {
	t.Parallel()

	server, stop := serve(t, &ops.Health{})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+server.Addr()+"/debug/pprof/trace?seconds=60", nil)
	require.NoError(t, err)

	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request) // headers come at once
	require.NoError(t, err)

	defer response.Body.Close()

	begin := time.Now()
	stop()
	require.Less(t, time.Since(begin), 10*time.Second)
}

func TestCheck(t *testing.T) {
	t.Parallel()

	var health ops.Health

	server, stop := serve(t, &health)
	require.NoError(t, ops.Check(t.Context(), server.Addr()))

	health.Part("nats").NotReady("disconnected")
	require.EqualError(t, ops.Check(t.Context(), server.Addr()), "not ready: nats: disconnected")

	stop()
	require.Error(t, ops.Check(t.Context(), server.Addr()))
	require.ErrorContains(t, ops.Check(t.Context(), "9090"), "OPS_ADDR")
}

func TestCheckReachesAServerOnAllAddresses(t *testing.T) {
	t.Parallel()

	server, err := ops.Listen(t.Context(), "127.0.0.1:0", &ops.Health{}, prometheus.NewRegistry())
	require.NoError(t, err)

	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)

	go func() { served <- server.Serve(ctx) }()

	_, port, err := net.SplitHostPort(server.Addr())
	require.NoError(t, err)

	for _, addr := range []string{":" + port, "0.0.0.0:" + port, "[::]:" + port} {
		require.NoError(t, ops.Check(t.Context(), addr), addr)
	}

	cancel()
	require.NoError(t, <-served)
}
