package harness

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are taken below the range from which systems serve ":0" and outgoing connections (32768 and above on Linux):
// while a server is down for a restart nobody else can get its port, not even a client that keeps dialling it. They
// are apart from those of pkg/mongotest.
const (
	firstPort    = 12_000
	lastPort     = 20_000
	portAttempts = 1_000
)

const loopback = "127.0.0.1"

// FreeAddr is an address on which nobody listens.
func FreeAddr(ctx context.Context) (string, error) {
	for range portAttempts {
		addr := net.JoinHostPort(loopback, strconv.Itoa(firstPort+rand.IntN(lastPort-firstPort)))

		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
		if err == nil {
			return addr, listener.Close()
		}
	}

	return "", errors.New("no free port between 12000 and 20000")
}
