package natstest

import (
	"testing"

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

	options := append([]nats.Option{
		nats.Name(tb.Name()),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.UserInfo(s.options.Username, s.options.Password),
	}, extra...)

	nc, err := nats.Connect(s.URL(), options...)
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
