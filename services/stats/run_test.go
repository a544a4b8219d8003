package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(mongotest.Main(m)) }

// freeAddr is an address that nobody listens on just now.
func freeAddr(t *testing.T) string {
	t.Helper()

	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())

	return listener.Addr().String()
}

// The service starts and answers while both servers are away, and follows them
// when they come; it stops cleanly.
func TestStartsBeforeItsServers(t *testing.T) {
	t.Parallel()

	var (
		mongoDB  = mongotest.New(t, mongotest.Options{})
		nats     = natstest.New(t)
		grpcAddr = freeAddr(t)
		opsAddr  = freeAddr(t)
	)

	require.NoError(t, mongoDB.Terminate())
	nats.Stop()

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)

	go func() {
		done <- realMain(ctx, nil, map[string]string{
			"NATS_URL": nats.URL(), "TARGET_URI": mongoDB.URI().Reveal(), "GRPC_ADDR": grpcAddr, "HTTP_ADDR": "127.0.0.1:0", "OPS_ADDR": opsAddr, "LOG_LEVEL": "error",
		})
	}()

	conn, err := grpc.NewClient(grpcAddr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)

	defer conn.Close()

	client := relayv1.NewStatsServiceClient(conn)
	ask := func() (*relayv1.Stats, error) {
		response, err := client.GetStats(t.Context(), &relayv1.GetStatsRequest{}, grpc.WaitForReady(true))

		return response.GetStats(), err
	}

	_, err = ask()
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.ErrorContains(t, err, "neither NATS nor the target")

	require.NoError(t, nats.Resume())
	require.Eventually(t, func() bool {
		stats, err := ask()

		return err == nil && stats.GetStatus() == relayv1.Status_STATUS_DOWN // no stream, and that is certain
	}, 20*time.Second, 100*time.Millisecond)

	require.NoError(t, mongoDB.Restart(t.Context()))
	require.Eventually(t, func() bool {
		stats, err := ask()

		return err == nil && stats.ProcessedChanges != nil
	}, 20*time.Second, 100*time.Millisecond)

	letters, err := relayv1.NewDeadLetterServiceClient(conn).ListDeadLetters(t.Context(), new(relayv1.ListDeadLettersRequest))
	require.NoError(t, err)
	require.Empty(t, letters.GetDeadLetters())

	require.Contains(t, get(t, "http://"+opsAddr+"/metrics"), `relay_dead_letters{flow="atlas-to-local"} 0`)
	require.Contains(t, get(t, "http://"+opsAddr+"/metrics"), `relay_state{flow="atlas-to-local",state="DOWN"} 1`)
	require.Contains(t, get(t, "http://"+opsAddr+"/readyz"), "ready")

	cancel()
	require.NoError(t, <-done)
	http.DefaultClient.CloseIdleConnections()
}

func get(t *testing.T, url string) string {
	t.Helper()

	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)

	defer response.Body.Close()

	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)

	return string(body)
}
