package tlsfiles_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/atlas-relay/atlas-relay/pkg/tlsfiles"
	"github.com/atlas-relay/atlas-relay/pkg/tlstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// place is a directory with the files of a server.
type place struct {
	dir   string
	files tlsfiles.Files
}

func newPlace(t *testing.T, pair tlstest.Pair, clients *tlstest.Authority) *place {
	t.Helper()

	p := &place{dir: t.TempDir()}
	p.files = tlsfiles.Files{
		Cert: tlsfiles.File{Setting: "API_CERT", Path: filepath.Join(p.dir, "server.pem")},
		Key:  tlsfiles.File{Setting: "API_KEY", Path: filepath.Join(p.dir, "server.key")},
	}
	pair.Write(t, p.dir, "server")

	if clients != nil {
		p.files.CA = tlsfiles.File{Setting: "API_CLIENT_CA", Path: tlstest.Write(t, p.dir, "clients.pem", clients.PEM())}
	}

	return p
}

func (p *place) open(t *testing.T) *tlsfiles.Store {
	t.Helper()

	store, err := tlsfiles.Open(p.files)
	require.NoError(t, err)

	return store
}

// echo answers each line of a connection with who the client is, or with why the connection failed.
func echo(t *testing.T, config *tls.Config) (addr string) {
	t.Helper()

	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	require.NoError(t, err)

	done := make(chan struct{})

	go func() {
		defer close(done)

		var open []net.Conn

		for {
			conn, err := listener.Accept()
			if err != nil {
				break
			}

			open = append(open, conn)

			go answer(conn)
		}

		for _, conn := range open {
			_ = conn.Close()
		}
	}()

	t.Cleanup(func() {
		require.NoError(t, listener.Close())
		<-done
	})

	return listener.Addr().String()
}

func answer(conn net.Conn) {
	defer conn.Close()

	secured, ok := conn.(*tls.Conn)
	if !ok {
		return
	}

	lines := bufio.NewReader(conn)
	for {
		if _, err := lines.ReadString('\n'); err != nil {
			return
		}

		state := secured.ConnectionState()
		if _, err := conn.Write([]byte(tlsfiles.PeerName(&state) + "\n")); err != nil {
			return
		}
	}
}

type client struct {
	*tls.Conn

	lines *bufio.Reader
}

func dial(t *testing.T, addr string, config *tls.Config) *client {
	t.Helper()

	conn, err := tls.Dial("tcp", addr, config)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })

	return &client{Conn: conn, lines: bufio.NewReader(conn)}
}

// ask returns who the server takes us for.
func (c *client) ask(t *testing.T) string {
	t.Helper()

	_, err := c.Write([]byte("who am I\n"))
	require.NoError(t, err)

	line, err := c.lines.ReadString('\n')
	require.NoError(t, err)

	return line[:len(line)-1]
}

func (c *client) serial() string {
	return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// A certificate and the authority of clients are exchanged together, as an operator does who moves to another authority.
func TestNewFilesCountForNewConnections(t *testing.T) {
	t.Parallel()

	old, next := tlstest.NewAuthority(t, "old"), tlstest.NewAuthority(t, "next")
	p := newPlace(t, old.Issue(t, tlstest.Wanted{}), old)
	store := p.open(t)
	addr := echo(t, store.Server())

	as := func(a *tlstest.Authority, name string) *tls.Config {
		return &tls.Config{
			MinVersion: tls.VersionTLS13, RootCAs: a.Pool(), ClientSessionCache: tls.NewLRUClientSessionCache(1),
			Certificates: []tls.Certificate{a.Issue(t, tlstest.Wanted{CommonName: name}).Certificate(t)},
		}
	}
	ann := as(old, "ann")
	before := dial(t, addr, ann)
	require.Equal(t, "ann", before.ask(t))

	changed, err := store.Refresh()
	require.NoError(t, err)
	require.False(t, changed)

	next.Issue(t, tlstest.Wanted{}).Write(t, p.dir, "server")
	tlstest.Write(t, p.dir, "clients.pem", next.PEM())

	changed, err = store.Refresh()
	require.NoError(t, err)
	require.True(t, changed)

	after := dial(t, addr, as(next, "bob"))
	require.Equal(t, "bob", after.ask(t))
	require.NotEqual(t, before.serial(), after.serial())
	require.Equal(t, "ann", before.ask(t), "a connection that is open stays so")

	_, err = tls.Dial("tcp", addr, ann)
	require.ErrorAs(t, err, new(x509.UnknownAuthorityError), "no session outlives its authority")
}

func TestAClientNeedsNoCertificate(t *testing.T) {
	t.Parallel()

	authority := tlstest.NewAuthority(t, "test")
	p := newPlace(t, authority.Issue(t, tlstest.Wanted{}), authority)
	addr := echo(t, p.open(t).Server())

	require.Empty(t, dial(t, addr, &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: authority.Pool()}).ask(t))

	_, err := tls.Dial("tcp", addr, &tls.Config{MaxVersion: tls.VersionTLS12, RootCAs: authority.Pool()})
	require.Error(t, err, "an old version of TLS")
}

func TestMistakesNameTheirFiles(t *testing.T) {
	t.Parallel()

	authority := tlstest.NewAuthority(t, "test")
	pair := authority.Issue(t, tlstest.Wanted{})

	for name, test := range map[string]struct {
		spoil func(p *place)
		says  []string
	}{
		"absent":             {func(p *place) { _ = os.Remove(p.files.Cert.Path) }, []string{"API_CERT", "server.pem"}},
		"no certificate":     {func(p *place) { tlstest.Write(t, p.dir, "server.pem", []byte("x")) }, []string{"API_CERT", "server.pem"}},
		"another's key":      {func(p *place) { tlstest.Write(t, p.dir, "server.key", authority.Issue(t, tlstest.Wanted{}).Key) }, []string{"API_KEY", "server.key"}},
		"an empty authority": {func(p *place) { tlstest.Write(t, p.dir, "clients.pem", nil) }, []string{"API_CLIENT_CA", "clients.pem"}},
		"a key as authority": {func(p *place) { tlstest.Write(t, p.dir, "clients.pem", pair.Key) }, []string{"API_CLIENT_CA", "no PEM block CERTIFICATE"}},
		"a broken authority": {func(p *place) {
			tlstest.Write(t, p.dir, "clients.pem", []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
		}, []string{"API_CLIENT_CA", "clients.pem"}},
	} {
		p := newPlace(t, pair, authority)
		test.spoil(p)

		_, err := tlsfiles.Open(p.files)
		for _, part := range test.says {
			require.ErrorContains(t, err, part, name)
		}
	}
}

func TestExpired(t *testing.T) {
	t.Parallel()

	authority := tlstest.NewAuthority(t, "test")
	p := newPlace(t, authority.Issue(t, tlstest.Wanted{From: time.Now().AddDate(-1, 0, 0), To: time.Now().Add(-time.Minute)}), nil)
	store := p.open(t)
	require.ErrorIs(t, store.Expired(), tlsfiles.ErrExpired)
	require.ErrorContains(t, store.Expired(), "API_CERT")

	authority.Issue(t, tlstest.Wanted{}).Write(t, p.dir, "server")

	changed, err := store.Refresh()
	require.NoError(t, err)
	require.True(t, changed)
	require.NoError(t, store.Expired())
}

func TestNames(t *testing.T) {
	t.Parallel()

	for want, certificate := range map[string]*x509.Certificate{
		"":            {},
		"a.example":   {DNSNames: []string{"a.example", "b.example"}, EmailAddresses: []string{"a@b"}},
		"a@b":         {EmailAddresses: []string{"a@b"}, IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)}},
		"spiffe://a/": {URIs: []*url.URL{{Scheme: "spiffe", Host: "a", Path: "/"}}},
		"192.0.2.1":   {IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)}},
	} {
		require.Equal(t, want, tlsfiles.Name(certificate))
	}

	authority := tlstest.NewAuthority(t, "test")
	store := newPlace(t, authority.Issue(t, tlstest.Wanted{CommonName: "cn", Hosts: []string{"relay.example.net", "192.0.2.1"}}), nil).open(t)
	require.Equal(t, "cn", tlsfiles.Name(store.Certificate().Leaf))
	require.True(t, store.IsFor("relay.example.net"))
	require.True(t, store.IsFor("192.0.2.1"))
	require.False(t, store.IsFor("cn"))
	require.False(t, store.IsFor("evil.example.net"))
}
