package natsconn_test

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/natsconn"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

// silent takes connections, by the backlog of its socket, and never says a word.
func silent(t *testing.T) string {
	t.Helper()

	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })

	return "nats://" + listener.Addr().String()
}

func TestConnectWithinEndsWithItsContext(t *testing.T) {
	t.Parallel()

	dead := []string{"nats://127.0.0.1:1"}
	for range 20 { // 5 s each, if nothing ended the wait
		dead = append(dead, silent(t))
	}

	for name, limit := range map[string]func(context.Context) (context.Context, context.CancelFunc){
		"deadline": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		},
		"cancel": func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(100*time.Millisecond, cancel)

			return ctx, cancel
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			ctx, cancel := limit(t.Context())
			defer cancel()

			began := time.Now()
			_, err := natsconn.ConnectWithin(ctx, settings.NATS{URL: settings.NewURI(strings.Join(dead, ","))}, natsconn.Options{}, slog.New(slog.DiscardHandler))
			require.Error(t, err)
			require.Less(t, time.Since(began), time.Minute)
		})
	}
}

func TestConnectWithinFindsTheServerThatAnswers(t *testing.T) {
	t.Parallel()

	server := natstest.New(t)
	at := settings.NATS{URL: settings.NewURI(strings.Join([]string{silent(t), server.URL()}, ","))}

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	nc, err := natsconn.ConnectWithin(ctx, at, natsconn.Options{}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	cancel()

	require.NoError(t, nc.Flush(), "the end of the context is not that of the connection")
	server.Stop()
	require.Eventually(t, func() bool { return !nc.IsConnected() }, waitLimit, time.Millisecond)
	require.NoError(t, server.Resume())
	require.Eventually(t, nc.IsConnected, time.Minute, time.Millisecond)
}
