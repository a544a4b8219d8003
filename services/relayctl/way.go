package main

import (
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/atlas-relay/atlas-relay/pkg/tlsfiles"
)

// probeTimeout bounds the question whether a server speaks TLS.
const probeTimeout = 2 * time.Second

// way is how the stats service is reached. It keeps the error that ended the last connection: gRPC hands on only its text,
// by which nothing should be told apart.
type way struct {
	credentials.TransportCredentials

	server string
	config *tls.Config // nil: without TLS
	ended  atomic.Pointer[error]
}

func newPlainWay(server string) *way {
	return &way{TransportCredentials: insecure.NewCredentials(), server: server}
}

func newTLSWay(server string, config *tls.Config) *way {
	return &way{TransportCredentials: credentials.NewTLS(config), server: server, config: config}
}

func (w *way) options() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(w),
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, o ...grpc.CallOption) error {
			return w.explain(ctx, invoke(ctx, method, request, reply, conn, o...))
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
			stream, err := open(ctx, desc, conn, method, o...)

			return stream, w.explain(ctx, err)
		}),
	}
}

// ClientHandshake implements credentials.TransportCredentials.
func (w *way) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := w.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if err != nil {
		w.ended.Store(&err)

		return nil, nil, err
	}

	return &watchedConn{Conn: conn, way: w}, info, nil
}

// Clone implements credentials.TransportCredentials: what it keeps is of all connections.
func (w *way) Clone() credentials.TransportCredentials { return w }

// watchedConn tells how it ended.
type watchedConn struct {
	net.Conn

	way *way
}

// Read implements net.Conn. With TLS 1.3 a server says only now what it thinks of a client's certificate.
func (c *watchedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.way.ended.Store(&err)
	}

	return n, err
}

// explain makes what went wrong with TLS of an error that says no more than that there was no connection.
func (w *way) explain(ctx context.Context, err error) error {
	ended := w.ended.Load()
	if status.Code(err) != codes.Unavailable || len(status.Convert(err).Details()) > 0 || ended == nil {
		return err
	}

	if w.config == nil {
		if speaksTLS(ctx, w.server) {
			return errSpeaksTLS(w.server)
		}

		return err
	}

	found := tlsfiles.Diagnose(*ended)
	if found.Fault == tlsfiles.None {
		// A server that does not take our certificate closes the connection while we write: its last word may get lost.
		found = tlsfiles.Diagnose(listen(ctx, w.server, w.config))
	}

	if explained := explainTLS(found, w.server); explained != nil {
		return explained
	}

	return err
}

// speaksTLS asks the server, and sends it nothing but that.
func speaksTLS(ctx context.Context, server string) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()

	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}} //nolint:gosec // who it is does not matter

	conn, err := dialer.DialContext(ctx, "tcp", server)
	if err != nil {
		return false
	}

	_ = conn.Close()

	return true
}

// listen says nothing, and returns what went wrong until the server has said something.
func listen(ctx context.Context, server string, config *tls.Config) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()

	config = config.Clone()
	config.NextProtos = []string{"h2"}

	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", server)
	if err != nil {
		return err
	}
	defer conn.Close()

	if err := conn.SetDeadline(time.Now().Add(probeTimeout)); err != nil {
		return err
	}

	_, err = conn.Read(make([]byte, 1))

	return err
}
