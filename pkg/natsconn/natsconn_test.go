package natsconn_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/atlas-relay/atlas-relay/pkg/natsconn"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

const waitLimit = 10 * time.Second

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func connect(t *testing.T, url string, o natsconn.Options) *nats.Conn {
	t.Helper()

	nc, err := natsconn.Connect(settings.NATS{URL: settings.NewURI(url)}, o, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(nc.Close)

	return nc
}

func TestNothingIsPublishedLate(t *testing.T) {
	t.Parallel()

	server := natstest.New(t)
	nc := connect(t, server.URL(), natsconn.Options{Name: "test"})
	received, err := server.Connect(t).SubscribeSync("subject")
	require.NoError(t, err)

	server.Stop()
	require.Eventually(t, func() bool { return !nc.IsConnected() }, waitLimit, time.Millisecond)
	require.ErrorIs(t, nc.Publish("subject", []byte("late")), nats.ErrReconnectBufExceeded)

	require.NoError(t, server.Resume())
	require.Eventually(t, nc.IsConnected, waitLimit, time.Millisecond)
	require.Eventually(t, func() bool { // the other connection comes back in its own time
		require.NoError(t, nc.Publish("subject", []byte("now")))

		message, err := received.NextMsg(20 * time.Millisecond)

		return err == nil && string(message.Data) == "now"
	}, waitLimit, time.Millisecond)
}

func TestAServerThatIsAwayIsAnErrorOrAwaited(t *testing.T) {
	t.Parallel()

	server := natstest.New(t)
	server.Stop()

	at := settings.NATS{URL: settings.NewURI("nats://user:hunter2@" + server.Addr())}
	_, err := natsconn.Connect(at, natsconn.Options{}, slog.New(slog.DiscardHandler))
	require.ErrorIs(t, err, nats.ErrNoServers)
	require.NotContains(t, err.Error(), "hunter2")

	nc := connect(t, server.URL(), natsconn.Options{Wait: true})
	require.False(t, nc.IsConnected())
	require.NoError(t, server.Resume())
	require.Eventually(t, nc.IsConnected, waitLimit, time.Millisecond)
}

func TestWatchEndsWithItsContext(t *testing.T) {
	t.Parallel()

	nc := connect(t, natstest.New(t).URL(), natsconn.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, natsconn.Watch(ctx, nc))
}

func TestWatchReportsAConnectionThatIsClosed(t *testing.T) {
	t.Parallel()

	nc := connect(t, natstest.New(t).URL(), natsconn.Options{})
	watched := make(chan error, 1)

	go func() { watched <- natsconn.Watch(t.Context(), nc) }()

	nc.Close()
	require.ErrorIs(t, <-watched, natsconn.ErrClosed)
	require.ErrorIs(t, natsconn.Watch(t.Context(), nc), natsconn.ErrClosed, "closed before")
}

func TestWatchReportsRefusedCredentials(t *testing.T) {
	t.Parallel()

	server := natstest.Start(t, natstest.Options{Username: "relay", Password: "secret"})
	nc := connect(t, "nats://relay:wrong@"+server.Addr(), natsconn.Options{Wait: true})

	err := natsconn.Watch(t.Context(), nc)
	require.ErrorIs(t, err, natsconn.ErrClosed)
	require.ErrorIs(t, err, nats.ErrAuthorization)
}

func TestMissingFilesAreErrors(t *testing.T) {
	t.Parallel()

	url := settings.NewURI(natstest.New(t).URL())
	for _, at := range []settings.NATS{{URL: url, CA: "/absent"}, {URL: url, Cert: "/absent", Key: "/absent"}} {
		_, err := natsconn.Connect(at, natsconn.Options{}, slog.New(slog.DiscardHandler))
		require.ErrorContains(t, err, "/absent")
	}
}
