package natstest

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

// New starts a server with JetStream for this test and ends it with the test.
func New(tb testing.TB) *Server {
	tb.Helper()

	return Start(tb, Options{})
}

// Start is New with options. The store is kept in tb.TempDir() unless the options name one.
func Start(tb testing.TB, o Options) *Server {
	tb.Helper()

	if o.StoreDir == "" {
		o.StoreDir = tb.TempDir()
	}

	s, err := Run(o)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, s.Shutdown()) })

	return s
}

// Connect opens a connection that reconnects for ever and closes with the test.
func (s *Server) Connect(tb testing.TB, extra ...nats.Option) *nats.Conn {
	tb.Helper()

	return connect(tb, s.URL(), append([]nats.Option{nats.UserInfo(s.options.Username, s.options.Password)}, extra...))
}

func connect(tb testing.TB, url string, extra []nats.Option) *nats.Conn {
	tb.Helper()

	options := append([]nats.Option{
		nats.Name(tb.Name()),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
	}, extra...)

	nc, err := nats.Connect(url, options...)
	require.NoError(tb, err)
	tb.Cleanup(nc.Close)

	return nc
}

// JetStream opens a connection as Connect does and returns its JetStream.
func (s *Server) JetStream(tb testing.TB) jetstream.JetStream {
	tb.Helper()

	js, err := jetstream.New(s.Connect(tb))
	require.NoError(tb, err)

	return js
}

// Restart stops the server and runs it again with the same port and store. Clients see a disconnect.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()

	s.Stop()
	require.NoError(tb, s.Resume())
}

// reconnectPatience is long for a TLS handshake on a machine with much to do.
const reconnectPatience = time.Minute

// AwaitReconnect waits until a connection is one to the server as it runs now. Right after Resume a connection says that it is
// connected: it does not know yet that it was cut.
func (s *Server) AwaitReconnect(tb testing.TB, nc *nats.Conn) {
	tb.Helper()

	id := s.id()
	require.Eventually(tb, func() bool { return nc.IsConnected() && nc.ConnectedServerId() == id }, reconnectPatience, reconnectWait)
}

// electionPatience bounds how long servers take to agree on leaders; it is below 10 s on an idle machine.
const electionPatience = time.Minute

// StartCluster starts a cluster for this test, waits until it takes requests, and ends it with the test.
func StartCluster(tb testing.TB, size int, o Options) *Cluster {
	tb.Helper()

	c, err := RunCluster(size, o)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, c.Shutdown()) })

	js := c.JetStream(tb)
	require.Eventually(tb, func() bool {
		_, err := js.AccountInfo(tb.Context())

		return err == nil
	}, electionPatience, reconnectWait, "the cluster has no leader")

	return c
}

// Connect opens a connection to any of the servers that reconnects for ever and closes with the test.
func (c *Cluster) Connect(tb testing.TB, extra ...nats.Option) *nats.Conn {
	tb.Helper()

	return connect(tb, c.URL(), extra)
}

// JetStream opens a connection as Connect does and returns its JetStream.
func (c *Cluster) JetStream(tb testing.TB) jetstream.JetStream {
	tb.Helper()

	js, err := jetstream.New(c.Connect(tb))
	require.NoError(tb, err)

	return js
}

// LoseLastBlock removes the newest of the files that hold a stream's messages, as a disk may
// that had not taken it yet. The server must be stopped; it has at least two such files.
func (s *Server) LoseLastBlock(tb testing.TB, stream string) {
	tb.Helper()

	blocks, err := filepath.Glob(filepath.Join(s.StoreDir(), "jetstream", "*", "streams", stream, "msgs", "*.blk"))
	require.NoError(tb, err)
	require.Greater(tb, len(blocks), 1)

	newest := slices.MaxFunc(blocks, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	require.NoError(tb, os.Remove(newest))
}
