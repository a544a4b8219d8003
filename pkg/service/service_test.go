package service

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/atlas-relay/atlas-relay/pkg/lifecycle"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type config struct {
	settings.Common

	SourceURI settings.URI `env:"SOURCE_URI,required" help:"MongoDB to read from"`
	Mode      string       `env:"MODE" envDefault:"a" oneof:"a,b" help:"one | the other"`
}

func newConfig() *config { return &config{Common: settings.Common{OpsAddr: "127.0.0.1:0"}} }

const (
	patience = 10 * time.Second
	tick     = 10 * time.Millisecond
)

func never(context.Context, *Process) error { panic("must not run") }

func TestCommands(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		args    []string
		environ map[string]string
		out     string // contained in the output
		code    int
		says    string
	}{
		"version":               {args: []string{"version"}, out: "listener "},
		"version as a flag":     {args: []string{"--version"}, out: "listener "},
		"unknown command":       {args: []string{"start"}, code: 2, says: `"start"`},
		"mistake":               {environ: map[string]string{"MODE": "c"}, code: 2, says: "SOURCE_URI"},
		"reference":             {args: []string{"config"}, out: "| `SOURCE_URI` | required | MongoDB to read from; or `SOURCE_URI_FILE` |\n"},
		"reference of choices":  {args: []string{"config"}, out: "| `MODE` | `a` | one \\| the other (`a`, `b`) |\n"},
		"reference of defaults": {args: []string{"config"}, out: "| `OPS_ADDR` | `127.0.0.1:0` |"},
		"nobody answers": {
			args: []string{"healthcheck"}, environ: map[string]string{"OPS_ADDR": "127.0.0.1:1"}, code: 1, says: "readiness",
		},
	}

	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			var out bytes.Buffer

			err := command(t.Context(), &out, "listener", test.args, test.environ, newConfig(), never)
			require.Equal(t, test.code, lifecycle.ExitCode(err), "%v", err)
			require.Contains(t, out.String(), test.out)

			if test.says != "" {
				require.ErrorContains(t, err, test.says)
			}
		})
	}
}

// TestProcess follows a service from its first line to its stop.
func TestProcess(t *testing.T) {
	t.Parallel()

	ctx, stop := context.WithCancel(t.Context())
	cfg := newConfig()
	cfg.LogLevel = 8 // errors only

	environ := map[string]string{"SOURCE_URI": "mongodb://user:hunter2@127.0.0.1/", "LOG_LEVEL": "error", "OPS_ADDR": "127.0.0.1:0"}
	err := command(ctx, new(bytes.Buffer), "listener", nil, environ, cfg, func(ctx context.Context, p *Process) error {
		require.Equal(t, "mongodb://user:hunter2@127.0.0.1/", cfg.SourceURI.Reveal())
		require.NotContains(t, cfg.SourceURI.String(), "hunter2")

		families, err := p.Metrics.Gather()
		require.NoError(t, err)

		var names []string
		for _, f := range families {
			names = append(names, f.GetName())
		}

		require.Contains(t, names, "relay_build_info")
		require.Contains(t, names, "go_goroutines")

		return p.Run(ctx, lifecycle.Task{Name: "work", Run: func(ctx context.Context) error {
			require.Empty(t, p.Health.NotReady())
			stop()
			<-ctx.Done()
			require.Eventually(t, func() bool { return len(p.Health.NotReady()) == 1 }, patience, tick)

			return nil
		}})
	})
	require.NoError(t, err)
}

func TestOpsCanBeSwitchedOff(t *testing.T) {
	t.Parallel()

	cfg := newConfig()
	environ := map[string]string{"SOURCE_URI": "mongodb://127.0.0.1/", "LOG_LEVEL": "error", "OPS_ADDR": "off"}
	err := command(t.Context(), new(bytes.Buffer), "listener", nil, environ, cfg, func(ctx context.Context, p *Process) error {
		return p.Run(ctx, lifecycle.Task{Name: "work", Run: func(context.Context) error { return http.ErrServerClosed }})
	})
	require.ErrorIs(t, err, http.ErrServerClosed)
	require.True(t, strings.HasPrefix(err.Error(), "work"))
}
