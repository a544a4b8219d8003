package service

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/lifecycle"
	"github.com/atlas-relay/atlas-relay/pkg/tlstest"
)

// TestCertificatesOfNATSAreWatched: every service tells when its own have to be renewed.
func TestCertificatesOfNATSAreWatched(t *testing.T) {
	t.Parallel()

	authority, dir := tlstest.NewAuthority(t, "test"), t.TempDir()
	cert, key := authority.Issue(t, tlstest.Wanted{}).Write(t, dir, "client")
	environ := map[string]string{
		"SOURCE_URI": "mongodb://127.0.0.1/", "LOG_LEVEL": "error", "OPS_ADDR": "off",
		"NATS_CERT": cert, "NATS_KEY": key, "NATS_CA": tlstest.Write(t, dir, "ca.pem", authority.PEM()),
	}

	ctx, stop := context.WithCancel(t.Context())
	run := func(ctx context.Context, p *Process) error {
		families, err := p.Metrics.Gather()
		require.NoError(t, err)

		shown := map[string]int{}
		for _, f := range families {
			shown[f.GetName()] = len(f.GetMetric())
		}

		require.Equal(t, 2, shown["relay_certificate_expiry_timestamp_seconds"], "NATS_CERT and NATS_CA")
		stop()

		return p.Run(ctx)
	}
	require.NoError(t, command(ctx, new(bytes.Buffer), "listener", nil, environ, newConfig(), run))

	tlstest.Write(t, dir, "client.key", []byte("x"))
	err := command(t.Context(), new(bytes.Buffer), "listener", nil, environ, newConfig(), never)
	require.ErrorContains(t, err, "NATS_KEY")
	require.Equal(t, 2, lifecycle.ExitCode(err))
}
