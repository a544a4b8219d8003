package mongodb_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
	"github.com/atlas-relay/atlas-relay/pkg/tlstest"
)

// TestTLSIsUpToTheURI: the options that the drivers document reach the server, which wants a certificate of every client;
// none of the paths is shown.
func TestTLSIsUpToTheURI(t *testing.T) {
	t.Parallel()

	authority, other := tlstest.NewAuthority(t, "ours"), tlstest.NewAuthority(t, "theirs")
	dir := t.TempDir()
	addr := secureFront(t, mongotest.Shared(t).Addr(), &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{authority.Issue(t, tlstest.Wanted{}).Certificate(t)},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authority.Pool(),
	})

	pair := authority.Issue(t, tlstest.Wanted{CommonName: "relay"})
	client := tlstest.Write(t, dir, "client.pem", append(pair.Cert, pair.Key...))
	ca, wrong := tlstest.Write(t, dir, "ca.pem", authority.PEM()), tlstest.Write(t, dir, "wrong.pem", other.PEM())

	hello := func(options string) error {
		uri := settings.NewURI("mongodb://" + addr + "/?directConnection=true&tls=true" + options)
		require.NotContains(t, uri.String(), dir)

		connection, err := mongodb.Connect(uri, mongodb.Options{ServerSelectionTimeout: time.Minute})
		if err != nil {
			return err
		}

		defer func() { require.NoError(t, mongodb.Disconnect(t.Context(), connection)) }()

		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()

		_, err = mongodb.SayHello(ctx, connection)

		return err
	}

	require.Eventually(t, func() bool { return hello("&tlsCAFile="+ca+"&tlsCertificateKeyFile="+client) == nil }, time.Minute, time.Millisecond)

	for name, options := range map[string]string{
		"an authority of this host": "&tlsCertificateKeyFile=" + client,
		"another authority":         "&tlsCAFile=" + wrong + "&tlsCertificateKeyFile=" + client,
		"no certificate":            "&tlsCAFile=" + ca,
	} {
		err := hello(options)
		require.True(t, mongodb.IsTransient(err), "%s: %v", name, err)
		require.Contains(t, mongodb.Explain(err), "TLS", name)
	}

	require.Error(t, hello("&tlsCAFile="+ca+"x"), "a file that is not there")
}

// secureFront speaks TLS for a server that does not.
func secureFront(t *testing.T, server string, config *tls.Config) (addr string) {
	t.Helper()

	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	require.NoError(t, err)

	var work sync.WaitGroup

	work.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}

			work.Go(func() { handOn(conn, server) })
		}
	})

	t.Cleanup(func() {
		require.NoError(t, listener.Close())
		work.Wait()
	})

	return listener.Addr().String()
}

// handOn copies both ways until either end closes.
func handOn(conn net.Conn, server string) {
	defer conn.Close()

	behind, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer behind.Close()

	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{conn, behind}, {behind, conn}} {
		go func() {
			_, _ = io.Copy(way[0], way[1])
			_ = way[0].Close()
			done <- struct{}{}
		}()
	}

	<-done
	<-done
}
