package preflight

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

// silent takes connections, by the backlog of its socket, and never says a word.
func silent(t *testing.T) string {
	t.Helper()

	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })

	return listener.Addr().String()
}

// TestSilentServersAreFoundInTime: whoever takes a connection and stays silent is away, as is one that cannot be
// reached, however many addresses there are. The bound is for a busy machine: 15 s are promised.
func TestSilentServersAreFoundInTime(t *testing.T) {
	t.Parallel()

	began := time.Now()
	w := New(Options{
		Flow: "f", Log: slog.New(slog.DiscardHandler),
		NATS:      settings.NATS{URL: settings.NewURI("nats://" + strings.Join([]string{silent(t), silent(t), silent(t), silent(t), "127.0.0.1:1"}, ",nats://"))},
		SourceURI: settings.NewURI("mongodb://" + silent(t) + "/?directConnection=true"),
		TargetURI: settings.NewURI("mongodb://" + silent(t) + "," + silent(t) + "/?replicaSet=rs0"),
	})

	findings := Run(t.Context(), w, Checks())
	found := time.Since(began)
	w.Close(context.WithoutCancel(t.Context()))
	t.Logf("found in %s, closed in %s", found, time.Since(began)-found)
	require.Less(t, time.Since(began), time.Minute)

	for _, f := range findings {
		switch f.Code {
		case "SRC001", "TGT001", "NTS001":
			require.Equal(t, Failed, f.Status, f.Code)
			require.Equal(t, Unreachable, f.kind, f.Code)
		default:
			require.NotEqual(t, Failed, f.Status, f.Code)
		}
	}

	require.Equal(t, 3, ExitCode(findings))
}
