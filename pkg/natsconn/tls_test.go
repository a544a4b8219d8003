package natsconn_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/logtest"
	"github.com/atlas-relay/atlas-relay/pkg/natsconn"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
	"github.com/atlas-relay/atlas-relay/pkg/tlstest"
)

// guarded is a NATS server that wants a certificate of every client. Its own, and the authority of both, may change.
type guarded struct {
	*natstest.Server

	t         *testing.T
	dir       string
	authority atomic.Pointer[tlstest.Authority]
	config    atomic.Pointer[tls.Config]
	at        settings.NATS
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()

	g := &guarded{t: t, dir: t.TempDir()}
	g.serve(tlstest.NewAuthority(t, "first"))

	g.Server = natstest.Start(t, natstest.Options{TLS: &tls.Config{
		MinVersion:         tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return g.config.Load(), nil },
	}})

	g.at = settings.NATS{URL: settings.NewURI(g.URL())}
	g.at.Cert, g.at.Key, g.at.CA = g.issue()

	return g
}

// serve has the server show a certificate of this authority, and take clients with one of it only.
func (g *guarded) serve(a *tlstest.Authority) {
	g.authority.Store(a)
	g.config.Store(&tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{a.Issue(g.t, tlstest.Wanted{}).Certificate(g.t)},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.Pool(),
	})
}

// issue writes a client's files, in the place of those that are there.
func (g *guarded) issue() (cert, key, ca string) {
	a := g.authority.Load()
	cert, key = a.Issue(g.t, tlstest.Wanted{CommonName: "relay"}).Write(g.t, g.dir, "client")

	return cert, key, tlstest.Write(g.t, g.dir, "ca.pem", a.PEM())
}

// serial is of the certificate that the server showed.
func serial(t *testing.T, nc *nats.Conn) string {
	t.Helper()

	state, err := nc.TLSConnectionState()
	require.NoError(t, err)

	return state.PeerCertificates[0].SerialNumber.String()
}

// TestCertificatesMayChange: a connection that is opened anew after an outage takes the files as they are then.
func TestCertificatesMayChange(t *testing.T) {
	t.Parallel()

	server := newGuarded(t)

	nc, err := natsconn.Connect(server.at, natsconn.Options{}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(nc.Close)

	before := serial(t, nc)

	server.Stop()
	server.serve(tlstest.NewAuthority(t, "second"))
	server.issue()
	require.NoError(t, server.Resume())
	server.AwaitReconnect(t, nc)
	require.NotEqual(t, before, serial(t, nc))
}

// TestFilesThatCannotBeUsedDoNotCutOff: those that were read before are shown, and the log names the file.
func TestFilesThatCannotBeUsedDoNotCutOff(t *testing.T) {
	t.Parallel()

	server, log := newGuarded(t), new(logtest.Buffer)

	nc, err := natsconn.Connect(server.at, natsconn.Options{}, slog.New(slog.NewJSONHandler(log, nil)))
	require.NoError(t, err)
	t.Cleanup(nc.Close)

	server.Stop()
	tlstest.Write(t, server.dir, "client.key", []byte("half of a k"))
	require.NoError(t, os.Remove(server.at.CA))
	require.NoError(t, server.Resume())
	server.AwaitReconnect(t, nc)
	require.Contains(t, log.String(), "NATS_CA")
}

func TestTLSMistakesOfNATS(t *testing.T) {
	t.Parallel()

	server := newGuarded(t)
	connect := func(change func(at *settings.NATS)) error {
		at := server.at
		change(&at)

		nc, err := natsconn.Connect(at, natsconn.Options{}, slog.New(slog.DiscardHandler))
		if err == nil {
			nc.Close()
		}

		return err
	}

	require.NoError(t, connect(func(*settings.NATS) {}))

	other := tlstest.Write(t, t.TempDir(), "other.pem", tlstest.NewAuthority(t, "other").PEM())
	require.ErrorAs(t, connect(func(at *settings.NATS) { at.CA = other }), new(x509.UnknownAuthorityError))
	require.Error(t, connect(func(at *settings.NATS) { at.Cert, at.Key = "", "" }), "no certificate of ours")

	plain := natstest.New(t)
	require.ErrorIs(t, connect(func(at *settings.NATS) { at.URL = settings.NewURI(plain.URL()) }), nats.ErrSecureConnWanted)
}

// TestExpiredCertificates: neither end takes one of the other that has expired.
func TestExpiredCertificates(t *testing.T) {
	t.Parallel()

	past := tlstest.Wanted{CommonName: "relay", From: time.Now().AddDate(-1, 0, 0), To: time.Now().Add(-time.Hour)}

	server := newGuarded(t)
	connect := func() error {
		nc, err := natsconn.Connect(server.at, natsconn.Options{}, slog.New(slog.DiscardHandler))
		if err == nil {
			nc.Close()
		}

		return err
	}

	require.NoError(t, connect())

	// Ours.
	a := server.authority.Load()
	a.Issue(t, past).Write(t, server.dir, "client")
	require.Error(t, connect())
	server.issue()
	require.NoError(t, connect())

	// The server's.
	server.config.Store(&tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{a.Issue(t, past).Certificate(t)}})

	invalid, ok := errors.AsType[x509.CertificateInvalidError](connect())
	require.True(t, ok)
	require.Equal(t, x509.Expired, invalid.Reason)
}
