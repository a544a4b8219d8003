package tlsfiles_test

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/tlsfiles"
	"github.com/atlas-relay/atlas-relay/pkg/tlstest"
)

// TestDiagnose makes each mistake with a server and a client of its own.
func TestDiagnose(t *testing.T) {
	t.Parallel()

	authority, stranger := tlstest.NewAuthority(t, "ours"), tlstest.NewAuthority(t, "theirs")
	good := authority.Issue(t, tlstest.Wanted{})
	serving := func(w tlstest.Wanted, adjust func(*tls.Config)) *tls.Config {
		config := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{authority.Issue(t, w).Certificate(t)}}
		if adjust != nil {
			adjust(config)
		}

		return config
	}
	mutual := func(config *tls.Config) {
		config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, authority.Pool()
	}

	for name, test := range map[string]struct {
		server *tls.Config
		trusts *tlstest.Authority
		shows  *tlstest.Pair
		fault  tlsfiles.Fault
		detail string
	}{
		"fine":              {serving(tlstest.Wanted{}, nil), authority, nil, tlsfiles.None, ""},
		"fine, both":        {serving(tlstest.Wanted{}, mutual), authority, &good, tlsfiles.None, ""},
		"unknown authority": {serving(tlstest.Wanted{}, nil), stranger, nil, tlsfiles.UnknownAuthority, "CN=ours"},
		"other name":        {serving(tlstest.Wanted{Hosts: []string{"a.example", "192.0.2.1"}}, nil), authority, nil, tlsfiles.OtherName, "a.example, 192.0.2.1"},
		"name of nobody":    {serving(tlstest.Wanted{Hosts: []string{}}, nil), authority, nil, tlsfiles.OtherName, "no host at all"},
		"expired":           {serving(tlstest.Wanted{To: time.Now().Add(-time.Minute)}, nil), authority, nil, tlsfiles.Expired, "20"},
		"too early":         {serving(tlstest.Wanted{From: time.Now().Add(time.Hour)}, nil), authority, nil, tlsfiles.NotYetValid, "20"},
		"none shown":        {serving(tlstest.Wanted{}, mutual), authority, nil, tlsfiles.CertificateAsked, "certificate required"},
		"a stranger's":      {serving(tlstest.Wanted{}, mutual), authority, new(stranger.Issue(t, tlstest.Wanted{})), tlsfiles.CertificateBad, "tls:"},
		"an expired one":    {serving(tlstest.Wanted{}, mutual), authority, new(authority.Issue(t, tlstest.Wanted{To: time.Now().Add(-time.Minute)})), tlsfiles.CertificateBad, "tls:"},
	} {
		dir := t.TempDir()
		files := tlsfiles.Files{CA: tlsfiles.File{Setting: "CA", Path: tlstest.Write(t, dir, "ca.pem", test.trusts.PEM())}}

		if test.shows != nil {
			cert, key := test.shows.Write(t, dir, "client")
			files.Cert, files.Key = tlsfiles.File{Setting: "CERT", Path: cert}, tlsfiles.File{Setting: "KEY", Path: key}
		}

		store, err := tlsfiles.Open(files)
		require.NoError(t, err, name)

		found := tlsfiles.Diagnose(talk(t, echo(t, test.server), store.Client("")))
		require.Equal(t, test.fault, found.Fault, "%s: %s", name, found.Detail)
		require.Contains(t, found.Detail, test.detail, name)
	}
}

// talk opens a connection and asks once: with TLS 1.3 a client hears only then what the server thinks of its certificate.
func talk(t *testing.T, addr string, config *tls.Config) error {
	t.Helper()

	conn, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return err
	}
	defer conn.Close()

	if _, err := conn.Write([]byte("who am I\n")); err != nil {
		return err
	}

	_, err = conn.Read(make([]byte, 1))

	return err
}

func TestDiagnoseAServerWithoutTLS(t *testing.T) {
	t.Parallel()

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)

	done := make(chan struct{})

	go func() {
		defer close(done)

		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()

		_, _ = conn.Write([]byte("220 welcome\n"))
		_, _ = io.Copy(io.Discard, conn)
	}()

	_, err = tls.Dial("tcp", listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	require.Equal(t, tlsfiles.NotTLS, tlsfiles.Diagnose(err).Fault)
	require.NoError(t, listener.Close())
	<-done

	_, err = tls.Dial("tcp", listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	require.Equal(t, tlsfiles.None, tlsfiles.Diagnose(err).Fault, "nobody there")
	require.Equal(t, tlsfiles.None, tlsfiles.Diagnose(nil).Fault)
}
