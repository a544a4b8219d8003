package natstest_test

import (
	"net"
	"os"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/atlas-relay/atlas-relay/pkg/natstest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func TestStreamSurvivesRestart(t *testing.T) {
	t.Parallel()

	server := natstest.New(t)
	nc := server.Connect(t)
	url := server.URL()

	js, err := jetstream.New(nc)
	require.NoError(t, err)
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
	require.NoError(t, err)
	_, err = js.Publish(t.Context(), "s.1", []byte("kept"))
	require.NoError(t, err)

	server.Restart(t)
	require.Equal(t, url, server.URL())
	server.AwaitReconnect(t, nc)

	message, err := stream.GetMsg(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, "kept", string(message.Data))
}

// TestRestoreLosesWhatCameSinceTheBackup, and nothing else.
func TestRestoreLosesWhatCameSinceTheBackup(t *testing.T) {
	t.Parallel()

	server, backup := natstest.New(t), t.TempDir()
	publish := func(n int) jetstream.JetStream {
		js := server.JetStream(t)
		_, err := js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
		require.NoError(t, err)

		for range n {
			_, err := js.Publish(t.Context(), "s", nil)
			require.NoError(t, err)
		}

		return js
	}

	publish(3)
	require.NoError(t, server.Backup(backup))
	publish(2)
	require.NoError(t, server.Restore(backup))

	stream, err := publish(0).Stream(t.Context(), "S")
	require.NoError(t, err)
	require.EqualValues(t, 3, stream.CachedInfo().State.LastSeq)
}

func TestListensOnLoopbackOnly(t *testing.T) {
	t.Parallel()

	host, _, err := net.SplitHostPort(natstest.New(t).Addr())
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1", host)
}

func TestServersAreApart(t *testing.T) {
	t.Parallel()

	first, second := natstest.New(t), natstest.New(t)
	require.NotEqual(t, first.URL(), second.URL())

	_, err := first.JetStream(t).CreateStream(t.Context(), jetstream.StreamConfig{Name: "S"})
	require.NoError(t, err)
	_, err = second.JetStream(t).Stream(t.Context(), "S")
	require.ErrorIs(t, err, jetstream.ErrStreamNotFound)
}

func TestOptions(t *testing.T) {
	t.Parallel()

	t.Run("max payload", func(t *testing.T) {
		t.Parallel()

		nc := natstest.Start(t, natstest.Options{MaxPayload: 2048}).Connect(t)
		require.EqualValues(t, 2048, nc.MaxPayload())
	})

	t.Run("without jetstream", func(t *testing.T) {
		t.Parallel()

		js := natstest.Start(t, natstest.Options{WithoutJetStream: true}).JetStream(t)
		_, err := js.AccountInfo(t.Context())
		require.ErrorIs(t, err, jetstream.ErrJetStreamNotEnabled)
	})

	t.Run("password", func(t *testing.T) {
		t.Parallel()

		server := natstest.Start(t, natstest.Options{Username: "relay", Password: "secret"})
		_, err := nats.Connect(server.URL())
		require.ErrorIs(t, err, nats.ErrAuthorization)
		require.True(t, server.Connect(t).IsConnected())
	})

	t.Run("max store", func(t *testing.T) {
		t.Parallel()

		info, err := natstest.Start(t, natstest.Options{MaxStore: 1 << 20}).JetStream(t).AccountInfo(t.Context())
		require.NoError(t, err)
		require.Zero(t, info.Store)

		js := natstest.Start(t, natstest.Options{MaxStore: 1 << 20}).JetStream(t)
		_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", MaxBytes: 2 << 20})
		require.Error(t, err)
	})
}

func TestStoppedServerRefusesAndResumes(t *testing.T) {
	t.Parallel()

	server := natstest.New(t)
	server.Stop()
	server.Stop()

	_, err := nats.Connect(server.URL())
	require.ErrorIs(t, err, nats.ErrNoServers)

	require.NoError(t, server.Resume())
	require.NoError(t, server.Resume())
	require.True(t, server.Connect(t).IsConnected())
}

func TestShutdownRemovesItsOwnStore(t *testing.T) {
	t.Parallel()

	server, err := natstest.Run(natstest.Options{})
	require.NoError(t, err)
	require.DirExists(t, server.StoreDir())
	require.NoError(t, server.Shutdown())
	require.NoDirExists(t, server.StoreDir())

	kept := t.TempDir()
	server, err = natstest.Run(natstest.Options{StoreDir: kept})
	require.NoError(t, err)
	require.NoError(t, server.Shutdown())
	require.DirExists(t, kept)
}

func TestRunReportsAnUnusableStore(t *testing.T) {
	t.Parallel()

	file := t.TempDir() + "/file"
	require.NoError(t, os.WriteFile(file, nil, 0o600))

	_, err := natstest.Run(natstest.Options{StoreDir: file})
	require.ErrorContains(t, err, file)
}
