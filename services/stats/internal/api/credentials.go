package api

import (
	"crypto/tls"
	"net"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// outside speaks TLS with everybody but this process itself, whose connection never leaves its memory.
type outside struct {
	credentials.TransportCredentials

	inside credentials.TransportCredentials
}

// serverCredentials are those of both connections; config may be nil.
func serverCredentials(config *tls.Config) credentials.TransportCredentials {
	if config == nil {
		return insecure.NewCredentials()
	}

	return &outside{credentials.NewTLS(config), insecure.NewCredentials()}
}

// ServerHandshake implements credentials.TransportCredentials.
func (o *outside) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if conn.LocalAddr().Network() == inProcessNetwork {
		return o.inside.ServerHandshake(conn)
	}

	return o.TransportCredentials.ServerHandshake(conn)
}

// Clone implements credentials.TransportCredentials.
func (o *outside) Clone() credentials.TransportCredentials {
	return &outside{o.TransportCredentials.Clone(), o.inside.Clone()}
}
