package main

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/atlas-relay/atlas-relay/pkg/tlstest"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// serveTLS is serve with a certificate.
func serveTLS(t *testing.T, config *tls.Config) (addr string) {
	t.Helper()

	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)

	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(config)))
	relayv1.RegisterStatsServiceServer(server, &service{stats: fine()})

	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()

	t.Cleanup(func() {
		server.Stop()
		require.NoError(t, <-done)
	})

	return listener.Addr().String()
}

// TestTLSMistakes makes each classic one, and expects to be told which, and what to do.
func TestTLSMistakes(t *testing.T) {
	t.Parallel()

	ours, theirs := tlstest.NewAuthority(t, "ours"), tlstest.NewAuthority(t, "theirs")
	dir := t.TempDir()
	ca, otherCA := tlstest.Write(t, dir, "ca.pem", ours.PEM()), tlstest.Write(t, dir, "other.pem", theirs.PEM())
	cert, key := ours.Issue(t, tlstest.Wanted{CommonName: "ann"}).Write(t, dir, "ann")
	strange, strangeKey := theirs.Issue(t, tlstest.Wanted{CommonName: "eve"}).Write(t, dir, "eve")
	old, oldKey := ours.Issue(t, tlstest.Wanted{To: time.Now().Add(-time.Minute)}).Write(t, dir, "old")

	server := func(w tlstest.Wanted, mutual bool) string {
		config := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{ours.Issue(t, w).Certificate(t)}}
		if mutual {
			config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, ours.Pool()
		}

		return serveTLS(t, config)
	}
	good, mutual := server(tlstest.Wanted{}, false), server(tlstest.Wanted{}, true)
	elsewhere := server(tlstest.Wanted{Hosts: []string{"relay.example.net"}}, false)
	expired, early := server(tlstest.Wanted{To: time.Now().Add(-time.Minute)}, false), server(tlstest.Wanted{From: time.Now().Add(time.Hour)}, false)
	plain := serve(t, &service{stats: fine()})

	for name, test := range map[string]struct {
		addr string
		args []string
		code int
		says []string
	}{
		"fine":                  {good, []string{"--tls-ca", ca}, 0, nil},
		"fine on both sides":    {mutual, []string{"--tls-ca", ca, "--tls-cert", cert, "--tls-key", key}, 0, nil},
		"plain to TLS":          {good, nil, 2, []string{"speaks TLS", "--tls-ca"}},
		"TLS to plain":          {plain, []string{"--tls-ca", ca}, 2, []string{"does not speak TLS", "API_CERT"}},
		"unknown authority":     {good, []string{"--tls-ca", otherCA}, 2, []string{"CN=ours", "--tls-ca"}},
		"this host's":           {good, []string{"--tls"}, 2, []string{"CN=ours", "--tls-ca"}},
		"wrong host":            {elsewhere, []string{"--tls-ca", ca}, 2, []string{"relay.example.net", "--tls-server-name"}},
		"host of a tunnel":      {elsewhere, []string{"--tls-ca", ca, "--tls-server-name", "relay.example.net"}, 0, nil},
		"expired":               {expired, []string{"--tls-ca", ca}, 2, []string{"has expired", "renew API_CERT"}},
		"too early":             {early, []string{"--tls-ca", ca}, 2, []string{"not valid before", "clock"}},
		"no certificate":        {mutual, []string{"--tls-ca", ca}, 2, []string{"wants a client's certificate", "--tls-cert"}},
		"strange certificate":   {mutual, []string{"--tls-ca", ca, "--tls-cert", strange, "--tls-key", strangeKey}, 2, []string{"does not take our certificate", "API_CLIENT_CA"}},
		"own one expired":       {mutual, []string{"--tls-ca", ca, "--tls-cert", old, "--tls-key", oldKey}, 2, []string{"--tls-cert", "has expired"}},
		"half a pair":           {mutual, []string{"--tls-ca", ca, "--tls-cert", cert}, 2, []string{"come together", "STATS_KEY"}},
		"another's key":         {mutual, []string{"--tls-ca", ca, "--tls-cert", cert, "--tls-key", strangeKey}, 2, []string{"--tls-key", "the key is the certificate's"}},
		"no file":               {good, []string{"--tls-ca", ca + "x"}, 2, []string{"--tls-ca", "no such file"}},
		"nobody there":          {"127.0.0.1:1", []string{"--tls-ca", ca}, 3, []string{"cannot be reached"}},
		"nobody there, plain":   {"127.0.0.1:1", nil, 3, []string{"cannot be reached"}},
		"fine without, plainly": {plain, nil, 0, nil},
	} {
		r := relayctl(t, nil, append([]string{"status", "--server", test.addr}, test.args...)...)
		require.Equal(t, test.code, r.code, "%s: %s%s", name, r.out, r.errOut)

		for _, part := range test.says {
			require.Contains(t, r.errOut, part, name)
		}
	}

	r := relayctl(t, []string{"RELAY_STATS_ADDR=" + mutual, "STATS_CA=" + ca, "STATS_CERT=" + cert, "STATS_KEY=" + key}, "stats", "--watch", "-o", "json")
	require.Equal(t, 3, r.code, r.errOut) // it ends, after two samples
	require.Contains(t, r.out, "1500")

	r = relayctl(t, []string{"RELAY_STATS_ADDR=" + mutual, "STATS_CA=" + ca}, "stats", "--watch")
	require.Equal(t, 2, r.code, r.errOut)
	require.Contains(t, r.errOut, "wants a client's certificate")
}
